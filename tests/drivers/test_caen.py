"""The CAEN driver with real caen-libs above a simulated crate at the far end of the C interface."""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from drivers.base import (
    Array,
    BadReply,
    DeviceError,
    LinkDown,
    NoReply,
    Point,
    Reading,
    Readings,
    RecordType,
    Refused,
    Severity,
    Status,
    Value,
)
from drivers.caen import DRIVER, Caen, Config
from drivers.caen.bits import BITS
from sim.caen.fake import CrateFake
from sim.caen.faults import Fault
from sim.caen.header import Code, Mode, Type
from sim.caen.library import LIBRARY
from sim.caen.parameters import Param
from sim.rack import Rack
from tests.drivers.steps import blocks, merged

KEYS: dict[str, Any] = {
    "system": "SY4527",
    "link": "TCPIP",
    "host": "crate",
    "username": "admin",
    "password": "hunter2",
}
INVALID_READ = Reading(None, Severity.INVALID, Status.READ)
UNPLUGGED = Reading(None, Severity.INVALID, Status.COMM, message="nothing is plugged into the channel")
GONE = Reading(None, Severity.INVALID, Status.COMM, message="the board is gone")
INVALID_UDF = Reading(None, Severity.INVALID, Status.UDF, message="its unit or range is not certain now")


def without_answer(readings: Iterable[object]) -> list[Reading]:
    """Return the readings that are INVALID, for nothing is there."""
    found = (each for each in readings if isinstance(each, Reading))
    return [each for each in found if (each.severity, each.status) == (Severity.INVALID, Status.COMM)]


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tests.drivers.steps.time.sleep", clock.sleep)
    monkeypatch.setattr("drivers.caen.retry.monotonic", clock)
    return clock


@pytest.fixture
def rack(clock: Clock) -> Iterator[Rack]:
    with Rack({"HV1": {"driver": "caen", **KEYS}}, clock=clock) as rack:
        yield rack


@pytest.fixture
def crate(rack: Rack) -> Iterator[CrateFake]:
    fake = rack.fakes["HV1"]
    assert isinstance(fake, CrateFake)
    fake.latency = fake.patience = 0.0
    yield fake
    assert fake.violations == []


@pytest.fixture
def start(crate: CrateFake) -> Iterator[Callable[..., Caen]]:
    drivers: list[Caen] = []

    def connect(**keys: Any) -> Caen:
        driver = Caen(Config(**{**KEYS, "system": crate.model.system, **keys}))
        drivers.append(driver)
        connect_and_explore(driver)
        return driver

    yield connect
    for driver in drivers:
        driver.close()


@pytest.fixture
def caen(start: Callable[..., Caen]) -> Caen:
    """A driver for four channels of two kinds of board."""
    return start(channels={2: (0, 1), 4: (0, 1)})


def connect_and_explore(driver: Caen) -> None:
    """Connect, and read until all is served; what is read has a point by then."""
    driver.connect()
    while driver.exploring:
        for block in blocks(driver.read("monitor")):
            assert block.keys() <= {point.name for point in driver.points}


def point(driver: Caen, name: str) -> Point:
    return next(point for point in driver.points if point.name == name)


def scan(driver: Caen, group: str = "monitor") -> dict[str, Value | Array | Reading]:
    return merged(driver.read(group))


def put(driver: Caen, name: str, value: Value) -> Readings:
    return merged(driver.write(point(driver, name), value))


def calls(crate: CrateFake) -> list[str]:
    """The calls since this was last asked, without their time."""
    texts = [line.split(maxsplit=1)[1] for line in crate.transactions]
    crate.transactions.clear()
    return texts


def library_error(code: str, words: str = "the crate's own words") -> Exception:
    from caen_libs import caenhvwrapper as hv

    return hv.Error(words, hv.Error.Code[code].value, "CAENHV_GetChParam")


def fail(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception) -> None:
    from caen_libs import caenhvwrapper as hv

    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(hv.Device, method, failing)


# ---- what there is ----


def test_the_driver_is_found_by_its_names() -> None:
    assert DRIVER is Caen
    assert DRIVER.Config is Config
    assert Caen.discovers
    assert Caen(Config(**KEYS)).points == ()


def test_all_that_the_crate_has_becomes_points(start: Callable[..., Caen], crate: CrateFake) -> None:
    driver = start()
    names = [point.name for point in driver.points]
    assert len(names) == len(set(names))
    assert max(map(len, names)) <= Caen.name_size
    for slot, board in crate.model.boards.items():
        for number, channel in enumerate(board.channels):
            for param in channel.params.values():
                assert f"S{slot:02d}:C{number:02d}:{param.name}" in names
    for point in driver.points:
        assert len(point.desc) <= 40
        assert point.desc.isascii()
        assert len(point.egu) <= 15
        assert all(word and len(word) <= 25 for word in point.states)


def test_each_group_answers_its_points_and_the_ranges_of_currents(
    start: Callable[..., Caen], crate: CrateFake
) -> None:
    driver = start()
    for group in driver.scan:
        names = [name for block in blocks(driver.read(group)) for name in block]
        assert len(names) == len(set(names))
        more = {point.name for point in driver.points if ":IMRange_RBV" in point.name and group == "monitor"}
        assert set(names) == {point.name for point in driver.points if point.group == group} | more
    assert {point.group for point in driver.points} == {"", *driver.scan}
    assert crate.writes == 0


def test_a_setting_has_limits_and_a_readback_that_it_follows(caen: Caen) -> None:
    setting, readback = point(caen, "S02:C00:V0Set"), point(caen, "S02:C00:V0Set_RBV")
    assert (setting.rtyp, setting.group, setting.follows) == (RecordType.ao, "", "S02:C00:V0Set_RBV")
    assert (setting.drvl, setting.drvh, setting.egu, setting.prec) == (0.0, 2500.0, "V", 1)
    assert (readback.rtyp, readback.group, readback.follows) == (RecordType.ai, "settings", None)
    assert (readback.drvl, readback.drvh, readback.lopr, readback.hopr) == (None, None, 0.0, 2500.0)


def test_record_types_follow_the_crates_types(caen: Caen) -> None:
    expected = {
        "S02:C00:VMon": RecordType.ai,
        "S02:C00:Pw": RecordType.bo,
        "S02:C00:Pw_RBV": RecordType.bi,
        "S02:C00:Status": RecordType.longin,
        "S02:C00:Status:OVC": RecordType.bi,
        "S02:C00:Name": RecordType.stringout,
        "S04:C00:IMRange": RecordType.mbbo,
        "S04:C00:IMRange_RBV": RecordType.mbbi,
        "S04:C00:Polarity": RecordType.stringin,
        "S02:Model": RecordType.stringin,
        "S02:Channels": RecordType.longin,
        "Sys:ModelName": RecordType.stringin,
        "Sys:CPULoad": RecordType.ai,
        "Sys:UpTime": RecordType.ai,
        "Sys:FrontPanIn": RecordType.longin,
        "Sys:OutputLevel": RecordType.bo,
        "Cmd:Kill": RecordType.bo,
    }
    assert {name: point(caen, name).rtyp for name in expected} == expected


