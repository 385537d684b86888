"""The foul clients, each in a process of its own: ``python -m bench.unfair.foul PORT NAME COUNT SECONDS``."""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.rig.client import HEADER, MINOR_VERSION, CaCommand
from bench.rig.load import ARRAY, MIXED, TEXT, Load, LoadKind
from ioc.ca.message import header

DBR_STRING, DBR_CHAR, DBR_DOUBLE, DBR_TIME_DOUBLE = 0, 4, 6, 20
DBR_CTRL_DOUBLE, DBR_GR_ENUM, DBR_CTRL_ENUM = 34, 24, 31
WRITE = 4
NAMES = dict(zip(MIXED, Load(LoadKind.mixed, len(MIXED)).names, strict=True))
# Fields of a record that are subscribed to
FIELDS = ("SEVR", "STAT", "AMSG", "HIHI")
MASK = struct.pack(">12xHxx", 5)
# A filter that lets no change pass
FILTER = '.VAL{"dbnd":{"abs":1e9}}'
# Seconds between the puts that make subscribers get updates
PULSE = 0.1
# Puts in one go and the seconds between two such, where updates are left out by filters
VOLLEY, PAUSE = 20, 0.002
# Connections that send at the same time
CIRCUITS = 100


class Foul:
    """A connection on which anything may be sent; ``reads``: whether it reads."""

    def __init__(self, port: int, reads: bool) -> None:
        self.port = port
        self.reads = reads
        self.closed = False
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._greet()
        self._socket.setblocking(False)

    def _greet(self) -> None:
        """Create a channel of each kind, and of the fields that are watched."""
        self._socket.sendall(HEADER.pack(CaCommand.VERSION, 0, 0, MINOR_VERSION, 0, 0))
        self.sids = {}
        for cid, (kind, name) in enumerate(NAMES.items()):
            for text in (f"{name}.VAL$", name) if kind == "text" else (name,):
                self._socket.sendall(create(text, cid))
                command, sid = self._created()
                if command == CaCommand.CREATE_CHAN:
                    self.sids[kind] = sid
                    break
        others = {field: f"{NAMES['alarmed']}.{field}" for field in FIELDS} | {"filtered": NAMES["flooded"] + FILTER}
        for cid, (key, name) in enumerate(others.items(), len(NAMES)):
            self._socket.sendall(create(name, cid))
            self.sids[key] = self._created()[1]

    def _created(self) -> tuple[int, int]:
        while True:
            command, size, _, _, _, second = HEADER.unpack(self._exactly(HEADER.size))
            self._exactly(8 if size == 0xFFFF else size)  # no answer here is longer than its header
            if command in {CaCommand.CREATE_CHAN, CaCommand.CREATE_CH_FAIL}:
                return command, second

    def _exactly(self, size: int) -> bytes:
        return self._socket.recv(size, socket.MSG_WAITALL) if size else b""

    def send(self, data: bytes, until: float) -> None:
        """Send, as far as the server takes it, and read meanwhile or not."""
        left = memoryview(data)
        while left and not self.closed and time.monotonic() < until:
            _, writable, _ = select.select([self._socket] if self.reads else [], [self._socket], [], 0.05)
            self.read()
            if writable:
                try:
                    left = left[self._socket.send(left) :]
                except (BlockingIOError, ConnectionError) as error:
                    self.closed = isinstance(error, ConnectionError)

    def read(self, seconds: float = 0.0) -> None:
        """Read what there is, or wait for more."""
        end = time.monotonic() + seconds
        while self.reads and not self.closed:
            if not select.select([self._socket], [], [], max(0.0, end - time.monotonic()))[0]:
                return
            try:
                self.closed = not self._socket.recv(1 << 20)
            except (BlockingIOError, ConnectionError) as error:
                self.closed = isinstance(error, ConnectionError)

    def vanish(self, reset: bool) -> None:
        """Leave."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def create(name: str, cid: int) -> bytes:
    """Return the message that creates a channel."""
    text = name.encode() + bytes(8 - len(name) % 8)
    return HEADER.pack(CaCommand.CREATE_CHAN, len(text), 0, 0, cid, MINOR_VERSION) + text


def read(kind: str, dbr: int, count: int) -> Callable[[Foul, int], Iterator[bytes]]:
    """Return a burst of reads."""

    def messages(foul: Foul, number: int) -> Iterator[bytes]:
        yield number * header(CaCommand.READ_NOTIFY, 0, dbr, count, foul.sids[kind], 1)

    return messages


def put(command: int) -> Callable[[Foul, int], Iterator[bytes]]:
    """Return a flood of puts to one setpoint."""

    def messages(foul: Foul, number: int) -> Iterator[bytes]:
        head = HEADER.pack(command, 8, DBR_DOUBLE, 1, foul.sids["flooded"], 1)
        yield b"".join(head + struct.pack(">d", value) for value in range(2 * number))

    return messages


def creates(suffix: str) -> Callable[[Foul, int], Iterator[bytes]]:
    """Return the creation of many channels."""

    def messages(_: Foul, number: int) -> Iterator[bytes]:
        yield b"".join(create(NAMES["flooded"] + suffix, cid) for cid in range(10, number))

    return messages


def subscriptions(kind: str, dbr: int) -> Callable[[Foul, int], Iterator[bytes]]:
    """Return many subscriptions to one record, which then changes."""

    def messages(foul: Foul, number: int) -> Iterator[bytes]:
        sid = foul.sids[kind]
        head = (CaCommand.EVENT_ADD, len(MASK), dbr, 1, sid)
        yield b"".join(HEADER.pack(*head, each) + MASK for each in range(number))
        yield from pulses(foul, sid)

    return messages


def fields(*names: str, put: str) -> Callable[[Foul, int], Iterator[bytes]]:
    """Return many subscriptions to fields of one record, which change with what is then put to it."""

    def messages(foul: Foul, number: int) -> Iterator[bytes]:
        sids = [foul.sids[name] for name in names]
        head = (CaCommand.EVENT_ADD, len(MASK), DBR_STRING, 1)
        yield b"".join(HEADER.pack(*head, sids[each % len(sids)], each) + MASK for each in range(number))
        yield from pulses(foul, foul.sids[put])

    return messages


def pulses(foul: Foul, sid: int) -> Iterator[bytes]:
    """Yield puts that let a record change over and over."""
    for value in range(1000):
        yield HEADER.pack(WRITE, 8, DBR_DOUBLE, 1, sid, 1) + struct.pack(">d", value % 4)
        foul.read(PULSE)


def filtered(foul: Foul, number: int) -> Iterator[bytes]:
    """Yield many subscriptions that get no update, and floods of puts to their record."""
    head = (CaCommand.EVENT_ADD, len(MASK), DBR_TIME_DOUBLE, 1, foul.sids["filtered"])
    yield b"".join(HEADER.pack(*head, each) + MASK for each in range(number))
    put = HEADER.pack(CaCommand.WRITE_NOTIFY, 8, DBR_DOUBLE, 1, foul.sids["flooded"], 1)
    for begin in range(0, VOLLEY * 10_000, VOLLEY):
        yield b"".join(put + struct.pack(">d", value) for value in range(begin, begin + VOLLEY))
        foul.read(PAUSE)


def circuits(foul: Foul, number: int) -> Iterator[bytes]:
    """Send reads on many connections at the same time, over and over; yield nothing."""
    others = [Foul(foul.port, reads=True) for _ in range(CIRCUITS)]
    for _ in range(1000):
        for each in others:
            read = header(CaCommand.READ_NOTIFY, 0, DBR_CTRL_ENUM, 1, each.sids["state"], 1)
            each.send(number // CIRCUITS * read, time.monotonic() + 1.0)
        foul.read(PAUSE)
        yield b""


def nothing(_: Foul, __: int) -> Iterator[bytes]:
    """Yield nothing: it connects, creates its channels, and leaves."""
    yield b""


def echoes(_: Foul, number: int) -> Iterator[bytes]:
    """Yield long echoes."""
    yield (number // 50) * (HEADER.pack(CaCommand.ECHO, 0xFFF0, 0, 0, 0, 0) + bytes(0xFFF0))


def drip(foul: Foul, number: int) -> Iterator[bytes]:
    """Yield reads byte by byte."""
    yield from (
        bytes([each]) for each in number * HEADER.pack(CaCommand.READ_NOTIFY, 0, 6, 1, foul.sids["flooded"], 1)
    )


def searches(_foul: Foul, number: int) -> Iterator[bytes]:
    """Send searches for names with filters, names of nobody, and nonsense, over UDP; yield nothing."""
    text = (NAMES["flooded"] + '.VAL{"dbnd":{"abs":1}}').encode()
    search = HEADER.pack(CaCommand.SEARCH, 48, 5, MINOR_VERSION, 1, 1)
    datagram = 20 * (search + text.ljust(48, b"\0") + search + b"nobody".ljust(48, b"\0")) + bytes(range(100))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for _ in range(number):
            udp.sendto(datagram, ("127.0.0.1", int(os.environ["EPICS_CA_SERVER_PORT"])))
    yield b""


def garbage(_: Foul, number: int) -> Iterator[bytes]:
    """Yield what is no Channel Access."""
    yield HEADER.pack(CaCommand.READ_NOTIFY, 0, 99, 1, 12345, 1)
    yield bytes(range(256)) * number


@dataclass(frozen=True)
class Kind:
    """What a foul client sends, whether it reads, and whether it vanishes: by FIN (False) or RST (True)."""

    messages: Callable[[Foul, int], Iterator[bytes]]
    reads: bool = True
    reset: bool | None = None


FOULS = {
    "texts": Kind(read("text", DBR_CHAR, TEXT)),
    "texts-unread": Kind(read("text", DBR_CHAR, TEXT), reads=False),
    "texts-fin": Kind(read("text", DBR_CHAR, TEXT), reset=False),
    "texts-rst": Kind(read("text", DBR_CHAR, TEXT), reads=False, reset=True),
    "arrays": Kind(read("array", DBR_CTRL_DOUBLE, ARRAY)),
    "words-gr": Kind(read("state", DBR_GR_ENUM, 1)),
    "words-ctrl": Kind(read("state", DBR_CTRL_ENUM, 1)),
    "creates": Kind(creates("")),
    "filters": Kind(creates('.VAL{"dbnd":{"abs":1}}')),
    "subscriptions": Kind(subscriptions("flooded", DBR_TIME_DOUBLE)),
    "subscriptions-words": Kind(subscriptions("state", DBR_CTRL_ENUM)),
    "subscriptions-unread": Kind(subscriptions("state", DBR_CTRL_ENUM), reads=False),
    "subscriptions-sevr": Kind(fields("SEVR", put="alarmed")),
    "subscriptions-alarm": Kind(fields("SEVR", "STAT", "AMSG", put="alarmed")),
    "subscriptions-filtered": Kind(filtered),
    "subscriptions-limit": Kind(fields("HIHI", put="HIHI")),
    "puts": Kind(put(WRITE)),
    "puts-callback": Kind(put(CaCommand.WRITE_NOTIFY)),
    "malformed": Kind(garbage),
    "connects": Kind(nothing, reset=False),
    "circuits": Kind(circuits),
    "echoes": Kind(echoes),
    "echoes-unread": Kind(echoes, reads=False),
    "drip": Kind(drip),
    "searches": Kind(searches),
}


def main(port: int, kind: Kind, number: int, seconds: float) -> None:
    """Be foul for a time, over and over."""
    until = time.monotonic() + seconds
    foul = Foul(port, kind.reads)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    while True:
        for data in kind.messages(foul, number):
            foul.send(data, until)
        if time.monotonic() > until:
            return
        if foul.closed or kind.reset is not None:
            foul.vanish(bool(kind.reset))
            foul = Foul(port, kind.reads)


if __name__ == "__main__":
    main(int(sys.argv[1]), FOULS[sys.argv[2]], int(sys.argv[3]), float(sys.argv[4]))
