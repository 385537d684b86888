"""What a site says about its records: fields by PV name or glob, later lines win; then what was set at run time.

A number is for a unit: the one that stands behind it ("20 uA"), else the one that the record had when its first value
came. When the record has another unit, the number is converted; where that is not possible, it is not applied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, NamedTuple

from drivers.base import Point
from ioc import units
from ioc.fields import DEADBANDS, FIELDS, TIGHTER, Field, Kind, is_told_always
from ioc.units import Quantity

# EPICS base's limit for a record name (PVNAME_STRINGSZ - 1)
NAME_SIZE = 60


def is_glob(pattern: str) -> bool:
    """Return True if a name has wildcards."""
    return any(mark in pattern for mark in "*?[")


def matches(name: str, pattern: str) -> bool:
    """Return True if a name is meant: by a glob, or written out, for it may have brackets itself."""
    return name == pattern or fnmatchcase(name, pattern)


def may_match(pattern: str, start: str) -> bool:
    """Return True if a name that begins with ``start`` could match a name or glob."""
    head = re.split(r"[*?\[]", pattern)[0]
    return start.startswith(head) if is_glob(pattern) and len(head) < len(start) else head.startswith(start)


class Applied(NamedTuple):
    """A point as the site wants it.

    unapplied   field -> the number that is not applied, because it cannot be converted into the point's unit
    untrue      the site's EGU that is not shown, because the numbers are not in it; "" for none
    """

    point: Point
    unapplied: Mapping[str, Quantity] = MappingProxyType({})
    untrue: str = ""


class Site:
    """The overrides under ``records:`` as (name or glob, {field: parsed value}), in the order of the file.

    What clients set at run time wins over them; ``restore`` says where that is kept.
    """

    def __init__(self, overrides: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        self._overrides = tuple(overrides)
        self._stored: dict[str, dict[str, Any]] = {}
        self._changed: Callable[[], None] = lambda: None
        self._units: dict[str, str] = {}  # record -> unit of numbers that were given without one
        self._seen: set[str] = set()  # records whose unit in ``_units`` stays
        self._expected: set[str] = set()  # beginnings of the names of which more may come
        self._types: dict[str, set[str]] = {}  # pattern -> types of the records that matched
        self._used: set[tuple[str, str]] = set()  # pattern and field that a record had

    def restore(self, stored: dict[str, dict[str, Any]], changed: Callable[[], None]) -> None:
        """Apply what was stored (PV -> {field: value}); ``changed`` is called each time that more is put into it."""
        self._stored = stored
        self._changed = changed

    def apply(self, name: str, point: Point, seen: bool = False) -> Applied:
        """Return the point of the record ``name`` as the site wants it, in the point's unit.

        ``seen``: the record has had a value, so its unit of before is the one for which numbers were given.
        """
        layers = [fields for _, fields in self._matching(name, point)]
        if stored := self._stored.get(name):
            layers.append(stored)
        if not layers:
            return Applied(point)
        return _Application(point, self._unit_of_numbers(name, point.egu, seen)).of(layers)

    def store(self, name: str, field: str, value: Any) -> None:
        """Store a field of a record that a client has set (a number as ``Quantity``); it outlives the process."""
        self._stored.setdefault(name, {})[field] = value
        self._changed()

    def expect(self, start: str) -> None:
        """Expect records whose names begin with ``start``."""
        self._expected.add(start)

    def unused(self, start: str) -> Iterator[str]:
        """Yield a sentence for each thing under ``records:`` that acts on nothing, once all of ``start`` is known.

        A pattern that others may match is left to the last of them.
        """
        self._expected.discard(start)
        for pattern, fields in self._overrides:
            if not may_match(pattern, start) or any(may_match(pattern, other) for other in self._expected):
                continue
            if pattern not in self._types:
                yield f"matches no PV: {pattern}, which is configured under records"
                continue
            types = ", ".join(sorted(self._types[pattern]))
            for field in fields:
                if (pattern, field) not in self._used:
                    yield f"{field} acts on no PV of {pattern}: a record of type {types} has no such field"

    def _matching(self, name: str, point: Point) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for pattern, fields in self._overrides:
            if matches(name, pattern):
                self._types.setdefault(pattern, set()).add(point.rtyp.name)
                self._used |= {(pattern, field) for field in fields if point.rtyp in FIELDS[field].rtyps}
                yield pattern, fields

    def _unit_of_numbers(self, name: str, egu: str, seen: bool) -> str:
        """Return the unit of numbers without one: that of the first value; before it, the newest that is known."""
        known = self._units.get(name, "")
        if not known or not (seen or name in self._seen):
            self._units[name] = known = egu
        elif seen:
            self._seen.add(name)
        return known


class _Application:
    """The application of a site's fields to one point; ``unit``: of numbers without one."""

    def __init__(self, point: Point, unit: str) -> None:
        self._own = point
        self._unit = unit
        self._point = point
        self._unapplied: dict[str, Quantity] = {}
        self._untrue = ""

    def of(self, layers: Sequence[Mapping[str, Any]]) -> Applied:
        """Return the point with the fields that its record has; of later layers those of before are overridden."""
        for fields in layers:
            if "EGU" in fields and self._own.rtyp in FIELDS["EGU"].rtyps:
                self._name_unit(fields["EGU"])
        for fields in layers:
            for name, value in fields.items():
                field = FIELDS[name]
                if name == "EGU" or self._own.rtyp not in field.rtyps:
                    continue
                if field.kind is Kind.NUMBER and value is not None:
                    self._set_number(name, field, value)
                else:
                    self._point = field.set(self._point, value)
        return Applied(self._point, self._unapplied, self._untrue)

    def _name_unit(self, name: str) -> None:
        """Give the unit the site's name: while it is the one for which it was given, and not against the meaning."""
        if self._own.egu != self._unit or units.contradict(self._own.egu, name):
            self._untrue = name
        else:
            self._untrue = ""
            self._point = replace(self._point, egu=name)

    def _set_number(self, name: str, field: Field, value: float | Quantity) -> None:
        if is_told_always(self._own, name):
            return
        given = value if isinstance(value, Quantity) else Quantity(value, self._unit)
        # the site's name for the unit changes no number
        target = self._point.egu if isinstance(value, Quantity) else self._own.egu
        number = units.convert(given.number, given.unit, target)
        if number is None and name in DEADBANDS and given.number <= 0:
            number = given.number  # each change, or each reading, in any unit
        if number is None:
            self._unapplied[name] = given
            if name not in TIGHTER:
                self._point = field.set(self._point, field.get(self._own))
            return
        if name in TIGHTER:
            # what the site says holds, whatever the instrument would allow; it cannot widen it
            present = field.get(self._point)
            number = number if present is None else TIGHTER[name](present, number)
            self._point = replace(self._point, moving=False)
        else:
            self._unapplied.pop(name, None)
        self._point = field.set(self._point, number)
