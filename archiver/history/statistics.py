"""Statistics of values: count, range, mean and deviation, also of thinned stretches of the archive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter
from typing import NamedTuple

from archiver.history.query import MetadataHistory, Query
from archiver.sample import Sample, is_gap
from archiver.storage.store import Bin


class Aggregate(NamedTuple):
    """The number of some values, and number, range and mean of those that are numbers."""

    values: int
    numbers: int
    minimum: float
    maximum: float
    mean: float


_NOTHING = Aggregate(0, 0, math.inf, -math.inf, 0.0)
_WORD = Aggregate(1, 0, math.inf, -math.inf, 0.0)


class HistoryEvent(NamedTuple):
    """A sample, or None at the begin of a thinned bin, and what it adds to the statistics."""

    pv: str
    time_ns: int
    sample: Sample | None
    aggregate: Aggregate


@dataclass(slots=True)
class Statistics:
    """The statistics of aggregates. Their own spread is not known: ``deviation`` is that of their means."""

    count: int = 0
    minimum: float | None = None
    maximum: float | None = None
    _numbers: int = 0
    _mean: float = 0.0
    _squares: float = 0.0

    def add(self, aggregate: Aggregate) -> None:
        """Add an aggregate."""
        self.count += aggregate.values
        if not aggregate.numbers:
            return
        before, self._numbers = self._numbers, self._numbers + aggregate.numbers
        delta, share = aggregate.mean - self._mean, aggregate.numbers / self._numbers
        self._mean += delta * share
        self._squares += delta * delta * share * before
        self.minimum = aggregate.minimum if self.minimum is None else min(self.minimum, aggregate.minimum)
        self.maximum = aggregate.maximum if self.maximum is None else max(self.maximum, aggregate.maximum)

    @property
    def mean(self) -> float | None:
        """Return the mean of all numbers, None if there is none."""
        return self._mean if self._numbers else None

    @property
    def deviation(self) -> float | None:
        """Return the standard deviation of the numbers (divided by n), None if there is none."""
        return math.sqrt(self._squares / self._numbers) if self._numbers else None


def events(samples: Iterable[Sample], query: Query) -> Iterator[HistoryEvent]:
    """Yield samples and thinned bins in order of time; the rows that a bin kept are not counted again."""
    bins = sorted(
        (_PvBin(pv, bin_.time_ns, bin_) for pv in query.names for bin_ in query.bins(pv)), key=attrgetter("time_ns")
    )
    covered_ns = dict.fromkeys(query.names, 0)
    both: Iterator[Sample | _PvBin] = merge(bins, samples, key=attrgetter("time_ns"))
    for each in both:
        if isinstance(each, _PvBin):
            covered_ns[each.pv] = each.bin.time_ns + each.bin.width_ns
            yield HistoryEvent(each.pv, each.time_ns, None, _of_bin(each.bin))
        else:
            yield HistoryEvent(each.pv, each.time_ns, each, _of_sample(each, query.metadata, covered_ns[each.pv]))


class _PvBin(NamedTuple):
    """A bin with its PV and time, to be merged with the samples."""

    pv: str
    time_ns: int
    bin: Bin


def _of_bin(thinned: Bin) -> Aggregate:
    return Aggregate(thinned.count, thinned.count, thinned.minimum, thinned.maximum, thinned.mean)


def _of_sample(sample: Sample, history: MetadataHistory, covered_ns: int) -> Aggregate:
    value = sample.value
    if is_gap(sample):
        return _NOTHING
    if isinstance(value, str | tuple) or not math.isfinite(value):
        return _WORD
    if isinstance(value, int) and history.at(sample.pv, sample.time_ns).words:
        return _WORD
    return _NOTHING if sample.time_ns < covered_ns else Aggregate(1, 1, value, value, value)
