"""What a Channel Access channel shows: the value of a record, one of its fields, or a long text as characters.

A view holds nothing: it looks at its record whenever somebody asks, so a field that nobody asks about costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from drivers.base import Array, Point, RecordType, Refused, Severity, Value
from ioc import dbd, dbr
from ioc.dbr import Properties
from ioc.fields import FIELDS
from ioc.record import Record

LONG_STRING_SIZE = 1 << 20  # of an lsi: the list of all records is long

_NATIVE = {
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
_VALUE_NATIVE = {
    RecordType.ai: dbr.DOUBLE,
    RecordType.ao: dbr.DOUBLE,
    RecordType.longin: dbr.LONG,
    RecordType.longout: dbr.LONG,
    RecordType.stringin: dbr.STRING,
    RecordType.stringout: dbr.STRING,
    RecordType.lsi: dbr.STRING,
    RecordType.bi: dbr.ENUM,
    RecordType.bo: dbr.ENUM,
    RecordType.mbbi: dbr.ENUM,
    RecordType.mbbo: dbr.ENUM,
}
# recGblGetGraphicDouble: the display range of fields that are no values
_RANGES = {
    "CHAR": (127, -128),
    "UCHAR": (255, 0),
    "SHORT": (32767, -32768),
    "ENUM": (65535, 0),
    "USHORT": (65535, 0),
    "LONG": (2147483647, -2147483648),
    "ULONG": (4294967295, 0),
    "FLOAT": (1e30, -1e30),
    "DOUBLE": (1e300, -1e300),
}
# Fields in the unit and range of the value
_LIKE_VALUE = {"HIHI", "HIGH", "LOW", "LOLO", "LALM", "ALST", "MLST", "OVAL", "PVAL", "SVAL"}
_NO_UNIT = {"ASLO", "AOFF", "SMOO", "ESLO", "EOFF"}
_FTVL = ("STRING", "CHAR", "UCHAR", "SHORT", "USHORT", "LONG", "ULONG", "INT64", "UINT64", "FLOAT", "DOUBLE", "ENUM")

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
    "FTVL": lambda record: _FTVL.index(record.point.ftvl),
    "MPST": lambda _: 1,  # "On Change"
    "APST": lambda _: 1,
    "SIZV": lambda _: LONG_STRING_SIZE,
    "LEN": lambda record: len(record.val) + 1,
}
# What any client may change at run time, besides the site's settings
_SWITCHES = frozenset({"DISP", "PROC", "ACKS", "ACKT"})


class Owner(Protocol):
    """Who carries out what a client puts (an instrument)."""

    def put(self, record: Record, value: Value | Array) -> Awaitable[None]:
        """A put to the value."""

    def set_field(self, record: Record, name: str, value: Value) -> Awaitable[None] | None:
        """A put to a field; something to wait for if it takes time. Raises Refused."""

    def acknowledge(self, record: Record, field: str, value: int) -> None:
        """DBR_PUT_ACKS (``field`` ACKS: all alarms up to this severity) or DBR_PUT_ACKT (ACKT: 0 or 1)."""


class View:
    """A record's value (``native``: its DBR type, ``count``: the most elements it can have)."""

    __slots__ = ("count", "native", "owner", "record")

    def __init__(self, record: Record, owner: Owner) -> None:
        self.record = record
        self.owner = owner
        point = record.point
        self.native = _VALUE_NATIVE.get(point.rtyp, _NATIVE[point.ftvl])
        self.count = point.nelm

    @property
    def scalar_double(self) -> bool:
        """True for the value of an ai or ao."""
        return self.native == dbr.DOUBLE and self.count == 1

    @property
    def writable(self) -> bool:
        """True if clients may write: announced to them, so that screens show what can be set."""
        return self.record.point.rtyp.writable

    def values(self) -> Array:
        """What is to be shown now."""
        val = self.record.val
        return val if type(val) is tuple else (val,)

    def put(self, values: Array) -> Awaitable[None] | None:
        """A client's put; something to wait for if it takes time. Raises Refused."""
        value = values[0] if len(values) == 1 else _joined(values) if self.native == dbr.STRING else values
        return self.owner.put(self.record, value)

    def text(self, value: Any) -> str:
        """One value as text."""
        if self.native == dbr.ENUM:
            return _state(self.record.point.rtyp, self.record.point.states, value)
        if self.native in {dbr.DOUBLE, dbr.FLOAT}:
            return dbr.text_of(value, self.record.point.prec)
        return str(value)

    def alarm(self) -> tuple[int, int, int, int]:
        """Status, severity, ackt, acks."""
        record = self.record
        return record.stat, record.sevr, record.ackt, record.acks

    def stamp(self) -> float:
        """Seconds since 1970 UTC."""
        return self.record.time

    def record_type(self) -> str:
        """The name of the record type."""
        return self.record.point.rtyp.name

    def properties(self) -> Properties:
        """Units, limits, words."""
        point = self.record.point
        if point.rtyp.states:
            return Properties(states=point.states)
        if self.native == dbr.STRING:
            return Properties()
        alarms = (
            _limit(point.hihi, point.hhsv),
            _limit(point.high, point.hsv),
            _limit(point.low, point.lsv),
            _limit(point.lolo, point.llsv),
        )
        display = (_or_0(point.hopr), _or_0(point.lopr))
        return Properties(point.egu, point.prec, (*display, *alarms, *_control(point)))


