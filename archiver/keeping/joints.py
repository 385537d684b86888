"""The gaps where a copy joins what its archiver stored in the target at another time: nobody knew what was between.

An archiver that has moved goes on under its name, so its series is one, and its sign of life there says nothing of
the time before it moved. What ends in the source is known until the source's sign of life, and what ends in the
target until that one's. So is what is there of a copy that goes on, or was interrupted.
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
        self._target = target
        self._ids = ids
        self._alive = source.archivers()
        self._before = {name: alive_ns for name, alive_ns in before.items() if alive_ns > UNFINISHED_NS}
        self._status = target.statuses([Gap.ARCHIVE_OFF])[Gap.ARCHIVE_OFF]
        self._ends: dict[int, _End] = {}
        self._until: dict[int, int] = {}

    def begin(self, channels: Sequence[Channel], figures: Mapping[int, Figures]) -> None:
        """End what is in the target where the source begins later; look for what goes on there after the source."""
        marks = []
        for each in channels:
            if each.number not in figures or each.archiver is None or each.archiver not in self._before:
                continue
            channel, wanted = self._ids[each.number], figures[each.number]
            here_ns, there_ns = self._alive.get(each.archiver, 0), self._before[each.archiver]
            if there_ns > here_ns:
                self._ends[channel] = _End(wanted.last_ns, here_ns)
            elif wanted.first_ns > there_ns:
                earlier = self._target.figures(channel, 0, wanted.first_ns - RESOLUTION_NS)
                if earlier.rows:
                    marks.append(self._gap(channel, max(earlier.last_ns, there_ns)))
        if marks:
            self._target.add([], marks)
        self._until = {channel: ns for channel, ns in self._target.copied().items() if channel in self._ends}

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
            elif not self._target.figures(row.channel, row.time_ns + RESOLUTION_NS, known_ns).rows:
                yield self._gap(row.channel, known_ns)

    def _gap(self, channel: int, after_ns: int) -> Row:
        time_ns = (after_ns // RESOLUTION_NS + 1) * RESOLUTION_NS
        return Row(channel, time_ns, INVALID + 1, self._status, None, None, Gap.ARCHIVE_OFF.value, None)
