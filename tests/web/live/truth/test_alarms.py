"""What is said of alarms of which nothing was told yet: neither that there are none, nor that a PV is not there."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.base import Point, RecordType, Severity, Status
from tests.small_ioc import SmallIoc, until
from tests.web.live.chromium import Chromium
from tests.web.live.conftest import WebServer, served
from tests.web.live.test_page import SIZES
from web.rack import alarms

CRATE = ("HV1:Conn", "HV1:Alarm", "HV1:S02:Alarm", "HV1:S02:C00:VMon")
MAJOR = (Severity.MAJOR, Status.STATE)
# The IOC has neither, though it lists them: they are asked for in vain.
NOWHERE = ("HV1:S02:C00:IMon", "TC1:Conn")


@pytest.fixture
def ioc() -> Iterator[SmallIoc]:
    numbers = [Point(name=name, rtyp=RecordType.ai) for name in (*CRATE, "TC1:T1", "GEN:Fault")]
    lists = [Point(name=f"IOC:{name}", rtyp=RecordType.lsi) for name in ("PVList", "Instruments")]
    ioc = SmallIoc([*numbers, *lists])
    for point in (*CRATE, "TC1:T1"):
        ioc.read(point, 0.0)
    ioc.read("IOC:PVList", "\n".join(ioc.prefix + name for name in (*CRATE, "TC1:T1", *NOWHERE)))
    yield ioc
    ioc.close()


@pytest.fixture
def web(ioc: SmallIoc, logins_file: Path) -> Iterator[WebServer]:
    web = WebServer(replace(served(ioc.prefix, logins_file), kinds={"HV1": "caen", "TC1": "se521"}))
    yield web
    web.close()


def answer_of(web: WebServer) -> dict[str, Any]:
    with urllib.request.urlopen(f"{web.url}/api/alarms") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def told(web: WebServer, ioc: SmallIoc) -> tuple[bool, set[str]]:
    """Whether all alarms are known, and which there are."""
    found = answer_of(web)
    return found["connected"], {each["pv"].removeprefix(ioc.prefix) for each in found["alarms"]}


def has_metric(web: WebServer) -> bool:
    with urllib.request.urlopen(f"{web.url}/metrics") as answer:
        return b"rackioc_alarms{" in answer.read()


def test_that_there_is_no_alarm_is_told_when_all_that_is_watched_was_told(
    ioc: SmallIoc, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "_PATIENCE", 8.0)
    begin = time.monotonic()
    while time.monotonic() - begin < 3:
        assert told(web, ioc) == (False, set())
    assert not has_metric(web)
    until(lambda: told(web, ioc) == (True, {"TC1:Conn"}), 20)
    assert has_metric(web)


def test_an_alarm_of_a_board_is_told_until_that_of_a_channel_is_and_none_that_was_only_just_asked_for(
    ioc: SmallIoc, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "_PATIENCE", 3.0)
    until(lambda: told(web, ioc)[0], 10)
    ioc.read("HV1:Alarm", 2.0, *MAJOR)
    ioc.read("HV1:S02:Alarm", 2.0, *MAJOR)
    until(lambda: "HV1:S02:Alarm" in told(web, ioc)[1])
    begin = time.monotonic()
    while time.monotonic() - begin < 2:
        assert "HV1:S02:C00:IMon" not in told(web, ioc)[1]
    assert told(web, ioc)[1] == {"HV1:S02:Alarm", "TC1:Conn"}
    ioc.read("HV1:S02:C00:VMon", 1.0, *MAJOR)
    until(lambda: told(web, ioc)[1] == {"HV1:S02:C00:VMon", "TC1:Conn"})
    until(lambda: "HV1:S02:C00:IMon" in told(web, ioc)[1], 10)


def test_an_archiver_that_does_not_run_is_one_alarm(logins_file: Path) -> None:
    names = ("ARCH:Running", "ARCH:Queue", "ARCH:Lag")
    points = [Point(name=name, rtyp=RecordType.ai) for name in names]
    ioc = SmallIoc([*points, Point(name="IOC:PVList", rtyp=RecordType.lsi)])
    ioc.read("IOC:PVList", "\n".join(ioc.prefix + name for name in names))
    for name in names:
        ioc.read(name, 1.0)
    web = WebServer(replace(served(ioc.prefix, logins_file), kinds={"ARCH": "archiver"}))
    try:
        until(lambda: told(web, ioc) == (True, set()), 20)
        ioc.read("ARCH:Running", 0.0, *MAJOR)
        for name in names[1:]:
            ioc.read(name, 1.0, Severity.INVALID, Status.TIMEOUT)
        until(lambda: told(web, ioc) == (True, {"ARCH:Running"}))
        assert answer_of(web)["alarms"][0]["others"] == 2
    finally:
        web.close()
        ioc.close()


def test_the_instruments_are_those_that_the_ioc_tells_now(
    ioc: SmallIoc, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "_PATIENCE", 3.0)
    until(lambda: told(web, ioc) == (True, {"TC1:Conn"}), 20)
    ioc.read("GEN:Fault", 1.0, *MAJOR)
    ioc.read("IOC:PVList", ioc.prefix + "GEN:Fault")
    ioc.read("IOC:Instruments", "GEN technix\nIOC ioc")
    until(lambda: told(web, ioc) == (True, {"GEN:Fault"}), 10)
    with urllib.request.urlopen(f"{web.url}/api/instruments") as answer:
        found = {each["name"]: (each["kind"], each["points"]) for each in json.load(answer)["instruments"]}
    assert found == {"GEN": ("technix", ["Fault"]), "IOC": ("ioc", [])}
    ioc.read("IOC:Instruments", "")  # before its first scan an IOC has told nothing
    ioc.read("IOC:PVList", f"{ioc.prefix}GEN:Fault\n{ioc.prefix}GEN:VMon")
    until(lambda: told(web, ioc)[1] == {"GEN:Fault", "GEN:VMon"}, 10)


def test_each_alarm_has_its_sentence_however_many_a_board_that_is_gone_has(logins_file: Path) -> None:
    gone = [
        f"HV1:S04:C{channel:02}:{each}" for channel in range(64) for each in ("VMon", "IMon", "V0Set", "I0Set", "Pw")
    ]
    sentences = {**dict.fromkeys(gone, "the board is gone"), "HV1:S02:C00:VMon": "internal trip", "TC1:T1": "open"}
    alarms = ("HV1:Alarm", "HV1:S02:Alarm", "HV1:S04:Alarm")
    points = [Point(name=name, rtyp=RecordType.ai) for name in (*alarms, *sentences)]
    ioc = SmallIoc([*points, Point(name="IOC:PVList", rtyp=RecordType.lsi)])
    ioc.read("IOC:PVList", "\n".join(ioc.prefix + point.name for point in points))
    web = WebServer(replace(served(ioc.prefix, logins_file), kinds={"HV1": "caen", "TC1": "se521"}))
    try:
        for name in alarms:
            ioc.read(name, 2.0, *MAJOR)
        for name, sentence in sentences.items():
            ioc.read(name, 1.0, Severity.INVALID, Status.COMM, None, sentence)
        told = {ioc.prefix + name: sentence for name, sentence in sentences.items()}
        until(lambda: {each["pv"]: each["message"] for each in answer_of(web)["alarms"]} == told, 20)
    finally:
        web.close()
        ioc.close()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(180)
def test_the_page_says_so_where_nothing_was_told(web: WebServer) -> None:
    chromium = Chromium(*SIZES["desktop"])
    try:
        chromium.driver.execute_cdp_cmd("Network.enable", {})
        chromium.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/api/alarms"]})
        chromium.open(web.url)
        chromium.wait(lambda: "TC1" in chromium.text(".tile h3"), "the tiles")
        assert chromium.text(".alarms") == "Not known yet."
        assert set(chromium.text(".tile .worst").splitlines()) == {"alarms not known"}
        assert chromium.text("#counts") == "?"
        chromium.wait(lambda: chromium.text(".tile[href='#/i/HV1'] header .badge") == "", "that the crate is there")
        assert chromium.text(".tile[href='#/i/TC1'] header .badge") == "…"
        chromium.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        chromium.wait(lambda: "TC1:Conn" in chromium.text(".alarms"), "the alarms")
        chromium.wait(lambda: "no alarms" in chromium.text(".tile[href='#/i/HV1'] .worst"), "that the crate has none")
    finally:
        chromium.close()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(180)
@pytest.mark.parametrize("width", [320, 390, 1000, 1280, 1600])
def test_the_badges_of_tiles_are_within_them_while_the_ioc_is_away(logins_file: Path, width: int) -> None:
    health = {"HV1:Conn": "caen", "A_LONG_NAME_OF_A_LOGGER_123456:Conn": "se521", "IOC:HEARTBEAT": "ioc"}
    ioc = SmallIoc([Point(name=name, rtyp=RecordType.mbbi, states=("Down", "Up")) for name in health])
    for name in health:
        ioc.read(name, 1)
    kinds = {name.partition(":")[0]: kind for name, kind in health.items()}
    web = WebServer(replace(served(ioc.prefix, logins_file), kinds=kinds))
    chromium = Chromium(width, 844)
    try:
        chromium.open(web.url)
        chromium.wait(lambda: set(chromium.text(".tile .badge").splitlines()) == {""}, "the tiles")
        ioc.close()
        chromium.wait(lambda: chromium.text(".tile .badge") == "\n".join(["? Disconnected"] * 3), "that it is away")
        for _ in ("normal", "large"):
            chromium.picture(f"away-{width}")
            ends = "[...document.querySelectorAll('SHOWN')].map(each => each.getBoundingClientRect().right)"
            badges, tiles = (
                chromium.run(f"return {ends.replace('SHOWN', each)}") for each in (".tile .badge", ".tile")
            )
            assert all(badge <= tile for badge, tile in zip(badges, tiles, strict=True)), (badges, tiles)
            chromium.run("document.querySelector('#size').click()")
    finally:
        chromium.close()
        web.close()
