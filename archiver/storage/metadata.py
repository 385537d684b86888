"""Metadata as rows of ``num_metadata`` and ``enum_metadata``, the same in every database, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from archiver.sample import Metadata

# Columns of the metadata of numbers, in the order of ``to_numeric``.
NUMERIC = "low_disp_rng, high_disp_rng, low_warn_lmt, high_warn_lmt, low_alarm_lmt, high_alarm_lmt, prec, unit"


def to_numeric(about: Metadata) -> tuple[float | str | None, ...]:
    """Return the columns NUMERIC of metadata."""
    return (*about.display, *about.warning, *about.alarm, about.precision, about.unit)


def from_numeric(row: Sequence[Any]) -> Metadata:
    """Return the metadata of the columns NUMERIC."""
    *limits, precision, unit = row
    display, warning, alarm = zip(limits[0::2], limits[1::2], strict=True)
    return Metadata(unit, precision or 0, display, warning, alarm)  # somebody else may have left it out


def from_words(rows: Iterable[Sequence[Any]]) -> dict[int, Metadata]:
    """Return metadata by the key with which a row begins; the rows of a key hold its words in order."""
    words = defaultdict(list)
    for key, word in rows:
        words[key].append(word)
    return {key: Metadata(words=tuple(each)) for key, each in words.items()}
