"""The output of ``--bin``: a line for each PV and bin of time that has rows, or with ``--fill`` for each bin.

A bin in which the unit changes has a line for each unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from archiver.history.formats import Cell, show_value
from archiver.history.query import Query
from archiver.history.rows import THINNED, known_value
from archiver.history.statistics import HistoryEvent, InForce, Tally
from archiver.sample import SEVERITIES
from archiver.times import format_time

COLUMNS = (
    *("time", "pv", "count", "min", "max", "mean", "std", "mean_rows", "last", "unit", "severity"),
    *("invalid_s", "gap_s"),
)


class BinLine(NamedTuple):
    """What was in force of a PV in one bin.

    time_ns    where the bin begins
    last       its last value, or why that is not known
    """

    time_ns: int
    pv: str
    tally: Tally
    last: Cell
    unit: str
    precision: int

    def exact(self) -> tuple[Cell, ...]:
        """Return the cells with all digits."""
        tally = self.tally
        numbers = (tally.minimum, tally.maximum, tally.time.mean, tally.time.deviation, tally.rows.mean, self.last)
        lost = (tally.invalid_ns / 1e9, tally.gap_ns / 1e9)
        return (format_time(self.time_ns), self.pv, tally.count, *numbers, self.unit, SEVERITIES[tally.worst], *lost)

    def shown(self) -> tuple[str, ...]:
        """Return the cells with the PV's precision."""
        time, pv, count, *values, unit, severity, invalid, gap = self.exact()
        return (str(time), str(pv), str(count), *(show_value(each, self.precision) for each in values), str(unit),
                str(severity), show_value(invalid, 0), show_value(gap, 0))  # fmt: skip


def bin_lines(events: Iterable[HistoryEvent], query: Query, width_ns: int, *, fill: bool) -> Iterator[BinLine]:
    """Yield the bins in order of time; they begin at multiples of their width since 1970 UTC.

    The value in force when a bin begins has its part in it; what lies outside the window has none.
    """
    bins = _Bins(query, width_ns, fill=fill)
    for event in events:
        yield from bins.add(event)
    yield from bins.end()


class _Bins:
    """The bins of all PVs that are being filled: they begin at ``_begin_ns``, None before the first."""

    def __init__(self, query: Query, width_ns: int, *, fill: bool) -> None:
        self._query = query
        self._width_ns = width_ns
        self._fill = fill
        self._since_ns = query.window.since_ns
        self._begin_ns: int | None = None
        self._open: dict[str, Tally] = {}
        self._former: dict[str, list[Tally]] = {}
        self._in_force: dict[str, InForce] = {}

    def add(self, event: HistoryEvent) -> Iterator[BinLine]:
        """Add an event; yield the bins that end before it."""
        pv, time_ns = event.pv, event.time_ns
        if time_ns < self._query.window.begin_ns:
            if event.in_force:
                self._in_force[pv] = event.in_force
            return
        yield from self._advance(time_ns)
        if pv not in self._open:
            begins = self._since_ns is not None or pv in self._in_force
            self._open[pv] = self._tally(pv) if begins else Tally(time_ns)
        self._begin_unit(pv, time_ns)
        self._open[pv].add(event)

    def end(self) -> Iterator[BinLine]:
        """Yield the bins up to the window's end."""
        if self._fill and (self._begin_ns is not None or self._since_ns is not None):
            yield from self._advance(self._query.window.until_ns - 1)
        if self._begin_ns is not None:
            yield from self._close(self._begin_ns)

    def _begin_unit(self, pv: str, time_ns: int) -> None:
        """End the tally of numbers in another unit than that of a time: those after it are in a line of their own."""
        tally, at = self._open[pv], self._query.metadata.at
        row = tally.in_force
        if row is None or at(pv, row.sample.time_ns).unit == at(pv, time_ns).unit:
            return
        tally.hold(time_ns)
        if tally.count or tally.at_ns > max(self._begin_ns or 0, self._since_ns or 0):
            self._former.setdefault(pv, []).append(tally)
        self._open[pv] = Tally(time_ns)

    def _advance(self, time_ns: int) -> Iterator[BinLine]:
        """Begin the bin in which a time lies, unless a later one has begun."""
        begin_ns = time_ns // self._width_ns * self._width_ns
        if self._begin_ns is None:
            first_ns = self._since_ns if self._fill and self._since_ns is not None else time_ns
            self._begin_ns = first_ns // self._width_ns * self._width_ns
        while self._begin_ns < begin_ns:
            yield from self._close(self._begin_ns)
            self._begin_ns = self._begin_ns + self._width_ns if self._fill else begin_ns

    def _close(self, begin_ns: int) -> Iterator[BinLine]:
        for pv in self._query.names:
            for former in self._former.pop(pv, ()):
                yield self._line(begin_ns, former.at_ns, pv, former)
            tally = self._open.pop(pv, None)
            if tally is None and self._fill and (self._since_ns is not None or pv in self._in_force):
                tally = self._tally(pv)
            if tally:
                end_ns = min(begin_ns + self._width_ns, self._query.window.until_ns)
                tally.hold(end_ns)
                if tally.in_force:
                    self._in_force[pv] = tally.in_force
                yield self._line(begin_ns, end_ns, pv, tally)

    def _tally(self, pv: str) -> Tally:
        return Tally(max(self._begin_ns or 0, self._since_ns or 0), self._in_force.get(pv))

    def _line(self, begin_ns: int, end_ns: int, pv: str, tally: Tally) -> BinLine:
        row = tally.in_force
        metadata = self._query.metadata.at(pv, row.sample.time_ns if row else begin_ns)
        last: Cell = None
        if row:
            # rows after it may have been deleted
            within = row.thinned and row.sample.time_ns < end_ns < row.thinned.end_ns
            last = THINNED if within else known_value(row.sample, metadata.words)
        return BinLine(begin_ns, pv, tally, last, metadata.unit, metadata.precision)