def test_units_words_and_names_come_from_the_crate(caen: Caen) -> None:
    assert point(caen, "S02:C00:IMon").egu == "uA"
    assert point(caen, "S02:C00:RUp").egu == "V/s"
    assert point(caen, "S02:C00:PDwn").states == ("Kill", "Ramp")
    assert point(caen, "S04:C00:IMRange").states == ("High", "Low")
    assert point(caen, "S02:C01:VMon").desc == "S02C01 VMon"
    assert "whole crate" in point(caen, "Cmd:Kill").desc
    assert point(caen, "S02:C00:Trip").egu == "s"
    assert "1000 = never" in point(caen, "S02:C00:Trip").desc


def test_only_the_configured_channels_are_served(caen: Caen) -> None:
    places = {point.name[:7] for point in caen.points if point.name[3:5] == ":C" and point.name[5].isdigit()}
    assert places == {"S02:C00", "S02:C01", "S04:C00", "S04:C01"}
    assert not any(point.name.startswith("S08") for point in caen.points)


def test_channels_of_several_kinds_on_one_board_are_asked_one_by_one(start: Callable[..., Caen]) -> None:
    driver = start(channels={8: "ALL"})
    names = {point.name for point in driver.points}
    assert {"S08:C00:HsTemp", "S08:C01:CtrlMask"} <= names
    assert not {"S08:C01:HsTemp", "S08:C00:CtrlMask"} & names
    assert scan(driver, "settings")["S08:C01:CtrlMask_RBV"] == Reading(5)


def test_a_parameter_of_two_types_on_one_board_is_read_in_two_calls(
    start: Callable[..., Caen], crate: CrateFake
) -> None:
    channel = crate.model.channel(2, 1)
    channel.params["RUp"] = Param(name="RUp", type=Type.ENUM, enum=("slow", "fast"), maxval=1)
    channel.values["RUp"] = 1
    driver = start(channels={2: (0, 1, 2)})
    calls(crate)
    readings = scan(driver, "settings")
    assert [call for call in calls(crate) if "RUp" in call and "GetChParam " in call] == [
        "GetChParam 2 [0, 2] RUp 50 50 -> 0",
        "GetChParam 2 [1] RUp 1 -> 0",
    ]
    assert readings["S02:C01:RUp_RBV"] == 1


@pytest.mark.parametrize(
    ("system", "trip", "mask"),
    [("SY1527", "I_TRIPPED", 0x200), ("SY4527", "I_TRIPPED", 0x200), ("N1470", "TRIPPED", 0x80),
     ("V65XX", "TRIP", 0x100), ("SMARTHV", "TRIPPED", 0x40), ("DT55XXE", "TRIPPED", 0x80)],
)  # fmt: skip
def test_bits_are_those_of_the_system(clock: Clock, system: str, trip: str, mask: int) -> None:
    keys = {**KEYS, "system": system}
    with Rack({"HV1": {"driver": "caen", **keys}}, clock=clock) as rack:
        fake = rack.fakes["HV1"]
        assert isinstance(fake, CrateFake)
        fake.latency = 0.0
        driver = Caen(Config(**keys, channels={2: (0,)}))
        connect_and_explore(driver)
        rack.command("HV1 trip 2 0")
        readings = scan(driver)
        driver.close()
    bits = {name: value for name, value in readings.items() if name.startswith("S02:C00:Status:")}
    assert bits[f"S02:C00:Status:{trip}"] == 1
    word = readings["S02:C00:Status"]
    assert isinstance(word, Reading)
    assert isinstance(word.value, int)
    assert word.value & mask
    assert (word.severity, word.status) == (Severity.MAJOR, Status.STATE)


@pytest.mark.parametrize("table", ["_CH_STATUS_TYPE", "_BD_STATUS_TYPE"])
def test_every_bit_that_caen_libs_names_has_a_severity(crate: CrateFake, table: str) -> None:
    from caen_libs import caenhvwrapperflags as flags

    types = [*getattr(flags, table).values(), flags._ChStatusDefault, flags._BdStatusDefault]
    assert {bit.name for kind in types for bit in kind} <= set(BITS)


def test_the_bits_of_a_word_are_numbered_as_caen_libs_does(caen: Caen) -> None:
    from caen_libs import caenhvwrapperflags as flags

    names = [point.name.rpartition(":")[2] for point in caen.points if point.name.startswith("S02:C00:Status:")]
    assert names == [bit.name for bit in flags._ChStatusSY4527]


def test_severities_of_bits(caen: Caen) -> None:
    def severity(bit: str) -> Severity:
        good, bad = point(caen, f"S02:C00:Status:{bit}").severities
        assert good is Severity.NO_ALARM
        return bad

    assert {severity(bit) for bit in ("ON", "UP", "DOWN")} == {Severity.NO_ALARM}
    assert {severity(bit) for bit in ("OVV", "UNV", "HV_MAX", "EXT_DIS")} == {Severity.MINOR}
    assert {severity(bit) for bit in ("OVC", "E_TRIPPED", "I_TRIPPED", "UNPLUGG", "CAL_ERR", "PWR_FAIL", "TEMP_FAIL",
                                      "OVV_PROT")} == {Severity.MAJOR}  # fmt: skip


def test_what_cannot_be_discovered_does_not_hide_the_rest(
    start: Callable[..., Caen], crate: CrateFake, caplog: pytest.LogCaptureFixture
) -> None:
    channel = crate.model.channel(2, 0)
    channel.params["Strange"] = Param(name="Strange", mode=Mode.RDONLY, unit=99)  # type: ignore[arg-type]
    channel.params["V Mon"] = replace(channel.params["VMon"], name="V Mon")
    channel.params["V.Mon"] = replace(channel.params["VMon"], name="V.Mon")
    channel.values |= {"Strange": 1.0, "V Mon": 1.0, "V.Mon": 2.0}
    driver = start(channels={2: (0,), 4: (0,)})
    names = [point.name for point in driver.points]
    assert point(driver, "S02:C00:Strange").egu == "unit 99"
    assert names.count("S02:C00:V_Mon") == 1
    assert {"S02:C00:VMon", "S04:C00:VMon"} <= set(names)
    assert "two of that name" in caplog.text
    assert scan(driver)["S02:C00:V_Mon"] == 1.0


def test_a_parameter_that_the_crate_names_but_does_not_have_is_left_out(
    start: Callable[..., Caen], monkeypatch: pytest.MonkeyPatch
) -> None:
    from caen_libs import caenhvwrapper as hv

    ask = hv.Device.get_ch_param_info
    monkeypatch.setattr(hv.Device, "get_ch_param_info", lambda *args: (*ask(*args), "Ghost"))
    names = [point.name for point in start(channels={2: (0,)}).points]
    assert not any("Ghost" in name for name in names)
    assert "S02:C00:VMon" in names


# ---- scans ----


def calls_of_a_scan(driver: Caen, crate: CrateFake) -> list[list[str]]:
    calls(crate)
    scan(driver)
    return [call.split(" -> ")[0].split()[:3] for call in calls(crate)]


@contextmanager
def crate_beside(keys: dict[str, Any]) -> Iterator[CrateFake]:
    with Rack({"HV2": {"driver": "caen", **keys}}) as others:
        other = others.fakes["HV2"]
        assert isinstance(other, CrateFake)
        other.latency = other.patience = 0.0
        yield other


def test_a_crate_that_comes_and_goes_costs_another_one_no_call(start: Callable[..., Caen], crate: CrateFake) -> None:
    driver, keys = start(channels={2: (0, 1)}), {**KEYS, "host": "other"}
    settle(driver)
    usual = calls_of_a_scan(driver, crate)
    with crate_beside(keys):
        for _ in range(2):
            coming = Caen(Config(**{**keys, "channels": {2: (0,)}}))
            connect_and_explore(coming)
            coming.close()
    assert calls_of_a_scan(driver, crate) == usual


