"""The selection of the updates of one PV that are stored, by its timeline and its policy."""

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

# The keep_alive of a PV whose policies give none.
KEEP_ALIVE = "1h"

log = logging.getLogger(__name__)


class Sink(Protocol):
    """The receiver of what is stored: the queue."""

    def add(self, sample: Sample) -> None:
        """Append a sample."""

    def add_metadata(self, pv: str, dated: Dated) -> None:
        """Append metadata of a PV."""


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
        """Return the rule of a policy, with the defaults of what it leaves open."""
        width, relative = deadband(policy.deadband or 0)
        return cls(
            scan=seconds(policy.scan or 0),
            min_period=seconds(policy.min_period or 0),
            keep_alive=seconds(policy.keep_alive or KEEP_ALIVE),
            deadband=width,
            relative=relative,
        )

    def within_deadband(self, value: Value, stored: Value) -> bool:
        """Return whether a value differs by less than the deadband from the stored one; False without a deadband."""
        if not self.deadband or not isinstance(value, float | int) or not isinstance(stored, float | int):
            return False
        width = self.deadband * abs(stored) if self.relative else self.deadband
        return abs(value - stored) < width


class Track:
    """The listener of one PV, which adds its samples, gaps and metadata to the sink.

    Periods are measured by the monotonic clock; rows have the IOC's time stamps.
    """

    def __init__(self, pv: str, rule: Rule, sink: Sink, rejected: Counter[str], timeline: Timeline) -> None:
        self._pv = pv
        self._rule = rule
        self._sink = sink
        self._rejected = rejected
        self._timeline = timeline
        self._warned: set[str] = set()
        self._connected_ns = 0
        self._stored: PvUpdate | None = None  # the newest row, if no gap came after it
        self._waiting: PvUpdate | None = None  # newer than that, stored at the end of its period
        self._newest: PvUpdate | None = None
        self._stored_at = 0.0

    def connected(self) -> None:
        """Record the time of the connection."""
        self._connected_ns = time.time_ns()

    def metadata_changed(self, metadata: Metadata) -> None:
        """Store metadata with the present time."""
        self._sink.add_metadata(self._pv, Dated(time.time_ns(), metadata))

    def update(self, update: PvUpdate) -> None:
        """Store an update, or keep it until its time comes, or discard it, by the policy."""
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

    def lost(self, since_ns: int) -> None:
        """Store what waits, and a gap marker where updates were lost; the last of them follows."""
        self._end(Gap.OVERRUN, min(since_ns, time.time_ns()))

    def disconnected(self) -> None:
        """Store what waits, and a gap marker."""
        self._end(Gap.DISCONNECTED)

    def end(self) -> None:
        """Store what waits, and the gap marker of an archiver that stops."""
        if self._connected_ns:
            self._end(Gap.ARCHIVE_OFF)

    def tick(self, now: float) -> None:
        """Store what has waited long enough, or has not changed for keep_alive; ``now`` is the monotonic time (s)."""
        period = self._rule.scan or self._rule.min_period
        if self._waiting and now >= self._due(period):
            self._store(self._waiting)
        elif self._stored and self._newest and now >= self._stored_at + self._rule.keep_alive:
            self._write(self._timeline.repeat(time.time_ns()), self._newest)

    def _due(self, period: float) -> float:
        """Return when the waiting update is stored: scans at full multiples, the same for all PVs."""
        return (self._stored_at // period + 1) * period if self._rule.scan else self._stored_at + period

    def _end(self, gap: Gap, time_ns: int | None = None) -> None:
        if self._waiting:
            self._store(self._waiting)
        if not self._timeline.in_gap or gap is Gap.ARCHIVE_OFF:
            self._sink.add(gap_marker(self._pv, self._timeline.gap(time_ns or time.time_ns()), gap))
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
        """Count a rejected sample; log each cause once a PV, for thousands may follow."""
        self._rejected[cause] += 1
        if cause not in self._warned:
            self._warned.add(cause)
            log.warning("%s: rejecting samples: %s; further ones are only counted", self._pv, cause)
