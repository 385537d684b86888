"""Puts that come late: a network that was gone delivers what was sent before. Only what makes things safe is done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.small_ioc import SmallIoc
from tests.web.live.conftest import Browser, WebServer
from tests.web.live.test_access import session
from web.live.puts import LATE


@pytest.fixture
def anna(web: WebServer) -> Iterator[Browser]:
    with Browser(web, {"Cookie": session(web, "anna")}) as browser:
        yield browser


def clock(browser: Browser) -> float:
    browser.say(type="clock")
    return float(browser.hear_until(lambda message: message["type"] == "clock")["clock"])


def test_a_put_that_comes_late_is_refused_and_an_off_is_not(small_ioc: SmallIoc, anna: Browser) -> None:
    switch, number = small_ioc.prefix + "bo", small_ioc.prefix + "ao"
    begun = clock(anna)
    before = list(small_ioc.puts)
    for name, value in ((switch, 1), (switch, "On"), (number, 5)):
        assert "s after it was asked for" in anna.write(name, value, confirmed=True, at=begun - LATE - 1)
    assert small_ioc.puts == before
    for value in (0, "Off"):
        assert anna.write(switch, value, at=begun - 3600) == ""
    assert anna.write(switch, 1, confirmed=True, at=begun) == ""
    assert anna.write(switch, 0, at=None) == ""
    assert [value for _, value in small_ioc.puts[len(before) :]] == [0, 0, 1, 0]


def test_a_time_that_is_none_is_refused(small_ioc: SmallIoc, anna: Browser) -> None:
    before = list(small_ioc.puts)
    for at in ("1", True, [1], 1e300, 10**400):
        anna.say(type="write", pv=small_ioc.prefix + "ao", value=5, at=at)
        assert anna.error().startswith("at is a time in seconds")
    assert small_ioc.puts == before
