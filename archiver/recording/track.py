"""The selection of the updates of one PV that are stored, by its timeline and its policy."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Protocol, Self

from archiver.ca.listener import PvUpdate
from archiver.health import Cause
from archiver.recording.metadata_dates import MetadataDates
from archiver.recording.timeline import GAPS, BadStamp, Timeline
from archiver.sample import Dated, Gap, Metadata, Sample, Value, gap_marker
from archiver.settings import KEEP_ALIVE, Deadband, Policy, deadband
from archiver.units import seconds

# Seconds that metadata wait for the value that comes with them; without one the value in force is stored again.
SETTLE = 1.0

# In the place of a stamp that lies in the future, of a value that has not changed since the IOC's clock was ahead:
# what a PV has when it connects is known from then on, and whatever comes next is newer.
NO_STAMP = 0

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
    deadband: Deadband

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Return the rule of a policy, with the defaults of what it leaves open."""
        return cls(
            scan=seconds(policy.scan or 0),
            min_period=seconds(policy.min_period or 0),
            keep_alive=seconds(policy.keep_alive or KEEP_ALIVE),
            deadband=deadband(policy.deadband or 0),
        )

    def within_deadband(self, value: Value, stored: Value, precision: int) -> bool:
        """Return whether a value differs by less than the deadband from the stored one; False without a deadband.

        A deadband of a digit holds back a change by one, which is 0.1 or nearly: by less than one and a half. A PV
        whose precision is 0 says nothing about its digits: many define none.
        """
        width, of = self.deadband
        if not width or not isinstance(value, float | int) or not isinstance(stored, float | int):
            return False
        if of == "digit":
            return precision > 0 and abs(value - stored) < (width + 0.5) * 10.0**-precision
        return abs(value - stored) < (width * abs(stored) if of == "value" else width)


