"""The ages of values, judged by a clock that no scan can hold up.

A valid value is a fresh value: what was not read for two periods of its scan group is not known to be true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ioc.port.scan import Scan


class Ages:
    """When each point was read last (monotonic s).

    stale  names of the points that were not read for too long, and were not read since
    """

    def __init__(self) -> None:
        self.stale: set[str] = set()
        self._read_at: dict[str, float] = {}

    def read(self, names: Iterable[str], now: float) -> None:
        """Note that points were read."""
        self._read_at.update(dict.fromkeys(names, now))
        if self.stale:
            self.stale.difference_update(names)

    def discard(self, names: Iterable[str]) -> None:
        """Forget points whose values are INVALID for another reason."""
        for name in names:
            self._read_at.pop(name, None)
            self.stale.discard(name)

    def expire(self, groups: Mapping[str, str], scans: Iterable[Scan], now: float) -> dict[str, list[str]]:
        """Return the names of the points that have become too old, by scan group; ``groups``: point -> its group."""
        oldest = {scan.group: now - scan.longest_age for scan in scans}
        expired: dict[str, list[str]] = {}
        for name, moment in self._read_at.items():
            group = groups.get(name, "")
            if moment < oldest.get(group, moment):
                expired.setdefault(group, []).append(name)
        for names in expired.values():
            self.discard(names)
            self.stale.update(names)
        return expired
