"""What is stored of a PV by its policy, driven by hand: the clocks are the test's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from archiver.ca.listener import PvUpdate
from archiver.health import Cause
from archiver.recording import track as module
from archiver.recording.timeline import Timeline
from archiver.recording.track import Rule, Track
from archiver.sample import Dated, Gap, Metadata, Sample, Value
from archiver.settings import Policy, Quantity

S = 10**9
BEGIN = 1_800_000_000


class Recorder:
    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.described: list[tuple[str, Dated]] = []

    def add(self, sample: Sample) -> None:
        self.samples.append(sample)

    def add_metadata(self, pv: str, dated: Dated) -> None:
        self.described.append((pv, dated))

    @property
    def rows(self) -> list[tuple[float, Value]]:
        """Seconds since the beginning, and value."""
        return [(sample.time_ns / S - BEGIN, sample.value) for sample in self.samples]


class Clock:
    """Both clocks, from 0 and from BEGIN on."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int((BEGIN + self.now) * S)


# Make a track with a policy given by its keys
Make = Callable[..., Track]


class Send(Protocol):
    """Let a track have a value at a time (s after BEGIN)."""

    def __call__(self, track: Track, second: float, value: Value, severity: int = 0) -> None:
        """Set the clocks to that time."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def rejected() -> Counter[str]:
    return Counter()


@pytest.fixture
def make(clock: Clock, sink: Recorder, rejected: Counter[str]) -> Make:
    def make(**policy: Any) -> Track:
        track = Track("A", Rule.of(Policy(**policy)), sink, rejected, Timeline())
        track.connected()
        return track

    return make


@pytest.fixture
def send(clock: Clock) -> Send:
    def send(track: Track, second: float, value: Value, severity: int = 0) -> None:
        clock.now = second
        track.update(PvUpdate(clock.time_ns(), value, severity, "HIGH" if severity else "NO_ALARM"))
        track.tick(clock.now)

    return send


def test_every_update_is_stored_by_default(make: Make, send: Send, sink: Recorder) -> None:
    track = make()
    for second, value in ((0, 1.0), (0.1, 1.0), (0.2, 1.5)):
        send(track, second, value)
    assert [value for _, value in sink.rows] == [1.0, 1.0, 1.5]


@pytest.mark.parametrize(
    ("deadband", "stored"), [("0.5", [10.0, 10.5, 11.2]), ("10%", [10.0, 11.2]), (0, [10.0, 10.4, 10.5, 10.6, 11.2])]
)
def test_a_deadband_counts_from_the_row_before(
    make: Make, send: Send, sink: Recorder, deadband: Quantity, stored: list[float]
) -> None:
    track = make(deadband=deadband)
    for second, value in enumerate((10.0, 10.4, 10.5, 10.6, 11.2)):
        send(track, second, value)
    assert [value for _, value in sink.rows] == stored


@pytest.mark.parametrize("now", [3.0, 30.0])
def test_updates_that_were_lost_are_a_gap_until_the_last_of_them(
    make: Make, send: Send, sink: Recorder, clock: Clock, now: float
) -> None:
    track = make()
    send(track, 1, 1.0)
    clock.now = now
    track.lost((BEGIN + 2) * S)
    track.update(PvUpdate((BEGIN + 3) * S, 2.0, 0, "NO_ALARM"))
    assert sink.rows == [(1, 1.0), (2, Gap.OVERRUN), (3, 2.0)]


def test_updates_that_were_lost_hide_no_row_that_was_repeated_meanwhile(
    make: Make, send: Send, sink: Recorder, clock: Clock
) -> None:
    """The value is known from when it came: in between others were lost."""
    track = make(keep_alive="5s")
    send(track, 1, 1.0)
    clock.now = 10
    track.tick(clock.now)
    track.lost((BEGIN + 2) * S)
    clock.now = 11
    track.update(PvUpdate((BEGIN + 3) * S, 2.0, 0, "NO_ALARM"))
    times, values = zip(*sorted(sink.rows), strict=True)
    assert values == (1.0, Gap.OVERRUN, 1.0, Gap.OVERRUN, 2.0)
    assert times == pytest.approx((1, 2, 10, 10, 11), abs=1e-3)


def test_an_alarm_passes_every_filter(make: Make, send: Send, sink: Recorder) -> None:
    track = make(deadband=100, min_period="1h")
    for second, (value, severity) in enumerate([(1.0, 0), (1.1, 0), (1.2, 1), (1.3, 1), (1.4, 0)]):
        send(track, second, value, severity)
    assert sink.rows == [(0, 1.0), (2, 1.2), (4, 1.4)]


def test_a_chatty_pv_is_stored_once_in_its_period_and_its_last_value_is_not_lost(
    make: Make, send: Send, sink: Recorder, clock: Clock
) -> None:
    track = make(min_period="10s")
    for second in (0, 1, 2, 3):
        send(track, second, float(second))
    assert sink.rows == [(0, 0.0)]
    clock.now = 10
    track.tick(10)
    assert sink.rows == [(0, 0.0), (3, 3.0)]


def test_a_scan_stores_the_newest_value_at_full_periods(make: Make, send: Send, sink: Recorder, clock: Clock) -> None:
    track = make(scan="60s")
    for second in (10, 20, 59, 61, 100, 130):
        send(track, second, float(second))
    assert sink.rows == [(10, 10.0), (61, 61.0), (130, 130.0)]


def test_a_constant_pv_has_a_row_an_hour(make: Make, send: Send, sink: Recorder, clock: Clock) -> None:
    track = make()
    send(track, 0, 5.0)
    for second in range(0, 3 * 3600, 100):
        clock.now = second
        track.tick(second)
    assert sink.rows == [(0, 5.0), (3600, 5.0), (7200, 5.0)]


def test_the_keep_alive_stores_the_newest_value_also_inside_the_deadband(
    make: Make, send: Send, sink: Recorder, clock: Clock
) -> None:
    track = make(deadband=1, keep_alive="1m")
    send(track, 0, 5.0)
    send(track, 10, 5.4)
    clock.now = 60
    track.tick(60)
    assert sink.rows == [(0, 5.0), (60, 5.4)]


def test_the_last_value_before_a_gap_is_stored_also_inside_the_deadband(
    make: Make, send: Send, sink: Recorder, clock: Clock
) -> None:
    track = make(deadband=1)
    for second, value in ((0, 5.0), (1, 5.3), (2, 5.4), (4, 7.0)):
        send(track, second, value)
        if second in {2, 4}:
            clock.now = second + 1
            track.disconnected()
            track.connected()
    assert sink.rows == [
        *((0, 5.0), (2, 5.4), (3, "Disconnected")),
        *((4, 7.0), (5, "Disconnected")),
    ]


def test_a_disconnected_pv_has_no_keep_alive(make: Make, send: Send, sink: Recorder, clock: Clock) -> None:
    track = make(keep_alive="1m", min_period="1h")
    send(track, 0, 5.0)
    send(track, 1, 6.0)
    clock.now = 30
    track.disconnected()
    clock.now = 300
    track.tick(300)
    track.disconnected()
    assert sink.rows == [(0, 5.0), (1, 6.0), (30, "Disconnected")]


def test_the_value_in_force_is_stored_at_the_new_connection(
    make: Make, send: Send, sink: Recorder, clock: Clock
) -> None:
    track = make()
    send(track, 0, 5.0)
    clock.now = 10
    track.disconnected()
    clock.now = 20
    track.connected()
    track.update(PvUpdate(BEGIN * S, 5.0, 0, "NO_ALARM"))
    assert sink.rows == [(0, 5.0), (10, "Disconnected"), (20, 5.0)]


def test_what_is_rejected_is_counted_by_cause_and_named_once(
    make: Make, send: Send, sink: Recorder, rejected: Counter[str], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    track = make()
    send(track, 100, 5.0)
    for stamp in (50, 60, 99, 1000):
        track.update(PvUpdate((BEGIN + stamp) * S, 6.0, 0, "NO_ALARM"))
    assert rejected == {Cause.BACKWARDS: 3, Cause.FUTURE: 1}
    assert [record.getMessage() for record in caplog.records] == [
        f"A: rejecting samples: {Cause.BACKWARDS}; further ones are only counted",
        f"A: rejecting samples: {Cause.FUTURE}; further ones are only counted",
    ]
    send(track, 101, 7.0)
    assert [value for _, value in sink.rows] == [5.0, Gap.REJECTED_BACKWARDS, 7.0]


def test_a_value_that_has_not_changed_since_its_clock_was_ahead_is_known_from_the_connection_on(
    make: Make, send: Send, sink: Recorder, rejected: Counter[str], clock: Clock
) -> None:
    """A setting that nobody puts: until somebody does, perhaps in months, nothing else would be known of it."""
    setting = PvUpdate((BEGIN + 3600) * S, 5.0, 0, "NO_ALARM")
    clock.now = 10
    track = make()
    clock.now = 11
    for _ in range(2):
        track.update(setting)
    assert (sink.rows, track.repeated, rejected) == ([(10, 5.0)], 1, Counter())
    clock.now = 20
    track.disconnected()
    clock.now = 30
    track.connected()
    track.update(setting)
    send(track, 40, 6.0)
    clock.now = 41
    track.update(setting)  # no first value: its clock is wrong now
    assert sink.rows == [(10, 5.0), (20, Gap.DISCONNECTED), (30, 5.0), (40, 6.0), (41, Gap.REJECTED_FUTURE)]
    assert rejected == {Cause.FUTURE: 1}


def test_after_a_clock_was_set_back_a_stamp_of_before_holds_back_no_value_that_follows(
    sink: Recorder, send: Send, rejected: Counter[str], clock: Clock
) -> None:
    """An IOC whose stamps follow the clock: it was ahead by 90 s."""
    track = Track("A", Rule.of(Policy()), sink, rejected, Timeline(ahead_ns=(BEGIN + 90) * S))
    track.connected()
    for _ in range(2):
        track.update(PvUpdate((BEGIN + 88) * S, 5.0, 0, "NO_ALARM"))
    send(track, 1, 6.0)
    assert (sink.rows, rejected) == ([(0, 5.0), (1, 6.0)], Counter())


def test_a_stamp_that_is_right_is_not_compared_with_when_a_wrong_one_came(
    sink: Recorder, send: Send, rejected: Counter[str], clock: Clock
) -> None:
    """Of two values that come together the first still has a stamp of the clock that was ahead by 90 s."""
    track = Track("A", Rule.of(Policy()), sink, rejected, Timeline(ahead_ns=(BEGIN + 90) * S))
    track.connected()
    send(track, 1, 5.0)
    clock.now = 2
    track.update(PvUpdate((BEGIN + 88) * S, 6.0, 0, "NO_ALARM"))
    track.update(PvUpdate(int((BEGIN + 1.9) * S), 7.0, 0, "NO_ALARM"))
    send(track, 3, 8.0)
    assert [value for _, value in sink.rows] == [5.0, 6.0, 7.0, 8.0]
    assert [round(time, 5) for time, _ in sink.rows] == [1, 2, 2, 3]
    assert rejected == Counter()


def test_after_a_clock_was_set_back_values_whose_stamps_go_on_are_known_when_they_come(
    sink: Recorder, send: Send, rejected: Counter[str], clock: Clock
) -> None:
    """An IOC whose stamps go on by a microsecond each, as those of rackioc: until the clock is as far again."""
    track = Track("A", Rule.of(Policy()), sink, rejected, Timeline(ahead_ns=(BEGIN + 90) * S))
    track.connected()
    stamp = (BEGIN + 88) * S
    for clock.now in (0, 1, 40, 86):
        stamp += 1000
        track.update(PvUpdate(stamp, clock.now, 0, "NO_ALARM"))
    send(track, 89, 89.0)
    clock.now = 91
    track.update(PvUpdate((BEGIN + 121) * S, 121.0, 0, "NO_ALARM"))  # it is another clock that is ahead now
    times = [0, 1, 40, 86, 89, 121]
    assert (sink.rows, rejected) == ([(time, time) for time in times], Counter())


def test_the_end_is_marked_where_something_was_archived(
    make: Make, send: Send, sink: Recorder, clock: Clock, rejected: Counter[str]
) -> None:
    track = make()
    send(track, 0, 5.0)
    clock.now = 9
    track.end((BEGIN + 7) * S)
    assert sink.rows == [(0, 5.0), (7, "Archive_Off")]
    Track("B", Rule.of(Policy()), sink, rejected, Timeline()).end(0)  # never seen
    assert len(sink.samples) == 2


def put(track: Track, stamp: float, value: Value, severity: int = 0) -> None:
    """Let a track have a value with a stamp (s after BEGIN) without a move of the clocks."""
    track.update(PvUpdate(int((BEGIN + stamp) * S), value, severity, "HIGH" if severity else "NO_ALARM"))


def units(sink: Recorder) -> list[tuple[float, str]]:
    return [(dated.since_ns / S - BEGIN, dated.metadata.unit) for _, dated in sink.described]


def test_metadata_hold_from_the_row_that_came_with_them_by_its_stamp(
    make: Make, sink: Recorder, clock: Clock
) -> None:
    """The IOC was started again with another unit 30 s before it was found."""
    track = make()
    track.metadata_changed(Metadata("kV"))
    put(track, 0, 5.0)
    clock.now = 10
    track.disconnected()
    clock.now = 70
    track.connected()
    track.metadata_changed(Metadata("mV"))
    put(track, 40, 5.0)
    assert sink.rows == [(0, 5.0), (10, "Disconnected"), (40, 5.0)]
    assert units(sink) == [(0, "kV"), (40, "mV")]


def test_metadata_of_a_value_in_force_hold_from_the_connection(make: Make, sink: Recorder, clock: Clock) -> None:
    clock.now = 100
    track = make()
    track.disconnected()
    clock.now = 200
    track.connected()
    track.metadata_changed(Metadata("V"))
    put(track, 0, 5.0)
    assert sink.rows == [(0, 5.0)]  # never seen before: since its own stamp
    assert units(sink) == [(0, "V")]


def test_metadata_that_change_alone_come_with_a_row_of_the_value_in_force(
    make: Make, send: Send, sink: Recorder, clock: Clock
) -> None:
    track = make(deadband=1)
    track.metadata_changed(Metadata("V"))
    send(track, 0, 5.0)
    send(track, 10, 5.5)
    clock.now = 20
    track.metadata_changed(Metadata("kV"))
    clock.now = 20.5
    track.tick(20.5)  # a value may still be coming with them
    clock.now = 21
    track.tick(21)
    assert sink.rows == [(0, 5.0), (21, 5.5)]
    assert units(sink) == [(0, "V"), (21, "kV")]


def test_what_waits_when_metadata_change_is_stored_with_the_ones_before(
    make: Make, send: Send, sink: Recorder, clock: Clock
) -> None:
    track = make(min_period="1h")
    track.metadata_changed(Metadata("V"))
    send(track, 0, 5.0)
    send(track, 10, 6.0)
    track.metadata_changed(Metadata("kV"))
    send(track, 20, 7.0)
    assert sink.rows == [(0, 5.0), (10, 6.0), (20, 7.0)]
    assert units(sink) == [(0, "V"), (20, "kV")]


def test_equal_stamps_with_another_value_or_alarm_are_all_stored(
    make: Make, sink: Recorder, clock: Clock, rejected: Counter[str]
) -> None:
    """A device clock of whole seconds; only what says nothing new is dropped, and counted."""
    clock.now = 5
    track = make()
    for value, severity in ((10.0, 0), (70.0, 2), (70.0, 2), (70.0, 0), (float("nan"), 0), (float("nan"), 0)):
        put(track, 4, value, severity)
    assert [(sample.time_ns - (BEGIN + 4) * S, str(sample.value), sample.severity) for sample in sink.samples] == [
        (0, "10.0", 0),
        (1000, "70.0", 2),
        (2000, "70.0", 0),
        (3000, "nan", 0),
    ]
    assert (track.repeated, sum(rejected.values())) == (2, 0)


@pytest.mark.parametrize(
    ("stamp", "gap"),
    [
        (50, Gap.REJECTED_BACKWARDS),
        (1000, Gap.REJECTED_FUTURE),
        (631_152_000 - BEGIN, Gap.REJECTED_EPOCH1990),
    ],
)
def test_rejected_stamps_leave_a_mark_from_the_first_to_the_next_that_is_accepted(
    make: Make, send: Send, sink: Recorder, clock: Clock, stamp: float, gap: Gap
) -> None:
    track = make(keep_alive="1m", deadband=1)
    send(track, 100, 5.0)
    for second in (101, 102, 200):
        clock.now = second
        put(track, stamp, 6.0)
        track.tick(second)
    send(track, 300, 5.0)
    assert sink.rows == [(100, 5.0), (101, gap), (300, 5.0)]


def test_what_waited_is_stored_before_the_mark_of_rejected_stamps(make: Make, send: Send, sink: Recorder) -> None:
    track = make(min_period="1h")
    send(track, 0, 5.0)
    send(track, 10, 6.0)
    put(track, -50, 7.0)
    assert [value for _, value in sink.rows] == [5.0, 6.0, Gap.REJECTED_BACKWARDS]


def test_a_loss_of_the_connection_during_rejected_stamps_is_one_gap(
    make: Make, send: Send, sink: Recorder, clock: Clock
) -> None:
    track = make()
    send(track, 100, 5.0)
    put(track, 50, 6.0)
    clock.now = 110
    track.disconnected()
    clock.now = 120
    track.connected()
    put(track, 50, 6.0)  # the IOC's clock is what it is: after a connection nothing is compared with it
    assert [value for _, value in sink.rows] == [5.0, Gap.REJECTED_BACKWARDS, 6.0]
    assert sink.rows[-1][0] == 120


def test_old_metadata_still_hold_in_rows_of_the_archivers_clock_that_are_later(
    make: Make, sink: Recorder, clock: Clock
) -> None:
    """The IOC's clock is 60 s behind; after a gap its unit changes."""
    clock.now = 100
    track = make()
    track.metadata_changed(Metadata("V"))
    put(track, 0, 1.0)
    track.disconnected()
    clock.now = 101
    track.connected()
    track.metadata_changed(Metadata("V"))
    put(track, 0, 1.0)
    track.metadata_changed(Metadata("kV"))
    clock.now = 102
    put(track, 42, 2.0)
    found = [(round(second, 3), value) for second, value in sink.rows]
    assert found == [(0, 1.0), (100, "Disconnected"), (101, 1.0), (42, 2.0), (101, 2.0)]
    by_time = sorted(units(sink))
    assert [unit for second, unit in by_time if second < 42][-1] == "V"
    assert dict(by_time)[42] == "kV"
    assert dict(by_time)[101] == "V"
    assert by_time[-1][1] == "kV"


