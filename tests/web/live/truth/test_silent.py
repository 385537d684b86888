"""An IOC that hangs with its connections open: libca finds that after 35 s, its heartbeat tells it within seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from drivers.base import Point, RecordType, Severity, Status, Value
from tests.small_ioc import SmallIoc, until
from tests.web.live.conftest import SWITCHED, WebServer, served, tell_safe
from tests.web.live.truth.switches import Person
from web.rack import rack

HEART = "IOC:HEARTBEAT"
LIST = Point(name="IOC:PVList", rtyp=RecordType.lsi)
LOAD = Point(name="IOC:LOAD", rtyp=RecordType.ai)
SHOWN = ("ai", "mbbi", "text", "bo", HEART)


@pytest.fixture
def ioc() -> Iterator[SmallIoc]:
    """It counts when a test has it count."""
    ioc = SmallIoc([*SWITCHED, LIST, Point(name=HEART, rtyp=RecordType.longin), LOAD])
    tell_safe(ioc, "bo 0 Off")
    ioc.read("IOC:PVList", "\n".join(record.name for record in ioc.records.values()))
    told: tuple[Value, ...] = (3.0, 2, "old", 1, 1)
    for name, value in zip(SHOWN, told, strict=True):
        ioc.read(name, value)
    yield ioc
    ioc.close()


@pytest.fixture
def web(ioc: SmallIoc, logins_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setattr(rack, "_SILENT", 2.0)
    web = WebServer(replace(served(ioc.prefix, logins_file, puts="on"), kinds={"IOC": "ioc"}))
    yield web
    web.close()


def test_what_an_ioc_told_before_it_hung_is_not_known_until_it_counts_again(ioc: SmallIoc, web: WebServer) -> None:
    names = [ioc.prefix + each for each in SHOWN]
    ai, mbbi, text, bo, _ = names

    def of_programs() -> tuple[object, ...]:
        """Value and severity by the API, and whether /metrics has a value."""
        (told,) = json.load(urlopen(f"{web.url}/api/values?pv={ai}"))
        metrics = urlopen(f"{web.url}/metrics?pv={ai}").read().decode()
        return told["value"], told["severity"], f'rackioc_pv{{instrument="",pv="{ai}"' in metrics

    with Person(web) as anna:
        anna.subscribe(*names)
        until(lambda: bool(anna.hear()) and all(anna.merged.get(each, {}).get("value") for each in names[:2]))
        until(lambda: bool(anna.hear()) and all(anna.merged[each]["severity"] == "UNDEFINED" for each in names), 10)
        assert {anna.merged[each]["value"] for each in names} == {"NaN"}
        assert {anna.merged[each]["text"] for each in (mbbi, text, bo)} == {"Disconnected"}
        assert of_programs() == (None, "UNDEFINED", False)
        # an Off goes to it all the same, and what it may still have sent is not new
        assert anna.merged[bo]["readonly"] is False
        assert anna.asked(bo, "Off") == ""
        assert ioc.puts == [("bo", 0)]
        ioc.read("ai", 4.0)
        anna.hear_until(lambda message: message.get("pv") == ai)
        assert (anna.merged[ai]["value"], anna.merged[ai]["severity"]) == ("NaN", "UNDEFINED")
        count = iter(range(2, 1000))
        ioc.read(HEART, next(count))
        assert anna.value(ai, 4.0)["severity"] == "NONE"
        until(lambda: anna.merged[bo]["text"] == "Off" or not anna.hear())

        def lives() -> bool:
            ioc.read(HEART, next(count))
            return of_programs() == (4.0, "NONE", True)

        until(lives)


def test_an_alarm_began_when_it_did_also_where_the_ioc_has_hung_meanwhile(ioc: SmallIoc, web: WebServer) -> None:
    values = iter(range(2, 10_000))

    def told() -> dict[str, Any]:
        found: dict[str, Any] = json.load(urlopen(f"{web.url}/api/alarms"))
        return found

    def began() -> list[tuple[float, bool]]:
        return [(each["since"], each["exact"]) for each in told()["alarms"] if each["pv"].endswith("IOC:LOAD")]

    def counts() -> bool:
        ioc.read(HEART, next(values))
        return bool(told()["connected"])

    def goes_on() -> bool:
        ioc.read("IOC:LOAD", float(next(values)), Severity.MAJOR, Status.HIHI)  # with another stamp
        return counts()

    ioc.read("IOC:LOAD", 0.0)
    until(counts, 20)
    until(lambda: bool(goes_on() and began()))
    first = began()
    assert first[0][1] is True
    until(lambda: not told()["connected"])
    until(lambda: {each["severity"] for each in told()["alarms"]} == {"UNDEFINED"})
    until(goes_on)
    assert began() == first


def test_what_was_well_is_not_known_since_its_ioc_hangs(ioc: SmallIoc, web: WebServer) -> None:
    count = iter(range(2, 10_000))

    def told() -> dict[str, Any]:
        found: dict[str, Any] = json.load(urlopen(f"{web.url}/api/alarms"))
        return found

    def counts() -> bool:
        ioc.read(HEART, next(count))
        return bool(told()["connected"])

    ioc.read("IOC:LOAD", 0.0)
    until(lambda: counts() and not told()["alarms"], 20)
    for _ in range(2):
        until(counts)
        hung = time.time()
        until(lambda: len(told()["alarms"]) > 0)
        assert all(hung < each["since"] <= time.time() and not each["exact"] for each in told()["alarms"])
        until(lambda: counts() and not told()["alarms"])
