"""Numbers of a PV, and summaries of many, as parts that can be merged into those of bins of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from archiver.blocks import Floats, Integers
from archiver.sample import INVALID
from web.retrieval.payload import NUMBERS, Piece
from web.retrieval.request import BadRequest

_SECOND_NS = 10**9
# Samples of one bin at most, where they are needed together
MOST = 2_000_000


class Parts(NamedTuple):
    """Samples, each as a part, or summaries of some, or of bins, in order of time.

    bin         number of the bin of time
    seconds     since the bin began; of a bin or a summary without meaning
    known       samples whose number is known: not INVALID, no gap, not NaN
    mean        of them; NaN without any, as ``low``, ``high`` and ``last``
    squares     sum of the squares of their distances from the mean
    severity    the worst
    unknown     1 if what is in force at the end is not known
    """

    bin: Integers
    seconds: Floats
    known: Integers
    mean: Floats
    squares: Floats
    low: Floats
    high: Floats
    last: Floats
    severity: Integers
    unknown: Integers

    def part(self, chosen: slice) -> Parts:
        """Return some of them."""
        columns: Any = (column[chosen] for column in self)
        return Parts(*columns)

    def followed_by(self, other: Parts) -> Parts:
        """Return these and others after them."""
        columns: Any = map(np.concatenate, zip(self, other, strict=True))
        return Parts(*columns)

    @property
    def begins(self) -> Integers:
        """Return the indexes at which bins begin."""
        return np.flatnonzero(np.diff(self.bin, prepend=-1))


def of_piece(piece: Piece, width_s: int) -> Parts:
    """Return the samples of a piece as parts of bins of a width.

    A text, an array, NaN or an infinite value is a number that is not known.
    """
    nothing = np.full(len(piece.time_ns), np.nan)
    number = np.asarray(piece.value, np.float64) if piece.kind in NUMBERS else nothing
    unknown = (piece.severity >= INVALID) | ~np.isfinite(number)
    number = np.where(unknown, np.nan, number) if unknown.any() else number
    bins = piece.time_ns // _SECOND_NS // width_s
    return Parts(
        bins,
        (piece.time_ns - bins * (width_s * _SECOND_NS)) / 1e9,
        (~unknown).astype(np.int64),
        number,
        np.zeros(len(number)),
        number,
        number,
        number,
        piece.severity,
        unknown.astype(np.int64),
    )


def merged(parts: Parts) -> Parts:
    """Return one part for each bin."""
    begins = parts.begins
    total = np.add.reduceat
    known = total(parts.known, begins)
    there, safe = known > 0, np.maximum(known, 1)
    counts = parts.known > 0
    mean = total(np.where(counts, parts.mean * parts.known, 0.0), begins) / safe
    groups = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(parts.bin))))
    spread = np.where(counts, parts.squares + parts.known * (parts.mean - mean[groups]) ** 2, 0.0)
    newest = np.maximum.reduceat(np.where(np.isnan(parts.last), -1, np.arange(len(parts.bin))), begins)
    return Parts(
        parts.bin[begins],
        parts.seconds[begins],
        known,
        np.where(there, mean, np.nan),
        total(spread, begins),
        np.fmin.reduceat(parts.low, begins),
        np.fmax.reduceat(parts.high, begins),
        np.where(newest >= 0, parts.last[newest], np.nan),
        np.maximum.reduceat(parts.severity, begins),
        parts.unknown[np.append(begins[1:], len(parts.bin)) - 1],
    )


def merged_bins(parts: Iterable[Parts]) -> Iterator[Parts]:
    """Yield one part for each bin, however many samples it has."""
    rest: Parts | None = None
    for each in parts:
        if not len(each.bin):
            continue
        found = merged(each if rest is None else rest.followed_by(each))
        if len(found.bin) > 1:
            yield found.part(slice(None, -1))
        rest = found.part(slice(-1, None))
    if rest is not None:
        yield rest


def whole_bins(parts: Iterable[Parts]) -> Iterator[Parts]:
    """Yield parts, cut between bins alone. Raises BadRequest for a bin that is too large."""
    rest: list[Parts] = []
    waiting = 0
    for each in parts:
        if not len(each.bin):
            continue
        rest.append(each)
        waiting += len(each.bin)
        if waiting > MOST:
            raise BadRequest(f"a bin has more than {MOST:,} samples: ask for shorter bins")
        if each.bin[-1] == rest[0].bin[0]:
            continue
        joined = _joined(rest)
        cut = int(np.searchsorted(joined.bin, joined.bin[-1]))
        yield joined.part(slice(None, cut))
        rest = [joined.part(slice(cut, None))]
        waiting = len(rest[0].bin)
    if rest:
        yield _joined(rest)


def _joined(parts: list[Parts]) -> Parts:
    columns: Any = map(np.concatenate, zip(*parts, strict=True))
    return Parts(*columns)
