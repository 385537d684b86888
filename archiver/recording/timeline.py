"""The timeline of one PV: which time stamps are accepted, and at which time rows and gaps are stored."""

from __future__ import annotations

from dataclasses import dataclass

from archiver.health import Cause
from archiver.sample import RESOLUTION_NS

# Earlier time stamps are none: EPICS counts from 1990, where a record never processed and an IOC without a clock are.
YEAR_1991_NS = 662_688_000 * 10**9
# How far a time stamp may be ahead of the archiver's clock.
FUTURE_NS = 5 * 60 * 10**9


class BadStamp(Exception):
    """The time stamp of a sample cannot be right; the message is a ``Cause``."""


@dataclass(slots=True)
class Timeline:
    """The state of a PV's rows: the time of the newest one, its time stamp, and whether it marks a gap.

    The first value after a gap is often older than the gap: the PV has not changed since. Stored under its own stamp
    it would be before the marker, and the PV would look disconnected until its next change. So it is stored at the
    time of the connection, as the value in force. Where an IOC's clock is behind ours, the values that follow are
    older than that row, too: they are stored right after it, for what moves on by its IOC's clock is not to be lost.
    """

    last_ns: int = 0
    in_gap: bool = True
    last_stamp_ns: int = 0

    def admit(self, stamp_ns: int, now_ns: int, connected_ns: int) -> int | None:
        """Return the time of the row for a sample that came at ``now_ns`` over a connection made at ``connected_ns``.

        None if it has been stored already. Raises BadStamp if its time stamp cannot be right.
        """
        _check_stamp(stamp_ns, now_ns)
        if not self.in_gap and stamp_ns == self.last_stamp_ns:
            return None
        if not self.in_gap and stamp_ns < self.last_stamp_ns:
            raise BadStamp(Cause.BACKWARDS)
        time_ns = connected_ns if self.in_gap and stamp_ns <= self.last_ns else stamp_ns
        self.last_ns, self.last_stamp_ns, self.in_gap = max(time_ns, self._next_ns()), stamp_ns, False
        return self.last_ns

    def repeat(self, now_ns: int) -> int:
        """Return the time of a row that repeats the value in force."""
        self.last_ns = max(now_ns, self._next_ns())
        return self.last_ns

    def gap(self, now_ns: int) -> int:
        """Return the time of a row that marks a gap from now on; the newest row is before it in any case."""
        self.in_gap = True
        return self.repeat(now_ns)

    def _next_ns(self) -> int:
        return (self.last_ns // RESOLUTION_NS + 1) * RESOLUTION_NS


def _check_stamp(time_ns: int, now_ns: int) -> None:
    if time_ns < YEAR_1991_NS:  # EPICS counts from 1990: a record never processed, or an IOC without a clock
        raise BadStamp(Cause.EPOCH_1990)
    if time_ns > now_ns + FUTURE_NS:
        raise BadStamp(Cause.FUTURE)
