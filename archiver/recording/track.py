"""What is stored of one PV, of all that its IOC sends: by its timeline and by its policy."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Protocol, Self

from archiver.ca.listener import PvUpdate
from archiver.recording.timeline import BadStamp, Timeline
from archiver.sample import Dated, Gap, Metadata, Sample, Value, gap_marker
from archiver.settings import Policy, deadband
from archiver.units import seconds

KEEP_ALIVE = "1h"

log = logging.getLogger(__name__)


class Sink(Protocol):
    def add(self, sample: Sample) -> None: ...

    def add_metadata(self, pv: str, dated: Dated) -> None: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy as numbers: times in seconds, 0 for none."""

    scan: float
    min_period: float
    keep_alive: float
    deadband: float
    relative: bool

    @classmethod
    def of(cls, policy: Policy) -> Self:
        width, relative = deadband(policy.deadband or 0)
        return cls(
            scan=seconds(policy.scan or 0),
            min_period=seconds(policy.min_period or 0),
            keep_alive=seconds(policy.keep_alive or KEEP_ALIVE),
            deadband=width,
            relative=relative,
        )

    def within_deadband(self, value: Value, stored: Value) -> bool:
        if not self.deadband or not isinstance(value, float | int) or not isinstance(stored, float | int):
            return False
        width = self.deadband * abs(stored) if self.relative else self.deadband
        return abs(value - stored) < width


class Track:
    """A PV from its first connection to the archiver's end. Periods go by the monotonic clock, rows by the IOC's."""

    def __init__(self, pv: str, rule: Rule, sink: Sink, rejected: Counter[str], timeline: Timeline) -> None:
        self._pv = pv
        self._rule = rule
        self._sink = sink
        self._rejected = rejected
        self._timeline = timeline
        self._warned: set[str] = set()
        self._connected_ns = 0
        self._stored: PvUpdate | None = None  # the newest row, if no gap came after it
        self._waiting: PvUpdate | None = None  # newer than that, and to be stored when its time has come
        self._newest: PvUpdate | None = None
        self._stored_at = 0.0

    def connected(self) -> None:
        self._connected_ns = time.time_ns()

    def metadata_changed(self, metadata: Metadata) -> None:
        self._sink.add_metadata(self._pv, Dated(time.time_ns(), metadata))

    def update(self, update: PvUpdate) -> None:
        self._newest = update
        stored = self._stored
        if stored is None:
            self._store(update)
        elif self._rule.scan:
            self._waiting = update
        elif update.severity != stored.severity or update.status != stored.status:
            self._store(update)
        elif self._rule.within_deadband(update.value, stored.value):
            self._waiting = None
        elif self._rule.min_period and time.monotonic() < self._stored_at + self._rule.min_period:
            self._waiting = update
        else:
            self._store(update)

    def disconnected(self) -> None:
        self._end(Gap.DISCONNECTED)

    def end(self) -> None:
        """The archiver stops."""
        if self._connected_ns:
            self._end(Gap.ARCHIVE_OFF)

    def tick(self, now: float) -> None:
        """Now and then, with the monotonic time: store what has waited long enough, or has not changed for long."""
        period = self._rule.scan or self._rule.min_period
        if self._waiting and now >= self._due(period):
            self._store(self._waiting)
        elif self._stored and self._newest and now >= self._stored_at + self._rule.keep_alive:
            self._write(self._timeline.repeat(time.time_ns()), self._newest)

    def _due(self, period: float) -> float:
        """Scans come at full multiples of their period, so that the rows of several PVs lie side by side."""
        return (self._stored_at // period + 1) * period if self._rule.scan else self._stored_at + period

    def _end(self, gap: Gap) -> None:
        if self._waiting:
            self._store(self._waiting)
        if not self._timeline.in_gap or gap is Gap.ARCHIVE_OFF:
            self._sink.add(gap_marker(self._pv, self._timeline.gap(time.time_ns()), gap))
        self._stored = self._newest = None

    def _store(self, update: PvUpdate) -> None:
        self._waiting = None
        try:
            time_ns = self._timeline.admit(update.stamp_ns, time.time_ns(), self._connected_ns)
        except BadStamp as error:
            self._reject(str(error))
        else:
            if time_ns is not None:
                self._write(time_ns, update)

    def _write(self, time_ns: int, update: PvUpdate) -> None:
        self._stored, self._stored_at = update, time.monotonic()
        self._sink.add(Sample(self._pv, time_ns, update.value, update.severity, update.status))

    def _reject(self, cause: str) -> None:
        """Named once: what is wrong with one sample is wrong with the thousands that follow."""
        self._rejected[cause] += 1
        if cause not in self._warned:
            self._warned.add(cause)
            log.warning("%s: refusing %s", self._pv, cause)
