"""Alarms that hold only while they mean something, and what tells the worst of a board."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from drivers.base import Reading, Refused, Severity, Status
from drivers.caen.board.relative import SetpointAlarms
from drivers.caen.board.rest import Rest
from drivers.caen.config import Alarms, Limits, RelativeAlarms
from drivers.caen.formats import Number, Word
from drivers.caen.items import ChannelParameter, summary
from sim.caen.odd import OddChannel, odd_crate
from tests.drivers.caen.crate_rig import CrateRig, crate_rig
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


# ---- the worst alarm of a board and of the crate ----


def go(scenario: Callable[[CrateRig], Awaitable[None]], **keys: Any) -> None:
    async def main() -> None:
        async with crate_rig(**keys) as rig:
            await scenario(rig)

    asyncio.run(main())


def test_one_pv_a_board_and_one_a_crate_tells_the_worst_of_its_channels() -> None:
    async def scenario(rig: CrateRig) -> None:
        await rig.until(lambda: rig.state("Alarm") == (0, "NO_ALARM"))
        rig.channel(2, 1).trip()
        await rig.shows("S02:Alarm", 2, "MAJOR", 2.5)
        assert rig.amsg("S02:Alarm") == "S02:C01:Status: internal trip"
        assert (rig.state("Alarm"), rig.amsg("Alarm")) == ((2, "MAJOR"), "S02:C01:Status: internal trip")
        assert rig.state("S04:Alarm") == (0, "NO_ALARM")
        await rig.put("Cmd:ClearAlarm", 1)
        await rig.shows("Alarm", 0, seconds=2.5)
        # a limit of a record, as a site gives it
        record = rig.instrument.records["S04:C00:VMon"]
        rig.instrument.set_field(record, "HIGH", 500.0)
        await rig.shows("S04:Alarm", 1, "MINOR", 2.5)
        assert rig.amsg("S04:Alarm") == "S04:C00:VMon: HIGH"
        # what is not known is the worst
        rig.fake.model.pull(2)
        await rig.shows("S02:Alarm", 3, "INVALID", 2.5)
        assert rig.state("S04:Alarm") == (1, "MINOR")
        assert rig.state("Alarm") == (3, "INVALID")
        rig.fake.unplug()
        await rig.shows("S04:Alarm", 1, "INVALID")

    go(scenario)


def test_an_off_that_is_pending_is_an_alarm_of_its_board_and_crate() -> None:
    async def scenario(rig: CrateRig) -> None:
        await rig.until(lambda: rig.state("Alarm") == (0, "NO_ALARM"))
        rig.channel(2, 1).deaf = {"Pw"}
        with pytest.raises(Refused):
            await rig.put("S02:C01:Pw", 0)
        for name in ("S02:Alarm", "Alarm"):
            await rig.shows(name, 2, "MAJOR", 2.5)
            assert rig.amsg(name) == "S02:C01:Pw:OffPending: STATE"
        assert rig.state("S04:Alarm") == (0, "NO_ALARM")
        rig.channel(2, 1).deaf = set()
        await rig.shows("Alarm", 0)

    go(scenario)


def test_an_off_that_is_pending_is_an_alarm_also_where_the_next_board_has_no_such_channel() -> None:
    async def scenario(rig: CrateRig) -> None:
        rig.fake.model.pull(2)
        with pytest.raises(Refused):
            await rig.put("S02:C01:Pw", 0)
        board = rig.fake.model.pulled[2]
        board.serial = 9102
        del board.channels[1:]
        rig.fake.model.insert(2)
        assert rig.state("S02:C01:Pw:OffPending") == (1, "MAJOR")
        for name in ("S02:Alarm", "Alarm"):
            await rig.shows(name, 2, "MAJOR", 20)
            assert rig.amsg(name) == "S02:C01:Pw:OffPending: STATE"

    go(scenario)


def test_a_board_with_a_parameter_of_that_name_keeps_it(run: CrateRun) -> None:
    names: set[str] = {"S02:Alarm"}
    assert summary(names, "S02", ["S02:"]).name == "S02:AlarmState"
    assert summary(set(), "S02", ["S02:"]).name == "S02:Alarm"


def test_no_scan_reads_the_worst_alarm(run: CrateRun) -> None:
    found = {point.name: point.worst_of for point in run.driver.points if point.worst_of}
    assert found == {"S02:Alarm": ("S02:",), "S04:Alarm": ("S04:",), "Alarm": ("S02:", "S04:")}
    assert not found.keys() & run.values.keys()
