"""Decoders of the structures in which Channel Access sends values and metadata (epics-base, db_access.h).

A structure's type is the type of a field (STRING to DOUBLE) plus TIME (alarm, stamp, values) or CTRL (alarm,
metadata, values). libca hands them out in the byte order of this machine.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from math import isfinite
from struct import Struct, iter_unpack
from typing import TypeVar

from archiver.ca.listener import PvUpdate
from archiver.sample import INVALID, STATUSES, Metadata, Range, Value, pack

# DBR_STRING to DBR_DOUBLE, and the first types of DBR_TIME_* and DBR_CTRL_* (db_access.h).
STRING, SHORT, FLOAT, ENUM, CHAR, LONG, DOUBLE = TYPES = range(7)
TIME, CTRL = 14, 28

# The bytes of a text: no control characters but tab, line feed, form feed, carriage return and escape.
_PLAIN = bytes(sorted({9, 10, 12, 13, 27, *range(32, 256)}))

# From 1970 to 1990, where EPICS begins to count.
EPICS_EPOCH_NS = 631_152_000 * 10**9
UDF = STATUSES.index("UDF")
# Bytes of the word of an enum (MAX_ENUM_STRING_SIZE).
WORD_SIZE = 26

_VALUES = ("40s", "h", "f", "H", "B", "i", "d")
_WIDTHS = (40, 2, 4, 2, 1, 4, 8)

# Of DBR_TIME_*: status, severity, seconds and nanoseconds since 1990.
_HEAD = Struct("=hhII")
_TIME = tuple("=hhII" + padding for padding in ("", "2x", "", "2x", "3x", "", "4x"))

# Of DBR_CTRL_*: precision where there is one, unit, and limits: display high and low, alarm high, warning high and
# low, alarm low, control high and low. Of an enum the number of its words, and room for sixteen.
_CTRL = {
    SHORT: Struct("=4x8s8h"),
    FLOAT: Struct("=4xh2x8s8f"),
    ENUM: Struct(f"=4xh{16 * WORD_SIZE}s"),
    CHAR: Struct("=4x8s8Bx"),
    LONG: Struct("=4x8s8i"),
    DOUBLE: Struct("=4xh2x8s8d"),
}

# Type of structure -> bytes before its values, bytes of one value.
LAYOUT = {
    **{TIME + native: (Struct(_TIME[native]).size, _WIDTHS[native]) for native in TYPES},
    **{CTRL + native: (head.size, _WIDTHS[native]) for native, head in _CTRL.items()},
}

T = TypeVar("T")

# Decodes a TIME structure; None for a record that was never processed: it has no value.
Decoder = Callable[[bytes], PvUpdate | None]


def is_text(native: int, count: int) -> bool:
    """Return whether a field of this type, with room for so many values, may hold text; text has no metadata."""
    return native == STRING or (native == CHAR and count > 1)


def update(native: int, count: int, data: bytes) -> PvUpdate:
    """Return what a TIME structure says, also that of a record that was never processed."""
    return _decoder(native, count, _any_update)(data)


def decoder(native: int, count: int) -> Decoder:
    """Return the decoder for a field of this type, with room for so many values."""
    return _decoder(native, count, _update)


def _decoder(native: int, count: int, make: Callable[..., T]) -> Callable[[bytes], T]:
    if count == 1 and native != STRING:
        unpack = Struct(_TIME[native] + _VALUES[native]).unpack
        return lambda data: make(*unpack(data))
    head = Struct(_TIME[native])
    read: Callable[[bytes], Value]
    if native == CHAR:
        read = _text_or_bytes
    elif native == STRING:
        read = _text if count == 1 else _texts
    else:
        read = _numbers(native)
    return lambda data: make(*(*head.unpack_from(data), read(data[head.size :])))


def stamp_ns(data: bytes) -> int:
    """Return the time stamp (ns since 1970, UTC) of a TIME structure."""
    _, _, seconds, nanoseconds = _HEAD.unpack_from(data)
    return EPICS_EPOCH_NS + int(seconds) * 1_000_000_000 + int(nanoseconds)


def metadata(native: int, data: bytes) -> Metadata:
    """Return the metadata of a CTRL structure of a field of this type."""
    fields = _CTRL[native].unpack_from(data)
    if native == ENUM:
        count, words = fields
        return Metadata(words=tuple(_text(words[WORD_SIZE * index :][:WORD_SIZE]) for index in range(count)))
    precision = fields[0] if native in {FLOAT, DOUBLE} else 0
    unit, high, low, alarm_high, warning_high, warning_low, alarm_low, _, _ = fields[-9:]
    return Metadata(
        unit=_text(unit),
        precision=precision,
        display=_range(low, high),
        warning=_range(warning_low, warning_high),
        alarm=_range(alarm_low, alarm_high),
    )


def _update(status: int, severity: int, seconds: int, nanoseconds: int, value: Value) -> PvUpdate | None:
    if status == UDF and not seconds:
        return None
    return _any_update(status, severity, seconds, nanoseconds, value)


def _any_update(status: int, severity: int, seconds: int, nanoseconds: int, value: Value) -> PvUpdate:
    word = STATUSES[status] if 0 <= status < len(STATUSES) else str(status)
    if not 0 <= severity <= INVALID:
        severity = INVALID  # there is none like that: what it means is not known, and no spool or database holds it
    return PvUpdate(EPICS_EPOCH_NS + seconds * 1_000_000_000 + nanoseconds, value, severity, word)


def _numbers(native: int) -> Callable[[bytes], Value]:
    code = _VALUES[native]  # of these array has the same letters and sizes as struct
    return lambda data: pack(array(code, data))


def _text_or_bytes(data: bytes) -> Value:
    """Return the text of an array of characters; an array of numbers if it cannot be a text.

    A text ends at its first zero byte and has no control characters. What follows the zero shows that it is not one.
    """
    text, _, rest = data.partition(b"\0")
    return pack(data) if text.translate(None, _PLAIN) or rest.strip(b"\0") else _text(text)


def _texts(data: bytes) -> str:
    texts = (_text(text).strip() for (text,) in iter_unpack(_VALUES[STRING], data))
    return ", ".join(text for text in texts if text)


def _text(data: bytes) -> str:
    """Return a text; one that is not UTF-8 is Latin-1, as IOCs write the degree sign (CA defines no encoding)."""
    data = data.partition(b"\0")[0]
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _range(low: float, high: float) -> Range:
    """Return a range; a limit that is not set is NaN on the wire."""
    return (low if isfinite(low) else None, high if isfinite(high) else None)
