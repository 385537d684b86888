"""The output of ``--stat``: a line for each PV, and each unit that it had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from archiver.history.formats import Cell, show_value
from archiver.history.query import Query
from archiver.history.statistics import HistoryEvent, Tally
from archiver.sample import Metadata

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
    """Yield a summary of each PV and unit.

    The value in force at the window's begin is not counted, but holds from there on, as the last one to its end.
    Without a begin the window of a PV begins at its first row.
    """
    since_ns, until_ns = query.window.since_ns, query.window.until_ns
    found: dict[str, _OfUnits] = {}
    for event in events:
        if event.pv not in found:
            found[event.pv] = _OfUnits(event.time_ns if since_ns is None else since_ns)
        found[event.pv].add(event, query.metadata.at(event.pv, event.time_ns))
    for pv in query.names:
        each = found.get(pv) or _OfUnits(until_ns if since_ns is None else since_ns)
        each.hold(until_ns, query.metadata.at(pv, until_ns))
        for metadata, tally in each.tallies.values():
            yield Summary(pv, metadata.unit, metadata.precision, tally, until_ns - each.begin_ns)


class _OfUnits:
    """The tallies of a PV from a time on: unit -> metadata and tally."""

    def __init__(self, begin_ns: int) -> None:
        self.begin_ns = begin_ns
        self.tallies: dict[str, tuple[Metadata, Tally]] = {}
        self._now: Tally | None = None

    def add(self, event: HistoryEvent, metadata: Metadata) -> None:
        """Add an event to the tally of its unit; the time before it is that of the unit before."""
        self._of(metadata, event.time_ns).add(event)

    def hold(self, until_ns: int, metadata: Metadata) -> None:
        """Add the time up to ``until_ns``; ``metadata``: those of a PV that has no events."""
        (self._now or self._of(metadata, self.begin_ns)).hold(until_ns)

    def _of(self, metadata: Metadata, time_ns: int) -> Tally:
        _, tally = self.tallies.get(metadata.unit) or (metadata, Tally(self.begin_ns))
        self.tallies[metadata.unit] = metadata, tally
        if self._now is not None and self._now is not tally:
            self._now.hold(time_ns)
            tally.at_ns, tally.in_force = max(self.begin_ns, time_ns), None
        self._now = tally
        return tally
