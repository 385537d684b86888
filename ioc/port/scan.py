"""Fixed-rate scanning on a monotonic clock, and how scan groups share a line that is too slow for them.

Groups that are read at the same time get equal times of the line (start-time fair queueing). So each of two groups
ends within twice the time that it needs alone, and no value is older than two periods, or two such times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from drivers.base import Step

# Scans by which is judged how long a line needs
_MEMORY = 3
# Seconds of one step that count: one that takes longer hangs, and says nothing about what the line needs
_LONGEST_STEP = 0.5


@dataclass(slots=True)
class Scan:
    """One scan group: when it is due, and the steps that a scan in progress has still to do. Times in seconds.

    period       between two scans
    due          when the next scan is to begin (monotonic)
    overruns     ticks that passed while the scan before them was not over, or while the line was busy
    began        when the scan in progress, or the last one, was begun; took: how long the last one lasted
    late         the last scan began later, or lasted longer, than its period
    share        of the line that it had, to compare with that of other groups
    groups       that share the line
    reply        for which a reply may be awaited that does not come
    longest_age  of a value that still counts as true: two periods; or one, and such a reply; or two scans where the
                 line allows no more, as long as they take when all groups are read at the same time
    """

    group: str
    period: float
    due: float
    overruns: int = 0
    began: float = 0.0
    took: float = 0.0
    late: bool = False
    groups: int = 1
    reply: float = 0.0
    longest_age: float = 0.0
    steps: Iterator[Step] | None = None
    share: float = 0.0
    _resume: float = 0.0
    _used: float = 0.0  # of the line, by the scan in progress
    _needs: deque[float] = field(default_factory=lambda: deque(maxlen=_MEMORY))

    def __post_init__(self) -> None:
        self.longest_age = self._age_of(0.0)

    @property
    def active(self) -> bool:
        """Return True from the first step to the last."""
        return self.steps is not None

    def ready(self, now: float) -> bool:
        """Return True if it is due, or if its next step may be done."""
        return self._resume <= now if self.active else self.due <= now

    def next_moment(self) -> float:
        """Return when it is ready next."""
        return self._resume if self.active else self.due

    def missed(self, now: float) -> int:
        """Return the overruns with those of a tick that is waiting now."""
        return self.overruns + int(max(0.0, now - self.due) // self.period)

    def lasts(self, now: float) -> float:
        """Return the seconds since the scan in progress was begun, or should have been; 0 when none is to be."""
        return now - self.began if self.active else max(0.0, now - self.due)

    def begin(self, steps: Iterator[Step], now: float) -> None:
        """Start a scan. Ticks that passed meanwhile are counted as overruns and never made up for in a burst."""
        missed = int(max(0.0, now - self.due) // self.period)
        self.overruns += missed
        self.late = missed > 0
        self.due += (missed + 1) * self.period
        self.steps, self.began, self._resume, self._used = steps, now, now, 0.0

    def stepped(self, now: float, seconds: float, pause: float = 0.0, heard: bool = True) -> None:
        """Count a step that kept the line for ``seconds``; the next one is not before ``pause`` is over.

        Without those for which the process stood still: they say nothing about what the line needs.
        ``heard`` is False for one without a good answer: what a dead line takes is not what a scan needs.
        """
        self._resume = now + pause
        self.share += seconds
        if heard:
            self._used += min(seconds, _LONGEST_STEP)
            self.longest_age = self._age_of(max(self._used, *self._needs) if self._needs else self._used)

    def end(self, now: float, complete: bool = True) -> None:
        """End a scan: all was read (``complete``), or it failed."""
        self.steps = None
        self.took = now - self.began
        self.late = self.late or self.took > self.period
        if complete:
            self._needs.append(self._used)
            self.longest_age = self._age_of(max(self._needs))

    def _age_of(self, need: float) -> float:
        """Return the longest age where a scan needs the line for ``need`` seconds."""
        return max(2 * self.period, self.period + self.reply, 2 * self.groups * need)


class Schedule:
    """The scan groups of one instrument in order of importance; ``now`` is a monotonic time in seconds."""

    def __init__(self, periods: Mapping[str, float], reply: float = 0.0) -> None:
        groups = len(periods)
        self.scans = [Scan(group, period, 0.0, groups=groups, reply=reply) for group, period in periods.items()]
        self._share = 0.0  # that the scan stepped last had before

    def restart(self, now: float) -> None:
        """Make all groups due at once: after a (re)connect everything is read anew."""
        for scan in self.scans:
            if scan.active:
                scan.end(now, complete=False)
            scan.due = now

    def make_due(self, now: float, group: str | None = None) -> None:
        """Make a group, or all, due now."""
        for scan in self.scans:
            if group in {None, scan.group}:
                scan.due = min(scan.due, now)

    def ready(self, now: float) -> bool:
        """Return True if a scan is ready: puts take turns with it."""
        return any(scan.ready(now) for scan in self.scans)

    def next(self, now: float) -> Scan | None:
        """Return the scan to step now: the one that had least of the line; of equals the most important."""
        ready = [scan for scan in self.scans if scan.ready(now)]
        for scan in ready:
            if not scan.active:  # what it did not use before it was due gives it no right to the line now
                scan.share = max(scan.share, self._share)
        chosen = min(ready, key=lambda scan: scan.share, default=None)
        if chosen is not None:
            self._share = chosen.share
        return chosen

    def wait(self, now: float) -> float:
        """Return seconds until the next scan is ready."""
        return max(0.0, min((scan.next_moment() for scan in self.scans), default=now + 3600.0) - now)
