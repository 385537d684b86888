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
    """Return True if a name has wildcards."""
    return any(mark in pattern for mark in "*?[")


class Site:
    """The overrides under ``records:`` as (name or glob, {field: parsed value}), in the order of the file.

    What clients set at run time wins over them; ``restore`` says where that is kept.
    """

    def __init__(self, overrides: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        self._overrides = tuple(overrides)
        self._stored: dict[str, dict[str, Any]] = {}
        self._changed: Callable[[], None] = lambda: None

    def restore(self, stored: dict[str, dict[str, Any]], changed: Callable[[], None]) -> None:
        """Apply what was stored (PV -> {field: value}); ``changed`` is called each time that more is put into it."""
        self._stored = stored
        self._changed = changed

    def apply(self, name: str, point: Point) -> Point:
        """Return the point of the record ``name`` as the site wants it."""
        for pattern, fields in self._overrides:
            if fnmatchcase(name, pattern):
                point = apply(point, fields)
        return apply(point, self._stored.get(name, {}))

    def store(self, name: str, field: str, value: Any) -> None:
        """Store a field of a record that a client has set; it outlives the process."""
        self._stored.setdefault(name, {})[field] = value
        self._changed()
