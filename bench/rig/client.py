"""A Channel Access client on a bare socket that is never the bottleneck: it counts updates with numpy.

Received bytes are cut into frames where all frames are alike (DBR_TIME_DOUBLE updates, which is nearly all of it);
anything else is parsed one message at a time. Updates are only stored; they are evaluated when the run is over.
"""

from __future__ import annotations

import itertools
import select
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from bench.rig.updates import EPICS_EPOCH, Updates

HEADER = struct.Struct(">HHHHII")
LONG_HEADER = struct.Struct(">HHHHIIII")
FRAME = np.dtype(
    [
        ("command", ">u2"),
        ("size", ">u2"),
        ("type", ">u2"),
        ("count", ">u2"),
        ("ecastatus", ">u4"),
        ("subscription", ">u4"),
        ("status", ">u2"),
        ("severity", ">u2"),
        ("seconds", ">u4"),
        ("nanoseconds", ">u4"),
        ("pad", ">u4"),
        ("value", ">f8"),
    ]
)
MINOR_VERSION = 13
DBR_STRING, DBR_CHAR, DBR_DOUBLE, DBR_TIME_DOUBLE = 0, 4, 6, 20
VALUE_AND_ALARM = 1 | 4
ECA_NORMAL = 1
BUFFER = 4 << 20


class CaCommand(IntEnum):
    """The commands of Channel Access that are used here, under the names of its specification."""

    VERSION = 0
    EVENT_ADD = 1
    SEARCH = 6
    ERROR = 11
    READ_NOTIFY = 15
    CREATE_CHAN = 18
    WRITE_NOTIFY = 19
    CLIENT_NAME = 20
    HOST_NAME = 21
    ECHO = 23
    CREATE_CH_FAIL = 26


class Answer(NamedTuple):
    """The answer to a get or a put."""

    status: int
    payload: bytes