def test_a_crate_whose_boards_come_and_go_costs_another_one_no_call(
    start: Callable[..., Caen], crate: CrateFake
) -> None:
    driver, keys = start(channels={2: (0, 1)}), {**KEYS, "host": "other"}
    settle(driver)
    usual = calls_of_a_scan(driver, crate)
    with crate_beside(keys) as other:
        neighbour = Caen(Config(**{**keys, "channels": {2: (0,)}}))
        connect_and_explore(neighbour)
        scan(driver)
        calls(other)
        swap(other)
        scan(neighbour, "settings")
        assert any("GetCrateMap" in call for call in calls(other))
        assert calls_of_a_scan(driver, crate) == usual
        neighbour.close()


def test_a_scan_makes_one_call_for_each_parameter_and_board(start: Callable[..., Caen], crate: CrateFake) -> None:
    driver = start(channels={2: (0, 1), 4: (0, 2)})
    settle(driver)
    for each in ((2, 0), (2, 1), (4, 0), (4, 2)):
        channel = crate.model.channel(*each)
        channel.noise, channel.volts, channel.on, channel.resistance = 0.0, 100.0 + each[1], False, 1e7
        channel.values["RDWn"] = 0.0
    crate.model.boards[4].channels[0].values["Temp"] = crate.model.boards[4].channels[2].values["Temp"] = 30.5
    settle(driver)  # what the change of the status words made doubtful is read
    calls(crate)
    readings = scan(driver)
    assert calls(crate) == [
        "GetBdParam [2] BdStatus 0 -> 0",
        "GetChParam 2 [0, 1] Status 5 5 -> 0",
        "GetBdParam [2] HVMax 2800 -> 0",
        "GetBdParam [2] Temp 29.5 -> 0",
        "GetChParam 2 [0, 1] VMon 100 101 -> 0",
        "GetChParam 2 [0, 1] IMon 10 10.1 -> 0",
        "GetChParam 2 [0, 1] Pw 0 0 -> 0",
        "GetBdParam [4] BdStatus 0 -> 0",
        "GetChParam 4 [0, 2] Status 5 5 -> 0",
        "GetBdParam [4] HVMax 480 -> 0",
        "GetBdParam [4] Temp 27 -> 0",
        "GetChParam 4 [0, 2] VMon 100 102 -> 0",
        "GetChParam 4 [0, 2] Polarity - - -> 0",
        "GetChParam 4 [0, 2] Temp 30.5 30.5 -> 0",
        "GetChParam 4 [0, 2] Pw 0 0 -> 0",
        "GetChParam 4 [0, 2] IMon 10 10.2 -> 0",
        "GetChParam 4 [0, 2] IMRange 0 0 -> 0",
    ]
    assert readings["S04:C02:IMon"] == 10.2  # by its place in the list, not by its number
    assert readings["S02:C01:VMon"] == 101.0
    assert readings["S02:C01:Status:DOWN"] == 1


def test_settings_are_read_with_names_and_facts(caen: Caen, crate: CrateFake) -> None:
    readings = scan(caen, "settings")
    assert readings["S02:Model"] == "A1833P"
    assert readings["S04:Serial"] == "70311"  # of the crate map: the answer about a single board has but 16 bits
    assert readings["S02:Firmware"] == "{}.{}".format(*crate.model.boards[2].firmware)
    assert readings["S02:Channels"] == 28
    assert readings["S02:C01:Name_RBV"] == "S02C01"
    assert readings["S02:C00:I0Set_RBV"] == 400.0
    assert readings["Sys:ModelName"] == "SY4527"
    assert readings["Sys:OutputLevel_RBV"] == 1
    assert readings["Sys:PWCurrent"] == INVALID_READ


def test_channel_names_come_in_one_call_for_a_board(caen: Caen, crate: CrateFake) -> None:
    calls(crate)
    scan(caen, "settings")
    assert [call for call in calls(crate) if call.startswith("GetChName")] == [
        "GetChName 2 [0, 1] -> 0",
        "GetChName 4 [0, 1] -> 0",
    ]


def test_a_bad_channel_is_invalid_and_the_others_are_not(caen: Caen, rack: Rack, crate: CrateFake) -> None:
    rack.command("HV1 badchannel 2 1")
    readings = scan(caen)
    assert readings["S02:C01:VMon"] == INVALID_READ
    assert readings["S02:C01:Status:ON"] == INVALID_READ
    assert readings["S02:C00:VMon"] != INVALID_READ
    assert {point.name for point in caen.points if point.group == "monitor"} <= set(readings)


def test_a_bad_channel_does_not_cost_a_call_for_each_channel_for_ever(
    start: Callable[..., Caen], rack: Rack, crate: CrateFake, clock: Clock
) -> None:
    driver = start(channels={2: "ALL"})
    settle(driver)
    calls(crate)
    scan(driver)
    usual = len(calls(crate))
    rack.command("HV1 badchannel 2 5")
    scan(driver)
    assert len(reads(calls(crate))) <= usual + 11 + 3 * 3  # 28 are halved until it is found, then it is suspected
    costs = []
    for _ in range(40):
        clock.now += 1
        readings = scan(driver)
        assert readings["S02:C05:VMon"] == INVALID_READ
        assert isinstance(readings["S02:C04:VMon"], float)
        costs.append(len(reads(calls(crate))) - usual)
    # The last one is tried again in the scan in which it was found, and a property that the crate does not have
    assert max(costs) <= 6
    assert sum(costs) <= 5 * 7
    rack.command("HV1 badchannel 2 5 0")
    clock.now += 32
    for _ in range(2):
        readings = scan(driver)
    assert readings["S02:C05:VMon"] != INVALID_READ


def test_a_channel_with_nothing_connected_shows_no_numbers(caen: Caen, crate: CrateFake) -> None:
    crate.model.channel(2, 0).unplugged = True
    readings = scan(caen)
    assert readings["S02:C00:VMon"] == UNPLUGGED
    assert readings["S02:C00:Status:UNPLUGG"] == 1
    assert readings["S02:C01:VMon"] != UNPLUGGED
    crate.model.channel(2, 0).unplugged = False
    assert scan(caen)["S02:C00:VMon"] != UNPLUGGED


def reads(lines: Sequence[str]) -> list[str]:
    """The calls that read values."""
    return [line for line in lines if line.startswith(("GetChParam ", "GetBdParam ", "GetSysProp ", "GetChName"))]


def test_text_that_is_not_ascii_spoils_only_itself(caen: Caen, monkeypatch: pytest.MonkeyPatch) -> None:
    from caen_libs import caenhvwrapper as hv

    read = hv.Device.get_ch_param

    def latin(self: Any, slot: int, channels: Sequence[int], name: str) -> Any:
        return b"\xb0".decode("ascii") if name == "Polarity" and 1 in channels else read(self, slot, channels, name)

    monkeypatch.setattr(hv.Device, "get_ch_param", latin)
    readings = scan(caen)
    assert readings["S04:C01:Polarity"] == INVALID_READ
    assert readings["S04:C00:Polarity"] == "-"
    assert readings["S04:C01:VMon"] != INVALID_READ


