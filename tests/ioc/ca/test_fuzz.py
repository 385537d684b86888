"""Fuzzed searches and conversations: whatever a network carries to the server, the others are served as ever.

RACKIOC_FUZZ_CASES (3000) is the number of cases, RACKIOC_FUZZ_SEED (1) where the dice begin; a failure tells the seed
and the batch, and writes the batch's streams down in hexadecimal.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import re
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import pytest

from ioc.ca.conversation import LARGEST_MESSAGE
from ioc.ca.message import (
    CLEAR_CHANNEL,
    CLIENT_NAME,
    CREATE_CHAN,
    ECHO,
    EVENT_ADD,
    EVENT_CANCEL,
    EVENTS_OFF,
    EVENTS_ON,
    HEADER,
    HOST_NAME,
    LARGE,
    READ,
    READ_NOTIFY,
    READ_SYNC,
    SEARCH,
    VERSION,
    WRITE,
    WRITE_NOTIFY,
)
from ioc.ca.network import search
from tests.small_ioc import Raw, SmallIoc, until
from tests.small_ioc import search as ask

CASES = int(os.environ.get("RACKIOC_FUZZ_CASES", "3000"))
SEED = os.environ.get("RACKIOC_FUZZ_SEED", "1")
STREAMS, DATAGRAMS, ANSWERS = CASES // 4, CASES // 4, CASES // 4
BATCH = 25  # streams at once
GROWTH = 48 << 20  # bytes that the process may have grown by

pytestmark = [
    pytest.mark.timeout(60 + CASES // 50),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # numpy's, about casts that C makes without a word
    pytest.mark.filterwarnings("ignore:ReadResponse was deprecated:UserWarning"),
]

_PLAIN = """
    ai ao bo mbbi long text lsi wave ai.VAL ai. ao.HIHI ai.EGU ai.DESC$ lsi.VAL$ text.VAL$ bo.ZNAM bo.OSV ai.SEVR
    ao.DISP ai.PROC wave.NORD ai.NONE nobody
"""
_FILTERED = """
    ai.VAL{"dbnd":{"abs":1}} ao.VAL{"dbnd":{"abs":1}} ai.VAL{"dbnd":{"rel":5}} bo.VAL{"dbnd":{"abs":0}}
    mbbi.VAL{"dbnd":{"abs":0.5}} bo.VAL{"dbnd":{"rel":1}} text.VAL{"dbnd":{"abs":1}} ai.VAL{"dbnd":{"d":1,"m":"abs"}}
    wave.VAL{"arr":{"s":1,"e":2}} wave.VAL{"arr":{"s":1,"i":0}} wave.VAL[0:1] wave.VAL[1] wave.VAL[-3:-1] wave.VAL[]
    wave.VAL[::0] long.VAL[9999] ai.VAL{"ts":{}} ai.{"ts":{}} ai.HIHI{"ts":{}} text.VAL{"ts":{}} lsi.VAL${}
    mbbi.{"sync":{"m":"while","s":"x"}} ao.VAL{"while":"x"} ai.VAL{"ts":{},"dbnd":{"abs":1}}
