"""A sample's value as columns of the table ``sample``, the same in every database, and back."""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from archiver.sample import INVALID, Gap, Sample, Value, gap_marker, pack, unpack

# The datatype of an array, in the column of that name.
ARRAY = "d"
# A status whose row somebody has deleted, before its id.
UNNAMED = "Unnamed_"
_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_NUMBERS = {word: float(number) for number, word in _WORDS.items()}


class Columns(NamedTuple):
    """The value columns of a row; one of ``num_val``, ``float_val`` and ``str_val`` is set.

    An array is in ``array_val``, and its first element in ``float_val``, where Phoebus needs a number to find the
    array: 0 if there is no element, or if the first one is NaN or infinite.
    """

    num_val: int | None = None
    float_val: float | None = None
    str_val: str | None = None
    datatype: str | None = None
    array_val: bytes | None = None


def to_columns(value: Value) -> Columns:
    """Return the columns of a value; NaN and infinities are text, as SQLite makes NaN NULL and MySQL has none."""
    if isinstance(value, float):
        return Columns(float_val=value) if math.isfinite(value) else Columns(str_val=_WORDS[str(value)])
    if isinstance(value, int):
        return Columns(num_val=value)
    if isinstance(value, str):
        return Columns(str_val=value)
    packed = value if isinstance(value, bytes) else pack(value)
    first = struct.unpack_from(">d", packed, 4)[0] if len(packed) > 4 else 0.0
    return Columns(float_val=first if math.isfinite(first) else 0.0, datatype=ARRAY, array_val=packed)


class StatusNames(dict[int, str]):
    """The names of the alarm statuses by id; of an id whose row somebody has deleted a name that says so."""

    def __missing__(self, number: int) -> str:
        return f"{UNNAMED}{number}"


def stored_of(
    num_val: int | None,
    float_val: float | None,
    str_val: str | None,
    datatype: str | None = None,
    array_val: bytes | None = None,
) -> float | str | bytes | None:
    """Return the one of the columns that holds the value: of an array that is ``array_val``."""
    if float_val is not None:
        return array_val if datatype == ARRAY and array_val is not None else float_val
    return num_val if num_val is not None else str_val


def of_stored(stored: float | str | bytes | None) -> Value:
    """Return the value of the one column that is set; the text ``NaN`` is the number, also of a PV of texts.

    Raises ValueError or TypeError for what is no value.
    """
    if isinstance(stored, bytes):
        return unpack(stored)
    if isinstance(stored, float | int):
        return stored
    if not isinstance(stored, str):
        raise TypeError("no column is set")
    return _NUMBERS.get(stored, stored)


def sample_of(pv: str, time_ns: int, stored: float | str | bytes | None, severity_id: int, status: str) -> Sample:
    """Return the sample of a row; what no archiver writes, as somebody has changed it, is a gap: nobody knows it."""
    try:
        value = stored if type(stored) is float else of_stored(stored)
        if 0 < severity_id <= INVALID + 1:
            return Sample(pv, time_ns, value, severity_id - 1, status)
    except (ValueError, TypeError):
        pass
    return gap_marker(pv, time_ns, Gap.DAMAGED)
