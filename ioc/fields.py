"""The fields that a site may set: which attribute of a point each EPICS name stands for, and what it may hold.

Used by the configuration (overrides under ``records:``), by clients that change them at run time, and by the server
that shows them (``PV.HIHI``, ``PV.DESC`` ...).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from drivers.base import Point, RecordType, Severity, Value
from ioc import units
from ioc.numbers import number_of, written

# Words of base's menuAlarmSevr, and what begins the names of a state's fields (ZRST, ZRSV, ONST, ...)
MENU_SEVERITY = tuple(severity.name for severity in Severity)
STATE_WORDS = ("ZR", "ON", "TW", "TH", "FR", "FV", "SX", "SV", "EI", "NI", "TE", "EL", "TV", "TT", "FT", "FF")

_NUMERIC = frozenset(rtyp for rtyp in RecordType if rtyp.numeric)
_DOUBLE = frozenset({RecordType.ai, RecordType.ao})
_BINARY = frozenset({RecordType.bi, RecordType.bo})
_MULTI = frozenset({RecordType.mbbi, RecordType.mbbo})
_SETPOINT = frozenset({RecordType.ao, RecordType.longout})
_ARRAY = frozenset({RecordType.waveform})
_RANGED = _NUMERIC | _ARRAY
_ALL = frozenset(RecordType)
_LIMITS = frozenset({"hihi", "high", "low", "lolo"})


class Kind(Enum):
    """What a field holds."""

    TEXT = auto()
    NUMBER = auto()
    COUNT = auto()
    SEVERITY = auto()


_WANTED = {Kind.NUMBER: "a number", Kind.COUNT: "a whole number", Kind.SEVERITY: f"one of {', '.join(MENU_SEVERITY)}"}


@dataclass(frozen=True, slots=True)
class Field:
    """A field: the point's attribute (with ``index`` for one of its states), its kind, and the records with it.

    ``live`` fields may be changed by a client at run time: how a value is judged and shown, never what is commanded
    (DRVH, DRVL) or what it means (units, words).
    """

    attribute: str
    kind: Kind
    rtyps: frozenset[RecordType]
    size: int = 0
    index: int | None = None
    live: bool = False

    def get(self, point: Point) -> Any:
        """Return the field's value in a point; None when it is not set."""
        value = getattr(point, self.attribute)
        if self.index is None:
            return value
        return value[self.index] if self.index < len(value) else None

    def set(self, point: Point, value: Any) -> Point:
        """Return the point with this field changed."""
        if self.index is not None:
            blank: Any = "" if self.kind is Kind.TEXT else Severity.NO_ALARM
            items = list(getattr(point, self.attribute))
            items += [blank] * (self.index + 1 - len(items))
            items[self.index] = value
            value = tuple(items)
        return replace(point, **{self.attribute: value})

    def parse(self, value: object) -> Any:
        """Return the value as written in the configuration; ValueError says what is allowed.

        A number may have a unit ("20 uA"): it is a ``Quantity`` then.
        """
        if self.kind is Kind.SEVERITY:
            if value not in MENU_SEVERITY:
                raise ValueError(f"{value!r} is not a severity; allowed: {', '.join(MENU_SEVERITY)}")
            return Severity[str(value)]
        if self.kind is Kind.TEXT:
            if not (isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= self.size):
                raise ValueError(f"{value!r} is not a text of at most {self.size} printable ASCII characters")
            return value
        if self.kind is Kind.NUMBER and isinstance(value, str):
            return units.quantity(value) or self._number(value)
        return self._number(value)

    def restore(self, value: Any) -> Any:
        """Return the value as stored in a site file; ValueError says what is allowed."""
        found = units.quantity(value) if self.kind is Kind.NUMBER and isinstance(value, str) else None
        return found or (None if value is None else self.convert(value))

    def in_unit(self, value: Any, unit: str) -> Any:
        """Return the value as it is stored: a number with the unit that it is for, "" if there is none."""
        if self.kind is not Kind.NUMBER or value is None or not unit or not math.isfinite(value):
            return value
        return units.Quantity(value, unit)

    def convert(self, value: Value) -> Any:
        """Return the value as a client put it, converted as base does; ValueError says what is allowed."""
        if self.kind is Kind.TEXT:
            return self.parse(str(value))
        if self.kind is Kind.SEVERITY and value in MENU_SEVERITY:
            return Severity[str(value)]
        try:
            number = number_of(value)
        except (ValueError, TypeError, OverflowError):  # a list in a site file; a number beyond all doubles
            raise ValueError(f"{value!r} is not {_WANTED[self.kind]}") from None
        if self.kind is Kind.NUMBER:
            return None if math.isnan(number) and self.attribute in _LIMITS else number
        if self.kind is Kind.SEVERITY:
            if number not in range(len(MENU_SEVERITY)):
                raise ValueError(f"{value!r} is not {_WANTED[self.kind]}")
            return Severity(int(number))
        return self._number(int(number) if math.isfinite(number) else number)

    def _number(self, value: object) -> float | int:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            shown = written(value) if isinstance(value, float) else repr(value)
            raise ValueError(f"{shown} is not a number")
        if self.kind is Kind.COUNT:
            if not isinstance(value, int) or not 0 <= value <= 15:
                raise ValueError(f"{value!r} is not a whole number from 0 to 15")
            return value
        return float(value)


