"""What a site says about its records: fields by PV name or glob, later lines win."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from drivers.base import Point
from ioc.fields import apply

# EPICS base's limit for a record name (PVNAME_STRINGSZ - 1)
NAME_SIZE = 60


def is_glob(pattern: str) -> bool:
    """True if a name has wildcards."""
    return any(mark in pattern for mark in "*?[")


class Site:
    """The overrides under ``records:`` as (name or glob, {field: parsed value}), in the order of the file."""

    def __init__(self, overrides: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        self._overrides = tuple(overrides)

    def apply(self, name: str, point: Point) -> Point:
        """The point of the record ``name`` as the site wants it."""
        for pattern, fields in self._overrides:
            if fnmatchcase(name, pattern):
                point = apply(point, fields)
        return point
