"""What a browser is shown of an IOC that has no value yet, is lost, or comes back as another one.

These servers come and go: of two on one port of UDP each client reaches one alone, as the kernel chooses.
"""

from __future__ import annotations

import json
import math
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.base import Point, RecordType, Severity, Status
from tests.small_ioc import SmallIoc, until
from tests.web.live.chromium import Chromium
from tests.web.live.conftest import Browser, WebServer, served
from tests.web.live.test_page import SIZES


@pytest.fixture
def ioc() -> Iterator[SmallIoc]:
    ioc = SmallIoc()
    yield ioc
    if ioc.loop.is_running():
        ioc.close()


@pytest.fixture
def web(ioc: SmallIoc) -> Iterator[WebServer]:
    web = WebServer(served(ioc.prefix))
    yield web
    web.close()


def test_a_record_that_was_never_processed_shows_no_zero(ioc: SmallIoc, browser: Browser) -> None:
    with_value, enum = ioc.prefix + "ai", ioc.prefix + "mbbi"
    browser.subscribe(with_value, enum)
    until(lambda: bool(browser.hear()) and {with_value, enum} <= browser.merged.keys())
    assert (browser.merged[with_value]["value"], browser.merged[with_value]["severity"]) == ("NaN", "INVALID")
    assert (browser.merged[enum]["value"], browser.merged[enum]["text"]) == ("NaN", "")


def test_an_answer_of_the_api_has_no_nan(ioc: SmallIoc, web: WebServer) -> None:
    ioc.read("ai", math.nan, Severity.INVALID, Status.UDF)
    ioc.read("wave", (1.0, math.nan, math.inf))
    names = [ioc.prefix + "ai", ioc.prefix + "wave"]
    with urllib.request.urlopen(f"{web.url}/api/values?pv={names[0]}&pv={names[1]}") as answer:
        single, array = json.load(answer)
    assert (single["value"], array["value"]) == (None, [1.0, None, None])


def test_a_lost_ioc_is_shown_as_not_known(ioc: SmallIoc, browser: Browser) -> None:
    ioc.read("ai", 3.0)
    ioc.read("mbbi", 2)
    ioc.read("text", "old")
    names = [ioc.prefix + each for each in ("ai", "mbbi", "text")]
    browser.subscribe(*names)
    until(lambda: bool(browser.hear()) and set(names) <= browser.merged.keys())
    ioc.close()
    until(lambda: bool(browser.hear()) and all(browser.merged[each]["severity"] == "UNDEFINED" for each in names))
    assert {browser.merged[each]["value"] for each in names} == {"NaN"}
    assert browser.merged[names[1]]["text"] == browser.merged[names[2]]["text"] == "Disconnected"
    assert all(browser.merged[each]["readonly"] for each in names)


def show(chromium: Chromium, web: WebServer, name: str) -> str:
    """Have the page show a PV; return where it does."""
    chromium.open(web.url)
    chromium.find(".tiles, .overview")
    chromium.append(f"put.reading(new dom.Scope(), {json.dumps(name)})")
    return f"[data-pv='{name}']"


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(180)
def test_a_pv_of_another_type_keeps_nothing_of_the_former_one(logins_file: Path) -> None:
    first = SmallIoc([Point(name="was", rtyp=RecordType.mbbi, states=("Down", "Up"))])
    name = f"{first.prefix}was"
    first.read("was", 1)
    web = WebServer(served(first.prefix, logins_file))
    chromium = Chromium(*SIZES["desktop"])
    try:
        shown = show(chromium, web, name)
        chromium.wait(lambda: chromium.text(shown) == "Up", "the word")
        first.close()
        chromium.wait(lambda: chromium.text(shown) == "?", "that it is away")
        second = SmallIoc([Point(name="was", rtyp=RecordType.ai, egu="kV", prec=1)], first.prefix)
        second.read("was", 1.5)
        try:
            chromium.wait(lambda: chromium.text(shown) == "1.5kV", "the number")
        finally:
            second.close()
    finally:
        chromium.close()
        web.close()


# What is shown in the moment in which the page counts as connected again
CONNECTED = """
import('/static/live.js').then(({ live }) => live.addEventListener('state', () => {
  if (live.connected) window.connected = document.querySelector("SHOWN").innerText;
}));
"""


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(180)
def test_a_server_that_was_started_anew_without_a_pv_leaves_no_value_of_it(logins_file: Path) -> None:
    ioc = SmallIoc([Point(name="was", rtyp=RecordType.ai, egu="kV", prec=1)])
    name = f"{ioc.prefix}was"
    ioc.read("was", 1.5)
    keys = served(ioc.prefix, logins_file)
    web = WebServer(keys)
    chromium = Chromium(*SIZES["desktop"])
    try:
        shown = show(chromium, web, name)
        chromium.wait(lambda: chromium.text(shown) == "1.5kV", "the number")
        chromium.run(CONNECTED.replace("SHOWN", shown))
        web.close()
        ioc.close()
        chromium.wait(lambda: "No connection to the web server" in chromium.text("#banner"), "that it is away")
        web = WebServer(keys)
        chromium.wait(lambda: "No connection" not in chromium.text("#banner"), "that it is there")
        assert chromium.run("return connected") == "…kV"  # no picture has it as if it held
        assert chromium.attribute(shown, "data-severity") == ""
    finally:
        chromium.close()
        web.close()
