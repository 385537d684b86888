"""The renamed PVs of an archive, read as one: the old name's rows before the time, the new one's after it.

An IOC changes its names some time after that was noted, or before. Until the new name has a row, or the old one a
gap, what is known is in the old one's rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from operator import attrgetter
from typing import NamedTuple

from archiver.blocks import Block, SummaryColumns, blocks_of
from archiver.sample import END_OF_TIME_NS, Dated, Sample, is_gap
from archiver.storage.store import Bin, Reader, Rename
from archiver.storage.summary import Summary


class Piece(NamedTuple):
    """A name that a PV had from one time on (included) until another (not included), in ns."""

    pv: str
    since_ns: int
    until_ns: int


class RenamedReader:
    """A ``Reader`` that reads the rows of a PV under all the names that it had."""

    def __init__(self, reader: Reader, renames: Sequence[Rename]) -> None:
        self._reader = reader
        self._archived = frozenset(reader.names())
        kept, _ = sound(renames)
        self._after = {each.old: each for each in kept}
        self._before = {each.new: each for each in kept}
        self._ends_ns: dict[str, int] = {}

    def names(self) -> Sequence[str]:
        """Return the names of all archived PVs, also those that they had, sorted."""
        known = {each for name in self._archived for each in (name, *self._chain(name))}
        return sorted(known)

    def metadata(self, pv: str) -> Sequence[Dated]:
        """Return all metadata of a PV, the oldest first."""
        found = []
        for piece in self._pieces(pv):
            for since_ns, metadata in self._reader.metadata(piece.pv):
                if since_ns < piece.until_ns:
                    found.append(Dated(max(since_ns, piece.since_ns), metadata))
        return found

    def samples(self, pvs: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Sample]:
        """Yield samples in order of time, both ends included, led by each PV's newest before the window."""
        plain = [pv for pv in pvs if self._chain(pv) == [pv]]
        streams = [self._samples(pv, since_ns, until_ns) for pv in pvs if pv not in set(plain)]
        if plain:
            streams.append(self._reader.samples(plain, since_ns, until_ns))
        return streams[0] if len(streams) == 1 else merge(*streams, key=attrgetter("time_ns"))

    def blocks(self, pv: str, since_ns: int, until_ns: int) -> Iterator[Block]:
        """Yield the samples of one PV in columns."""
        if self._chain(pv) == [pv]:
            return self._reader.blocks(pv, since_ns, until_ns)
        return blocks_of(self._samples(pv, since_ns, until_ns))

    def bins(self, pv: str, since_ns: int, until_ns: int) -> Sequence[Bin]:
        """Return the thinned bins of which a part lies in the window, the oldest first."""
        return [
            each
            for piece in self._pieces(pv)
            for each in self._reader.bins(piece.pv, since_ns, until_ns)
            if piece.since_ns <= each.time_ns < piece.until_ns
        ]

    def summarized(self, pv: str) -> Sequence[tuple[int, int]]:
        """Return from when until when summaries were made; of a PV with several names none are used."""
        return self._reader.summarized(pv) if self._chain(pv) == [pv] else []

    def summaries(self, pv: str, width_ns: int, since_ns: int, until_ns: int) -> Iterator[Summary]:
        """Yield the summaries of one width that begin in the window, its end not included; none where no row is."""
        return self._reader.summaries(pv, width_ns, since_ns, until_ns)

    def summary_columns(self, pv: str, width_ns: int, since_ns: int, until_ns: int) -> Iterator[SummaryColumns]:
        """Yield the same in columns."""
        return self._reader.summary_columns(pv, width_ns, since_ns, until_ns)

    def renames(self) -> Sequence[Rename]:
        """Return the renames of PVs, each old name once."""
        return self._reader.renames()

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()

    def _samples(self, pv: str, since_ns: int, until_ns: int) -> Iterator[Sample]:
        """Yield the samples of the pieces; what is in force at the window's begin is the last one before it."""
        in_force: Sample | None = None
        for piece in self._pieces(pv):
            end_ns = min(until_ns, piece.until_ns - 1)
            begin_ns = min(max(since_ns, piece.since_ns), end_ns)
            for sample in self._reader.samples([piece.pv], begin_ns, end_ns):
                if not piece.since_ns <= sample.time_ns <= until_ns:
                    continue  # of another PV that had this name before
                if sample.time_ns <= since_ns:
                    in_force = sample._replace(pv=pv)
                    continue
                if in_force is not None:
                    yield in_force
                    in_force = None
                yield sample._replace(pv=pv)
        if in_force is not None:
            yield in_force

    def _pieces(self, pv: str) -> list[Piece]:
        """Return the archived names of a PV, each with when it held."""
        names = self._chain(pv)
        ends_ns = [self._end_ns(name) for name in names[:-1]]
        pieces = map(Piece, names, [0, *ends_ns], [*ends_ns, END_OF_TIME_NS])
        return [piece for piece in pieces if piece.pv in self._archived]

    def _end_ns(self, old: str) -> int:
        """Return before which time the rows of an old name are read."""
        _, new, since_ns = self._after[old]
        if old not in self._archived:
            return since_ns
        if old not in self._ends_ns:
            first_ns = self._first_ns(new, since_ns)
            if first_ns is None:
                return END_OF_TIME_NS  # for the time being
            rows = self._reader.samples([old], since_ns, max(since_ns, first_ns - 1))
            gaps_ns = (row.time_ns + 1 for row in rows if is_gap(row))
            self._ends_ns[old] = max(since_ns, min(next(gaps_ns, first_ns), first_ns))
        return self._ends_ns[old]

    def _first_ns(self, pv: str, since_ns: int) -> int | None:
        """Return the time of the first row of a PV, not before a time; None if there is none."""
        if pv not in self._archived:
            return None
        rows = self._reader.samples([pv], since_ns, END_OF_TIME_NS)
        return next((row.time_ns for row in rows if row.time_ns >= since_ns), None)

    def _chain(self, pv: str) -> list[str]:
        """Return all names of a PV, the oldest first."""
        names = [pv]
        while names[0] in self._before:
            names.insert(0, self._before[names[0]].old)
        while names[-1] in self._after:
            names.append(self._after[names[-1]].new)
        return names


def sound(renames: Sequence[Rename]) -> tuple[list[Rename], list[Rename]]:
    """Return the renames that go together, and those that contradict earlier ones.

    ``rackioc db rename`` refuses these, but each of two archives that are copied into one may have had its own: a PV
    would have two older names, or one name would be older and newer than another.
    """
    after: dict[str, Rename] = {}
    taken: set[str] = set()
    contradicting = []
    for each in renames:
        end = each.new
        while end != each.old and end in after:
            end = after[end].new
        if end == each.old or each.old in after or each.new in taken:
            contradicting.append(each)
        else:
            after[each.old] = each
            taken.add(each.new)
    return list(after.values()), contradicting


def with_renames(reader: Reader) -> Reader:
    """Return a reader that knows the renames of its archive; the same one where there are none."""
    renames = reader.renames()
    return RenamedReader(reader, renames) if renames else reader
