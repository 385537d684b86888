from __future__ import annotations

import pytest

from archiver.recording.timeline import FUTURE_NS, BadStamp, Timeline
from archiver.sample import Gap

S = 10**9
US = 1000
NOW = 1_800_000_000 * S
HOUR = 3600 * S


def valid(stamp_ns: int) -> Timeline:
    """The timeline of a PV whose value in force has that stamp."""
    timeline = Timeline()
    assert timeline.admit(stamp_ns, stamp_ns, stamp_ns) == stamp_ns
    return timeline


def lost(*rows_ns: int) -> Timeline:
    """The timeline of a PV whose rows of earlier runs end with a gap."""
    return Timeline.after(rows_ns, in_force_ns=max((row_ns for row_ns in rows_ns if row_ns <= NOW), default=0))


@pytest.mark.parametrize(
    ("timeline", "stamp", "stored"),
    [
        (lost(), NOW - 90 * S, NOW - 90 * S),  # first time ever: the IOC's stamp, however old
        (valid(NOW - 9 * S), NOW - S, NOW - S),
        (valid(NOW - 9 * S), NOW - 9 * S + 1, NOW - 9 * S + US),  # MySQL has no finer times
        (valid(NOW - 9 * S), NOW - 9 * S, NOW - 9 * S + US),  # a device clock of whole seconds
        (lost(NOW - 9 * S), NOW - S, NOW - S),  # changed since the gap began
        (lost(NOW - 9 * S), NOW - 20 * S, NOW - 2 * S),  # not changed: known again since the connection
        (lost(NOW - 9 * S), NOW - 9 * S, NOW - 2 * S),
        (valid(NOW - 9 * S), NOW + FUTURE_NS, NOW + FUTURE_NS),
    ],
)
def test_what_is_stored(timeline: Timeline, stamp: int, stored: int) -> None:
    timeline.check(stamp, NOW)
    assert timeline.admit(stamp, NOW, connected_ns=NOW - 2 * S) == stored
    assert timeline.gap is None
    assert timeline.stamp_ns == stamp


def test_an_ioc_ahead_of_our_clock_is_known_again_after_its_gap() -> None:
    timeline = valid(NOW + 3 * S)
    assert timeline.mark(NOW + S, Gap.DISCONNECTED) == NOW + 3 * S + US
    assert timeline.admit(NOW + 3 * S, NOW + 2 * S, connected_ns=NOW + 2 * S) == NOW + 3 * S + 2 * US


def test_an_ioc_whose_clock_is_behind_loses_nothing_after_a_gap_and_nothing_is_moved() -> None:
    """Each value stands at its stamp; what is known now is right, too."""
    timeline = valid(NOW - 100 * S)
    assert timeline.mark(NOW, Gap.DISCONNECTED) == NOW
    assert timeline.admit(NOW - 100 * S, NOW + S, connected_ns=NOW + S) == NOW + S
    times = []
    for second in range(2, 5):
        now = NOW + second * S
        times += [timeline.admit(now - 60 * S, now, connected_ns=NOW + S), timeline.again(now)]
    assert times[::2] == [NOW - 58 * S, NOW - 57 * S, NOW - 56 * S]
    assert times[1::2] == [NOW + S + US, NOW + S + 2 * US, NOW + S + 3 * US]
    now = NOW + 62 * S
    assert timeline.admit(now - 60 * S, now, connected_ns=NOW + S) == NOW + 2 * S
    assert timeline.again(now) is None
    with pytest.raises(BadStamp, match="backwards"):
        timeline.check(NOW - 60 * S, now)


