"""Rows for the tables of the two loggers that rackioc takes over from, read over Channel Access when they are due."""

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import NamedTuple, Protocol

from archiver.database import DatabaseUrl
from archiver.listener import Update
from archiver.sample import INVALID
from archiver.seedtables import MEASUREMENTS
from archiver.seedtime import Stamps, Steady
from archiver.settings import Archive, Measurements, Temperatures
from archiver.store import SeedRow
from archiver.units import seconds

Updates = Mapping[str, Update]
Put = Callable[[Sequence[SeedRow]], None]

ON, OVC = 1, 8  # in a channel's status word

# An alarm of these is about a value that was read, however severe a site calls it.
_ABOUT_VALUES = frozenset({"HIHI", "HIGH", "LOW", "LOLO", "STATE", "COS"})

log = logging.getLogger(__name__)


class Read(Protocol):
    """Gets PVs, and later calls `deliver` once; PVs that did not answer are missing there."""

    def __call__(self, pvs: Sequence[str], deliver: Callable[[Updates], None], /) -> None: ...


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


class _Channel(NamedTuple):
    port_id: int
    pvs: tuple[str, ...]


class MeasurementLog:
    """One row per channel at each full interval, of channels that can be read."""

    def __init__(self, settings: Measurements, prefix: str, read: Read, put: Put, stamps: Stamps) -> None:
        self._settings = settings
        self._prefix = f"{prefix}{settings.instrument}:"
        self._read = read
        self._put = put
        self._stamps = stamps
        self._interval = seconds(settings.interval)
        self._clock = Steady(self._interval)
        self._turn = math.inf
        self._reported = ""
        self.names(())

    def names(self, names: Iterable[str]) -> None:
        known = list(self._known(names))
        self._channels = [
            self._channel(slot, channel)
            for slot, wanted in self._settings.channels.items()
            for channel in (sorted(ch for at, ch in known if at == slot) if wanted == "ALL" else wanted)
        ]

    def tick(self, now_s: float) -> None:
        now = self._clock(now_s)
        turn = now // self._interval
        if turn > self._turn:
            stamp = self._stamps.take(int(now))
            pvs = [pv for channel in self._channels for pv in channel.pvs]
            self._read(pvs, partial(self._store, stamp, self._channels))
        self._turn = turn

    def _known(self, names: Iterable[str]) -> Iterator[tuple[int, int]]:
        """Slot and channel of all that have a voltage."""
        pattern = re.compile(re.escape(self._prefix) + r"S(\d+):C(\d+):VMon")
        yield from ((int(found[1]), int(found[2])) for name in names if (found := pattern.fullmatch(name)))

    def _channel(self, slot: int, channel: int) -> _Channel:
        start = f"{self._prefix}S{slot:02d}:C{channel:02d}:"
        return _Channel(
            slot * 100 + channel, tuple(start + name for name in ("V0Set", "VMon", "IMon", "I0Set", "Status"))
        )

    def _store(self, stamp: str, channels: Sequence[_Channel], updates: Updates) -> None:
        rows = [row for channel in channels if (row := self._row(stamp, channel, updates))]
        self._report(f"{len(rows)} of {len(channels)} channels can be read")
        if rows:
            self._put(rows)

    def _row(self, stamp: str, channel: _Channel, updates: Updates) -> SeedRow | None:
        wanted, voltage, current, limit, status = (_number(updates.get(pv)) for pv in channel.pvs)
        if voltage is None or status is None:
            return None
        word = int(status)
        excess = None if current is None or limit is None else int(0 < limit < current)
        values = (wanted, voltage, current, word & ON, word, int(bool(word & OVC)), excess)
        return SeedRow(self._settings.table, MEASUREMENTS, (stamp, channel.port_id, *values), key=2)

    def _report(self, report: str) -> None:
        if report != self._reported:
            log.info("table %s: %s", self._settings.table, report)
            self._reported = report


@dataclass
class _Window:
    """The readings around one full interval, in which the instrument was `there` or not."""

    turn: int
    reading: int = -1
    waiting: int = 0
    ended: bool = False
    there: bool = False
    values: tuple[list[float], ...] = field(default_factory=lambda: ([], [], [], []))

    def take(self, updates: Sequence[Update | None]) -> None:
        for values, update in zip(self.values, updates, strict=True):
            value = _number(update)
            if value is not None:
                values.append(value)
            self.there |= value is not None or _is_open(update)


class TemperatureLog:
    """One row per interval: the means of some readings, half of them before the full interval, half of them after."""

    def __init__(self, settings: Temperatures, prefix: str, read: Read, put: Put, stamps: Stamps) -> None:
        self._settings = settings
        self._pvs = [f"{prefix}{settings.instrument}:T{number}" for number in range(1, 5)]
        self._read = read
        self._put = put
        self._stamps = stamps
        self._interval = seconds(settings.interval)
        self._spacing = seconds(settings.spacing)
        self._clock = Steady(self._interval)
        self._window = _Window(turn=0, ended=True)

    def names(self, names: Iterable[str]) -> None:
        """Nothing to learn: an instrument has four thermocouples."""

    def tick(self, now_s: float) -> None:
        now = self._clock(now_s)
        turn = math.floor(now / self._interval + 0.5)  # the nearest
        last = self._settings.readings - 1
        reading = math.floor((now - turn * self._interval) / self._spacing + last / 2)
        if turn != self._window.turn:
            self._end(self._window)
            self._window = _Window(turn)
        window = self._window
        if window.reading < reading <= last:
            window.reading = reading
            window.waiting += 1
            self._read(self._pvs, partial(self._take, window))
        if reading >= last:
            self._end(window)

    def _take(self, window: _Window, updates: Updates) -> None:
        window.waiting -= 1
        window.take([updates.get(pv) for pv in self._pvs])
        if window.ended and not window.waiting:
            self._store(window)

    def _end(self, window: _Window) -> None:
        if not window.ended:
            window.ended = True
            if not window.waiting:
                self._store(window)

    def _store(self, window: _Window) -> None:
        if window.there:
            stamp = self._stamps.take(int(window.turn * self._interval))
            means = (fmean(values) if values else None for values in window.values)
            self._put([SeedRow(self._settings.table, self._settings.columns, (stamp, *means), key=1)])


def _number(update: Update | None) -> float | None:
    """A number that is true now, else None."""
    if update is None or not isinstance(update.value, int | float) or not math.isfinite(update.value):
        return None
    return float(update.value) if update.severity < INVALID or update.status in _ABOUT_VALUES else None


def _is_open(update: Update | None) -> bool:
    """The instrument is there and says that no thermocouple is: NaN. (What was never read is UDF, too, but 0.)"""
    return update is not None and update.status == "UDF" and update.value != update.value
