"""What a browser is told is new when it goes out, and an answer comes behind what was due when it was asked for."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
import time
from typing import Any, NoReturn

import pytest

from drivers.base import Point, RecordType
from tests.small_ioc import SmallIoc
from tests.web.live.conftest import Browser, WebServer, served
from web.access.visitor import Visitor
from web.live import pvws
from web.live.hub import Hub
from web.live.pv import Changed

ELEMENTS, NAMES, ROUNDS = 2000, 10, 12


async def no_put(*_: object) -> NoReturn:
    raise AssertionError


def test_an_answer_is_behind_all_that_was_due_when_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pvws, "AT_ONCE", 1)
    heard: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        heard.append(json.loads(message["frames"][2:]))

    async def ask() -> None:
        hub = Hub(lambda name: True)
        browser = pvws.Browser(hub, Visitor("x"), no_put, may_put=False)
        names = [f"PV:{number}" for number in range(5)]
        await browser.receive(json.dumps({"type": "subscribe", "pvs": names}))
        told = [subscription for name in names for subscription in hub.pv(name).subscriptions]
        for subscription in told:
            browser.changed(subscription, int(Changed.VALUE))
        await browser.receive('{"type": "clock"}')
        for subscription in reversed(told):  # of what is due already the newest is sent
            browser.changed(subscription, int(Changed.VALUE))
        sending = asyncio.create_task(browser.send(send))
        await asyncio.sleep(0.1)
        sending.cancel()

    asyncio.run(ask())
    assert [each.get("pv", each["type"]) for each in heard] == ["PV:0", "PV:1", "PV:2", "PV:3", "PV:4", "clock"]


def test_a_slow_network_is_given_few_old_values() -> None:
    ioc = SmallIoc([Point(name="wave", rtyp=RecordType.waveform, nelm=ELEMENTS)])
    web = WebServer(served(ioc.prefix))
    names = [f"{ioc.prefix}wave.VAL[0:{ELEMENTS - 1 - number}]" for number in range(NAMES)]
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", web.port))
    ioc.read("wave", (0.0,) * ELEMENTS)
    try:
        with Browser(web, sock=slow, max_queue=1) as browser:
            browser.subscribe(*names)
            for number in range(1, ROUNDS + 1):
                time.sleep(0.4)
                ioc.read("wave", (float(number),) * ELEMENTS)
            time.sleep(0.6)
            shown = dict.fromkeys(names, -1.0)
            while set(shown.values()) != {float(ROUNDS)}:
                message = browser.hear()
                (shown[message["pv"]],) = struct.unpack_from("<d", base64.b64decode(message["b64dbl"]))
            old = len(browser.heard) - NAMES
            assert old * 8 * ELEMENTS < 400_000, old
    finally:
        web.close()
        ioc.close()
