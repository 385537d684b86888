"""What a Channel Access channel shows: the value of a record, one of its fields, or a long text as characters.

A view holds nothing: it looks at its record whenever somebody asks, so a field that nobody asks about costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from drivers.base import Array, Point, RecordType, Refused, Severity, Value
from ioc import dbd
from ioc.ca import dbr
from ioc.ca.dbr import Properties
from ioc.ca.fieldvalue import NATIVE, field_value, text_size
from ioc.fields import FIELDS
from ioc.record import Record

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
    "INT64": (2.0**63, -(2.0**63)),
    "UINT64": (2.0**64, 0),
    "FLOAT": (1e30, -1e30),
    "DOUBLE": (1e300, -1e300),
}
# Record types that have a range to display, and a range to control; the others say 0
_DISPLAYED = frozenset(rtyp for rtyp in RecordType if rtyp.numeric) | {RecordType.waveform}
_CONTROLLED = _DISPLAYED | {RecordType.bo}
# Digits of a number as text, in records without PREC
_NO_PRECISION = 6

# Fields in the unit and range of the value
_LIMITED = frozenset({"HIHI", "HIGH", "LOW", "LOLO", "LALM", "ALST", "MLST", "SVAL"})
_LIKE_VALUE = {
    RecordType.ai: _LIMITED,
    RecordType.ao: _LIMITED | {"OVAL", "PVAL"},
    RecordType.longin: _LIMITED,
    RecordType.longout: _LIMITED,
}
_NO_UNIT = {"ASLO", "AOFF", "SMOO", "ESLO", "EOFF"}
# The type of the fields that are in the record's unit
_MEASURED = {
    RecordType.ai: "DOUBLE",
    RecordType.ao: "DOUBLE",
    RecordType.longin: "LONG",
    RecordType.longout: "LONG",
    RecordType.waveform: "DOUBLE",
}
_NAN = (math.nan,) * 4
# Of an array: how many elements there can be, and whether it is busy
_OWN_RANGES: Mapping[str, Callable[[Point], tuple[float, float]]] = {
    "NORD": lambda point: (point.nelm, 0),
    "BUSY": lambda _: (1, 0),
}

# What a view shows: values, or characters
Values = Array | bytes

# What any client may change at run time, besides the site's settings
_SWITCHES = frozenset({"DISP", "PROC", "ACKS", "ACKT"})


class Owner(Protocol):
    """Who carries out what a client puts (an instrument)."""

    def put(
        self, record: Record, value: Value | Array, callback: bool = True, asked: float | None = None
    ) -> Awaitable[object]:
        """Carry out a put to the value; return False if a newer one took its place: one without ``callback``.

        ``asked``: when it was asked for at the latest (monotonic s); None: now. Raises the DeviceError.
        """

    def set_field(self, record: Record, name: str, value: Value) -> Awaitable[None] | None:
        """Carry out a put to a field; return what to wait for if it takes time. Raises Refused."""

    def acknowledge(self, record: Record, field: str, value: int) -> None:
        """Carry out DBR_PUT_ACKS (``field`` ACKS: all alarms up to a severity) or DBR_PUT_ACKT (ACKT: 0 or 1)."""


class View:
    """A record's value (``native``: its DBR type).

    ``field_name``: the name of a field other than the value; "" for the value. ``scalar_double``: whether it is the
    value of an ai or ao; an array of one double is still an array. ``remembers``: whether an update depends on what
    the subscriber got last; ``padded``: whether zeros follow where there are fewer values than a client wants.
    """

    __slots__ = ("native", "owner", "record", "scalar_double")

    field_name = ""
    remembers = False
    padded = True

    def __init__(self, record: Record, owner: Owner) -> None:
        self.record = record
        self.owner = owner
        point = record.point
        self.native = _VALUE_NATIVE.get(point.rtyp, NATIVE[point.ftvl])
        self.scalar_double = self.native == dbr.DOUBLE and point.rtyp is not RecordType.waveform

    @property
    def count(self) -> int:
        """Return the most elements that there can be."""
        return self.record.point.nelm

    @property
    def writable(self) -> bool:
        """Return True if clients may write: announced to them, so that screens show what can be set."""
        return self.record.point.rtyp.writable

    def values(self) -> Values:
        """Return the values of now, one or more."""
        val = self.record.val
        return val if type(val) is tuple else (val,)

    def most(self, dbr_type: int) -> int:
        """Return the largest number of values that is sent as a DBR type."""
        return self.count

    def passes(self, memory: dict[str, Any], mask: int) -> bool:
        """Return True if a change is to be sent to the subscriber with this ``memory``: a filter may leave it out."""
        return True

    def values_for(self, dbr_type: int, count: int) -> Values:
        """Return at most ``count`` values (0: all) to be sent as a DBR type."""
        values = self.values()
        return values[:count] if count else values

    def put(self, values: Array, callback: bool, asked: float | None = None) -> Awaitable[object] | None:
        """Carry out a client's put; return what to wait for if it takes time. Raises Refused."""
        if self.native == dbr.STRING:
            return self.owner.put(self.record, _text_put(values, _NO_PRECISION), callback, asked)
        return self.owner.put(self.record, values[0] if len(values) == 1 else values, callback, asked)

    def text(self, value: Any) -> str:
        """Return one value as text."""
        if self.native == dbr.ENUM:
            return _state(self.record.point.rtyp, self.record.point.states, value)
        if self.native in {dbr.DOUBLE, dbr.FLOAT}:
            return dbr.text_of(value, self.record.point.prec)
        return str(value)

    def alarm(self) -> tuple[int, int, int, int]:
        """Return status, severity, ackt and acks."""
        record = self.record
        return record.stat, record.sevr, record.ackt, record.acks

    def stamp(self) -> float:
        """Return the time stamp in seconds since 1970 UTC."""
        return float(self.record.time)

    def record_type(self) -> str:
        """Return the name of the record type."""
        return self.record.point.rtyp.name

    def properties(self) -> Properties:
        """Return units, limits and words."""
        point = self.record.point
        if point.rtyp.states:
            control = _RANGES["ENUM"] if point.rtyp in _CONTROLLED else (0, 0)
            return Properties(states=_words(point), limits=(0, 0, *_NAN, *control))
        if point.rtyp not in _DISPLAYED:
            return Properties()
        alarms = (
            _limit(point.hihi, point.hhsv),
            _limit(point.high, point.hsv),
            _limit(point.low, point.lsv),
            _limit(point.lolo, point.llsv),
        )
        display = (_or_0(point.hopr), _or_0(point.lopr))
        precision = point.prec if self.native == dbr.DOUBLE else 0
        units = "" if self.native == dbr.STRING else point.egu
        return Properties(units, precision, (*display, *alarms, *_control(point)))


