"""Operators that choose samples: the first or last of each bin, each so manieth, the ones far from the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from archiver.blocks import Integers
from archiver.sample import INVALID, Metadata
from web.retrieval.bins import SLICE, Bins
from web.retrieval.operators import Operator
from web.retrieval.parts import MOST, merged, of_piece, whole_bins
from web.retrieval.payload import Kind, Piece
from web.retrieval.request import BadRequest, Span

_SECOND_NS = 10**9


def nth(pieces: Iterable[Piece], span: Span, number: int) -> Iterator[Piece]:
    """Yield each so manieth sample of the span, the first one included."""
    seen = 0
    for piece in pieces:
        within = piece.take(piece.time_ns >= span.since_ns)
        chosen = within.take(slice(-seen % number, None, number))
        seen += len(within.time_ns)
        yield chosen


def ncount(pieces: Iterable[Piece], span: Span, metadata: Metadata) -> Iterator[Piece]:
    """Yield one sample: how many there are in the span."""
    count = min(sum(int((piece.time_ns >= span.since_ns).sum()) for piece in pieces), 2**31 - 1)
    zero = np.zeros(1, np.int64)
    yield Piece(Kind.SCALAR_INT, metadata, zero + span.since_ns, zero + count, zero, zero, {})


def flyers(pieces: Iterable[Piece], operator: Operator) -> Iterator[Piece]:
    """Yield the samples that are more than some deviations from the mean of their bin, or all others."""
    waiting: list[Piece] = []
    current, size = -1, 0
    for piece in pieces:
        bins = _bins(piece, operator.number)
        for begin, end in _runs(bins):
            if int(bins[begin]) != current:
                yield from _flyers(waiting, operator)
                waiting, current, size = [], int(bins[begin]), 0
            waiting.append(piece.take(slice(begin, end)))
            size += end - begin
            if size > MOST:
                raise BadRequest(f"a bin has more than {MOST:,} samples: ask for shorter bins")
    yield from _flyers(waiting, operator)


def _flyers(waiting: list[Piece], operator: Operator) -> Iterator[Piece]:
    parts = [of_piece(each, operator.number) for each in waiting]
    for whole in whole_bins(parts):
        each = merged(whole)
        cutoff = operator.deviations * float(np.sqrt(each.squares[0] / max(int(each.known[0]) - 1, 1)))
        for piece, part in zip(waiting, parts, strict=True):
            far = np.abs(part.mean - each.mean[0]) > cutoff
            yield piece.take(far if operator.name == "flyers" else ~far)


def picked(pieces: Iterable[Piece], operator: Operator, bins: Bins, first_bin: int) -> Iterator[Piece]:
    """Yield the first or last sample of each bin; to fill, at the middle of each bin, empty ones included."""
    first = operator.name.startswith("first")
    if operator.name.endswith("Fill"):
        return _filled(_picks(pieces, bins.width_s, first_bin, first=first), bins)
    return (_firsts if first else _lasts)(pieces, bins.width_s)


def _firsts(pieces: Iterable[Piece], width_s: int) -> Iterator[Piece]:
    before = -1
    for piece in pieces:
        bins = _bins(piece, width_s)
        yield piece.take(np.diff(bins, prepend=before) != 0)
        before = int(bins[-1]) if len(bins) else before


def _lasts(pieces: Iterable[Piece], width_s: int) -> Iterator[Piece]:
    held: Piece | None = None
    for piece in pieces:
        if not len(piece.time_ns):
            yield piece
            continue
        bins = _bins(piece, width_s)
        if held is not None and _bins(held, width_s)[0] != bins[0]:
            yield held
        yield piece.take(np.append(np.diff(bins) != 0, np.False_))
        held = piece.take(slice(-1, None))
    if held is not None:
        yield held


class _Pick(NamedTuple):
    """A bin: the sample that was picked of it, and its last one."""

    bin: int
    sample: Piece
    last: Piece


def _picks(pieces: Iterable[Piece], width_s: int, first_bin: int, *, first: bool) -> Iterator[_Pick]:
    held: _Pick | None = None
    for piece in pieces:
        bins = np.maximum(_bins(piece, width_s), first_bin - 1)
        for begin, end in _runs(bins):
            number, last = int(bins[begin]), piece.take(slice(end - 1, end))
            if held is not None and held.bin == number:
                held = _Pick(number, held.sample if first else last, last)
                continue
            if held is not None:
                yield held
            held = _Pick(number, piece.take(slice(begin, begin + 1)) if first else last, last)
    if held is not None:
        yield held


def _filled(picks: Iterator[_Pick], bins: Bins) -> Iterator[Piece]:
    """Yield a sample for each bin; an empty one is as the one before it, or not known if nothing was at its end."""
    before: _Pick | None = None
    for pick in picks:
        if before is not None:
            yield from _repeated(before, pick.bin - 1, bins.width_s)
        before = pick
    if before is not None:
        yield from _repeated(before, bins.last, bins.width_s)


def _repeated(pick: _Pick, last: int, width_s: int) -> Iterator[Piece]:
    rest = pick.last if pick.last.severity[0] >= INVALID else pick.sample
    if pick.bin <= last:
        yield _centred(pick.sample, np.array([pick.bin]), width_s)
    for begin in range(pick.bin + 1, last + 1, SLICE):
        yield _centred(rest, np.arange(begin, min(begin + SLICE, last + 1)), width_s)


def _centred(sample: Piece, bins: Integers, width_s: int) -> Piece:
    repeated = sample.take(np.zeros(len(bins), np.int64))
    return repeated._replace(time_ns=(bins * width_s + width_s // 2) * _SECOND_NS, fields={})


def _bins(piece: Piece, width_s: int) -> Integers:
    return piece.time_ns // _SECOND_NS // width_s


def _runs(bins: Integers) -> Iterator[tuple[int, int]]:
    """Yield where each run of one bin begins and ends."""
    begins = np.flatnonzero(np.diff(bins, prepend=-1)).tolist()
    return zip(begins, [*begins, len(bins)][1:], strict=True)