def test_metadata_hold_in_a_value_that_passes_all_later_rows_of_an_earlier_run(
    sink: Recorder, clock: Clock, rejected: Counter[str]
) -> None:
    """What held in those rows is of their time: nobody has dated it again behind them."""
    later_ns = [(BEGIN + second) * S for second in (60, 61)]
    track = Track(
        "A", Rule.of(Policy()), sink, rejected, Timeline.after([BEGIN * S, *later_ns], BEGIN * S, BEGIN * S)
    )
    clock.now = 1.0
    track.connected()
    track.metadata_changed(Metadata("V"))
    put(track, 1, 1.0)
    clock.now = 100.0
    put(track, 100, 2.0)
    put(track, 101, 3.0)
    assert [(round(second), unit) for second, unit in units(sink)] == [(1, "V"), (100, "V")]


@pytest.mark.parametrize("backup", [3.0, 7.0])
def test_in_another_archive_a_value_stands_where_it_came_so_that_one_on_its_way_follows(
    make: Make, send: Send, clock: Clock, sink: Recorder, backup: float
) -> None:
    """The other archive ends with a gap at ``backup``."""
    track = make()
    for second in range(6):
        send(track, second, float(second))
    clock.now = 10.0
    sink.samples.clear()
    track.renew(Timeline.after([int((BEGIN + backup) * S)], 0, int((BEGIN + backup) * S)))
    track.update(PvUpdate(int((BEGIN + 9.5) * S), 6.0, 0, "NO_ALARM"))  # sent before, and it comes now
    track.tick(clock.now)
    assert [value for _, value in sorted(sink.rows)] == [5.0, 6.0] if backup == 3.0 else [5.0, 5.0, 6.0]
    assert sorted(sink.rows)[-1] == (9.5, 6.0)
    assert all(time >= 5.0 for time, _ in sink.rows)


