"""Rows for the table of the SE521 data logger, read over Channel Access when they are due."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

from archiver.ca.listener import Update
from archiver.loggers.timestamps import Stamps, Steady
from archiver.loggers.values import Put, Read, Updates, is_open, number
from archiver.settings import Temperatures
from archiver.storage.store import SeedRow
from archiver.units import seconds


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
            value = number(update)
            if value is not None:
                values.append(value)
            self.there |= value is not None or is_open(update)


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
