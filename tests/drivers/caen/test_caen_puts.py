"""Puts to a crate under faults at each of their calls, on a clock that passes only while somebody waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from drivers.base import BadReply, DeviceError, Energizes, LinkDown, RecordType, Refused, Severity, Value, Wait
from drivers.caen.formats import Choice, Switch
from drivers.caen.items import ChannelParameter, Command
from drivers.caen.session import BoardGone
from sim.caen.header import Code, Type
from sim.caen.odd import OddChannel, odd_crate
from sim.caen.parameters import Param
from tests.drivers.crate_run import CrateRun, crate_run

CHANNELS = {2: (0, 1), 4: (0,)}
V0SET, PW = "S02:C00:V0Set", "S02:C00:Pw"

# With these nothing was carried out; with the others it may have been: -5 and 0x5A5A are not in the header
REFUSALS = [Code.OUTOFRANGE, Code.PARAMNOTFOUND, Code.PARAMPROPNOTFOUND, Code.SLOTNOTPRES, Code.USERPASSFAILED]
UNKNOWN = [Code.SYSERR, Code.WRITEERR, Code.READERR, Code.TIMEERR, Code.SOCKETERROR, 23, 9, -5, 0x5A5A]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[CrateRun]:
    with crate_run(monkeypatch, odd_crate, channels=CHANNELS) as run:
        run.settle()
        yield run


def channel(run: CrateRun, slot: int = 2, number: int = 0) -> OddChannel:
    found = run.fake.model.channel(slot, number)
    assert isinstance(found, OddChannel)
    return found


def steps(run: CrateRun, name: str, value: Value) -> Iterator[object]:
    """The steps of a put, as a port does them."""
    (point,) = (point for point in run.driver.points if point.name == name)
    for step in run.driver.write(point, value):
        if isinstance(step, Wait):
            run.clock.now += step.seconds
        else:
            run._take(step)
        yield step


def outcome(run: CrateRun, name: str, value: Value) -> DeviceError | None:
    try:
        for _ in steps(run, name, value):
            pass
    except DeviceError as error:
        return error
    return None


def shown(run: CrateRun, name: str) -> Any:
    """What a client sees: the value, or None where it is INVALID."""
    return run.log[name][-1][1]


def count_calls(run: CrateRun) -> int:
    calls = len(run.fake.transactions)
    run.fake.transactions.clear()
    return calls


# ---- what the crate answers to the set ----


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("code", [*REFUSALS, *UNKNOWN])
@pytest.mark.parametrize(("name", "param", "value"), [(V0SET, "V0Set", 500.0), (PW, "Pw", 0), (PW, "Pw", 1)])
def test_a_put_is_judged_by_what_is_read_back_whatever_the_answer(
    run: CrateRun, name: str, param: str, value: Value, code: int, late: bool
) -> None:
    if value == 1:
        channel(run).switch(False)
        run.run(3)
    run.fault(function="SetChParam", code=code, late=late, left=1)
    error = outcome(run, name, value)
    assert shown(run, f"{name}_RBV") == channel(run).get(param)
    if channel(run).get(param) == value:
        assert error is None
    else:
        # An On that is not refused may come later; SLOTNOTPRES of a board that is there refuses nothing
        later = value == 1 and code in {*UNKNOWN, Code.SLOTNOTPRES}
        assert isinstance(error, BadReply if later else Refused)
        assert late is False


@pytest.mark.parametrize("code", UNKNOWN)
def test_the_readback_is_invalid_before_anything_else_is_done_when_the_answer_is_lost(
    run: CrateRun, code: int
) -> None:
    run.fault(function="SetChParam", code=code, late=True, left=1)
    run.fault(function="GetChParam", name="Pw", code=Code.READERR, left=3)
    putting = steps(run, PW, 0)
    first = next(putting)
    assert isinstance(first, dict)
    assert first[f"{PW}_RBV"].severity is Severity.INVALID
    assert list(putting)
    assert shown(run, f"{PW}_RBV") == 0


@pytest.mark.parametrize("code", [Code.READERR, Code.TIMEERR, 0x5A5A])
@pytest.mark.parametrize("set_code", [None, Code.WRITEERR])
def test_a_put_that_cannot_be_read_back_is_unknown_and_read_first_until_it_is(
    run: CrateRun, code: int, set_code: int | None
) -> None:
    if set_code is not None:
        run.fault(function="SetChParam", code=set_code, late=True, left=1)
    fault = run.fault(function="GetChParam", slot=2, channel=0, name="V0Set", code=code)
    error = outcome(run, V0SET, 500.0)
    assert error is not None
    assert not isinstance(error, Refused | LinkDown)
    assert shown(run, f"{V0SET}_RBV") is None
    run.run(5)
    assert shown(run, f"{V0SET}_RBV") is None
    fault.left = 0
    assert run.until(lambda: shown(run, f"{V0SET}_RBV") == 500.0) < 2.5
    assert run.logins == 1


@pytest.mark.parametrize("call", range(8))
@pytest.mark.parametrize("code", [Code.READERR, Code.TIMEERR, Code.SYSERR, 0x5A5A, Code.OUTOFRANGE, 20])
def test_one_fault_at_any_call_of_a_put_leaves_nothing_untrue(run: CrateRun, call: int, code: int) -> None:
    for late in (True, False):
        value = 600.0 + late
        run.fault(code=code, late=late, skip=call, left=1)
        error = outcome(run, V0SET, value)
        run.fake.faults.clear()
        seen = shown(run, f"{V0SET}_RBV")
        assert seen in (None, channel(run).get("V0Set"))
        assert (error is None) == (channel(run).get("V0Set") == value) or seen is None
        run.run(2.5)
        assert shown(run, f"{V0SET}_RBV") == channel(run).get("V0Set")


@pytest.mark.parametrize("code", [Code.SYSERR, Code.READERR])
def test_what_was_not_sent_is_refused(run: CrateRun, code: int) -> None:
    run.fault(function="GetChParamProp", name="V0Set", code=code)
    count_calls(run)
    error = outcome(run, V0SET, 500.0)
    assert isinstance(error, Refused)
    assert "not sent" in str(error)
    assert shown(run, f"{V0SET}_RBV") == 1000.0
    assert run.fake.writes == 0


def test_a_command_whose_answer_is_lost_is_unknown_and_one_that_is_not_there_refused(run: CrateRun) -> None:
    fault = run.fault(function="ExecComm", code=Code.TIMEERR, late=True)
    error = outcome(run, "Cmd:Kill", 1)
    assert error is not None
    assert not isinstance(error, Refused)
    fault.code = Code.EXECNOTFOUND
    assert isinstance(outcome(run, "Cmd:Kill", 1), Refused)


# ---- what the crate makes of a value ----


@pytest.mark.parametrize("before", [1000.0, 500.0])
def test_a_value_that_is_cut_off_is_told_and_shown_at_once(run: CrateRun, before: float) -> None:
    channel(run).values["V0Set"] = before
    run.run(12)
    channel(run).fixed_limits = True
    channel(run).ceilings["V0Set"] = 1000.0
    began = run.clock.now
    putting = steps(run, V0SET, 2400.0)
    while shown(run, f"{V0SET}_RBV") != 1000.0:
        next(putting)
    assert run.clock.now - began < 0.1
    with pytest.raises(Refused, match="2400 V was sent, but the crate reads back 1000 V"):
        list(putting)


def test_a_lower_limit_of_the_voltage_shows_in_the_setting_before_its_put_is_over(run: CrateRun) -> None:
    read = run.put("S02:C00:SVMax", 400.0)
    assert read[f"{V0SET}_RBV"] == 400.0
    assert run.put("S02:C00:SVMax", 450.0)[f"{V0SET}_RBV"] == 400.0


@pytest.mark.parametrize(
    ("name", "param", "digits", "top", "step", "asked", "taken"),
    [
        ("I0Set", "I0Set", 2, 3000.0, 0.05, 0.07, 0.05),  # 1470
        ("I0Set", "I0Set", 2, 3000.0, 0.05, 0.08, 0.1),
        ("I0Set", "I0Set", 2, 3000.0, 0.05, 0.02, 0.0),
        ("V0Set", "V0Set", 1, 8000.0, 0.2, 1000.5, 1000.4),
        ("V0Set", "V0Set", 2, 8000.0, 0.2, 1000.31, 1000.4),
        ("I0Set", "I0Set", 3, 300.0, 0.005, 1.002, 1.0),  # 1471
        ("V0Set", "V0Set", 1, 15000.0, 0.5, 700.2, 700.0),  # 1570
        ("V0Set", "V0Set", 1, 4000.0, 0.1, 700.26, 700.3),  # V6533
    ],
)
@pytest.mark.parametrize("lag", [0.0, 0.5])
def test_the_nearest_step_is_a_success_and_shown(
    run: CrateRun,
    name: str,
    param: str,
    digits: int,
    top: float,
    step: float,
    asked: float,
    taken: float,
    lag: float,
) -> None:
    from dataclasses import replace

    odd = channel(run)
    odd.params["SVMax"] = replace(odd.params["SVMax"], maxval=20000.0)
    odd.values["SVMax"] = 20000.0
    odd.params[param] = replace(odd.params[param], decimal=digits, maxval=top)
    odd.fixed_limits = True
    odd.steps[param] = step
    odd.values[param] = 50.0
    run.run(12)
    run.fake.model.lag = lag
    read = run.put(f"S02:C00:{name}", asked)
    assert read[f"S02:C00:{name}_RBV"] == pytest.approx(taken, abs=1e-4)


@pytest.mark.parametrize(("limit", "asked"), [(1000.0, 1000.4), (1000.0, 1200.0), (999.9, 1000.3)])
def test_a_value_cut_off_at_a_limit_that_is_known_is_no_step(run: CrateRun, limit: float, asked: float) -> None:
    odd = channel(run)
    odd.fixed_limits = True
    odd.values["SVMax"] = limit
    odd.ceilings["V0Set"] = limit
    run.run(12)
    assert isinstance(outcome(run, V0SET, asked), Refused)


# ---- switches ----


def test_a_switch_that_shows_the_output_is_off_as_soon_as_the_channel_comes_down(run: CrateRun) -> None:
    odd = channel(run)
    odd.shows_output = True
    read = run.put(PW, 0)
    assert read[PW] == 0
    assert shown(run, f"{PW}_RBV") == 1  # the crate says so
    assert outcome(run, PW, 0) is None  # once more, on the way down
    run.run(25)
    assert (odd.volts, shown(run, f"{PW}_RBV")) == (0.0, 0)
    assert run.put(PW, 1)[f"{PW}_RBV"] == 1


def test_a_channel_that_came_down_before_does_not_prove_that_it_was_switched_off(run: CrateRun) -> None:
    odd = channel(run)
    odd.shows_output = True
    run.put(V0SET, 100.0)
    run.run(2)
    odd.deaf.add("Pw")
    error = outcome(run, PW, 0)
    assert isinstance(error, Refused)
    assert "Off was sent, but the crate reads back On" in str(error)


@pytest.mark.parametrize(
    ("words", "first", "safe"),
    [
        (("Off", "On"), 0, 0),
        (("ON", "OFF"), 0, 1),
        (("Enabled", "Disabled"), 0, 1),
        (("Aus", "Ein"), 0, 0),
        (("Rampe", "Ein", "Aus"), -1, 1),
        (("On", "Kill", "Off"), 3, None),
    ],
)
@pytest.mark.parametrize("kind", [Switch, Choice])
def test_off_is_told_by_its_word_or_is_the_crates_0(
    words: tuple[str, ...], first: int, safe: int | None, kind: type[Choice]
) -> None:
    item = ChannelParameter(
        label="S02:C00:Pw", slot=2, channel=0, name="Pw", format=kind(words, first), writable=True
    )
    setting = next(item.points(""))
    assert setting.rtyp in (RecordType.bo, RecordType.mbbo)
    assert setting.safe == safe
    assert item.group == "monitor"


def test_a_kill_that_can_only_be_written_makes_things_safe() -> None:
    item = ChannelParameter(
        label="S00:C00:Kill", slot=0, channel=0, name="Kill", format=Switch(("Off", "On")), readable=False,
        writable=True,
    )  # fmt: skip
    assert [point.safe for point in item.points("")] == [1]


def test_a_switch_of_words_is_carried_out_by_word(run: CrateRun) -> None:
    odd = channel(run, 4, 0)
    odd.params["Pw"] = Param(name="Pw", type=Type.ENUM, enum=("OFF", "ON"), maxval=1)
    run.fake.model.pull(4)
    run.run(12)
    run.fake.model.insert(4)
    run.driver.close()
    run._up = False
    run.driver.__init__(run.driver._config)  # type: ignore[misc]  # a driver that knows nothing yet
    run.settle()
    (point,) = (point for point in run.driver.points if point.name == "S04:C00:Pw")
    assert (point.rtyp, point.safe) == (RecordType.mbbo, 0)
    run.put("S04:C00:Pw", 1)
    assert odd.on
    run.put("S04:C00:Pw", 0)
    assert not odd.on
    assert shown(run, "S04:C00:Pw_RBV") == 0


@pytest.mark.parametrize("name", ["S02:C00:Kill", "S02:Kill", "Cmd:Kill"])
def test_a_kill_undoes_what_waits_in_its_reach_only(run: CrateRun, name: str) -> None:
    slot = {"S02:C00:Kill": (2, 0), "S02:Kill": (2, None), "Cmd:Kill": (None, None)}[name]
    (kill,) = Command(label=name, slot=slot[0], channel=slot[1], name="Kill").points("")
    points = {point.name: point for point in run.driver.points}
    undone = {
        each for each in ("S02:C00:V0Set", "S02:C01:V0Set", "S04:C00:V0Set") if run.driver.undoes(kill, points[each])
    }
    assert len(undone) == {"S02:C00:Kill": 1, "S02:Kill": 2, "Cmd:Kill": 3}[name]
    assert not run.driver.undoes(points[PW], points[V0SET])
    assert run.driver.undoes(points[PW], points[PW])


# ---- boards that are gone ----


def test_an_off_is_sent_whatever_is_known_of_the_board(run: CrateRun) -> None:
    run.fake.model.pull(2)
    run.run(3)
    assert shown(run, f"{PW}_RBV") is None
    assert isinstance(outcome(run, V0SET, 500.0), Refused)
    count_calls(run)
    assert isinstance(outcome(run, PW, 0), Refused)
    assert any("SetChParam" in line for line in run.fake.transactions)
    run.fake.model.insert(2)
    channel(run).switch(True)
    assert outcome(run, PW, 0) is None
    assert not channel(run).on


def test_an_off_to_a_board_that_was_replaced_is_sent_by_its_old_name(run: CrateRun) -> None:
    (off,) = (point for point in run.driver.points if point.name == PW)
    other = channel(run)
    del run.driver._inventory.sections[2].table.items[PW]
    read: dict[str, object] = {}
    for step in run.driver.write(off, 0):
        if not isinstance(step, Wait):
            read |= step
    assert read == {}
    assert not other.on


@pytest.mark.parametrize(("name", "value"), [(V0SET, 250.0), ("S02:C00:I0Set", 20.0), (PW, 1)])
def test_a_put_under_way_is_not_sent_to_another_board_than_it_was_meant_for(
    run: CrateRun, name: str, value: Value
) -> None:
    pauses = 0
    while True:
        count_calls(run)
        putting = steps(run, name, value)
        for _ in range(pauses + 1):
            while not isinstance(next(putting), Wait):
                pass
        if any("SetChParam" in line for line in run.fake.transactions):
            break
        run.fake.model.boards[2].serial += 1
        for _ in run.driver.read("settings"):
            pass
        with pytest.raises(Refused):
            list(putting)
        assert not any("SetChParam" in line for line in run.fake.transactions)
        run.settle()
        pauses += 1
    assert pauses > 1


@pytest.mark.parametrize(("name", "value"), [(V0SET, 250.0), ("S02:C00:Name", "HALL"), (PW, 1)])
def test_a_put_that_waited_is_not_sent_to_the_board_that_has_come_meanwhile(
    run: CrateRun, name: str, value: Value
) -> None:
    run.run(3)
    (before,) = (point for point in run.driver.points if point.name == name)
    run.fake.model.boards[2].serial += 1
    run.settle()
    count_calls(run)
    with pytest.raises(Refused, match="meant for the board that was there before"):
        list(run.driver.write(before, value))
    assert not any("Set" in line for line in run.fake.transactions)
    assert outcome(run, name, value) is None
    run.driver.close()
    run._up = False
    run.settle()
    assert outcome(run, name, value) is None


def test_a_board_pulled_behind_a_put_leaves_its_outcome_unknown(run: CrateRun) -> None:
    putting = steps(run, PW, 0)
    next(putting)
    run.fake.model.pull(2)
    with pytest.raises(BoardGone):
        list(putting)
    assert shown(run, f"{PW}_RBV") is None


# ---- pauses ----


def test_no_step_of_a_put_takes_more_than_two_calls(run: CrateRun) -> None:
    channel(run).ceilings["V0Set"] = 900.0
    channel(run, 2, 1).shows_output = True
    for name, value in ((V0SET, 950.0), ("S02:C01:Pw", 0), ("S02:C00:I0Set", 20.0), ("S02:C00:SVMax", 800.0)):
        count_calls(run)
        calls = []
        putting = steps(run, name, value)
        try:
            for step in putting:
                if isinstance(step, Wait):
                    calls.append(count_calls(run))
        except Refused:
            pass
        assert max(calls) <= 2


def test_a_unit_that_another_put_moves_meanwhile_is_asked_again(run: CrateRun) -> None:
    count_calls(run)
    putting = steps(run, "S02:C00:I0Set", 20.0)
    while not any("I0Set Exp" in line for line in run.fake.transactions):
        next(putting)
    run.put("S02:C00:RUp", 20.0)
    count_calls(run)
    list(putting)
    asked = [line for line in run.fake.transactions if "I0Set Unit" in line]
    assert len(asked) == 1
    assert channel(run).values["I0Set"] == 20.0


# ---- settings that may have moved ----


def reads_of(run: CrateRun, name: str) -> list[str]:
    return [line for line in run.fake.transactions if line.split()[1] == "GetChParam" and f" {name} " in line]


def test_what_moves_with_a_status_word_is_read_in_one_call_for_all_channels(run: CrateRun) -> None:
    count_calls(run)
    for number in (0, 1):
        channel(run, 2, number).values["RUp"] = 66.0
        channel(run, 2, number).trip()
    assert run.until(lambda: shown(run, "S02:C01:RUp_RBV") == 66.0) < 1.5
    assert len(reads_of(run, "RUp")) == 1
    names = [line.split()[5] for line in run.fake.transactions if "GetChParam 2 [0, 1]" in line]
    assert names.index("V0Set") < names.index("RUp")


def test_the_end_of_a_ramp_costs_no_call(run: CrateRun) -> None:
    channel(run).volts = 960.0  # 0.8 s from the end
    run.run(1.05)
    assert channel(run).resting
    count_calls(run)
    run.run(1.0)
    assert not reads_of(run, "RUp")


@pytest.mark.parametrize("code", [Code.READERR, Code.TIMEERR])
def test_a_setting_that_may_have_moved_and_cannot_be_read_is_not_shown_as_true(run: CrateRun, code: int) -> None:
    fault = run.fault(function="GetChParam", slot=2, name="RUp", code=code, delay=0.5 if code == Code.TIMEERR else 0)
    channel(run).trip()
    run.until(lambda: shown(run, "S02:C00:RUp_RBV") is None, 3.0)
    hits = fault.hits
    run.run(60)
    assert fault.hits - hits < 40
    run.fake.faults.clear()
    assert run.until(lambda: shown(run, "S02:C00:RUp_RBV") == 50.0) < 45
    assert run.logins == 1


@pytest.mark.parametrize("state", ["on", "off", "ramps down", "tripped"])
def test_a_switch_on_tells_before_it_is_sent_whether_it_lets_voltage_out(run: CrateRun, state: str) -> None:
    """Where the channel ramps down its switch may be on still, as that of a desktop unit is."""
    if state == "tripped":
        channel(run).trip()
    elif state != "on":
        channel(run).switch(False)
        channel(run).volts, channel(run).values["RDWn"] = 1000.0 if state == "ramps down" else 0.0, 1.0
    point = next(each for each in run.driver.points if each.name == PW)
    sent = run.fake.writes
    told = False
    for step in run.driver.write(point, 1):
        if run.fake.writes > sent:
            break
        told |= isinstance(step, Energizes)
    assert told == (state != "on")


@pytest.mark.parametrize("code", [None, Code.WRITEERR, Code.TIMEERR, 0x5A5A])
@pytest.mark.parametrize("unread", [Code.READERR, Code.PARAMNOTFOUND, Code.TIMEERR, -5])
@pytest.mark.parametrize("function", ["GetChParam", "GetChParamProp"])
def test_an_off_is_shown_by_the_status_where_its_switch_cannot_be_read(
    run: CrateRun, function: str, unread: int, code: int | None
) -> None:
    run.fault(slot=2, channel=0, name="Pw", function=function, code=unread)
    if code is not None:
        run.fault(slot=2, name="Pw", function="SetChParam", code=code, late=True)
    with run.fake.present():
        channel(run).volts = 0.0  # it is on, and down at once
    assert outcome(run, PW, 0) is None
    assert not channel(run).on


@pytest.mark.parametrize("code", [None, Code.WRITEERR])
@pytest.mark.parametrize("unread", ["Status", ""])
def test_an_off_that_nothing_shows_is_not_over(run: CrateRun, unread: str, code: int | None) -> None:
    run.fault(slot=2, channel=0, name="Pw", function="GetChParam", code=Code.READERR)
    if unread:
        run.fault(slot=2, name=unread, function="GetChParam", code=Code.READERR)
    else:
        channel(run).deaf.add("Pw")
    if code is not None:
        run.fault(slot=2, name="Pw", function="SetChParam", code=code)
    assert isinstance(outcome(run, PW, 0), DeviceError)


def test_an_off_that_failed_is_not_shown_by_a_channel_that_was_off_before(run: CrateRun) -> None:
    with run.fake.present():
        channel(run).switch(False)
        channel(run).volts = 0.0
    run.run(3)
    run.fault(slot=2, channel=0, name="Pw", function="GetChParam", code=Code.READERR)
    run.fault(slot=2, name="Pw", function="SetChParam", code=Code.WRITEERR)
    assert isinstance(outcome(run, PW, 0), DeviceError)
