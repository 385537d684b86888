"""Statistics of a PV's rows, and of the time for which each was in force, also of thinned stretches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from operator import attrgetter
from typing import NamedTuple

from archiver.history.query import HistoryError, MetadataHistory, Query
from archiver.history.segments import Plan
from archiver.sample import INVALID, Sample, is_gap
from archiver.storage.store import Bin, deleted_meanwhile
from archiver.storage.summary import Summary, SummaryBin


class Aggregate(NamedTuple):
    """The number of some values, and number, range and mean of those that are numbers."""

    values: int
    numbers: int
    minimum: float
    maximum: float
    mean: float


_NOTHING = Aggregate(0, 0, math.inf, -math.inf, 0.0)
_WORD = Aggregate(1, 0, math.inf, -math.inf, 0.0)


class InForce(NamedTuple):
    """A row, which is in force until the next one.

    number     its number; None if it is none, or if its value is not known (INVALID, or a gap)
    thinned    the thinned bin in which it lies: of the time after it the bin's mean is all that is known
    """

    sample: Sample
    number: float | None
    thinned: Bin | None


class HistoryEvent(NamedTuple):
    """A row, or None at the begin of a thinned bin, and what it adds to the statistics of rows.

    summary    what stands for all rows of a bin, of which ``in_force`` is the last
    """

    pv: str
    time_ns: int
    in_force: InForce | None
    aggregate: Aggregate
    summary: SummaryBin | None = None


@dataclass(slots=True)
class Moments:
    """Mean and standard deviation of weighted numbers; both are finite whatever the numbers are."""

    _weight: float = 0.0
    _mean: float = 0.0
    _deviation: float = 0.0

    def add(self, number: float, weight: float, deviation: float = 0.0) -> None:
        """Add a finite number, or the mean of some with their deviation; ``weight`` is more than 0."""
        self._weight += weight
        share = weight / self._weight
        delta, width = number - self._mean, math.sqrt(share * (1 - share))
        if math.isfinite(delta):
            self._mean += delta * share
            spread = delta * width
        else:
            spread = number * width - self._mean * width
            self._mean = self._mean * (1 - share) + number * share
        within = math.hypot(self._deviation * math.sqrt(1 - share), deviation * math.sqrt(share))
        self._deviation = math.hypot(within, spread)

    @property
    def mean(self) -> float | None:
        """Return the mean, None if there is no number."""
        return self._mean if self._weight else None

    @property
    def deviation(self) -> float | None:
        """Return the standard deviation (divided by the whole weight), None if there is no number."""
        return self._deviation if self._weight else None


@dataclass(slots=True)
class Tally:
    """The statistics of a PV over a stretch of time, from ``at_ns`` on, where ``in_force`` is in force already.

    at_ns                 up to where time has been counted
    count                 rows whose value is known
    minimum, maximum      of these rows, and of what was in force
    rows, time            mean and deviation of the rows, and over the time for which their numbers were in force
    alarm_ns              how long the value was known, and in alarm
    invalid_ns, gap_ns    how long it was INVALID, and in a gap (or before the first row ever)
    worst                 the worst severity in force
    """

    at_ns: int
    in_force: InForce | None = None
    count: int = 0
    minimum: float | None = None
    maximum: float | None = None
    rows: Moments = field(default_factory=Moments)
    time: Moments = field(default_factory=Moments)
    alarm_ns: int = 0
    invalid_ns: int = 0
    gap_ns: int = 0
    worst: int = 0

    def add(self, event: HistoryEvent) -> None:
        """Add an event; of one before ``at_ns`` only that it is in force there."""
        self.hold(event.time_ns)
        if event.summary:
            self._add_summary(event.summary)
        elif event.time_ns >= self.at_ns:
            self._add_rows(event.aggregate)
            if event.in_force:
                self.worst = max(self.worst, event.in_force.sample.severity)
        self.in_force = event.in_force or self.in_force

    def hold(self, until_ns: int) -> None:
        """Add the time up to ``until_ns``, for which the row in force has held."""
        begin_ns, held_ns = self.at_ns, until_ns - self.at_ns
        if held_ns <= 0:
            return
        self.at_ns = until_ns
        row = self.in_force
        severity = row.sample.severity if row else INVALID
        self.worst = max(self.worst, severity)
        if row is None or is_gap(row.sample):
            self.gap_ns += held_ns
        elif severity == INVALID:
            self.invalid_ns += held_ns
        else:
            self.alarm_ns += held_ns if severity else 0
            if row.number is not None:
                self._weigh(row.number, row.thinned, begin_ns, until_ns)

    def _weigh(self, number: float, thinned: Bin | None, begin_ns: int, until_ns: int) -> None:
        """Add the time of a number; up to the end of a thinned bin that bin's mean stands for it."""
        if thinned and begin_ns < thinned.end_ns:
            end_ns = min(until_ns, thinned.end_ns)
            self._weigh(thinned.mean, None, begin_ns, end_ns)
            begin_ns = end_ns
        if until_ns > begin_ns:
            self.time.add(number, until_ns - begin_ns)
            self._widen(number, number)

    def _add_summary(self, each: SummaryBin) -> None:
        """Add a whole bin; it begins at ``at_ns``."""
        self.at_ns = each.end_ns
        self.count += each.count
        if each.mean_rows is not None:
            self.rows.add(each.mean_rows, each.count)
        if each.mean is not None and each.deviation is not None:
            self.time.add(each.mean, each.known_ns, each.deviation)
        if each.minimum is not None and each.maximum is not None:
            self._widen(each.minimum, each.maximum)
        self.alarm_ns += each.alarm_ns
        self.invalid_ns += each.invalid_ns
        self.gap_ns += each.gap_ns
        self.worst = max(self.worst, each.severity_id - 1)

    def _add_rows(self, aggregate: Aggregate) -> None:
        self.count += aggregate.values
        if aggregate.numbers:
            self.rows.add(aggregate.mean, aggregate.numbers)
            self._widen(aggregate.minimum, aggregate.maximum)

    def _widen(self, low: float, high: float) -> None:
        self.minimum = low if self.minimum is None else min(self.minimum, low)
        self.maximum = high if self.maximum is None else max(self.maximum, high)


