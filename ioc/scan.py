"""Fixed-rate scanning on a monotonic clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from drivers.base import Readings

# A scan in progress stands still for at most this long (seconds) while a more important group goes first
PATIENCE = 0.5


@dataclass(slots=True)
class Scan:
    """One scan group: when it is due, and the blocks that a scan in progress has still to read."""

    group: str
    period: float
    due: float
    overruns: int = 0
    blocks: Iterator[Readings] | None = None
    began: float = 0.0
    moved: float = 0.0

    @property
    def active(self) -> bool:
        """Return True from the first block asked for to the last."""
        return self.blocks is not None

    def since(self) -> float:
        """Return when it last moved (a scan in progress) or became due, in seconds."""
        return self.moved if self.active else self.due

    def begin(self, blocks: Iterator[Readings], now: float) -> None:
        """Start a scan. Ticks that passed meanwhile are counted as overruns and never made up for in a burst."""
        missed = int((now - self.due) // self.period)
        self.overruns += missed
        self.due += (missed + 1) * self.period
        self.blocks, self.began, self.moved = blocks, now, now

    def end(self) -> None:
        """End a scan: all blocks were read, or it failed."""
        self.blocks = None


class Schedule:
    """The scan groups of one instrument in order of importance; ``now`` is a monotonic time in seconds."""

    def __init__(self, periods: Mapping[str, float]) -> None:
        self.scans = [Scan(group, period, due=0.0) for group, period in periods.items()]

    def restart(self, now: float) -> None:
        """Make all groups due at once: after a (re)connect everything is read anew."""
        for scan in self.scans:
            scan.end()
            scan.due = now

    def make_due(self, now: float, group: str | None = None) -> None:
        """Make a group, or all, due now."""
        for scan in self.scans:
            if group in {None, scan.group}:
                scan.due = min(scan.due, now)

    def overdue(self, now: float) -> Scan | None:
        """Return a scan that has waited for more than its own period."""
        late = [scan for scan in self._ready(now) if now - scan.since() > scan.period]
        return max(late, key=lambda scan: (now - scan.since()) / scan.period, default=None)

    def next(self, now: float) -> Scan | None:
        """Return the scan to move now: the most important one, unless another stood still for too long."""
        ready = self._ready(now)
        stuck = [scan for scan in ready if scan.active and now - scan.moved > PATIENCE]
        return next(iter(stuck or ready), None)

    def wait(self, now: float) -> float:
        """Return seconds until the next scan is due."""
        return max(0.0, min((scan.due for scan in self.scans), default=now + 3600.0) - now)

    def _ready(self, now: float) -> list[Scan]:
        return [scan for scan in self.scans if scan.active or scan.due <= now]