def test_a_name_without_its_end_spoils_only_itself(caen: Caen, monkeypatch: pytest.MonkeyPatch) -> None:
    from caen_libs import caenhvwrapper as hv

    read = hv.Device.get_ch_name

    def too_long(self: Any, slot: int, channels: Sequence[int]) -> Any:
        if 1 in channels:
            raise ValueError("String longer than buffer size.")
        return read(self, slot, channels)

    monkeypatch.setattr(hv.Device, "get_ch_name", too_long)
    readings = scan(caen, "settings")
    assert readings["S02:C01:Name_RBV"] == "S02C01"  # read once more, each in its field
    assert readings["S02:C00:Name_RBV"] == "S02C00"


def test_garbage_costs_what_it_hits_for_a_second(caen: Caen, rack: Rack, clock: Clock) -> None:
    settle(caen)
    rack.command("HV1 garbage 2")
    hit = {name for name, value in scan(caen).items() if value == INVALID_READ}
    assert hit
    assert hit <= {point.name for point in caen.points if point.name.startswith("S02:BdStatus")}
    clock.now += 1
    assert INVALID_READ not in scan(caen).values()


def test_garbage_without_end_is_a_lost_link(start: Callable[..., Caen], rack: Rack, crate: CrateFake) -> None:
    driver = start()
    rack.command("HV1 garbage 100000")
    calls(crate)
    with pytest.raises(LinkDown):
        scan(driver)
    assert len(calls(crate)) < 100


# ---- arrays ----


def blocks_with(driver: Caen, name: str, group: str = "monitor") -> list[Readings]:
    return [block for block in blocks(driver.read(group)) if name in block]


def array(driver: Caen, name: str, group: str = "monitor") -> tuple[Value, ...]:
    """The value of an array that is not in alarm."""
    value = scan(driver, group)[name]
    assert isinstance(value, tuple)
    return value


def faulty(driver: Caen, name: str) -> Reading:
    """An array in alarm."""
    (block,) = blocks_with(driver, name)
    value = block[name]
    assert isinstance(value, Reading)
    return value


def test_a_board_has_arrays_of_what_its_channels_have(start: Callable[..., Caen]) -> None:
    driver = start()
    arrays = {
        p.name: (p.ftvl, p.nelm, p.egu, p.prec, p.group) for p in driver.points if p.rtyp is RecordType.waveform
    }
    assert arrays == {
        "S02:VMon:Array": ("DOUBLE", 28, "V", 1, "monitor"),
        "S02:IMon:Array": ("DOUBLE", 28, "uA", 2, "monitor"),
        "S02:Status:Array": ("LONG", 28, "", 0, "monitor"),
        "S02:Name:Array": ("STRING", 28, "", 0, "settings"),
        "S04:VMon:Array": ("DOUBLE", 24, "V", 3, "monitor"),
        "S04:IMon:Array": ("DOUBLE", 24, "uA", 3, "monitor"),
        "S04:Status:Array": ("LONG", 24, "", 0, "monitor"),
        "S04:Name:Array": ("STRING", 24, "", 0, "settings"),
        "S08:VMon:Array": ("DOUBLE", 12, "V", 1, "monitor"),
        "S08:IMon:Array": ("DOUBLE", 12, "mA", 4, "monitor"),
        "S08:Status:Array": ("LONG", 12, "", 0, "monitor"),
        "S08:Name:Array": ("STRING", 12, "", 0, "settings"),
    }


def test_the_elements_are_the_channels_readings_of_the_same_block(start: Callable[..., Caen]) -> None:
    driver = start(channels={2: "ALL"})
    for name in ("VMon", "IMon", "Status"):
        (block,) = blocks_with(driver, f"S02:{name}:Array")
        single = [block[f"S02:C{channel:02d}:{name}"] for channel in range(28)]
        assert block[f"S02:{name}:Array"] == tuple(v.value if isinstance(v, Reading) else v for v in single)
    assert array(driver, "S02:Name:Array", "settings") == tuple(f"S02C{channel:02d}" for channel in range(28))


def test_an_element_without_a_channel_is_nan_0_or_empty_and_no_alarm(start: Callable[..., Caen]) -> None:
    driver = start(channels={2: (1,), 8: (0, 1)})
    readings = scan(driver) | scan(driver, "settings")
    assert nan_at(readings["S02:VMon:Array"]) == [0, *range(2, 28)]
    assert readings["S02:Status:Array"] == (0, 1, *[0] * 26)
    assert readings["S02:Name:Array"] == ("", "S02C01", *[""] * 26)
    assert nan_at(readings["S08:VMon:Array"]) == list(range(2, 12))
    assert nan_at(readings["S08:IMon:Array"]) == [0, *range(2, 12)]  # channel 0 has no IMon


def nan_at(value: object) -> list[int]:
    assert isinstance(value, tuple)
    return [index for index, element in enumerate(value) if element != element]  # noqa: PLR0124 - NaN


def test_a_bad_channel_is_nan_in_an_array_that_says_so(caen: Caen, rack: Rack, clock: Clock) -> None:
    rack.command("HV1 badchannel 2 1")
    for _ in range(3):  # read one by one, by itself, and not at all
        volts, words = faulty(caen, "S02:VMon:Array"), faulty(caen, "S02:Status:Array")
        assert (volts.severity, volts.status) == (Severity.MINOR, Status.READ)
        assert 0 not in nan_at(volts.value)
        assert 1 in nan_at(volts.value)
        assert (words.severity, words.status) == (Severity.INVALID, Status.READ)  # a 0 would look like a good word
        assert isinstance(words.value, tuple)
        assert words.value[:2] == (1, 0)
    rack.command("HV1 badchannel 2 1 0")
    clock.now += 5
    for _ in range(2):
        readings = scan(caen)
    assert nan_at(readings["S02:VMon:Array"]) == list(range(2, 28))
    assert readings["S02:Status:Array"] == (1, 1, *[0] * 26)


def test_a_channel_with_nothing_connected_is_nan(caen: Caen, crate: CrateFake) -> None:
    crate.model.channel(2, 0).unplugged = True
    volts = faulty(caen, "S02:VMon:Array")
    assert (volts.severity, volts.status) == (Severity.MINOR, Status.COMM)
    assert 0 in nan_at(volts.value)
    assert array(caen, "S02:Status:Array")[0] == 0x801  # that was read


def test_the_words_of_an_array_are_no_alarm(caen: Caen, rack: Rack) -> None:
    rack.command("HV1 trip 2 0")
    word = array(caen, "S02:Status:Array")[0]
    assert isinstance(word, int)
    assert word & 0x200


def test_an_array_of_a_pulled_board_is_invalid_as_its_channels_are(caen: Caen, rack: Rack) -> None:
    rack.command("HV1 pull 2")
    for _ in range(2):
        readings = scan(caen) | scan(caen, "settings")
        for name in ("VMon", "IMon", "Status", "Name"):
            assert readings[f"S02:{name}:Array"] == GONE
    rack.command("HV1 insert 2")
    scan(caen, "settings")
    assert nan_at(scan(caen)["S02:VMon:Array"]) == list(range(2, 28))


