"""One fault of a crate at a time, on a clock that passes only while the driver waits: what it hits, and how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import pairwise
from typing import Any

import pytest

from drivers.base import DeviceError, LinkDown
from sim.caen.header import Code
from tests.drivers.crate_run import CrateRun, crate_run

# The codes of a bad parameter, of anything, of a library that is newer, and of a line
BAD_CODES = [Code.SYSERR, Code.READERR, 23, -5, 0x5A5A, Code.PARAMNOTFOUND, Code.PARAMPROPNOTFOUND]
LINE_CODES = [5, Code.SOCKETERROR, Code.COMMUNICATIONERROR, Code.NOTCONNECTED, 0x1003]
# What is served here: some channels of each board
CHANNELS = {2: tuple(range(8)), 4: (0, 1), 8: (0, 1)}
# What a board is, which is asked when its slot is looked at: once in 10 s
FACTS = {f"S02:{name}" for name in ("Channels", "Description", "Firmware", "Model", "Serial")}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[CrateRun]:
    with crate_run(monkeypatch, channels=CHANNELS) as run:
        run.settle()
        assert run.logins == 1
        assert run.invalid_names() <= {"Sys:PWCurrent"}
        yield run


# ---- one board, one parameter ----


@pytest.mark.parametrize("code", [*BAD_CODES, Code.SOCKETERROR, Code.NOTCONNECTED, Code.OUTOFRANGE])
def test_a_board_that_fails_in_every_call_costs_the_others_nothing(run: CrateRun, code: int) -> None:
    fault = run.fault(function="GetChParam", slot=2, code=code)
    assert run.share_invalid("S04", 33) + run.share_invalid("S08", 33) == 0
    assert run.logins == 1
    assert run.share_invalid("S02:C", 10) == 1.0  # nothing of it is shown as true
    hits = fault.hits
    run.run(60)
    assert fault.hits - hits < 120  # it is tried ever more rarely
    run.fake.faults.clear()
    assert run.until(lambda: not run.invalid_names("S02")) < 45


def test_a_board_that_times_out_in_every_call_costs_the_others_no_more_than_a_moment(run: CrateRun) -> None:
    run.fault(function="GetChParam", slot=2, code=Code.TIMEERR, delay=0.5)
    assert run.share_invalid("S04", 33) + run.share_invalid("S08", 33) < 0.05
    assert run.logins == 1
    run.fake.faults.clear()
    assert run.until(lambda: not run.invalid_names("S02")) < 60


@pytest.mark.parametrize("start", [0.0, 0.4, 0.8, 1.2, 1.6, 2.0])
@pytest.mark.parametrize("latency", [0.005, 0.04, 0.1])
def test_what_a_scan_passes_over_is_shown_no_longer_than_two_scans(
    run: CrateRun, latency: float, start: float
) -> None:
    run.fake.latency = latency
    run.run(20 + start)
    run.fault(slot=2, code=Code.TIMEERR, delay=0.6)
    measured = [p.name for p in run.driver.points if p.group == "monitor" and p.name.startswith("S02:C")]
    run.until(lambda: all(run.log[name][-1][1] is None for name in measured), 30)
    read = {name: max(moment for moment, value in run.log[name] if value is not None) for name in measured}
    oldest = max(run.log[name][-1][0] - read[name] for name in measured)
    scan = max(after - before for before, after in pairwise([moment for moment, _ in run.log["S04:C00:VMon"]][-8:]))
    assert oldest <= max(2.0, 2 * scan) + 0.6


@pytest.mark.parametrize("seconds", [3.0, 14.0, 25.0, 45.0, 100.0])
@pytest.mark.parametrize(("function", "code"), [("", Code.TIMEERR), ("GetChParam", Code.TIMEERR), ("", Code.READERR)])
def test_a_board_that_answers_again_is_soon_shown_again(
    run: CrateRun, function: str, code: int, seconds: float
) -> None:
    run.fault(function=function, slot=2, code=code, delay=0.5 if code == Code.TIMEERR else 0.0)
    run.run(seconds)
    run.fake.faults.clear()
    assert run.until(lambda: not run.invalid_names("S02") - FACTS) < 4.5
    assert run.logins == 1


def test_a_put_that_is_read_back_brings_a_silent_board_back_at_once(run: CrateRun) -> None:
    run.fault(function="GetChParam", slot=2, code=Code.TIMEERR, delay=0.5)
    run.run(60)
    run.fake.faults.clear()
    run.put("S02:C00:V0Set", 55)
    assert run.until(lambda: not run.invalid_names("S02") - FACTS) < 4


@pytest.mark.parametrize("code", [Code.READERR, 23, Code.PARAMNOTFOUND])
def test_two_neighbouring_parameters_that_cannot_be_read_cost_themselves(run: CrateRun, code: int) -> None:
    for name in ("VMon", "IMon"):
        run.fault(function="GetChParam", slot=2, name=name, code=code)
    assert run.share_invalid("S04", 33) + run.share_invalid("S08", 33) == 0
    assert run.logins == 1
    run.run(3)
    names = {f"S02:C{channel:02d}:{name}" for channel in range(8) for name in ("VMon", "IMon")}
    assert run.invalid_names("S02") == names | {"S02:VMon:Array", "S02:IMon:Array"}


def test_a_parameter_that_times_out_is_not_waited_for_in_each_scan(run: CrateRun) -> None:
    fault = run.fault(function="GetChParam", slot=2, name="Trip", code=Code.TIMEERR, delay=1.0)
    run.run(40)
    hits = fault.hits
    assert run.share_invalid("S04", 60) == 0
    assert run.share_invalid("S02:C00:V", 60) == 0
    assert (fault.hits - hits) * 1.0 < 0.1 * 120
    assert run.logins == 1


def test_one_bad_channel_costs_itself(run: CrateRun) -> None:
    run.fault(function="GetChParam", slot=2, channel=5, code=Code.READERR)
    run.run(5)
    assert {name[:7] for name in run.invalid_names("S02:C")} == {"S02:C05"}
    assert run.share_invalid("S02:C04", 20) == 0
    assert run.share_invalid("S04", 20) == 0


def test_one_channel_that_times_out_costs_its_neighbours_some_seconds(run: CrateRun) -> None:
    run.fault(function="GetChParam", slot=2, channel=5, code=Code.TIMEERR, delay=0.5)
    run.run(60)
    assert {name[:7] for name in run.invalid_names("S02:C")} == {"S02:C05"}
    assert run.share_invalid("S02:C04", 30) < 0.02
    assert run.share_invalid("S04", 30) == 0
    assert run.logins == 1


# ---- one lost answer, and what is denied for a time ----


@pytest.mark.parametrize(("code", "delay"), [(Code.READERR, 0.0), (Code.TIMEERR, 1.0)])
@pytest.mark.parametrize("name", ["Pw", "V0Set", "I0Set", "RUp", "Trip", "PDwn"])
def test_a_setting_that_may_have_moved_and_was_not_answered_once_is_read_at_the_next_scans(
    run: CrateRun, name: str, code: int, delay: float
) -> None:
    run.until_settings()
    fault = run.fault(function="GetChParam", slot=2, name=name, code=code, delay=delay, left=1)
    run.fake.do_front(2, 0, "Pw", 0)  # the status tells it
    since = run.clock.now
    run.run(9)
    assert fault.hits == 1
    assert run.longest_invalid("S02", since) < (2.2, "")


@pytest.mark.parametrize(("code", "delay"), [(Code.READERR, 0.0), (Code.TIMEERR, 1.0)])
@pytest.mark.parametrize("name", ["BdIlk", "SymbolicName"])
def test_what_there_is_once_and_was_not_answered_once_does_not_wait_for_the_next_scan_of_the_settings(
    run: CrateRun, name: str, code: int, delay: float
) -> None:
    fault = run.fault(name=name, code=code, delay=delay, left=1)
    since = run.clock.now
    run.run(19)
    assert fault.hits == 1
    for prefix in (f"Sys:{name}", "S02", "S04", "S08"):
        assert run.longest_invalid(prefix, since) < (2.2, "")


@pytest.mark.parametrize("name", ["VMon", "V0Set", "Pw"])
@pytest.mark.parametrize("code", [Code.READERR, Code.PARAMNOTFOUND, -5])
def test_a_parameter_that_was_denied_is_shown_soon_when_it_may_be_read_again(
    run: CrateRun, name: str, code: int
) -> None:
    fault = run.fault(function="GetChParam", slot=2, name=name, code=code)
    run.run(100)
    hits = fault.hits
    run.run(60)
    assert fault.hits - hits <= 60 / 2 + 4
    run.fake.faults.clear()
    assert run.until(lambda: not run.invalid_names("S02")) < 5


# ---- faults that come and go ----


@pytest.mark.slow
@pytest.mark.parametrize(("code", "delay"), [(Code.READERR, 0.0), (Code.TIMEERR, 1.0)])
@pytest.mark.parametrize(
    "place",
    [
        {"function": ""},
        {"function": "GetChParam"},
        {"function": "GetChParam", "channel": 1},
        {"function": "GetChParam", "name": "VMon"},
        {"function": "GetChParam", "name": "VMon", "channel": 1},
    ],
)
def test_short_faults_heal_as_soon_as_the_first_when_all_was_well_between_them(
    run: CrateRun, place: dict[str, Any], code: int, delay: float
) -> None:
    healed = []
    for _ in range(7):
        run.fault(slot=2, code=code, delay=delay, **place)
        run.run(2.5)
        run.fake.faults.clear()
        healed.append(run.until(lambda: not run.invalid_names("S0") - FACTS))
        run.run(20)
    assert max(healed) < 4.5
    assert run.logins == 1


@pytest.mark.parametrize("start", [0.0, 0.6])
@pytest.mark.parametrize("seconds", [0.3, 1.3, 2.1])
def test_a_line_that_was_dead_for_a_moment_is_soon_well(run: CrateRun, start: float, seconds: float) -> None:
    for _ in range(3):
        run.run(start)
        run.fault(code=Code.TIMEERR, delay=1.0)
        run.run(seconds)
        run.fake.faults.clear()
        assert run.until(lambda: run._up and not run.invalid_names("S0") - FACTS) < 4
        run.run(13)


# ---- time-outs of a second each ----

TWELVE = {2: tuple(range(12)), 4: (0, 1), 8: (0, 1)}


@pytest.mark.parametrize("channel", [0, 5, 11])
@pytest.mark.parametrize("name", ["", "Status", "VMon", "Pw", "V0Set"])
def test_a_channel_that_times_out_costs_its_neighbours_three_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch, name: str, channel: int
) -> None:
    with crate_run(monkeypatch, channels=TWELVE) as run:
        run.settle()
        run.fault(function="GetChParam", slot=2, channel=channel, name=name, code=Code.TIMEERR, delay=1.0)
        invalid: Counter[str] = Counter()
        run.run(60, lambda: invalid.update(run.invalid_names("S0")))
        own = f"S02:C{channel:02d}"
        others = {
            each: count / 4 for each, count in invalid.items() if not each.startswith(own) and "Array" not in each
        }
        assert max((others[each] for each in others if each.startswith("S02")), default=0) <= 3.0
        assert max((others[each] for each in others if not each.startswith("S02")), default=0) <= 1.5
        if name:
            spoiled = {each for each in invalid if each.startswith(own) and invalid[each] / 4 > 4}
            assert all(each.startswith(f"{own}:{name}") for each in spoiled)
        assert run.logins == 1
        run.fake.faults.clear()
        assert run.until(lambda: not run.invalid_names("S0") - FACTS) < 33


@pytest.mark.parametrize("name", ["Status", "VMon"])
def test_a_parameter_that_times_out_costs_the_others_of_its_board_a_moment(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with crate_run(monkeypatch, channels=TWELVE) as run:
        run.settle()
        run.fault(function="GetChParam", slot=2, name=name, code=Code.TIMEERR, delay=1.0)
        invalid: Counter[str] = Counter()
        run.run(60, lambda: invalid.update(run.invalid_names("S0")))
        measured = {point.name for point in run.driver.points if point.group == "monitor"}
        others = {each: invalid[each] / 4 for each in measured & invalid.keys() if f":{name}" not in each}
        assert max(others.values(), default=0) <= 4.0
        assert run.logins == 1


# ---- what sounds like a board that is gone ----

GONE_CODES = [6, Code.SLOTNOTPRES]


@pytest.mark.parametrize("code", GONE_CODES)
@pytest.mark.parametrize(
    ("place", "hit"),
    [
        ({"function": "GetChParam", "name": "VMon"}, "S02:C*:VMon S02:VMon:Array"),
        ({"function": "GetChParam", "name": "VMon", "channel": 3}, "S02:C03:VMon S02:VMon:Array"),
        ({"function": "GetChParam", "name": "Status"}, "S02:C*:Status* S02:Status:Array"),
        ({"function": "GetChParam", "name": "RUp", "channel": 3}, "S02:C03:RUp_RBV"),
        ({"function": "GetChParam", "channel": 3}, "S02:C03:* S02:*:Array"),
        ({"function": "GetBdParam"}, "S02:HVMax S02:Temp S02:BdStatus S02:*"),
        ({"function": "GetChName"}, "S02:C*:Name_RBV S02:Name:Array"),
        ({"function": "GetChParamProp"}, ""),
        ({"function": "GetChParamProp", "channel": 3}, ""),
    ],
)
def test_a_parameter_that_says_that_its_board_is_gone_does_not_take_it_along(
    run: CrateRun, code: int, place: dict[str, Any], hit: str
) -> None:
    run.fault(slot=2, code=code, **place)
    invalid: Counter[str] = Counter()
    run.run(30, lambda: invalid.update(run.invalid_names("S0")))
    affected = {name for name in invalid if any(fnmatch(name, pattern) for pattern in hit.split())}
    channels = {name for name in invalid.keys() - affected if invalid[name] > 4 * 2.5}
    assert not channels
    assert run.driver._inventory.sections[2].present
    run.fake.faults.clear()
    assert run.until(lambda: not run.invalid_names("S02") - FACTS) < 33
    assert run.logins == 1


@pytest.mark.parametrize("code", GONE_CODES)
@pytest.mark.parametrize("system", ["SY4527", "N1470"])
def test_a_setting_that_says_so_when_it_is_put_fails_alone(
    monkeypatch: pytest.MonkeyPatch, system: str, code: int
) -> None:
    with crate_run(monkeypatch, system=system, channels=CHANNELS) as run:
        run.settle()
        run.fault(function="SetChParam", slot=2, code=code)
        with pytest.raises(DeviceError):
            run.put("S02:C00:V0Set", 55)
        assert run.share_invalid("S02:C", 10) < 0.05
        assert run.driver._inventory.sections[2].present


@pytest.mark.parametrize("code", GONE_CODES)
def test_a_slot_that_denies_its_board_is_believed_when_the_board_is_not_read_either(run: CrateRun, code: int) -> None:
    fault = run.fault(function="TestBdPresence", slot=2, code=code)
    assert run.share_invalid("S02:C", 30) == 0
    run.fake.faults.remove(fault)
    run.fault(slot=2, code=code)
    assert run.until(lambda: not run.driver._inventory.sections[2].present) < 3


# ---- the whole crate ----


@pytest.mark.parametrize(("code", "delay"), [(Code.TIMEERR, 1.0), (Code.SOCKETERROR, 0.5), (Code.READERR, 0.0)])
@pytest.mark.parametrize("function", ["GetSysProp", "TestBdPresence", "GetChName", "GetBdParam", "GetChParamProp"])
def test_calls_of_one_kind_that_fail_are_no_dead_crate(run: CrateRun, function: str, code: int, delay: float) -> None:
    run.fault(function=function, code=code, delay=delay)
    run.run(30)
    assert run.logins == 1


@pytest.mark.parametrize("slot", [2, 4, 8])
@pytest.mark.parametrize(("code", "delay"), [(Code.TIMEERR, 1.0), (Code.SOCKETERROR, 0.0), (Code.READERR, 0.0)])
def test_a_dead_board_is_no_dead_crate_without_properties(run: CrateRun, slot: int, code: int, delay: float) -> None:
    run.fault(function="GetSysProp", code=code)
    run.fault(slot=slot, code=code, delay=delay)
    run.run(40)
    assert run.logins == 1


@pytest.mark.parametrize("code", [*BAD_CODES, *LINE_CODES, Code.TIMEERR, Code.SLOTNOTPRES, 6, 20])
def test_a_crate_that_answers_nothing_is_noticed_soon_by_whatever_code(run: CrateRun, code: int) -> None:
    run.fault(code=code, delay=0.5 if code == Code.TIMEERR else 0.0)
    began = run.clock.now
    run.until(lambda: run.error is not None, most=10)
    assert isinstance(run.error, LinkDown)
    assert run.clock.now - began < 3.0
    run.run(20)
    run.fake.faults.clear()
    run.settle()
    assert run.invalid_names() <= {"Sys:PWCurrent"}


@pytest.mark.parametrize("system", ["SY1527", "N1470"])
@pytest.mark.parametrize("kept", ["GetSysProp", "TestBdPresence", "GetChName", "GetBdParam", "GetCrateMap"])
def test_any_call_that_is_still_answered_keeps_the_session(
    monkeypatch: pytest.MonkeyPatch, system: str, kept: str
) -> None:
    with crate_run(monkeypatch, system=system, channels=CHANNELS) as run:
        run.settle()
        for function in ("GetSysProp", "TestBdPresence", "GetChName", "GetBdParam", "GetChParam", "GetChParamProp"):
            if function != kept:
                run.fault(function=function, code=Code.READERR)
        run.run(30)
        assert run.logins == 1
        assert run.share_invalid("S02:C", 5) == 1.0


def test_a_crate_without_boards_is_no_dead_crate(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch) as run:
        run.fake.model.boards.clear()
        run.settle()
        assert run.logins == 1
        assert not run.invalid_names() - {"Sys:PWCurrent"}
        run.fault(code=Code.READERR)
        assert run.until(lambda: run.error is not None) < 3


# ---- boards that come and go ----


@pytest.mark.parametrize("moment", [0.0, 2.0, 4.0, 6.0, 6.5, 7.0, 7.5, 8.0, 9.0])
def test_a_board_that_is_back_shows_all_its_settings_at_once(run: CrateRun, moment: float) -> None:
    section = run.driver._inventory.sections[4]
    run.run(moment)
    run.fake.run("pull 4")
    run.until(lambda: not section.present)
    run.run(2.5)
    run.fake.run("insert 4")
    run.until(lambda: section.present)
    assert run.until(lambda: not run.invalid_names("S04")) < 4


@pytest.mark.parametrize("function", ["GetChParam", "GetBdParam", "GetSysProp", "TestBdPresence", "GetChName", ""])
@pytest.mark.parametrize("times", [1, 3])
def test_a_changed_configuration_is_read_and_nothing_becomes_invalid(
    run: CrateRun, function: str, times: int
) -> None:
    run.fault(function=function, code=20, left=times)
    assert run.share_invalid("S", 15) == 0
    assert run.logins == 1
    assert any("GetCrateMap" in line for line in run.fake.transactions)


@pytest.mark.parametrize("latency", [0.005, 0.01])
def test_a_new_board_that_is_asked_what_it_has_makes_values_of_others_no_older_than_two_periods(
    monkeypatch: pytest.MonkeyPatch, latency: float
) -> None:
    with crate_run(monkeypatch, latency=latency, channels={2: "ALL", 4: (0, 1), 8: (0, 1)}) as run:
        run.settle()
        since = run.clock.now
        for _ in range(2):  # the second time in another phase of the scans of the settings
            run.fake.run("swap 2")
            run.run(40)
        longest, name = run.longest_unread("VMon", but="S02", since=since)
        assert longest < 2.3, name  # two periods, and a question


def test_a_board_that_goes_by_this_code_is_gone_and_the_others_stay(run: CrateRun) -> None:
    run.fake.model.pull(2)
    run.fault(code=20, left=1)
    assert run.share_invalid("S04", 15) + run.share_invalid("S08", 15) == 0
    assert run.share_invalid("S02", 5) == 1.0
    run.fake.model.insert(2)
    run.fault(code=20, left=1)
    assert run.until(lambda: run.valid("S02:C00:VMon")) < 3
    assert run.logins == 1


@pytest.mark.parametrize("code", GONE_CODES)
def test_a_board_that_is_missing_for_one_call_is_not_given_up(run: CrateRun, code: int) -> None:
    run.fault(function="GetChParam", slot=2, code=code, left=1)
    assert run.share_invalid("S02:C", 15) < 0.05
    assert run.logins == 1
