"""The rules of a campaign, on records made by hand: each breaks when it should, and only then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from sim.events import Event
from tests.campaign.plan import case
from tests.campaign.recording import CaseRun, Put, Recording, Update
from tests.campaign.rules.judge import judge

END = 100.0


def polls(begin: float, end: float, period: float = 0.25) -> list[Event]:
    """A generator that is read at its period."""
    times = [begin + index * period for index in range(int((end - begin) / period))]
    return [Event(time, "answered", f"{question}: {question}0") for time in times for question in ("E", "a1", "a2")]


def generator(events: Iterable[Event], updates: dict[str, list[Update]], *puts: Put) -> Recording:
    recording = Recording({"GEN": "technix"}, end=END)
    known = [
        Event(0.0, f"is:{name}", value) for name, value in (("HV", 0), ("VMon", 0.0), ("VSet", 0.0), ("hears", 1))
    ]
    recording.events["GEN"] = sorted([*known, *events])
    recording.updates = {f"GEN:{name}": changes for name, changes in updates.items()}
    recording.updates["IOC:HEARTBEAT"] = [Update(float(second), second, 0) for second in range(101)]
    recording.puts = list(puts)
    return recording


def put(point: str, value: float, asked: float, done: float | None = None, *, ok: bool | None = True) -> Put:
    return Put(0, 0, f"GEN:{point}", value, True, asked, done, ok if done is not None else None)


def broken(recording: Recording) -> list[tuple[str, str]]:
    return [(found.rule, found.point) for found in judge(recording).violations]


def is_(time: float, name: str, value: Any) -> Event:
    return Event(time, f"is:{name}", value)


def heard(time: float, command: str) -> Event:
    return Event(time, "heard", command)


ON = (is_(10.0, "HV", 1),)


def test_a_quiet_run_breaks_nothing() -> None:
    assert broken(generator(polls(0, END), {"HV_RBV": [Update(0.3, 0, 0)]})) == []


# ---- rule 3 ----


@pytest.mark.parametrize(("seen", "violations"), [(10.4, []), (12.0, [("3 true", "HV_RBV")])])
def test_a_valid_value_may_lag_by_two_periods_and_no_more(seen: float, violations: list[tuple[str, str]]) -> None:
    updates = {"HV_RBV": [Update(0.3, 0, 0), Update(seen, 1, 0)]}
    assert broken(generator([*polls(0, END), *ON], updates)) == violations


def test_a_value_that_is_invalid_in_time_may_be_untrue() -> None:
    updates = {"HV_RBV": [Update(0.3, 0, 0), Update(10.5, 0, 3)]}
    assert broken(generator([*polls(0, END), *ON], updates)) == []


def test_a_value_that_never_was_true_breaks_the_rule_at_once() -> None:
    updates = {"VSet_RBV": [Update(0.3, 0.0, 0), Update(50.0, 20.0, 0), Update(50.2, 0.0, 0)]}
    assert broken(generator(polls(0, END), updates)) == [("3 true", "VSet_RBV")]


def test_a_ramp_is_true_as_long_as_it_lags_by_two_periods() -> None:
    ramp = [is_(10 + step / 10, "VMon", 2.0 * step) for step in range(20)]
    shown = [Update(10 + step / 2, 10.0 * step, 0) for step in range(4)]
    late = [Update(11.5 + each.at, each.value, 0) for each in shown]
    steady = [*polls(0, END), is_(11.95, "VMon", 38.0)]
    assert broken(generator([*steady, *ramp], {"VMon": [*shown, Update(12.0, 38.0, 0)]})) == []
    assert ("3 true", "VMon") in broken(generator([*steady, *ramp], {"VMon": late}))


def test_a_valid_value_has_to_be_read_though_it_may_be_true() -> None:
    updates = {"VMon": [Update(0.3, 0.0, 0), Update(56.0, 0.0, 3)]}
    events = [*polls(0, 50), *polls(56, END)]
    assert broken(generator(events, updates)) == [("3 read", "VMon")]
    assert broken(generator(events, {"VMon": [Update(0.3, 0.0, 0), Update(50.6, 0.0, 3)]})) == []


def test_a_long_scan_may_be_two_durations_old() -> None:
    updates = {"VMon": [Update(0.3, 0.0, 0)], "ScanTime": [Update(0.3, 3000.0, 0)]}
    assert broken(generator(polls(0, END, 5.0), updates)) == []


# ---- rule 1 ----


@pytest.mark.parametrize(
    ("command", "puts", "violations"),
    [
        ("d1,1023", [put("VSet", 25, 19.9, 20.1)], []),
        ("d1,1023", [put("VSet", 30, 19.9, 20.1)], [("1 writes", "VSet")]),
        ("d1,1023", [put("VSet", 25, 19.0, 19.2)], [("1 writes", "VSet")]),
        ("d1,1023", [put("VSet", 25, 19.0)], []),
        ("d1,2500", [put("VSet", 61.06, 19.9, 20.1)], [("1 writes", "VSet")]),
        ("P5,1", [put("HV", 1, 19.9, 20.1)], []),
        ("P5,1", [], [("1 writes", "HV")]),
        ("P5,1", [put("HV", 1, 15.0, 15.5, ok=False)], [("1 writes", "HV")]),
        ("P6,1", [put("HV", 0, 5.0, 5.5, ok=False)], []),
        ("P6,1", [put("HV", 1, 15.0, 15.5, ok=False)], []),
        ("P6,1", [], [("1 writes", "HV")]),
        ("P5,0", [], [("1 writes", "HV")]),
        ("P7,0", [put("Mode", 0, 19.9)], []),
        ("P7,0", [put("Mode", 1, 19.9)], [("1 writes", "Mode")]),
        ("P8,0", [], [("1 writes", "Inhibit")]),
    ],
)
def test_what_reaches_an_instrument_was_asked_for(
    command: str, puts: list[Put], violations: list[tuple[str, str]]
) -> None:
    found = broken(generator([*polls(0, END), heard(20.0, command)], {}, *puts))
    assert [each for each in found if each[0] == "1 writes"] == violations


def test_the_completion_of_a_half_done_on_is_no_write_of_its_own() -> None:
    commands = ("P5,1", "P8,1", "P5,0", "P6,1", "P6,0", "P8,0")
    events = [heard(20.0 + index, command) for index, command in enumerate(commands)]
    found = broken(generator([*polls(0, END), *events], {}, put("HV", 1, 19.9, 20.6, ok=False)))
    assert [each for each in found if each[0] == "1 writes"] == []


# ---- rule 2 ----


def test_a_good_put_without_its_effect_breaks_the_rule() -> None:
    assert broken(generator(polls(0, END), {}, put("VSet", 25, 20, 20.2))) == [("2 good puts", "VSet")]
    assert broken(generator([*polls(0, END), is_(20.1, "VSet", 24.98)], {}, put("VSet", 25, 20, 20.2))) == []


@pytest.mark.parametrize(("off", "violations"), [(23.0, []), (90.0, [("2 failed puts", "HV")])])
def test_an_on_that_failed_is_not_left_on(off: float, violations: list[tuple[str, str]]) -> None:
    events = [*polls(0, END), is_(20.2, "HV", 1), is_(off, "HV", 0)]
    assert broken(generator(events, {}, put("HV", 1, 20.0, 20.6, ok=False))) == violations


# ---- rule 4 ----


@pytest.mark.parametrize(("obeyed", "violations"), [(41.0, []), (48.0, [("4 off", "HV")]), (99.9, [("4 off", "HV")])])
def test_an_off_is_obeyed_soon_after_the_instrument_hears_again(
    obeyed: float, violations: list[tuple[str, str]]
) -> None:
    events = [*polls(0, END), *ON, is_(20.0, "hears", 0), is_(40.0, "hears", 1), is_(obeyed, "HV", 0)]
    updates = {"HV:OffPending": [Update(0.0, 0, 0), Update(30.1, 1, 2)]}
    assert broken(generator(events, updates, put("HV", 0, 30.0, 30.5, ok=False))) == violations


def test_an_off_that_waits_is_shown_as_waiting() -> None:
    events = [*polls(0, END), *ON, is_(20.0, "hears", 0), is_(40.0, "hears", 1), is_(41.0, "HV", 0)]
    off = put("HV", 0, 30.0, 30.5, ok=False)
    assert broken(generator(events, {}, off)) == [("4 pending", "HV")]
    assert broken(generator(events, {"HV:OffPending": [Update(0.0, 1, 1)]}, off)) == [("4 pending", "HV")]


def test_a_later_on_ends_an_off() -> None:
    events = [*polls(0, END), *ON]
    puts = put("HV", 0, 30.0, 30.1, ok=False), put("HV", 1, 31.0, 31.2)
    assert [each for each in broken(generator(events, {}, *puts)) if each[0] == "4 off"] == []


def test_a_kill_that_waits_is_shown_by_the_kill_itself() -> None:
    recording = Recording({"HV1": "caen"}, end=END)
    known = [is_(0.0, "S02:C00:Pw", 1), is_(0.0, "hears", 1)]
    recording.events["HV1"] = [*known, is_(20.0, "hears", 0), is_(40.0, "hears", 1), is_(41.0, "S02:C00:Pw", 0)]
    recording.updates = {"IOC:HEARTBEAT": [Update(float(second), second, 0) for second in range(101)]}
    recording.puts = [Put(0, 0, "HV1:Cmd:Kill", 1, True, 30.0, 30.5, False)]
    assert ("4 pending", "S02:C00:Pw") in broken(recording)
    recording.updates["HV1:Cmd:Kill:ExecutePending"] = [Update(0.0, 0, 0), Update(30.1, 1, 2)]
    assert broken(recording) == []


# ---- rules 5 and 6 ----


def test_a_pause_that_was_too_short_breaks_the_rule() -> None:
    events = [*polls(0, END), Event(20.0, "violation", "P5,0 came 40 ms after the answer to P5,1, not 100 ms")]
    assert broken(generator(events, {})) == [("5 pauses", "")]


def test_a_heart_that_misses_beats_and_a_lost_circuit_break_the_rule() -> None:
    recording = generator(polls(0, END), {})
    recording.updates["IOC:HEARTBEAT"] = [
        each for each in recording.updates["IOC:HEARTBEAT"] if not 50 < each.at < 56
    ]
    recording.broken.append((70.0, "client 0 lost its circuit"))
    assert broken(recording) == [("6 others", "HEARTBEAT"), ("6 others", "")]


@pytest.mark.parametrize(("settled", "violations"), [(True, []), (False, [("6 heals", "")])])
def test_an_instrument_that_does_not_heal_breaks_the_rule(settled: bool, violations: list[tuple[str, str]]) -> None:
    recording = generator(polls(0, END), {})
    run = CaseRun(case(1, "technix", 0), 10.0, 12.0, 15.0, 20.0, 70.0, settled, ("GEN:VMon",))
    recording.runs["GEN"] = [run]
    assert broken(recording) == violations


def test_what_was_valid_at_the_start_and_is_not_is_missing() -> None:
    recording = generator(polls(0, END), {"Conn": [Update(0.1, 2, 0)], "VMon": [Update(0.3, 0.0, 0)]})
    recording.updates["GEN:IMon"] = [Update(0.3, 0.0, 3)]
    recording.start = {"GEN": recording.valid("GEN")}
    assert recording.missing("GEN", ["VMon"]) == []
    recording.updates["GEN:VMon"].append(Update(0.5, 0.0, 3))
    assert recording.missing("GEN", []) == ["GEN:VMon"]
    recording.updates["GEN:Conn"].append(Update(0.6, 0, 2))
    assert "GEN:Conn" in recording.missing("GEN", [])