class Track:
    """The listener of one PV, which adds its samples, gaps and metadata to the sink.

    repeated    updates that said nothing new, and were not stored

    Periods are measured by the monotonic clock; rows have the IOC's time stamps. Metadata hold from the first row
    that came with them: they wait for it, and what waits with the ones before is stored first.
    """

    def __init__(self, pv: str, rule: Rule, sink: Sink, rejected: Counter[str], timeline: Timeline) -> None:
        self._pv = pv
        self._rule = rule
        self._sink = sink
        self._rejected = rejected
        self._timeline = timeline
        self._warned: set[str] = set()
        self._connected_ns = 0
        self._stored: PvUpdate | None = None  # the newest row, if neither a gap nor other metadata came after it
        self._waiting: PvUpdate | None = None  # newer than that, stored at the end of its period
        self._held: PvUpdate | None = None  # newer, but within the deadband: stored before a gap
        self._newest: PvUpdate | None = None
        self._ahead: PvUpdate | None = None  # the newest as it came, if its stamp was dropped
        self._stored_at = 0.0
        self._metadata: Metadata | None = None  # of the newest row
        self._coming: Metadata | None = None  # of the next one
        self._coming_at = 0.0
        self._dates = MetadataDates(timeline.dated_ns)
        self.repeated = 0

    def connected(self) -> None:
        """Record the time of the connection."""
        self._connected_ns = time.time_ns()

    def metadata_changed(self, metadata: Metadata) -> None:
        """Keep metadata for the next row, whatever the policy; there is one within some seconds."""
        if self._waiting:
            self._store(self._waiting, time.time_ns())
        self._coming, self._coming_at = metadata, time.monotonic()
        self._stored = None

    def update(self, update: PvUpdate) -> None:
        """Store an update, or keep it until its time comes, or discard it, by the policy."""
        now_ns, newest, came = time.time_ns(), self._newest, update
        if self._ahead is not None and _same(update, self._ahead):
            self.repeated += 1
            return
        try:
            self._timeline.check(update.stamp_ns, now_ns)
            if self._timeline.was_ahead(update.stamp_ns, now_ns):  # what follows it may have a stamp that is right
                self._timeline.arrived_ns = NO_STAMP if self._timeline.connecting else now_ns
                update = update._replace(stamp_ns=self._timeline.arrived_ns)
        except BadStamp as error:
            if error.cause is not Cause.FUTURE or not self._timeline.connecting:
                self._reject(error.cause)
                return
            update = update._replace(stamp_ns=NO_STAMP)
        self._ahead = came if update is not came else None
        if newest is not None and update.stamp_ns == newest.stamp_ns and _same(update, newest):
            self.repeated += 1
            return
        stored, self._newest = self._stored, update
        if stored is None:
            self._store(update, now_ns)
        elif self._rule.scan:
            self._waiting = update
        elif update.severity != stored.severity or update.status != stored.status:
            self._store(update, now_ns)
        elif self._rule.within_deadband(update.value, stored.value, self._precision):
            self._waiting, self._held = None, update
        elif self._rule.min_period and time.monotonic() < self._stored_at + self._rule.min_period:
            self._waiting = update
        else:
            self._store(update, now_ns)

    @property
    def _precision(self) -> int:
        return self._metadata.precision if self._metadata else 0

    def lost(self, since_ns: int) -> None:
        """Store what waits, and a gap marker where updates were lost; the last of them follows."""
        if self._timeline.gap is None:
            self._end(Gap.OVERRUN, min(since_ns, time.time_ns()))

    def disconnected(self) -> None:
        """Store what waits, and a gap marker."""
        self._coming = None
        if self._timeline.gap is None:
            self._end(Gap.DISCONNECTED, time.time_ns())
        else:
            self._timeline.gap = Gap.DISCONNECTED

    def end(self, since_ns: int) -> None:
        """Store what waits, and the gap marker of an archiver that takes nothing any more since a time."""
        if self._connected_ns:
            self._end(Gap.ARCHIVE_OFF, min(since_ns, time.time_ns()))

    def renew(self, timeline: Timeline) -> None:
        """Go on in another archive, with its rows of this PV: what is known now is stored there, too.

        It stands where it would have been stored there, not at the present time: a newer value may be on its way.
        So may values of the timeline until now: no other one takes the place of one of them.
        """
        former, gap = self._timeline, self._timeline.gap
        known = self._newest if gap is None else None
        self._timeline, self._dates = timeline, MetadataDates(timeline.dated_ns)
        if known:
            self._coming = self._coming or self._metadata
            now_ns = time.time_ns()
            since_ns = max(known.stamp_ns, self._connected_ns, min(former.shown_ns, now_ns))
            self._write(timeline.admit(known.stamp_ns, now_ns, since_ns), known)
        elif gap is not None:
            timeline.gap = gap
        timeline.follow(former)

    def repeat_metadata(self) -> None:
        """Add the metadata that hold now again: those that waited in the spool may be lost."""
        for dated in self._dates.present:
            self._sink.add_metadata(self._pv, dated)

    def tick(self, now: float) -> None:
        """Store what has waited long enough, or has not changed for keep_alive; ``now`` is the monotonic time (s)."""
        period = self._rule.scan or self._rule.min_period
        if self._waiting and now >= self._due(period):
            self._store(self._waiting, time.time_ns())
        elif self._newest and now >= self._repeat_at():
            self._write(self._timeline.repeat(time.time_ns()), self._newest)
        if self._timeline.dated_ns:
            self._show()

    def _due(self, period: float) -> float:
        """Return when the waiting update is stored: scans at full multiples, the same for all PVs."""
        return (self._stored_at // period + 1) * period if self._rule.scan else self._stored_at + period

    def _repeat_at(self) -> float:
        """Return when the value in force is stored again: after keep_alive, or with metadata that came alone."""
        return self._coming_at + SETTLE if self._coming else self._stored_at + self._rule.keep_alive

    def _end(self, gap: Gap, time_ns: int) -> None:
        if last := self._waiting or self._held:
            self._store(last, time.time_ns())
        self._mark(self._timeline.mark(time_ns, gap), gap)
        self._stored = self._newest = self._ahead = None
        self._show()

    def _store(self, update: PvUpdate, now_ns: int) -> None:
        self._waiting = None
        self._write(self._timeline.admit(update.stamp_ns, now_ns, self._connected_ns), update)
        if self._timeline.dated_ns:
            self._show()

    def _show(self) -> None:
        """Repeat what is known now after a row of the archiver's clock that would hide it."""
        time_ns = self._timeline.again(time.time_ns())
        if time_ns is None:
            return
        if self._timeline.gap is not None:
            self._mark(time_ns, self._timeline.gap)
        elif self._newest:
            self._write(time_ns, self._newest)

    def _mark(self, time_ns: int, gap: Gap) -> None:
        self._sink.add(gap_marker(self._pv, time_ns, gap))

    def _write(self, time_ns: int, update: PvUpdate) -> None:
        self._stored, self._stored_at, self._held = update, time.monotonic(), None
        if self._coming:
            self._metadata = self._coming
        if self._metadata and (self._coming or self._timeline.dated_ns or self._dates.passes_earlier):
            new = self._dates.hold(time_ns, self._metadata, self._timeline, known=self._coming is None)
            for dated in new:
                self._sink.add_metadata(self._pv, dated)
        self._coming = None
        self._sink.add(Sample(self._pv, time_ns, update.value, update.severity, update.status))

    def _reject(self, cause: Cause) -> None:
        """Count a rejected sample, and mark the first; log each cause once a PV, for thousands may follow."""
        self._rejected[cause] += 1
        if self._timeline.gap is None:
            self._end(GAPS[cause], time.time_ns())
        if cause not in self._warned:
            self._warned.add(cause)
            log.warning("%s: rejecting samples: %s; further ones are only counted", self._pv, cause)


def _same(update: PvUpdate, other: PvUpdate) -> bool:
    """Return whether an update says nothing new: NaN, too, is what it was."""
    return update == other or repr(update) == repr(other)
