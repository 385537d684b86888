"""What clients set at run time outlives the process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from drivers.base import Reading, Severity, Status
from ioc.record import ALARM, LOG, PROPERTY, VALUE
from ioc.site import Site
from ioc.status import IocStatus
from rackioc.config import sitefile
from rackioc.config.sitefile import SiteFile
from tests.ioc.bench import POINTS, Bench, Rig, Scenario, running


async def session(path: Path, scenario: Scenario, driver: Bench | None = None) -> None:
    """A life of the IOC: what was kept is taken up, and what is set is kept."""
    kept, faults = sitefile.load(path)
    assert faults == []
    site, file = Site(), SiteFile(path, kept)
    site.restore(kept, file.changed)
    async with running(driver, site=site) as rig:
        await scenario(rig)
        file.close()


def test_a_limit_acts_at_once_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "rack.site.yaml"

    async def first(rig: Rig) -> None:
        rig.instrument.set_field(rig.record("Mon"), "HIHI", 0.5)
        assert rig.state("Mon") == (1.0, "HIHI", "MAJOR")
        assert rig.posts[-3:] == [
            ("Mon.HIHI", VALUE | LOG, 1.0, "NO_ALARM"),
            ("Mon", PROPERTY, 1.0, "NO_ALARM"),
            ("Mon", ALARM, 1.0, "HIHI"),
        ]
        rig.instrument.set_field(rig.record("Mon"), "HHSV", "MINOR")
        rig.instrument.set_field(rig.record("Mon"), "DESC", "the monitor")
        rig.instrument.set_field(rig.record("Mon"), "MDEL", 2)

    async def second(rig: Rig) -> None:
        await rig.until(lambda: rig.state("Mon") == (1.0, "HIHI", "MINOR"))
        point = rig.record("Mon").point
        assert (point.desc, point.mdel, point.hihi, point.hhsv) == ("the monitor", 2.0, 0.5, Severity.MINOR)
        rig.instrument.set_field(rig.record("Mon"), "HIHI", float("nan"))
        assert rig.state("Mon")[2] == "NO_ALARM"

    async def third(rig: Rig) -> None:
        assert rig.record("Mon").point.hihi is None

    for scenario in (first, second, third):
        asyncio.run(session(path, scenario))


@pytest.mark.parametrize(
    ("line", "egu", "expected"),
    [
        ("HIHI: 20 V", "V", 20.0),
        ("HIHI: 20 V", "mV", 20000.0),
        ("HIHI: 20000 mV", "V", 20.0),
        ("HIHI: 20 V", "A", None),
        ("HIHI: 20 parsec", "parsec", 20.0),
        ("HIHI: 20 parsec", "V", None),
        ("HIHI: 20.0", "mV", 20.0),
        ("HIHI: '20'", "mV", 20.0),
        ("HIHI: null", "mV", None),
        ("HIHI: .inf", "mV", float("inf")),
    ],
)
def test_a_limit_is_for_the_unit_that_stands_behind_it(
    tmp_path: Path, line: str, egu: str, expected: float | None
) -> None:
    path, driver = tmp_path / "rack.site.yaml", Bench()
    path.write_text(f"T:PS:Mon: {{{line}}}")
    driver.points = tuple(replace(point, egu=egu) for point in POINTS)

    async def scenario(rig: Rig) -> None:
        assert rig.record("Mon").point.hihi == expected
        lost = expected is None and "null" not in line
        assert rig.record("Mon").stat.name == ("SOFT" if lost else "NO_ALARM")
        if lost:
            await rig.until(lambda: str(rig.record("Error").val).startswith("not applied: HIHI 20 "))

    asyncio.run(session(path, scenario, driver))


@pytest.mark.parametrize(
    ("egu", "written"), [("V", "HIHI: 5.5 V"), ("", "HIHI: 5.5"), ("1e-5 A", "HIHI: 5.5 1e-5 A")]
)
def test_the_unit_is_written_behind_the_number(tmp_path: Path, egu: str, written: str) -> None:
    path, driver = tmp_path / "rack.site.yaml", Bench()
    driver.points = tuple(replace(point, egu=egu) for point in POINTS)

    async def scenario(rig: Rig) -> None:
        rig.instrument.set_field(rig.record("Mon"), "HIHI", 5.5)
        rig.instrument.set_field(rig.record("Mon"), "PREC", 3)

    asyncio.run(session(path, scenario, driver))
    assert path.read_text().splitlines()[1:] == ["T:PS:Mon:", f"  {written}", "  PREC: 3"]
    asyncio.run(session(path, scenario, driver))  # and is read again


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("T:PS:Mon: {HIHI: high}", "rack.site.yaml:1: T:PS:Mon.HIHI: 'high' is not a number; correct or remove"),
        ("T:PS:Set: {DRVH: 5000}", "is not a field that clients may set; remove the line"),
        ("T:PS:Set: {VAL: 5000}", "is not a field that clients may set; remove the line"),
        ("T:PS:Mon: {HIHI: [1]}", "rack.site.yaml:1: T:PS:Mon.HIHI: [1] is not a number; correct or remove"),
        (f"T:PS:Mon: {{HIHI: {10**400}}}", "rack.site.yaml:1: T:PS:Mon.HIHI: "),
        ("[1, 2]", "must be a mapping"),
        ("{", "not YAML"),
    ],
)
def test_a_damaged_file_is_told_by_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "rack.site.yaml"
    path.write_text(text)
    _, faults = sitefile.load(path)
    assert any(sentence in fault.render(Path(path.name)) for fault in faults)


def test_a_disk_that_does_not_take_it_is_told_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(rig: Rig) -> None:
        rig.instrument.set_field(rig.record("Mon"), "HIGH", 5.0)

    asyncio.run(session(tmp_path / "missing" / "rack.site.yaml", scenario))
    assert "cannot be written" in caplog.text


def test_a_directory_that_takes_no_file_is_told_at_start_and_until_it_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sitefile, "AGAIN", 0.05)
    caplog.set_level("INFO")
    path = tmp_path / "later" / "rack.site.yaml"

    async def scenario() -> None:
        site_file = SiteFile(path, {})
        site_file.start()
        assert site_file.trouble == "No such file or directory: rack.site.yaml"
        await asyncio.sleep(0.2)
        path.parent.mkdir()
        while site_file.trouble:
            await asyncio.sleep(0.01)
        site_file.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))
    told = [(each.levelname, each.getMessage()) for each in caplog.records if each.name == "rackioc.site"]
    lost = f"{path} cannot be written (No such file or directory): fields that clients set now are lost at the next"
    assert told == [("ERROR", f"{lost} restart"), ("INFO", f"{path} can be written again")]
    assert list(path.parent.iterdir()) == []


def test_what_could_not_be_written_is_written_when_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitefile, "AGAIN", 0.05)
    monkeypatch.setattr(sitefile, "DELAY", 0.0)
    path = tmp_path / "later" / "rack.site.yaml"

    async def scenario() -> None:
        site_file = SiteFile(path, {"T:PS:Mon": {"HIGH": 5.0}})
        site_file.changed()
        while not site_file.trouble:
            await asyncio.sleep(0.01)
        path.parent.mkdir()
        while not path.exists():
            await asyncio.sleep(0.01)
        site_file.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert sitefile.load(path) == ({"T:PS:Mon": {"HIGH": 5.0}}, [])


def test_many_fields_are_written_beside_what_clients_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitefile, "DELAY", 0.0)
    kept = {f"T:PS:{number}": {"HIGH": 5.0, "LOW": 1.0} for number in range(5000)}

    async def scenario() -> float:
        site_file = SiteFile(tmp_path / "rack.site.yaml", kept)
        site_file.changed()
        longest = 0.0
        while not (tmp_path / "rack.site.yaml").exists():
            began = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)
        site_file.close()
        return longest

    # making the text takes a quarter of a second
    assert asyncio.run(asyncio.wait_for(scenario(), 30)) < 0.05
    assert sitefile.load(tmp_path / "rack.site.yaml") == (kept, [])


def test_a_pv_is_in_alarm_while_the_file_cannot_be_written() -> None:
    reasons = ["the disk is full", ""]
    driver = IocStatus(SimpleNamespace(names=[], safe=[], load=(0, 0, 0)), reasons.pop)
    driver.connect()
    found = []
    for _ in range(2):
        (block,) = driver.read("status")
        assert isinstance(block, Mapping)
        found.append(block["SiteFile"])
    minor = Reading(1, Severity.MINOR, Status.WRITE, message="the disk is full")
    assert found == [Reading(0), minor]


def test_the_time_since_the_start_is_the_same_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = IocStatus(SimpleNamespace(names=[], safe=[], load=(0, 0, 0)))
    driver.connect()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    (block,) = driver.read("status")
    assert isinstance(block, Mapping)
    assert block["UPTIME"] == "00:00:00"


def test_a_file_that_may_not_be_looked_at_is_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(asked: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(asked))

    monkeypatch.setattr(Path, "stat", look)  # root, who runs tests, may look anywhere
    kept, (fault,) = sitefile.load(tmp_path / "rack.site.yaml")
    assert (kept, fault.sentence.partition(":")[0]) == ({}, "cannot be read")
