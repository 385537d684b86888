"""The timeline of one PV: which time stamps are accepted, and at which times rows and gaps are stored.

Two clocks date rows. A value has its IOC's stamp. What the archiver adds has the archiver's own time: a gap, a value
that is known again since a connection, a value that is repeated. Where the clocks differ, or one is set, a row by the
archiver's clock may be later than the values that come after it. It moves none of them: each stands at its own stamp,
and is repeated right after such a row as soon as the archiver's clock has reached it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field

from archiver.health import Cause
from archiver.sample import RESOLUTION_NS, Gap

# Earlier time stamps are none: EPICS counts from 1990, where a record never processed and an IOC without a clock are.
YEAR_1991_NS = 662_688_000 * 10**9
# How far a time stamp may be ahead of the archiver's clock.
FUTURE_NS = 5 * 60 * 10**9

# How far the archiver's clock is set back before what is known is stored again.
STEP_NS = 10**9

# Rows by the archiver's clock that are remembered: of those that are still to come, and of those that are over. Of
# more of the latter it is remembered where they are: as many runs without a free place between them.
AHEAD, OVER = 1000, 20

# The gap of a PV whose stamps are rejected.
GAPS = {
    Cause.BACKWARDS: Gap.REJECTED_BACKWARDS,
    Cause.EPOCH_1990: Gap.REJECTED_EPOCH1990,
    Cause.FUTURE: Gap.REJECTED_FUTURE,
}
_REJECTED = frozenset(GAPS.values())
# The gaps that are within a connection: what ends them is known from when it came.
_CONNECTED = _REJECTED | {Gap.OVERRUN}


class BadStamp(Exception):
    """The time stamp of a sample cannot be right; ``cause`` says why."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(slots=True)
