"""The foul clients, each in a process of its own: ``python -m bench.unfair.foul PORT NAME COUNT SECONDS``."""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.rig.client import HEADER, MINOR_VERSION, CaCommand
from bench.rig.load import ARRAY, MIXED, TEXT, Load, LoadKind

DBR_CHAR, DBR_DOUBLE, DBR_TIME_DOUBLE, DBR_CTRL_DOUBLE, DBR_GR_ENUM, DBR_CTRL_ENUM = 4, 6, 20, 34, 24, 31
WRITE = 4
NAMES = dict(zip(MIXED, Load(LoadKind.mixed, len(MIXED)).names, strict=True))
MASK = struct.pack(">12xHxx", 5)
# Seconds between the puts that make subscribers get updates
PULSE = 0.1


class Foul:
    """A connection on which anything may be sent; ``reads``: whether it reads."""

    def __init__(self, port: int, reads: bool) -> None:
        self.reads = reads
        self.closed = False
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._greet()
        self._socket.setblocking(False)

    def _greet(self) -> None:
        """Create a channel of each kind; its number on the server is told in the order of creation."""
        self._socket.sendall(HEADER.pack(CaCommand.VERSION, 0, 0, MINOR_VERSION, 0, 0))
        self.sids = {}
        for cid, (kind, name) in enumerate(NAMES.items()):
            for text in (f"{name}.VAL$", name) if kind == "text" else (name,):
                self._socket.sendall(create(text, cid))
                command, sid = self._created()
                if command == CaCommand.CREATE_CHAN:
                    self.sids[kind] = sid
                    break

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
        yield number * HEADER.pack(CaCommand.READ_NOTIFY, 0, dbr, count, foul.sids[kind], 1)

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
        for value in range(1000):
            yield HEADER.pack(WRITE, 8, DBR_DOUBLE, 1, sid, 1) + struct.pack(">d", value % 4)
            foul.read(PULSE)

    return messages


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
    "puts": Kind(put(WRITE)),
    "puts-callback": Kind(put(CaCommand.WRITE_NOTIFY)),
    "malformed": Kind(garbage),
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
