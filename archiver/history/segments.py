"""What a query of numbers is answered from: summaries where they were made and fit, rows elsewhere."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, pairwise
from operator import attrgetter
from typing import NamedTuple

from archiver.history.query import Query
from archiver.sample import Sample
from archiver.storage.store import Bin
from archiver.storage.summary import MINUTE_NS, WIDTHS, Summary

# Bins of a width that is no multiple of a minute are answered from rows if they are shorter (ns): there is little but
# edges.
SHORTEST_NS = 5 * MINUTE_NS

Stretch = tuple[int, int]


class Segment(NamedTuple):
    """A stretch of time (ns), its end not included: summaries of a width, or rows (0)."""

    begin_ns: int
    end_ns: int
    width_ns: int


class Plan:
    """The segments of each PV of a query.

    ``width_ns``: of the bins that are asked for, which begin at its multiples; 0 if the window is one.
    """

    def __init__(self, query: Query, width_ns: int = 0) -> None:
        self._query = query
        window = Segment(query.window.begin_ns, query.window.until_ns + 1, 0)
        self._segments: dict[str, tuple[Segment, ...]] = {}
        self._since: dict[str, int] = {}  # from when on summaries tell what is in force when the window begins
        self._told: dict[str, Sample] = {}  # what they tell
        for pv in query.names:
            stretches = query.reader.summarized(pv)
            self._segments[pv] = segments = segments_of(
                window, cut_at(stretches, query.metadata.changes(pv)), width_ns
            )
            if segments[0].width_ns:
                self._since[pv] = next(begin for begin, end in stretches if begin <= window.begin_ns < end)

    def items(self) -> Iterator[Sample | Summary]:
        """Yield rows and summaries in order of time, led by each PV's newest row before the window.

        PVs that have the same segments are read together.
        """
        groups: dict[tuple[Segment, ...], list[str]] = {}
        for pv, segments in self._segments.items():
            groups.setdefault(segments, []).append(pv)
        streams = [self._items(pvs, segments) for segments, pvs in groups.items()]
        return streams[0] if len(streams) == 1 else merge(*streams, key=attrgetter("time_ns"))

    def counts(self, pv: str, thinned: Bin) -> bool:
        """Return whether a thinned bin stands for its rows: if it begins in the window, and none is in a summary."""
        *others, last = self._segments[pv]
        if not last.width_ns and last.begin_ns <= thinned.time_ns:
            return True
        return any(
            not each.width_ns and each.begin_ns <= thinned.time_ns and thinned.end_ns <= each.end_ns
            for each in others
        )

    def told(self, sample: Sample) -> bool:
        """Return whether summaries tell that a sample is the one in force when the window begins."""
        return self._told.get(sample.pv) is sample

    def of_rows(self, pv: str, thinned: Iterable[Bin]) -> list[Bin]:
        """Return those of some thinned bins of which a part is answered from rows, be it what is in force at first.

        One that begins where the window ends has no part in it.
        """
        window = self._query.window
        rows = [each for each in self._segments[pv] if not each.width_ns]
        ends = [each.end_ns for each in rows]
        found = ((each, bisect_right(ends, each.time_ns)) for each in thinned if each.time_ns < window.until_ns)
        return [
            each
            for each, n in found
            if (n < len(rows) and rows[n].begin_ns < each.end_ns) or each.time_ns < window.begin_ns < each.end_ns
        ]

    def _items(self, pvs: Sequence[str], segments: Sequence[Segment]) -> Iterator[Sample | Summary]:
        (begin_ns, end_ns, width_ns), *others = segments
        if width_ns:  # led by the row before
            begin_ns, end_ns, others = begin_ns - 1, begin_ns, list(segments)
        self._told |= {pv: sample for pv in pvs for sample in self._summarized(pv)}
        lead = (self._told.get(each.pv, each) for each in self._query.reader.samples(pvs, begin_ns, end_ns - 1))
        return chain(lead, *(self._segment(pvs, each) for each in others))

    def _summarized(self, pv: str) -> Iterator[Sample]:
        """Yield the row in force when the window begins if it may have been thinned, and a summary tells it."""
        begin_ns, reader = self._query.window.begin_ns, self._query.reader
        since_ns = self._since.get(pv, begin_ns)
        for each in reader.bins(pv, begin_ns, begin_ns) if since_ns < begin_ns else ():
            if since_ns <= each.time_ns < begin_ns < each.end_ns:
                first_ns = each.time_ns // MINUTE_NS * MINUTE_NS
                yield from [bin_.last for bin_ in reader.summaries(pv, MINUTE_NS, first_ns, begin_ns)][-1:]

    def _segment(self, pvs: Sequence[str], segment: Segment) -> Iterator[Sample | Summary]:
        begin_ns, end_ns, width_ns = segment
        reader = self._query.reader
        if width_ns:
            yield from merge(
                *(reader.summaries(pv, width_ns, begin_ns, end_ns) for pv in pvs), key=attrgetter("time_ns")
            )
        else:
            yield from (each for each in reader.samples(pvs, begin_ns, end_ns - 1) if each.time_ns >= begin_ns)


def cut_at(stretches: Sequence[Stretch], times_ns: Sequence[int]) -> Sequence[Stretch]:
    """Return stretches that do not go past some rising times: no summary has numbers of before and of after."""
    found: list[Stretch] = []
    for begin_ns, end_ns in stretches:
        within = dict.fromkeys(times_ns[bisect_right(times_ns, begin_ns) : bisect_left(times_ns, end_ns)])
        found += pairwise((begin_ns, *within, end_ns))
    return found


def segments_of(window: Segment, summarized: Sequence[Stretch], width_ns: int) -> tuple[Segment, ...]:
    """Return the segments of a window of rows, of a PV of which some stretches were summarized."""
    return tuple(_joined(_segments(window, summarized, width_ns)))


def _segments(window: Segment, summarized: Sequence[Stretch], width_ns: int) -> Iterator[Segment]:
    if not summarized or (width_ns % MINUTE_NS and width_ns < SHORTEST_NS):
        return iter((window,))
    if width_ns % MINUTE_NS == 0:
        return _cut(window, summarized, [each for each in WIDTHS if width_ns % each == 0])
    first_ns = max(window.begin_ns, summarized[0][0] // width_ns * width_ns)
    bins = range(first_ns // width_ns * width_ns, window.end_ns, width_ns)
    within = ((max(begin, first_ns), min(begin + width_ns, window.end_ns)) for begin in bins)
    before = [window._replace(end_ns=min(first_ns, window.end_ns))] if first_ns > window.begin_ns else []
    return chain(before, chain.from_iterable(_cut(Segment(*each, 0), summarized, WIDTHS) for each in within))


def _cut(rows: Segment, summarized: Sequence[Stretch], widths: Sequence[int]) -> Iterator[Segment]:
    """Yield a stretch of rows as summaries of the widest bins that fit, narrower ones before and after, and rows."""
    if not widths:
        yield rows
        return
    width_ns, *narrower = widths
    begin_ns = rows.begin_ns
    for stretch in summarized:
        first_ns = -(-max(stretch[0], begin_ns) // width_ns) * width_ns
        end_ns = min(stretch[1], rows.end_ns) // width_ns * width_ns
        if first_ns < end_ns:
            if begin_ns < first_ns:
                yield from _cut(Segment(begin_ns, first_ns, 0), summarized, narrower)
            yield Segment(first_ns, end_ns, width_ns)
            begin_ns = end_ns
    if begin_ns < rows.end_ns:
        yield from _cut(Segment(begin_ns, rows.end_ns, 0), summarized, narrower)


def _joined(segments: Iterator[Segment]) -> Iterator[Segment]:
    """Yield segments, those of one kind that follow each other as one."""
    last = next(segments)
    for each in segments:
        if each.width_ns == last.width_ns:
            last = last._replace(end_ns=each.end_ns)
        else:
            yield last
            last = each
    yield last


def drawn_width(query: Query, points: int) -> int:
    """Return the width (ns) of so many bins in the window, at least a minute, and a multiple of what is stored.

    0 if the rows themselves are to be drawn.
    """
    begin_ns = query.window.since_ns
    if begin_ns is None:
        begins = [stretch[0] for pv in query.names for stretch in query.reader.summarized(pv)[:1]]
        begin_ns = min(begins, default=query.window.until_ns)
    each_ns = (query.window.until_ns - begin_ns) / points
    stored_ns = next((width_ns for width_ns in WIDTHS if width_ns <= each_ns), 0)
    return -(-int(each_ns) // stored_ns) * stored_ns if stored_ns else 0