def test_where_units_differ_the_array_has_the_coarsest(caen: Caen, rack: Rack) -> None:
    fine, array_before = scan(caen)["S04:C01:IMon"], array(caen, "S04:IMon:Array")
    assert array_before[1] == pytest.approx(fine, abs=0.01)
    rack.command("HV1 front 4 1 IMRange 1")
    scan(caen, "settings")
    scan(caen)
    readings = scan(caen)
    assert (point(caen, "S04:C01:IMon").egu, point(caen, "S04:IMon:Array").egu) == ("nA", "uA")
    values, fine = readings["S04:IMon:Array"], readings["S04:C01:IMon"]
    assert isinstance(values, tuple)
    assert isinstance(fine, float)
    assert values[0] == readings["S04:C00:IMon"]
    assert values[1] == fine / 1000
    rack.command("HV1 front 4 0 IMRange 1")
    for _ in range(3):
        scan(caen, "settings")
        readings = scan(caen)
    assert point(caen, "S04:IMon:Array").egu == "nA"
    values = readings["S04:IMon:Array"]
    assert isinstance(values, tuple)
    assert values[1] == readings["S04:C01:IMon"]


def test_arrays_cost_no_call(caen: Caen, crate: CrateFake) -> None:
    calls(crate)
    scan(caen)
    assert len([call for call in calls(crate) if " VMon " in call]) == 2


# ---- boards and links that go ----


def test_a_pulled_board_is_invalid_and_the_others_go_on(caen: Caen, rack: Rack, crate: CrateFake) -> None:
    rack.command("HV1 pull 2")
    readings = scan(caen)
    monitored = [point.name for point in caen.points if point.group == "monitor"]
    assert set(monitored) < set(readings)
    assert {readings[name] for name in readings if name.startswith("S02")} == {GONE}
    assert readings["S02:C00:V0Set_RBV"] == GONE  # the settings at once, not at their next scan
    assert not without_answer(readings[name] for name in monitored if name.startswith("S04"))
    assert scan(caen, "settings")["S02:Model"] == GONE
    calls(crate)
    scan(caen)
    assert not [call for call in calls(crate) if call.startswith(("GetChParam 2", "GetBdParam [2]"))]


def test_a_put_to_a_pulled_board_is_refused(caen: Caen, rack: Rack) -> None:
    rack.command("HV1 pull 2")
    for _ in range(2):
        with pytest.raises(Refused):
            put(caen, "S02:C00:V0Set", 100.0)


def test_a_board_that_is_put_back_is_served_again(caen: Caen, rack: Rack, crate: CrateFake) -> None:
    points = caen.points
    rack.command("HV1 pull 2")
    scan(caen)
    rack.command("HV1 insert 2")
    assert scan(caen, "settings")["S02:Model"] == "A1833P"
    assert not without_answer(scan(caen).values())
    assert caen.points is points
    calls(crate)
    scan(caen, "settings")
    assert not [call for call in calls(crate) if call.startswith("GetCrateMap")]


def swap(crate: CrateFake) -> None:
    """The board of slot 8 comes to slot 2."""
    boards = crate.model.boards
    boards[2] = boards.pop(8)


def settle(driver: Caen) -> None:
    for _ in range(50):
        scan(driver)


def test_another_board_in_the_slot_gives_its_own_points(
    caen: Caen, crate: CrateFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(caen, "settings")
    swap(crate)
    scan(caen, "settings")
    assert set(scan_of_slot(caen, "S02").values()) <= {GONE}
    settle(caen)
    names = {point.name for point in caen.points}
    assert "S02:C00:HsTemp" in names
    assert "S02:C00:IMon" not in names
    assert scan(caen, "settings")["S02:Model"] == "A1737"
    assert not without_answer(scan(caen).values())


def test_a_board_that_is_changed_while_it_is_asked_is_asked_again(caen: Caen, crate: CrateFake) -> None:
    swap(crate)
    scan(caen, "settings")
    boards = crate.model.boards
    asking = caen.read("monitor")
    for _ in range(5):
        next(asking)
    boards[2], boards[4] = boards[4], boards[2]
    settle(caen)
    scan(caen, "settings")
    settle(caen)
    readings = scan(caen, "settings")
    assert (readings["S02:Model"], readings["S04:Model"]) == ("A1535DN", "A1737")
    assert {"S02:C00:IMRange", "S04:C00:HsTemp"} <= {point.name for point in caen.points}


def scan_of_slot(driver: Caen, prefix: str) -> dict[str, Value | Array | Reading]:
    return {name: value for block in blocks(driver.read("settings")) for name, value in block.items()
            if name.startswith(prefix)}  # fmt: skip


def test_a_board_in_a_slot_that_was_empty_is_found(start: Callable[..., Caen], rack: Rack, crate: CrateFake) -> None:
    rack.command("HV1 pull 4")
    driver = start(channels={2: (0,), 4: (0,)})
    assert not any(point.name.startswith("S04") for point in driver.points)
    rack.command("HV1 insert 4")
    scan(driver, "settings")
    settle(driver)
    assert any(point.name == "S04:C00:VMon" for point in driver.points)


def test_each_empty_slot_is_looked_into_with_each_scan_of_the_settings(
    start: Callable[..., Caen], rack: Rack, crate: CrateFake
) -> None:
    rack.command("HV1 pull 4")
    driver = start()
    rack.command("HV1 insert 4")
    calls(crate)
    scan(driver, "settings")
    assert len([call for call in calls(crate) if call.startswith("TestBdPresence")]) == crate.model.slots
    settle(driver)
    assert any(point.name == "S04:C23:VMon" for point in driver.points)


def test_a_crate_that_cannot_tell_about_boards_is_served_all_the_same(
    caen: Caen, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, "test_bd_presence", library_error("FUNCTIONNOTAVAILABLE"))
    assert scan(caen, "settings")["S02:Model"] == "A1833P"
    assert not without_answer(scan(caen).values())


def test_not_present_of_a_slot_costs_that_slot_only(caen: Caen, monkeypatch: pytest.MonkeyPatch) -> None:
    from caen_libs import caenhvwrapper as hv

    read = hv.Device.get_ch_param

    def failing(self: Any, slot: int, channels: Sequence[int], name: str) -> Any:
        if slot == 2:
            raise library_error("NOTPRES")
        return read(self, slot, channels, name)

    monkeypatch.setattr(hv.Device, "get_ch_param", failing)
    for _ in range(3):
        readings = scan(caen)
    assert readings["S02:C00:VMon"] == INVALID_READ
    assert not isinstance(readings["S04:C00:VMon"], Reading)
    assert not isinstance(readings["S02:Temp"], Reading)


def test_all_boards_pulled_is_not_a_lost_link(caen: Caen, rack: Rack) -> None:
    rack.command("HV1 pull 2")
    rack.command("HV1 pull 4")
    for _ in range(3):
        assert set(scan(caen).values()) == {GONE}
        scan(caen, "settings")


def test_a_crate_that_reboots_is_served_again_without_being_asked_all(
    caen: Caen, rack: Rack, crate: CrateFake, clock: Clock
) -> None:
    points = caen.points
    rack.command("HV1 reboot 5")
    with pytest.raises(LinkDown):
        scan(caen)
    caen.close()
    with pytest.raises(LinkDown):
        caen.connect()
    clock.now += 6
    calls(crate)
    caen.connect()
    assert not [call for call in calls(crate) if call.startswith("GetChParamProp")]
    assert caen.points == points
    assert not without_answer(scan(caen).values())
    assert crate.writes == 0


def test_a_board_that_went_while_the_crate_was_away_stays_invalid(caen: Caen, rack: Rack) -> None:
    caen.close()
    rack.command("HV1 pull 2")
    caen.connect()
    assert scan(caen)["S02:C00:VMon"] == GONE
    assert scan(caen, "settings")["S02:Model"] == GONE


# ---- sessions ----


def test_a_wrong_password_is_told_without_it(start: Callable[..., Caen], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(LinkDown, match=r"crate.*'admin'.*wrong user name or password") as refusal:
        start(password="secret-word")
    assert "secret-word" not in f"{caplog.text}{refusal.value!r}{refusal.value.__cause__!r}"


def test_a_password_that_cannot_be_sent_is_not_told_either(start: Callable[..., Caen]) -> None:
    with pytest.raises(LinkDown, match="ASCII") as refusal:
        start(password="gehe\xedm")
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__
    assert "gehe" not in str(refusal.value)


def test_a_crate_whose_sessions_are_all_in_use_says_so(start: Callable[..., Caen], crate: CrateFake) -> None:
    crate.most_sessions = 0
    with pytest.raises(LinkDown, match="all of the crate's sessions are in use"):
        start()


def test_sessions_are_closed(caen: Caen, crate: CrateFake) -> None:
    assert crate.model.sessions == ["admin"]
    caen.connect()
    assert crate.model.sessions == ["admin"]
    caen.close()
    caen.close()
    assert crate.model.sessions == []
    with pytest.raises(LinkDown):
        scan(caen)


def test_a_session_that_fails_to_discover_is_closed(
    start: Callable[..., Caen], crate: CrateFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, "get_crate_map", library_error("TIMEERR"))
    with pytest.raises(NoReply):
        start()
    assert crate.model.sessions == []


def test_closing_a_dead_session_neither_raises_nor_tries_again(
    caen: Caen, crate: CrateFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caen_libs import caenhvwrapper as hv

    tried = []

    def failing(_: object) -> None:
        tried.append(1)
        raise library_error("COMMUNICATIONERROR")

    monkeypatch.setattr(hv.Device, "close", failing)
    caen.close()
    gc.collect()
    assert len(tried) == 1


def test_another_crate_that_closes_does_not_matter(caen: Caen, start: Callable[..., Caen]) -> None:
    other = start(channels={8: (0,)})
    before = scan(caen, "settings")
    other.close()
    after = scan(caen, "settings")
    assert {k: v for k, v in after.items() if not k.startswith("Sys")} == {
        k: v for k, v in before.items() if not k.startswith("Sys")
    }


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("libcaenhvwrapper.so: cannot open shared object file", r"HV Wrapper Library.*www\.caen\.it"),
        ("libcrypto.so.1.1: cannot open shared object file", r"OpenSSL 1\.1.*libcrypto\.so\.1\.1 is missing"),
    ],
)
def test_a_missing_library_is_told_with_its_remedy(
    crate: CrateFake, monkeypatch: pytest.MonkeyPatch, reason: str, remedy: str
) -> None:
    import caen_libs
    import caen_libs.caenhvwrapper

    def load(name: str) -> None:
        raise OSError(reason)

    monkeypatch.delitem(sys.modules, "caen_libs.caenhvwrapper")
    monkeypatch.delattr(caen_libs, "caenhvwrapper")
    monkeypatch.setattr(ctypes.cdll, "LoadLibrary", load)
    with pytest.raises(LinkDown, match=remedy):
        Caen(Config(**KEYS)).connect()


@pytest.mark.parametrize("release", [b"6.6.0b", b"", b"6.6\xe9"])
def test_a_library_whose_release_cannot_be_read_is_told(
    crate: CrateFake, monkeypatch: pytest.MonkeyPatch, release: bytes
) -> None:
    import caen_libs
    import caen_libs.caenhvwrapper

    monkeypatch.delitem(sys.modules, "caen_libs.caenhvwrapper")
    monkeypatch.delattr(caen_libs, "caenhvwrapper")
    monkeypatch.setattr(LIBRARY, "_version", ctypes.create_string_buffer(release))
    with pytest.raises(LinkDown, match="cannot read the release"):
        Caen(Config(**KEYS)).connect()


def test_the_module_can_be_imported_without_the_library() -> None:
    import subprocess

    program = "import drivers.caen, sys; assert 'caen_libs.caenhvwrapper' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", program], check=True)


