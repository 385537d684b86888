"""The output of ``--stat``: a line for each PV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from archiver.history.formats import Cell, show_value
from archiver.history.query import Query
from archiver.history.statistics import HistoryEvent, Statistics
from archiver.sample import Sample, is_gap

COLUMNS = ("pv", "unit", "count", "min", "max", "mean", "std", "alarm_s", "alarm_percent", "gap_s")


class Summary(NamedTuple):
    """The statistics of a PV in the window.

    span_ns    the length of the window
    alarm_ns   how long the PV was in alarm
    gap_ns     how long its value was not known
    """

    pv: str
    unit: str
    precision: int
    statistics: Statistics
    span_ns: int
    alarm_ns: int
    gap_ns: int

    def exact(self) -> tuple[Cell, ...]:
        """Return the cells with all digits."""
        numbers = (self.statistics.minimum, self.statistics.maximum, self.statistics.mean, self.statistics.deviation)
        percent = 100 * self.alarm_ns / self.span_ns if self.span_ns else None
        return (self.pv, self.unit, self.statistics.count, *numbers, self.alarm_ns / 1e9, percent, self.gap_ns / 1e9)

    def shown(self) -> tuple[str, ...]:
        """Return the cells with the PV's precision; mean and deviation have two digits more than the values."""
        pv, unit, count, low, high, mean, deviation, *times = self.exact()
        finer = self.precision + 2 if self.precision > 0 else 0
        return (
            str(pv),
            str(unit),
            str(count),
            *(show_value(cell, self.precision) for cell in (low, high)),
            *(show_value(cell, finer) for cell in (mean, deviation)),
            *(show_value(cell, 0) for cell in times),
        )


@dataclass(slots=True)
class _Total:
    """The statistics of one PV, and how long it was in which state up to its newest sample."""

    begin_ns: int
    statistics: Statistics = field(default_factory=Statistics)
    alarm_ns: int = 0
    gap_ns: int = 0
    _since_ns: int = 0
    _in_force: Sample | None = None

    def change(self, time_ns: int, sample: Sample | None = None) -> None:
        """Add the time since the last sample to its state; before the first one nothing is known, as in a gap."""
        elapsed_ns = max(0, time_ns - max(self._since_ns, self.begin_ns))
        if self._in_force is None or is_gap(self._in_force):
            self.gap_ns += elapsed_ns
        elif self._in_force.severity:
            self.alarm_ns += elapsed_ns
        self._since_ns, self._in_force = time_ns, sample


def summaries(events: Iterable[HistoryEvent], query: Query, now_ns: int) -> Iterator[Summary]:
    """Yield a summary of each PV.

    The value in force at the window's begin is not counted, but may be in alarm; the last value holds to its end.
    """
    begin_ns, newest_ns = query.window.since_ns, now_ns
    totals: dict[str, _Total] = {} if begin_ns is None else {pv: _Total(begin_ns) for pv in query.names}
    for event in events:
        total = totals.get(event.pv) or totals.setdefault(event.pv, _Total(event.time_ns))
        if event.time_ns >= total.begin_ns:
            total.statistics.add(event.aggregate)
        if event.sample:
            total.change(event.time_ns, event.sample)
        newest_ns = max(newest_ns, event.time_ns)  # an IOC's clock may be ahead of ours
    end_ns = min(query.window.end_ns, newest_ns)
    for pv in query.names:
        yield _summary(pv, totals.get(pv) or _Total(end_ns), query, end_ns)


def _summary(pv: str, total: _Total, query: Query, end_ns: int) -> Summary:
    total.change(end_ns)
    metadata = query.metadata.at(pv, end_ns)
    span_ns = max(0, end_ns - total.begin_ns)
    return Summary(
        pv,
        metadata.unit,
        metadata.precision,
        total.statistics,
        span_ns,
        total.alarm_ns,
        total.gap_ns,
    )
