"""The EPICS names of a record's fields: which attribute of a point each stands for, and what it may hold.

Used by the configuration (overrides under ``records:``) and by the server (``PV.HIHI``, ``PV.DESC`` ...).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from drivers.base import Point, RecordType, Severity

MENU_SEVERITY = tuple(severity.name for severity in Severity)
STATE_WORDS = ("ZR", "ON", "TW", "TH", "FR", "FV", "SX", "SV", "EI", "NI", "TE", "EL", "TV", "TT", "FT", "FF")

_NUMERIC = frozenset(rtyp for rtyp in RecordType if rtyp.numeric)
_DOUBLE = frozenset({RecordType.ai, RecordType.ao})
_BINARY = frozenset({RecordType.bi, RecordType.bo})
_MULTI = frozenset({RecordType.mbbi, RecordType.mbbo})
_SETPOINT = frozenset({RecordType.ao, RecordType.longout})
_ALL = frozenset(RecordType)


class Kind(Enum):
    """What a field holds."""

    TEXT = auto()
    NUMBER = auto()
    COUNT = auto()
    SEVERITY = auto()


@dataclass(frozen=True, slots=True)
class Field:
    """A field: the point's attribute (with ``index`` for one of its states), its kind, and the records with it."""

    attribute: str
    kind: Kind
    rtyps: frozenset[RecordType]
    size: int = 0
    index: int | None = None

    def get(self, point: Point) -> Any:
        """The field's value in a point; None when it is not set."""
        value = getattr(point, self.attribute)
        if self.index is None:
            return value
        return value[self.index] if self.index < len(value) else None

    def set(self, point: Point, value: Any) -> Point:
        """The point with this field changed."""
        if self.index is not None:
            blank: Any = "" if self.kind is Kind.TEXT else Severity.NO_ALARM
            items = list(getattr(point, self.attribute))
            items += [blank] * (self.index + 1 - len(items))
            items[self.index] = value
            value = tuple(items)
        return replace(point, **{self.attribute: value})

    def parse(self, value: object) -> Any:
        """The value as written in the configuration; ValueError says what is allowed."""
        if self.kind is Kind.SEVERITY:
            if value not in MENU_SEVERITY:
                raise ValueError(f"{value!r} is not a severity; allowed: {', '.join(MENU_SEVERITY)}")
            return Severity[str(value)]
        if self.kind is Kind.TEXT:
            if not isinstance(value, str) or not value.isascii() or len(value) > self.size:
                raise ValueError(f"{value!r} is not a text of at most {self.size} ASCII characters")
            return value
        return self._number(value)

    def _number(self, value: object) -> float | int:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{value!r} is not a number")
        if self.kind is Kind.COUNT:
            if not isinstance(value, int) or not 0 <= value <= 15:
                raise ValueError(f"{value!r} is not a whole number from 0 to 15")
            return value
        return float(value)


FIELDS: Mapping[str, Field] = {
    "DESC": Field("desc", Kind.TEXT, _ALL, size=40),
    "EGU": Field("egu", Kind.TEXT, _NUMERIC, size=15),
    "PREC": Field("prec", Kind.COUNT, _DOUBLE),
    **{
        name: Field(name.lower(), Kind.NUMBER, rtyps)
        for name, rtyps in {
            "HOPR": _NUMERIC,
            "LOPR": _NUMERIC,
            "DRVH": _SETPOINT,
            "DRVL": _SETPOINT,
            "HIHI": _NUMERIC,
            "HIGH": _NUMERIC,
            "LOW": _NUMERIC,
            "LOLO": _NUMERIC,
            "HYST": _NUMERIC,
            "MDEL": _NUMERIC,
            "ADEL": _NUMERIC,
        }.items()
    },
    **{name: Field(name.lower(), Kind.SEVERITY, _NUMERIC) for name in ("HHSV", "HSV", "LSV", "LLSV")},
    "COSV": Field("cosv", Kind.SEVERITY, _BINARY | _MULTI),
    "ZNAM": Field("states", Kind.TEXT, _BINARY, size=25, index=0),
    "ONAM": Field("states", Kind.TEXT, _BINARY, size=25, index=1),
    "ZSV": Field("severities", Kind.SEVERITY, _BINARY, index=0),
    "OSV": Field("severities", Kind.SEVERITY, _BINARY, index=1),
    **{
        f"{word}ST": Field("states", Kind.TEXT, _MULTI, size=25, index=index)
        for index, word in enumerate(STATE_WORDS)
    },
    **{
        f"{word}SV": Field("severities", Kind.SEVERITY, _MULTI, index=index) for index, word in enumerate(STATE_WORDS)
    },
}


# A site narrows what the instrument allows; it cannot widen it
TIGHTER = {"DRVH": min, "DRVL": max}


def apply(point: Point, overrides: Mapping[str, Any]) -> Point:
    """The point with a site's overrides (field name -> parsed value); fields that its record lacks are left out."""
    for name, value in overrides.items():
        field = FIELDS[name]
        if point.rtyp not in field.rtyps:
            continue
        present = field.get(point)
        if name in TIGHTER:
            point = replace(point, moving=False)  # what the site says holds, whatever the instrument would allow
        narrow = name in TIGHTER and present is not None
        point = field.set(point, TIGHTER[name](present, value) if narrow else value)
    return point
