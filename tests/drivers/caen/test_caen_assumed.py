"""What is assumed of a channel is not shown as true where it matters, and asked before a put depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from drivers.base import DeviceError, Look, Readings, Refused, Step, Wait
from sim.caen.channel import Channel
from sim.caen.crate import Board, Crate
from sim.caen.header import Code, Type, status_bits
from sim.caen.odd import OddChannel, odd_crate
from sim.caen.parameters import Param, Value
from tests.drivers.caen.test_caen_put_truth import outcome
from tests.drivers.crate_run import CrateRun, crate_run
from tests.drivers.test_caen_discovery import board

PW = "S01:C02:Pw"


class Reversed(Channel):
    """A channel whose switch has its words the other way round, as a list or as a switch."""

    switched_on = 0

    def switch(self, on: bool) -> None:
        """Power on or off."""
        self.switched_on += on
        super().switch(on)

    def get(self, name: str) -> Value:
        """Return the value of a parameter."""
        return int(not self.on) if name == "Pw" else super().get(name)

    def put(self, name: str, value: Value) -> None:
        """Set a parameter."""
        super().put(name, not value if name == "Pw" else value)


def reversed_crate(system: str) -> Crate:
    """A board of four channels, the third of which is odd."""
    made: Board = board(1, 4)
    odd = Reversed(made.channels[2].params.values(), status_bits(system), seed=2)
    odd.params["Pw"] = replace(odd.params["Pw"], onstate="Off", offstate="On")
    odd.values["V0Set"] = 1000.0
    odd.on, odd.volts = True, 1000.0
    made.channels[2] = odd
    return Crate(system, {1: made}, [])


class Truth(CrateRun):
    """A run that compares the switch, where it is shown as true, with the channel's."""

    wrong: list[str]

    def odd(self) -> Channel:
        """Return the odd channel."""
        return self.fake.model.channel(1, 2)

    def _take(self, block: Readings) -> None:
        super()._take(block)
        words: Any = next((point.states for point in self.driver.points if point.name == f"{PW}_RBV"), None)
        shown = self.log.get(f"{PW}_RBV", [(0, None)])[-1][1]
        read = f"{PW}_RBV" in block and shown is not None
        if read and words[shown].lower() != ("on" if self.odd().on else "off"):
            self.wrong.append(f"{self.clock.now:.2f} {words[shown]}")

    def served(self, calls: int) -> None:
        """Scan until the switch is served, and some calls more."""
        self.until(lambda: any(point.name == PW for point in self.driver.points))
        end = len(self.fake.transactions) + calls
        self.until(lambda: len(self.fake.transactions) >= end or not self._open_questions())

    def word(self, text: str) -> int:
        """Return the index of a word of the switch as it is served."""
        words = next(point.states for point in self.driver.points if point.name == PW)
        return [word.lower() for word in words].index(text)


@pytest.fixture(params=["switch", "list"])
def run(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Truth]:
    with crate_run(monkeypatch, reversed_crate) as run:
        run.__class__ = Truth
        assert isinstance(run, Truth)
        run.wrong = []
        if request.param == "list":
            run.odd().params["Pw"] = Param(name="Pw", type=Type.ENUM, enum=("ON", "OFF"), maxval=1)
        yield run
        assert run.wrong == []


@pytest.mark.parametrize("calls", [*range(0, 40, 3), 200, 1000])
def test_a_switch_with_other_words_is_never_shown_as_the_others_and_an_off_is_an_off(run: Truth, calls: int) -> None:
    run.served(calls)
    error = outcome(run, PW, run.word("off"))
    if error is not None:  # another kind of switch: it is repeated with the words that were learned
        assert not run.odd().on or not run.valid(f"{PW}_RBV")
        run.run(1.5)
        assert outcome(run, PW, run.word("off")) is None
    assert not run.odd().on
    run.run(3)
    assert run.valid(f"{PW}_RBV")
    assert outcome(run, PW, run.word("on")) is None
    assert run.odd().on
    run.run(3)


@pytest.mark.parametrize("calls", [*range(0, 40, 3), 200])
def test_an_on_is_sent_only_with_the_words_of_its_channel(run: Truth, calls: int) -> None:
    run.odd().switch(False)
    run.odd().volts = 0.0
    run.served(calls)
    error = outcome(run, PW, run.word("on"))
    assert run.odd().on == (error is None)
    assert error is None or isinstance(error, Refused)
    run.run(3)


def plain_crate(system: str) -> Crate:
    """A board of four channels, three of which were never asked for a word."""
    made: Board = board(1, 4)
    for channel in made.channels:
        channel.values["V0Set"] = 1000.0
        channel.on, channel.volts = True, 1000.0
    return Crate(system, {1: made}, [])


