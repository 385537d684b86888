"""What a request gets from the archive: samples, or what an operator makes of them, from summaries where they fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain, pairwise

import numpy as np

from archiver.blocks import SummaryColumns
from archiver.history.segments import Segment, segments_of
from archiver.sample import Dated, Metadata
from archiver.storage.store import Reader
from archiver.storage.summary import DAY_NS, HOUR_NS, WIDTHS
from web.retrieval import picks
from web.retrieval.bins import STATISTICS, Bins, binned
from web.retrieval.operators import Operator, Way
from web.retrieval.parts import Parts, of_piece
from web.retrieval.payload import NUMBERS, Kind, Piece
from web.retrieval.pieces import metadata_at, nothing, pieces
from web.retrieval.request import BadRequest, Span, Wanted

_SECOND_NS = 10**9
# Rows of a span, about, from which on they are not read where summaries can answer
MANY = 200_000
# Bins of an answer, at most, where those without samples are written, too: 100 MB
MOST_BINS = 5_000_000


class Gone(Exception):
    """Nobody waits for the answer any more."""


class Source:
    """An open archive; ``gone`` returns True when nobody waits any more, which ends a long reading."""

    def __init__(self, reader: Reader, now_ns: int, gone: Callable[[], bool]) -> None:
        self._reader = reader
        self._dated = cache(reader.metadata)
        self._summaries = cache(self._summarized)
        self._about = cache(self._counted)
        self._now_ns = now_ns
        self._gone = gone

    def check(self, asked: Sequence[Wanted], span: Span) -> None:
        """Raise BadRequest for what cannot be answered, before anything is: a mean of texts, endless bins."""
        bins = 0
        for pv, operator in asked:
            if operator is None or not (operator.needs_numbers or operator.fills):
                continue
            first = self._first(pv, span)
            if first is None:
                continue
            if operator.needs_numbers and not self._has_numbers(pv, first):
                raise BadRequest(
                    f"{operator.name} needs numbers, and {pv} is a text or an array: ask for nth, or lastSample"
                )
            if operator.fills:
                begin_ns = max(span.since_ns, int(first.time_ns[0]))
                bins += max(0, min(span.until_ns, self._now_ns) - begin_ns) // (operator.number * _SECOND_NS) + 1
        if bins > MOST_BINS:
            raise BadRequest(
                f"the answer would have {bins:,} bins, and {MOST_BINS:,} are allowed: "
                "ask for longer bins, a shorter span, or fewer PVs"
            )

    def _first(self, pv: str, span: Span) -> Piece | None:
        """Return the piece with the sample in force when the span begins, or else its first one."""
        found = chain(self._raw(pv, Span(span.since_ns, span.since_ns)), self._raw(pv, span))
        return next((piece for piece in found if len(piece.time_ns)), None)

    def _has_numbers(self, pv: str, first: Piece) -> bool:
        """Return whether a PV is one of numbers: one that has a unit may have been a text for a while."""
        return first.kind in NUMBERS or (first.kind is Kind.SCALAR_STRING and bool(self._dated(pv)))

    def pieces(self, wanted: Wanted, span: Span) -> Iterator[Piece]:
        """Yield what was asked for: pieces with samples, or one without, which tells type and metadata."""
        found = self._made(wanted.pv, wanted.operator, span)
        empty: Piece | None = None
        some = False
        for piece in found:
            if len(piece.time_ns):
                some = True
                yield piece
            else:
                empty = piece
        if not some:
            about = self._dated(wanted.pv)
            yield empty or nothing(Kind.SCALAR_DOUBLE, metadata_at(about, span.until_ns))

    def _made(self, pv: str, operator: Operator | None, span: Span) -> Iterator[Piece]:
        """Return what an operator makes."""
        match operator:
            case None:
                made = self._raw(pv, span)
            case Operator(way=Way.NTH, number=number):
                made = picks.nth(self._raw(pv, span), span, number)
            case Operator(way=Way.NCOUNT):
                made = picks.ncount(self._raw(pv, span), span, self._metadata(pv, span))
            case Operator(way=Way.FLYERS):
                made = picks.flyers(self._raw(pv, span), operator)
            case Operator(way=Way.PICK, number=number):
                made = picks.picked(self._raw(pv, span), operator, *self._bins(operator, number, span))
            case Operator(way=Way.OPTIMIZED):
                made = self._optimized(pv, operator, span)
            case Operator(number=number):
                made = self._binned(pv, operator, number, span)
        return made

    def _raw(self, pv: str, span: Span) -> Iterator[Piece]:
        for piece in pieces(self._reader, pv, span.since_ns, span.until_ns, self._dated(pv)):
            if self._gone():
                raise Gone
            yield piece

    def _metadata(self, pv: str, span: Span) -> Metadata:
        """Return the metadata of numbers that are made: those that hold at the end, without words of states."""
        metadata = metadata_at(self._dated(pv), span.until_ns)
        return Metadata() if metadata.words else metadata

    def _bins(self, operator: Operator, width_s: int, span: Span) -> tuple[Bins, int]:
        """Return the bins, up to now, and the number of the first one."""
        last = min(span.until_ns, self._now_ns) // _SECOND_NS // width_s
        return Bins(width_s, last, operator.fill), span.since_ns // _SECOND_NS // width_s

    def _binned(self, pv: str, operator: Operator, width_s: int, span: Span) -> Iterator[Piece]:
        summaries = self._summaries(pv, span) if operator.name in STATISTICS and width_s % 60 == 0 else ()
        for part in _of_one_unit(self._dated(pv), span, width_s * _SECOND_NS):
            metadata = self._metadata(pv, part)
            parts = self._parts(pv, part, width_s, metadata.unit, summaries)
            yield from binned(parts, operator.name, self._bins(operator, width_s, part)[0], metadata)

    def _optimized(self, pv: str, operator: Operator, span: Span) -> Iterator[Piece]:
        """Return the samples if they are few, or no numbers; else bins, of full minutes or hours for a long span."""
        points = min(operator.number, MOST_BINS)
        width_s = max(1, (span.until_ns - span.since_ns) // _SECOND_NS // points)
        if summaries := self._summaries(pv, span):
            stored_s = next((each // _SECOND_NS for each in WIDTHS if each <= width_s * _SECOND_NS), 1)
            width_s = -(-width_s // stored_s) * stored_s
        if summaries and self._about(pv, span) > MANY:
            return self._binned(pv, operator, width_s, span)
        raw = self._raw(pv, span)
        first: list[Piece] = []
        for piece in raw:
            first.append(piece)
            if piece.kind not in NUMBERS:
                return chain(first, raw)
            if sum(len(each.time_ns) for each in first) > points:
                return self._binned(pv, operator, width_s, span)
        return iter(first)

    def _summarized(self, pv: str, span: Span) -> Sequence[tuple[int, int]]:
        """Return from when until when (ns) summaries are taken: where rows are many, or where they were thinned."""
        stretches = self._reader.summarized(pv)
        if not stretches or self._about(pv, span) > MANY:
            return stretches
        thinned = self._reader.bins(pv, span.since_ns, span.until_ns)
        end_ns = thinned[-1].end_ns if thinned else 0  # the oldest rows are thinned first
        return [(since_ns, min(until_ns, end_ns)) for since_ns, until_ns in stretches if since_ns < end_ns]

    def _counted(self, pv: str, span: Span) -> int:
        """Return how many numbers there are, about, as far as they are summarized."""
        stretches = self._reader.summarized(pv)
        if not stretches:
            return 0
        width_ns = DAY_NS if span.until_ns - span.since_ns > 10 * DAY_NS else HOUR_NS
        columns = self._reader.summary_columns(pv, width_ns, max(span.since_ns, stretches[0][0]), span.until_ns)
        return sum(int(each.count.sum()) for each in columns)

    def _parts(
        self, pv: str, span: Span, width_s: int, unit: str, summaries: Sequence[tuple[int, int]]
    ) -> Iterator[Parts]:
        """Yield the samples, and summaries in their place; what is in force before the span is a bin before it."""
        first = span.since_ns // _SECOND_NS // width_s
        window = Segment(span.since_ns, span.until_ns + 1, 0)
        for piece in self._raw(pv, Span(span.since_ns, span.since_ns)):
            if piece.metadata.unit != unit:
                continue
            before = of_piece(piece.take(piece.time_ns < span.since_ns), width_s)
            yield before._replace(bin=np.full(len(before.bin), first - 1))
        for begin_ns, end_ns, width_ns in segments_of(window, summaries, width_s * _SECOND_NS):
            if width_ns:
                for columns in self._reader.summary_columns(pv, width_ns, begin_ns, end_ns):
                    yield _of_summaries(columns, width_s)
                continue
            for piece in self._raw(pv, Span(begin_ns, end_ns - 1)):
                yield of_piece(piece.take(piece.time_ns >= begin_ns), width_s)


def _of_one_unit(metadata: Sequence[Dated], span: Span, width_ns: int) -> Iterator[Span]:
    """Yield the parts of a span in which numbers have one unit; the bin of a change has those after it alone."""
    since_ns = span.since_ns
    for before, after in pairwise(metadata):
        change_ns = after.since_ns
        if before.metadata.unit == after.metadata.unit or not since_ns < change_ns <= span.until_ns:
            continue
        until_ns = change_ns // width_ns * width_ns - 1
        if since_ns <= until_ns:
            yield Span(since_ns, until_ns)
        since_ns = change_ns
    yield Span(since_ns, span.until_ns)


def _of_summaries(columns: SummaryColumns, width_s: int) -> Parts:
    """Return summaries as parts: the deviation is that over time, the lowest and highest what was in force, too."""
    known = columns.count > 0
    return Parts(
        columns.time_ns // _SECOND_NS // width_s,
        np.zeros(len(known)),
        columns.count,
        np.where(known, columns.mean_rows, np.nan),
        np.where(known, np.nan_to_num(columns.deviation) ** 2 * columns.count, 0.0),
        np.where(known, columns.minimum, np.nan),
        np.where(known, columns.maximum, np.nan),
        np.where(known, columns.last, np.nan),
        columns.severity_id - 1,
        np.isnan(columns.last).astype(np.int64),
    )
