"""What a crate has is asked under faults and with odd answers: in the end all that can be read is served."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from drivers.base import Refused
from sim.caen.boards import PLAIN, PLAIN_BOARD
from sim.caen.channel import Channel
from sim.caen.crate import Board, Crate
from sim.caen.header import Code, Mode, PropertyType, Type, Unit, status_bits
from sim.caen.parameters import Param, Property
from tests.drivers.crate_run import CrateRun, crate_run

# With these a crate says that it does not have a thing: PARAMPROPNOTFOUND, PARAMNOTFOUND, FUNCTIONNOTAVAILABLE, ...
DENIALS = [Code.PARAMPROPNOTFOUND, Code.PARAMNOTFOUND, Code.PROPNOTFOUND, Code.NOTYETIMPLEMENTED, 27]
CODES = [Code.SYSERR, Code.READERR, Code.TIMEERR, Code.SLOTNOTPRES, 6, 20, 23, -5, Code.SOCKETERROR, 0x5A5A]
FUNCTIONS = [
    *("GetCrateMap", "TestBdPresence", "GetSysPropList", "GetSysPropInfo", "GetSysProp", "GetExecCommList"),
    *(
        "GetBdParamInfo",
        "GetBdParamProp",
        "GetBdParam",
        "GetChParamInfo",
        "GetChParamProp",
        "GetChParam",
        "GetChName",
    ),
]


def board(slot: int, channels: int, *, params: tuple[Param, ...] = PLAIN, model: str = "SIM1") -> Board:
    """A small board whose channels are on."""
    made = Board(model, "a board", 7 + slot, PLAIN_BOARD)
    for number in range(channels):
        channel = Channel(params, status_bits("SY4527"), seed=number)
        channel.name = f"S{slot:02d}C{number:02d}"
        if "V0Set" in channel.params:
            channel.values["V0Set"] = 1000.0
            channel.on, channel.volts = True, 1000.0
        made.channels.append(channel)
    return made


def small_crate(system: str) -> Crate:
    """Two boards with a channel each, and one property."""
    properties = [Property("ModelName", PropertyType.STR, Mode.RDONLY, system)]
    return Crate(system, {1: board(1, 1), 15: board(15, 1)}, properties)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[CrateRun]:
    with crate_run(monkeypatch, small_crate) as run:
        yield run


def names(run: CrateRun) -> set[str]:
    return {point.name for point in run.driver.points}


@pytest.fixture(scope="module")
def everything() -> set[str]:
    """The points of the small crate."""
    with pytest.MonkeyPatch.context() as patch, crate_run(patch, small_crate) as run:
        run.settle()
        return names(run)


def is_complete(run: CrateRun, everything: set[str]) -> bool:
    return names(run) == everything and not run.invalid_names() and not run.driver.exploring


# ---- faults ----


@pytest.mark.parametrize("code", [*CODES, *DENIALS])
def test_all_is_served_in_the_end_whichever_call_failed_once(
    monkeypatch: pytest.MonkeyPatch, everything: set[str], code: int
) -> None:
    hit, skip = True, 0
    while hit:
        with crate_run(monkeypatch, small_crate) as run:
            fault = run.fault(code=code, skip=skip, left=1)
            run.run(6)
            assert run.until(lambda: is_complete(run, everything), most=30) < 15, f"call {skip}"
            hit = fault.hits > 0 and fault.skip == 0
            skip += 7


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("code", [Code.READERR, Code.TIMEERR, Code.SLOTNOTPRES, 0x5A5A, Code.PARAMNOTFOUND])
def test_all_is_served_in_the_end_whichever_function_failed_for_a_time(
    run: CrateRun, everything: set[str], function: str, code: int
) -> None:
    fault = run.fault(function=function, code=code)
    run.run(20)
    assert fault.hits
    run.fake.faults.clear()
    assert run.until(lambda: is_complete(run, everything), most=100) < 70


@pytest.mark.parametrize("code", [Code.PARAMNOTFOUND, Code.PARAMPROPNOTFOUND, 27])
@pytest.mark.parametrize("name", ["V0Set", "Pw", "Temp"])
def test_what_is_listed_and_denied_is_told_and_in_the_end_not_asked_any_more(
    run: CrateRun, everything: set[str], name: str, code: int
) -> None:
    fault = run.fault(slot=1, name=name, code=code)
    run.until(lambda: bool(run.driver.points) and not run.driver.exploring)
    run.run(3)
    missing = {each for each in everything if each.startswith("S01:") and f":{name}" in each}
    told = list(run.driver.unserved)
    if name == "Pw":  # an Off goes all the same
        assert missing <= names(run)
        assert told == []
        return
    assert names(run) == everything - missing
    (sentence,) = told
    assert sentence.startswith("no PVs are made of S01:")
    assert name in sentence
    run.run(100)
    hits = fault.hits
    run.run(100)
    assert fault.hits == hits
    assert hits < 25
    assert list(run.driver.unserved) == told
    run.fake.faults.clear()
    run.fake.unplug()  # it is asked again in the next session
    run.run(3)
    run.fake.plug()
    assert run.until(lambda: is_complete(run, everything), most=60) < 50
    assert list(run.driver.unserved) == []


@pytest.mark.parametrize("code", [Code.PARAMNOTFOUND, Code.READERR, Code.TIMEERR])
def test_an_off_is_sent_though_the_crate_does_not_tell_what_the_switch_is(run: CrateRun, code: int) -> None:
    run.fault(function="GetChParamProp", slot=1, name="Pw", code=code, left=3)
    run.until(lambda: "S01:C00:Pw" in names(run))
    assert "S01:C00:Pw_RBV" in run.invalid_names()
    run.fake.faults.clear()
    run.put("S01:C00:Pw", 0)
    assert not run.fake.model.channel(1, 0).on
    run.settle()
    assert run.valid("S01:C00:Pw_RBV")


def test_a_board_with_an_open_question_is_served_again_when_it_is_back(run: CrateRun) -> None:
    run.fault(function="GetChParamProp", slot=1, name="V0Set", code=Code.READERR)
    run.until(lambda: bool(run.driver.points) and not run.driver.exploring)
    run.run(5)
    run.fake.do_pull(1)
    run.run(3)
    run.fake.do_insert(1)
    assert run.until(lambda: run.valid("S01:C00:VMon"), most=60) < 25


@pytest.mark.parametrize("function", ["GetBdParamInfo", "GetChParamInfo", "GetChParamProp", "GetBdParamProp"])
def test_another_board_is_served_while_one_cannot_be_asked(run: CrateRun, function: str) -> None:
    run.fault(function=function, slot=1, code=Code.TIMEERR, delay=0.3)
    assert run.until(lambda: run.valid("S15:C00:VMon")) < 10
    assert run.share_invalid("S15", 40) < 0.03
    assert run.logins == 1


def test_a_new_board_is_served_soon(run: CrateRun) -> None:
    run.settle()
    run.fake.model.boards[9] = board(9, 2)
    assert run.until(lambda: run.valid("S09:C01:VMon")) < 13
    assert run.logins == 1


@pytest.mark.parametrize("slot", [1, 9])
def test_a_channel_of_which_no_parameter_is_listed_yet_is_asked_again(
    run: CrateRun, slot: int, caplog: pytest.LogCaptureFixture
) -> None:
    if slot == 9:
        run.settle()
    run.fake.model.boards[slot] = made = board(slot, 3)
    told = [(each.params, each.values) for each in made.channels]
    for each in made.channels:
        each.params, each.values = {}, {}
    run.until(lambda: f"S{slot:02d}:C02:Name" in names(run))
    run.run(40)
    assert any(f"S{slot:02d}:C00" in sentence for sentence in run.driver.unserved)
    assert f"S{slot:02d}:C02: the crate lists no parameters of the channel" in caplog.text
    for each, (params, values) in zip(made.channels, told, strict=True):
        each.params, each.values = params, values
    wanted = [f"S{slot:02d}:C{number:02d}:{name}" for number in range(3) for name in ("VMon", "Pw_RBV", "IMon")]
    assert run.until(lambda: all(map(run.valid, wanted))) < 40
    assert not list(run.driver.unserved)
    assert run.logins == 1


def test_a_crate_that_tells_no_slots_yet_is_asked_for_its_map_again(run: CrateRun) -> None:
    crate = run.fake.model
    slots, crate.slots, boards, crate.boards = crate.slots, 0, crate.boards, {}
    fault = run.fault(function="GetCrateMap", code=Code.READERR, skip=2, left=1)
    run.run(40)
    assert fault.hits
    crate.slots, crate.boards = slots, boards
    assert run.until(lambda: run.valid("S15:C00:VMon")) < 13
    assert run.logins == 1
    run.fake.transactions.clear()
    run.run(40)
    assert not any("GetCrateMap" in line for line in run.fake.transactions)


@pytest.mark.parametrize("calls", range(0, 40, 3))
def test_a_board_that_is_replaced_while_it_is_asked_is_asked_again(run: CrateRun, calls: int) -> None:
    fault = run.fault(slot=15, code=None)
    run.until(lambda: fault.hits >= calls)
    other = tuple(param for param in PLAIN if param.name != "I0Set")
    run.fake.model.boards[15] = board(15, 2, params=other, model="OTHER")
    run.run(30)
    assert run.values["S15:Model"] == "OTHER"
    assert run.valid("S15:C01:VMon")
    assert not any("I0Set" in name for name in names(run) - run.invalid_names() if name.startswith("S15:C00"))


# ---- sizes ----


@pytest.mark.parametrize("channels", [1, 64])
def test_a_board_of_any_size_in_any_slot(run: CrateRun, channels: int) -> None:
    run.fake.model.boards = {0: board(0, channels), 15: board(15, channels)}
    run.settle()
    assert not run.invalid_names()
    assert f"S15:C{channels - 1:02d}:VMon" in names(run)


def test_a_board_without_channels_is_served_and_does_not_cost_the_map_each_time(run: CrateRun) -> None:
    run.fake.model.boards[3] = board(3, 0)
    run.settle()
    assert run.valid("S03:Temp")
    assert run.values["S03:Channels"] == 0
    run.fake.transactions.clear()
    run.run(30)
    assert not [line for line in run.fake.transactions if "GetCrateMap" in line]
    run.fake.unplug()
    run.run(3)
    run.fake.plug()
    run.settle()
    assert run.valid("S03:Temp")
    del run.fake.model.boards[3]
    run.run(21)
    assert not run.valid("S03:Temp")


# ---- odd answers ----


def test_text_outside_ascii_costs_itself(run: CrateRun, everything: set[str]) -> None:
    model = run.fake.model
    model.boards[1].description = "1 Ch 5\xb5A \xb11kV"
    model.boards[15].model = "SIM\xe9"
    channel = model.channel(1, 0)
    channel.params["Pw"] = replace(channel.params["Pw"], onstate="\xc9in", offstate="Aus")
    channel.params["T\xb0"] = Param(name="T\xb0", mode=Mode.RDONLY, unit=Unit.CELSIUS)
    channel.values["T\xb0"] = 25.0
    model.boards[1].params["\xb5C"] = Param(name="\xb5C", mode=Mode.RDONLY)
    model.boards[1].values["\xb5C"] = 4.0
    channel.name = "J\xfcrgen"
    run.settle()
    assert everything <= names(run)
    assert not run.invalid_names()
    points = {point.name: point for point in run.driver.points}
    assert points["S01:C00:Pw"].states == ("Aus", "?in")
    assert run.values["S01:Description"] == "1 Ch 5?A ?1kV"
    assert run.values["S15:Model"] == "SIM?"
    assert run.values["S01:C00:Name_RBV"] == "J?rgen"
    assert (run.values["S01:C00:T_"], run.values["S01:_C"]) == (25.0, 4.0)  # by the crate's own bytes
    run.put("S01:C00:Pw", 0)
    assert not channel.on
    for point in points.values():
        assert all(text.isascii() for text in (point.name, point.desc, point.egu, *point.states))


@pytest.mark.parametrize("noise", [b"\xff" * 30, b"\x01\x02", b"ABCDEFGHIJKLMN\x07", b"\xfe\xff\xfd"])
def test_noise_at_the_end_of_a_boards_list_costs_nothing(run: CrateRun, everything: set[str], noise: bytes) -> None:
    run.fake.model.boards[1].noise = noise
    run.settle()
    assert everything <= names(run)
    assert not run.invalid_names()


ODD: dict[str, dict[str, Any]] = {
    "unknown type": {"type": 77},
    "unknown mode": {"mode": 9},
    "unknown unit": {"unit": 99},
    "absurd exponent": {"unit": Unit.VOLT, "exp": 30000},
    "limits the wrong way": {"minval": 5.0, "maxval": -5.0},
    "limits that are no numbers": {"minval": math.nan, "maxval": math.nan},
    "endless limits": {"minval": -math.inf, "maxval": math.inf},
    "no state words": {"type": Type.ONOFF, "onstate": "", "offstate": ""},
    "equal state words": {"type": Type.ONOFF, "onstate": "On", "offstate": "On"},
    "no words": {"type": Type.ENUM, "minval": 0.0, "maxval": 2.0, "enum": ()},
    "too many words": {"type": Type.ENUM, "minval": 0.0, "maxval": 40.0, "enum": ("x",) * 41},
    "absurd words": {"type": Type.ENUM, "minval": -1e30, "maxval": 1e30, "enum": ("x",)},
    "limits of words that are no numbers": {"type": Type.ENUM, "minval": math.nan, "maxval": 1.0, "enum": ("x",)},
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_parameter_costs_at_most_itself(run: CrateRun, everything: set[str], odd: str) -> None:
    channel = run.fake.model.channel(1, 0)
    channel.params["Odd"] = replace(Param(name="Odd"), **ODD[odd])
    channel.values["Odd"] = 1
    run.until(lambda: not run.driver.exploring)
    run.run(30)
    assert everything <= names(run)
    assert not {name for name in run.invalid_names() if "Odd" not in name}
    for point in run.driver.points:
        assert len(point.states) <= 16
        assert all(point.states)


def test_a_unit_that_is_not_known_is_shown_as_its_number(run: CrateRun) -> None:
    channel = run.fake.model.channel(1, 0)
    channel.params["Odd"] = replace(Param(name="Odd"), unit=99, exp=-3)  # type: ignore[arg-type]
    channel.values["Odd"] = 1.0
    run.settle()
    (point,) = (point for point in run.driver.points if point.name == "S01:C00:Odd")
    assert point.egu == "munit 99"
    assert run.valid("S01:C00:Odd_RBV")


# ---- digits and limits ----


def test_a_crate_that_does_not_tell_digits_shows_enough_of_them(run: CrateRun) -> None:
    run.fake.model.boards[15] = board(15, 1)
    milli = Param(name="IMon", unit=Unit.AMPERE, exp=-3, mode=Mode.RDONLY, maxval=20, decimal=3)
    run.fake.model.channel(15, 0).params["IMon"] = milli
    run.fault(prop="Decimal", code=Code.PARAMPROPNOTFOUND)
    run.settle()
    digits = {point.name: point.prec for point in run.driver.points}
    assert digits["S15:C00:IMon"] >= 3
    assert digits["S15:C00:VMon"] >= 1
    assert run.put("S15:C00:V0Set", 1234.56) == {"S15:C00:V0Set_RBV": 1234.56}


def limit(run: CrateRun, low: float, high: float, number: int = 0) -> None:
    channel = run.fake.model.channel(1, number)
    channel.params["V0Set"] = replace(channel.params["V0Set"], minval=low, maxval=high)
    channel.check = lambda *_: None  # type: ignore[method-assign]  # a crate that takes whatever it gets


@pytest.mark.parametrize(
    ("told", "valid"),
    [
        ((0.0, 0.0), (0.0, 0.0)),
        ((5.0, 5.0), (5.0, 5.0)),
        ((10.0, 0.0), (0.0, 2000.0)),
        ((math.nan, math.nan), (0.0, 2000.0)),
        ((0.0, math.nan), (0.0, 2000.0)),
        ((-math.inf, math.inf), (0.0, 2000.0)),
    ],
)
def test_a_setting_that_had_limits_never_loses_them(
    run: CrateRun, told: tuple[float, float], valid: tuple[float, float]
) -> None:
    run.settle()
    limit(run, *told)
    for value in (-5.0, 1e6, 0.0, 5.0, 6.0, 2000.0, 2000.5):
        if valid[0] <= value <= valid[1]:
            run.put("S01:C00:V0Set", value)
            assert run.fake.model.channel(1, 0).values["V0Set"] == value
        else:
            with pytest.raises(Refused, match="outside the limits"):
                run.put("S01:C00:V0Set", value)


@pytest.mark.parametrize("untold", [("Minval", "Maxval"), ("Maxval",)])
@pytest.mark.parametrize("code", [Code.PARAMPROPNOTFOUND, Code.OK])
def test_limits_that_are_not_told_any_more_still_hold(run: CrateRun, untold: tuple[str, ...], code: Code) -> None:
    run.settle()
    limit(run, 0.0, 2000.0)
    for prop in untold:
        run.fault(prop=prop, code=code)
    for value in (-5.0, 2000.5, 1e6):
        with pytest.raises(Refused, match="outside the limits"):
            run.put("S01:C00:V0Set", value)
    assert run.fake.writes == 0


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("low", "high"), [(10.0, 0.0), (math.nan, 5.0)])
def test_a_setting_whose_limits_never_made_sense_takes_nothing(
    run: CrateRun, low: float, high: float, number: int
) -> None:
    run.fake.model.boards[1] = board(1, 2)  # what the first channel told is assumed of the second
    limit(run, low, high, number)
    run.settle()
    for value in (-5.0, 0.0, 1.0, 1e6):
        with pytest.raises(Refused, match="make no sense"):
            run.put(f"S01:C{number:02d}:V0Set", value)
    assert run.fake.writes == 0
    limit(run, 0.0, 10.0, number)
    run.put(f"S01:C{number:02d}:V0Set", 1.0)


def test_limits_that_are_not_told_are_none(run: CrateRun) -> None:
    run.fault(prop="Minval", code=Code.PARAMPROPNOTFOUND)
    run.fault(prop="Maxval", code=Code.PARAMPROPNOTFOUND)
    run.settle()
    (point,) = (point for point in run.driver.points if point.name == "S01:C00:V0Set")
    assert (point.drvl, point.drvh) == (None, None)


def test_no_step_takes_more_than_two_calls(run: CrateRun) -> None:
    calls: list[int] = []

    def count(read: Iterator[Any]) -> Iterator[Any]:
        while True:
            run.fake.transactions.clear()
            block = next(read, None)
            calls.append(len(run.fake.transactions))
            if block is None:
                return
            yield block

    read = run.driver.read
    run.driver.read = lambda group: count(read(group))  # type: ignore[method-assign]
    run.settle()
    assert len(calls) > 100
    assert max(calls) <= 2  # a value, and what type it has when that is asked for the first time


def test_a_caen_libs_without_its_functions_is_asked_by_its_methods(
    monkeypatch: pytest.MonkeyPatch, everything: set[str]
) -> None:
    monkeypatch.setattr("drivers.caen.replies.has_functions", lambda: False)
    with crate_run(monkeypatch, small_crate) as run:
        run.settle()
        assert is_complete(run, everything)


def test_caen_libs_offers_what_is_used_of_it(run: CrateRun) -> None:
    from caen_libs import caenhvwrapper as hv

    functions = {
        *("auto_ptr", "support_32bit_pid", "get_crate_map", "test_bd_presence", "get_ch_name", "get_sys_prop_list"),
        *("get_bd_param_info", "get_ch_param_info", "get_bd_param_prop", "get_ch_param_prop", "get_exec_comm_list"),
    }
    assert functions <= set(dir(hv.lib))
    assert {"Board", "FwVersion", "ParamMode", "ParamProp", "ParamType", "ParamUnit"} <= set(dir(hv))
    assert "handle" in hv.Device.__dataclass_fields__


# ---- channels with the same list whose parameters are not the same ----


def alike(system: str) -> Crate:
    """One board with four channels."""
    return Crate(system, {1: board(1, 4)}, [])


OTHERS = [
    Param(name="V0Set", type=Type.ENUM, enum=("low", "high"), maxval=1),
    Param(name="V0Set", type=Type.ONOFF),
    Param(name="Pw", type=Type.ENUM, enum=("Off", "On", "Kill"), maxval=2),
    replace(next(param for param in PLAIN if param.name == "VMon"), exp=3),
    replace(next(param for param in PLAIN if param.name == "V0Set"), exp=3),
    replace(next(param for param in PLAIN if param.name == "IMon"), exp=-9),
    replace(next(param for param in PLAIN if param.name == "I0Set"), exp=-9),
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda param: f"{param.name}-{param.type.name}-{param.exp}")
def test_a_parameter_that_differs_on_a_channel_with_the_same_list_is_served_as_it_is(
    monkeypatch: pytest.MonkeyPatch, other: Param
) -> None:
    with crate_run(monkeypatch, alike) as run:
        channel = run.fake.model.channel(1, 2)
        channel.params[other.name] = other
        channel.values.setdefault(other.name, 0)
        if other.type in {Type.ENUM, Type.ONOFF}:
            channel.values[other.name] = 1
        run.settle()
        points = {point.name: point for point in run.driver.points}
        odd, plain = points[f"S01:C02:{other.name}"], points[f"S01:C01:{other.name}"]
        if other.type is Type.NUMERIC:
            assert (odd.egu, plain.egu) == {3: ("kV", "V"), -9: ("nA", "uA")}[other.exp]
        else:
            assert (odd.rtyp, odd.states) != (plain.rtyp, plain.states)
        assert not run.invalid_names()


def test_exponents_and_the_words_of_switches_are_asked_before_anything_is_asked_in_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with crate_run(monkeypatch, alike) as run:
        run.settle()
        calls = [line.split()[1:] for line in run.fake.transactions if "GetChParamProp" in line]
        asked = [(where, name, prop) for _, where, name, prop, *_ in calls]
    others = [each for each in asked if each[0] != "1.0"]
    first = [("IMon", "Exp"), ("I0Set", "Exp"), ("Pw", "Onstate"), ("VMon", "Exp"), ("V0Set", "Exp")]
    channels = ["1.1", "1.2", "1.3"]
    but_types = [each for each in others if each[2] != "Type"]  # caen-libs asks for it with the first reading
    assert but_types[:15] == [(where, *each) for each in first for where in channels]
    for where in channels:  # in the end each is asked in full
        assert {name for at, name, prop in others if at == where and prop == "Type"} == {p.name for p in PLAIN}


def test_settings_whose_units_are_confirmed_are_read_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch, alike) as run:
        run.until(lambda: run.valid("S01:C03:I0Set_RBV"))
        reads = [line for line in run.fake.transactions if "GetChParam 1 [" in line and " I0Set " in line]
        assert len(reads) <= 3


# ---- boards of one model ----


def two_alike(system: str) -> Crate:
    """Two boards of one model."""
    return Crate(system, {1: board(1, 2), 2: board(2, 2)}, [])


def test_numbers_of_a_second_board_of_a_model_are_asked_for_their_exponent_alone_and_in_full_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with crate_run(monkeypatch, two_alike) as run:
        run.until(lambda: run.driver.points != () and not run.driver.exploring)
        asked = [line.split()[2:5] for line in run.fake.transactions if "GetChParamProp" in line]
        assert [prop for where, name, prop in asked if (where, name) == ("2.0", "V0Set")][:2] == ["Exp", "Type"]
        assert ["2.0", "V0Set", "Maxval"] not in asked
        assert ["2.0", "Pw", "Onstate"] in asked
        run.settle()
        asked = [line.split()[2:5] for line in run.fake.transactions if "GetChParamProp" in line]
        assert ["2.0", "V0Set", "Maxval"] in asked


@pytest.mark.parametrize("other", OTHERS, ids=lambda param: f"{param.name}-{param.type.name}-{param.exp}")
def test_a_board_that_differs_from_another_of_its_model_is_served_as_it_is(
    monkeypatch: pytest.MonkeyPatch, other: Param
) -> None:
    with crate_run(monkeypatch, two_alike) as run:
        for channel in run.fake.model.boards[2].channels:
            channel.params[other.name] = other
            channel.values[other.name] = 1
        run.until(lambda: run.driver.points != () and not run.driver.exploring)
        points = {point.name: point for point in run.driver.points}
        odd, plain = points[f"S02:C00:{other.name}"], points[f"S01:C00:{other.name}"]
        assert (odd.rtyp, odd.states, odd.egu) != (plain.rtyp, plain.states, plain.egu)
        run.settle()
        assert not run.invalid_names()


def test_limits_of_a_second_board_of_a_model_come_to_be_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch, two_alike) as run:
        for channel in run.fake.model.boards[2].channels:
            channel.params["V0Set"] = replace(channel.params["V0Set"], maxval=300)
        run.settle()
        points = {point.name: point for point in run.driver.points}
        assert [points[f"S0{slot}:C00:V0Set"].drvh for slot in (1, 2)] == [2000, 300]


def test_lists_of_a_second_board_of_a_model_are_asked_behind_all_that_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with crate_run(monkeypatch, two_alike) as run:
        run.settle()
        asked = [line.split()[2] for line in run.fake.transactions if "ParamInfo" in line]
        assert asked == ["1", "1.0", "1.1"]
        run.fake.transactions.clear()
        run.run(40)
        asked = [line.split()[2] for line in run.fake.transactions if "ParamInfo" in line]
        assert asked == ["2", "2.0", "2.1"]
        assert not run.invalid_names()


@pytest.mark.parametrize("fault", [None, Code.TIMEERR, Code.READERR])
@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("change", ["more", "less", "others"])
def test_a_board_with_other_parameters_than_another_of_its_model_comes_to_be_served_as_it_is(
    monkeypatch: pytest.MonkeyPatch, change: str, channel: int, fault: int | None
) -> None:
    """Branch controllers are of one model, and have what the boards have that are connected to them."""
    with crate_run(monkeypatch, two_alike) as run:
        odd = run.fake.model.boards[2].channels[channel]
        if change != "more":
            del odd.params["V0Set"]
        if change != "less":
            odd.params["Extra"] = Param(name="Extra", type=Type.NUMERIC, mode=Mode.RDWR, unit=Unit.VOLT)
            odd.values["Extra"] = 3.0
        if fault is not None:
            run.fault(function="GetChParamInfo", slot=2, code=fault, left=2)
        run.run(90)
        names = {point.name for point in run.driver.points}
        for each in range(2):
            has = {name[8:] for name in names if name.startswith(f"S02:C0{each}:")}
            own = run.fake.model.boards[2].channels[each].params
            assert ("V0Set" in has, "Extra" in has) == ("V0Set" in own, "Extra" in own)
        assert not run.invalid_names() & names
        assert run.valid("S01:C01:V0Set_RBV")


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS, ids=lambda param: f"{param.name}-{param.type.name}-{param.exp}")
def test_what_a_slow_board_tells_when_all_is_asked_counts_and_not_what_was_assumed(
    monkeypatch: pytest.MonkeyPatch, other: Param
) -> None:
    """The board proves to have another list while most of its parameters are still those of the like one."""
    boards = {slot: board(slot, 24) for slot in (1, 2, 3)}
    with crate_run(monkeypatch, lambda system: Crate(system, boards, []), latency=0.05) as run:
        first, second, *_, last = boards[3].channels
        first.params["Extra"] = Param(name="Extra", type=Type.NUMERIC, unit=Unit.VOLT)
        first.values["Extra"] = 3.0
        second.params[other.name] = replace(other, maxval=other.maxval or 300)
        second.values[other.name] = 1
        last.params.pop(other.name)
        run.until(lambda: "S03:C00:Extra_RBV" in {point.name for point in run.driver.points}, most=300)
        run.run(90)
        points = {point.name: point for point in run.driver.points}
        assert f"S03:C23:{other.name}" not in points
        odd, plain = points[f"S03:C01:{other.name}"], points[f"S01:C01:{other.name}"]
        assert (odd.rtyp, odd.states, odd.egu, odd.drvh) != (plain.rtyp, plain.states, plain.egu, plain.drvh)
        run.until(
            lambda: not run.invalid_names() & points.keys(), most=60
        )  # scans of this line are late now and then


def test_a_board_that_comes_later_is_not_taken_to_be_like_one_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch, two_alike) as run:
        run.fake.do_pull(2)
        run.settle()
        run.fake.transactions.clear()
        run.fake.do_insert(2)
        run.settle()
        asked = [line.split()[2:5] for line in run.fake.transactions if "GetChParamProp" in line]
        assert next(each for each in asked if each[:2] == ["2.0", "V0Set"]) == ["2.0", "V0Set", "Type"]


def test_currents_are_not_read_before_one_of_their_units_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch, two_alike) as run:
        run.until(lambda: run.valid("S02:C01:IMon"))
        calls = [line.split()[1:] for line in run.fake.transactions]
        confirmed = calls.index(["GetChParamProp", "2.1", "IMon", "Exp", "->", "0"])
        assert not [call for call in calls[:confirmed] if call[:2] == ["GetChParam", "2"] and "IMon" in call]


def test_settings_of_a_board_are_read_as_soon_as_the_last_of_their_units_is_confirmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next scan of a full rack comes a second later."""
    with crate_run(monkeypatch, two_alike) as run:
        run.until(lambda: run.valid("S02:C01:I0Set_RBV"))
        calls = [line.split()[1:] for line in run.fake.transactions]
        confirmed = calls.index(["GetChParamProp", "2.1", "I0Set", "Exp", "->", "0"])
        assert ["GetChParam", "I0Set"] in [[call[0], call[4]] for call in calls[confirmed + 1 : confirmed + 4]]
