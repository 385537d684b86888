"""The times from which the metadata of one PV hold, where rows may be stored before others that are there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from archiver.recording.timeline import Timeline
from archiver.sample import END_OF_TIME_NS, Dated, Metadata


class MetadataDates:
    """The metadata that this run has dated, as far as rows may still come among them."""

    def __init__(self, earlier_ns: Sequence[int]) -> None:
        """Begin with the rows of earlier runs among which rows may come: what held in them is not known."""
        self._earlier_ns = sorted(earlier_ns)
        self._entries: list[Dated] = []

    @property
    def passes_earlier(self) -> bool:
        """Return whether rows of earlier runs lie behind the newest metadata: theirs would hold after them."""
        return bool(self._entries) and bool(self._earlier_ns) and self._earlier_ns[-1] > self._entries[-1].since_ns

    @property
    def present(self) -> Sequence[Dated]:
        """Return the metadata that hold now, and those before them that are remembered."""
        return tuple(self._entries)

    def hold(self, time_ns: int, metadata: Metadata, timeline: Timeline, *, known: bool) -> list[Dated]:
        """Return what is to be stored so that metadata hold in a row, and in later ones those that came with them.

        Without ``known`` they are stored although they equal the ones before.
        """
        del self._entries[: max(0, self._until(timeline.stamped_ns) - 1)]
        index = self._until(time_ns)
        before = self._entries[index - 1].metadata if index else None
        if before == metadata and known and not self._earlier_between(self._entries[index - 1].since_ns, time_ns):
            return []
        new, following = [Dated(time_ns, metadata)], self._entries[index : index + 1]
        if before is not None and before != metadata:
            later_ns = (row_ns for row_ns in timeline.dated_ns if row_ns > time_ns and row_ns not in self._earlier_ns)
            new += [Dated(row_ns, before) for row_ns in later_ns if row_ns < _begin(following)][:1]
        self._entries[index:index] = new
        # a store takes none that equal the ones before, which these are not any more
        return new + [entry for entry in following if before in {entry.metadata, None}]

    def _earlier_between(self, begin_ns: int, end_ns: int) -> bool:
        return bisect_right(self._earlier_ns, begin_ns) < bisect_right(self._earlier_ns, end_ns)

    def _until(self, time_ns: int) -> int:
        return bisect_right(self._entries, time_ns, key=attrgetter("since_ns"))


def _begin(following: Sequence[Dated]) -> int:
    return following[0].since_ns if following else END_OF_TIME_NS
