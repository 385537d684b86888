"""The loggers that fill the tables of the two former loggers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from archiver.loggers.measurements import MeasurementLogger
from archiver.loggers.temperatures import TemperatureLogger
from archiver.loggers.timestamps import Stamps
from archiver.loggers.values import AddRows, Get
from archiver.settings import ArchiveSettings
from archiver.storage.url import DatabaseUrl


class TableLogger(Protocol):
    """A logger of one table."""

    def update_names(self, names: Iterable[str]) -> None:
        """Handle a change of the names of all the IOC's records."""

    def tick(self, now_s: float) -> None:
        """Do what is due; called some ten times a second with the seconds since 1970 of a clock that may be set."""


def table_loggers(archive: ArchiveSettings, prefix: str, get: Get, add_rows: AddRows) -> list[TableLogger]:
    """Return a logger for each table of the configuration; ``prefix`` begins the PV names of the IOC."""
    found: list[TableLogger] = []
    if (measurements := archive.measurements) is not None:
        text = DatabaseUrl.parse(archive.database).backend == "sqlite"  # MySQL's DATETIME keeps no offset
        stamps = Stamps(utc=measurements.time == "utc", sep="T", texts=text)
        found.append(MeasurementLogger(measurements, prefix, get, add_rows, stamps))
    if (temperatures := archive.temperatures) is not None:
        stamps = Stamps(utc=temperatures.time == "utc", sep=" ", texts=False)
        found.append(TemperatureLogger(temperatures, prefix, get, add_rows, stamps))
    return found
