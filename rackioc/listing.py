"""The list of a configuration's PVs, for ``rackioc pvs``."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, fields
from typing import TextIO

from rich.console import Console
from rich.table import Table

from drivers.base import DeviceError, Driver, Point
from ioc import health, status
from rackioc import archive_status
from rackioc.config.config import Config


@dataclass(frozen=True)
class Row:
    """One PV as listed."""

    name: str
    type: str
    unit: str
    access: str
    description: str


def rows(config: Config) -> tuple[list[Row], list[str]]:
    """Return the PVs, and a sentence for each instrument that had to be asked and did not answer.

    Instruments that say themselves what they have are connected to, read and closed; nothing is written.
    """
    found: list[Row] = []
    silent = []
    for each in config.instruments:
        points = each.driver.points
        if each.driver.discovers:
            try:
                points = _ask(each.driver)
            except DeviceError as error:
                silent.append(f"{each.name}: {error}; only the PVs that it always has are listed")
        found += _rows(config, each.name, points)
    found += _rows(config, status.NAME, status.POINTS)
    if config.archive is not None:
        found += _rows(config, archive_status.NAME, archive_status.POINTS)
    return found, silent


def _ask(driver: Driver) -> tuple[Point, ...]:
    try:
        driver.connect()
        while driver.exploring:
            for _ in driver.read(next(iter(driver.scan))):
                pass
        return driver.points
    finally:
        driver.close()


def _rows(config: Config, instrument: str, points: tuple[Point, ...]) -> list[Row]:
    rows = []
    for point in health.with_health(points):
        name = f"{config.prefix}{instrument}:{point.name}"
        here = config.site.apply(name, point).point
        access = "read/write" if here.rtyp.writable else "read"
        rows.append(Row(name, here.rtyp.name, here.egu, access, here.desc))
    return rows


def write(found: list[Row], form: str, out: TextIO) -> None:
    """Print the list as table, csv or json."""
    names = [field.name for field in fields(Row)]
    if form == "json":
        json.dump([asdict(row) for row in found], out, indent=1)
        out.write("\n")
    elif form == "csv":
        writer = csv.writer(out)
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in found)
    else:
        table = Table(*names, box=None)
        for row in found:
            table.add_row(*(getattr(row, name) for name in names))
        width = None if out.isatty() else 200
        Console(file=out, width=width, markup=False).print(table)
