"""An Off or a kill that a crate answers and does not carry out is not told as done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drivers.base import NotShown, Point, Refused, Wait
from sim.caen.header import Code
from sim.caen.odd import odd_crate
from sim.caen.parameters import Value
from tests.drivers.caen.test_caen_put_truth import channel_of, outcome
from tests.drivers.crate_run import CrateRun, crate_run

PW = "S02:C00:Pw"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[CrateRun]:
    with crate_run(monkeypatch, odd_crate, channels={2: (0, 1), 4: (0,)}) as run:
        run.settle()
        yield run


def point_of(run: CrateRun) -> Point:
    (point,) = (point for point in run.driver.points if point.name == PW)
    return point


@pytest.mark.parametrize("shows_on", [True, False])
def test_an_off_that_is_lost_before_the_crate_shows_the_on_before_it_is_not_believed(
    run: CrateRun, monkeypatch: pytest.MonkeyPatch, shows_on: bool
) -> None:
    channel = channel_of(run)
    channel.switch(False)
    channel.volts = 0.0
    run.run(12)
    steps = run.driver.write(point_of(run), 1)
    while not channel.on:
        next(steps)
    channel.deaf = {"Pw"}
    get, lag = channel.get, run.clock.now + 0.8
    hidden = {"Pw"} if shows_on else {"Pw", "Status"}
    monkeypatch.setattr(channel, "get", lambda name: 0 if name in hidden and run.clock.now < lag else get(name))
    assert isinstance(outcome(run, PW, 0), Refused)
    assert not run.driver.shown(point_of(run), 0, {f"{PW}_RBV": 0})
    channel.deaf = set()
    assert outcome(run, PW, 0) is None
    assert not channel.on


def test_an_off_of_a_channel_that_comes_down_is_shown_at_once(run: CrateRun) -> None:
    began = run.clock.now
    assert outcome(run, PW, 0) is None
    assert run.clock.now - began < 0.1
    assert run.driver.shown(point_of(run), 0, {f"{PW}_RBV": 0})


@pytest.mark.parametrize("took", [0.0, 1.2])
@pytest.mark.parametrize(("name", "value", "desktop"), [(PW, 0, True), (PW, 0, False), ("Cmd:Kill", 1, False)])
def test_an_off_is_not_told_as_done_while_the_on_before_it_may_come_behind_it(
    run: CrateRun, monkeypatch: pytest.MonkeyPatch, name: str, value: int, desktop: bool, took: float
) -> None:
    channel = channel_of(run)
    channel.shows_output = desktop
    put, get, late = channel.put, channel.get, [0.0]

    def put_later(parameter: str, raw: Value) -> None:
        if parameter == "Pw" and raw:
            run.clock.now += took
            late[0] = run.clock.now + 0.7
        else:
            put(parameter, raw)

    def get_behind(parameter: str) -> Value:
        if 0.0 < late[0] <= run.clock.now:
            late[0] = -1.0
            put("Pw", 1)
        return get(parameter)

    monkeypatch.setattr(channel, "put", put_later)
    monkeypatch.setattr(channel, "get", get_behind)
    steps = run.driver.write(point_of(run), 1)
    while not late[0]:
        next(steps)
    assert isinstance(outcome(run, name, value), Refused)
    assert channel.on
    run.run(1)
    assert outcome(run, name, value) is None
    assert not channel.on


def test_an_off_that_is_repeated_in_vain_does_not_fill_the_line(
    run: CrateRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = channel_of(run)
    channel.deaf = {"Pw"}
    get = channel.get
    reads: list[str] = []

    def counted(name: str) -> object:
        reads.append(name)
        return get(name)

    monkeypatch.setattr(channel, "get", counted)
    looks = []
    for _ in range(3):
        assert isinstance(outcome(run, PW, 0), Refused)
        looks.append(reads.count("Pw"))
        reads.clear()
    assert looks == [6, 1, 1]
    channel.deaf = set()
    assert outcome(run, PW, 0) is None
    assert not channel.on


def test_a_kill_that_is_answered_and_not_carried_out_is_repeated(run: CrateRun) -> None:
    fault = run.fault(function="ExecComm", code=Code.OK)
    assert isinstance(outcome(run, "Cmd:Kill", 1), NotShown)
    assert fault.hits == 1
    assert "Cmd:Kill is pending" in str(outcome(run, PW, 1))
    run.fake.faults.clear()
    assert outcome(run, "Cmd:Kill", 1) is None
    assert not any(channel.on for channel in run.fake.model.all_channels())
    assert outcome(run, PW, 1) is None


def test_a_kill_that_is_sent_once_more_is_not_shown_by_what_was_off_before(run: CrateRun) -> None:
    fault = run.fault(function="ExecComm", code=Code.OK)
    first, *others = run.fake.model.all_channels()
    first.kill()
    assert isinstance(outcome(run, "Cmd:Kill", 1), NotShown)
    first.switch(True)
    for channel in others:
        channel.kill()
    assert isinstance(outcome(run, "Cmd:Kill", 1), NotShown)
    assert fault.hits == 2
    assert first.on
    run.fake.faults.clear()
    assert outcome(run, "Cmd:Kill", 1) is None
    assert not first.on


@pytest.mark.parametrize("on", [True, False])
def test_an_on_pauses_after_each_call_for_an_off_that_comes_meanwhile(run: CrateRun, on: bool) -> None:
    if not on:
        channel_of(run).switch(False)
        channel_of(run).volts = 0.0
        run.run(12)
    run.fake.transactions.clear()
    calls = []
    for step in run.driver.write(point_of(run), 1):
        if isinstance(step, Wait):
            calls.append([line.split()[1] for line in run.fake.transactions])
            run.fake.transactions.clear()
    assert ["SetChParam"] in calls
    assert all(len(each) <= 1 for each in calls)
