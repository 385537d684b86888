"""Numbers as clients write them and as EPICS base converts them."""

from __future__ import annotations

import math

from drivers.base import Value

_INT_MIN = -(2**31)


def number_of(value: Value) -> float:
    """Return a put as a number; ValueError for a text that is none.

    Python's own way to group digits (``1_000``) is nobody else's, and is refused.
    """
    return float(value.replace("_", "?") if isinstance(value, str) else value)


def written(number: float) -> str:
    """Return a number as it stands in a message; what is none is written as in the archive and in JSON."""
    if math.isnan(number):
        return "NaN"
    return f"{number:g}" if math.isfinite(number) else f"{'-' * (number < 0)}Infinity"


def to_long(value: float) -> int:
    """Return a number as a 32-bit integer: cut off towards zero, and the most negative one if it does not fit."""
    if isinstance(value, float) and not math.isfinite(value):
        return _INT_MIN
    whole = int(value)
    return whole if _INT_MIN <= whole < -_INT_MIN else _INT_MIN
