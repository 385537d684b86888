"""The rows of a history: samples with words, unit and the name of the severity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from archiver.history.formats import Cell, show_value
from archiver.history.query import MetadataHistory
from archiver.sample import INVALID, SEVERITIES, Metadata, Sample, Value, is_gap
from archiver.storage.store import Bin
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


# Stands for a value that is no longer known, because its row was deleted by thinning
THINNED = "thinned"

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


def to_thinned_row(sample: Sample, thinned: Bin, metadata: Metadata) -> HistoryRow:
    """Return a row that says in which range the value was, in the thinned bin in which ``sample`` was stored.

    Which of its numbers was in force is no longer known. Severity and status are, for their changes are kept.
    """
    text = f"{THINNED}: {thinned.minimum!r} to {thinned.maximum!r} in {thinned.width_ns / 1e9:g} s"
    return to_row(sample, metadata)._replace(time_ns=thinned.time_ns, value=text)


def known_value(sample: Sample, words: tuple[str, ...]) -> Value:
    """Return a sample's value, or the word of its state; of a value that is not known the cause, or ``INVALID``."""
    if sample.severity == INVALID and not is_gap(sample):
        return SEVERITIES[INVALID]
    return word(sample.value, words)


def word(value: Value, words: tuple[str, ...]) -> Value:
    """Return the word of an enum's index if there is one, else the value."""
    if isinstance(value, int) and 0 <= value < len(words):
        return words[value] or value
    return value