@pytest.mark.parametrize("state", ["on", "off", "ramps up", "ramps down", "tripped"])
def test_a_switch_whose_words_cannot_be_asked_is_shown_where_the_status_says_the_same_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    with crate_run(monkeypatch, plain_crate) as run:
        channel = run.fake.model.channel(1, 2)
        if state == "tripped":
            channel.trip()
        elif state == "ramps up":
            channel.volts, channel.values["RUp"] = 0.0, 1.0
        elif state in {"ramps down", "off"}:
            channel.switch(False)
            channel.volts, channel.values["RDWn"] = 0.0 if state == "off" else 1000.0, 1.0
        run.fault(function="GetChParamProp", slot=1, name="Pw", code=Code.READERR).channel = 2
        run.until(lambda: any(point.name == PW for point in run.driver.points))
        run.run(2)
        assert run.valid("S01:C02:Status")
        assert run.valid(f"{PW}_RBV") == (state in {"on", "off"})
        shown = run.values[f"{PW}_RBV"]
        assert not run.valid(f"{PW}_RBV") or shown == int(channel.on)


@pytest.mark.parametrize("code", [Code.READERR, Code.TIMEERR, Code.PARAMPROPNOTFOUND, Code.PARAMNOTFOUND])
def test_an_off_whose_words_cannot_be_asked_is_good_only_if_the_status_shows_it(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with crate_run(monkeypatch, reversed_crate) as run:
        fault = run.fault(function="GetChParamProp", slot=1, name="Pw", code=code)
        fault.channel = 2
        run.served = Truth.served.__get__(run)  # type: ignore[attr-defined]
        run.until(lambda: any(point.name == PW for point in run.driver.points))
        run.run(20)
        assert not run.valid(f"{PW}_RBV")
        assert isinstance(outcome(run, PW, 0), DeviceError)  # sent, and the channel is on
        assert not run.valid(f"{PW}_RBV")
        assert isinstance(outcome(run, PW, 1), Refused)  # not known: nothing is sent
        run.fake.faults.clear()
        run.until(lambda: run.valid(f"{PW}_RBV"), most=60)


@pytest.mark.parametrize("code", [Code.READERR, Code.TIMEERR, Code.SYSERR, Code.PARAMPROPNOTFOUND])
@pytest.mark.parametrize("prop", ["", "Type", "Mode"])
@pytest.mark.parametrize("settled", [False, True])
def test_an_off_goes_out_whatever_the_crate_does_not_tell_of_the_switch(
    monkeypatch: pytest.MonkeyPatch, settled: bool, prop: str, code: int
) -> None:
    """caen-libs asks for a parameter's type before it sets it for the first time, and again after each login."""
    with crate_run(monkeypatch, plain_crate) as run:
        run.until(lambda: any(point.name == PW for point in run.driver.points))
        if settled:
            run.settle()
        run.fault(function="GetChParamProp", slot=1, name="Pw", prop=prop, code=code).channel = 2
        run.fake.transactions.clear()
        outcome(run, PW, 0)
        assert run.fake.transactions[0].split()[1] == "SetChParam"
        assert not run.fake.model.channel(1, 2).on


def test_a_switch_is_valid_no_longer_than_the_status_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch, plain_crate) as run:
        run.fault(function="GetChParamProp", slot=1, name="Pw", code=Code.READERR).channel = 2
        run.until(lambda: run.valid(f"{PW}_RBV"))
        run.fake.model.channel(1, 2).trip()
        run.until(lambda: not run.valid(f"{PW}_RBV"), most=3)
        run.fake.model.channel(1, 2).tripped = False
        run.fake.model.channel(1, 2).switch(True)
        run.until(lambda: run.valid(f"{PW}_RBV"), most=30)
        run.fault(function="GetChParam", slot=1, name="Status", code=Code.READERR)
        run.until(lambda: not run.valid("S01:C02:Status") and not run.valid(f"{PW}_RBV"), most=5)


@pytest.mark.parametrize("calls", [*range(0, 40, 3), 200])
def test_an_off_to_a_channel_that_is_off_never_switches_it_on(run: Truth, calls: int) -> None:
    run.odd().switch(False)
    run.odd().volts = 0.0
    run.until(lambda: run.valid("S01:C02:Status"))
    run.served(calls)
    if outcome(run, PW, run.word("off")) is not None:  # another kind of switch
        run.run(1.5)
        assert outcome(run, PW, run.word("off")) is None
    assert not run.odd().on
    assert vars(run.odd()).get("switched_on", 0) == 0


def test_an_off_with_the_words_that_were_assumed_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch, reversed_crate) as run:
        run.until(lambda: any(point.name == "S01:C03:Pw" for point in run.driver.points))
        run.fake.transactions.clear()
        assert outcome(run, "S01:C03:Pw", 0) is None
        assert run.fake.transactions[0].split()[1] == "SetChParam"
        assert not run.fake.model.channel(1, 3).on


