"""The ages of values, judged by a clock that no scan can hold up.

A valid value is a fresh value: what was not read for two periods of its scan group is not known to be true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile

from ioc.port.scan import Scan


class Ages:
    """When each point was read last (monotonic s).

    stale  names of the points that were not read for too long, and were not read since
    """

    def __init__(self) -> None:
        self.stale: set[str] = set()
        self._read_at: dict[str, dict[str, float]] = {}  # scan group -> point -> when, what was read last at the end
        self._group_of: dict[str, dict[str, float]] = {}  # point -> those of its scan group

    def arrange(self, groups: Mapping[str, str]) -> None:
        """Use other points; ``groups``: point -> its scan group. What belongs to none never becomes too old."""
        read_at = sorted((moment, name) for times in self._read_at.values() for name, moment in times.items())
        self._read_at = {group: {} for group in groups.values()}
        self._group_of = {name: self._read_at[group] for name, group in groups.items()}
        for moment, name in read_at:
            if name in groups:
                self._group_of[name][name] = moment

    def read(self, names: Iterable[str], moment: float) -> None:
        """Note that points were read at a moment, none before the last one."""
        for name in names:
            if (times := self._group_of.get(name)) is not None:
                times.pop(name, None)
                times[name] = moment
        if self.stale:
            self.stale.difference_update(names)

    def discard(self, names: Iterable[str]) -> None:
        """Forget points whose values are INVALID for another reason."""
        for name in names:
            self._group_of.get(name, {}).pop(name, None)
            self.stale.discard(name)

    def expire(self, scans: Iterable[Scan], now: float) -> dict[str, list[str]]:
        """Return the names of the points that have become too old, by scan group."""
        expired: dict[str, list[str]] = {}
        for scan in scans:
            # Ten times a second, of all that a full crate has: looked at no further than there are old ones
            if names := _older(self._read_at.get(scan.group, {}), now - scan.longest_age):
                expired[scan.group] = names
        for names in expired.values():
            self.discard(names)
            self.stale.update(names)
        return expired


def _older(read_at: Mapping[str, float], than: float) -> list[str]:
    """Return the names of the points that were read before a moment; ``read_at`` is in order of time."""
    return [name for name, _ in takewhile(lambda each: each[1] < than, read_at.items())]
