"""What the fields of a record hold: live, set by the driver or the site, or what base's definition begins with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from drivers.base import RecordType, Value
from ioc import dbd
from ioc.ca import dbr
from ioc.fields import FIELDS
from ioc.numbers import to_long
from ioc.record import Record

# Bytes of an lsi: the least, which is enough for a sentence, and the most, for the list of all records is long
SHORTEST_TEXT, LONGEST_TEXT = 256, 1 << 20

# The DBR type in which Channel Access carries a field
NATIVE = {
    "STRING": dbr.STRING,
    "CHAR": dbr.CHAR,
    "UCHAR": dbr.CHAR,
    "SHORT": dbr.SHORT,
    "USHORT": dbr.LONG,
    "LONG": dbr.LONG,
    "ULONG": dbr.DOUBLE,
    "INT64": dbr.DOUBLE,
    "UINT64": dbr.DOUBLE,
    "FLOAT": dbr.FLOAT,
    "DOUBLE": dbr.DOUBLE,
    "ENUM": dbr.ENUM,
    "MENU": dbr.ENUM,
    "DEVICE": dbr.ENUM,
    **dict.fromkeys(dbd.LINKS, dbr.STRING),
}


def text_size(record: Record) -> int:
    """Return the bytes that an lsi has room for, with the NUL: a power of two, as clients make room for as much."""
    return min(max(SHORTEST_TEXT, 1 << len(record.val).bit_length()), LONGEST_TEXT)


def _choice(record: Record, field: str, words: str) -> int:
    """Return the index of words in a field's menu."""
    return dbd.fields(record.point.rtyp.name)[field].choices.index(words)


# Fields that tell what a record does rather than what somebody set
_LIVE: Mapping[str, Callable[[Record], Any]] = {
    "NAME": lambda record: record.name,
    "RTYP": lambda record: record.point.rtyp.name,
    "STAT": lambda record: int(record.stat),
    "SEVR": lambda record: int(record.sevr),
    "AMSG": lambda record: record.amsg,
    "ACKS": lambda record: int(record.acks),
    "ACKT": lambda record: int(record.ackt),
    "UDF": lambda record: int(record.udf),
    "DISP": lambda record: int(record.disp),
    "SCAN": lambda record: record.scan,
    "MLST": lambda record: record.mlst,
    "ALST": lambda record: record.alst,
    "LALM": lambda record: record.lalm,
    "OVAL": lambda record: record.val,
    "PVAL": lambda record: record.val,
    "RVAL": lambda record: record.val if record.point.rtyp.states else 0,
    "NELM": lambda record: record.point.nelm,
    "NORD": lambda record: len(record.val),
    "FTVL": lambda record: (
        _choice(record, "FTVL", record.point.ftvl) if record.point.rtyp is RecordType.waveform else None
    ),
    "SDEF": lambda record: bool(record.point.states),
    "MPST": lambda record: _choice(record, "MPST", "On Change"),
    "APST": lambda record: _choice(record, "APST", "On Change"),
    "SIZV": text_size,
    "LEN": lambda record: len(record.val) + 1,
}


def field_value(record: Record, field: dbd.FieldType) -> Value:
    """Return what a field holds now: live, set by the driver or the site, or what base's definition begins with."""
    live = _LIVE.get(field.name)
    if live is not None:
        value = live(record)
    else:
        setting = FIELDS.get(field.name)
        value = setting.get(record.point) if setting and record.point.rtyp in setting.rtyps else None
    if value is None:
        return _initial(field, record.point.rtyp)
    if field.dbf in {"DOUBLE", "FLOAT", "STRING"}:
        return value  # type: ignore[no-any-return]
    return to_long(value)


def _initial(field: dbd.FieldType, rtyp: RecordType) -> Value:
    native = NATIVE[field.dbf]
    if native == dbr.STRING:
        return field.initial
    if native == dbr.ENUM:
        return field.choices.index(field.initial) if field.initial in field.choices else int(field.initial or 0)
    if not field.initial:
        limit = field.name in {"HIHI", "HIGH", "LOW", "LOLO"} and rtyp.numeric
        return math.nan if limit and native == dbr.DOUBLE else 0
    return float(field.initial) if native in {dbr.DOUBLE, dbr.FLOAT} else int(field.initial, 0)
