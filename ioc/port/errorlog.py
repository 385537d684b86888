"""Errors of an instrument in the log: each once, until all is well again."""

from __future__ import annotations

import logging

from drivers.base import DeviceError, LinkDown


class ErrorLog:
    """What was logged of an instrument, by where it happened: a scan group, a point, the link ("")."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._log = logging.getLogger(f"rackioc.{name}")
        self._logged: dict[str, set[str]] = {}

    @property
    def clean(self) -> bool:
        """Return True if there is no error that lasts."""
        return not any(self._logged.values())

    def report(self, where: str, error: DeviceError) -> None:
        """Log an error once; of rewordings the first."""
        key = str(error) if isinstance(error, LinkDown) else type(error).__name__
        logged = self._logged.setdefault(where, set())
        if key not in logged:
            logged.add(key)
            self._log.warning("%s: %s", self._name, error)

    def clear(self, where: str) -> bool:
        """Forget the errors of a place: the next one is logged. Return True if there were any."""
        return bool(self._logged.pop(where, None))
