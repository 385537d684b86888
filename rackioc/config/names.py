"""The names of the records that a configuration will have, as far as they are known without asking an instrument."""

from __future__ import annotations

import re

from drivers.base import Point
from ioc import health
from ioc.site import NAME_SIZE, matches, may_match
from rackioc.config.yamlfile import Key, YamlFile

_NAME = re.compile(r"[A-Za-z0-9_\-+:;<>/,#\[\]{}^]*")


class RecordNames:
    """Record names with their points, and which instruments have more; what is wrong with a name goes to ``file``."""

    def __init__(self, prefix: str, file: YamlFile) -> None:
        self._prefix = prefix
        self._file = file
        self._points: dict[str, Point] = {}
        # Beginnings of the names of instruments that say only later what they have
        self._open: list[str] = []

    def add(self, instrument: str, points: tuple[Point, ...], key: Key) -> None:
        """Add the records of an instrument, its health records among them."""
        longest = ""
        for point in health.with_health(points):
            name = f"{self._prefix}{instrument}:{point.name}"
            if name in self._points:
                self._file.fault(key, f"two records would have the name {name}")
            self._points[name] = point
            longest = max(longest, point.name, key=len)
        self.check_size(instrument, len(longest), key)

    def add_unknown(self, instrument: str) -> None:
        """Expect more records of an instrument, under names that are not known yet."""
        self._open.append(f"{self._prefix}{instrument}:")

    def matching(self, pattern: str) -> dict[str, Point]:
        """Return the records that match a name or glob, with their points."""
        return {name: point for name, point in self._points.items() if matches(name, pattern)}

    def may_match(self, pattern: str) -> bool:
        """Return True if an instrument that is asked later may have a record for the pattern."""
        return any(may_match(pattern, start) for start in self._open)

    def check_matches(self, pattern: str, key: Key) -> None:
        """Report a pattern that no record can match."""
        if not self.matching(pattern) and not self.may_match(pattern):
            self._file.fault(key, "matches no PV; 'rackioc pvs' lists the names")

    def check_characters(self, name: str, key: Key) -> None:
        """Report a name with characters that EPICS record names do not have."""
        if not _NAME.fullmatch(name):
            problem = f"'{name}' has a character that is not allowed in PV names; use letters, digits, _-+:"
            self._file.fault(key, problem)

    def check_size(self, instrument: str, longest: int, key: Key) -> None:
        """Report an instrument whose record names would be too long; ``longest``: characters of its longest point."""
        size = len(f"{self._prefix}{instrument}:") + longest
        excess = size - NAME_SIZE
        if excess > 0:
            self._file.fault(
                key,
                f"its PV names would be up to {size} characters long, allowed are {NAME_SIZE}; "
                f"shorten the prefix or the instrument's name by {excess}",
            )
