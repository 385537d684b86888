"""The rows of the table of the SE521 data logger, read over Channel Access when they are due."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

from archiver.ca.listener import PvUpdate
from archiver.loggers.timestamps import Stamps, SteadyClock
from archiver.loggers.values import AddRows, Get, Updates, is_open, number
from archiver.settings import TemperatureSettings
from archiver.storage.store import TableRow
from archiver.units import seconds


@dataclass
class _Readings:
    """The readings around one full interval.

    period     the number of the interval since 1970
    reading    the number of the last reading that was asked for
    waiting    readings that were asked for and have not come
    ended      True when no more are asked for
    connected  True if the instrument answered at least once
    values     the valid values of each thermocouple, C
    """

    period: int
    reading: int = -1
    waiting: int = 0
    ended: bool = False
    connected: bool = False
    values: tuple[list[float], ...] = field(default_factory=lambda: ([], [], [], []))

    def add(self, updates: Sequence[PvUpdate | None]) -> None:
        """Add a reading of the four thermocouples; None for one that did not answer."""
        for values, update in zip(self.values, updates, strict=True):
            value = number(update)
            if value is not None:
                values.append(value)
            self.connected |= value is not None or is_open(update)


class TemperatureLogger:
    """The logger of one row per interval: means of readings, half of them before the full interval, half after it."""

    def __init__(
        self, settings: TemperatureSettings, prefix: str, get: Get, add_rows: AddRows, stamps: Stamps
    ) -> None:
        self._settings = settings
        self._pvs = [f"{prefix}{settings.instrument}:T{number}" for number in range(1, 5)]
        self._get = get
        self._add_rows = add_rows
        self._stamps = stamps
        self._interval = seconds(settings.interval)
        self._spacing = seconds(settings.spacing)
        self._clock = SteadyClock(self._interval)
        self._readings = _Readings(period=0, ended=True)

    def update_names(self, names: Iterable[str]) -> None:
        """Do nothing: an instrument has four thermocouples."""

    def tick(self, now_s: float) -> None:
        """Read the thermocouples when a reading is due, and store the row after the last one."""
        now = self._clock(now_s)
        period = math.floor(now / self._interval + 0.5)  # the nearest
        last = self._settings.readings - 1
        reading = math.floor((now - period * self._interval) / self._spacing + last / 2)
        if period != self._readings.period:
            self._end(self._readings)
            self._readings = _Readings(period)
        readings = self._readings
        if readings.reading < reading <= last:
            readings.reading = reading
            readings.waiting += 1
            self._get(self._pvs, partial(self._receive, readings))
        if reading >= last:
            self._end(readings)

    def _receive(self, readings: _Readings, updates: Updates) -> None:
        readings.waiting -= 1
        readings.add([updates.get(pv) for pv in self._pvs])
        if readings.ended and not readings.waiting:
            self._store(readings)

    def _end(self, readings: _Readings) -> None:
        if not readings.ended:
            readings.ended = True
            if not readings.waiting:
                self._store(readings)

    def _store(self, readings: _Readings) -> None:
        if readings.connected:
            stamp = self._stamps.reserve(int(readings.period * self._interval))
            means = (fmean(values) if values else None for values in readings.values)
            self._add_rows([TableRow(self._settings.table, self._settings.columns, (stamp, *means), key=1)])
