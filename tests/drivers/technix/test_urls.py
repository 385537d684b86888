"""Each way to name a generator's line, opened by real pyserial against a real far end: device, raw TCP, RFC 2217."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import serial
import serial.rfc2217

from drivers.base import LinkDown, NoReply, Readings
from drivers.technix import Technix
from drivers.technix.config import FullScale, TechnixConfig
from sim.technix.fake import TechnixFake
from sim.technix.generator import Generator
from tests.drivers.steps import merged

# Of pyserial: how its RFC 2217 client starts its thread; that a socket that was reset is closed only as it is freed
pytestmark = [
    pytest.mark.filterwarnings(r"ignore:set(Daemon|Name)\(\) is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


class ServerPort(serial.Serial):
    """The serial port of a terminal server: a pty, which has no modem lines."""

    cts = dsr = ri = cd = False

    def _update_rts_state(self) -> None:
        pass

    def _update_dtr_state(self) -> None:
        pass


class TerminalServer:
    """A terminal server with one port: bytes between TCP and a serial line, with or without RFC 2217."""

    def __init__(self, path: str, *, rfc2217: bool) -> None:
        self.scheme = "rfc2217" if rfc2217 else "socket"
        self._path = path
        self._connection: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._number = self._listener.getsockname()[1]
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._number}"

    def stop(self, *, reset: bool = False) -> None:
        """End the connection, with or without a TCP reset, and listen no more."""
        connection = self._connection
        if connection is not None:
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.setblocking(False)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def start(self) -> None:
        """Listen again, on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self._number))
        self._thread = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Send to the client; ``PortManager`` calls it."""
        with self._writing, suppress(OSError):
            assert self._connection is not None
            self._connection.sendall(data)

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, ServerPort(self._path, 9600, timeout=0.01) as port:
                self._connection = connection
                self._bridge(connection, port)
                self._connection = None

    def _bridge(self, connection: socket.socket, port: serial.Serial) -> None:
        manager: Any = serial.rfc2217.PortManager  # its annotations are not what it takes
        telnet = manager(port, self) if self.scheme == "rfc2217" else None
        ended = threading.Event()

        def outwards() -> None:
            while not ended.is_set():
                data = port.read(64)
                if data:
                    self.write(b"".join(telnet.escape(data)) if telnet else data)

        thread = threading.Thread(target=outwards, daemon=True)
        thread.start()
        with suppress(OSError):
            while data := connection.recv(1024):
                port.write(b"".join(telnet.filter(data)) if telnet else data)
        ended.set()
        thread.join()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[TechnixFake]:
    fake = TechnixFake(str(tmp_path / "port"), Generator())
    fake.plug()
    yield fake
    fake.unplug()


@pytest.fixture(params=["socket", "rfc2217"])
def server(request: pytest.FixtureRequest, fake: TechnixFake) -> Iterator[TerminalServer]:
    server = TerminalServer(fake.port, rfc2217=request.param == "rfc2217")
    yield server
    server.stop()


@pytest.fixture
def driver(server: TerminalServer) -> Iterator[Technix]:
    driver = generator_at(server.url)
    driver.connect()
    yield driver
    driver.close()


def generator_at(port: str) -> Technix:
    return Technix(TechnixConfig(port=port, full_scale=FullScale(voltage_kv=100, current_ma=50)))


def scan(driver: Technix) -> dict[str, Any]:
    return dict(merged(driver.read("status")))


def put(driver: Technix, name: str, value: float) -> Readings:
    return merged(driver.write(next(point for point in driver.points if point.name == name), value))


def use(driver: Technix) -> None:
    """Do all that an operator does in a day."""
    assert put(driver, "Mode", 0)["Mode_RBV"] == 0
    assert put(driver, "VSet", 50)["VSet_RBV"] == 2047 * 100 / 4095
    put(driver, "ISet", 20)
    assert put(driver, "HV", 1)["HV_RBV"] == 1
    assert scan(driver)["HV_RBV"] == 1
    assert put(driver, "Inhibit", 1)["Inhibit_RBV"] == 1
    assert put(driver, "Inhibit", 0)["Inhibit_RBV"] == 0
    assert put(driver, "HV", 0)["HV_RBV"] == 0
    assert put(driver, "Mode", 1)["Mode_RBV"] == 1


def test_a_generator_behind_each_url_can_be_scanned_and_put(driver: Technix) -> None:
    use(driver)


def test_a_generator_at_a_device_can_be_scanned_and_put(fake: TechnixFake) -> None:
    driver = generator_at(fake.port)
    driver.connect()
    use(driver)
    driver.close()


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_terminal_server_that_goes_away_is_a_link_down_and_is_used_again_when_it_is_back(
    server: TerminalServer, driver: Technix, reset: bool
) -> None:
    scan(driver)
    server.stop(reset=reset)
    with pytest.raises(LinkDown, match=rf"^{server.url} is gone: "):
        scan(driver)
    driver.close()
    with pytest.raises(LinkDown, match=rf"^{server.url} cannot be opened: Connection refused$"):
        driver.connect()
    server.start()
    driver.connect()
    assert scan(driver)["Mode_RBV"] == 1


def test_a_far_end_that_ends_the_connection_as_soon_as_it_is_there_is_a_link_down_and_used_again(
    monkeypatch: pytest.MonkeyPatch, fake: TechnixFake
) -> None:
    """As one that serves another client: pyserial opened the port, and the system knows of no far end any more."""
    server = TerminalServer(fake.port, rfc2217=False)
    driver = generator_at(server.url)
    open_port = serial.serial_for_url

    def open_and_lose(*arguments: Any, **options: Any) -> Any:
        port: Any = open_port(*arguments, **options)
        server.stop(reset=True)
        select.select([port._socket], [], [], 5)
        return port

    with monkeypatch.context() as patch:
        patch.setattr(serial, "serial_for_url", open_and_lose)
        with pytest.raises(LinkDown, match=rf"^{server.url} cannot be opened: "):
            driver.connect()
    server.start()
    driver.connect()
    assert scan(driver)["Mode_RBV"] == 1
    driver.close()
    server.stop()


def test_a_terminal_server_that_goes_away_in_the_middle_of_a_question_is_a_link_down(
    server: TerminalServer, driver: Technix, fake: TechnixFake
) -> None:
    fake.run("mute")
    stop = threading.Timer(0.1, server.stop)
    stop.start()
    began = time.monotonic()
    with pytest.raises(LinkDown, match="is gone"):
        scan(driver)
    stop.join()
    assert time.monotonic() - began < 2


def test_losing_a_terminal_server_again_and_again_uses_up_no_files(
    server: TerminalServer, driver: Technix, fake: TechnixFake
) -> None:
    before = None
    for _ in range(3):
        server.stop(reset=True)
        with pytest.raises(LinkDown):
            scan(driver)
        driver.close()
        server.start()
        driver.connect()
        files = len(os.listdir("/proc/self/fd"))
        assert before is None or files <= before
        before = files


def test_a_late_reply_is_thrown_away_behind_each_url(driver: Technix, fake: TechnixFake) -> None:
    fake.run("late 0.7 1")
    with pytest.raises(NoReply):
        scan(driver)
    time.sleep(0.3)
    assert scan(driver)["Mode_RBV"] == 1


def test_a_far_end_that_does_not_speak_rfc_2217_is_told(fake: TechnixFake) -> None:
    server = TerminalServer(fake.port, rfc2217=False)
    with pytest.raises(LinkDown, match="cannot be opened: Remote does not seem to support RFC2217"):
        generator_at(server.url.replace("socket", "rfc2217") + "?timeout=0.3").connect()
    server.stop()


@pytest.mark.parametrize(
    "url", ["socket://127.0.0.1", "rfc2217://127.0.0.1", "socket://127.0.0.1:0x1", "rfc2217://127.0.0.1:99999"]
)
def test_a_url_without_a_proper_port_is_a_link_down(url: str) -> None:
    with pytest.raises(LinkDown, match=f"^{url} cannot be opened: "):
        generator_at(url).connect()
