"""The rows of a history: samples with words, unit and the name of the severity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from archiver.history.formats import Cell, show_value
from archiver.history.query import MetadataHistory
from archiver.sample import SEVERITIES, Metadata, Sample, Value
from archiver.times import format_time


class HistoryRow(NamedTuple):
    """A sample for the output: a state and a severity by their words, a number with its unit."""

    time_ns: int
    pv: str
    value: Value
    unit: str
    severity: str
    status: str
    precision: int

    def exact(self) -> tuple[Cell, ...]:
        """Return the cells with all digits."""
        return (format_time(self.time_ns), *self[1:6])

    def shown(self) -> tuple[str, ...]:
        """Return the cells with the PV's precision."""
        return (format_time(self.time_ns), self.pv, show_value(self.value, self.precision), *self[3:6])


COLUMNS = ("time", "pv", "value", "unit", "severity", "status")


def rows(samples: Iterable[Sample], history: MetadataHistory) -> Iterator[HistoryRow]:
    """Yield the samples as rows."""
    for sample in samples:
        yield to_row(sample, history.at(sample.pv, sample.time_ns))


def to_row(sample: Sample, metadata: Metadata) -> HistoryRow:
    """Return a sample as a row."""
    value = sample.value
    return HistoryRow(
        sample.time_ns,
        sample.pv,
        word(value, metadata.words),
        "" if isinstance(value, str) else metadata.unit,
        SEVERITIES[sample.severity],
        sample.status,
        metadata.precision,
    )


def word(value: Value, words: tuple[str, ...]) -> Value:
    """Return the word of an enum's index if there is one, else the value."""
    if isinstance(value, int) and 0 <= value < len(words):
        return words[value] or value
    return value
