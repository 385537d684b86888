"""A server with a few records in a thread of its own, and a client that speaks bytes to it."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, Self

from drivers.base import Array, Point, Reading, RecordType, Refused, Severity, Value
from ioc.ca.connection import Connection
from ioc.ca.server import Server
from ioc.record import VALUE, Record

HEADER = struct.Struct(">HHHHII")
VERSION, EVENT_ADD, READ_NOTIFY, CLEAR, CREATE, SEARCH, ERROR = 0, 1, 15, 12, 18, 6, 11
PUT_FAIL = 160

POINTS = (
    Point(name="ai", rtyp=RecordType.ai, egu="kV", prec=2, desc="voltage", high=50.0, hopr=100.0, lopr=0.0),
    Point(name="ao", rtyp=RecordType.ao, egu="kV", drvl=0.0, drvh=60.0),
    Point(name="bo", rtyp=RecordType.bo, states=("Off", "On")),
    Point(name="mbbo", rtyp=RecordType.mbbo, states=("Rest", "Warm", "Ready", "Hot", "Cold")),
    Point(name="mbbi", rtyp=RecordType.mbbi, states=("Down", "Connecting", "Up")),
    Point(name="long", rtyp=RecordType.longin),
    Point(name="text", rtyp=RecordType.stringout),
    Point(name="lsi", rtyp=RecordType.lsi),
    Point(name="wave", rtyp=RecordType.waveform, nelm=6, egu="V", prec=1),
    Point(name="one", rtyp=RecordType.waveform, nelm=1, egu="V", prec=1),
)


class SmallIoc:
    """A server with a few records in a thread of its own, and what was put to them."""

    def __init__(self, points: Sequence[Point] = POINTS, prefix: str = "") -> None:
        self.prefix = prefix or f"S{time.monotonic_ns()}:"
        self.puts: list[tuple[str, Value]] = []
        self.loop = asyncio.new_event_loop()
        self.records = {point.name: Record(self.prefix + point.name, point) for point in points}
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self._start())

    async def _start(self) -> None:
        self.server = Server()
        for record in self.records.values():
            self.server.add(record, self)
        self._serving = asyncio.create_task(self.server.run())
        while self.server.port is None:
            await asyncio.sleep(0.01)

    async def put(
        self, record: Record, value: Value | Array, callback: bool = True, asked: float | None = None
    ) -> None:
        """As an instrument would take it, with a limit."""
        checked = record.check_put(value)
        self.puts.append((record.point.name, checked))
        self.post(record.point.name, checked)

    def set_field(self, record: Record, name: str, value: Value) -> None:
        raise Refused("no fields are set here")

    def acknowledge(self, record: Record, field: str, value: int) -> None:
        record.acks = Severity.NO_ALARM

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(15)

    def post(self, name: str, value: Value | Array | None, *alarm: Any) -> None:
        record = self.records[name]
        mask = record.process(Reading(value, *alarm), time.time())
        if mask:
            self.server.post([(record, mask)])

    def read(self, name: str, value: Value | Array | None, *alarm: Any) -> None:
        """A reading arrives."""

        async def act() -> None:
            self.post(name, value, *alarm)

        self.do(act())

    def close(self) -> None:
        async def stop() -> None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
            await asyncio.sleep(0.2)  # for the connections to be closed

        self.do(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def search(small_ioc: SmallIoc, name: str, sequence: int = 7) -> bytes | None:
    """The answer to one search datagram; None when there is none."""
    padded = name.encode() + bytes(8 - len(name) % 8)
    datagram = HEADER.pack(VERSION, 0, 1, 13, sequence, 0) + HEADER.pack(SEARCH, len(padded), 5, 13, 99, 99) + padded
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(0.5)
        udp.sendto(datagram, ("127.0.0.1", int(os.environ["EPICS_CA_SERVER_PORT"])))
        try:
            return udp.recv(4096)
        except TimeoutError:
            return None


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    """So many bytes, however they come."""
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        assert chunk, "the server closed the connection"
        data += chunk
    return data


class Served(Protocol):
    """A server, and what the names of all its PVs begin with."""

    server: Server
    prefix: str


class Raw:
    """A client that speaks bytes."""

    def __init__(self, small_ioc: Served, receive_buffer: int = 0) -> None:
        self._ioc = small_ioc
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(10)
        self._socket.connect(("127.0.0.1", small_ioc.server.port or 0))
        self._socket.sendall(HEADER.pack(VERSION, 0, 0, 13, 0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def client(self) -> Connection:
        """This client, as the server has it."""
        here = self._socket.getsockname()
        until(lambda: any(each.address == here for each in self._ioc.server.clients))
        return next(each for each in self._ioc.server.clients if each.address == here)

    def create(self, name: str, cid: int = 1) -> int:
        padded = (self._ioc.prefix + name).encode()
        padded += bytes(8 - len(padded) % 8)
        self._socket.sendall(HEADER.pack(CREATE, len(padded), 0, 0, cid, 13) + padded)
        while True:
            command, _, _, _, _, sid = self.message()
            if command == CREATE:
                return int(sid)

    def subscribe(self, sid: int, number: int = 1, mask: int = VALUE) -> None:
        self._socket.sendall(HEADER.pack(EVENT_ADD, 16, 6, 1, sid, number) + bytes(12) + struct.pack(">HH", mask, 0))

    def read_notify(self, sid: int, dbr: int = 6) -> None:
        """Ask for all values of a channel."""
        self._socket.sendall(HEADER.pack(READ_NOTIFY, 0, dbr, 0, sid, 5))

    def clear(self, sid: int, cid: int = 1) -> None:
        self._socket.sendall(HEADER.pack(CLEAR, 0, 0, 0, sid, cid))

    def write_notify(self, name: str, value: float, dbr: int = 6) -> int:
        """The status that the server answers."""
        sid = self.create(name)
        self._socket.sendall(HEADER.pack(19, 8, dbr, 1, sid, 5) + struct.pack(">d", value))
        command, _, _, _, status, number = self.message()
        assert (command, number) == (19, 5)
        return status

    def write(self, name: str, value: float) -> bytes:
        """The server's complaint about a put without callback."""
        sid = self.create(name)
        self._socket.sendall(HEADER.pack(4, 8, 6, 1, sid, 5) + struct.pack(">d", value))
        command, body, *_ = self.message()
        assert command == ERROR
        return body

    def write_and_clear(self, sid: int, value: float) -> None:
        put = HEADER.pack(4, 8, 6, 1, sid, 5) + struct.pack(">d", value)
        self._socket.sendall(put + HEADER.pack(CLEAR, 0, 0, 0, sid, 1))

    def number(self, body: bytes) -> float:
        """A double."""
        return float(struct.unpack_from(">d", body)[0])

    def update(self) -> bytes:
        """The body of the next update."""
        while True:
            command, body, *_ = self.message()
            if command == EVENT_ADD:
                return body

    def write_cut_short(self, name: str) -> None:
        sid = self.create(name)
        self._socket.sendall(HEADER.pack(19, 8, 38, 1, sid, 5) + bytes(8))

    def read_to_the_end(self) -> None:
        while True:
            self.message()

    def garbage(self) -> None:
        self.say(b"\xff" * 64)

    def say(self, data: bytes) -> None:
        """Anything."""
        self._socket.sendall(data)

    def sends_no_more(self) -> None:
        """End this side of the connection."""
        self._socket.shutdown(socket.SHUT_WR)

    def answer(self, command: int, number: int) -> tuple[int, bytes, int]:
        """Status, body and count of the next message of this command and with this number."""
        while True:
            found, body, _, count, status, second = self.message()
            if (found, second) == (command, number):
                return status, body, count

    def message(self) -> tuple[int, bytes, int, int, int, int]:
        command, size, dtype, count, one, two = HEADER.unpack(receive_exactly(self._socket, 16))
        if size == 0xFFFF:
            size, count = struct.unpack(">II", receive_exactly(self._socket, 8))
        return command, receive_exactly(self._socket, size), dtype, count, one, two