def events(items: Iterable[Sample | Summary], query: Query, plan: Plan) -> Iterator[HistoryEvent]:
    """Yield the items of a plan and thinned bins in order of time; the rows that a bin kept are not counted again.

    A bin that began before the window, or of which summaries answer a part, is not counted, but the rows that it kept
    are.
    Raises HistoryError, in the end, if rows were thinned meanwhile: of a bin that was not known those left tell less.
    """
    thinned = {pv: plan.of_rows(pv, query.bins(pv)) for pv in query.names}
    bins = sorted(
        (_PvBin(pv, bin_.time_ns, bin_, plan.counts(pv, bin_)) for pv, known in thinned.items() for bin_ in known),
        key=attrgetter("time_ns"),
    )
    newest: dict[str, _PvBin] = {}
    both: Iterator[Sample | Summary | _PvBin] = merge(bins, items, key=attrgetter("time_ns"))
    for each in both:
        if isinstance(each, Sample):
            yield _of_sample(each, query, None if plan.told(each) else newest.get(each.pv))
        elif isinstance(each, Summary):
            in_force = InForce(each.last, each.bin.last, None)
            yield HistoryEvent(each.pv, each.time_ns, in_force, _NOTHING, each.bin)
        else:
            newest[each.pv] = each
            if each.counted:
                yield HistoryEvent(each.pv, each.time_ns, None, _of_bin(each.bin))
    for pv, known in thinned.items():
        if plan.of_rows(pv, query.bins(pv)) != known:
            raise HistoryError(str(deleted_meanwhile(pv)))


class _PvBin(NamedTuple):
    """A bin with its PV and time, to be merged with the samples."""

    pv: str
    time_ns: int
    bin: Bin
    counted: bool


def _of_bin(thinned: Bin) -> Aggregate:
    return Aggregate(thinned.count, thinned.count, thinned.minimum, thinned.maximum, thinned.mean)


def _of_sample(sample: Sample, query: Query, newest: _PvBin | None) -> HistoryEvent:
    within = newest if newest and sample.time_ns < newest.bin.end_ns else None
    number = _number(sample, query.metadata)
    if sample.severity == INVALID:
        aggregate = _NOTHING
    elif number is None:
        aggregate = _WORD
    elif within and within.counted:
        aggregate = _NOTHING  # the bin has counted it
    else:
        aggregate = Aggregate(1, 1, number, number, number)
    in_force = InForce(sample, number, within.bin if within else None)
    return HistoryEvent(sample.pv, sample.time_ns, in_force, aggregate)


def _number(sample: Sample, history: MetadataHistory) -> float | None:
    """Return the number of a sample; None for a word or a text, and where the value is not known."""
    value = sample.value
    if sample.severity == INVALID or not isinstance(value, float | int) or not math.isfinite(value):
        return None
    if isinstance(value, int) and history.at(sample.pv, sample.time_ns).words:
        return None
    return value
