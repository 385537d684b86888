"""The web server as a process: its start and stop, alone and beside an IOC, and a port that is taken."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from bench.rig.loopback import free_port
from rackioc.cli import runtime
from rackioc.config.load import load
from tests.client import Client
from tests.small_ioc import until
from tests.system.conftest import LOGGER, Racks
from tests.system.conftest import racks as racks  # noqa: PLC0414 - the fixture

MODULE = (sys.executable, "-P", "-m", "rackioc")
CONFIG = "prefix: 'T:'\ninstruments: {{TC1: {{driver: se521}}}}\nweb: {{port: {port}}}\n"


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return bool(answer.read() == b"Pong\n")
    except OSError:
        return False


@pytest.fixture
def config(tmp_path: Path) -> tuple[Path, int]:
    port = free_port()
    path = tmp_path / "rack.yaml"
    path.write_text(CONFIG.format(port=port))
    return path, port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_answers_without_an_ioc_and_stops_in_order(config: tuple[Path, int], number: signal.Signals) -> None:
    path, port = config
    with subprocess.Popen([*MODULE, "web", str(path)], stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: answers(port) or process.poll() is not None, 20)
            process.send_signal(number)
            assert process.wait(10) == 0
            assert process.stderr is not None
            assert f"listening at http://127.0.0.1:{port}/" in process.stderr.read()
        finally:
            process.kill()


def test_who_asks_twice_to_stop_sees_no_traceback(config: tuple[Path, int]) -> None:
    path, port = config
    with subprocess.Popen([*MODULE, "web", str(path)], stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: answers(port) or process.poll() is not None, 20)
            # a connection keeps it from ending at once
            with socket.create_connection(("127.0.0.1", port)) as client:
                asked = ("GET /pvws/pv HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket",
                         "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}==", "", "")  # fmt: skip
                client.sendall("\r\n".join(asked).encode())
                assert client.recv(100).startswith(b"HTTP/1.1 101")
                for _ in range(10):
                    if process.poll() is None:
                        process.send_signal(signal.SIGINT)
                    time.sleep(0.02)
                assert process.wait(10) == 0
            assert process.stderr is not None
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_a_key_with_a_password_is_told_and_nobody_is_asked_for_it(config: tuple[Path, int]) -> None:
    path, port = config
    make = "openssl req -x509 -newkey rsa:2048 -passout pass:word -keyout key.pem -out cert.pem -days 2 -subj /CN=x"
    subprocess.run(make.split(), cwd=path.parent, check=True, capture_output=True)
    path.write_text(CONFIG.format(port=f"{port}, certificate: cert.pem, key: key.pem"))
    found = subprocess.run([*MODULE, "web", str(path)], capture_output=True, text=True, timeout=20, check=False)
    assert found.returncode == 1
    assert "the key of the web server's certificate has a password" in found.stderr
    assert "Enter PEM" not in found.stderr + found.stdout


def test_a_port_that_is_taken_is_told_with_its_number(config: tuple[Path, int]) -> None:
    path, port = config
    with socket.create_server(("127.0.0.1", port)):
        done = subprocess.run([*MODULE, "web", str(path)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"rackioc: the web server cannot listen on 127.0.0.1 port {port}: Address already in use" in done.stderr


def test_a_killed_web_server_is_started_again_and_nothing_else_notices(racks: Racks, ca: Client) -> None:
    port = free_port()
    ioc = racks.start({"TC1": LOGGER}, web={"port": port}, archive={"database": "sqlite:///a.sqlite", "pvs": []})
    ca.wait(ioc("TC1:Conn"), lambda value: value == 2, 30)
    until(lambda: answers(port), 20)
    children = {child.cmdline()[4]: child for child in psutil.Process(ioc.process.pid).children()}
    assert children.keys() == {"archive", "web"}
    children["web"].kill()
    until(lambda: "the web server ended with code -9; starting it again in 1 s" in ioc.logged(), 10)
    until(lambda: answers(port), 20)
    assert children["archive"].is_running()
    assert ca.get(ioc("TC1:Conn")) == 2
    assert ioc.stop() == 0
    assert not answers(port)


def test_the_demo_takes_another_port_if_the_usual_one_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(runtime, "USUAL_PORT", port)
    monkeypatch.setenv(runtime.WEB_PORT, str(port))
    runtime.choose_web_port()
    assert os.environ[runtime.WEB_PORT] == str(port)
    with socket.create_server(("127.0.0.1", port)):
        runtime.choose_web_port()
        assert os.environ[runtime.WEB_PORT] != str(port)


def test_without_the_key_there_is_no_web_server(tmp_path: Path) -> None:
    path = tmp_path / "rack.yaml"
    path.write_text("prefix: 'T:'\ninstruments: {TC1: {driver: se521}}\n")
    assert load(path).web is None
    path.write_text("prefix: 'T:'\ninstruments: {TC1: {driver: se521}}\nweb: {}\n")
    web = load(path).web
    assert web is not None
    assert (web.url, web.puts) == ("http://127.0.0.1:8080/", "off")


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            "{address: '127.0.0.1:80'}",
            "web.address: is '127.0.0.1:80'; write the address alone",
        ),
        ("{port: 0}", "web.port: is 0; ports are numbered from 1 to 65535"),
        ("{address: ''}", "web.address: is empty; write 127.0.0.1 for this computer alone, 0.0.0.0 for all"),
        ("{puts: maybe}", "web.puts: \"maybe\" must be one of 'off', 'on'"),
        ("{prot: 80}", "web.prot: unknown key; allowed: address, port, puts"),
    ],
)
def test_a_fault_under_web_is_told_with_its_key(tmp_path: Path, keys: str, sentence: str) -> None:
    path = tmp_path / "rack.yaml"
    path.write_text(f"prefix: 'T:'\ninstruments: {{TC1: {{driver: se521}}}}\nweb: {keys}\n")
    done = subprocess.run([*MODULE, "check", str(path)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