class Timeline:
    """The state of a PV's rows; all times in ns since 1970, UTC.

    gap         why nothing is known now; None while a value is in force
    dated_ns    the rows by the archiver's clock that are later than ``stamped_ns``, in order
    runs_ns     first and last of each run of such rows that are before all of ``dated_ns``, in order
    stamped_ns  the newest row at an IOC's stamp; the next such row is later
    stamp_ns    the stamp of the newest value
    held        whether its row is not at its stamp, but where a gap ended
    shown_ns    the row written last: it says what is known, unless ``again`` has to repeat it; 0 before the first
    ahead_ns    how far a clock was that was ahead and was set back before the run began; 0 if it was not
    arrived_ns  where the last value stands that has a stamp of that clock: when it came. No stamp is compared with it
    """

    dated_ns: list[int] = field(default_factory=list)
    runs_ns: list[tuple[int, int]] = field(default_factory=list)
    gap: Gap | None = Gap.ARCHIVE_OFF
    stamped_ns: int = 0
    stamp_ns: int = 0
    held: bool = False
    shown_ns: int = 0
    ahead_ns: int = 0
    arrived_ns: int = 0

    @classmethod
    def after(cls, rows_ns: Iterable[int], value_ns: int = 0, in_force_ns: int = 0, *, ahead_ns: int = 0) -> Timeline:
        """Return the timeline of a PV with rows of previous runs, at least the newest one, which marks a gap.

        ``value_ns``: the newest of them that marks none. ``in_force_ns``: the one in force when the run begins, 0 if
        all are later, by a clock that was ahead: nothing says then what is known, and nothing needs to be marked.
        """
        rows = sorted(rows_ns)
        del rows[AHEAD:-1]  # as rows of this run are forgotten: those that come next count
        # a gap may be right after that value
        return cls(rows, stamped_ns=_next(value_ns) if value_ns else 0, shown_ns=in_force_ns, ahead_ns=ahead_ns)

    @property
    def connecting(self) -> bool:
        """Return whether the next value is the first of a connection: what the PV has then, whatever its stamp."""
        return self.gap is not None and self.gap not in _CONNECTED

    def check(self, stamp_ns: int, now_ns: int) -> None:
        """Raise BadStamp if a value that came at ``now_ns`` cannot have that stamp."""
        if stamp_ns < YEAR_1991_NS:
            raise BadStamp(Cause.EPOCH_1990)
        if stamp_ns > now_ns + FUTURE_NS:
            raise BadStamp(Cause.FUTURE)
        if stamp_ns < self.stamp_ns != self.arrived_ns and (self.gap is None or self.gap in _REJECTED):
            raise BadStamp(Cause.BACKWARDS)

    def was_ahead(self, stamp_ns: int, now_ns: int) -> bool:
        """Return whether a stamp in the future is one of the clock that was ahead, or goes on from one."""
        return now_ns + STEP_NS < stamp_ns <= self.ahead_ns

    def admit(self, stamp_ns: int, now_ns: int, connected_ns: int) -> int:
        """Return the time of the row for a value that came at ``now_ns`` over a connection made at ``connected_ns``.

        The first value after a gap is often older than the gap: the PV has not changed since. At its own stamp it
        would be before the gap's row. It is stored at the time from which it is known again, and others of the same
        stamp after it.
        """
        if self.gap is None and not self.held and not self.dated_ns:  # nearly always; this is done for each value
            self.stamp_ns = stamp_ns
            if stamp_ns - self.stamped_ns <= RESOLUTION_NS:
                stamp_ns = max(stamp_ns, _next(self.stamped_ns))
            self.stamped_ns = self.shown_ns = stamp_ns
            return stamp_ns
        known_ns = now_ns if self.gap in _CONNECTED else connected_ns
        if self.gap is None:
            self.held = self.held and stamp_ns == self.stamp_ns
            known_ns = self.shown_ns
        else:
            self.held = stamp_ns <= max(self.stamped_ns, self._gap_ns(known_ns))
        self.stamp_ns, self.gap = stamp_ns, None
        if self.held:
            self.stamped_ns = max(self.stamped_ns, min(stamp_ns, known_ns))
            return self._date(known_ns)
        self.stamped_ns = self.shown_ns = self._free(max(stamp_ns, _next(self.stamped_ns)))
        del self.dated_ns[: bisect_right(self.dated_ns, self.stamped_ns)]
        if self.runs_ns and self.runs_ns[0][1] <= self.stamped_ns:
            self.runs_ns = [run for run in self.runs_ns if run[1] > self.stamped_ns]
        return self.stamped_ns

    def repeat(self, now_ns: int) -> int:
        """Return the time of a row that repeats the value in force."""
        return self._date(now_ns)

    def mark(self, now_ns: int, gap: Gap) -> int:
        """Return the time of a row that marks a gap from now on; the newest row is before it in any case."""
        self.gap = gap
        return self._date(now_ns)

    def again(self, now_ns: int) -> int | None:
        """Return the time at which what is known now is to be repeated; None if the newest row up to now says it."""
        if not self.dated_ns or self.dated_ns[-1] < self.shown_ns:
            return None
        reached = bisect_right(self.dated_ns, now_ns)
        if reached and self.dated_ns[reached - 1] > self.shown_ns:
            return self._date(self.dated_ns[reached - 1])
        ahead = self.shown_ns > self._earliest(now_ns) + STEP_NS and self.shown_ns in self.dated_ns
        return self._date(now_ns) if ahead else None  # the clock has been set back

    def follow(self, former: Timeline) -> None:
        """Let no value come where one of a former timeline is: that may still be on its way to the database."""
        self.stamped_ns = max(self.stamped_ns, former.stamped_ns)
        del self.dated_ns[: bisect_right(self.dated_ns, self.stamped_ns)]

    def _gap_ns(self, known_ns: int) -> int:
        """Return where the gap begins that ends at a time; if its row is later, by a clock that was wrong, there.

        Rows before the newest value's mark none: whether they are still remembered changes nothing.
        """
        before = bisect_right(self.dated_ns, max(known_ns, _next(self.stamped_ns)))
        if before and self.dated_ns[before - 1] > self.stamped_ns:
            return self.dated_ns[before - 1]
        return known_ns if before < len(self.dated_ns) else 0

    def _date(self, time_ns: int) -> int:
        """Return the time of a row by the archiver's clock: later than the rows that clock has reached."""
        if self.runs_ns and time_ns <= self.runs_ns[-1][1]:  # the clock has been set back
            self._forget(0)
        self.shown_ns = self._free(self._earliest(time_ns))
        insort(self.dated_ns, self.shown_ns)
        if over := self.dated_ns[: max(0, bisect_right(self.dated_ns, self.shown_ns) - OVER)]:
            for row_ns in over:
                self._join(row_ns)
            self._forget(OVER)
            del self.dated_ns[: len(over)]
        del self.dated_ns[AHEAD:-1]
        return self.shown_ns

    def _join(self, row_ns: int) -> None:
        """Remember a row in the last run, or in one of its own: what is repeated after a gap's row has no end."""
        if self.runs_ns and row_ns <= _next(self.runs_ns[-1][1]):
            self.runs_ns[-1] = (self.runs_ns[-1][0], row_ns)
        else:
            self.runs_ns.append((row_ns, row_ns))

    def _forget(self, most: int) -> None:
        """Remember some runs at most; no value may come where a row is, so those that come are after the others."""
        if forgotten := self.runs_ns[: max(0, len(self.runs_ns) - most)]:
            self.stamped_ns = max(self.stamped_ns, forgotten[-1][1])
            del self.runs_ns[: len(forgotten)]

    def _earliest(self, time_ns: int) -> int:
        earliest_ns = max(time_ns, _next(self.stamped_ns))
        reached = bisect_right(self.dated_ns, earliest_ns)
        return max(earliest_ns, _next(self.dated_ns[reached - 1])) if reached else earliest_ns

    def _free(self, time_ns: int) -> int:
        """Return a time, or the next one at which there is no row yet."""
        for first_ns, last_ns in self.runs_ns:
            if first_ns // RESOLUTION_NS <= time_ns // RESOLUTION_NS <= last_ns // RESOLUTION_NS:
                time_ns = _next(last_ns)
        while self.dated_ns:
            nearest = bisect_left(self.dated_ns, time_ns // RESOLUTION_NS * RESOLUTION_NS)
            if nearest == len(self.dated_ns) or self.dated_ns[nearest] >= _next(time_ns):
                break
            time_ns = _next(time_ns)
        return time_ns


def _next(time_ns: int) -> int:
    return (time_ns // RESOLUTION_NS + 1) * RESOLUTION_NS
