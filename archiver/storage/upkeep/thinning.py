"""The thinning of a PV's rows: which are deleted, and which statistics are kept of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from math import fsum
from operator import attrgetter
from typing import NamedTuple, Self

from archiver.sample import Dated, Metadata
from archiver.storage.store import Bin


class ThinningRow(NamedTuple):
    """A row for thinning.

    number  None for states, texts, arrays, INVALID and gaps
    alarm   what is compared
    """

    time_ns: int
    number: float | None
    alarm: object

    @classmethod
    def of(cls, row: tuple[int, int | None, float | None, object], metadata: Sequence[Dated]) -> Self:
        """Return a row of time, integer, double and alarm; the metadata of its time say whether it is a state.

        The numbers of states have no order: they are not thinned.
        """
        time_ns, integer, double, alarm = row
        if integer is None:
            return cls(time_ns, double, alarm)
        held = bisect_right(metadata, time_ns, key=attrgetter("since_ns"))
        state = held > 0 and metadata[held - 1].metadata.words
        return cls(time_ns, None if state else integer, alarm)


class Thinned(NamedTuple):
    """The times of the rows to be deleted, and a ``Bin`` for each bin of which some are."""

    times_ns: list[int]
    bins: list[Bin]


def thin(
    rows: Sequence[ThinningRow], width_ns: int, before: ThinningRow | None = None, metadata: Sequence[Dated] = ()
) -> Thinned:
    """Thin all the rows of some bins, in order of time; ``before`` is the row before them, if there is one.

    Bins begin at the multiples of their width. Of each bin the first, last, lowest and highest number stay, and every
    row with another alarm than the row before it. A bin in which unit or words change keeps all its rows: numbers in
    two units have no common range and mean. Doing it again with what is left changes nothing.
    """
    thinned, kept = Thinned([], []), _with_changes(metadata, width_ns)
    for begin_ns, marked in _by_bin(rows, width_ns, before):
        numbers = [(row.number, row.time_ns) for row, _ in marked if row.number is not None]
        if not numbers or begin_ns in kept:
            continue
        lowest, highest = min(numbers), max(numbers, key=lambda each: each[0])
        stay = {time_ns for _, time_ns in (numbers[0], numbers[-1], lowest, highest)}
        go = [row.time_ns for row, same in marked if same and row.number is not None and row.time_ns not in stay]
        if go:
            values = [number for number, _ in numbers]
            # the sum of the largest doubles overflows, and by rounding that of their shares
            mean = 2 * fsum(value / len(values) / 2 for value in values)
            mean = min(max(mean, lowest[0]), highest[0])
            thinned.times_ns.extend(go)
            thinned.bins.append(Bin(begin_ns, width_ns, len(values), lowest[0], highest[0], mean))
    return thinned


def whole_bins(rows: Sequence[ThinningRow], width_ns: int) -> Sequence[ThinningRow]:
    """Return the rows without those of the last bin, of which more may follow; empty if all lie in one bin."""
    last = rows[-1].time_ns // width_ns
    return [row for row in rows if row.time_ns // width_ns < last]


def _with_changes(metadata: Sequence[Dated], width_ns: int) -> set[int]:
    """Return where the bins begin in which unit or words change, and not only at their begin."""
    led = [Dated(0, Metadata()), *metadata]
    changes = [
        after.since_ns
        for (_, before), after in pairwise(led)
        if (before.unit, before.words) != (after.metadata.unit, after.metadata.words)
    ]
    return {time_ns // width_ns * width_ns for time_ns in changes if time_ns % width_ns}


def _by_bin(
    rows: Sequence[ThinningRow], width_ns: int, before: ThinningRow | None
) -> Iterator[tuple[int, list[tuple[ThinningRow, bool]]]]:
    """Yield each bin's beginning and its rows, each with whether its alarm is that of the row before."""
    previous = [before, *rows][: len(rows)]
    marked = [(row, last is not None and last.alarm == row.alarm) for row, last in zip(rows, previous, strict=True)]
    for number, members in groupby(marked, key=lambda each: each[0].time_ns // width_ns):
        yield number * width_ns, list(members)
