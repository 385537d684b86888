"""A web server in a thread, over a small IOC; browsers that speak PVWS; logins."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import uvicorn
from argon2 import PasswordHasher
from websockets.sync.client import connect

from bench.rig.loopback import free_port
from drivers.base import Point, RecordType
from tests.small_ioc import POINTS, SmallIoc, until
from web.access import logins
from web.app import Served
from web.server import configuration
from web.settings import WebSettings

# as safe as need be here, and quick
logins._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

PASSWORDS = {"anna": ("right horse", "put"), "bob": ("wrong horse", "view")}


class WebServer:
    """A web server in a thread of its own."""

    def __init__(self, served: Served) -> None:
        self.port = served.settings.port
        self._server = uvicorn.Server(configuration(served))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        until(lambda: self._server.started, 10)

    async def _serve(self) -> None:
        self._server.config.port = self.port
        await self._server.serve()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


class Browser:
    """A web socket client; ``updates`` are merged as pvws.js merges them."""

    def __init__(self, web: WebServer, headers: dict[str, str] | None = None, **options: Any) -> None:
        self._connection = connect(
            f"ws://127.0.0.1:{web.port}/pvws/pv", additional_headers=headers, compression=None, **options
        )
        self.socket = self._connection.__enter__()
        self.merged: dict[str, dict[str, Any]] = {}
        self.heard: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.__exit__(None, None, None)

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def subscribe(self, *pvs: str) -> None:
        self.say(type="subscribe", pvs=pvs)

    def hear(self, timeout: float = 5.0) -> dict[str, Any]:
        """The next message."""
        message: dict[str, Any] = json.loads(self.socket.recv(timeout))
        self.heard.append(message)
        if message["type"] == "update":
            self.merged.setdefault(message["pv"], {}).update(message)
        return message

    def hear_until(self, condition: Callable[[dict[str, Any]], bool], timeout: float = 10.0) -> dict[str, Any]:
        """The first message that satisfies the condition."""
        for _ in range(10_000):
            message = self.hear(timeout)
            if condition(message):
                return message
        raise AssertionError("it was not heard")

    def update(self, pv: str, timeout: float = 10.0) -> dict[str, Any]:
        """The next update of a PV."""
        return self.hear_until(lambda message: message.get("pv") == pv and message["type"] == "update", timeout)

    def first(self, pv: str) -> dict[str, Any]:
        """The first two updates of a PV: all of it, and its rights once more; returns the first."""
        found = self.update(pv)
        self.update(pv)
        return found

    def value(self, pv: str, value: object) -> dict[str, Any]:
        """The update with which a PV has a value."""
        return self.hear_until(lambda message: message.get("pv") == pv and message.get("value") == value)

    def error(self) -> str:
        return str(self.hear_until(lambda message: message["type"] == "error")["message"])

    def write(self, pv: str, value: Any, **more: Any) -> str:
        """Put; the reason of a refusal, or an empty text."""
        self.say(type="write", pv=pv, value=value, id=7, **more)
        return str(self.hear_until(lambda message: message.get("id") == 7).get("message", ""))


@pytest.fixture(scope="session")
def logins_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("web") / "logins"
    lines = [logins.line(name, password, rights) for name, (password, rights) in PASSWORDS.items()]
    path.write_text("# name:rights:hash\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


SAFE_LIST = Point(name="IOC:SafeList", rtyp=RecordType.lsi)
SWITCHED = (*POINTS, SAFE_LIST)


def tell_safe(ioc: SmallIoc, *lines: str) -> None:
    """Tell what makes things safe, as an IOC does that has such a list."""
    ioc.read("IOC:SafeList", "\n".join(ioc.prefix + line for line in lines))


@pytest.fixture(scope="module")
def small_ioc() -> Iterator[SmallIoc]:
    """A Channel Access server on loopback that tells what of it makes things safe."""
    small_ioc = SmallIoc(SWITCHED)
    tell_safe(small_ioc, "bo 0 Off")
    yield small_ioc
    small_ioc.close()


def served(prefix: str, logins_file: Path | None = None, **settings: Any) -> Served:
    keys = WebSettings(port=free_port(), logins=str(logins_file) if logins_file else None, **settings)
    return Served(
        settings=keys,
        prefix=prefix,
        pv_list=f"{prefix}IOC:PVList.VAL$",
        safe_list=f"{prefix}IOC:SafeList.VAL$",
        instrument_list=f"{prefix}IOC:Instruments.VAL$",
        database=None,
    )


@pytest.fixture(scope="module")
def web(small_ioc: SmallIoc, logins_file: Path) -> Iterator[WebServer]:
    """A web server over the small IOC, on which puts are on."""
    web = WebServer(served(small_ioc.prefix, logins_file, puts="on"))
    yield web
    web.close()


@pytest.fixture
def browser(web: WebServer) -> Iterator[Browser]:
    with Browser(web) as browser:
        yield browser
