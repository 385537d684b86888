"""The rows of one PV in order of time: which stamps are believed, and where gaps begin and end."""

from dataclasses import dataclass, replace

from archiver.health import Cause
from archiver.sample import Gap, Sample, gap_marker

YEAR_1991_NS = 662_688_000 * 10**9
FUTURE_NS = 5 * 60 * 10**9


class Refused(Exception):
    """A sample whose time stamp cannot be right."""


@dataclass(slots=True)
class Timeline:
    """What has been stored of a PV: the time of its newest row, its newest stamp, and whether that row marks a gap.

    The first value after a gap is often older than the gap: the PV has not changed since. Stored under its own stamp
    it would hide behind the marker, and the PV would look dead until its next change. So it is stored at the time of
    the connection, as the value in force. Where an IOC's clock is behind ours, the values that follow are older than
    that row, too: they come right after it, for what moves on by its IOC's clock is not to be lost.
    """

    pv: str
    last_ns: int = 0
    in_gap: bool = True
    last_stamp_ns: int = 0

    def admit(self, sample: Sample, now_ns: int, connected_ns: int) -> Sample:
        """The row to store for a sample that came at `now_ns` over a connection made at `connected_ns`."""
        stamp_ns = sample.time_ns
        _check_stamp(stamp_ns, now_ns)
        if stamp_ns < self.last_stamp_ns and not self.in_gap:
            raise Refused(Cause.BACKWARDS)
        if stamp_ns <= self.last_ns and self.in_gap:
            sample = replace(sample, time_ns=max(connected_ns, self.last_ns + 1))
        elif self.last_stamp_ns < stamp_ns <= self.last_ns:
            sample = replace(sample, time_ns=self.last_ns + 1)
        self.last_ns, self.last_stamp_ns, self.in_gap = max(self.last_ns, sample.time_ns), stamp_ns, False
        return sample

    def mark(self, gap: Gap, now_ns: int) -> Sample:
        """The row that marks a gap from now on: after the newest sample even if the IOC's clock is ahead of ours."""
        self.last_ns, self.in_gap = max(now_ns, self.last_ns + 1), True
        return gap_marker(self.pv, self.last_ns, gap)


def _check_stamp(time_ns: int, now_ns: int) -> None:
    if time_ns < YEAR_1991_NS:  # EPICS counts from 1990: a record never processed, or an IOC without a clock
        raise Refused(Cause.EPOCH_1990)
    if time_ns > now_ns + FUTURE_NS:
        raise Refused(Cause.FUTURE)
