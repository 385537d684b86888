"""Servers that carry out puts and answer no read: in a file of its own, for no other may share its UDP port."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from bench.rig.loopback import environment
from tests.rackioc.test_channel import COMMAND, run
from tests.small_ioc import until

SERVER = """
from caproto.server import PVGroup, pvproperty, run

class Unreadable(PVGroup):
    off = pvproperty(value=0, name="off")

    @off.getter
    async def off(self, instance):
        raise RuntimeError

    @off.putter
    async def off(self, instance, value):
        print("put", value, flush=True)

run(Unreadable(prefix="UNREADABLE:").pvdb)
"""


@pytest.mark.parametrize("terse", [[], ["-t"]])
def test_an_off_is_put_though_the_value_of_before_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, terse: list[str]
) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with server:
        try:
            until(lambda: run("info", "-w", "1", "UNREADABLE:off")[0] == 0, 30)
            code, lines, said = run("put", "UNREADABLE:off", "1", *terse)
        finally:
            server.kill()
        assert server.stdout is not None
        assert server.stdout.read() == "put 1\n"
    assert (code, lines) == (0, [])
    assert said.startswith("rackioc: UNREADABLE:off was not read: ")


class Silent:
    """A server over TCP alone that has every PV, takes every put and never answers a read.

    puts  when each put came (monotonic s), and its text
    """

    def __init__(self) -> None:
        self.puts: list[tuple[float, str]] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have clients look for PVs here."""
        for name, value in environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("EPICS_CA_NAME_SERVERS", f"127.0.0.1:{self.port}")

    def _accept(self) -> None:
        while True:
            circuit, _ = self._listening.accept()
            threading.Thread(target=self._serve, args=[circuit], daemon=True).start()

    def _serve(self, circuit: socket.socket) -> None:
        with circuit, circuit.makefile("rb") as received:
            while header := received.read(16):
                command, size, dtype, count, first, second = struct.unpack(">HHHHII", header)
                circuit.sendall(self._reply(command, received.read(size), dtype, count, first, second))

    def _reply(self, command: int, payload: bytes, dtype: int, count: int, first: int, second: int) -> bytes:
        def message(*fields: int) -> bytes:
            return struct.pack(">HHHHII", *fields)

        match command:
            case 0:  # version
                return message(0, 0, 0, 13, 0, 0)
            case 6:  # search: here
                return message(6, 8, self.port, 0, 0xFFFFFFFF, second) + struct.pack(">H6x", 13)
            case 18:  # create: access rights (read, write), and a LONG
                return message(22, 0, 0, 0, first, 3) + message(18, 0, 5, 1, first, 1)
            case 19:  # put
                self.puts.append((time.monotonic(), payload.rstrip(b"\0").decode()))
                return message(19, 0, dtype, count, 1, second)
            case 23:  # echo
                return message(23, 0, 0, 0, 0, 0)
        return b""


@pytest.mark.slow
def test_an_off_is_put_within_seconds_though_no_read_is_ever_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Silent()
    server.is_found(monkeypatch)
    began = time.monotonic()
    code, lines, said = run("put", "-w", "8", "SILENT:off", "0")
    (came, value), *others = server.puts
    assert (value, others) == ("0", [])
    assert came - began < 8  # as long as one read may take, which is not waited for
    assert (code, lines) == (0, [])
    assert said.startswith("rackioc: SILENT:off was not read within 1 s\n")


class Refusing(Silent):
    """A server that answers a search, and then refuses the channel; ``refused``: how often."""

    def __init__(self) -> None:
        self.refused = 0
        super().__init__()

    def _reply(self, command: int, payload: bytes, dtype: int, count: int, first: int, second: int) -> bytes:
        if command != 18:
            return super()._reply(command, payload, dtype, count, first, second)
        self.refused += 1
        return struct.pack(">HHHHII", 26, 0, 0, 0, first, 0)


@pytest.mark.slow
def test_a_pv_whose_channel_is_refused_is_not_told_to_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Refusing()
    server.is_found(monkeypatch)
    command = [*COMMAND, "monitor", "-w", "5", "REFUSED:on"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        until(lambda: server.refused, 30)
        assert process.stdout is not None
        told = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert told == f"{'REFUSED:on':<30} *** Not connected (PV not found)\n"
