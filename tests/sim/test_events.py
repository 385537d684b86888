"""What a fake heard and did, and how its true state changed, as an observer reads it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from sim import events
from sim.control import Control, send
from sim.events import Events, flat
from sim.rack import Rack
from sim.se521.fake import ThermometerFake
from sim.se521.thermometer import Thermometer
from sim.technix.fake import TechnixFake
from sim.technix.generator import Generator


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def fake(clock: Time) -> TechnixFake:
    fake = TechnixFake("/nowhere", Generator(), clock=clock)
    fake.run("watch")
    return fake


def states(fake: TechnixFake, name: str) -> list[tuple[float, object]]:
    return [(event.time, event.value) for event in fake.events.since(0)[1] if event.what == f"is:{name}"]


def test_each_change_of_the_true_state_is_an_event_with_its_time(fake: TechnixFake, clock: Time) -> None:
    clock.now = 2.0
    fake.run("interlock open")
    clock.now = 3.0
    fake.run("interlock close")
    assert states(fake, "Interlock") == [(0.0, 0), (2.0, 1), (3.0, 0)]
    assert states(fake, "Fault") == [(0.0, 0), (2.0, 1)]


def test_what_moves_by_less_than_its_deadband_is_no_event_but_zero_is(fake: TechnixFake) -> None:
    for kv in (0.05, 0.08, 0.3, 0.35, 0.0):
        with fake.present() as generator:
            generator.on, generator.kv = True, kv
    assert [value for _, value in states(fake, "VMon")] == [0.0, 0.05, 0.3, 0.0]


def test_unwatched_only_what_goes_over_the_wire_is_recorded(clock: Time) -> None:
    fake = TechnixFake("/nowhere", Generator(), clock=clock)
    fake.record("E -> E65")
    fake.run("fault")
    assert [(event.what, event.value) for event in fake.events.since(0)[1]] == [
        ("wire", "E -> E65"),
        ("fault", "fault"),
    ]


def test_a_command_that_only_looks_is_no_event(fake: TechnixFake) -> None:
    for line in ("state", "events", "log", "violations", "writes", "help"):
        fake.run(line)
    assert [event for event in fake.events.since(0)[1] if event.what == "fault"] == []


def test_a_part_that_is_gone_has_no_value(clock: Time) -> None:
    record = Events(clock)
    record.changed({"S02:Temp": 30.0, "S04:Temp": 31.0}, {})
    record.changed({"S02:Temp": 30.0}, {})
    assert record.since(2)[1] == [(0.0, "is:S04:Temp", None)]


def test_old_events_are_dropped_and_the_reader_is_told_from_where_it_reads(
    clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST", 3)
    record = Events(clock)
    for number in range(5):
        record.add("heard", number)
    first, kept = record.since(1)
    assert (first, [event.value for event in kept]) == (2, [2, 3, 4])
    assert record.since(4)[1][0].value == 4


def test_events_are_read_page_by_page_over_the_control_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAGE", 2)
    fake = TechnixFake("/nowhere", Generator())
    control = Control({"GEN": fake}, str(tmp_path / "control"))
    try:
        for number in range(3):
            fake.events.add("heard", str(number))
        page = json.loads(send(control.path, "GEN events 0"))
        assert [value for _, _, value in page["events"]] == ["0", "1"]
        page = json.loads(send(control.path, f"GEN events {page['next']}"))
        assert [value for _, _, value in page["events"]] == ["2"]
    finally:
        control.close()


def test_events_of_several_threads_are_all_counted(clock: Time) -> None:
    record = Events(clock)

    def hear() -> None:
        for _ in range(500):
            record.add("heard", "E")

    threads = [threading.Thread(target=hear) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert record.count == len(record.since(0)[1]) == 2000


def test_a_fake_without_words_of_its_own_tells_all_of_its_model(clock: Time) -> None:
    fake = ThermometerFake("A1", Thermometer(), clock)
    fake.run("watch")
    fake.run("open 3")
    assert ("is:open.2", True) in [(event.what, event.value) for event in fake.events.since(0)[1]]
    assert flat({"a": {"b": [1, 2]}}) == {"a.b.0": 1, "a.b.1": 2}


def test_the_state_of_a_crate_is_told_in_the_words_of_its_parameters() -> None:
    keys = {"driver": "caen", "host": "crate-of-events"}
    rack = Rack({"HV": keys})
    fake = rack.fakes["HV"]
    fake.run("watch")
    fake.run("front 2 0 V0Set 77")
    fake.run("pull 4")
    told = {event.what: event.value for event in fake.events.since(0)[1]}
    assert told["is:S02:C00:V0Set"] == 77
    assert told["is:S02:C00:Pw"] == 1
    assert told["is:S04:C00:V0Set"] is None
