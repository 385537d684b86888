"""Statistics of bins of time, as the Archiver Appliance makes them of samples: an empty bin is as the one before it.

But for what is not known: a value that is INVALID counts as little as NaN, and a bin that is empty while nothing is
known is NaN and INVALID.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from archiver.blocks import Floats, Integers
from archiver.sample import INVALID, Metadata
from web.retrieval.parts import Parts, merged, merged_bins, whole_bins
from web.retrieval.payload import Kind, Piece

# Bins that are written at once: a PV that seldom changes may have many empty ones.
SLICE = 20_000
_SECOND_NS = 10**9


class Bins(NamedTuple):
    """Which bins there are: of a width (s), the last one; ``fill``: those without samples, too."""

    width_s: int
    last: int
    fill: bool


def _deviation(parts: Parts) -> Floats:
    return np.where(parts.known > 0, np.sqrt(parts.squares / np.maximum(parts.known - 1, 1)), np.nan)


def _jitter(parts: Parts) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        jitter: Floats = _deviation(parts) / parts.mean
    return jitter


def _statistics(parts: Parts) -> Floats:
    return np.column_stack((parts.mean, _deviation(parts), parts.low, parts.high, parts.known))


# Of one part for each bin
STATISTICS: dict[str, Callable[[Parts], Floats]] = {
    "mean": lambda parts: parts.mean,
    "min": lambda parts: parts.low,
    "max": lambda parts: parts.high,
    "count": lambda parts: parts.known.astype(np.float64),
    "std": _deviation,
    "jitter": _jitter,
    "statistics": _statistics,
    "optimized": _statistics,
    "optimLastSample": lambda parts: np.column_stack((_statistics(parts), parts.last)),
}


def _median(numbers: Floats, _seconds: Floats, _width_s: int) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a bin of which nothing is known
        return float(np.nanmedian(numbers))


def _linear(numbers: Floats, seconds: Floats, width_s: int) -> float:
    """Return the number in the middle of a bin, on the line between its samples; else the first one."""
    known = ~np.isnan(numbers)
    x, y, middle = seconds[known], numbers[known], width_s // 2
    if not len(x):
        return np.nan
    return float(np.interp(middle, x, y) if x[0] <= middle <= x[-1] else y[0])


# Of all numbers of a bin
OF_ALL: dict[str, Callable[[Floats, Floats, int], float]] = {"median": _median, "linear": _linear}


class _Rows(NamedTuple):
    """The statistics of bins in which there are samples, and whether nothing is known at the end of each."""

    bin: Integers
    value: Floats
    severity: Integers
    unknown: Integers

    def followed_by(self, other: _Rows) -> _Rows:
        columns: Any = map(np.concatenate, zip(self, other, strict=True))
        return _Rows(*columns)

    def last(self) -> _Rows:
        columns: Any = (column[-1:] for column in self)
        return _Rows(*columns)


def binned(parts: Iterable[Parts], name: str, bins: Bins, metadata: Metadata) -> Iterator[Piece]:
    """Yield the statistics of bins as pieces, each bin at its middle. Raises BadRequest."""
    before: _Rows | None = None
    for rows in _rows(parts, name, bins.width_s):
        last = int(rows.bin[-1])
        if before is None:
            yield from _filled(rows, int(rows.bin[0]), last, name, bins, metadata)
        else:
            yield from _filled(before.followed_by(rows), int(before.bin[0]) + 1, last, name, bins, metadata)
        before = rows.last()
    if before is not None:
        yield from _filled(before, int(before.bin[0]) + 1, bins.last, name, bins, metadata)


def _rows(parts: Iterable[Parts], name: str, width_s: int) -> Iterator[_Rows]:
    if name in STATISTICS:
        for each in merged_bins(parts):
            yield _Rows(each.bin, STATISTICS[name](each), each.severity, each.unknown)
        return
    for whole in whole_bins(parts):
        each, cuts = merged(whole), whole.begins[1:]
        columns = zip(np.split(whole.mean, cuts), np.split(whole.seconds, cuts), strict=True)
        value = np.array([OF_ALL[name](*column, width_s) for column in columns])
        yield _Rows(each.bin, value, each.severity, each.unknown)


def _filled(rows: _Rows, first: int, last: int, name: str, bins: Bins, metadata: Metadata) -> Iterator[Piece]:
    """Yield the bins from one number to another."""
    if not bins.fill:
        wanted = (rows.bin >= first) & (rows.bin <= last)
        if wanted.any():
            yield _piece(rows.bin[wanted], rows.value[wanted], rows.severity[wanted], bins.width_s, metadata)
        return
    for begin in range(first, last + 1, SLICE):
        numbers = np.arange(begin, min(begin + SLICE, last + 1))
        source = np.searchsorted(rows.bin, numbers, "right") - 1
        empty = rows.bin[source] != numbers
        value, severity = rows.value[source], rows.severity[source]
        if name == "count":
            value, severity = np.where(empty, 0.0, value), np.where(empty, 0, severity)
        lost = empty & (rows.unknown[source] > 0)
        if lost.any():
            severity = np.where(lost, INVALID, severity)
            value[lost] = 0.0 if name == "count" else np.nan
        yield _piece(numbers, value, severity, bins.width_s, metadata)


def _piece(bins: Integers, value: Floats, severity: Integers, width_s: int, metadata: Metadata) -> Piece:
    half_ns = width_s // 2 * _SECOND_NS + (_SECOND_NS // 2 if width_s % 2 else 0)
    time_ns = bins * (width_s * _SECOND_NS) + half_ns
    kind = Kind.WAVEFORM_DOUBLE if value.ndim > 1 else Kind.SCALAR_DOUBLE
    return Piece(kind, metadata, time_ns, value, severity, np.zeros(len(bins), np.int64), {})