def test_in_another_archive_no_row_takes_the_place_of_one_on_its_way(
    make: Make, clock: Clock, sink: Recorder
) -> None:
    """Of two rows at one time a database keeps the first: of a clock of whole seconds, and of one that is behind."""
    for behind in (0, 30):
        sink.samples.clear()
        track, clock.now = make(), 1.0
        for tenth in range(100):
            clock.now = 100 + tenth / 10
            if tenth == 5:
                track.disconnected()
                track.connected()
            if tenth == 58:
                track.renew(Timeline.after([(BEGIN + 100) * S], 0, (BEGIN + 100) * S))
            track.update(PvUpdate((BEGIN + int(clock.now) - behind) * S, float(tenth), 0, "NO_ALARM"))
            track.tick(clock.now)
        stored: dict[int, Value] = {}
        for sample in sink.samples:
            stored.setdefault(sample.time_ns // 1000, sample.value)
        assert set(stored.values()) == {*map(float, range(100)), Gap.DISCONNECTED}


@pytest.mark.parametrize(
    ("precision", "deadband", "stored"),
    [
        (1, "1 digit", [1500.0, 1500.2, 1499.9, 1499.7]),
        (1, "2 digits", [1500.0, 1499.7]),
        (2, "1 digit", [1500.0, 1500.1, 1500.0, 1500.1, 1500.2, 1500.1, 1500.2, 1499.9, 1499.7]),
        (0, "1 digit", [1500.0, 1500.1, 1500.0, 1500.1, 1500.2, 1500.1, 1500.2, 1499.9, 1499.7]),
    ],
)
def test_a_deadband_of_a_digit_holds_back_a_last_digit_that_flickers(
    make: Make, send: Send, sink: Recorder, precision: int, deadband: str, stored: list[float]
) -> None:
    track = make(deadband=deadband)
    track.metadata_changed(Metadata("V", precision))
    values = [1500.0, 1500.1, 1500.0, 1500.1, 1500.2, 1500.1, 1500.2, 1499.9, 1499.7]
    for second, value in enumerate(values):
        send(track, second, value)
    assert [value for _, value in sink.rows] == stored
