"""``records:``: fields of records by PV name or glob."""

from __future__ import annotations

from typing import Any

from ioc.fields import FIELDS, TIGHTER
from ioc.site import Site
from rackioc.config.names import RecordNames
from rackioc.config.yamlfile import Key, YamlFile, as_mapping


def read_records(records: dict[Any, Any], names: RecordNames, file: YamlFile) -> Site:
    """Return the site's overrides in the order of the file; what is wrong with them is in ``file``."""
    return Site([(str(name), _fields(str(name), fields, names, file)) for name, fields in records.items()])


def _fields(pattern: str, fields: Any, names: RecordNames, file: YamlFile) -> dict[str, Any]:
    key: Key = ("records", pattern)
    names.check_matches(pattern, key)
    parsed = {}
    for name, value in as_mapping(fields).items():
        if name not in FIELDS:
            file.fault((*key, name), f"unknown record field; allowed: {', '.join(FIELDS)}")
            continue
        _check_type(pattern, name, names, file)
        try:
            parsed[name] = FIELDS[name].parse(value)
        except ValueError as error:
            file.fault((*key, name), str(error))
        else:
            _check_narrows(pattern, name, parsed[name], names, file)
    return parsed


def _check_type(pattern: str, field: str, names: RecordNames, file: YamlFile) -> None:
    """Report a field that none of the records has."""
    points = names.matching(pattern)
    if points and not names.may_match(pattern) and not any(point.rtyp in FIELDS[field].rtyps for point in points):
        types = ", ".join(sorted({point.rtyp.name for point in points}))
        file.fault(("records", pattern, field), f"a record of type {types} has no such field")


def _check_narrows(pattern: str, field: str, value: Any, names: RecordNames, file: YamlFile) -> None:
    """Report a limit that is wider than the instrument's own."""
    for point in names.matching(pattern) if field in TIGHTER else ():
        own = FIELDS[field].get(point)
        if own is not None and TIGHTER[field](own, value) != value:
            sentence = f"{value:g} is beyond the instrument's own limit of {own:g} {point.egu}"
            file.fault(("records", pattern, field), sentence)
