"""One contract for all drivers: what each must state, and that each group answers exactly its points."""

from __future__ import annotations

import asyncio
import dataclasses
import pkgutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pydantic
import pytest

import drivers
from archiver.settings import ArchiveSettings
from drivers.base import DeviceError, Driver, Point, Reading, RecordType, Severity
from ioc.instrument import Instrument
from ioc.port.listener import Link
from ioc.putcheck import STRING_SIZE
from ioc.site import NAME_SIZE, Site
from sim.fake import Fake
from sim.rack import Rack
from tests.drivers.steps import blocks
from tests.ioc.bench import Screen

NAMES = sorted(each.name for each in pkgutil.iter_modules(drivers.__path__) if each.name != "base")

KEYS: dict[str, dict[str, Any]] = {
    "caen": {"system": "SY4527", "link": "TCPIP", "host": "contract", "username": "u", "password": "p"},
    "se521": {"serial": "C1"},
    "technix": {"port": "line", "full_scale": {"voltage_kv": 100, "current_ma": 50}},
}
UNITLESS = ("TripInt", "TripExt", "FanSpeed")  # the crate gives none


@contextmanager
def connected(name: str, folder: Path) -> Iterator[tuple[Driver, Rack]]:
    assert name in KEYS, f"write the keys of {name} into KEYS of this file"
    keys = dict(KEYS[name])
    if "port" in keys:
        keys["port"] = str(folder / keys["port"])
    if name == "caen":
        keys["channels"] = {2: [0, 1], 4: [0], 8: [0, 1]}
    kind = import_module(f"drivers.{name}").DRIVER
    config = pydantic.TypeAdapter(kind.Config).validate_python(keys)
    with Rack({name: {"driver": name, **keys}}) as rack:
        for fake in rack.fakes.values():
            if hasattr(fake, "latency"):
                fake.latency = 0.0
        driver: Driver = kind(config)
        try:
            driver.connect()
            while driver.exploring:
                list(driver.read(next(iter(driver.scan))))
            yield driver, rack
        finally:
            driver.close()


