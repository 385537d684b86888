"""A sample as people read it."""

from typing import NamedTuple

from archiver.sample import SEVERITIES, Metadata, Sample, Value


class Row(NamedTuple):
    """A state is given by its word, a severity too, and a number has its unit."""

    time_ns: int
    pv: str
    value: Value
    unit: str
    severity: str
    status: str
    precision: int


def to_row(sample: Sample, metadata: Metadata) -> Row:
    return Row(
        time_ns=sample.time_ns,
        pv=sample.pv,
        value=_word(sample.value, metadata.words),
        unit="" if isinstance(sample.value, str) else metadata.unit,
        severity=SEVERITIES[sample.severity],
        status=sample.status,
        precision=metadata.precision,
    )


def _word(value: Value, words: tuple[str, ...]) -> Value:
    """The word of an enum's index, if its IOC has one for it."""
    if isinstance(value, int) and value < len(words):
        return words[value] or value
    return value
