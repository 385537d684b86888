import pytest

from archiver.sample import Gap, Sample
from archiver.timeline import FUTURE_NS, Refused, Timeline

S = 10**9
NOW = 1_800_000_000 * S


def sample(time_ns):
    return Sample("A", time_ns, 1.0, 0, "NO_ALARM")


@pytest.mark.parametrize(
    ("last", "in_gap", "stamp", "stored"),
    [
        (0, True, NOW - 90 * S, NOW - 90 * S),  # first time ever: the IOC's stamp, however old
        (NOW - 9 * S, False, NOW - S, NOW - S),
        (NOW - 9 * S, False, NOW - 9 * S, NOW - 9 * S),  # the store takes equal stamps once
        (NOW - 9 * S, True, NOW - S, NOW - S),  # changed since the gap began
        (NOW - 9 * S, True, NOW - 20 * S, NOW - 2 * S),  # not changed: known again since the connection
        (NOW - 9 * S, True, NOW - 9 * S, NOW - 2 * S),
        (NOW + 3 * S, True, NOW, NOW + 3 * S + 1),  # an IOC ahead of our clock: still after its gap
        (NOW - 9 * S, False, NOW + FUTURE_NS, NOW + FUTURE_NS),
    ],
)
def test_what_is_stored(last, in_gap, stamp, stored):
    timeline = Timeline("A", last, in_gap, 0 if in_gap else last)
    assert timeline.admit(sample(stamp), NOW, connected_ns=NOW - 2 * S) == sample(stored)
    assert timeline == Timeline("A", stored, False, stamp)


def test_an_ioc_whose_clock_is_behind_loses_nothing_after_a_gap():
    timeline = Timeline("A", NOW - 100 * S, False, NOW - 100 * S)
    timeline.mark(Gap.DISCONNECTED, NOW)
    times = [
        timeline.admit(sample(NOW - 60 * S + second * S), NOW + second * S, connected_ns=NOW + S).time_ns
        for second in range(1, 4)
    ]
    assert times == [NOW + S, NOW + S + 1, NOW + S + 2]
    with pytest.raises(Refused, match="backwards"):
        timeline.admit(sample(NOW - 60 * S), NOW + 5 * S, connected_ns=NOW + S)


@pytest.mark.parametrize(
    ("stamp", "cause"),
    [
        (631_152_000 * S, "1990"),
        (631_152_000 * S + 400 * S, "1990"),
        (NOW - 10 * S, "backwards"),
        (NOW + FUTURE_NS + 1, "future"),
    ],
)
def test_what_is_refused(stamp, cause):
    timeline = Timeline("A", NOW - 9 * S, False, NOW - 9 * S)
    with pytest.raises(Refused, match=cause):
        timeline.admit(sample(stamp), NOW, NOW)
    assert timeline == Timeline("A", NOW - 9 * S, False, NOW - 9 * S)


def test_a_gap_begins_after_the_newest_sample():
    timeline = Timeline("A", NOW + S, False)
    assert timeline.mark(Gap.DISCONNECTED, NOW) == Sample("A", NOW + S + 1, "Disconnected", 3, "Disconnected")
    assert timeline.in_gap
    assert timeline.mark(Gap.ARCHIVE_OFF, NOW + 5 * S).time_ns == NOW + 5 * S