@pytest.fixture(scope="module", params=NAMES)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Driver, Rack]]:
    with connected(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def driver(running: tuple[Driver, Rack]) -> Driver:
    return running[0]


def test_every_driver_has_a_fake_to_run_against() -> None:
    assert set(KEYS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_keys_of_the_configuration_are_a_frozen_dataclass_of_plain_types(name: str) -> None:
    config = import_module(f"drivers.{name}").DRIVER.Config
    assert config.__dataclass_params__.frozen
    assert dataclasses.is_dataclass(config)
    pydantic.TypeAdapter(config).json_schema()


def test_the_example_can_be_read_and_put(driver: Driver) -> None:
    points = {point.name: point for point in driver.points}
    assert driver.example is not None
    assert points[driver.example.read].group
    if driver.example.put:
        name, value = driver.example.put.split()
        point = points[name]
        assert point.rtyp.writable
        if point.rtyp.numeric:
            assert (point.drvl or 0) <= float(value) <= (point.drvh or float(value))
    else:
        assert not any(point.rtyp.writable for point in driver.points)


def test_the_tables_that_an_instrument_fills_are_the_archives(driver: Driver) -> None:
    assert driver.tables <= {field.name for field in dataclasses.fields(ArchiveSettings)}


def test_names_are_unique_and_fit(driver: Driver) -> None:
    names = [point.name for point in driver.points]
    assert len(names) == len(set(names))
    assert all(len(name) <= NAME_SIZE - 15 and name.isascii() and " " not in name for name in names)


def test_every_number_has_a_unit_and_every_point_a_description(driver: Driver) -> None:
    for point in driver.points:
        words = point.name.split(":")
        bare = "Sys" in words or words[-1].removesuffix("_RBV") in UNITLESS
        number = point.rtyp in {RecordType.ai, RecordType.ao} or (
            point.rtyp is RecordType.waveform and point.ftvl == "DOUBLE"
        )
        if number and not bare:
            assert point.egu, point.name
        assert len(point.egu) <= 15, point.name
        assert point.desc, point.name
        assert len(point.desc) <= 40, point.name
        assert (point.desc + point.egu).isascii(), point.name


def test_states_fit_channel_access(driver: Driver) -> None:
    for point in driver.points:
        if point.rtyp.states:
            assert 2 <= len(point.states) <= 16, point.name
            assert all(0 < len(word) <= 25 for word in point.states), point.name
            assert len(point.severities) <= len(point.states), point.name


def test_every_setting_follows_a_readback_of_its_kind(driver: Driver) -> None:
    points = {point.name: point for point in driver.points}
    kinds = {"ao": "ai", "bo": "bi", "mbbo": "mbbi", "longout": "longin", "stringout": "stringin"}
    for point in driver.points:
        if point.follows:
            readback = points[point.follows]
            assert point.rtyp.writable, point.name
            assert readback.name == f"{point.name}_RBV"
            assert readback.rtyp.name == kinds[point.rtyp.name]
            assert (readback.egu, readback.states) == (point.egu, point.states)


def test_each_group_answers_all_its_points_once(driver: Driver) -> None:
    assert {point.group for point in driver.points if point.group} == set(driver.scan)
    for group in driver.scan:
        read: list[str] = []
        for block in blocks(driver.read(group)):
            read += block
        assert len(read) == len(set(read))
        assert {point.name for point in driver.points if point.group == group} <= set(read)
        assert set(read) <= {point.name for point in driver.points}


def test_each_reading_is_of_its_records_type(driver: Driver) -> None:
    points = {point.name: point for point in driver.points}
    for group in driver.scan:
        for block in blocks(driver.read(group)):
            for name, value in block.items():
                check_type(points[name], value.value if isinstance(value, Reading) else value)


def check_type(point: Point, value: object) -> None:
    if value is None:
        return
    if point.rtyp is RecordType.waveform:
        kinds = {"DOUBLE": (int, float), "LONG": (int,), "STRING": (str,)}[point.ftvl]
        assert isinstance(value, tuple), point.name
        assert len(value) <= point.nelm, point.name
        assert all(isinstance(element, kinds) for element in value), point.name
    elif point.rtyp in {RecordType.stringin, RecordType.stringout}:
        assert isinstance(value, str), point.name
        assert len(value) <= STRING_SIZE, point.name
    elif point.rtyp in {RecordType.ai, RecordType.ao}:
        assert isinstance(value, int | float), point.name
    else:
        assert isinstance(value, int), point.name
        assert -(2**31) <= value < 2**31, point.name


def test_reading_changes_nothing_in_the_instrument(running: tuple[Driver, Rack]) -> None:
    driver, rack = running
    for group in driver.scan:
        list(driver.read(group))
    assert [fake.writes for fake in rack.fakes.values()] == [0]
    assert [fake.violations for fake in rack.fakes.values()] == [[]]


@pytest.mark.parametrize("name", NAMES)
def test_a_command_rests_at_0_behind_what_it_executes_and_a_0_executes_nothing(name: str, tmp_path: Path) -> None:
    async def story(driver: Driver, fake: Fake[Any]) -> None:
        instrument = Instrument("I", "T:", driver, Site(), Screen())
        instrument.start()
        try:
            while instrument.records["Conn"].val != Link.Up:
                await asyncio.sleep(0.01)
            for point in filter(lambda point: point.command, driver.points):
                record = instrument.records[point.name]
                for value in (0, 1, 0):
                    before = fake.writes
                    await instrument.put(record, value)
                    await arrived(fake, before + value)
                    assert (fake.writes - before, record.val) == (value, 0), point.name
        finally:
            await instrument.close()

    with connected(name, tmp_path) as (driver, rack):
        assert any(point.command for point in driver.points) or name != "caen", "else this shows nothing"
        driver.close()
        asyncio.run(story(driver, rack.fakes[name]))


async def arrived(fake: Fake[Any], writes: int) -> None:
    """Wait for so many writes: of one without an answer the driver does not know when the instrument has it."""
    deadline = time.monotonic() + 5
    while fake.writes < writes and time.monotonic() < deadline:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", ["unplug", "mute", "garbage 100000"])
def test_each_fault_becomes_an_alarm_and_heals(name: str, fault: str, tmp_path: Path) -> None:
    with connected(name, tmp_path) as (driver, rack):
        group = next(iter(driver.scan))
        every = {point.name for point in driver.points if point.group == group}
        before = invalid(driver, group)
        assert before < every
        rack.command(f"{name} {fault}")
        assert invalid(driver, group) == every
        driver.close()
        for line in ("plug", "unmute", "garbage 0"):
            rack.command(f"{name} {line}")
        driver.connect()
        assert invalid(driver, group) == before


def invalid(driver: Driver, group: str) -> set[str]:
    """Return which points of a group a scan leaves INVALID: all of them where it fails."""
    names = {point.name for point in driver.points if point.group == group}
    shown: set[str] = set()
    try:
        for block in blocks(driver.read(group)):
            for name, each in block.items():
                if isinstance(each, Reading) and each.severity is Severity.INVALID:
                    shown.add(name)
    except DeviceError as error:
        return names if str(error) else set()
    return shown & names


@pytest.mark.parametrize("name", NAMES)
def test_close_may_be_called_at_any_time_and_twice(name: str, tmp_path: Path) -> None:
    with connected(name, tmp_path) as (driver, _):
        driver.close()
        driver.close()
        with pytest.raises(DeviceError):
            list(driver.read(next(iter(driver.scan))))
