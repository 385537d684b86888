"""The output of ``--stat``: a line for each PV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from archiver.history.formats import Cell, show_value
from archiver.history.query import Query
from archiver.history.statistics import HistoryEvent, Tally

COLUMNS = (
    *("pv", "unit", "count", "min", "max", "mean", "std", "mean_rows"),
    *("alarm_s", "alarm_percent", "invalid_s", "gap_s"),
)


class Summary(NamedTuple):
    """The statistics of a PV in the window, whose length is ``span_ns``."""

    pv: str
    unit: str
    precision: int
    tally: Tally
    span_ns: int

    def exact(self) -> tuple[Cell, ...]:
        """Return the cells with all digits."""
        tally = self.tally
        numbers = (tally.minimum, tally.maximum, tally.time.mean, tally.time.deviation, tally.rows.mean)
        percent = 100 * tally.alarm_ns / self.span_ns if self.span_ns else None
        times = (tally.alarm_ns / 1e9, percent, tally.invalid_ns / 1e9, tally.gap_ns / 1e9)
        return (self.pv, self.unit, tally.count, *numbers, *times)

    def shown(self) -> tuple[str, ...]:
        """Return the cells with the PV's precision; means and deviation have two digits more than the values."""
        pv, unit, count, low, high, mean, deviation, of_rows, *times = self.exact()
        finer = self.precision + 2 if self.precision > 0 else 0
        return (
            str(pv),
            str(unit),
            str(count),
            *(show_value(cell, self.precision) for cell in (low, high)),
            *(show_value(cell, finer) for cell in (mean, deviation, of_rows)),
            *(show_value(cell, 0) for cell in times),
        )


def summaries(events: Iterable[HistoryEvent], query: Query) -> Iterator[Summary]:
    """Yield a summary of each PV.

    The value in force at the window's begin is not counted, but holds from there on, as the last one to its end.
    Without a begin the window of a PV begins at its first row.
    """
    since_ns, until_ns = query.window.since_ns, query.window.until_ns
    tallies: dict[str, Tally] = {} if since_ns is None else {pv: Tally(since_ns) for pv in query.names}
    begins = dict.fromkeys(query.names, until_ns if since_ns is None else since_ns)
    for event in events:
        if event.pv not in tallies:
            tallies[event.pv] = Tally(event.time_ns)
            begins[event.pv] = event.time_ns
        tallies[event.pv].add(event)
    for pv in query.names:
        tally = tallies.get(pv) or Tally(until_ns)
        tally.hold(until_ns)
        metadata = query.metadata.at(pv, until_ns)
        yield Summary(pv, metadata.unit, metadata.precision, tally, until_ns - begins[pv])