# ---- puts ----


def test_a_put_sets_one_channel_and_reads_it_back(caen: Caen, crate: CrateFake) -> None:
    calls(crate)
    assert put(caen, "S02:C01:V0Set", 1234.5) == {"S02:C01:V0Set_RBV": 1234.5}
    assert [call for call in calls(crate) if "Prop" not in call] == [
        "GetChParam 2 [1] V0Set 1750 -> 0",
        "SetChParam 2 [1] V0Set 1234.5 -> 0",
        "GetChParam 2 [1] V0Set 1234.5 -> 0",
    ]
    assert crate.writes == 1


@pytest.mark.parametrize(
    ("name", "value", "call", "readings"),
    [
        ("S04:C01:IMRange", 1, "SetChParam 4 [1] IMRange 1 -> 0", {"S04:C01:IMRange_RBV": 1}),
        (
            "S02:C01:Name",
            "Top left",
            "SetChName 2 [1] Top left -> 0",
            {"S02:C01:Name_RBV": "Top left", "S02:Name:Array": ("S02C00", "Top left", *[""] * 26)},
        ),
        ("S02:BdIlk", 1, "SetBdParam [2] BdIlk 1 -> 0", {"S02:BdIlk_RBV": 1}),
        ("Sys:TimeZone", 7200, "SetSysProp TimeZone 7200 -> 0", {"Sys:TimeZone_RBV": 7200}),
        ("Sys:SymbolicName", "rack", "SetSysProp SymbolicName rack -> 0", {"Sys:SymbolicName_RBV": "rack"}),
        ("Sys:OutputLevel", 0, "SetSysProp OutputLevel 0 -> 0", {"Sys:OutputLevel_RBV": 0}),
        ("Sys:Message", "hello", "SetSysProp Message hello -> 0", {}),
        ("Cmd:ClearAlarm", 1, "ExecComm ClearAlarm -> 0", {}),
    ],
)
def test_puts_of_all_kinds(
    caen: Caen, crate: CrateFake, name: str, value: Value, call: str, readings: dict[str, Value]
) -> None:
    calls(crate)
    assert put(caen, name, value) == readings
    assert [each for each in calls(crate) if each.startswith(("Set", "Exec"))] == [call]


def test_an_off_is_read_back_with_the_status_of_its_channel(caen: Caen, crate: CrateFake) -> None:
    calls(crate)
    read = dict(put(caen, "S02:C00:Pw", 0))
    assert read.pop("S02:C00:Pw_RBV") == 0
    assert "S02:C00:Status" in read
    assert all(":Status" in name for name in read)
    assert [each for each in calls(crate) if each.startswith(("Set", "Exec"))] == ["SetChParam 2 [0] Pw 0 -> 0"]


def test_a_command_is_executed_by_1_only(start: Callable[..., Caen], crate: CrateFake) -> None:
    driver = start(channels={8: (0, 1)})
    put(driver, "Cmd:Kill", 0)
    with pytest.raises(Refused):
        put(driver, "Cmd:Kill", 2)
    assert crate.writes == 0
    calls(crate)
    put(driver, "S08:C00:ClrAlarm", 1)
    assert calls(crate)[-1].startswith("SetChParam 8 [0] ClrAlarm")


def test_a_value_outside_the_limits_of_now_is_not_sent(caen: Caen, rack: Rack, crate: CrateFake) -> None:
    rack.command("HV1 front 2 0 SVMax 1000")
    assert point(caen, "S02:C00:V0Set").drvh == 2500.0
    with pytest.raises(Refused, match="S02:C00:V0Set: 1500 V is outside the limits of 0 to 1000 V"):
        put(caen, "S02:C00:V0Set", 1500.0)
    assert point(caen, "S02:C00:V0Set").drvh == 1000.0
    assert crate.writes == 0