class FieldView(View):
    """A field of a record other than its value."""

    __slots__ = ("field",)

    scalar_double = False

    def __init__(self, record: Record, owner: Owner, field: dbd.FieldType) -> None:
        self.record = record
        self.owner = owner
        self.field = field
        self.native = _NATIVE[field.dbf]
        self.count = 1

    @property
    def writable(self) -> bool:
        name = self.field.name
        return name in _SWITCHES or (name in FIELDS and FIELDS[name].live)

    def values(self) -> Array:
        return (field_value(self.record, self.field),)

    def put(self, values: Array) -> Awaitable[None] | None:
        if len(values) > 1 and self.native != dbr.STRING:
            raise Refused(f"one value is wanted, not {len(values)}; not set: {self.record.name}.{self.field.name}")
        value = values[0] if len(values) == 1 else _joined(values)
        return self.owner.set_field(self.record, self.field.name, value)

    def text(self, value: Any) -> str:
        if self.native == dbr.ENUM:
            if not 0 <= value < len(self.field.choices):
                raise dbr.NotConvertible(f"{value} is none of the words of {self.field.name}")
            return self.field.choices[int(value)]
        if self.field.dbf in {"DOUBLE", "FLOAT"}:
            return dbr.text_of(value, self._precision())
        return str(value)

    def properties(self) -> Properties:
        field, point = self.field, self.record.point
        if self.native == dbr.ENUM:
            return Properties(states=field.choices)
        nan = (math.nan,) * 4
        if field.name in _LIKE_VALUE and point.rtyp.numeric:
            return Properties(
                point.egu, self._precision(), (_or_0(point.hopr), _or_0(point.lopr), *nan, *_control(point))
            )
        span = _RANGES.get(field.dbf, (0, 0))
        in_units = point.rtyp.numeric and field.dbf == "DOUBLE" and field.name not in _NO_UNIT
        return Properties(point.egu if in_units else "", self._precision(), (*span, *nan, *span))

    def _precision(self) -> int:
        if self.field.dbf not in {"DOUBLE", "FLOAT"}:
            return 0
        precision = self.record.point.prec
        return precision if 0 <= precision <= 15 else 15


class TextView(View):
    """A text as an array of characters (``PV.VAL$``, ``PV.DESC$``): longer than the 39 of a string."""

    __slots__ = ("whole",)

    scalar_double = False

    def __init__(self, whole: View, size: int) -> None:
        self.record = whole.record
        self.owner = whole.owner
        self.whole = whole
        self.native = dbr.CHAR
        self.count = size

    @property
    def writable(self) -> bool:
        return self.whole.writable

    def values(self) -> Array:
        text = str(self.whole.values()[0]).encode("latin-1", "replace")
        return (*text[: self.count - 1], 0)

    def put(self, values: Array) -> Awaitable[None] | None:
        return self.whole.put((_joined(values),))

    def text(self, value: Any) -> str:
        return str(value)

    def properties(self) -> Properties:
        return Properties()


def view_of(value: View, field: str) -> View:
    """The view of a field ("", "VAL", "HIHI", "DESC$" ...) beside a record's value; KeyError when there is none."""
    name = field.removesuffix("$") or "VAL"
    view, length = value, _text_size(value.record)
    if name != "VAL":
        kind = dbd.fields(value.record.point.rtyp.name)[name]
        view, length = FieldView(value.record, value.owner, kind), kind.size
    if not field.endswith("$"):
        return view
    if view.native != dbr.STRING or view.count > 1:
        raise KeyError(field)
    return TextView(view, length)


def field_value(record: Record, field: dbd.FieldType) -> Value:
    """What a field holds now: live, set by the driver or the site, or what base's definition begins with."""
    live = _LIVE.get(field.name)
    if live is not None:
        value = live(record)
    else:
        setting = FIELDS.get(field.name)
        value = setting.get(record.point) if setting and record.point.rtyp in setting.rtyps else None
    if value is None:
        return _initial(field)
    if field.dbf in {"DOUBLE", "FLOAT", "STRING"}:
        return value  # type: ignore[no-any-return]
    return int(value)


def _initial(field: dbd.FieldType) -> Value:
    native = _NATIVE[field.dbf]
    if native == dbr.STRING:
        return field.initial
    if native == dbr.ENUM:
        return field.choices.index(field.initial) if field.initial in field.choices else 0
    if not field.initial:
        return math.nan if field.name in {"HIHI", "HIGH", "LOW", "LOLO"} and native == dbr.DOUBLE else 0
    return float(field.initial) if native in {dbr.DOUBLE, dbr.FLOAT} else int(field.initial, 0)


def _text_size(record: Record) -> int:
    return LONG_STRING_SIZE if record.point.rtyp is RecordType.lsi else dbr.STRING_SIZE


def _state(rtyp: RecordType, states: tuple[str, ...], value: int) -> str:
    """biRecord.c and mbbiRecord.c: what get_enum_str says."""
    if 0 <= value < len(states):
        return states[value]
    if rtyp in {RecordType.bi, RecordType.bo}:
        return "Illegal_Value"
    return "" if 0 <= value < dbr.MAX_STATES else "Illegal Value"


def _joined(values: Array) -> Value:
    """Characters that came one by one, up to the NUL."""
    if not all(isinstance(value, int) for value in values):
        raise Refused(f"a text is wanted, not {len(values)} values")
    return bytes(int(value) & 0xFF for value in values).partition(b"\0")[0].decode("latin-1")


def _control(point: Point) -> tuple[float, float]:
    """Control limits: DRVH and DRVL of an output, the display range of an input."""
    if not point.rtyp.writable:
        return _or_0(point.hopr), _or_0(point.lopr)
    return (
        point.drvh if point.drvh is not None else _or_0(point.hopr),
        point.drvl if point.drvl is not None else _or_0(point.lopr),
    )


def _limit(limit: float | None, severity: Severity) -> float:
    return math.nan if limit is None or not severity else limit


def _or_0(value: float | None) -> float:
    return 0.0 if value is None else value