class FieldView(View):
    """A field of a record other than its value."""

    __slots__ = ("field", "field_name")

    def __init__(self, record: Record, owner: Owner, field: dbd.FieldType) -> None:
        self.record = record
        self.owner = owner
        self.field = field
        self.field_name = field.name
        self.native = NATIVE[field.dbf]
        self.scalar_double = False

    @property
    def count(self) -> int:
        """Return the most elements that there can be."""
        return 1

    @property
    def writable(self) -> bool:
        """Return True if clients may write."""
        name = self.field.name
        return name in _SWITCHES or (name in FIELDS and FIELDS[name].live)

    def values(self) -> Array:
        """Return the values of now."""
        return (field_value(self.record, self.field),)

    def put(self, values: Array, callback: bool, asked: float | None = None) -> Awaitable[object] | None:
        """Carry out a client's put; return what to wait for if it takes time. Raises Refused."""
        if len(values) > 1 and self.native != dbr.STRING:
            raise Refused(f"one value is expected, not {len(values)}; not set: {self.record.name}.{self.field.name}")
        value = _text_put(values, self._text_precision()) if self.native == dbr.STRING else values[0]
        return self.owner.set_field(self.record, self.field.name, value)

    def text(self, value: Any) -> str:
        """Return one value as text."""
        if self.native == dbr.ENUM:
            if not 0 <= value < len(self.field.choices):
                raise dbr.NotConvertible(f"{value} is none of the words of {self.field.name}")
            return self.field.choices[int(value)]
        if self.field.dbf in {"DOUBLE", "FLOAT"}:
            return dbr.text_of(value, self._text_precision())
        return str(value)

    def properties(self) -> Properties:
        """Return units, limits and words."""
        field, point = self.field, self.record.point
        if self.native == dbr.ENUM:
            return Properties(states=field.choices)
        if field.name in _LIKE_VALUE.get(point.rtyp, ()):
            return Properties(
                point.egu, self._precision(), (_or_0(point.hopr), _or_0(point.lopr), *_NAN, *_control(point))
            )
        own = _OWN_RANGES.get(field.name)
        span = own(point) if own else _RANGES.get(field.dbf, (0, 0))
        display = span if point.rtyp in _DISPLAYED else (0, 0)
        control = span if point.rtyp in _CONTROLLED else (0, 0)
        in_units = field.dbf == _MEASURED.get(point.rtyp) and field.name not in _NO_UNIT
        return Properties(point.egu if in_units else "", self._precision(), (*display, *_NAN, *control))

    def _precision(self) -> int:
        return self.record.point.prec if self.field.dbf in {"DOUBLE", "FLOAT"} else 0

    def _text_precision(self) -> int:
        return self.record.point.prec if "PREC" in dbd.fields(self.record_type()) else _NO_PRECISION