def test_a_value_meant_in_another_unit_is_not_sent(caen: Caen, rack: Rack, crate: CrateFake) -> None:
    rack.command("HV1 front 4 0 IMRange 1")
    old = point(caen, "S04:C00:I0Set")
    with pytest.raises(Refused, match="unit has changed from uA to nA"):
        merged(caen.write(old, 5.0))
    assert crate.writes == 0
    assert point(caen, "S04:C00:I0Set").egu == "nA"
    with pytest.raises(Refused, match="unit has changed"):
        merged(caen.write(old, 5.0))  # one that waited in a queue
    assert put(caen, "S04:C00:I0Set", 5.0) == {"S04:C00:I0Set_RBV": 5.0, "S04:C00:IMRange_RBV": 1}


def test_a_unit_that_the_site_renamed_is_not_a_change(caen: Caen) -> None:
    renamed = replace(point(caen, "S04:C00:I0Set"), egu="micro A")
    assert merged(caen.write(renamed, 5.0))["S04:C00:I0Set_RBV"] == 5.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "On", 1e39])
def test_a_put_of_no_number_is_refused(caen: Caen, crate: CrateFake, value: Value) -> None:
    for name in ("S02:C00:V0Set", "S02:C00:Pw"):
        with pytest.raises(Refused):
            put(caen, name, value)
    assert crate.writes == 0


@pytest.mark.parametrize("name", ["J\xfcrgen", "twelve chars"])
def test_a_name_that_the_crate_cannot_keep_is_refused(caen: Caen, crate: CrateFake, name: str) -> None:
    with pytest.raises(Refused, match="S02:C00:Name"):
        put(caen, "S02:C00:Name", name)
    assert crate.writes == 0


def test_a_name_of_eleven_characters_is_kept(caen: Caen) -> None:
    assert put(caen, "S02:C00:Name", "eleven char")["S02:C00:Name_RBV"] == "eleven char"
    assert point(caen, "S02:C00:VMon").desc == "eleven char VMon"


def test_a_crate_that_lags_is_waited_for(caen: Caen, rack: Rack, clock: Clock) -> None:
    rack.command("HV1 lag 0.5")
    began = clock.now
    assert put(caen, "S02:C00:V0Set", 1111.0) == {"S02:C00:V0Set_RBV": 1111.0}
    assert 0.5 <= clock.now - began < 1


def test_a_value_that_was_not_taken_is_told_with_both_values(caen: Caen, rack: Rack, clock: Clock) -> None:
    put(caen, "S02:C00:V0Set", 1000.0)
    rack.command("HV1 lag 10")
    began = clock.now
    with pytest.raises(Refused, match="1111 V was sent, but the crate reads back 1000 V"):
        put(caen, "S02:C00:V0Set", 1111.0)
    assert clock.now - began < 1.1


def test_a_channel_that_cannot_be_switched_on_is_told(caen: Caen, crate: CrateFake) -> None:
    crate.model.channel(2, 1).switch(False)
    crate.model.channel(2, 1).volts = 0.0  # on its way down it might come on later
    crate.model.channel(2, 1).disabled = True
    with pytest.raises(BadReply, match="On was sent, but the crate reads back Off"):
        put(caen, "S02:C01:Pw", 1)


