from __future__ import annotations

import pytest

from archiver.recording.timeline import FUTURE_NS, BadStamp, Timeline

S = 10**9
US = 1000
NOW = 1_800_000_000 * S


@pytest.mark.parametrize(
    ("last", "in_gap", "stamp", "stored"),
    [
        (0, True, NOW - 90 * S, NOW - 90 * S),  # first time ever: the IOC's stamp, however old
        (NOW - 9 * S, False, NOW - S, NOW - S),
        (NOW - 9 * S, False, NOW - 9 * S + 1, NOW - 9 * S + US),  # MySQL has no finer times
        (NOW - 9 * S, True, NOW - S, NOW - S),  # changed since the gap began
        (NOW - 9 * S, True, NOW - 20 * S, NOW - 2 * S),  # not changed: known again since the connection
        (NOW - 9 * S, True, NOW - 9 * S, NOW - 2 * S),
        (NOW + 3 * S, True, NOW, NOW + 3 * S + US),  # an IOC ahead of our clock: still after its gap
        (NOW - 9 * S, False, NOW + FUTURE_NS, NOW + FUTURE_NS),
    ],
)
def test_what_is_stored(last: int, in_gap: bool, stamp: int, stored: int) -> None:
    timeline = Timeline(last, in_gap, 0 if in_gap else last)
    assert timeline.admit(stamp, NOW, connected_ns=NOW - 2 * S) == stored
    assert timeline == Timeline(stored, False, stamp)


def test_an_equal_stamp_is_stored_once() -> None:
    timeline = Timeline(NOW - 9 * S, False, NOW - 9 * S)
    assert timeline.admit(NOW - 9 * S, NOW, NOW) is None


def test_an_ioc_whose_clock_is_behind_loses_nothing_after_a_gap() -> None:
    timeline = Timeline(NOW - 100 * S, False, NOW - 100 * S)
    timeline.gap(NOW)
    times = [
        timeline.admit(NOW - 60 * S + second * S, NOW + second * S, connected_ns=NOW + S) for second in range(1, 4)
    ]
    assert times == [NOW + S, NOW + S + US, NOW + S + 2 * US]
    with pytest.raises(BadStamp, match="backwards"):
        timeline.admit(NOW - 60 * S, NOW + 5 * S, connected_ns=NOW + S)


@pytest.mark.parametrize(
    ("stamp", "cause"),
    [
        (631_152_000 * S, "1990"),
        (631_152_000 * S + 400 * S, "1990"),
        (NOW - 10 * S, "backwards"),
        (NOW + FUTURE_NS + 1, "future"),
    ],
)
def test_stamps_that_cannot_be_right(stamp: int, cause: str) -> None:
    timeline = Timeline(NOW - 9 * S, False, NOW - 9 * S)
    with pytest.raises(BadStamp, match=cause):
        timeline.admit(stamp, NOW, NOW)
    assert timeline == Timeline(NOW - 9 * S, False, NOW - 9 * S)


def test_a_gap_begins_after_the_newest_sample() -> None:
    timeline = Timeline(NOW + S, False)
    assert timeline.gap(NOW) == NOW + S + US
    assert timeline.in_gap
    assert timeline.gap(NOW + 5 * S) == NOW + 5 * S


def test_a_value_that_is_still_in_force_comes_after_its_row() -> None:
    timeline = Timeline(NOW, False, NOW)
    assert timeline.repeat(NOW + 3600 * S) == NOW + 3600 * S
    assert timeline.repeat(NOW) == NOW + 3600 * S + US
    assert timeline.admit(NOW + S, NOW + 3600 * S, NOW) == NOW + 3600 * S + 2 * US
