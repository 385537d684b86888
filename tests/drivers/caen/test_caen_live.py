"""Puts and changes as clients see them: a crate behind a real port and instrument, in real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from drivers.base import BadReply, DeviceError, Refused, Status, Value
from sim.caen.crate import Crate
from sim.caen.faults import Call
from sim.caen.header import Code, Mode, Type
from sim.caen.login import Login
from sim.caen.odd import odd_crate
from sim.caen.parameters import Param
from tests.drivers.caen.crate_rig import CrateRig, crate_rig

pytestmark = pytest.mark.quiet

V0SET, PW = "S02:C00:V0Set", "S02:C00:Pw"
# Seconds in which a monitor scan shows what has happened: its period, and some for the machine
SCAN = 1.3


def go(scenario: Callable[[CrateRig], Awaitable[None]], **keys: Any) -> None:
    async def main() -> None:
        async with crate_rig(**keys) as rig:
            await scenario(rig)

    asyncio.run(main())


def test_puts_that_wait_for_their_reading_back_hold_up_neither_scans_nor_an_off() -> None:
    async def scenario(rig: CrateRig) -> None:
        for place in ((2, 1), (2, 2), (4, 0)):
            rig.channel(*place).ceilings["V0Set"] = 900.0
        stop = False

        async def client(name: str) -> int:
            count = 0
            while not stop:
                with pytest.raises(Refused, match="950 V was sent, but the crate reads back 900 V"):
                    await rig.put(name, 950.0)
                count += 1
            return count

        clients = [asyncio.create_task(client(f"{at}:V0Set")) for at in ("S02:C01", "S02:C02", "S04:C00")]
        times = []
        for _ in range(25):
            await asyncio.sleep(0.1)
            times.append(rig.number("ScanTime"))
        assert max(times) < 900  # ms
        assert rig.state("Overruns")[1] == "NO_ALARM"
        rig.calls()
        await rig.put(PW, 0)
        before_off = [call for call in rig.calls() if "Pw 0 ->" in call or "Pw" not in call]
        assert next(n for n, call in enumerate(before_off) if "SetChParam 2 [0] Pw 0" in call) <= 2
        stop = True
        assert min(await asyncio.gather(*clients)) >= 2

    go(scenario)


def test_what_the_crate_cut_off_is_shown_before_the_put_has_failed() -> None:
    async def scenario(rig: CrateRig) -> None:
        rig.channel().ceilings["V0Set"] = 1500.0
        putting = asyncio.create_task(rig.put(V0SET, 2400.0))
        assert await rig.shows(f"{V0SET}_RBV", 1500.0) < 0.3
        assert rig.state(V0SET) == (1500.0, "NO_ALARM")
        assert not putting.done()
        with pytest.raises(Refused):
            await putting

    go(scenario)


def test_a_lower_limit_shows_in_the_setting_that_it_moved_when_its_put_is_over() -> None:
    async def scenario(rig: CrateRig) -> None:
        await rig.put("S02:C00:SVMax", 700.0)
        await rig.shows(V0SET, 700.0, seconds=0.05)

    go(scenario)


TRIPS: dict[str, Callable[[CrateRig], None]] = {
    "trip": lambda rig: rig.channel().trip(),
    "kill": lambda rig: rig.fake.model.execute("Kill"),
    "panel": lambda rig: rig.channel().switch(False),
    "interlock": lambda rig: rig.fake.model.board(2).values.update({"BdIlk": 1}),
    "power": lambda rig: rig.fake.model.board(2).power_down(),
}


def test_whatever_switches_a_channel_off_shows_in_its_switch_within_a_scan() -> None:
    async def scenario(rig: CrateRig) -> None:
        for at, (cause, act) in enumerate(TRIPS.items()):
            rig.fake.model.board(2).values["BdIlk"] = 0
            for channel in rig.fake.model.all_channels():
                channel.disabled = False
                channel.switch(True)
                channel.volts = channel.target
            await rig.put(PW, 1)
            await rig.shows(f"{PW}_RBV", 1)
            await asyncio.sleep(0.13 * at)  # at another moment of the scan
            act(rig)
            assert await rig.shows(f"{PW}_RBV", 0) < SCAN, cause
            assert rig.state(PW) == (0, "NO_ALARM")

    go(scenario)


@pytest.mark.parametrize("word", ["ramp", "trip"])
def test_settings_that_moved_with_the_status_are_read_in_the_same_scan(word: str) -> None:
    async def scenario(rig: CrateRig) -> None:
        rig.channel().values |= {"RUp": 77.0, "V0Set": 800.0}  # 800 V: it comes down, which its status shows
        if word == "trip":
            rig.channel().trip()
        assert await rig.shows("S02:C00:RUp", 77.0) < SCAN
        await rig.shows(V0SET, 800.0, seconds=0.5)

    go(scenario)


def test_a_switch_whose_answer_was_lost_is_invalid_at_once_and_then_what_it_is() -> None:
    async def scenario(rig: CrateRig) -> None:
        await rig.put(PW, 0)
        rig.fault(function="SetChParam", name="Pw", code=Code.TIMEERR, late=True, left=1)
        rig.fault(function="GetChParam", name="Pw", code=Code.READERR, skip=1, left=2)
        began = len(rig.screen.log[f"{PW}_RBV"])
        await rig.put(PW, 1)
        states = [state for _, state in rig.screen.log[f"{PW}_RBV"][began:]]
        assert states[0][1] == "INVALID"
        assert states[-1] == (1, "NO_ALARM")
        assert rig.state(PW) == (1, "NO_ALARM")

    go(scenario)


def test_a_switch_on_of_which_nothing_is_known_is_followed_by_off() -> None:
    async def scenario(rig: CrateRig) -> None:
        await rig.put(PW, 0)
        rig.fault(function="SetChParam", name="Pw", code=Code.SYSERR, late=True, left=1)
        fault = rig.fault(function="GetChParam", name="Pw", code=Code.READERR, skip=1)
        began = time.monotonic()
        with pytest.raises(DeviceError) as raised:
            await rig.put(PW, 1)
        assert not isinstance(raised.value, Refused)
        await rig.until(lambda: not rig.channel().on)
        assert time.monotonic() - began < 3
        assert rig.state(f"{PW}_RBV")[1] == "INVALID"
        assert rig.state(f"{PW}:OffPending") == (1, "MAJOR")
        fault.left = 0
        await rig.shows(f"{PW}_RBV", 0)
        await rig.shows(f"{PW}:OffPending", 0)

    go(scenario)


@pytest.mark.parametrize("code", [None, Code.WRITEERR])
def test_an_on_that_the_crate_takes_when_an_interlock_closes_is_followed_by_off(code: Code | None) -> None:
    async def scenario(rig: CrateRig) -> None:
        channel = rig.channel()
        await rig.put(PW, 0)
        with rig.fake.present():
            channel.volts = 0.0
        await rig.shows("S02:C00:Status", 0)
        channel.interlocked = True
        if code is not None:
            rig.fault(function="SetChParam", name="Pw", code=code, late=True, left=1)
        with pytest.raises(BadReply, match="On was sent, but the crate reads back Off"):
            await rig.put(PW, 1)
        await rig.until(lambda: rig.state(f"{PW}:OffPending")[0] == 0)
        with rig.fake.present():
            channel.close_interlock()
        await rig.shows(PW, 0)
        await rig.shows(f"{PW}_RBV", 0)
        assert not channel.on

    go(scenario)


def test_a_switch_on_that_fails_behind_a_trip_that_is_not_shown_yet_is_followed_by_off() -> None:
    async def scenario(rig: CrateRig) -> None:
        await rig.put(PW, 1)
        await rig.shows(f"{PW}_RBV", 1)
        rig.channel().trip()
        rig.fault(function="SetChParam", name="Pw", code=Code.TIMEERR, late=True, left=1)
        read_back = rig.fault(function="GetChParam", name="Pw", code=Code.TIMEERR, skip=1)
        with pytest.raises(DeviceError):
            await rig.put(PW, 1)
        read_back.left = 0
        await rig.until(lambda: not rig.channel().on)
        await rig.shows(f"{PW}:OffPending", 0)
        assert not rig.channel().on

    go(scenario)


def test_a_switch_that_cannot_be_read_is_not_switched_on() -> None:
    async def scenario(rig: CrateRig) -> None:
        await rig.put(PW, 0)
        fault = rig.fault(function="GetChParam", name="Pw", code=Code.READERR)
        writes = rig.fake.writes
        with pytest.raises(Refused, match="cannot be read whether it is on"):
            await rig.put(PW, 1)
        assert rig.fake.writes == writes
        fault.left = 0
        await rig.put(PW, 1)

    go(scenario)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        (PW, 1, {"function": "GetChParam", "name": "Pw", "code": Code.READERR}),
        (PW, 1, {"code": Code.NOTCONNECTED}),
        ("S02:C00:V0Set", 900.0, {"code": Code.NOTCONNECTED}),
    ],
)
def test_a_put_that_fails_before_it_is_sent_is_not_told_as_sent(
    name: str, value: Value, fault: dict[str, Any]
) -> None:
    async def scenario(rig: CrateRig) -> None:
        await rig.put(PW, 0)
        writes = rig.fake.writes
        rig.fault(**fault)
        with pytest.raises(DeviceError) as caught:
            await rig.put(name, value)
        assert rig.fake.writes == writes
        assert "sent, but" not in str(caught.value)

    go(scenario)


def test_an_off_to_a_board_that_was_pulled_is_carried_out_when_it_is_back() -> None:
    async def scenario(rig: CrateRig) -> None:
        rig.fake.model.pull(2)
        with suppress(Refused):
            await rig.put(PW, 0)
        assert rig.state(f"{PW}:OffPending") == (1, "MAJOR")
        rig.fake.model.insert(2)
        rig.channel().switch(True)
        await rig.until(lambda: not rig.channel().on, 3)
        await rig.shows(f"{PW}:OffPending", 0)

    go(scenario)


def test_an_off_that_outlives_its_board_is_told_in_its_words_and_in_those_of_the_next_one() -> None:
    async def scenario(rig: CrateRig) -> None:
        rig.fake.model.pull(2)
        with suppress(Refused):
            await rig.put(PW, 0)
        board = rig.fake.model.pulled[2]
        board.serial = 9102
        for channel in board.channels:
            channel.params["Pw"] = replace(channel.params["Pw"], onstate="Yes", offstate="No")
        rig.fake.model.insert(2)
        rig.channel().switch(True)
        rig.channel().deaf = {"Pw"}
        await rig.until(lambda: f"{PW}:NoPending" in rig.instrument.records, 20)
        for word in ("Off", "No"):
            assert rig.state(f"{PW}:{word}Pending") == (1, "MAJOR")
        rig.channel().deaf = set()
        for word in ("Off", "No"):
            await rig.shows(f"{PW}:{word}Pending", 0)
        assert not rig.channel().on

    go(scenario)


@pytest.mark.parametrize("serial", [9002, 9102], ids=["the same board", "another board"])
def test_a_setting_that_cannot_be_read_is_not_known_once_its_board_was_pulled(
    monkeypatch: pytest.MonkeyPatch, serial: int
) -> None:
    def crate(system: str) -> Crate:
        model = odd_crate(system)
        for channel in model.boards[2].channels:
            channel.params["Mask"] = Param(name="Mask", type=Type.ONOFF, mode=Mode.WRONLY)
            channel.values["Mask"] = 0
        return model

    async def scenario(rig: CrateRig) -> None:
        name = "S02:C00:Mask"
        record = rig.instrument.records[name]
        for _ in range(2):
            await rig.put(name, 1)
            assert rig.state(name) == (1, "NO_ALARM")
            await asyncio.sleep(SCAN)
            assert rig.state(name) == (1, "NO_ALARM")
            rig.fake.model.pull(2)
            await rig.shows(name, 1, "INVALID", SCAN)
            rig.fake.model.pulled[2].serial = serial
            rig.fake.model.insert(2)
            await rig.until(lambda: not rig.channel().on and rig.state("S02:C00:VMon")[1] == "NO_ALARM", 20)
            await asyncio.sleep(SCAN)
            assert (rig.state(name), record.stat) == ((1, "INVALID"), Status.UDF)

    monkeypatch.setattr("tests.drivers.caen.crate_rig.odd_crate", crate)
    go(scenario)


@pytest.mark.parametrize("code", [Code.TIMEERR, Code.READERR, Code.SOCKETERROR])
def test_offs_are_all_sent_to_a_crate_that_hears_and_answers_nothing_any_more(code: Code) -> None:
    async def scenario(rig: CrateRig) -> None:
        rig.fault(code=code, late=True, delay=0.3)
        await asyncio.sleep(0.4)  # the first Off is in the midst of what has failed
        names = [f"S{slot:02d}:C{number:02d}:Pw" for slot in (2, 4) for number in range(2)]
        putting = [asyncio.create_task(rig.put(name, 0)) for name in names]
        channels = [rig.channel(slot, number) for slot in (2, 4) for number in range(2)]
        assert all(channel.on for channel in channels)
        await rig.until(lambda: not any(channel.on for channel in channels), 5)
        rig.fake.faults.clear()
        await asyncio.gather(*putting, return_exceptions=True)
        for name in names:
            await rig.shows(f"{name}:OffPending", 0)

    go(scenario)


def die(rig: CrateRig, monkeypatch: pytest.MonkeyPatch, code: Code, at: Callable[[int], None]) -> list[str]:
    """Let each call fail after 0.3 s, until the crate is logged in to; return their names, as they come.

    ``at`` is called in the rig's loop when a call has begun, with its number.
    """
    calls: list[str] = []
    loop, hit, login = asyncio.get_running_loop(), rig.fake.hit, rig.fake.login

    def fail(call: Call) -> int:
        loop.call_soon_threadsafe(at, len(calls))
        calls.append(call.function)
        time.sleep(0.3)
        return code

    def log_in(*keys: str) -> Login:
        calls.append("login")
        monkeypatch.setattr(rig.fake, "hit", hit)
        return login(*keys)

    monkeypatch.setattr(rig.fake, "hit", fail)
    monkeypatch.setattr(rig.fake, "login", log_in)
    return calls


# The calls at which an Off is put: what fails before that is asked, and the four that ask for a second
_MOMENTS = {Code.SYSERR: range(3, 8), Code.TIMEERR: range(6), Code.SOCKETERROR: range(5)}


@pytest.mark.parametrize(
    ("name", "code", "moment"),
    [
        *((PW, code, moment) for code, moments in _MOMENTS.items() for moment in moments),
        *(("Cmd:Kill", Code.TIMEERR, moment) for moment in (1, 2)),
    ],
)
def test_an_off_waits_for_two_calls_at_most_while_a_crate_is_asked_whether_it_is_dead(
    monkeypatch: pytest.MonkeyPatch, name: str, code: Code, moment: int
) -> None:
    async def scenario(rig: CrateRig) -> None:
        putting: list[asyncio.Task[None]] = []
        off, value = ("SetChParam", 0) if name == PW else ("ExecComm", 1)

        def put(call: int) -> None:
            if call == moment:
                putting.append(asyncio.create_task(rig.put(name, value)))

        calls = die(rig, monkeypatch, code, put)
        await rig.until(lambda: off in calls)
        assert calls.index(off) <= moment + 2
        monkeypatch.undo()
        await asyncio.gather(*putting, return_exceptions=True)
        await rig.until(lambda: not rig.channel().on)

    go(scenario)


@pytest.mark.parametrize(("name", "value"), [(PW, 0), ("Cmd:Kill", 1)])
def test_an_off_is_sent_to_a_crate_that_lets_one_log_in_and_tells_no_boards(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    async def scenario(rig: CrateRig) -> None:
        fault = rig.fault(function="GetCrateMap", code=Code.SOCKETERROR)
        calls = die(rig, monkeypatch, Code.SOCKETERROR, lambda call: None)
        await rig.until(lambda: "login" in calls)
        await rig.until(lambda: rig.state("Conn")[0] != 1, 10)
        putting = asyncio.create_task(rig.put(name, value))
        await rig.until(lambda: not rig.channel().on, 5)
        assert rig.state(f"{PW}_RBV") == (1, "INVALID")
        fault.left = 0
        await rig.shows(f"{PW}_RBV", 0, seconds=15)
        monkeypatch.undo()
        await asyncio.gather(putting, return_exceptions=True)

    go(scenario)


def test_offs_that_go_between_do_not_keep_a_dead_crate_from_being_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(rig: CrateRig) -> None:
        putting: list[asyncio.Task[None]] = []

        def put_all(call: int) -> None:
            if call == 0:
                names = [f"S{slot:02d}:C{number:02d}:Pw" for slot in (2, 4) for number in range(4)]
                putting.extend(asyncio.create_task(rig.put(name, 0)) for name in names)

        calls = die(rig, monkeypatch, Code.SOCKETERROR, put_all)
        await rig.until(lambda: "login" in calls)
        offs = [call == "SetChParam" for call in calls[: calls.index("login")]]
        assert offs[:4] == [False, False, True, False]  # what failed, the first that asks, an Off, the second
        assert offs.count(True) == 8
        monkeypatch.undo()
        await asyncio.gather(*putting, return_exceptions=True)
        await rig.until(lambda: not any(channel.on for channel in rig.fake.model.all_channels()))

    go(scenario)


def test_many_offs_are_all_sent_before_the_slow_reading_back() -> None:
    async def scenario(rig: CrateRig) -> None:
        rig.fake.model.lag = 0.5
        began = time.monotonic()
        names = [f"S{slot:02d}:C{number:02d}:Pw" for slot in (2, 4) for number in range(4)]
        putting = [asyncio.create_task(rig.put(name, 0)) for name in names]
        await rig.until(lambda: not any(channel.on for channel in rig.fake.model.all_channels()))
        assert time.monotonic() - began < 0.3
        await asyncio.gather(*putting)

    go(scenario)