@pytest.mark.parametrize("behind", [7, 30, 100])
def test_of_an_ioc_whose_clock_is_behind_each_value_stands_at_its_stamp_however_many_they_are(behind: int) -> None:
    """Ten values a second, up to the gap and behind it; at the two rows of the gap they come after these."""
    timeline = valid(NOW - behind * S)
    rows = [timeline.mark(NOW, Gap.DISCONNECTED), timeline.admit(NOW - behind * S, NOW + S, connected_ns=NOW + S)]
    for tenth in range(11, 10 * (behind + 3)):
        now = NOW + tenth * S // 10
        rows.append(timeline.admit(now - behind * S, now, connected_ns=NOW + S))
        assert 0 <= rows[-1] - (now - behind * S) < S // 100
        rows += [repeated] if (repeated := timeline.again(now)) else []
        assert len(timeline.dated_ns) + len(timeline.runs_ns) < 30
    assert len({row // US for row in rows}) == len(rows)
    assert (timeline.dated_ns, timeline.runs_ns) == ([], [])


def test_a_gap_of_a_clock_that_was_ahead_moves_no_value() -> None:
    timeline = lost(NOW + HOUR)  # the computer began with a clock that was an hour ahead
    assert timeline.admit(NOW - 90 * S, NOW, connected_ns=NOW) == NOW
    for second in (1, 2, 3):
        assert timeline.admit(NOW + second * S, NOW + second * S, connected_ns=NOW) == NOW + second * S
        assert timeline.again(NOW + second * S) is None
    assert timeline.again(NOW + HOUR) == NOW + HOUR + US  # there the value in force holds on
    assert timeline.again(NOW + HOUR + S) is None


@pytest.mark.parametrize("earlier", [(), (NOW - HOUR,)], ids=["forgotten", "remembered"])
def test_a_gap_of_a_clock_that_was_ahead_ends_where_the_value_came(earlier: tuple[int, ...]) -> None:
    """Whether rows before the newest value are still remembered changes nothing."""
    timeline = valid(NOW - 60 * S)
    timeline.mark(NOW + HOUR, Gap.REJECTED_EPOCH1990)
    timeline.dated_ns[:0] = earlier
    assert timeline.admit(NOW - 30 * S, NOW, connected_ns=NOW - 2 * HOUR) == NOW


def test_a_gap_is_repeated_after_a_row_of_a_clock_that_was_ahead() -> None:
    timeline = lost(NOW + HOUR)
    timeline.admit(NOW, NOW, connected_ns=NOW)
    assert timeline.mark(NOW + S, Gap.DISCONNECTED) == NOW + S
    assert timeline.again(NOW + 2 * S) is None
    assert timeline.again(NOW + HOUR + S) == NOW + HOUR + US
    assert timeline.gap is Gap.DISCONNECTED


@pytest.mark.parametrize("in_force", [(), (NOW - HOUR,), (NOW,)])
@pytest.mark.parametrize("ahead", [1, 2, 3000])
def test_before_its_first_value_a_run_marks_nothing_but_rows_that_its_clock_reaches(
    in_force: tuple[int, ...], ahead: int
) -> None:
    """What is in force when a run begins marks a gap, or there is nothing: neither has to be said again."""
    timeline = lost(*in_force, *(NOW + HOUR + number * S for number in range(ahead)))
    for now in (NOW, NOW + S, NOW + 60 * S):
        assert timeline.again(now) is None
    nearest = next(row for row in timeline.dated_ns if row > NOW)
    assert timeline.again(nearest + 1) == nearest + US
    assert timeline.gap is Gap.ARCHIVE_OFF


def test_of_many_later_rows_those_are_remembered_that_come_next() -> None:
    timeline = lost(NOW, *(NOW + number * S for number in range(1, 3001)))
    timeline.admit(NOW + S // 2, NOW + S // 2, connected_ns=NOW)
    assert timeline.again(NOW + 10 * S) == NOW + 10 * S + US


@pytest.mark.parametrize("ahead", [0, 1, 3000])
def test_a_clock_that_is_set_back_before_the_row_in_force_marks_what_is_known(ahead: int) -> None:
    timeline = lost(NOW, *(NOW + HOUR + number * S for number in range(ahead)))
    assert timeline.again(NOW - 60 * S) == NOW - 60 * S


def test_no_two_rows_share_a_microsecond() -> None:
    timeline = lost(NOW - 5 * S, NOW + 2 * S, NOW + 2 * S + US)
    assert timeline.admit(NOW, NOW, connected_ns=NOW) == NOW
    assert timeline.admit(NOW + 2 * S + 1, NOW + 2 * S, connected_ns=NOW) == NOW + 2 * S + 2 * US


def test_what_is_remembered_is_bounded() -> None:
    timeline = valid(NOW)
    for hour in range(1, 5000):
        timeline.repeat(NOW + hour * HOUR)
    assert len(timeline.dated_ns) < 30
    timeline.check(NOW + HOUR, NOW + 5000 * HOUR)
    assert timeline.admit(NOW + HOUR, NOW + 5000 * HOUR, connected_ns=NOW) > NOW + 4900 * HOUR  # no row is met twice
    timeline = lost(*(NOW + second * S for second in range(50_000)))
    for second in range(2000):
        timeline.mark(NOW + second * S // 2, Gap.DISCONNECTED)
    assert len(timeline.dated_ns) < 2000
    assert timeline.dated_ns[-1] == NOW + 49_999 * S


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
    with pytest.raises(BadStamp, match=cause):
        valid(NOW - 9 * S).check(stamp, NOW)


def test_after_rejected_stamps_a_value_is_known_since_it_came() -> None:
    timeline = valid(NOW)
    assert timeline.mark(NOW + S, Gap.REJECTED_BACKWARDS) == NOW + S
    with pytest.raises(BadStamp, match="backwards"):
        timeline.check(NOW - 1, NOW + 2 * S)
    assert timeline.admit(NOW, NOW + 9 * S, connected_ns=NOW - S) == NOW + 9 * S


def test_after_a_connection_a_stamp_may_go_back() -> None:
    timeline = valid(NOW)
    timeline.mark(NOW + S, Gap.DISCONNECTED)
    timeline.check(NOW - HOUR, NOW + 2 * S)
    assert timeline.admit(NOW - HOUR, NOW + 2 * S, connected_ns=NOW + 2 * S) == NOW + 2 * S


def test_a_gap_begins_after_the_newest_sample() -> None:
    timeline = valid(NOW + S)
    assert timeline.mark(NOW, Gap.DISCONNECTED) == NOW + S + US
    assert timeline.mark(NOW + 5 * S, Gap.ARCHIVE_OFF) == NOW + 5 * S


def test_a_value_that_is_still_in_force_comes_after_its_row() -> None:
    timeline = valid(NOW)
    assert timeline.repeat(NOW + HOUR) == NOW + HOUR
    assert timeline.repeat(NOW + HOUR) == NOW + HOUR + US


def test_what_is_known_is_stored_again_when_the_clock_was_set_back() -> None:
    """At the time that it is now the newest row would still be the gap of the run before."""
    timeline = lost(NOW - HOUR)
    assert timeline.admit(NOW - 2 * HOUR, NOW + HOUR, connected_ns=NOW + HOUR) == NOW + HOUR
    assert timeline.again(NOW + 5 * S) == NOW + 5 * S
    assert timeline.again(NOW + 6 * S) is None
    assert timeline.again(NOW + HOUR) == NOW + HOUR + US
