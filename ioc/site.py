"""What a site says about its records: fields by PV name or glob, later lines win; then what was set at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """The overrides under ``records:`` as (name or glob, {field: parsed value}), in the order of the file.

    What clients set at run time wins over them; ``remember`` says where that is kept.
    """

    def __init__(self, overrides: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        self._overrides = tuple(overrides)
        self._kept: dict[str, dict[str, Any]] = {}
        self._changed: Callable[[], None] = lambda: None

    def remember(self, kept: dict[str, dict[str, Any]], changed: Callable[[], None]) -> None:
        """Apply what was kept (PV -> {field: value}); ``changed`` is called each time that more is put into it."""
        self._kept = kept
        self._changed = changed

    def apply(self, name: str, point: Point) -> Point:
        """The point of the record ``name`` as the site wants it."""
        for pattern, fields in self._overrides:
            if fnmatchcase(name, pattern):
                point = apply(point, fields)
        return apply(point, self._kept.get(name, {}))

    def keep(self, name: str, field: str, value: Any) -> None:
        """A client has set a field of a record; that outlives the process."""
        self._kept.setdefault(name, {})[field] = value
        self._changed()
