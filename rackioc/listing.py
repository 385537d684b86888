"""The list of a configuration's PVs, for ``rackioc pvs`` and for the files that are made from it."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from typing import TextIO

from rich.console import Console
from rich.table import Table

from archiver.units import seconds
from drivers.base import DeviceError, Driver, Point
from exports.rack import ARCHIVER, IOC, Instrument, Pv, Rack
from ioc import health, status
from rackioc import archive_status
from rackioc.config.config import Config
from sim import rack as fakes


@dataclass(frozen=True)
class Row:
    """One PV as listed."""

    name: str
    type: str
    unit: str
    access: str
    description: str


def rack(config: Config, *, simulated: bool = False) -> tuple[Rack, list[str]]:
    """Return the PVs, and a sentence for each instrument that had to be asked and did not answer.

    Instruments that say themselves what they have are connected to, read and closed; nothing is written. With
    ``simulated`` a fake is asked in the place of each of them.
    """
    if simulated:
        # what a simulated crate lacks is nobody's concern: without a handler the warning would be on the terminal
        logging.getLogger("drivers").addHandler(logging.NullHandler())
        asked = [each.name for each in config.instruments if each.driver.discovers]
        with fakes.Rack(config.raw, only=asked):
            found_there, silent = rack(config)
        return replace(found_there, simulated=tuple(asked)), silent
    found = []
    silent = []
    for each in config.instruments:
        complete = True
        if each.driver.discovers:
            try:
                _ask(each.driver)
            except DeviceError as error:
                silent.append(
                    f"{each.name}: {error}; only the PVs that are known by now are listed "
                    "(--simulated asks a simulated one)"
                )
                complete = False
        periods = {**each.driver.scan, **each.periods}
        found.append(_instrument(config, each.name, each.kind, each.driver.points, periods, complete))
    own = {status.NAME: (IOC, status.POINTS, status.IocStatus.scan)}
    if config.archive is not None:
        own[archive_status.NAME] = (ARCHIVER, archive_status.POINTS, archive_status.ArchiveStatus.scan)
    found += [_instrument(config, name, *each) for name, each in own.items()]
    return Rack(config.path.name, version("rackioc"), config.prefix, tuple(found)), silent


def _ask(driver: Driver) -> None:
    """Let an instrument be asked until its points are known. Raises DeviceError; those known by then remain."""
    try:
        driver.connect()
        while driver.exploring:
            for _ in driver.read(next(iter(driver.scan))):
                pass
    finally:
        driver.close()


def _instrument(
    config: Config,
    name: str,
    kind: str,
    points: tuple[Point, ...],
    periods: Mapping[str, float],
    complete: bool = True,
) -> Instrument:
    prefix = f"{config.prefix}{name}:"
    pvs = []
    for point in health.with_health(points):
        pv = f"{prefix}{point.name}"
        here = config.site.apply(pv, point).point
        archived = config.archive is not None and config.archive.matches(pv)
        sampled = _sampled(config, pv) if archived else None
        pvs.append(Pv(pv, here, periods.get(point.group), point in health.POINTS, archived, sampled))
    return Instrument(name, kind, prefix, tuple(pvs), complete)


def _sampled(config: Config, pv: str) -> float | None:
    scan = None if config.archive is None else config.archive.policy(pv).scan
    return None if scan is None else seconds(scan)


def rows(found: Rack) -> list[Row]:
    """Return the PVs as they are listed."""
    return [
        Row(
            pv.name,
            pv.point.rtyp.name,
            pv.point.egu,
            "read/write" if pv.point.rtyp.writable else "read",
            pv.point.desc,
        )
        for pv in found.pvs
    ]


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
        table = Table(*names, box=None, pad_edge=False)
        for row in found:
            table.add_row(*(getattr(row, name) for name in names))
        width = None if out.isatty() else 200
        # names are printed as they are: rich makes a picture of ":ON:" and a colour of "[red]"
        Console(file=out, width=width, markup=False, emoji=False).print(table)
