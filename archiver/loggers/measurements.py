"""The rows of the table of the CAEN HV logger, read over Channel Access when they are due."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from archiver.loggers.tables import MEASUREMENTS
from archiver.loggers.timestamps import Stamps, SteadyClock
from archiver.loggers.values import AddRows, Get, Updates, number
from archiver.settings import MeasurementSettings
from archiver.storage.store import TableRow
from archiver.units import seconds

# Bits of a channel's status word.
ON, OVC = 1, 8

log = logging.getLogger(__name__)


class _HvChannel(NamedTuple):
    """A channel: slot * 100 + channel, and its PVs: V0Set, VMon, IMon, I0Set, Status."""

    port_id: int
    pvs: tuple[str, ...]


class MeasurementLogger:
    """The logger of one row per channel at each full interval, of channels that can be read."""

    def __init__(
        self, settings: MeasurementSettings, prefix: str, get: Get, add_rows: AddRows, stamps: Stamps
    ) -> None:
        self._settings = settings
        self._prefix = f"{prefix}{settings.instrument}:"
        self._get = get
        self._add_rows = add_rows
        self._stamps = stamps
        self._interval = seconds(settings.interval)
        self._clock = SteadyClock(self._interval)
        self._period = math.inf
        self._logged = ""
        self.update_names(())

    def update_names(self, names: Iterable[str]) -> None:
        """Find the channels of the slots of which all are logged."""
        present = list(self._present(names))
        self._channels = [
            self._channel(slot, channel)
            for slot, wanted in self._settings.channels.items()
            for channel in (sorted(ch for at, ch in present if at == slot) if wanted == "ALL" else wanted)
        ]

    def tick(self, now_s: float) -> None:
        """Read the channels when a new interval has begun."""
        now = self._clock(now_s)
        period = now // self._interval
        if period > self._period:
            stamp = self._stamps.reserve(int(now))
            pvs = [pv for channel in self._channels for pv in channel.pvs]
            self._get(pvs, partial(self._store, stamp, self._channels))
        self._period = period

    def _present(self, names: Iterable[str]) -> Iterator[tuple[int, int]]:
        """Yield slot and channel of all that have a voltage."""
        pattern = re.compile(re.escape(self._prefix) + r"S(\d+):C(\d+):VMon")
        yield from ((int(found[1]), int(found[2])) for name in names if (found := pattern.fullmatch(name)))

    def _channel(self, slot: int, channel: int) -> _HvChannel:
        start = f"{self._prefix}S{slot:02d}:C{channel:02d}:"
        return _HvChannel(
            slot * 100 + channel, tuple(start + name for name in ("V0Set", "VMon", "IMon", "I0Set", "Status"))
        )

    def _store(self, stamp: str, channels: Sequence[_HvChannel], updates: Updates) -> None:
        rows = [row for channel in channels if (row := self._row(stamp, channel, updates))]
        self._log(f"{len(rows)} of {len(channels)} channels can be read")
        if rows:
            self._add_rows(rows)

    def _row(self, stamp: str, channel: _HvChannel, updates: Updates) -> TableRow | None:
        wanted, voltage, current, limit, status = (number(updates.get(pv)) for pv in channel.pvs)
        if voltage is None or status is None:
            return None
        word = int(status)
        excess = None if current is None or limit is None else int(0 < limit < current)
        values = (wanted, voltage, current, word & ON, word, int(bool(word & OVC)), excess)
        return TableRow(self._settings.table, MEASUREMENTS, (stamp, channel.port_id, *values), key=2)

    def _log(self, report: str) -> None:
        """Log a report that differs from the one before."""
        if report != self._logged:
            log.info("table %s: %s", self._settings.table, report)
            self._logged = report