class TextView(View):
    """A text as an array of characters (``PV.VAL$``, ``PV.DESC$``): longer than the 39 of a string."""

    __slots__ = ("_size", "field_name", "whole")

    def __init__(self, whole: View, size: int) -> None:
        self.record = whole.record
        self.owner = whole.owner
        self.whole = whole
        self.field_name = whole.field_name
        self.native = dbr.CHAR
        self.scalar_double = False
        self._size = size

    @property
    def count(self) -> int:
        """Return the most elements that there can be; of a value, as many as it has room for now."""
        return self._size or text_size(self.record)

    @property
    def writable(self) -> bool:
        """Return True if clients may write."""
        return self.whole.writable

    def values(self) -> bytes:
        """Return the characters of now, with a NUL at the end."""
        return str(self.whole.values()[0]).encode("latin-1", "replace")[: self.count - 1] + b"\0"

    def most(self, dbr_type: int) -> int:
        """Return the size for characters, 40 for other types: a million numbers as text would be 40 MB."""
        return self.count if dbr_type % 7 == dbr.CHAR else min(self.count, dbr.STRING_SIZE)

    def values_for(self, dbr_type: int, count: int) -> Values:
        """Return at most ``count`` values; of characters, a piece ends with a NUL too."""
        most = self.most(dbr_type)
        values = self.values()[: min(count, most) or most]
        return values[:-1] + b"\0" if dbr_type % 7 == dbr.CHAR else values

    def put(self, values: Array, callback: bool, asked: float | None = None) -> Awaitable[object] | None:
        """Carry out a client's put; return what to wait for if it takes time. Raises Refused.

        One number alone is a character as well: an empty text comes as its NUL.
        """
        if len(values) == 1 and isinstance(values[0], int) and -128 <= values[0] <= 255:
            values = (_joined(values),)
        return self.whole.put(values, callback, asked)

    def text(self, value: Any) -> str:
        """Return one value as text."""
        return str(value)

    def properties(self) -> Properties:
        """Return units, limits and words."""
        return Properties()


def view_of(value: View, field: str) -> View:
    """Return the view of a field ("", "VAL", "HIHI", "DESC$" ...) beside a record's value. Raises KeyError."""
    name = field.removesuffix("$") or "VAL"
    view, length = value, 0 if value.record.point.rtyp is RecordType.lsi else dbr.STRING_SIZE
    if name != "VAL":
        kind = dbd.fields(value.record.point.rtyp.name)[name]
        view, length = FieldView(value.record, value.owner, kind), kind.size
    if not field.endswith("$"):
        return view
    if view.native != dbr.STRING or view.count > 1:
        raise KeyError(field)
    return TextView(view, length)


def _state(rtyp: RecordType, states: tuple[str, ...], value: int) -> str:
    """biRecord.c and mbbiRecord.c: what get_enum_str says."""
    if 0 <= value < len(states):
        return states[value]
    if rtyp in {RecordType.bi, RecordType.bo}:
        return "" if 0 <= value <= 1 else "Illegal_Value"
    return "" if 0 <= value < dbr.MAX_STATES else "Illegal Value"


def _words(point: Point) -> tuple[str, ...]:
    """Return the words of a state record; a bi and a bo always have two."""
    return (*point.states, "", "")[:2] if point.rtyp in {RecordType.bi, RecordType.bo} else point.states


def _text_put(values: Array, precision: int) -> Value:
    """Return a put to a text as one value: a text, a number in words, or characters that came one by one."""
    if len(values) > 1:
        return _joined(values)
    return dbr.text_of(values[0], precision) if isinstance(values[0], float) else values[0]


def _joined(values: Array) -> Value:
    """Return characters that came one by one as a text, up to the NUL."""
    if not all(isinstance(value, int) for value in values):
        raise Refused(f"a text is expected, not {len(values)} values")
    return bytes(int(value) & 0xFF for value in values).partition(b"\0")[0].decode("latin-1")


def _control(point: Point) -> tuple[float, float]:
    """Return the control limits: DRVH and DRVL of an output, the display range of an input."""
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