# Name of a field -> what it is
FIELDS: Mapping[str, Field] = {
    "DESC": Field("desc", Kind.TEXT, _ALL, size=40, live=True),
    "EGU": Field("egu", Kind.TEXT, _RANGED, size=15),
    "PREC": Field("prec", Kind.COUNT, _DOUBLE | _ARRAY, live=True),
    **{
        name: Field(name.lower(), Kind.NUMBER, rtyps, live=True)
        for name, rtyps in {
            "HOPR": _RANGED,
            "LOPR": _RANGED,
            "HIHI": _NUMERIC,
            "HIGH": _NUMERIC,
            "LOW": _NUMERIC,
            "LOLO": _NUMERIC,
            "HYST": _NUMERIC,
            "MDEL": _NUMERIC,
            "ADEL": _NUMERIC,
        }.items()
    },
    **{name: Field(name.lower(), Kind.NUMBER, _SETPOINT) for name in ("DRVH", "DRVL")},
    **{name: Field(name.lower(), Kind.SEVERITY, _NUMERIC, live=True) for name in ("HHSV", "HSV", "LSV", "LLSV")},
    "COSV": Field("cosv", Kind.SEVERITY, _BINARY | _MULTI, live=True),
    "ZNAM": Field("states", Kind.TEXT, _BINARY, size=25, index=0),
    "ONAM": Field("states", Kind.TEXT, _BINARY, size=25, index=1),
    "ZSV": Field("severities", Kind.SEVERITY, _BINARY, index=0, live=True),
    "OSV": Field("severities", Kind.SEVERITY, _BINARY, index=1, live=True),
    **{
        f"{word}ST": Field("states", Kind.TEXT, _MULTI, size=25, index=index)
        for index, word in enumerate(STATE_WORDS)
    },
    **{
        f"{word}SV": Field("severities", Kind.SEVERITY, _MULTI, index=index, live=True)
        for index, word in enumerate(STATE_WORDS)
    },
}


# Fields by which the present value is judged
ALARM_FIELDS = frozenset({"HIHI", "HIGH", "LOW", "LOLO", "HYST"}) | {
    name for name, field in FIELDS.items() if field.kind is Kind.SEVERITY
}

# Alarm limits -> the attribute of their severity
LIMITS = {"HIHI": "hhsv", "HIGH": "hsv", "LOW": "lsv", "LOLO": "llsv"}
# 0 and negative numbers mean "each change" and "each reading" in them, in any unit
DEADBANDS = frozenset({"HYST", "MDEL", "ADEL"})

# A site narrows what the instrument allows; it cannot widen it
TIGHTER = {"DRVH": min, "DRVL": max}


def is_told_always(point: Point, field: str) -> bool:
    """Return whether a field is the deadband of a point of which each reading is told, as the driver says."""
    return field == "MDEL" and point.mdel < 0
