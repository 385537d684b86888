"""Puts that come late: a network that was gone delivers what was sent before. Only what makes things safe is done."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.ca import dbr
from archiver.ca.libca import NORMAL
from tests.small_ioc import SmallIoc
from tests.web.live.conftest import Browser, WebServer, served
from tests.web.live.test_access import session
from web.live.circuits import Circuits
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


@pytest.fixture
def fresh(small_ioc: SmallIoc, logins_file: Path) -> Iterator[Browser]:
    """Anna at a web server that has no connection under her name yet, and is shown the switch."""
    web = WebServer(served(small_ioc.prefix, logins_file, puts="on"))
    with Browser(web, {"Cookie": session(web, "anna")}) as browser:
        browser.subscribe(small_ioc.prefix + "bo")
        browser.update(small_ioc.prefix + "bo")
        yield browser
    web.close()


def hang(small_ioc: SmallIoc, seconds: float) -> None:
    """Let the IOC do nothing for so long."""
    small_ioc.loop.call_soon_threadsafe(time.sleep, seconds)
    time.sleep(0.2)


def test_an_on_is_not_carried_out_late_by_an_ioc_that_hung(small_ioc: SmallIoc, fresh: Browser) -> None:
    before = len(small_ioc.puts)
    asked = clock(fresh) - LATE + 1
    hang(small_ioc, 3)
    assert "nothing was put" in fresh.write(small_ioc.prefix + "bo", 1, confirmed=True, at=asked)
    time.sleep(3)
    assert small_ioc.puts[before:] == []
    # and it is taken when it is asked for again
    assert fresh.write(small_ioc.prefix + "bo", 1, confirmed=True, at=clock(fresh)) == ""
    assert small_ioc.puts[before:] == [("bo", 1)]


def test_an_off_is_carried_out_by_an_ioc_that_hung(small_ioc: SmallIoc, fresh: Browser) -> None:
    before = len(small_ioc.puts)
    asked = clock(fresh)
    hang(small_ioc, LATE + 2)
    assert fresh.write(small_ioc.prefix + "bo", 0, at=asked) == ""
    assert small_ioc.puts[before:] == [("bo", 0)]


def test_an_off_does_not_wait_for_another_server_that_hangs(small_ioc: SmallIoc) -> None:
    off = dbr.ENUM, 1, struct.pack(">H", 0)
    before = len(small_ioc.puts)

    async def put() -> int:
        circuits = Circuits()
        waits = asyncio.create_task(circuits.begin("anna", f"localhost:{hung.getsockname()[1]}", "X", *off))
        try:
            await asyncio.sleep(0.5)
            server = f"localhost:{small_ioc.server.port}"
            async with asyncio.timeout(10):
                return await (await circuits.begin("anna", server, small_ioc.prefix + "bo", *off))
        finally:
            waits.cancel()
            circuits.close()

    with (
        socket.create_server(("127.0.0.1", 0)) as hung,
        socket.create_connection(hung.getsockname()),
        socket.create_connection(("127.0.0.1", small_ioc.server.port)),
    ):
        assert asyncio.run(put()) == NORMAL
    assert small_ioc.puts[before:] == [("bo", 0)]


def test_a_time_that_is_none_is_refused(small_ioc: SmallIoc, anna: Browser) -> None:
    before = list(small_ioc.puts)
    for at in ("1", True, [1], 1e300, 10**400):
        anna.say(type="write", pv=small_ioc.prefix + "ao", value=5, at=at)
        assert anna.error().startswith("at is a time in seconds")
    assert small_ioc.puts == before
