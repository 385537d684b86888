"""The rows of an export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class ExportRow(NamedTuple):
    """A row for other programs.

    value  a number, or the index of a state; None of a text or an array, and of what is not known (INVALID, a gap)
    text   a text, or the word of a state
    """

    time_ns: int
    value: float | None
    text: str | None
    array: tuple[float, ...] | None
    unit: str
    severity: int
    status: str


class Series(NamedTuple):
    """The rows of a PV in order of time, in batches."""

    pv: str
    batches: Iterator[Sequence[ExportRow]]
