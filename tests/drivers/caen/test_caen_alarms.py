"""Alarms that hold only while they mean something, and what tells the worst of a board."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from drivers.base import Reading, Severity, Status
from drivers.caen.board.relative import SetpointAlarms
from drivers.caen.board.rest import Rest
from drivers.caen.config import Alarms, Limits, RelativeAlarms
from drivers.caen.formats import Number, Word
from drivers.caen.items import ChannelParameter
from sim.caen.odd import OddChannel, odd_crate
from tests.drivers.crate_run import CrateRun, crate_run

CHANNELS = {2: (0, 1), 4: (0,)}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[CrateRun]:
    with crate_run(monkeypatch, odd_crate, channels=CHANNELS, alarms=Alarms(when="on")) as run:
        run.settle()
        yield run


def channel(run: CrateRun, slot: int = 2, number: int = 0) -> OddChannel:
    found = run.fake.model.channel(slot, number)
    assert isinstance(found, OddChannel)
    return found


def quiet(run: CrateRun, name: str) -> bool:
    """Return True if the record's limits do not hold for what was read last."""
    value = run.values[name]
    return isinstance(value, Reading) and not value.limits and value.severity is Severity.NO_ALARM


# ---- bits ----


def test_a_ramp_is_no_alarm_in_the_status_nor_in_its_bits(run: CrateRun) -> None:
    run.put("S02:C00:V0Set", 1200.0)
    run.run(1.5)
    word = run.values["S02:C00:Status"]
    assert isinstance(word, Reading)
    assert isinstance(word.value, int)
    assert word.value & 0x22 == 0x22  # UP, UNV
    assert word.severity is Severity.NO_ALARM
    assert quiet(run, "S02:C00:Status:UNV")
    run.run(5)
    assert run.values["S02:C00:Status:UNV"] == 0
    channel(run).bits = {"ON": 1, "UNV": 0x20}  # a status that does not say that it ramps
    channel(run).volts = 900.0
    run.run(1.5)
    word = run.values["S02:C00:Status"]
    assert isinstance(word, Reading)
    assert (word.severity, word.message) == (Severity.MINOR, "undervoltage")
    assert run.values["S02:C00:Status:UNV"] == 1


def test_a_trip_is_told_in_words(run: CrateRun) -> None:
    channel(run).trip()
    run.run(1.5)
    word = run.values["S02:C00:Status"]
    assert isinstance(word, Reading)
    assert (word.severity, word.message) == (Severity.MAJOR, "internal trip")


# ---- limits while on ----


def test_limits_hold_only_while_a_channel_is_on_and_at_rest(run: CrateRun) -> None:
    names = ["S02:C00:VMon", "S02:C00:IMon"]
    assert not any(quiet(run, name) for name in names)
    run.put("S02:C00:V0Set", 1100.0)
    run.run(1.2)
    assert all(quiet(run, name) for name in names)
    assert isinstance(run.values["S02:C01:VMon"], float)
    run.until(lambda: channel(run).resting)
    run.run(3)
    assert not any(quiet(run, name) for name in names)
    run.put("S02:C00:Pw", 0)
    run.run(60)
    assert all(quiet(run, name) for name in names)
    elements = run.values["S02:VMon:Array"]
    assert isinstance(elements, tuple)
    assert elements[0] == 0.0


def test_limits_hold_where_the_status_is_not_known(run: CrateRun) -> None:
    run.put("S02:C00:Pw", 0)
    run.run(60)
    run.fault(function="GetChParam", name="Status", code=3)
    run.run(5)
    assert not quiet(run, "S02:C00:VMon")
    assert isinstance(run.values["S02:C00:VMon"], float)


def test_without_the_key_limits_hold_always(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch, odd_crate, channels=CHANNELS) as run:
        run.settle()
        run.put("S02:C00:Pw", 0)
        run.run(2)
        assert isinstance(run.values["S02:C00:VMon"], float)


@pytest.mark.parametrize(("voltage", "current"), [("VSet", "ISet"), ("V0Set", "I0Set"), ("VSET", "ISET")])
def test_desktop_units_have_relative_alarms_too(voltage: str, current: str) -> None:
    def item(name: str, form: Any, writable: bool = False) -> ChannelParameter:
        return ChannelParameter(label=f"S00:C00:{name}", slot=0, channel=0, name=name, format=form, writable=writable)

    status = item("ChStatus", Word(((0, "ON"), (1, "UP"), (2, "DOWN"))))
    vset, iset = item(voltage, Number("V"), True), item(current, Number("uA", exponent=-6), True)
    vmon, imon = item("VMon", Number("V")), item("IMon", Number("uA", exponent=-6))
    limits = RelativeAlarms(voltage_v=Limits(major=20.0), current_ratio=Limits(minor=0.8))
    alarms = SetpointAlarms(limits, [status, vset, iset, vmon, imon], Rest(matters=False))
    for _ in range(2):
        alarms.record([status], [1])
    alarms.record([vset], [100.0])
    alarms.record([iset], [10.0])
    judged = alarms.add_alarms([vmon], {vmon.label: 50.0}, lambda labels: {})
    assert judged[vmon.label] == Reading(50.0, Severity.MAJOR, Status.LOLO)
    judged = alarms.add_alarms([imon], {imon.label: 9.0}, lambda labels: {})
    assert judged[imon.label] == Reading(9.0, Severity.MINOR, Status.HIGH)