"""
_WRONG = """
    ai.VAL{"dbnd":5} ai.VAL{"dbnd":[]} ai.VAL{"arr":{"s":1e400}} ai.VAL{"arr":{"s":"a"}} ai.VAL{"nonsense":{}}
    wave.VAL[0:1:2:3] ai.VAL[a] ai.VAL[ ai.VAL{ ai.VAL{{}}
"""
PLAIN = (*_PLAIN.split(), "")
FILTERED = (*_FILTERED.split(),)
WRONG = (*_WRONG.split(), "ai.VAL" + "[" * 3000, "ai.VAL" + '{"a":' * 3000)
COMMANDS = (
    *(VERSION, EVENT_ADD, EVENT_CANCEL, READ, WRITE, SEARCH, EVENTS_OFF, EVENTS_ON, READ_SYNC, CLEAR_CHANNEL),
    *(READ_NOTIFY, CREATE_CHAN, WRITE_NOTIFY, CLIENT_NAME, HOST_NAME, ECHO),
)
TYPES = (*range(42), 0x7FFF, 0xFFFE, 0xFFFF)
COUNTS = (0, 1, 1, 1, 2, 5, 6, 7, 39, 1000, 0xFFFE, 0xFFFF)
LARGE_COUNTS = (0, 1, 6, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)
FIRST_SID = 1  # the server numbers a client's channels from here
NUMBERS = (0, 1, 2, 3, 4, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
SIZES = (0, 1, 7, 8, 15, 16, 17, 40, 0x7FFF, 0xFFF8, 0xFFFE, 0xFFFF)
VALUE_SIZES = (40, 2, 4, 2, 1, 4, 8)  # of the plain DBR types


# ---- what a client may say, and what the dice make of it ----


def frame(
    command: int, payload: bytes = b"", dtype: int = 0, count: int = 0, first: int = 0, second: int = 0,
    large: bool = False,
) -> bytes:  # fmt: skip
    """A message; ``large`` with the long header."""
    if large or len(payload) >= 0xFFFF or count > 0xFFFF:
        return HEADER.pack(command, 0xFFFF, dtype, 0, first, second) + LARGE.pack(len(payload), count) + payload
    return HEADER.pack(command, len(payload), dtype, count, first, second) + payload


def padded(text: str) -> bytes:
    data = text.encode("latin-1")
    return data + bytes(8 - len(data) % 8)


def conversation(dice: random.Random, small_ioc: SmallIoc, filters: float) -> list[bytes]:
    """The messages of a client that knows the protocol: greeting, channels, and requests for them in any order."""
    frames = [frame(VERSION, count=13), frame(HOST_NAME, padded("bench")), frame(CLIENT_NAME, padded("dice"))]
    names = PLAIN + FILTERED + WRONG if filters else PLAIN
    sids = [FIRST_SID]
    for cid in range(dice.randint(1, 6)):
        name = dice.choice(FILTERED if dice.random() < filters else names)
        frames.append(frame(CREATE_CHAN, padded(small_ioc.prefix + name), first=cid, second=13))
        if small_ioc.server.find((small_ioc.prefix + name).encode()) is not None:
            sids.append(sids[-1] + 1)
    subscribed: list[tuple[int, int]] = []
    for _ in range(dice.randint(0, 25)):
        frames.append(request(dice, dice.choice(sids), subscribed, small_ioc.prefix + dice.choice(names)))
    return frames


def request(dice: random.Random, sid: int, subscribed: list[tuple[int, int]], name: str) -> bytes:
    """Something that a client may ask for; ``subscribed``: the channels and numbers of its subscriptions."""
    dtype = dice.randrange(35) if dice.random() < 0.9 else dice.choice(TYPES)
    count, number = dice.choice(COUNTS), dice.randrange(8)
    command = dice.choice(COMMANDS[1:])
    if command == EVENT_CANCEL and not subscribed:
        command = EVENT_ADD
    payload = b""
    match command:
        case 1:  # EVENT_ADD
            number = len(subscribed) + 1000 * dice.randrange(3)
            subscribed.append((sid, number))
            payload = bytes(12) + struct.pack(">HH", dice.choice((1, 2, 4, 5, 7, 8, 15, 0xFFFF)), 0)
        case 2:  # EVENT_CANCEL
            sid, number = subscribed.pop(dice.randrange(len(subscribed)))
            payload = bytes(16 * dice.randrange(2))
        case 4 | 19:  # WRITE, WRITE_NOTIFY
            payload = dice.choice((struct.pack(">d", 7.0), padded("On"), bytes(8), b"", dice.randbytes(24), bytes(2)))
            dtype = dice.choice((dtype, dtype % 7, 35, 36))
        case 6 | 18:  # SEARCH, CREATE_CHAN
            payload, dtype, count, sid = padded(name), 10, 13, number
        case 20 | 21:  # CLIENT_NAME, HOST_NAME
            payload = padded("x" * dice.randrange(50))
        case 23 | 10:  # ECHO, READ_SYNC
            payload = bytes(8 * dice.randrange(3))
    return frame(command, payload, dtype, count, sid, number, large=dice.random() < 0.1)


def mutate(dice: random.Random, frames: list[bytes]) -> None:
    """One change to a conversation."""
    at = dice.randrange(len(frames))
    data = bytearray(frames[at].ljust(16, b"\0"))
    match dice.randrange(10):
        case 0:
            frames.insert(at, frames[dice.randrange(len(frames))])
        case 1:
            other = dice.randrange(len(frames))
            frames[at], frames[other] = frames[other], frames[at]
        case 2 if len(frames) > 1:
            del frames[at]
        case 3:  # cut short: what follows is read as part of this
            frames[at] = bytes(data[: dice.randrange(len(data) + 1)])
        case 4:
            struct.pack_into(">H", data, 2, dice.choice(SIZES))
            frames[at] = bytes(data)
        case 5:
            place, numbers = dice.choice(((4, TYPES), (6, COUNTS), (0, (*COMMANDS, *range(34), 0xFFFF))))
            struct.pack_into(">H", data, place, dice.choice(numbers))
            frames[at] = bytes(data)
        case 6:
            struct.pack_into(">I", data, dice.choice((8, 12)), dice.choice(NUMBERS))
            frames[at] = bytes(data)
        case 7:
            for _ in range(dice.randint(1, 4)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            frames[at] = bytes(data)
        case 8:  # a long header with any size and count
            size = dice.choice((len(data) - 16, 0, 8, LARGEST_MESSAGE, LARGEST_MESSAGE + 1, 0xFFFFFFFF))
            data[2:4], data[6:8] = b"\xff\xff", b"\0\0"
            frames[at] = bytes(data[:16]) + LARGE.pack(size, dice.choice(LARGE_COUNTS)) + bytes(data[16:])
        case 9:
            frames.insert(at, dice.randbytes(dice.choice((1, 8, 16, 100))))


def stream(dice: random.Random, small_ioc: SmallIoc, filters: float) -> bytes:
    """What one bad client sends."""
    if dice.random() < 0.05:
        return dice.randbytes(dice.choice((1, 15, 16, 100, 3000)))
    frames = conversation(dice, small_ioc, filters)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 3, 8))):
        mutate(dice, frames)
    data = b"".join(frames)
    if dice.random() < 0.1:
        data = data[: dice.randrange(len(data) + 1)]
    return without_good_puts(small_ioc, data)


def without_good_puts(small_ioc: SmallIoc, data: bytes) -> bytes:
    """The stream with every put that could be carried out made a bad one: what then still arrives is a fault."""
    spoilt = bytearray(data)
    at, writable = 0, set()
    sid = FIRST_SID
    while len(data) - at >= HEADER.size:
        command, length, dtype, count, first, _ = HEADER.unpack_from(data, at)
        begin = at + HEADER.size
        if length == 0xFFFF and count == 0:
            if len(data) - begin < LARGE.size:
                break
            length, count = LARGE.unpack_from(data, begin)
            begin += LARGE.size
        if length > LARGEST_MESSAGE or command not in COMMANDS:
            break
        payload = data[begin : begin + length]
        if command == CREATE_CHAN:
            view = small_ioc.server.find(payload.partition(b"\0")[0])
            if view is not None:
                if view.writable and not view.field_name:
                    writable.add(sid)
                sid += 1
        elif command in {WRITE, WRITE_NOTIFY}:
            whole = dtype < 7 and count and len(payload) >= (VALUE_SIZES[dtype] * count if dtype else 1)
            if first in writable and whole:
                struct.pack_into(">H", spoilt, at + 4, 34 if count % 2 else 38)
        at = begin + length
    return bytes(spoilt)


def datagram(dice: random.Random, prefix: str) -> bytes:
    """Something that arrives on the port for searches."""
    if dice.random() < 0.1:
        return dice.randbytes(dice.choice((0, 1, 15, 16, 17, 200, 1400)))
    frames = [frame(VERSION, dtype=1, count=13, first=dice.randrange(1 << 32))]
    for cid in range(dice.randint(1, 8)):
        name = dice.choice(PLAIN + FILTERED + WRONG)
        owner = prefix if dice.random() < 0.8 else ""
        frames.append(frame(SEARCH, padded(owner + name), dice.choice((5, 10)), 13, cid, cid))
    for _ in range(dice.choice((0, 1, 1, 2, 5))):
        mutate(dice, frames)
    return b"".join(frames)[: dice.choice((60_000, 60_000, 60_000, 40))]


# ---- the clients ----


@pytest.fixture
def small_ioc() -> Iterator[SmallIoc]:
    """A server for each test: one that a test has brought down must not take the others with it."""
    small_ioc = SmallIoc()
    tasks = len(asyncio.all_tasks(small_ioc.loop))
    yield small_ioc
    serving = not small_ioc._serving.done()

    async def stop() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    try:
        assert serving, "the server is down"
        until(lambda: not small_ioc.server.clients)
        until(lambda: len(asyncio.all_tasks(small_ioc.loop)) <= tasks)  # nothing is left of the clients
    finally:
        if not serving:
            small_ioc.do(stop())
        small_ioc.close()
        gc.collect()  # what is left behind is told now, not to the next test


def unsettle(small_ioc: SmallIoc, dice: random.Random) -> None:
    """Every record takes another value, of the troublesome sort, while the bad clients are still there."""
    number = dice.choice((0.0, 1.0, -1.5, 1e300, float("nan"), float("inf")))
    small_ioc.read("ai", number)
    small_ioc.read("ao", number)
    small_ioc.read("wave", (number,) * dice.randrange(7))
    small_ioc.read("bo", dice.randrange(2))
    small_ioc.read("mbbi", dice.randrange(20))
    small_ioc.read("long", dice.randrange(-(1 << 31), 1 << 31))
    small_ioc.read("text", dice.choice(("", "12", "no number", "\u4e2d", "x" * 39)))
    small_ioc.read("lsi", dice.choice(("", "12", "no number", "\u4e2d", "x" * 1000)))


class Good(Raw):
    """A client that knows how to behave, and expects to be served."""

    def __init__(self, small_ioc: SmallIoc) -> None:
        super().__init__(small_ioc)
        self.monitored, self.read = self.create("ai", 1), self.create("long", 2)
        self.subscribe(self.monitored, 1)
        self._count = 0

    def check(self, small_ioc: SmallIoc) -> None:
        """A get, and an update to a monitor."""
        assert not small_ioc._serving.done(), "the server is down"
        self._count += 1
        small_ioc.read("ai", float(self._count))
        while self.number(self.update()) != self._count:
            pass  # what was posted before
        small_ioc.read("long", self._count)
        self._socket.sendall(frame(READ_NOTIFY, b"", 5, 1, self.read, self._count))
        command, body, *_, status, number = self.message()
        assert (command, status, number) == (READ_NOTIFY, 1, self._count)
        assert struct.unpack_from(">i", body) == (self._count,)


class Bad:
    """One connection, and what is still to be said there."""

    def __init__(self, dice: random.Random, small_ioc: SmallIoc, data: bytes) -> None:
        cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice((0, 0, 0, 1, 2, 5))))
        self.pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]
        self.end = dice.choice(("leave", "leave", "close", "reset"))
        # from an address of its own, so that what lingers of it (TIME_WAIT) takes no port of 127.0.0.1
        self.socket = socket.create_connection(("127.0.0.1", small_ioc.server.port or 0), 15, ("127.0.0.2", 0))

    def say(self) -> bool:
        """Send the next piece; False when there is none, or nobody listens any more."""
        if not self.pieces:
            return False
        try:
            self.socket.sendall(self.pieces.pop(0))
        except (BrokenPipeError, ConnectionResetError):
            self.pieces.clear()
        return bool(self.pieces)

    def leave(self) -> None:
        """Hear what the server has to say to it all, or go without a word."""
        if self.end == "leave":
            try:
                self.socket.shutdown(socket.SHUT_WR)
                while self.socket.recv(1 << 16):
                    pass
            except TimeoutError:
                pytest.fail("the server neither answers nor closes")
            except OSError:
                pass  # thrown out
        elif self.end == "reset":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@contextmanager
def told(number: int, data: list[bytes]) -> Iterator[None]:
    """On failure: how to have this batch again, and the batch."""
    try:
        yield
    except BaseException as error:
        streams = "\n".join(each.hex() for each in data)
        error.add_note(f"seed {SEED} (RACKIOC_FUZZ_SEED), batch {number}:\n{streams}")
        raise


def batches(total: int, size: int) -> Iterator[tuple[int, random.Random, int]]:
    """Number, dice and size of the batches; the dice of each depend on the seed and the number alone."""
    for number, begin in enumerate(range(0, total, size)):
        yield number, random.Random(f"{SEED} {number}"), min(size, total - begin)


def check_log(caplog: Any, clients: int) -> None:
    """At most one line for each bad client, and no traceback."""
    lines = [record.getMessage() for record in caplog.records]
    assert "Traceback" not in caplog.text
    by_port = Counter(re.findall(r"127\.0\.0\.2:(\d+)", "\n".join(lines)))
    assert not [port for port, count in by_port.items() if count > 1], lines
    assert len(lines) <= clients, lines
    caplog.clear()


def resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


# ---- the tests ----


@pytest.mark.parametrize("filters", [0.0, 0.3], ids=["plain names", "names with filters"])
def test_streams_of_nonsense_harm_nobody_and_reach_no_instrument(
    small_ioc: SmallIoc, caplog: pytest.LogCaptureFixture, filters: float
) -> None:
    """Fuzzed conversations over real connections, several at once, in pieces."""
    caplog.set_level(logging.WARNING)
    small_ioc.puts.clear()
    with Good(small_ioc) as good:
        before, rss = small_ioc.server.load, 0
        for number, dice, size in batches(STREAMS, BATCH):
            with told(number, data := [stream(dice, small_ioc, filters) for _ in range(size)]):
                bad = [Bad(dice, small_ioc, each) for each in data]
                talking = list(bad)
                while talking:
                    talking = [each for each in talking if dice.random() < 0.3 or each.say()]
                unsettle(small_ioc, dice)
                good.check(small_ioc)
                for each in bad:
                    each.leave()
                until(lambda: small_ioc.server.load == before, 15)
                good.check(small_ioc)
                if number % 8 == 0:
                    gc.collect()  # a task that failed unseen is told now
                check_log(caplog, size)
                assert small_ioc.puts == []
            if number == 2:
                rss = resident()
        growth = resident() - rss
        check_log(caplog, 0)
        assert growth < GROWTH, f"{growth >> 20} MB more after {STREAMS} streams"


def test_searches_of_nonsense_are_passed_over(small_ioc: SmallIoc, caplog: pytest.LogCaptureFixture) -> None:
    """Fuzzed datagrams on the real port; a proper search is answered after every batch of them."""
    caplog.set_level(logging.WARNING)
    port = small_ioc.server.search_port
    rss = resident()
    with Good(small_ioc) as good, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for number, dice, size in batches(DATAGRAMS, 50):
            with told(number, data := [datagram(dice, small_ioc.prefix) for _ in range(size)]):
                for each in data:
                    udp.sendto(each, ("127.0.0.1", port))
                answer = ask(small_ioc, small_ioc.prefix + "ai", sequence=number)
                assert answer is not None
                assert HEADER.unpack_from(answer)[4] == number
                good.check(small_ioc)
                check_log(caplog, 0)
    assert resident() - rss < GROWTH


def test_an_answer_to_a_search_names_only_what_was_asked_for(small_ioc: SmallIoc) -> None:
    """The function behind the port, in bulk: it never fails, and its answers are well formed."""

    async def answers(data: list[bytes]) -> list[bytes]:
        return [search.answer(search.answers(each, small_ioc.server.serves, 5064)) for each in data]

    for number, dice, size in batches(ANSWERS, 100):
        with told(number, data := [datagram(dice, small_ioc.prefix) for _ in range(size)]):
            for asked, answer in zip(data, small_ioc.do(answers(data)), strict=True):
                found = answer[16:] if answer[:2] == b"\0\0" else answer
                assert len(found) % 24 == 0
                for at in range(0, len(found), 24):
                    command, length, tcp, *_, cid = HEADER.unpack_from(found, at)
                    assert (command, length, tcp) == (SEARCH, 8, 5064)
                    assert struct.pack(">I", cid) in asked


# ---- what the dice have found, one by one ----


def test_a_cancel_that_names_a_wrong_channel_takes_no_other_clients_subscription(small_ioc: SmallIoc) -> None:
    """A subscription ended by way of another channel, whose own channel is then cleared."""
    with Good(small_ioc) as good, Good(small_ioc) as other:
        wrong = other.read
        other.say(frame(EVENT_CANCEL, b"", 6, 1, wrong, 1) + frame(CLEAR_CHANNEL, b"", 0, 0, other.monitored, 1))
        with pytest.raises((AssertionError, OSError)):  # it is cut off
            other.read_to_the_end()
        good.check(small_ioc)


@pytest.mark.parametrize(
    ("name", "dtype", "record", "values"),
    [
        ('ai.VAL{"dbnd":{"abs":1}}', 14, "ai", (1.0, 5.0)),
        ('text.VAL{"dbnd":{"abs":1}}', 14, "text", ("a", "b")),
        ('mbbi.VAL{"dbnd":{"abs":1}}', 17, "mbbi", (0, 1, 2)),
        ('wave.VAL{"arr":{"s":1,"e":2,"i":0}}', 20, "wave", ((1.0, 2.0), (2.0, 3.0))),
        ('text.VAL{"ts":{}}', 6, "text", ("12", "no number")),
        ('lsi.VAL{"ts":{}}', 14, "lsi", ("\u4e2d",)),
        ('mbbi.VAL{"ts":{}}', 14, "mbbi", (1, 7)),
        ('ai.VAL{"ts":{}}', 35, "ai", (1.0, 2.0)),
    ],
)
def test_a_filter_that_fails_on_a_value_harms_nobody_else(
    small_ioc: SmallIoc, caplog: pytest.LogCaptureFixture, name: str, dtype: int, record: str, values: tuple[Any, ...]
) -> None:
    with Good(small_ioc) as good, Good(small_ioc) as other:
        other.say(frame(CREATE_CHAN, padded(small_ioc.prefix + name), first=9, second=13))
        other.say(frame(EVENT_ADD, bytes(12) + struct.pack(">HH", 1, 0), dtype, 1, 0, 99))
        with suppress(AssertionError, OSError):
            other.check(small_ioc)  # its subscription has arrived
        for value in values:
            small_ioc.read(record, value)
            good.check(small_ioc)
        assert "Traceback" not in caplog.text


def test_reads_of_far_more_than_there_is_cost_no_memory(small_ioc: SmallIoc) -> None:
    """An lsi can be a million characters long: as strings of 40 bytes each, filled up with zeros."""
    before = resident()
    with Good(small_ioc) as good, Good(small_ioc) as other:
        other.say(frame(CREATE_CHAN, padded(small_ioc.prefix + "lsi.VAL$"), first=9, second=13))
        other.say(6 * frame(READ_NOTIFY, b"", 0, 0xFFFFFFFF, FIRST_SID + 2, 1))
        for _ in range(20):
            good.check(small_ioc)
            assert resident() - before < 4 * GROWTH
