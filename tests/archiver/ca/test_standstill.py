"""What may be missing of a PV since this process stood still; a busy one misses nothing."""

from __future__ import annotations

import pytest

from archiver.ca import calls, standstill
from archiver.ca.calls import CallQueue
from archiver.ca.standstill import Standstill

S = 10**9
NONE = 0


class Clock:
    """In the place of ``time``: one clock for all."""

    CLOCK_BOOTTIME = 7

    def __init__(self) -> None:
        self.now = 1000.0
        self._set_back = 0.0

    def set_back(self, seconds: float) -> None:
        self.now -= seconds
        self._set_back += seconds

    def time(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return round(self.now * S)

    def clock_gettime(self, _clock: int) -> float:
        return self.now + self._set_back


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(calls, "time", clock)
    monkeypatch.setattr(standstill, "time", clock)
    return clock


class Turns:
    """A client with turns, to which libca brings something every 0.1 s; nothing while it stands still."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue = CallQueue()
        self.standstill = Standstill(self._queue)

    def pass_(self, seconds: float, *, busy: bool = False) -> None:
        for _ in range(round(seconds * 10)):
            self._clock.now = round(self._clock.now + 0.1, 3)
            self._queue.put(1, 0, b"")
            if not busy:
                self.standstill.look()

    def stand_still(self, seconds: float) -> None:
        self._clock.now += seconds
        self.standstill.look()

    def missing(self, *stamps: float) -> float:
        before, newest, stamp = (round(each * S) for each in stamps)
        return self.standstill.missing(before, newest, stamp) / S


def test_nothing_is_missing_without_a_standstill(clock: Clock) -> None:
    turns = Turns(clock)
    turns.pass_(1)
    turns.pass_(20, busy=True)  # libca's threads took what came
    turns.stand_still(1.5)
    assert turns.standstill.until_ns == 0


@pytest.mark.parametrize(
    ("before", "newest", "stamp", "since"),
    [
        (1000.8, 1000.9, 1001.1, NONE),
        (1000.8, 1000.9, 1001.3, 1001.0),  # the hole begins with the standstill
        (1003.0, 1003.1, 1003.2, NONE),
        (1003.0, 1003.1, 1003.3, 1003.1),  # one of ten in a second is missing
        (1003.1, 1003.2, 1020.9, 1003.2),
        (1003.2, 1020.9, 1021.0, NONE),
        (900.0, 1000.0, 1011.0, 1001.0),  # it was quiet for long; nobody knows whether it was until now
        (NONE, 1000.0, 1011.0, 1001.0),
        (NONE, NONE, 1011.0, NONE),  # the first value of a connection
        (900.0, 1000.0, 1022.0, 1001.0),  # merged while the buffers became empty
        (900.0, 1000.0, 1023.0, NONE),  # else the newest would have come at once
        (1020.9, 1021.0, 1030.0, NONE),
    ],
)
def test_a_hole_in_the_stamps_of_a_standstill(
    before: float, newest: float, stamp: float, since: float, clock: Clock
) -> None:
    turns = Turns(clock)
    turns.pass_(1)
    turns.stand_still(20)  # until 1021
    assert turns.missing(before, newest, stamp) == since


def test_what_was_sent_in_a_standstill_may_come_after_the_next_one(clock: Clock) -> None:
    turns = Turns(clock)
    turns.pass_(1)
    turns.stand_still(20)  # until 1021
    turns.pass_(1)
    turns.stand_still(20)  # until 1042
    assert turns.missing(1003.1, 1003.2, 1020.9) == 1003.2
    turns.pass_(10)
    turns.stand_still(20)  # from 1052 on
    assert turns.missing(1003.1, 1003.2, 1053.0) == 1052.0


def test_what_an_ioc_with_a_late_clock_sends_long_after_a_standstill_is_not_marked(clock: Clock) -> None:
    turns = Turns(clock)
    turns.pass_(1)
    turns.stand_still(20)  # until 1021
    turns.pass_(50)
    assert turns.missing(1003.0, 1005.0, 1007.0) == 1005.0  # handled late: there was much
    turns.pass_(20)
    assert turns.missing(1003.0, 1005.0, 1007.0) == NONE


def test_a_standstill_is_seen_also_after_the_clock_was_set_back(clock: Clock) -> None:
    turns = Turns(clock)
    turns.pass_(1)
    turns.stand_still(20)
    clock.set_back(3600)
    turns.pass_(10)
    began = clock.now
    turns.stand_still(20)
    assert turns.missing(began - 0.2, began - 0.1, began + 15) == pytest.approx(began)
