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
from archiver.sample import Dated, Metadata, Sample, Value
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
    assert sink.rows == [(100, 5.0), (101, 7.0)]


def test_the_end_is_marked_where_something_was_archived(
    make: Make, send: Send, sink: Recorder, clock: Clock, rejected: Counter[str]
) -> None:
    track = make()
    send(track, 0, 5.0)
    clock.now = 9
    track.end()
    assert sink.rows == [(0, 5.0), (9, "Archive_Off")]
    Track("B", Rule.of(Policy()), sink, rejected, Timeline()).end()  # never seen
    assert len(sink.samples) == 2


def test_metadata_are_dated(make: Make, sink: Recorder, clock: Clock) -> None:
    clock.now = 5
    make().metadata_changed(Metadata("V"))
    assert [(pv, dated.since_ns / S - BEGIN, dated.metadata.unit) for pv, dated in sink.described] == [("A", 5, "V")]
