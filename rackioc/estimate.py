"""What an archive will hold, before it is begun: rows and bytes a day, for ``rackioc check``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from archiver.settings import KEEP_ALIVE, Policy, Quantity
from archiver.storage.url import DatabaseUrl
from archiver.units import counted, seconds, sized
from drivers.base import Point
from ioc import health, status
from rackioc import archive_status
from rackioc.config.config import Config, InstrumentConfig

DAY = 86_400.0
# Bytes of a row of a number, measured by ``python -m bench.size``; an element of an array has 8 more.
ROW_BYTES = {"sqlite": 36.0, "mysql": 98.0}
# Seconds from one value to the next of the PVs that no scan group reads, at the least.
OWN_PERIOD = 1.0


class Load(NamedTuple):
    """Rows and bytes a day."""

    rows: float
    size: float

    def __str__(self) -> str:
        """Return both for users."""
        return f"{counted(round(self.rows), 'row')} ({sized(self.size)})"


def lines(config: Config) -> Iterator[str]:
    """Yield what the archive of a configuration grows by a day: at most and at least, and what is not in it."""
    archive = config.archive
    if archive is None:
        return
    row = ROW_BYTES[DatabaseUrl.parse(archive.database).backend]
    known = list(_points(config))
    most = [_most(archive.policy(pv), point, period, row) for pv, point, period in known if archive.matches(pv)]
    least = [_least(archive.policy(pv), point, row) for pv, point, _ in known if archive.matches(pv)]
    yield (
        f"archive: {counted(len(most), 'PV')}; if all that is measured changes with each scan {_sum(most)} a day, if "
        f"nothing changes {_sum(least)}"
    )
    if table := archive.measurements:
        yield f"{table.table}: {_table_rows(table.interval)} a day of each channel on top"
    if temperatures := archive.temperatures:
        yield f"{temperatures.table}: {_table_rows(temperatures.interval)} a day on top"
    for each in config.instruments:
        name = each.driver.example.read if each.driver.discovers and each.driver.example else ""
        pv = f"{config.prefix}{each.name}:{name}"
        if name and archive.matches(pv):
            period = min(each.periods.get(group, scan) for group, scan in each.driver.scan.items())
            load = _rows(archive.policy(pv), period, row)
            yield (
                f"archive: the PVs of {each.name} come on top: it tells them when it is connected. One that changes "
                f"with each scan, such as {pv}, has {load} a day"
            )


def _points(config: Config) -> Iterator[tuple[str, Point, float]]:
    """Yield the PVs that are known without asking an instrument, with their points and the periods of their scans."""
    for each in config.instruments:
        yield from _named(config, each.name, each.driver.points, each)
    yield from _named(config, status.NAME, status.POINTS, None)
    yield from _named(config, archive_status.NAME, archive_status.POINTS, None)


def _named(
    config: Config, name: str, points: tuple[Point, ...], instrument: InstrumentConfig | None
) -> Iterator[tuple[str, Point, float]]:
    periods = {**instrument.driver.scan, **instrument.periods} if instrument else {}
    for point in health.with_health(points):
        yield f"{config.prefix}{name}:{point.name}", point, periods.get(point.group, OWN_PERIOD)


def _table_rows(interval: Quantity) -> str:
    return counted(round(DAY / seconds(interval)), "row")


def _most(policy: Policy, point: Point, period: float, row: float) -> Load:
    """Return the load of a PV whose value changes with each scan; settings, states and texts change seldom."""
    if not point.rtyp.numeric or point.rtyp.writable or point.states:
        return _least(policy, point, row)
    return _rows(policy, period, row + 8 * (point.nelm - 1))


def _rows(policy: Policy, period: float, row: float) -> Load:
    shortest = max(period, seconds(policy.scan or 0), seconds(policy.min_period or 0))
    return Load(DAY / shortest, DAY / shortest * row)


def _least(policy: Policy, point: Point, row: float) -> Load:
    rows = DAY / seconds(policy.keep_alive or KEEP_ALIVE)
    return Load(rows, rows * (row + 8 * (point.nelm - 1)))


def _sum(loads: list[Load]) -> Load:
    return Load(sum(each.rows for each in loads), sum(each.size for each in loads))
