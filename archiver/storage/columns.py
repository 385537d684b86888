"""A sample's value as columns of the table ``sample``, the same in every database, and back."""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from archiver.sample import Value, pack, unpack

# The datatype of an array, in the column of that name.
ARRAY = "d"
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


def from_columns(
    num_val: int | None,
    float_val: float | None,
    str_val: str | None,
    datatype: str | None = None,
    array_val: bytes | None = None,
) -> Value:
    """Return the value of the columns; the text ``NaN`` is the number, also if a PV of texts once held that word."""
    if float_val is not None:
        return unpack(array_val) if datatype == ARRAY and array_val is not None else float_val
    return of_stored(num_val if num_val is not None else str_val)


def of_stored(stored: float | str | bytes | None) -> Value:
    """Return the value of the one column that is set: of an array that is ``array_val``."""
    if isinstance(stored, bytes):
        return unpack(stored)
    if isinstance(stored, float | int):
        return stored
    text = stored or ""
    return _NUMBERS.get(text, text)
