"""What a browser is shown of an IOC that has no value yet, and of one that is lost."""

from __future__ import annotations

import json
import math
import urllib.request
from collections.abc import Iterator

import pytest

from drivers.base import Severity, Status
from tests.small_ioc import SmallIoc, until
from tests.web.live.conftest import Browser, WebServer, served


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