class Circuit:
    """A client's connection. Channels are numbered in the order in which they were connected."""

    def __init__(self, port: int) -> None:
        self.closed = False
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._fill = 0
        self._names: list[str] = []
        self._sids: dict[int, int] = {}
        self._numbers = itertools.count(1)
        self._answers: dict[int, Answer] = {}
        self._refused: list[str] = []
        self._kept: list[tuple[np.ndarray, float]] = []
        self._heard = np.zeros(0, bool)
        name = _padded("bench")
        named = (
            HEADER.pack(each, len(name), 0, 0, 0, 0) + name for each in (CaCommand.CLIENT_NAME, CaCommand.HOST_NAME)
        )
        self.send(HEADER.pack(CaCommand.VERSION, 0, 0, MINOR_VERSION, 0, 0) + b"".join(named))

    def fileno(self) -> int:
        """Return the socket's file descriptor, for a selector."""
        return self._socket.fileno()

    def __enter__(self) -> Circuit:
        return self

    def __exit__(self, *_: object) -> None:
        self._view.release()
        self._socket.close()

    # ---- requests ----

    def connect(self, names: Sequence[str], timeout: float = 120.0) -> range:
        """Create channels by name and wait for all; returns their numbers."""
        numbers = range(len(self._names), len(self._names) + len(names))
        self._names += names
        self._heard = np.concatenate([self._heard, np.zeros(len(names), bool)])
        texts = ((number, _padded(self._names[number])) for number in numbers)
        self.send(
            b"".join(
                HEADER.pack(CaCommand.CREATE_CHAN, len(t), 0, 0, number, MINOR_VERSION) + t for number, t in texts
            )
        )
        self.wait(lambda: len(self._sids) + len(self._refused) >= len(self._names), timeout)
        if self._refused:
            raise ConnectionError(f"{len(self._refused)} channels were refused, {self._refused[0]} the first")
        return numbers

    def subscribe(self, numbers: Iterable[int]) -> None:
        """Ask for the updates of channels, with time stamps, when value or alarm changes."""
        mask = struct.pack(">fffHxx", 0, 0, 0, VALUE_AND_ALARM)
        head = (CaCommand.EVENT_ADD, len(mask), DBR_TIME_DOUBLE, 1)
        self.send(b"".join(HEADER.pack(*head, self._sids[number], number) + mask for number in numbers))

    def wait_for_first_values(self, timeout: float) -> float:
        """Wait until each channel had an update; returns the share that had one in time."""
        collect([self], timeout, lambda: bool(self._heard.all()))
        return float(self._heard.mean())

    def get(self, number: int, dbr: int = DBR_DOUBLE, count: int = 1, timeout: float = 120.0) -> bytes:
        """Read a channel once; returns the bytes of its value."""
        ioid = next(self._numbers)
        self.send(HEADER.pack(CaCommand.READ_NOTIFY, 0, dbr, count, self._sids[number], ioid))
        self.wait(lambda: ioid in self._answers, timeout)
        return self._taken(ioid)

    def start_put(self, number: int, value: float) -> int:
        """Send a put with completion and do not wait; returns the number for ``put_done``."""
        ioid = next(self._numbers)
        self.send(
            HEADER.pack(CaCommand.WRITE_NOTIFY, 8, DBR_DOUBLE, 1, self._sids[number], ioid) + struct.pack(">d", value)
        )
        return ioid

    def put_done(self, ioid: int) -> bool:
        """Return True when a put was carried out; its number is not valid any more then."""
        if ioid not in self._answers:
            return False
        self._taken(ioid)
        return True

    def put(self, number: int, value: float, timeout: float = 30.0) -> None:
        """Put with completion and wait for it. Raises TimeoutError."""
        ioid = self.start_put(number, value)
        self.wait(lambda: self.put_done(ioid), timeout)

    def newest(self) -> float:
        """Return the value of the update that came last; NaN before the first."""
        return float(self._kept[-1][0]["value"][-1]) if self._kept else float("nan")

    def updates(self) -> Updates:
        """Return all updates so far, in the order in which they came."""
        kept = self._kept
        frames = np.concatenate([each.view(np.uint8) for each, _ in kept]).view(FRAME) if kept else np.empty(0, FRAME)
        return Updates(
            channel=frames["subscription"].astype(np.uint32),
            value=frames["value"].astype(float),
            severity=frames["severity"].astype(np.uint16),
            sent=frames["seconds"] + float(EPICS_EPOCH) + frames["nanoseconds"] * 1e-9,
            received=np.repeat([moment for _, moment in kept], [len(each) for each, _ in kept]).astype(float),
        )

    def _creation(self, number: int) -> bytes:
        name = _padded(self._names[number])
        return HEADER.pack(CaCommand.CREATE_CHAN, len(name), 0, 0, number, MINOR_VERSION) + name

    def _taken(self, ioid: int) -> bytes:
        """Return the payload of an answer that has come, and remove it. Raises ConnectionError."""
        answer = self._answers.pop(ioid)
        if answer.status != ECA_NORMAL:
            raise ConnectionError(f"the server refused with status {answer.status}")
        return answer.payload

    # ---- the socket ----

    def send(self, data: bytes) -> None:
        """Send all; what the server sends meanwhile is received, so that neither waits for the other."""
        left = memoryview(data)
        while left:
            readable, writable, _ = select.select([self], [self], [], 60.0)
            if not (readable or writable):
                raise TimeoutError("the server did not read for 60 s")
            if readable:
                self.receive()
            if self.closed:
                raise ConnectionError("the server cut the connection")
            if writable:
                left = left[self._socket.send(left) :]

    def wait(self, condition: Callable[[], bool], timeout: float) -> None:
        """Receive until a condition holds. Raises TimeoutError if it does not."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.closed:
                raise ConnectionError("the server cut the connection")
            if not select.select([self], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"the server did not answer within {timeout:g} s")
            self.receive()

    def receive(self) -> None:
        """Receive what has come."""
        try:
            got = self._socket.recv_into(self._view[self._fill :])
        except BlockingIOError:
            return
        except OSError:
            got = 0
        now = time.time()
        self.closed = not got
        self._fill += got
        begin = 0
        while size := self._updates(begin, now) or self._message(begin):
            begin += size
        self._drop(begin)

    def _drop(self, size: int) -> None:
        """Remove bytes from the buffer, and double it for a message that is longer."""
        self._view[: self._fill - size] = self._view[size : self._fill]
        self._fill -= size
        if self._fill == len(self._buffer):
            self._buffer = bytearray(bytes(self._buffer) + bytes(len(self._buffer)))
            self._view = memoryview(self._buffer)

    def _updates(self, begin: int, now: float) -> int:
        """Store the updates that come next; returns how many bytes they were."""
        count = (self._fill - begin) // FRAME.itemsize
        if not count or HEADER.unpack_from(self._buffer, begin)[:3] != (CaCommand.EVENT_ADD, 24, DBR_TIME_DOUBLE):
            return 0
        frames = np.frombuffer(self._buffer, FRAME, count, begin)
        alike = (
            (frames["command"] == CaCommand.EVENT_ADD) & (frames["size"] == 24) & (frames["type"] == DBR_TIME_DOUBLE)
        )
        if not alike.all():
            frames = frames[: alike.argmin()]
        self._heard[frames["subscription"]] = True
        self._kept.append((frames.copy(), now))
        return len(frames) * FRAME.itemsize

    def _message(self, begin: int) -> int:
        """Process one message of another kind; returns its size, 0 if not all of it is here."""
        here = self._fill - begin
        if here < HEADER.size:
            return 0
        command, size, _, _, first, second = HEADER.unpack_from(self._buffer, begin)
        head = HEADER.size
        if size == 0xFFFF:
            if here < LONG_HEADER.size:
                return 0
            head, size = LONG_HEADER.size, LONG_HEADER.unpack_from(self._buffer, begin)[6]
        if here < head + size:
            return 0
        self._take(command, first, second, bytes(self._view[begin + head : begin + head + size]))
        return int(head + size)

    def _take(self, command: int, first: int, second: int, payload: bytes) -> None:
        match command:
            case CaCommand.CREATE_CHAN:
                self._sids[first] = second
            case CaCommand.CREATE_CH_FAIL:
                self._refused.append(self._names[first])
            case CaCommand.READ_NOTIFY | CaCommand.WRITE_NOTIFY:
                self._answers[second] = Answer(first, payload)
            case CaCommand.ERROR:  # it repeats the header of the request
                self._answers[HEADER.unpack_from(payload)[5]] = Answer(second, payload[HEADER.size :])


def collect(circuits: Iterable[Circuit], seconds: float, done: Callable[[], bool] = lambda: False) -> None:
    """Receive on some connections for a time, or until something has come."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for circuit in circuits:
            selector.register(circuit, selectors.EVENT_READ, circuit)
        while (left := deadline - time.monotonic()) > 0 and not done():
            for key, _ in selector.select(left):
                circuit = key.data
                circuit.receive()
                if circuit.closed:
                    selector.unregister(circuit)


def search(port: int, name: str, timeout: float) -> int:
    """Ask for a name by UDP until a server on the loopback has it; returns the server's TCP port."""
    text = _padded(name)
    question = HEADER.pack(CaCommand.VERSION, 0, 0, MINOR_VERSION, 0, 0)
    question += HEADER.pack(CaCommand.SEARCH, len(text), 5, MINOR_VERSION, 1, 1) + text
    deadline = time.monotonic() + timeout
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.settimeout(0.005)
        while time.monotonic() < deadline:
            udp.sendto(question, ("127.0.0.1", port))
            try:
                answer = udp.recv(1024)
            except TimeoutError:
                continue
            for begin in (0, HEADER.size):
                if len(answer) >= begin + HEADER.size and answer[begin : begin + 2] == struct.pack(
                    ">H", CaCommand.SEARCH
                ):
                    return int(HEADER.unpack_from(answer, begin)[2])
    raise TimeoutError(f"no server answered for {name} within {timeout:g} s")


def _padded(text: str) -> bytes:
    data = text.encode() + b"\0"
    return data + bytes(-len(data) % 8)
