"""The making of summaries, beside the storing of rows: channel by channel, in small steps, from the rows themselves.

Of a channel all bins are made from a time on up to another one, which moves on hour by hour. A row that comes later
than that makes its hour a hole, which is made again; until then readers read the rows there. All this is stored in
the transactions of the rows, and nothing is kept in memory that could be lost: an archive without summaries is one of
which none were made yet.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from archiver.sample import Dated
from archiver.storage.binning import Made, Rows, SummaryRow, make, merge
from archiver.storage.summary import DAY_NS, HOUR_NS, SummaryBin

# Seconds from the end of one round over all channels to the next.
PERIOD = 600.0
# Seconds of one step, which is one transaction; and how many times as long the next one waits: making summaries takes
# a twentieth of the time at most, whatever comes in.
STEP_S = 0.1
PAUSE = 19.0
# Channels whose newest rows are looked up at once.
LOOKED_UP = 200
# Rows that are read at once, if an hour has no more; an hour with more than MOST_ROWS has no summaries.
STEP_ROWS, MOST_ROWS = 20_000, 1_000_000


class State(NamedTuple):
    """From when until when the bins of a channel were made (ns); the latter is a full hour."""

    begin_ns: int
    until_ns: int


class SummaryTables(Protocol):
    """The tables of one dialect within a transaction. A row is like ``SummaryRow``; ``gaps`` are statuses of gaps."""

    gaps: Collection[int]

    def states(self) -> dict[int, tuple[int, int]]:
        """Return of each channel of this archiver from when until when its bins were made."""

    def to_do(self) -> Sequence[tuple[int, int]]:
        """Return the hours that are to be made again, each with its channel."""

    def first(self, channel: int) -> int | None:
        """Return the time of the first row that was not thinned."""

    def thinned(self, channel: int) -> int:
        """Return up to when the rows were thinned, 0 if they were not."""

    def newest(self, channels: Sequence[int]) -> dict[int, int]:
        """Return the time of the newest row of each of some channels that has one."""

    def before(self, channel: int, time_ns: int) -> Sequence[Any] | None:
        """Return the newest row before a time."""

    def following(self, channel: int, time_ns: int) -> int | None:
        """Return the time of the first row from a time on."""

    def rows(self, channel: int, begin_ns: int, end_ns: int, limit: int) -> Rows:
        """Return the first rows from a time on until before another one."""

    def metadata(self, channel: int) -> Sequence[Dated]:
        """Return all metadata, the oldest first."""

    def hours(self, channel: int, begin_ns: int, end_ns: int) -> Sequence[SummaryBin]:
        """Return the bins of an hour."""

    def holes(self, channel: int, begin_ns: int, end_ns: int, *, to_do: bool = False) -> Collection[int]:
        """Return the hours that are holes, or (``to_do``) those of them that are to be made again."""

    def put(self, channel: int, bins: Sequence[SummaryBin]) -> None:
        """Store bins."""

    def put_state(self, channel: int, begin_ns: int, until_ns: int) -> None:
        """Store from when until when bins were made."""

    def put_holes(self, holes: Iterable[tuple[int, int]], *, to_do: bool) -> None:
        """Store hours as holes, each with its channel."""

    def clear(self, channel: int, hour_ns: int) -> None:
        """Delete the bins of an hour, the hole if it is one, and the bin of its day."""


class Summarizer:
    """The rounds over all channels of an archiver. What it caches is of committed transactions: see ``reset``."""

    def __init__(self) -> None:
        self._states: dict[int, State] | None = None
        self._latest_ns = 0
        self._jobs: deque[tuple[int, int | None]] = deque()
        self._unseen: deque[Sequence[int]] = deque()  # channels of which the newest row is looked up next
        self._newest: dict[int, int] = {}  # when the round began
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Return whether a step may be done now."""
        return time.monotonic() >= self._next

    def reset(self) -> None:
        """Empty the cache: a transaction has failed."""
        self._states = None

    def latest(self, tables: SummaryTables) -> int:
        """Return up to when bins were made of any channel: what is later than that is late for none."""
        self._known(tables)
        return self._latest_ns

    def mark_late(self, tables: SummaryTables, rows: Iterable[tuple[int, int]]) -> None:
        """Mark the hours of rows, each a channel and a time, that were made already."""
        states = self._known(tables)
        hours = {
            (channel, time_ns // HOUR_NS * HOUR_NS)
            for channel, time_ns in rows
            if channel in states and time_ns < states[channel].until_ns
        }
        if hours:
            tables.put_holes(sorted(hours), to_do=True)

    def mark_since(self, tables: SummaryTables, channel: int, since_ns: int) -> None:
        """Mark the hours that were made already of which new metadata say now whether integers are states."""
        state = self._known(tables).get(channel)
        if state and since_ns < state.until_ns:
            later = (each.since_ns for each in tables.metadata(channel) if each.since_ns > since_ns)
            end_ns = min(next(later, state.until_ns), state.until_ns)
            begin_ns = max(since_ns, state.begin_ns) // HOUR_NS * HOUR_NS
            tables.put_holes([(channel, hour_ns) for hour_ns in range(begin_ns, end_ns, HOUR_NS)], to_do=True)

    def limit(self, tables: SummaryTables, channel: int, until_ns: int) -> int:
        """Return up to when rows may be thinned: what is made of them comes first."""
        state = self._known(tables).get(channel)
        return min(until_ns, state.until_ns) if state else until_ns

    def expired(self, tables: SummaryTables, channel: int, time_ns: int) -> None:
        """Note that the rows before a time are deleted, or about to be."""
        states = self._known(tables)
        if channel in states and states[channel].begin_ns < time_ns:
            self._put(tables, channel, time_ns, states[channel].until_ns)

    def step(self, tables: SummaryTables, channels: Iterable[int], limit: Callable[[int], int]) -> bool:
        """Make some bins; ``limit`` returns up to when all rows of a channel are known. Return True if more wait."""
        began = time.monotonic()
        if not self._waiting:
            self._newest = {}
            self._jobs.extend(tables.to_do())
            numbers = sorted(channels)
            self._unseen.extend(numbers[each : each + LOOKED_UP] for each in range(0, len(numbers), LOOKED_UP))
        done: list[tuple[int, int | None]] = []
        while self._waiting:
            if self._unseen:
                found = tables.newest(self._unseen.popleft())
                self._newest |= found
                self._jobs.extend((channel, None) for channel in found)
            if self._jobs:
                job = self._jobs.popleft()
                try:
                    self._do(*job, tables, limit)
                except Exception:  # this one's turn comes in the next round; what goes with it now is made again
                    self._jobs.extendleft(reversed(done))
                    raise
                done.append(job)
            if time.monotonic() >= began + STEP_S:
                break
        now = time.monotonic()
        self._next = now + (PAUSE * (now - began) if self._waiting else PERIOD)
        return self._waiting

    @property
    def _waiting(self) -> bool:
        return bool(self._unseen or self._jobs)

    def _do(self, channel: int, hour_ns: int | None, tables: SummaryTables, limit: Callable[[int], int]) -> None:
        if hour_ns is not None:
            self._again(tables, channel, hour_ns)
        elif self._go_on(tables, channel, limit(channel)):
            self._jobs.append((channel, None))

    def _known(self, tables: SummaryTables) -> dict[int, State]:
        if self._states is None:
            self._states = {channel: State(*each) for channel, each in tables.states().items()}
            self._latest_ns = max((state.until_ns for state in self._states.values()), default=0)
        return self._states

    def _put(self, tables: SummaryTables, channel: int, begin_ns: int, until_ns: int) -> None:
        tables.put_state(channel, begin_ns, until_ns)
        self._known(tables)[channel] = State(begin_ns, until_ns)
        self._latest_ns = max(self._latest_ns, until_ns)

    def _go_on(self, tables: SummaryTables, channel: int, limit_ns: int) -> bool:
        """Make the bins of the next hours; return True if more can be made.

        Up to the hour of its newest row: those of an IOC whose clock is behind come later than others.
        """
        state = self._known(tables).get(channel)
        last_ns = min(limit_ns, self._newest[channel]) // HOUR_NS * HOUR_NS
        if state is None:
            # a row is in force when the first hour begins
            first_ns = _next_hour((tables.first(channel) or self._newest[channel]) + 1)
            state = State(first_ns, first_ns)
        begin_ns = max(state.until_ns, _next_hour(state.begin_ns))
        if last_ns <= begin_ns:
            return False
        end_ns, made = self._make(tables, channel, begin_ns, last_ns)
        if state.begin_ns >= state.until_ns and made.holes and not made.bins:
            self._put(tables, channel, end_ns, end_ns)  # nothing to be summarized yet: texts, states
        else:
            tables.put(channel, made.bins)
            tables.put_holes([(channel, hour_ns) for hour_ns in made.holes], to_do=False)
            expired = state.begin_ns > state.until_ns  # rows of which nothing was made
            self._put(tables, channel, begin_ns if expired else state.begin_ns, end_ns)
            self._days(tables, channel, begin_ns, end_ns)
        return end_ns < last_ns

    def _make(self, tables: SummaryTables, channel: int, begin_ns: int, end_ns: int) -> tuple[int, Made]:
        """Return up to where bins were made, and the bins."""
        rows = tables.rows(channel, begin_ns, end_ns, STEP_ROWS)
        if len(rows) == STEP_ROWS:
            end_ns = int(rows.time_ns[-1]) // HOUR_NS * HOUR_NS  # of the last hour there are more
            if end_ns == begin_ns:
                return begin_ns + HOUR_NS, self._hour(tables, channel, begin_ns)
            rows = rows.until(end_ns)
        before = tables.before(channel, begin_ns)
        if before is None:
            return end_ns, Made([], (np.unique(rows.time_ns // HOUR_NS) * HOUR_NS).tolist())
        return end_ns, _made(tables, channel, before, rows, end_ns)

    def _hour(self, tables: SummaryTables, channel: int, hour_ns: int) -> Made:
        """Return the bins of one hour, or that it is a hole."""
        end_ns, before = hour_ns + HOUR_NS, tables.before(channel, hour_ns)
        rows = tables.rows(channel, hour_ns, end_ns, MOST_ROWS + 1)
        if before is None or len(rows) > MOST_ROWS or hour_ns < tables.thinned(channel):
            return Made([], [hour_ns])
        return _made(tables, channel, before, rows, end_ns)

    def _again(self, tables: SummaryTables, channel: int, hour_ns: int) -> None:
        """Make an hour again, and the next one with rows: what is in force when that begins may be another one."""
        tables.clear(channel, hour_ns)
        following_ns = tables.following(channel, hour_ns + HOUR_NS)
        hours = {hour_ns} if following_ns is None else {hour_ns, following_ns // HOUR_NS * HOUR_NS}
        for each_ns in sorted(hours):
            state = self._known(tables).get(channel)
            if state is None or not state.begin_ns - HOUR_NS < each_ns < state.until_ns:
                continue
            if each_ns != hour_ns and tables.holes(channel, each_ns, each_ns + HOUR_NS, to_do=True):
                continue  # it has its own turn, with what follows it; until then it stays a hole
            tables.clear(channel, each_ns)
            if each_ns < state.begin_ns:  # a part of its rows was deleted: of what is left nothing can be made
                self._put(tables, channel, each_ns + HOUR_NS, max(state.until_ns, each_ns + HOUR_NS))
                continue
            made = self._hour(tables, channel, each_ns)
            tables.put(channel, made.bins)
            tables.put_holes([(channel, hole_ns) for hole_ns in made.holes], to_do=False)
        for day_ns in {each_ns // DAY_NS * DAY_NS for each_ns in hours}:
            state = self._known(tables).get(channel)
            if state and day_ns + DAY_NS <= state.until_ns:
                self._days(tables, channel, day_ns, day_ns + DAY_NS)

    def _days(self, tables: SummaryTables, channel: int, begin_ns: int, end_ns: int) -> None:
        """Make the bins of the days that end in a stretch, from those of their hours."""
        made_from_ns = self._known(tables)[channel].begin_ns
        first_ns, last_ns = begin_ns // DAY_NS * DAY_NS, end_ns // DAY_NS * DAY_NS
        if first_ns == last_ns:
            return
        days: dict[int, list[SummaryBin]] = {}
        for each in tables.hours(channel, first_ns, last_ns):
            days.setdefault(each.time_ns // DAY_NS * DAY_NS, []).append(each)
        holes = {hour_ns // DAY_NS * DAY_NS for hour_ns in tables.holes(channel, first_ns, end_ns)} if days else set()
        for day_ns, hours in days.items():
            before = tables.before(channel, day_ns)
            if day_ns not in holes and before is not None and made_from_ns <= day_ns:
                day = merge(hours, SummaryRow(*before), tables.gaps, day_ns)
                if day:
                    tables.put(channel, [day])
                else:  # integers, then other numbers
                    tables.put_holes([(channel, hours[-1].time_ns)], to_do=False)


def _made(tables: SummaryTables, channel: int, before: Sequence[Any], rows: Rows, end_ns: int) -> Made:
    led = rows.after(Rows.of([before]))
    metadata = tables.metadata(channel) if led.integer.any() else ()  # they say which integers are states
    return make(led, end_ns, tables.gaps, metadata)


def _next_hour(time_ns: int) -> int:
    return -(-time_ns // HOUR_NS) * HOUR_NS
