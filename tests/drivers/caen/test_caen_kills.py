"""A kill is repeated until the status words show it, and does not kill what was switched on later."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from drivers.base import DeviceError, NoReply, NotShown, Point, Readings, Refused
from sim.caen.header import Code, Mode, Type
from sim.caen.odd import odd_crate
from sim.caen.parameters import Param
from tests.drivers.caen.crate_rig import crate_rig
from tests.drivers.caen.test_caen_put_truth import outcome
from tests.drivers.crate_run import CrateRun, crate_run

PW = "S02:C00:Pw"


class Watching(CrateRun):
    """A run that offers all that scans read to the driver, as a port does, while a kill is pending."""

    kill: Point
    shown_at: float | None
    putting = False

    def send_kill(self) -> DeviceError | None:
        """Put the kill; what is read in the course of it is the put's own, as in a port."""
        self.putting = True
        try:
            return outcome(self, "Cmd:Kill", 1)
        finally:
            self.putting = False

    def _take(self, block: Readings) -> None:
        super()._take(block)
        if self.shown_at is None and not self.putting and self.driver.shown(self.kill, 1, block):
            self.shown_at = self.clock.now


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watching]:
    with crate_run(monkeypatch, odd_crate, channels={2: (0, 1), 4: (0,)}) as run:
        run.settle()
        run.__class__ = Watching
        assert isinstance(run, Watching)
        (run.kill,) = (point for point in run.driver.points if point.name == "Cmd:Kill")
        run.shown_at = None
        yield run


def channels(run: CrateRun) -> list[Any]:
    return [run.fake.model.channel(2, 0), run.fake.model.channel(2, 1), run.fake.model.channel(4, 0)]


@pytest.mark.parametrize("code", [Code.TIMEERR, Code.WRITEERR, 0x5A5A])
def test_a_kill_whose_answer_is_lost_is_shown_by_the_status_words(run: Watching, code: int) -> None:
    run.fault(function="ExecComm", code=code, late=True)
    assert isinstance(outcome(run, "Cmd:Kill", 1), DeviceError)
    assert not any(channel.on for channel in channels(run))
    run.run(2)
    assert run.shown_at is not None
    assert outcome(run, PW, 1) is None


@pytest.mark.parametrize("code", [Code.TIMEERR, Code.WRITEERR, Code.EXECNOTFOUND])
def test_an_on_is_refused_while_a_kill_is_pending_and_an_off_is_not(run: Watching, code: int) -> None:
    channels(run)[0].switch(False)
    run.run(25)
    run.fault(function="ExecComm", code=code)
    assert isinstance(outcome(run, "Cmd:Kill", 1), DeviceError)
    run.run(3)
    assert run.shown_at is None  # two channels are on
    error = outcome(run, PW, 1)
    assert isinstance(error, Refused)
    assert "Cmd:Kill is pending" in str(error)
    assert not channels(run)[0].on
    assert outcome(run, "S02:C01:Pw", 0) is None
    assert outcome(run, "S02:C01:V0Set", 500.0) is None
    assert outcome(run, "Cmd:Kill", 0) is None  # given up
    assert outcome(run, PW, 1) is None


@pytest.mark.parametrize(
    "param", [Param(name="Kill", type=Type.CMD), Param(name="Kill", type=Type.ONOFF, mode=Mode.WRONLY)]
)
def test_a_kill_of_a_channel_forbids_the_on_of_that_channel_alone(
    monkeypatch: pytest.MonkeyPatch, param: Param
) -> None:
    with crate_run(monkeypatch, odd_crate, channels={2: (0, 1)}) as run:
        for each in run.fake.model.boards[2].channels:
            each.params["Kill"], each.values["Kill"] = param, 0
        run.settle()
        run.fault(function="SetChParam", name="Kill", code=Code.TIMEERR)
        assert isinstance(outcome(run, "S02:C00:Kill", 1), NoReply)
        assert isinstance(outcome(run, PW, 1), Refused)
        assert outcome(run, "S02:C01:Pw", 1) is None


