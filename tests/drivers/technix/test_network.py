"""Lines over TCP: no command arrives late, and each way to end a connection ends an HV on."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.base import DeviceError
from drivers.technix.config import FullScale, TechnixConfig
from drivers.technix.line import Line
from drivers.technix.watchdog import Watchdog
from tests.drivers.technix.test_urls import generator_at

ROOT = Path(__file__).parents[3]
# Of pyserial: how its RFC 2217 client starts its thread; that a socket that was reset is closed only as it is freed
pytestmark = [
    pytest.mark.filterwarnings(r"ignore:set(Daemon|Name)\(\) is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


def own_network() -> bool:
    """Return True if this computer lets a user have a network namespace."""
    return subprocess.run(["unshare", "-Urn", "ip", "link"], check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not own_network(), reason="this computer gives no network namespace (unshare -Urn)")
@pytest.mark.parametrize("most", ["one", "many"])
@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_a_command_that_was_lost_in_the_network_is_not_carried_out_later_and_the_line_is_back(
    tmp_path: Path, scheme: str, most: str
) -> None:
    """Also that of a terminal server for one connection, which does not hear of the end of the one before."""
    program = [sys.executable, "-P", "-m", "tests.drivers.technix.network", scheme, str(tmp_path), most]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["unshare", "-Urn", *program], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)
    assert heard[0] == "E"
    assert heard[-1] == "d1,819"
    assert "d1,2457" not in heard


class FarEnd:
    """A TCP peer that does with each connection what a test says; ``heard``: what it received of each."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.deaf = 0  # connections from now on that end before anything is read
        self.reads = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.reads.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.reads.wait()
                if self.deaf:
                    self.deaf -= 1
                    continue
                try:
                    self.heard.append(connection.recv(100))
                except OSError:
                    self.heard.append(b"")


@pytest.fixture
def far_end() -> Iterator[FarEnd]:
    made = FarEnd()
    yield made
    made.close()


class OneClient:
    """A terminal server that takes one connection, turns others away, and notices the end of one after ``lag`` s."""

    def __init__(self, lag: float) -> None:
        self._lag = lag
        self._free = threading.Event()
        self._free.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connection: socket.socket | None = None
        self.url = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def drop(self, *, reset: bool) -> None:
        """End the connection from this side."""
        assert self.connection is not None
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._free.is_set():
                self._free.clear()
                self.connection = connection
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            else:
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while connection.recv(100):
                connection.sendall(b"E0\r")
        time.sleep(self._lag)
        self._free.set()


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("lag", [0.0, 0.005, 0.05, 0.3])
def test_a_far_end_that_takes_one_connection_and_has_ended_it_is_back_soon(lag: float, reset: bool) -> None:
    server = OneClient(lag)
    line = Line(server.url, Watchdog())
    line.open()
    line.ask("E")
    server.drop(reset=reset)
    answered = False
    for _ in range(4):
        try:
            line.open()
            answered = line.ask("E") == 0
            break
        except DeviceError:
            line.close()
            time.sleep(0.5)
    assert answered
    line.close()
    server.close()


@pytest.mark.parametrize("deaf", range(4))
def test_a_far_end_that_closes_at_each_command_gets_both_halves_of_hv_off(far_end: FarEnd, deaf: int) -> None:
    """In this order, whichever of them was lost before."""
    far_end.reads.set()
    far_end.deaf = deaf
    driver = generator_at(far_end.url)
    hv = next(point for point in driver.points if point.name == "HV")
    for _ in range(4 + deaf):
        try:
            list(driver.write_blind(hv, 0))
        except DeviceError:
            driver.close()
    driver.close()
    halves = [heard.split(b"\r")[0] for heard in far_end.heard if heard]
    first = halves.index(b"P6,1")
    assert b"P6,0" in halves[first:]


@pytest.mark.parametrize(
    "port",
    [
        *("socket://host", "rfc2217://host", "socket://host:0", "socket://host:99999", "rfc2217://host:abc"),
        *(
            "socket:/host:4001",
            "10.0.0.1:4001",
            "socket://:4001",
            "foo://x",
            "loop://",
            "spy:///dev/ttyS0",
            "socket://host:1?foo=1",
        ),
        *("rfc2217://host:1?timeout=abc", ""),
    ],
)
def test_a_port_that_can_never_be_opened_is_a_fault_of_the_configuration(port: str) -> None:
    config = TechnixConfig(port=port, full_scale=FullScale(voltage_kv=100, current_ma=50))
    assert [where for where, _ in config.faults()] == [("port",)]


@pytest.mark.parametrize(
    "port", ["/dev/ttyUSB0", "COM3", "socket://10.0.0.5:4001", "rfc2217://host:1?timeout=0.3", "socket://[::1]:4001"]
)
def test_a_port_that_may_be_opened_is_none(port: str) -> None:
    config = TechnixConfig(port=port, full_scale=FullScale(voltage_kv=100, current_ma=50))
    assert list(config.faults()) == []
