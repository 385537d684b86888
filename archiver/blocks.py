"""Rows of one PV in columns: what is read, drawn or sent in bulk costs a tenth of what it would as samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from archiver.sample import Sample, Value

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Samples of a block that is made of samples
SIZE = 10_000


class Block(NamedTuple):
    """Rows of one PV, at least one, in order of time.

    value      an array if all are doubles, else a list
    severity   0 to 3
    status     keys of ``words``, which are alarm statuses
    """

    time_ns: Integers
    value: Floats | list[Value]
    severity: Integers
    status: Integers
    words: Mapping[int, str]

    def part(self, begin: int, end: int) -> Block:
        """Return the rows from one index on until before another one."""
        time_ns, value, severity, status, words = self
        return Block(time_ns[begin:end], value[begin:end], severity[begin:end], status[begin:end], words)


class SummaryColumns(NamedTuple):
    """Summaries of one PV in columns (see ``SummaryBin``); a number that is not known is NaN."""

    time_ns: Integers
    count: Integers  # type: ignore[assignment] # of rows; nobody counts the fields of a tuple
    severity_id: Integers
    minimum: Floats
    maximum: Floats
    mean_rows: Floats
    deviation: Floats
    last: Floats


# The columns of the table, in that order
SUMMARY = ("bin_time", "count", "severity_id", "min_val", "max_val", "mean_rows", "std_val", "last_val")


def block_of(
    times_ns: Any, values: Sequence[Value], severities: Any, statuses: Any, words: Mapping[int, str]
) -> Block:
    """Return the block of columns; severities and statuses are mostly one number all through."""
    plain = set(map(type, values)) == {float}
    return Block(
        np.array(times_ns, np.int64),
        np.array(values, np.float64) if plain else list(values),
        column(severities),
        column(statuses),
        words,
    )


def column(numbers: Sequence[int]) -> Integers:
    """Return a column, quickly if it has one number only, as nearly all have."""
    return np.array(numbers, np.int64) if len(set(numbers)) > 1 else np.full(len(numbers), numbers[0], np.int64)


def blocks_of(samples: Iterable[Sample]) -> Iterator[Block]:
    """Yield the samples of one PV as blocks."""
    rest = iter(samples)
    while rows := list(islice(rest, SIZE)):
        _, times_ns, values, severities, statuses = zip(*rows, strict=True)
        numbers = {word: number for number, word in enumerate(dict.fromkeys(statuses))}
        words = {number: word for word, number in numbers.items()}
        yield block_of(times_ns, values, severities, [numbers[status] for status in statuses], words)
