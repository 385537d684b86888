"""The series of rows that several archivers keep of one PV, read as one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple

from archiver.sample import RESOLUTION_NS, Gap, Sample, gap_marker, is_gap
from archiver.storage.owner import LIFE_PATIENCE_NS
from archiver.storage.store import Bin

# Rows, the newest, that are kept of a series that does not lead, in case that the one that does has no more. The
# first one is kept besides, and a gap from there to these.
FOLLOWING = 1000

# For so long after the last sign of life, and after each row that is later, nothing is missing: what is newer was
# stored together, or waited.
HOLE_AFTER_NS = LIFE_PATIENCE_NS


def one_of(streams: Sequence[Iterator[Sample]], since_ns: int) -> Iterator[Sample]:
    """Yield the samples of a PV from several series of it, each in order of time and led by the one in force.

    They are those of the first series that knows something; where that has a gap, those of another one that has none.
    So a value is there once, and a gap only where nobody knew. Where the one that knows has no more rows until its
    gap, or until the window's end, those of another one follow: it was killed with them in memory, is dead and nobody
    has found out yet, or shows a sign of life of a clock that was ahead.
    """
    numbered = [zip(stream, repeat(number)) for number, stream in enumerate(streams)]
    rows = merge(*numbered, key=lambda row: row[0].time_ns)
    present: dict[int, Sample] = {}
    later: dict[int, deque[Sample]] = {}  # of the others, what came after the leader's newest row
    leader, begun = None, False
    shown: Sample | None = None  # the newest one
    for sample, number in rows:
        if not begun and sample.time_ns > since_ns:
            begun, leader = True, _knowing(present)
            shown = _first(present)
            yield from _some(shown)
        present[number] = sample
        if not begun or (leader is None and is_gap(sample)):
            continue
        if leader is None:
            leader = number
        elif number != leader:
            _follow(later.setdefault(number, deque()), sample, present[leader], shown)
            continue
        elif is_gap(sample):
            ahead = _ahead(later)
            if ahead is not None:
                yield from later[ahead]
            leader = _knowing(present) if ahead is None or is_gap(present[ahead]) else ahead
            if leader is not None:
                later.clear()
                shown = present[leader]
                if leader != ahead:
                    yield shown._replace(time_ns=sample.time_ns)
                continue
        later.clear()
        shown = sample
        yield sample
    if not begun:
        yield from _some(_first(present))
    if (ahead := _ahead(later)) is not None:
        yield from later[ahead]


def _follow(rows: deque[Sample], sample: Sample, leading: Sample, shown: Sample | None) -> None:
    """Note a row of a series that does not lead, if it says more than what is shown and those before it.

    A gap says nothing of a leader that goes on; behind rows that the leader does not have it ends these.
    """
    before = rows[-1] if rows else shown
    if sample.time_ns <= leading.time_ns or (is_gap(sample) and not rows):
        return
    if before is None or sample != before._replace(time_ns=sample.time_ns):
        rows.append(sample)
    if len(rows) > FOLLOWING + 2:
        if not is_gap(rows[1]):
            rows[1] = gap_marker(sample.pv, rows[1].time_ns, Gap.ARCHIVE_OFF)
        del rows[2]


def _ahead(later: dict[int, deque[Sample]]) -> int | None:
    """Return the series that has rows which the leader has not: the one that still knows, and read the furthest."""
    known = [(not is_gap(rows[-1]), rows[-1].time_ns, -number) for number, rows in later.items() if rows]
    return -max(known)[2] if known else None


def bins_of(series: Iterable[Sequence[Bin]]) -> list[Bin]:
    """Return the thinned bins of several series, of those that overlap the one of the first series."""
    found: list[Bin] = []
    for bins in series:
        found += [each for each in bins if not any(_overlap(each, other) for other in found)]
    return sorted(found, key=itemgetter(0))


def end_row(newest: Sample, end_ns: int) -> Sample | None:
    """Return the gap of an archiver that is dead since ``end_ns``, if its newest sample marks none."""
    if is_gap(newest):
        return None
    time_ns = (max(end_ns, newest.time_ns) // RESOLUTION_NS + 1) * RESOLUTION_NS
    return gap_marker(newest.pv, time_ns, Gap.ARCHIVE_OFF)


class Hole(NamedTuple):
    """Where rows may be missing: from a gap until the next row there is, after it."""

    gap: Sample
    until_ns: int

    def touches(self, since_ns: int, until_ns: int) -> bool:
        """Return whether a part of it lies in a window."""
        return self.gap.time_ns <= until_ns and since_ns < self.until_ns


def around(holes: Iterable[Hole], since_ns: int, until_ns: int) -> Iterator[tuple[int, int] | Sample]:
    """Yield the parts of a window, both ends included, whose rows are read, and the gaps where they stand.

    ``holes`` are in order of time.
    """
    for hole in holes:
        if hole.touches(since_ns, until_ns):
            if hole.gap.time_ns > since_ns:
                yield since_ns, hole.gap.time_ns - RESOLUTION_NS
            yield hole.gap
            since_ns = hole.until_ns
    if since_ns <= until_ns:
        yield since_ns, until_ns


def hole_of(row: Sample | None, end_ns: int, next_ns: int, *, marked: bool) -> Hole | None:
    """Return the hole behind a row that is in force at the last sign of life, ``end_ns``, or later, if there is one.

    For an archiver that gives no sign now. It gave none while it could not store; when it can again it stores first
    what comes, then what has waited. A row that comes so late, ``next_ns``, after the sign or after the row before it
    says that something may have waited: the database may have been away twice before the spool was empty. One that is
    ``marked``, ``Archive_Off``, may come at any time: where a run was killed while the database was away.
    """
    if row is None or is_gap(row):
        return None
    after_ns = max(end_ns, row.time_ns)
    if next_ns - after_ns <= (RESOLUTION_NS if marked else HOLE_AFTER_NS):
        return None
    time_ns = (after_ns // RESOLUTION_NS + 1) * RESOLUTION_NS
    return Hole(gap_marker(row.pv, time_ns, Gap.ARCHIVE_OFF), next_ns)


def _knowing(present: dict[int, Sample]) -> int | None:
    return min((number for number, sample in present.items() if not is_gap(sample)), default=None)


def _first(present: dict[int, Sample]) -> Sample | None:
    """Return what is in force when the window begins: the newest that is known, else the gap that began last."""
    known = [sample for sample in present.values() if not is_gap(sample)]
    return max(known or present.values(), key=lambda sample: sample.time_ns, default=None)


def _some(sample: Sample | None) -> Iterator[Sample]:
    if sample is not None:
        yield sample


def _overlap(one: Bin, other: Bin) -> bool:
    return one.time_ns < other.time_ns + other.width_ns and other.time_ns < one.time_ns + one.width_ns
