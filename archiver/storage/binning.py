"""The making of summaries: the bins of a minute and an hour of rows, and the bin of a day of its hours."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from archiver.blocks import Floats, Integers, column
from archiver.sample import END_OF_TIME_NS, INVALID, Dated
from archiver.storage.summary import DAY_NS, HOUR_NS, MINUTE_NS, SummaryBin

# Numbers beyond that would overflow when they are squared.
LARGEST = 1e140

Flags = npt.NDArray[np.bool_]


class SummaryRow(NamedTuple):
    """A row of which summaries are made: ``number`` is None if it is none, ``status`` its id."""

    time_ns: int
    number: float | None
    severity: int
    status: int


class Made(NamedTuple):
    """The bins of a minute and of an hour of some hours, and the hours of which none can be made."""

    bins: list[SummaryBin]
    holes: list[int]


@dataclass(frozen=True)
class Rows:
    """Rows in columns: what a SummaryRow has, NaN for no number, and which numbers are integers."""

    time_ns: Integers
    number: Floats
    severity: Integers
    status: Integers
    integer: Flags

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]]) -> Self:
        """Return SummaryRow, or tuples like them, in columns."""
        times, numbers, severities, statuses = ([row[field] for row in rows] for field in range(4))
        kinds = set(map(type, numbers))
        mixed = int in kinds and len(kinds) > 1
        return cls(
            np.array(times, np.int64),
            np.array(numbers, np.float64),
            column(severities) if rows else np.array([], np.int64),
            column(statuses) if rows else np.array([], np.int64),
            np.array([type(n) is int for n in numbers]) if mixed else np.full(len(rows), int in kinds),
        )

    def __len__(self) -> int:
        return len(self.time_ns)

    def until(self, end_ns: int) -> Rows:
        """Return those before a time."""
        end = int(np.searchsorted(self.time_ns, end_ns))
        return Rows(*(each[:end] for each in self._columns()))

    def after(self, rows: Rows) -> Rows:
        """Return other rows with these after them."""
        return Rows(*map(np.concatenate, zip(rows._columns(), self._columns(), strict=True)))

    def _columns(self) -> Sequence[Any]:
        return self.time_ns, self.number, self.severity, self.status, self.integer


class _Judged:
    """Rows, led by the one in force before them, and which are known, odd or gaps; an odd number is 0 here."""

    def __init__(self, rows: Rows, gaps: Collection[int], metadata: Sequence[Dated]) -> None:
        self.time_ns, self.severity, self.status, self.integer = (
            rows.time_ns,
            rows.severity,
            rows.status,
            rows.integer,
        )
        self.gap: Flags = np.isin(rows.status, list(gaps))
        self.known: Flags = (rows.severity < INVALID) & ~self.gap
        self.odd: Flags = (rows.severity < INVALID) & (self.gap | ~(np.abs(rows.number) < LARGEST))
        for begin_ns, end_ns in _states(metadata):
            self.odd |= self.known & self.integer & (self.time_ns >= begin_ns) & (self.time_ns < end_ns)
        self.number: Floats = np.where(self.known & ~self.odd, rows.number, 0.0)


def make(rows: Rows, end_ns: int, gaps: Collection[int], metadata: Sequence[Dated]) -> Made:
    """Return the bins of the hours up to ``end_ns`` in which the rows lie, but for the first: it leads, as in force.

    ``gaps`` are the numbers of statuses that mark a gap; ``metadata`` say which integers are states. An hour is a
    hole if it is not of plain numbers of one kind alone: if a state, text, array, NaN or very large number is in
    force in it.
    """
    if len(rows) < 2:
        return Made([], [])
    columns = _Judged(rows, gaps, metadata)
    holes = list(_holes(columns))
    no_hole = set(holes)
    bins = [
        each
        for width_ns in (MINUTE_NS, HOUR_NS)
        for each in _bins(columns, width_ns, end_ns)
        if each.time_ns // HOUR_NS * HOUR_NS not in no_hole
    ]
    return Made(bins, holes)


def _states(metadata: Sequence[Dated]) -> Iterator[tuple[int, int]]:
    """Yield from when until when the integers are states; the first metadata hold from the beginning."""
    begins = [0, *(each.since_ns for each in metadata[1:]), END_OF_TIME_NS]
    for number, each in enumerate(metadata):
        if each.metadata.words:
            yield begins[number], begins[number + 1]


def _holes(rows: _Judged) -> Iterator[int]:
    """Yield the hours that are no plain numbers of one kind; what is in force when they begin counts, too."""
    hours = rows.time_ns[1:] // HOUR_NS
    begins = np.flatnonzero(np.diff(hours, prepend=-1))
    kinds = np.where(rows.known, np.where(rows.integer, 1, 2), 0) | np.where(rows.odd, 4, 0)
    own = np.bitwise_or.reduceat(kinds[1:], begins)
    for hour, kind in zip(hours[begins].tolist(), (own | kinds[begins]).tolist(), strict=True):
        if kind > 2:
            yield hour * HOUR_NS


def _bins(rows: _Judged, width_ns: int, end_ns: int) -> Iterator[SummaryBin]:
    """Yield a bin for each in which a row lies.

    Each row is in force until the next, or the end of its bin; the first of a bin has that before it as a piece.
    """
    times = rows.time_ns[1:]
    bins = times // width_ns
    first = np.flatnonzero(np.diff(bins, prepend=-1))
    until = np.minimum(np.append(times[1:], end_ns), (bins + 1) * width_ns)
    begins = first + np.arange(len(first))
    source = np.insert(np.arange(1, len(times) + 1), first, first)
    held_ns = np.insert(until - times, first, times[first] - bins[first] * width_ns)
    is_row = np.insert(np.ones(len(times), bool), first, False)

    there = is_row | (held_ns > 0)
    number, severity, gap = rows.number[source], rows.severity[source], rows.gap[source]
    known = rows.known[source]
    seen = known & there
    total, largest = np.add.reduceat, np.maximum.reduceat
    groups = np.repeat(np.arange(len(first)), np.diff(np.append(begins, len(source))))

    weight = np.where(known, held_ns, 0).astype(np.float64)
    weights = total(weight, begins)
    mean = total(weight * number, begins) / np.where(weights > 0, weights, 1.0)
    spread = np.where(known, number - mean[groups], 0.0)
    deviation = np.sqrt(total(weight * spread * spread, begins) / np.where(weights > 0, weights, 1.0))
    counted = known & is_row
    count = total(counted.astype(np.int64), begins)
    mean_rows = total(np.where(counted, number, 0.0), begins) / np.maximum(count, 1)
    last = np.append(first[1:], len(times))

    columns = (
        bins[first] * width_ns,
        count,
        np.minimum.reduceat(np.where(seen, number, math.inf), begins),
        largest(np.where(seen, number, -math.inf), begins),
        mean,
        deviation,
        mean_rows,
        total(np.where(known & (severity > 0), held_ns, 0), begins),
        total(np.where(~gap & (severity == INVALID), held_ns, 0), begins),
        total(np.where(gap, held_ns, 0), begins),
        largest(np.where(there, severity, 0), begins) + 1,
        largest(np.where(seen, severity, 0), begins) + 1,
        rows.time_ns[last],
        rows.severity[last] + 1,
        rows.status[last],
        rows.number[last],
        np.add.reduceat((rows.integer[source] & seen).astype(np.int64), begins) > 0,
        weights,
        rows.known[last],
    )
    for time_ns, n, low, high, of_time, std, of_rows, *others, number_, integer, weighed, is_known in zip(
        *(each.tolist() for each in columns), strict=True
    ):
        extremes = (low, high) if low <= high else (None, None)
        over_time = (of_time, std) if weighed else (None, None)
        before_last = (width_ns, time_ns, n, *extremes, *over_time, of_rows if n else None, *others)
        yield SummaryBin._make((*before_last, number_ if is_known else None, int(integer)))


def merge(hours: Sequence[SummaryBin], before: SummaryRow, gaps: Collection[int], day_ns: int) -> SummaryBin | None:
    """Return the bin of a day from those of its hours, at least one; ``before`` is in force when it begins.

    None if some are of integers and others are not.
    """
    parts: list[SummaryBin] = []
    row, at_ns = before, day_ns
    for hour in [*hours, None]:
        until_ns = hour.time_ns if hour else day_ns + DAY_NS
        if until_ns > at_ns:
            parts.append(_held(row, gaps, at_ns, until_ns))
        if hour:
            parts.append(hour)
            row = SummaryRow(hour.last_ns, hour.last, hour.last_severity_id - 1, hour.last_status_id)
            at_ns = hour.end_ns
    if len({each.integer for each in hours if each.minimum is not None}) > 1:
        return None
    count = sum(each.count for each in parts)
    shares = [each.mean_rows * (each.count / count) for each in parts if each.mean_rows is not None]
    return SummaryBin(
        DAY_NS,
        day_ns,
        count,
        min((each.minimum for each in parts if each.minimum is not None), default=None),
        max((each.maximum for each in parts if each.maximum is not None), default=None),
        *_over_time([each for each in parts if each.mean is not None and each.known_ns]),
        math.fsum(shares) if count else None,
        sum(each.alarm_ns for each in parts),
        sum(each.invalid_ns for each in parts),
        sum(each.gap_ns for each in parts),
        max(each.severity_id for each in parts),
        max(each.known_severity_id for each in parts),
        row.time_ns,
        row.severity + 1,
        row.status,
        row.number,
        int(any(each.integer for each in hours)),
    )


def _held(row: SummaryRow, gaps: Collection[int], begin_ns: int, end_ns: int) -> SummaryBin:
    """Return what a row in force for a whole stretch adds, as a bin without rows."""
    width_ns, gap = end_ns - begin_ns, row.status in gaps
    known = row.severity < INVALID and not gap
    number = row.number if known else None
    return SummaryBin(
        width_ns,
        begin_ns,
        0,
        number,
        number,
        number,
        None if number is None else 0.0,
        None,
        width_ns if known and row.severity else 0,
        0 if known or gap else width_ns,
        width_ns if gap else 0,
        row.severity + 1,
        row.severity + 1 if known else 1,
        row.time_ns,
        row.severity + 1,
        row.status,
        number,
        int(type(number) is int),
    )


def _over_time(parts: Sequence[SummaryBin]) -> tuple[float | None, float | None]:
    """Return mean and deviation over time of several bins."""
    weights = np.array([each.known_ns for each in parts], np.float64)
    if not weights.sum():
        return None, None
    means = np.array([each.mean for each in parts], np.float64)
    deviations = np.array([each.deviation for each in parts], np.float64)
    shares = weights / weights.sum()
    mean = float((shares * means).sum())
    return mean, float(np.sqrt((shares * (deviations**2 + (means - mean) ** 2)).sum()))
