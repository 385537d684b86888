"""What fills the tables of the two loggers that rackioc takes over from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from archiver.loggers.measurements import MeasurementLog
from archiver.loggers.temperatures import TemperatureLog
from archiver.loggers.timestamps import Stamps
from archiver.loggers.values import Put, Read
from archiver.settings import Archive
from archiver.storage.url import DatabaseUrl


class SeedLog(Protocol):
    """What fills one table."""

    def names(self, names: Iterable[str]) -> None:
        """The names of all records of the IOC are now these."""

    def tick(self, now_s: float) -> None:
        """Some ten times a second: seconds since 1970, of a clock that may be set."""


def seed_logs(archive: Archive, prefix: str, read: Read, put: Put) -> list[SeedLog]:
    """One for each table that the configuration asks for. `prefix` begins the PV names of the IOC."""
    found: list[SeedLog] = []
    if (measurements := archive.measurements) is not None:
        text = DatabaseUrl.parse(archive.database).backend == "sqlite"  # MySQL's DATETIME keeps no offset
        stamps = Stamps(utc=measurements.time == "utc", sep="T", offset=text)
        found.append(MeasurementLog(measurements, prefix, read, put, stamps))
    if (temperatures := archive.temperatures) is not None:
        stamps = Stamps(utc=temperatures.time == "utc", sep=" ", offset=False)
        found.append(TemperatureLog(temperatures, prefix, read, put, stamps))
    return found
