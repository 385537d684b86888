"""The gaps where a copy joins what its archiver stored in the target at another time: nobody knew what was between.

An archiver that has moved goes on under its name, so its series is one, and its sign of life there says nothing of
the time before it moved. What ends in the source is known until the source's sign of life, and what ends in the
target until that one's. So is what is there of a copy that goes on, or was interrupted. Where the archiver came back
to the source later, the gap there was written for the source's rows: it begins before those of the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from archiver.sample import INVALID, RESOLUTION_NS, Gap
from archiver.storage.transfer.contract import UNFINISHED_NS, Channel, Figures, Row, Source, Target


class _End(NamedTuple):
    """The newest row of a channel of the source, and until when it is known (ns)."""

    last_ns: int
    alive_ns: int


class Joints:
    """The gaps of a copy; ``before``: the signs of life (ns) in the target when it began, ``ids``: its channels."""

    def __init__(self, source: Source, target: Target, before: Mapping[str, int], ids: Mapping[int, int]) -> None:
        self._source, self._target = source, target
        self._ids = ids
        self._alive = source.archivers()
        self._before = {name: alive_ns for name, alive_ns in before.items() if alive_ns > UNFINISHED_NS}
        self._status = target.statuses([Gap.ARCHIVE_OFF])[Gap.ARCHIVE_OFF]
        self._ends: dict[int, _End] = {}
        self._until: dict[int, int] = {}

    def begin(self, channels: Sequence[Channel], figures: Mapping[int, Figures]) -> None:
        """End what is in the target where the source goes on later; look for what goes on there after the source."""
        copied = self._target.copied()
        ends: dict[int, int] = {}  # channel of the source -> up to when the target has rows, or knew them
        for each in channels:
            if each.number not in figures or each.archiver is None or each.archiver not in self._before:
                continue
            channel, last_ns = self._ids[each.number], figures[each.number].last_ns
            here_ns, there_ns = self._alive.get(each.archiver, 0), self._before[each.archiver]
            if there_ns > here_ns:
                self._ends[channel] = _End(last_ns, here_ns)
            elif copied.get(channel, 0) <= there_ns < last_ns:  # else it was ended when its copy began
                late = self._target.figures(channel, there_ns, last_ns)
                end_ns = late.last_ns if late.rows else there_ns
                if self._has(channel, copied.get(channel, 0), end_ns):
                    ends[each.number] = end_ns
        found = self._source.figures(ends) if ends else {}
        marks = []
        for number, end_ns in ends.items():
            channel, in_force_ns = self._ids[number], found[number].last_ns if number in found else 0
            if self._has(channel, max(copied.get(channel, 0), in_force_ns), end_ns):
                marks.append(self._gap(channel, end_ns))
        if marks:
            self._target.add([], marks)
        self._until = {channel: ns for channel, ns in copied.items() if channel in self._ends}

    def add(self, rows: Sequence[Row]) -> None:
        """Store rows, each channel's in order of time, with a gap behind them instead of the one before them."""
        newest = {row.channel: row for row in rows if row.channel in self._ends}
        later = [row for row in newest.values() if row.time_ns > self._until.get(row.channel, -1)]
        former = [self._gap(row.channel, self._until[row.channel]) for row in later if row.channel in self._until]
        self._target.add(rows, list(self._marks(later)), former)
        self._until.update((row.channel, row.time_ns) for row in later)

    def _marks(self, newest: Sequence[Row]) -> Iterator[Row]:
        """Yield the gaps behind rows that the target has not got by itself."""
        for row in newest:
            if row.severity > INVALID or self._target.figures(row.channel, row.time_ns, row.time_ns).rows:
                continue
            last_ns, known_ns = self._ends[row.channel]
            if row.time_ns // RESOLUTION_NS < last_ns // RESOLUTION_NS or known_ns <= row.time_ns:
                yield self._gap(row.channel, row.time_ns)
            elif not self._has(row.channel, row.time_ns, known_ns):
                yield self._gap(row.channel, known_ns)

    def _has(self, channel: int, after_ns: int, until_ns: int) -> bool:
        """Return whether the target has rows of a channel after a time, up to another one."""
        return self._target.figures(channel, after_ns + RESOLUTION_NS, until_ns).rows > 0

    def _gap(self, channel: int, after_ns: int) -> Row:
        time_ns = (after_ns // RESOLUTION_NS + 1) * RESOLUTION_NS
        return Row(channel, time_ns, INVALID + 1, self._status, None, None, Gap.ARCHIVE_OFF.value, None)