def test_a_kill_waits_for_a_board_that_the_crate_has_and_does_not_answer_for(run: Watching) -> None:
    run.fault(slot=4, code=Code.SLOTNOTPRES)
    run.until(lambda: not run.driver._inventory.sections[4].present)
    run.fake.transactions.clear()
    for _ in range(8):
        assert "slot 4" in str(run.send_kill())
        run.run(1)
    assert sum("GetCrateMap" in line for line in run.fake.transactions) == 4  # it costs the types of all parameters
    assert run.shown_at is None
    assert isinstance(outcome(run, PW, 1), Refused)
    run.fake.faults.clear()
    channels(run)[2].switch(True)  # it did not hear the kill
    run.until(lambda: run.valid("S04:C00:Status"))
    assert run.shown_at is None
    assert isinstance(outcome(run, PW, 1), Refused)
    assert run.send_kill() is None
    assert not any(channel.on for channel in channels(run))
    assert outcome(run, PW, 1) is None


def test_a_kill_that_waits_for_a_board_is_shown_when_that_is_back_and_off(run: Watching) -> None:
    run.fault(slot=4, code=Code.SLOTNOTPRES)
    run.until(lambda: not run.driver._inventory.sections[4].present)
    assert isinstance(run.send_kill(), NotShown)
    run.fake.faults.clear()
    run.until(lambda: run.shown_at is not None)
    assert outcome(run, PW, 1) is None


@pytest.mark.parametrize("noticed", [True, False])
def test_a_kill_does_not_wait_for_a_board_that_was_pulled(run: Watching, *, noticed: bool) -> None:
    run.fake.model.pull(4)  # the crate map says so
    run.until(lambda: not noticed or not run.driver._inventory.sections[4].present)
    if not noticed:
        assert isinstance(run.send_kill(), NotShown)
        run.until(lambda: not run.driver._inventory.sections[4].present)
    assert run.send_kill() is None
    assert outcome(run, PW, 1) is None


@pytest.mark.parametrize("shown", [False, True])
def test_a_kill_asks_for_the_map_at_once_also_where_another_one_waited_for_it(run: Watching, *, shown: bool) -> None:
    for _ in range(2):
        run.fault(slot=4, code=Code.SLOTNOTPRES)
        run.until(lambda: not run.driver._inventory.sections[4].present)
        run.fake.transactions.clear()
        assert isinstance(run.send_kill(), NotShown)
        assert any("GetCrateMap" in line for line in run.fake.transactions)
        for _ in range(8):
            assert isinstance(run.send_kill(), NotShown)
            run.run(1)
        run.fake.faults.clear()
        run.shown_at = None
        run.until(lambda: run.shown_at is not None if shown else run.valid("S04:C00:Status"))
        assert shown or run.send_kill() is None


def test_a_kill_waits_for_boards_that_were_not_asked_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch, odd_crate, channels={2: (0, 1), 4: (0,)}) as run:
        run.until(lambda: any(point.name == "Cmd:Kill" for point in run.driver.points))
        assert run.driver.exploring
        fault = run.fault(function="ExecComm", code=Code.OK)
        assert isinstance(outcome(run, "Cmd:Kill", 1), NotShown)
        assert fault.hits == 1
        run.settle()
        assert run.fake.model.channel(2, 0).on
        run.fake.faults.clear()
        assert outcome(run, "Cmd:Kill", 1) is None
        assert not run.fake.model.channel(2, 0).on


def test_a_kill_that_was_carried_out_is_not_repeated_on_what_is_switched_on_later() -> None:
    async def scenario() -> None:
        async with crate_rig() as rig:
            rig.fault(function="ExecComm", code=Code.TIMEERR, late=True)
            await rig.put("Cmd:Kill", 1)  # good: the status words show it
            assert rig.state("Cmd:Kill:ExecutePending")[0] == 0
            await rig.put(PW, 1)
            await asyncio.sleep(2.5)
            assert rig.channel().on
            rig.fault(function="ExecComm", code=Code.TIMEERR)  # one that is not carried out
            kill = asyncio.create_task(rig.put("Cmd:Kill", 1))
            await rig.until(lambda: rig.state("Cmd:Kill:ExecutePending")[0] == 1)
            await asyncio.sleep(0.3)
            with pytest.raises(Refused, match="pending"):
                await rig.put("S02:C01:Pw", 1)
            await rig.put("Cmd:Kill", 0)
            with pytest.raises(DeviceError):
                await kill
            assert rig.channel().on
            await rig.put("S02:C01:Pw", 1)
            await asyncio.sleep(1.5)
            assert rig.channel(2, 1).on

    asyncio.run(scenario())