def steps_of_off(run: CrateRun) -> list[Step]:
    """Return the steps of an Off to the channel until it is shown."""
    point = next(point for point in run.driver.points if point.name == PW)
    steps = []
    with suppress(DeviceError):
        for step in run.driver.write(point, 0):
            steps.append(step)
            run.clock.now += step.seconds if isinstance(step, Wait) else 0.0
    return steps


def test_a_scan_may_show_an_off_only_where_the_word_that_was_sent_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch, plain_crate) as run:
        run.fault(function="GetChParamProp", slot=1, name="Pw", code=Code.READERR).channel = 2
        run.until(lambda: run.valid(f"{PW}_RBV"))
        assert not any(isinstance(step, Look) for step in steps_of_off(run))
        run.fake.faults.clear()
        run.settle()
        run.fake.model.channel(1, 2).switch(True)
        run.run(3)
        waits = [step for step in steps_of_off(run) if isinstance(step, Wait)]
        assert waits
        assert all(isinstance(step, Look) for step in waits)


def test_an_off_asks_for_no_more_than_the_word_that_has_been_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch, plain_crate) as run:
        run.until(lambda: run.valid(f"{PW}_RBV"))
        run.until(lambda: PW not in run.driver._inventory.sections[1].metadata.unconfirmed)
        assert PW in run.driver._inventory.sections[1].metadata.assumed
        run.fake.transactions.clear()
        assert outcome(run, PW, 0) is None
        asked = [text.split() for text in run.fake.transactions if "GetChParamProp" in text]
        assert {words[4] for words in asked} <= {"Type"}  # which caen-libs asks before its first GetChParam


@pytest.mark.parametrize(("name", "limit", "value"), [("V0Set", 500.0, 600.0), ("RUp", 10.0, 50.0)])
def test_the_limits_of_a_like_board_let_nothing_through_that_those_of_the_channel_refuse(
    monkeypatch: pytest.MonkeyPatch, name: str, limit: float, value: float
) -> None:
    """The crate itself would clip it without a word."""

    def crate(system: str) -> Crate:
        made = odd_crate(system)
        for channel in made.boards[4].channels:
            assert isinstance(channel, OddChannel)
            channel.fixed_limits = True
            channel.params = {**channel.params, name: replace(channel.params[name], maxval=limit)}
        made.clips = True
        return made

    with crate_run(monkeypatch, crate) as run:
        run.until(lambda: 4 in run.driver._inventory.sections)
        label = f"S04:C01:{name}"
        (point,) = (point for point in run.driver.points if point.name == label)
        assert label in run.driver._inventory.sections[4].metadata.assumed
        assert (point.drvh or 0.0) > value  # that of the like board
        assert isinstance(outcome(run, label, value), Refused)
        assert run.fake.writes == 0
        assert outcome(run, label, limit) is None


def _swapped(run: CrateRun, crate: Any) -> None:
    """Take the board out, let that be seen, and put that of another crate into the slot."""
    run.fake.do_pull(1)
    run.until(lambda: not run.driver._inventory.sections[1].present, most=30)
    other = crate("SY4527").boards[1]
    other.serial += 1
    for channel in other.channels:
        channel.on, channel.volts = False, 0.0
    run.fake.model.boards[1] = other


@pytest.mark.parametrize("kind", ["switch", "list"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("state", ["off", "on"])
def test_an_off_that_outlives_its_board_is_an_off_to_the_next_one_too(
    monkeypatch: pytest.MonkeyPatch, kind: str, reverse: bool, state: str
) -> None:
    """The number that was Off may be On there: a board is in the slot for seconds before it is served."""

    def odd(system: str) -> Crate:
        made = reversed_crate(system)
        if kind == "list":
            channel = made.boards[1].channels[2]
            channel.params["Pw"] = Param(name="Pw", type=Type.ENUM, enum=("ON", "OFF"), maxval=1)
        return made

    before, after = (plain_crate, odd) if reverse else (odd, plain_crate)
    with crate_run(monkeypatch, before) as run:
        run.settle()
        (point,) = (point for point in run.driver.points if point.name == PW)
        off = [word.lower() for word in point.states].index("off")
        assert point.safe == off
        _swapped(run, after)
        channel = run.fake.model.channel(1, 2)
        if state == "on":
            channel.on, channel.volts = True, 1000.0
        for _ in range(3):  # as a port repeats it
            outcome(run, PW, off)
            assert not channel.on
            run.clock.now += 1.0
        run.settle()
        assert not channel.on
        for step in run.driver.write(point, off):  # the port has the point of before
            assert not channel.on
            run.clock.now += step.seconds if isinstance(step, Wait) else 0.0
        run.run(3)
        assert not channel.on
        assert run.valid(f"{PW}_RBV")
