"""``records:``: fields of records by PV name or glob."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import combinations
from typing import Any

from ioc import units
from ioc.fields import FIELDS, TIGHTER, Kind
from ioc.site import Site, is_glob, matches
from ioc.units import Quantity
from rackioc.config.names import RecordNames
from rackioc.config.yamlfile import Key, YamlFile, as_mapping

# Fields of a C IOC's database that mean nothing here, and what to do in their place
_ELSEWHERE = {
    "ASG": "there is no access security: keep the port on a network of its own; caput PV.DISP 1 locks one PV",
    "SCAN": "how often a value is read is said by scan: of its instrument",
}
# Fields of which the first may not be above the second
_ORDERED = (*combinations(("LOLO", "LOW", "HIGH", "HIHI"), 2), ("LOPR", "HOPR"), ("DRVL", "DRVH"))


def read_records(records: dict[Any, Any], names: RecordNames, file: YamlFile) -> Site:
    """Return the site's overrides in the order of the file; what is wrong with them is in ``file``."""
    overrides = [(str(name), _fields(str(name), fields, names, file)) for name, fields in records.items()]
    site = Site(overrides)
    _check_units(site, overrides, names, file)
    _check_order(site, overrides, names, file)
    return site


def _fields(pattern: str, fields: Any, names: RecordNames, file: YamlFile) -> dict[str, Any]:
    key: Key = ("records", pattern)
    names.check_matches(pattern, key)
    parsed = {}
    for name, value in as_mapping(fields).items():
        if name not in FIELDS:
            _tell_unknown(pattern, name, names, file)
            continue
        _check_type(pattern, name, names, file)
        text_wanted = FIELDS[name].kind is Kind.TEXT
        try:
            parsed[name] = FIELDS[name].parse(file.as_text((*key, name), value) if text_wanted else value)
        except ValueError as error:
            file.fault((*key, name), str(error))
        else:
            _check_unit(pattern, name, parsed[name], names, file)
            _check_narrows(pattern, name, parsed[name], names, file)
            _check_sign(pattern, name, parsed[name], file)
    return parsed


def _tell_unknown(pattern: str, name: Any, names: RecordNames, file: YamlFile) -> None:
    """Report a field that a site cannot set, with those that it can set of these records, if they are known."""
    word = str(name).upper()
    if word in _ELSEWHERE:
        sentence = f"{word} cannot be set here: {_ELSEWHERE[word]}"
    else:
        types = {point.rtyp for point in names.matching(pattern).values()}
        known = types and not (is_glob(pattern) and names.may_match(pattern))
        allowed = [each for each, field in FIELDS.items() if not known or types & field.rtyps]
        similar = get_close_matches(word, allowed, n=1)
        hint = f"did you mean {similar[0]}? " if similar else ""
        sentence = f"unknown record field; {hint}allowed: {', '.join(allowed)}"
    file.fault(("records", pattern, name), sentence)


def _check_type(pattern: str, field: str, names: RecordNames, file: YamlFile) -> None:
    """Report a field that none of the records has."""
    points = names.matching(pattern).values()
    complete = not is_glob(pattern) or not names.may_match(pattern)
    if points and complete and not any(point.rtyp in FIELDS[field].rtyps for point in points):
        types = ", ".join(sorted({point.rtyp.name for point in points}))
        file.fault(("records", pattern, field), f"a record of type {types} has no such field")


def _check_unit(pattern: str, field: str, value: Any, names: RecordNames, file: YamlFile) -> None:
    """Report a unit that is neither known nor that of a record."""
    if not isinstance(value, Quantity) or units.is_known(value.unit):
        return
    if names.may_match(pattern) and value.unit not in {point.egu for point in names.matching(pattern).values()}:
        sentence = f"{value.unit!r} is not a unit that is known; allowed: {units.KNOWN}"
        file.fault(("records", pattern, field), sentence)


def _check_narrows(pattern: str, field: str, value: Any, names: RecordNames, file: YamlFile) -> None:
    """Report a limit that is wider than the instrument's own."""
    for point in names.matching(pattern).values() if field in TIGHTER else ():
        own = FIELDS[field].get(point)
        wanted = units.convert(value.number, value.unit, point.egu) if isinstance(value, Quantity) else value
        if own is not None and wanted is not None and TIGHTER[field](own, wanted) != wanted:
            sentence = f"{wanted:g} is beyond the instrument's own limit of {own:g} {point.egu}"
            file.fault(("records", pattern, field), sentence)


def _check_sign(pattern: str, field: str, value: Any, file: YamlFile) -> None:
    """Report a hysteresis below 0: it would mean nothing."""
    number = value.number if isinstance(value, Quantity) else value
    if field == "HYST" and number < 0:
        sentence = f"{number:g} is below 0; it is how far a value must come back before an alarm ends"
        file.fault(("records", pattern, field), sentence)


def _check_order(site: Site, overrides: list[tuple[str, dict[str, Any]]], names: RecordNames, file: YamlFile) -> None:
    """Report a lower limit above an upper one, at the last pattern that gives one of the two.

    Of records that are not known yet only the limits of one pattern are compared.
    """
    for name, point in names.matching("*").items():
        applied = site.apply(name, point).point
        for lower, upper in _ORDERED:
            low, high = (FIELDS[field].get(applied) for field in (lower, upper))
            if low is None or high is None or low <= high:
                continue
            for field in (lower, upper):
                if any(field in fields and matches(name, pattern) for pattern, fields in overrides):
                    sentence = f"{lower} {low:g} is above {upper} {high:g} {applied.egu}".rstrip()
                    file.fault(_last(overrides, name, field), sentence)
                    break
    for pattern, fields in overrides:
        for lower, upper in _ORDERED if not names.matching(pattern) else ():
            if _is_above(fields.get(lower), fields.get(upper)):
                file.fault(("records", pattern, lower), f"{lower} {fields[lower]} is above {upper} {fields[upper]}")


def _is_above(low: float | Quantity | None, high: float | Quantity | None) -> bool:
    """Return True if both are given, can be compared, and the first is the greater one."""
    if isinstance(low, Quantity) and isinstance(high, Quantity):
        low, high = units.convert(low.number, low.unit, high.unit), high.number
    return isinstance(low, float) and isinstance(high, float) and low > high


def _check_units(site: Site, overrides: list[tuple[str, dict[str, Any]]], names: RecordNames, file: YamlFile) -> None:
    """Report, at the last pattern that gives it, what cannot be applied in the unit of a record that is known."""
    for name, point in names.matching("*").items():
        applied = site.apply(name, point)
        egu = units.word(applied.point.egu)
        for field, number in applied.unapplied.items():
            file.fault(_last(overrides, name, field), f"{number} cannot be converted: {name} is in {egu}")
        if applied.untrue:
            sentence = f"{applied.untrue} would be untrue, it changes no number: {name} is in {egu}"
            file.fault(_last(overrides, name, "EGU"), sentence)


def _last(overrides: list[tuple[str, dict[str, Any]]], name: str, field: str) -> Key:
    """Return the key of a field at the last pattern that gives it to a record."""
    patterns = [pattern for pattern, fields in overrides if field in fields and matches(name, pattern)]
    return "records", patterns[-1], field
