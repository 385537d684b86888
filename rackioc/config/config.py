"""A configuration without faults, as the rest of rackioc uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archiver.settings import ArchiveSettings
from drivers.base import Driver
from exports.rack import ARCHIVER, IOC
from ioc import status
from ioc.site import Site
from rackioc import archive_status
from rackioc.config.yamlfile import Fault
from web.settings import WebSettings


@dataclass(frozen=True)
class InstrumentConfig:
    """An instrument as configured: a driver that has not connected yet, and the site's scan periods (group -> s)."""

    name: str
    driver: Driver
    periods: Mapping[str, float]

    @property
    def kind(self) -> str:
        """Return the name of the driver."""
        return type(self.driver).__module__.split(".")[1]


@dataclass(frozen=True)
class Config:
    """A configuration without faults.

    path         the file that it was read from
    prefix       begins the names of all records
    site         the fields under ``records:``
    site_file    where fields that clients set at run time are kept
    archive      what stands under ``archive:``, with absolute paths; None where nothing does
    web          what stands under ``web:``; None where nothing does
    raw          the keys of each instrument as they stand in the file
    """

    path: Path
    prefix: str
    instruments: tuple[InstrumentConfig, ...]
    site: Site
    site_file: Path
    archive: ArchiveSettings | None
    web: WebSettings | None
    raw: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @property
    def kinds(self) -> dict[str, str]:
        """Return the instruments with the names of their drivers, the IOC and its archiver among them."""
        found = {each.name: each.kind for each in self.instruments}
        found[status.NAME] = IOC
        if self.archive is not None:
            found[archive_status.NAME] = ARCHIVER
        return found

    @property
    def pv_list(self) -> str:
        """Return the PV that holds the names of all records."""
        return pv_list(self.prefix)

    @property
    def safe_list(self) -> str:
        """Return the PV that holds which values of which records make things safe."""
        return f"{self.prefix}{status.NAME}:{status.SAFE_LIST}.VAL$"

    @property
    def instrument_list(self) -> str:
        """Return the PV that holds the instruments with the names of their drivers."""
        return f"{self.prefix}{status.NAME}:{status.INSTRUMENTS}.VAL$"


def pv_list(prefix: str) -> str:
    """Return the PV of an IOC with this prefix that holds the names of all its records."""
    return f"{prefix}{status.NAME}:{status.PV_LIST}.VAL$"


class ConfigError(Exception):
    """A configuration that cannot be used; ``str(error)`` has a line for each fault."""

    def __init__(self, path: Path, faults: list[Fault]) -> None:
        self.faults = sorted(faults)
        super().__init__("\n".join(fault.render(path) for fault in self.faults))
