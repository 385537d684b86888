"""Puts to a value: brought into the record's own type, or refused with the reason. Limits refuse, they never clamp.

The reason comes first in a sentence and the name last: of the Error record many clients show 39 characters.
"""

from __future__ import annotations

import math

from drivers.base import Array, Point, RecordType, Refused, Value
from ioc.numbers import number_of, written

# Characters of a record of texts (epics-base, MAX_STRING_SIZE less its NUL)
STRING_SIZE = 39

_TEXT = {RecordType.stringin, RecordType.stringout, RecordType.lsi}


def check(name: str, point: Point, value: Value | Array) -> Value:
    """Return the value that is to be written; ``name``: the record's. Raises Refused."""
    if isinstance(value, tuple):
        raise Refused(f"one value is expected, not {len(value)}; not sent to {name}")
    if point.rtyp.states:
        return _check_state(name, point, value)
    if point.rtyp in _TEXT:
        return _check_text(name, str(value))
    return _check_number(name, point, value)


def _check_state(name: str, point: Point, value: Value) -> int:
    states = point.states
    if isinstance(value, str):
        if value in states:
            return states.index(value)
        value = _to_number(name, value, f"one of {', '.join(states)}")
    if not (math.isfinite(value) and value == int(value) and 0 <= value < len(states)):
        raise Refused(f"{written(value)} is not a state of {name}; allowed: {_numbered(states)}")
    return int(value)


def _check_text(name: str, value: str) -> str:
    if not (value.isascii() and value.isprintable() and len(value) <= STRING_SIZE):
        raise Refused(f"the text must be printable ASCII, {STRING_SIZE} characters at most; not sent to {name}")
    return value


def _check_number(name: str, point: Point, value: Value) -> float | int:
    number = _to_number(name, value, "a number") if isinstance(value, str) else value
    if not math.isfinite(number):
        raise Refused(f"{written(number)} is not a value that can be set; not sent to {name}")
    for limit, outside, side in (
        (point.drvl, point.drvl is not None and number < point.drvl, "below the lower limit DRVL"),
        (point.drvh, point.drvh is not None and number > point.drvh, "above the upper limit DRVH"),
    ):
        if outside and not point.moving:
            raise Refused(f"{number:g} {point.egu} is {side} of {limit:g} {point.egu}; not sent to {name}")
    if point.rtyp is RecordType.longout:
        if number != int(number) or not -(2**31) <= number < 2**31:
            raise Refused(f"{number:g} is not a whole number of 32 bits; not sent to {name}")
        return int(number)
    return float(number)


def _to_number(name: str, text: str, wanted: str) -> float:
    try:
        return number_of(text)
    except ValueError:
        raise Refused(f"{text!r} is not {wanted}; not sent to {name}") from None


def _numbered(states: tuple[str, ...]) -> str:
    return ", ".join(f"{index} {word}" for index, word in enumerate(states))
