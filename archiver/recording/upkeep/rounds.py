"""The upkeep of the archive, one small step at a time: old rows go by months where they can, else PV by PV."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter

from archiver.recording.upkeep.clock import Clock
from archiver.sample import Gap, Sample, gap_marker
from archiver.settings import Policy
from archiver.storage.store import Rejected, Store, StoreError
from archiver.units import seconds

# Seconds from the end of one round over all PVs to the next.
PERIOD = 3600.0
# The turn of what is done for all PVs at once, and what of summaries is told; no PV has such a name.
MONTHS, SUMMARIES = "", " "

_time = attrgetter("time_ns")

log = logging.getLogger(__name__)


class Upkeep:
    """The rounds over all PVs; ``policy`` returns how long a PV's rows are kept, and when they are thinned.

    In a round each PV has its turn. Rows of which the database rejects what is to become, or that end a turn in some
    other way, end this turn alone; that is logged when it begins or changes. An error of the database ends the round:
    it may be away. The next round begins behind the turn that met the error, for it may be this PV's again. It begins
    at once if rows came (``late``) that are not kept: they would be in force up to the first one that is.
    """

    def __init__(self, policy: Callable[[str], Policy]) -> None:
        self._policy = policy
        self._round: Iterator[None] | None = None
        self._next = 0.0
        self._shortest = math.inf  # for how long (s) rows are kept, of the PV whose rows go first
        self._late_ns = 0  # the oldest row that came late since the round began, 0 if none did
        self._going_ns = 0  # the same of the round that goes on
        self._clock: Clock | None = None
        self._turn: str | None = None  # the one that goes on, or at which the last round ended
        self._faults: dict[str, str] = {}  # turn -> why it ended

    def late(self, oldest_ns: int) -> None:
        """Note that rows were stored that had waited, and the time of the oldest."""
        self._late_ns = min(self._late_ns or oldest_ns, oldest_ns)

    def kept(self, samples: list[Sample], store: Store) -> list[Sample]:
        """Return of samples that have waited those that are kept; of a PV's others the newest, behind a gap.

        Rows of their time may have been deleted: each would be in force up to the first one that is left. If there is
        one that is newer than all of them, and not kept either, they say nothing. Raises StoreError.
        """
        clock = self._clock = self._clock or Clock(store.alive_ns)
        pvs = {sample.pv for sample in samples}
        ages = {pv: seconds(age) for pv in pvs if (age := self._policy(pv).keep) is not None}
        before_ns = {age: _before(age, clock) for age in set(ages.values())}
        kept: list[Sample] = []
        old: dict[str, list[Sample]] = {}
        for sample in samples:
            age = ages.get(sample.pv)
            waits = kept if age is None or sample.time_ns >= before_ns[age] else old.setdefault(sample.pv, [])
            waits.append(sample)
        if not old:
            return samples
        in_force = {age: store.newest_values(before_ns[age]) for age in {ages[pv] for pv in old}}
        for pv, found in old.items():
            first, last = min(found, key=_time), max(found, key=_time)
            if in_force[ages[pv]].get(pv, 0) < last.time_ns:
                kept += [last] if first is last else [gap_marker(pv, first.time_ns, Gap.OVERRUN), last]
        return kept

    def step(self, store: Store) -> bool:
        """Do one step; return False when nothing is to be done before the next round. Raises StoreError."""
        if self._round is None:
            if time.monotonic() < self._next and not self._too_late():
                return False
            self._going_ns, self._late_ns, self._round = self._late_ns, 0, self._steps(store)
        try:
            for _ in self._round:
                return True
        except StoreError:
            if self._going_ns:  # the turn of those rows may still have been to come
                self.late(self._going_ns)
            raise
        self._round, self._next = None, time.monotonic() + PERIOD
        return False

    def tidy(self, store: Store) -> bool:
        """Do one step of the store's own upkeep; return True if more is to be done at once. Raises StoreError.

        A PV of which no summaries can be made ends the step; those of the others are made in the next one.
        """
        with self._alone(SUMMARIES):
            return store.tidy()
        return False

    def _too_late(self) -> bool:
        """Return whether a row came late that is not kept."""
        if not self._late_ns or self._clock is None or math.isinf(self._shortest):
            return False
        return self._late_ns < _before(self._shortest, self._clock)

    def _steps(self, store: Store) -> Iterator[None]:
        clock = self._clock = self._clock or Clock(store.alive_ns)
        policies = {newest.pv: self._policy(newest.pv) for newest in store.newest()}
        keep = (seconds(policy.keep) for policy in policies.values() if policy.keep is not None)
        self._shortest = min(keep, default=math.inf)
        turns = [MONTHS, *policies]
        begin = turns.index(self._turn) + 1 if self._turn in turns else 0
        for turn in turns[begin:] + turns[:begin]:
            self._turn = turn
            with self._alone(turn):
                if turn == MONTHS:
                    yield from _months(store, policies, clock)
                else:
                    yield from _own(store, turn, policies[turn], clock)
                self._faults.pop(turn, None)
        self._turn = None
        while store.shrink():
            yield

    @contextmanager
    def _alone(self, turn: str) -> Iterator[None]:
        """Let whatever ends one turn, but for an error of the database, end nothing else."""
        try:
            yield
        except Rejected as error:
            self._tell(turn, str(error))
        except StoreError:
            raise
        except Exception as error:  # whatever one PV's rows are, the others have their turn
            self._tell(turn, f"{type(error).__name__}: {error}")
            log.debug("the turn of %r", turn, exc_info=True)

    def _tell(self, turn: str, reason: str) -> None:
        if self._faults.get(turn) == reason:
            return
        self._faults[turn] = reason
        if turn == MONTHS:
            log.error("no month of old rows is dropped as a whole: %s; they are deleted PV by PV", reason)
        elif turn == SUMMARIES:
            log.error("of a PV no summaries are made: %s; its rows are read instead", reason)
        else:
            log.error("%s: its old rows are not deleted or thinned: %s", turn, reason)


def _months(store: Store, policies: Mapping[str, Policy], clock: Clock) -> Iterator[None]:
    keep = {pv: seconds(policy.keep) for pv, policy in policies.items() if policy.keep is not None}
    while store.expire_months({pv: _before(age, clock) for pv, age in keep.items()}):
        yield
    yield


def _own(store: Store, pv: str, policy: Policy, clock: Clock) -> Iterator[None]:
    if policy.keep is not None:
        while store.expire(pv, _before(seconds(policy.keep), clock)):
            yield
        yield
    if policy.thin is not None:
        width_ns = int(seconds(policy.thin.to) * 10**9)
        while store.thin(pv, _before(seconds(policy.thin.after), clock), width_ns):
            yield
        yield


def _before(age: float, clock: Clock) -> int:
    return clock.now_ns() - int(age * 10**9)
