"""The data of Channel Access messages: DBR types to and from bytes, after EPICS base (db_access.h, dbConvert.c).

A DBR type is one of seven value types in one of five forms: plain, with alarm (STS), with alarm and time (TIME),
with display information (GR), with control limits too (CTRL).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from ioc.numbers import to_long

# Value types, forms of them, and types that stand alone (db_access.h); a type is 7 * form + value type
STRING, SHORT, FLOAT, ENUM, CHAR, LONG, DOUBLE = range(7)
STS, TIME, GR, CTRL = 1, 2, 3, 4
PUT_ACKT, PUT_ACKS, STSACK_STRING, CLASS_NAME = 35, 36, 37, 38
LAST_FORMED, LAST_TYPE = 34, CLASS_NAME
# The type that nearly all clients subscribe to, and the bytes of its payload
TIME_DOUBLE, TIME_DOUBLE_SIZE = 20, 24

# Bytes of a string, a unit and a state's word, how many words there can be (epicsTypes.h, db_access.h)
STRING_SIZE = 40
UNIT_SIZE = 8
STATE_SIZE = 26
MAX_STATES = 16
# 1990 in seconds since 1970 UTC
EPICS_EPOCH = 631152000

# Value type -> its letter for ``struct``, and its bytes
_FORMAT = {STRING: "40s", SHORT: "h", FLOAT: "f", ENUM: "H", CHAR: "B", LONG: "i", DOUBLE: "d"}
_SIZE = {STRING: 40, SHORT: 2, FLOAT: 4, ENUM: 2, CHAR: 1, LONG: 4, DOUBLE: 8}
# Types that stand alone, and their bytes, padded
_ALONE = {PUT_ACKT: 8, PUT_ACKS: 8, STSACK_STRING: 48, CLASS_NAME: 40}
# Bytes between a form's head and its value, so that the value is aligned
_STS_PAD = {CHAR: 1, DOUBLE: 4}
_TIME_PAD = {SHORT: 2, ENUM: 2, CHAR: 3, DOUBLE: 4}
_ALARM = struct.Struct(">HH")
_STAMP = struct.Struct(">HHII")
# What nearly all clients subscribe to: status, severity, seconds, nanoseconds, value
time_double = struct.Struct(">HHIIxxxxd").pack
# The largest and the smallest positive 32-bit float
_FLOAT_MAX = 3.4028234663852886e38
_FLOAT_MIN = 1.1754943508222875e-38


class NotConvertible(Exception):
    """A value that the wanted type cannot express (a text that is no number, an index beyond a menu)."""


@dataclass(frozen=True, slots=True)
class Properties:
    """What the GR and CTRL forms say about a value; ``limits`` in the order of the C structures.

    upper and lower display, upper alarm, upper warning, lower warning, lower alarm, upper and lower control
    """

    units: str = ""
    precision: int = 0
    limits: tuple[float, ...] = (0.0, 0.0, math.nan, math.nan, math.nan, math.nan, 0.0, 0.0)
    states: tuple[str, ...] = ()


class Source(Protocol):
    """What is to be sent: a value of the ``native`` type with its alarm, time and properties."""

    native: int

    def text(self, value: Any) -> str:
        """Return one value as text."""

    def alarm(self) -> tuple[int, int, int, int]:
        """Return status, severity, ackt and acks."""

    def stamp(self) -> float:
        """Return the time stamp in seconds since 1970 UTC."""

    def properties(self) -> Properties:
        """Return units, limits and words."""

    def record_type(self) -> str:
        """Return the name of the record type."""


def encode(dbr: int, values: Sequence[Any], source: Source) -> bytes:
    """Return values as the payload of a message, padded to eight bytes. Raises NotConvertible."""
    if dbr in {PUT_ACKT, PUT_ACKS}:
        raise NotConvertible("an acknowledgement cannot be read")
    if dbr == CLASS_NAME:
        return _padded(source.record_type().encode("latin-1").ljust(STRING_SIZE, b"\0"))
    if dbr == STSACK_STRING:
        status, severity, ackt, acks = source.alarm()
        return _padded(struct.pack(">HHHH", status, severity, ackt, acks) + _body(STRING, values, source))
    form, base = divmod(dbr, 7)
    return _padded(_head(form, base, source) + _body(base, values, source))


def blank(dbr: int, count: int) -> bytes:
    """Return the payload of a message without a value: all zeros."""
    if dbr > LAST_FORMED:
        return bytes(_ALONE[dbr])
    form, base = divmod(dbr, 7)
    return _padded(_head(form, base, _Nothing()) + bytes(_SIZE[base] * count))


def decode(dbr: int, count: int, payload: bytes | memoryview) -> tuple[Any, ...]:
    """Return the values of a put in one of the plain types; ValueError if they are not all there."""
    data = bytes(payload)
    if dbr == STRING:
        texts = [data[at : at + STRING_SIZE] for at in range(0, STRING_SIZE * count, STRING_SIZE)]
        if not all(texts):
            raise ValueError(f"{count} strings announced, {len(data)} bytes sent")
        return tuple(text.partition(b"\0")[0].decode("latin-1") for text in texts)
    if len(data) < _SIZE[dbr] * count:
        raise ValueError(f"{count} values announced, {len(data)} bytes sent")
    return struct.unpack_from(f">{count}{_FORMAT[dbr]}", data)


@lru_cache(maxsize=16)  # what was read together has the same
def stamp(moment: float) -> tuple[int, int]:
    """Return seconds since 1990 and nanoseconds; (0, 0) for a time before that, as base shows "never"."""
    seconds = math.floor(moment)
    if seconds < EPICS_EPOCH:
        return 0, 0
    return seconds - EPICS_EPOCH, int((moment - seconds) * 1e9)


def fixed_size(dbr: int, count: int) -> int:
    """Bytes of a payload with ``count`` values, padded."""
    if dbr > LAST_FORMED:
        return len(blank(dbr, 1))
    form, base = divmod(dbr, 7)
    size = len(_head(form, base, _Nothing())) + _SIZE[base] * count
    return size + -size % 8


# ---- the forms ----


def _head(form: int, base: int, source: Source) -> bytes:
    """Return what stands before the value."""
    if not form:
        return b""
    status, severity, *_ = source.alarm()
    if form == TIME:
        return _STAMP.pack(status, severity, *stamp(source.stamp())) + bytes(_TIME_PAD.get(base, 0))
    alarm = _ALARM.pack(status, severity)
    if form == STS or base == STRING:
        return alarm + bytes(_STS_PAD.get(base, 0))
    return alarm + _metadata(form, base, source.properties())


def _metadata(form: int, base: int, properties: Properties) -> bytes:
    if base == ENUM:
        words = [word.encode("latin-1", "replace")[: STATE_SIZE - 1] for word in properties.states[:MAX_STATES]]
        return struct.pack(">H", len(words)) + b"".join(word.ljust(STATE_SIZE, b"\0") for word in words).ljust(
            MAX_STATES * STATE_SIZE, b"\0"
        )
    units = properties.units.encode("latin-1", "replace")[: UNIT_SIZE - 1].ljust(UNIT_SIZE, b"\0")
    limits = properties.limits[: 8 if form == CTRL else 6]
    if base in {FLOAT, DOUBLE}:
        numbers = [to_float(limit) for limit in limits] if base == FLOAT else limits
        return struct.pack(f">hxx8s{len(limits)}{_FORMAT[base]}", properties.precision, units, *numbers)
    whole = [_cast(to_long(limit) if math.isfinite(limit) else 0, base) for limit in limits]
    return struct.pack(f">8s{len(limits)}{_FORMAT[base]}", units, *whole) + (b"\0" if base == CHAR else b"")


def _body(base: int, values: Sequence[Any], source: Source) -> bytes:
    native = source.native
    if base == native == CHAR:  # a text may be a million characters long: not one by one
        with suppress(ValueError, TypeError):
            return bytes(values)
    if base == STRING:
        values = [source.text(value).encode("latin-1", "replace")[: STRING_SIZE - 1] for value in values]
    elif base != native or base not in {DOUBLE, FLOAT}:  # a driver's number may be too large for 32 bits
        values = [convert(value, native, base) for value in values]
    return struct.pack(f">{len(values)}{_FORMAT[base]}" if base != STRING else ">" + "40s" * len(values), *values)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


class _Nothing:
    """Stands for a value that is not there."""

    native = STRING

    def text(self, value: Any) -> str:
        return ""

    def alarm(self) -> tuple[int, int, int, int]:
        return 0, 0, 0, 0

    def stamp(self) -> float:
        return 0.0

    def properties(self) -> Properties:
        return Properties(limits=(0.0,) * 8)

    def record_type(self) -> str:
        return ""


# ---- one value from type to type, with C's arithmetic ----


def convert(value: Any, native: int, base: int) -> float | int:
    """Return a value of one type as a number of another."""
    if native == STRING:
        if base == ENUM and not value.isdecimal():
            raise NotConvertible(f"'{value}' has no words to choose from")
        value = number(value)
    if base == DOUBLE:
        return float(value)
    if base == FLOAT:
        return to_float(value)
    return _cast(to_long(value), base)


def number(text: str) -> float:
    """Return a text as a number; an empty one is 0."""
    try:
        return float(text) if text.strip() else 0.0
    except ValueError:
        raise NotConvertible(f"'{text}' is not a number") from None


def to_float(value: float) -> float:
    """Return a number within the range of a 32-bit float: what is too large becomes the largest, likewise small."""
    value = float(value)
    if value == 0 or not math.isfinite(value):
        return value
    return math.copysign(min(max(abs(value), _FLOAT_MIN), _FLOAT_MAX), value)


def _cast(whole: int, base: int) -> int:
    if base == SHORT:
        return (whole + 0x8000) % 0x10000 - 0x8000
    return whole & {ENUM: 0xFFFF, CHAR: 0xFF, LONG: -1}[base]


def text_of(value: float, precision: int) -> str:
    """Return a number as text, as cvtDoubleToString writes it: half is rounded up in the last place."""
    if math.isnan(value) or precision > 8 or abs(value) > 1e7:
        if precision > 8 or abs(value) > 1e16:
            precision = min(precision, 17)
            return f"{value:{precision + 7}.{precision}e}"
        return f"{value:.{min(precision, 3)}f}"
    sign, value = ("-", -value) if value < 0 else ("", value)
    places = 10**precision
    whole = int(value)
    fraction = (int((value - whole) * places * 10) + 5) // 10
    whole, fraction = whole + fraction // places, fraction % places
    return f"{sign}{whole}.{fraction:0{precision}d}" if precision else f"{sign}{whole}"