@pytest.mark.parametrize("code", ["OUTOFRANGE", "USERPASSFAILED", "LOGINFAILED", "WRITEERR", "PARAMNOTFOUND"])
def test_what_the_crate_refuses_is_told_in_its_words(caen: Caen, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    fail(monkeypatch, "set_ch_param", library_error(code))
    with pytest.raises(Refused, match=rf"S02:C00:V0Set: the call failed: the crate's own words \({code}\)"):
        put(caen, "S02:C00:V0Set", 1000.0)


def test_a_code_that_has_no_other_words_is_told_once(caen: Caen, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, "set_ch_param", library_error("OUTOFRANGE", "OUTOFRANGE"))
    with pytest.raises(Refused, match=r"S02:C00:V0Set: the call failed: OUTOFRANGE$"):
        put(caen, "S02:C00:V0Set", 1000.0)


@pytest.mark.parametrize("code", [Code.SOCKETERROR, Code.TIMEERR])
@pytest.mark.parametrize("function", ["", "ExecComm"])
def test_a_put_that_the_crate_may_not_have_heard_is_not_called_refused(
    caen: Caen, crate: CrateFake, function: str, code: Code
) -> None:
    crate.faults.append(Fault(function=function, code=code))
    with pytest.raises((NoReply, LinkDown)):
        put(caen, "Cmd:ClearAlarm", 1)
    with pytest.raises(NoReply if function else LinkDown):
        put(caen, "Cmd:ClearAlarm", 1)


def test_a_put_whose_answer_is_garbage_is_judged_by_the_readback(caen: Caen, crate: CrateFake, rack: Rack) -> None:
    crate.model.channel(2, 0).switch(True)
    rack.command("HV1 garbage 1")
    assert put(caen, "S02:C00:Pw", 0)["S02:C00:Pw_RBV"] == 0


def test_a_command_whose_answer_is_garbage_is_not_called_refused(caen: Caen, rack: Rack) -> None:
    rack.command("HV1 garbage 1")
    with pytest.raises(BadReply):
        put(caen, "Cmd:ClearAlarm", 1)


def test_text_that_caen_libs_cannot_send_is_refused(start: Callable[..., Caen], crate: CrateFake) -> None:
    channel = crate.model.channel(2, 0)
    channel.params["Label"] = Param(name="Label", type=Type.STRING)
    channel.values["Label"] = "x"
    driver = start(channels={2: (0,)})
    with pytest.raises(Refused, match="S02:C00:Label"):
        put(driver, "S02:C00:Label", "y")
    assert crate.writes == 0


def test_a_resting_crate_is_never_written_to(start: Callable[..., Caen], crate: CrateFake, clock: Clock) -> None:
    driver = start()
    for second in range(60):
        clock.now += 1
        scan(driver)
        if second % 10 == 0:
            scan(driver, "settings")
    driver.close()
    assert crate.writes == 0


# ---- limits that move ----


def test_a_put_moves_the_limits_of_its_channel_with_the_next_scan(caen: Caen, crate: CrateFake) -> None:
    put(caen, "S02:C00:V0Set", 2000.0)
    scan(caen, "settings")
    scan(caen)
    put(caen, "S02:C00:SVMax", 1500.0)
    readings = scan(caen)
    assert readings["S02:C00:V0Set_RBV"] == 1500.0  # the crate dragged it down
    assert point(caen, "S02:C00:V0Set").drvh == 1500.0
    assert point(caen, "S02:C01:V0Set").drvh == 2500.0


@pytest.mark.parametrize("error", [BadReply("noise"), NoReply("no reply")])
def test_a_current_whose_unit_was_asked_for_in_vain_is_invalid_until_it_is_known(
    caen: Caen, rack: Rack, monkeypatch: pytest.MonkeyPatch, error: DeviceError
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    fine = scan(caen)["S04:C01:IMon"]
    assert isinstance(fine, float)
    rack.command("HV1 front 4 1 IMRange 1")
    scan(caen, "settings")
    with monkeypatch.context() as patch:
        patch.setattr("drivers.caen.board.metadata.ask_parameter", fail)
        for _ in range(3):
            scan(caen)
    assert scan(caen)["S04:C01:IMon"] == INVALID_UDF
    assert isinstance(scan(caen)["S04:C00:IMon"], float)
    scan(caen, "settings")
    scan(caen)
    assert scan(caen)["S04:C01:IMon"] == pytest.approx(1000 * fine, rel=0.1)
    assert point(caen, "S04:C01:IMon").egu == "nA"


def test_a_setting_changed_at_the_front_moves_units_too(caen: Caen, rack: Rack) -> None:
    scan(caen, "settings")
    rack.command("HV1 front 4 0 IMRange 1")
    scan(caen, "settings")
    scan(caen)
    assert point(caen, "S04:C00:IMon").egu == "nA"
    assert point(caen, "S04:C01:IMon").egu == "uA"


def test_points_stay_the_same_object_while_nothing_moves(caen: Caen) -> None:
    points = caen.points
    for group in ("settings", "monitor", "settings"):
        scan(caen, group)
    assert caen.points is points


def ask_all(driver: Caen, crate: CrateFake) -> None:
    """Scan until the crate is asked about no parameter any more."""
    asked = True
    while asked:
        calls(crate)
        scan(driver)
        asked = any(call.startswith("GetChParamProp") for call in calls(crate))


def test_questions_about_limits_take_a_part_of_a_scan_only(
    start: Callable[..., Caen], crate: CrateFake, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    driver = start()
    settle(driver)
    scan(driver, "settings")
    ask_all(driver, crate)
    monkeypatch.setattr("drivers.caen.driver.monotonic", clock)
    crate.latency = 0.02
    monkeypatch.setattr("time.sleep", clock.sleep)
    for channel in crate.model.boards[2].channels:
        channel.values["SVMax"] = 2000.0
    scan(driver, "settings")
    calls(crate)
    scan(driver)
    assert len(calls(crate)) < 50


# ---- what goes first ----


def test_switching_off_is_urgent(caen: Caen) -> None:
    assert point(caen, "S02:C00:Pw").safe == 0
    assert point(caen, "Cmd:Kill").safe == 1
    assert point(caen, "Cmd:ClearAlarm").safe is None
    assert point(caen, "S02:C00:V0Set").safe is None


def test_switching_off_asks_for_nothing_first(caen: Caen, crate: CrateFake) -> None:
    calls(crate)
    put(caen, "S02:C00:Pw", 0)
    assert calls(crate)[0] == "SetChParam 2 [0] Pw 0 -> 0"


def test_scans_of_two_groups_may_take_turns(start: Callable[..., Caen], rack: Rack) -> None:
    driver = start(channels={2: (0, 1), 4: (0, 1)})
    monitor, settings = blocks(driver.read("monitor")), blocks(driver.read("settings"))
    rack.command("HV1 pull 2")
    both = [block for pair in zip(settings, monitor, strict=False) for block in pair]
    assert any(value == GONE for block in both for value in block.values())


def test_a_property_that_a_crate_lists_and_has_not_is_no_warning(
    start: Callable[..., Caen], crate: CrateFake, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        scan(start(), "settings")
    told = {record.levelno for record in caplog.records if "Sys:PWCurrent" in record.message}
    assert told == {logging.INFO}


def test_errors_are_logged_once(caen: Caen, rack: Rack, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rack.command("HV1 pull 2")
        for _ in range(3):
            scan(caen)
    assert len([record for record in caplog.records if "is gone" in record.message]) == 1


# ---- large crates ----


def test_currents_of_all_boards_are_verified_before_anything_else(
    crate: CrateFake, start: Callable[..., Caen]
) -> None:
    settle(start(channels={2: (0, 1), 8: (1, 2)}))
    asked = [call.split() for call in calls(crate) if call.startswith("GetChParamProp") and " Exp " in call]
    verified = [f"{where} {name}" for _, where, name, *_ in asked if where in {"2.1", "8.2"}]
    assert verified[:3] == ["2.1 IMon", "8.2 IMon", "2.1 I0Set"]


def test_what_was_not_asked_yet_leaves_time_for_the_scan(
    crate: CrateFake, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Caen(Config(**{**KEYS, "system": crate.model.system, "channels": {8: "ALL"}}))
    monkeypatch.setattr("drivers.caen.driver.monotonic", clock)
    monkeypatch.setattr("time.sleep", clock.sleep)
    crate.latency = 0.05  # the calls of a scan take 0.45 s
    driver.connect()
    durations = []
    while driver.exploring or driver._inventory.sections[8].metadata.assumed:
        began = clock.now
        scan(driver)
        durations.append(clock.now - began)
    driver.close()
    assert max(durations[-3:]) < 1.0


def units(driver: Caen) -> dict[str, str]:
    return {p.name[:7]: p.egu for p in driver.points if p.name.endswith(":IMon")}


def test_boards_are_served_one_after_the_other_while_others_are_asked(crate: CrateFake, rack: Rack) -> None:
    driver = Caen(Config(**{**KEYS, "system": crate.model.system, "channels": {2: (0,), 4: (0,)}}))
    driver.connect()
    assert driver.exploring
    blocks = driver.read("monitor")
    while not any(name.startswith("S02") for name in {p.name for p in driver.points}):
        next(blocks)
    assert driver.exploring
    assert put(driver, "S02:C00:V0Set", 5.0) == {"S02:C00:V0Set_RBV": 5.0}
    driver.close()
    assert crate.model.sessions == []


def test_the_settings_of_a_board_are_known_as_soon_as_it_is_served(crate: CrateFake) -> None:
    driver = Caen(Config(**{**KEYS, "system": crate.model.system, "channels": {2: (0,)}}))
    driver.connect()
    assert "S02:C00:V0Set_RBV" in scan(driver)
    driver.close()


def test_a_large_crate_is_served_from_what_is_known_of_like_channels_and_verified_after(
    crate: CrateFake, rack: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    rack.command("HV1 front 4 2 IMRange 1")  # this channel's currents are in nA, those of its likes in uA
    driver = Caen(Config(**{**KEYS, "system": crate.model.system, "channels": {4: (0, 1, 2)}}))
    driver.connect()
    scanned = blocks(driver.read("monitor"))
    while not units(driver):
        next(scanned)
    asked = [call for call in calls(crate) if call.startswith("GetChParamProp")]
    assert asked
    assert all(call.startswith("GetChParamProp 4.0") for call in asked), asked[:3]
    monkeypatch.setattr("drivers.caen.driver._DISCOVERY_TIME", 0.0)
    monkeypatch.setattr("drivers.caen.driver._ASSUMED_TIME", 0.0)
    monkeypatch.setattr("drivers.caen.driver._REFRESH_TIME", 0.0)
    early = {name: value for block in scanned for name, value in block.items()}
    assert isinstance(early["S04:C02:VMon"], float)
    unknown = early["S04:C02:IMon"]  # a unit that nobody has asked for yet is not shown as true
    assert isinstance(unknown, Reading)
    assert (unknown.value, unknown.severity) == (None, Severity.INVALID)
    monkeypatch.setattr("drivers.caen.driver._DISCOVERY_TIME", 5.0)
    assert isinstance(scan(driver)["S04:C02:IMon"], float)
    assert units(driver) == {"S04:C00": "uA", "S04:C01": "uA", "S04:C02": "nA"}
    calls(crate)
    scan(driver)
    assert not [call for call in calls(crate) if call.startswith("GetChParamProp")]
    driver.close()
