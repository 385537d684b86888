"""The output of ``--bin``: a line for each PV and bin of time that has samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from archiver.history.formats import Cell, show_value
from archiver.history.query import MetadataHistory, Query
from archiver.history.rows import word
from archiver.history.statistics import HistoryEvent, Statistics
from archiver.sample import SEVERITIES, Sample
from archiver.times import format_time

COLUMNS = ("time", "pv", "count", "min", "max", "mean", "last", "unit", "severity")


class BinLine(NamedTuple):
    """The samples of a PV in one bin.

    time_ns    where the bin begins
    last       its last value, or the word of a gap
    severity   the worst
    """

    time_ns: int
    pv: str
    statistics: Statistics
    last: Cell
    unit: str
    severity: str
    precision: int

    def exact(self) -> tuple[Cell, ...]:
        """Return the cells with all digits."""
        statistics = self.statistics
        numbers = (statistics.minimum, statistics.maximum, statistics.mean)
        return (format_time(self.time_ns), self.pv, statistics.count, *numbers, self.last, self.unit, self.severity)

    def shown(self) -> tuple[str, ...]:
        """Return the cells with the PV's precision."""
        time, pv, count, *values, unit, severity = self.exact()
        return (str(time), str(pv), str(count), *(show_value(each, self.precision) for each in values), str(unit),
                str(severity))  # fmt: skip


@dataclass(slots=True)
class _OpenBin:
    """The bin of a PV that is being filled."""

    statistics: Statistics = field(default_factory=Statistics)
    last: Sample | None = None
    worst: int = 0

    def add(self, event: HistoryEvent) -> None:
        self.statistics.add(event.aggregate)
        if event.sample:
            self.last, self.worst = event.sample, max(self.worst, event.sample.severity)

    def close(self, time_ns: int, pv: str, history: MetadataHistory) -> BinLine:
        metadata = history.at(pv, self.last.time_ns if self.last else time_ns)
        last = word(self.last.value, metadata.words) if self.last else None
        return BinLine(time_ns, pv, self.statistics, last, metadata.unit, SEVERITIES[self.worst], metadata.precision)


def bin_lines(events: Iterable[HistoryEvent], query: Query, width_ns: int) -> Iterator[BinLine]:
    """Yield the bins in order of time; they begin at multiples of their width since 1970 UTC.

    The values in force at the begin of the window are in none of them.
    """
    begin_ns, bins = 0, dict[str, _OpenBin]()
    for event in events:
        if event.time_ns < query.window.begin_ns:
            continue
        if event.time_ns >= begin_ns + width_ns:
            yield from _close(begin_ns, bins, query)
            begin_ns, bins = event.time_ns // width_ns * width_ns, {}
        bins.setdefault(event.pv, _OpenBin()).add(event)
    yield from _close(begin_ns, bins, query)


def _close(begin_ns: int, bins: dict[str, _OpenBin], query: Query) -> Iterator[BinLine]:
    return (bins[pv].close(begin_ns, pv, query.metadata) for pv in query.names if pv in bins)
