"""The web server with a certificate of its own, without a proxy before it: live values and puts."""

from __future__ import annotations

import json
import logging
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

import web.server
from tests.small_ioc import SmallIoc
from tests.web.live.conftest import WebServer, served

_CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=rack -addext subjectAltName=IP:127.0.0.1 "
    "-keyout rack.key -out rack.crt"
)


@pytest.fixture
def secure(small_ioc: SmallIoc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setattr(web.server, "REQUEST_S", 1.0)
    subprocess.run(_CERTIFICATE.split(), cwd=tmp_path, check=True, capture_output=True)
    certificate, key = str(tmp_path / "rack.crt"), str(tmp_path / "rack.key")
    server = WebServer(served(small_ioc.prefix, certificate=certificate, key=key))
    yield server
    server.close()


def told(socket: ClientConnection, **wanted: Any) -> dict[str, Any]:
    """The first message with these members."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(10))
        if wanted.items() <= message.items():
            return message


def test_live_values_and_refusals_come_over_its_own_tls(
    small_ioc: SmallIoc, secure: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "rack.crt"))
    pv = f"{small_ioc.prefix}long"
    small_ioc.read("long", 0)
    with connect(f"wss://127.0.0.1:{secure.port}/pvws/pv", ssl=trusting, compression=None) as socket:
        socket.send(json.dumps({"type": "subscribe", "pvs": [pv]}))
        for number in range(1, 6):
            small_ioc.read("long", number)
            told(socket, pv=pv, value=number)
        socket.send(json.dumps({"type": "write", "pv": pv, "value": 1, "id": 7}))
        assert told(socket, id=7)["type"] == "error"
    time.sleep(1.5)  # what was to end the connection without a request
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []
