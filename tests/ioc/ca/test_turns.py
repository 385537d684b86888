"""What one client asks for in one go is done in turns, between which the others have theirs."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import pytest

from drivers.base import Array, Severity, Status
from ioc.ca import connection, conversation, dbr
from ioc.ca.connection import ANSWERS_WAITING, Connection
from ioc.ca.message import (
    CLEAR_CHANNEL,
    CREATE_CHAN,
    ECHO,
    ERROR,
    EVENT_ADD,
    EVENT_CANCEL,
    EVENTS_OFF,
    EVENTS_ON,
    NO_MEMORY,
    READ_NOTIFY,
    SEARCH,
    WRITE,
    WRITE_NOTIFY,
)
from ioc.ca.view import FieldView, TextView, Values, View
from tests.ioc.ca.test_fuzz import frame, padded
from tests.small_ioc import HEADER, Raw, SmallIoc, until

MASK = struct.pack(">12xHH", 5, 0)
CTRL_ENUM, CTRL_DOUBLE = 31, 34
LONG_TEXT = "\n".join(f"RACK:HV:S{slot:02}:C{channel:02}:VMon" for slot in range(99) for channel in range(150))
# Seconds for another client's get, on a computer that is busy
SOON = 0.25


@pytest.fixture(autouse=True)
def values(small_ioc: SmallIoc) -> None:
    """A long text, an array and a state."""
    small_ioc.read("lsi", LONG_TEXT)
    small_ioc.read("wave", (1.0,) * 6)
    small_ioc.read("mbbi", 1)
    small_ioc.read("ai", 1.0)


@pytest.fixture
def other(small_ioc: SmallIoc) -> Iterator[Raw]:
    """Another client, with a channel."""
    with Raw(small_ioc) as other:
        other.sid = other.create("long")  # type: ignore[attr-defined]
        yield other


@pytest.fixture
def turns(small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Processor time of each turn of the loop, seconds: other programs on the computer have no part in it."""
    taken: list[float] = []
    began: list[float] = []
    selector = small_ioc.loop._selector  # type: ignore[attr-defined]
    before = selector.select

    def select(timeout: float | None = None) -> Any:
        taken.extend(time.thread_time() - moment for moment in began)
        found = before(timeout)
        began[:] = [time.thread_time()]
        return found

    monkeypatch.setattr(selector, "select", select)
    return taken


def longest_get(other: Raw, seconds: float = 1.0) -> float:
    """Seconds of the other client's slowest get."""
    longest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        other.say(frame(READ_NOTIFY, b"", dbr.LONG, 1, other.sid, 9))  # type: ignore[attr-defined]
        other.answer(READ_NOTIFY, 9)
        longest = max(longest, time.monotonic() - began)
    return longest


def reads(name: str, dtype: int, count: int, times: int) -> Callable[[Raw], bytes]:
    return lambda raw: times * frame(READ_NOTIFY, b"", dtype, count, raw.create(name), 8)


def subscriptions(name: str, dtype: int, count: int) -> Callable[[Raw], bytes]:
    def messages(raw: Raw) -> bytes:
        sid = raw.create(name)
        return b"".join(frame(EVENT_ADD, MASK, dtype, 0, sid, number) for number in range(count))

    return messages


# What a foul client sends
FLOODS: dict[str, Callable[[Raw], bytes]] = {
    "long texts": reads("lsi.VAL$", dbr.CHAR, 0, 1500),
    "long texts of the announced length": reads("lsi.VAL$", dbr.CHAR, 1 << 20, 1500),
    "arrays": reads("wave", CTRL_DOUBLE, 0, 1500),
    "words": reads("mbbi", CTRL_ENUM, 1, 1500),
    "channels": lambda raw: b"".join(
        frame(CREATE_CHAN, padded(raw._ioc.prefix + "ai"), first=cid, second=13) for cid in range(10_000)
    ),
    "filters": lambda raw: b"".join(
        frame(CREATE_CHAN, padded(raw._ioc.prefix + 'ai.VAL{"dbnd":{"abs":1}}'), first=cid, second=13)
        for cid in range(5000)
    ),
    "subscriptions to a number": subscriptions("ai", dbr.TIME_DOUBLE, 10_000),
    "subscriptions to words": subscriptions("mbbi", CTRL_ENUM, 10_000),
    "subscriptions through a filter": subscriptions('mbbi.VAL{"dec":{"n":1000000}}', CTRL_ENUM, 10_000),
    "subscriptions to a field through a filter": subscriptions('mbbi.SEVR{"dec":{"n":1000000}}', dbr.STRING, 10_000),
    "subscriptions to a field": subscriptions("ai.SEVR", dbr.STRING, 10_000),
    "subscriptions to a long text": subscriptions("lsi.VAL$", dbr.CHAR, 2000),
    "on and off": lambda raw: (
        subscriptions("mbbi", CTRL_ENUM, 500)(raw) + 2000 * (frame(EVENTS_OFF) + frame(EVENTS_ON))
    ),
    "searches": lambda raw: 5000 * frame(SEARCH, padded(raw._ioc.prefix + "ai"), 10, 13, 9, 9),
}


@pytest.mark.parametrize("reading", [False, True], ids=["never reads", "reads"])
@pytest.mark.parametrize("flood", FLOODS)
def test_whatever_a_client_sends_another_is_answered_soon(
    small_ioc: SmallIoc, other: Raw, flood: str, reading: bool
) -> None:
    with Raw(small_ioc) as foul:
        data = FLOODS[flood](foul)
        foul._socket.setblocking(False)
        longest, end = 0.0, time.monotonic() + 0.4
        while time.monotonic() < end:
            with suppress(BlockingIOError):
                data = data[foul._socket.send(data) :] if data else data
            with suppress(BlockingIOError):
                while reading and foul._socket.recv(1 << 20):
                    pass
            small_ioc.read("mbbi", int(end * 1000) % 3)
            longest = max(longest, longest_get(other, 0.005))
        assert foul.client.transport.get_write_buffer_size() < 2 * ANSWERS_WAITING
    assert max(longest, longest_get(other, 0.1)) < SOON  # and when it leaves


def test_datagrams_of_thousands_of_names_hold_nobody_up(small_ioc: SmallIoc, other: Raw) -> None:
    message = frame(SEARCH, padded(small_ioc.prefix + 'ai.VAL{"dbnd":{"abs":1}}'), 5, 13, 9, 9)
    datagram = message * (65_000 // len(message))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for _ in range(20):
            udp.sendto(datagram, ("127.0.0.1", small_ioc.server.search_port))
        assert longest_get(other) < SOON


def test_a_client_that_has_left_is_not_answered_but_its_puts_are_carried_out(
    small_ioc: SmallIoc, other: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[View] = []
    before = TextView.values_for

    def values_for(view: TextView, dbr_type: int, count: int) -> Values:
        answered.append(view)
        return before(view, dbr_type, count)

    monkeypatch.setattr(TextView, "values_for", values_for)
    small_ioc.puts.clear()
    load = small_ioc.server.load
    foul = Raw(small_ioc)
    lsi, ao = foul.create("lsi.VAL$", 1), foul.create("ao", 2)
    reads = 1200 * frame(READ_NOTIFY, b"", dbr.CHAR, 0, lsi, 8)

    async def hold() -> None:
        foul._socket.sendall(reads + frame(WRITE, struct.pack(">d", 5.0), dbr.DOUBLE, 1, ao, 3))
        foul._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await asyncio.sleep(0)  # what was sent is read
        await asyncio.sleep(0)
        foul._socket.close()

    small_ioc.do(hold())
    until(lambda: small_ioc.puts == [("ao", 5.0)])
    until(lambda: small_ioc.server.load == load)
    assert len(answered) < 600


def test_many_clients_that_do_not_read_share_what_may_wait_for_one(
    small_ioc: SmallIoc, other: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TOGETHER", 1 << 19)
    clients: list[Connection] = []
    with ExitStack() as stack:
        for _ in range(8):
            raw = stack.enter_context(Raw(small_ioc, receive_buffer=1 << 12))
            flood = 300 * frame(READ_NOTIFY, b"", dbr.CHAR, 0, raw.create("lsi.VAL$"), 8)
            client = raw.client
            raw.say(flood)
            clients.append(client)
            until(lambda: clients[-1]._unread and not clients[-1]._waits_for_turn)
        waiting = sum(each.transport.get_write_buffer_size() for each in clients[1:])  # the first was there alone
        assert waiting < connection.TOGETHER * 2 + 8 * len(LONG_TEXT)
    assert longest_get(other, 0.05) < SOON


def test_a_client_that_takes_its_answers_is_heard_again_after_many_others_came(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TOGETHER", 1 << 21)
    small_ioc.puts.clear()
    with ExitStack() as stack:
        early = stack.enter_context(Raw(small_ioc, receive_buffer=1 << 12))
        lsi, ao = early.create("lsi.VAL$", 1), early.create("ao", 2)
        for _ in range(40):
            stack.enter_context(Raw(small_ioc))
        until(lambda: len(small_ioc.server.clients) > 40)
        reads = 30 * frame(READ_NOTIFY, b"", dbr.CHAR, 0, lsi, 8)
        early.say(reads + frame(WRITE_NOTIFY, struct.pack(">d", 5.0), dbr.DOUBLE, 1, ao, 3))
        client = early.client
        until(lambda: client._unread and not client._waits_for_turn)
        assert early.answer(WRITE_NOTIFY, 3)[0] == 1
    assert small_ioc.puts == [("ao", 5.0)]


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_a_client_that_leaves_while_its_answers_wait_is_forgotten_and_its_puts_are_carried_out(
    small_ioc: SmallIoc, other: Raw, reset: bool
) -> None:
    load = small_ioc.server.load
    small_ioc.puts.clear()
    foul = Raw(small_ioc, receive_buffer=1 << 16)
    lsi, ao = foul.create("lsi.VAL$", 1), foul.create("ao", 2)
    reads = 300 * frame(READ_NOTIFY, b"", dbr.CHAR, 0, lsi, 8)
    foul.say(reads + frame(WRITE, struct.pack(">d", 5.0), dbr.DOUBLE, 1, ao, 3))
    client = foul.client
    until(lambda: client.transport.get_write_buffer_size() > ANSWERS_WAITING)
    assert not small_ioc.puts
    if reset:
        foul._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    foul._socket.close()
    until(lambda: small_ioc.puts == [("ao", 5.0)])
    until(lambda: small_ioc.server.load == load)


def test_many_connections_that_send_much_at_the_same_time_take_turns(
    small_ioc: SmallIoc, other: Raw, turns: list[float]
) -> None:
    with ExitStack() as stack:
        raws = [stack.enter_context(Raw(small_ioc)) for _ in range(100)]
        floods = [100 * frame(READ_NOTIFY, b"", CTRL_ENUM, 1, raw.create("mbbi"), 8) for raw in raws]

        async def all_at_once() -> None:
            for raw, flood in zip(raws, floods, strict=True):
                raw.say(flood)

        longest_get(other, 0.05)
        turns.clear()
        for _ in range(3):
            small_ioc.do(all_at_once())  # while the loop hears none of them
            for raw in raws:
                for _ in range(100):
                    raw.answer(READ_NOTIFY, 8)
        turns.remove(max(turns))  # that of the first time, of which nobody can know
        assert max(turns) < 0.02


def test_who_is_answered_while_other_programs_have_the_processor_waits_for_no_turn(
    small_ioc: SmallIoc, other: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = View.most

    def interrupted(view: View, dbr_type: int) -> int:
        time.sleep(0.003)
        return most(view, dbr_type)

    async def many_wait() -> None:
        for _ in range(400):
            small_ioc.server.turns.add(partial(time.sleep, 0.003))

    monkeypatch.setattr(View, "most", interrupted)
    small_ioc.do(many_wait())
    assert longest_get(other, 0.1) < 0.6


def test_what_changes_is_sent_to_many_clients_in_turns(small_ioc: SmallIoc, other: Raw, turns: list[float]) -> None:
    numbers = set(range(40))
    with ExitStack() as stack:
        raws = [stack.enter_context(Raw(small_ioc)) for _ in range(200)]
        for raw in raws:
            raw.say(subscriptions("mbbi", CTRL_ENUM, len(numbers))(raw))
            assert {raw.message()[-1] for _ in numbers} == numbers
        longest_get(other, 0.05)
        for value in (2, 0, 1):
            turns.clear()
            small_ioc.read("mbbi", value)
            for raw in raws:
                assert {raw.message()[-1] for _ in numbers} == numbers
            assert max(turns) < 0.01


def test_a_channel_with_many_subscriptions_is_cleared_in_turns(
    small_ioc: SmallIoc, other: Raw, turns: list[float]
) -> None:
    with Raw(small_ioc) as raw:
        sid = raw.create("ai")
        raw.say(b"".join(frame(EVENT_ADD, MASK, dbr.TIME_DOUBLE, 1, sid, number) for number in range(30_000)))
        for _ in range(30_000):
            raw.update()
        longest_get(other, 0.05)
        turns.clear()
        raw.clear(sid)
        assert raw.message()[0] == CLEAR_CHANNEL
        small_ioc.read("ai", 2.0)
        raw.say(frame(ECHO))
        assert raw.message()[0] == ECHO  # no update more
        assert max(turns) < 0.01
    until(lambda: not small_ioc.records["ai"].monitors)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_clients_that_leave_at_the_same_time_are_forgotten_in_turns(
    small_ioc: SmallIoc, other: Raw, turns: list[float], reset: bool
) -> None:
    raws = [Raw(small_ioc) for _ in range(60)]
    for raw in raws:
        raw.say(subscriptions("ai", dbr.TIME_DOUBLE, 500)(raw))
        for _ in range(500):
            raw.update()
    longest_get(other, 0.05)

    async def all_at_once() -> None:
        for raw in raws:
            if reset:
                raw._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw._socket.close()

    small_ioc.do(all_at_once())
    turns.clear()
    until(lambda: not small_ioc.records["ai"].monitors)
    assert max(turns) < 0.01
    assert len(small_ioc.server.clients) == 1


def test_answers_that_come_in_turns_are_all_there_and_in_order(small_ioc: SmallIoc) -> None:
    with Raw(small_ioc) as raw:
        text, ai = raw.create("lsi.VAL$", 1), raw.create("ai", 2)
        raw.say(
            b"".join(
                frame(READ_NOTIFY, b"", dbr.CHAR, 0, text, number) + frame(READ_NOTIFY, b"", 6, 1, ai, 1000 + number)
                for number in range(50)
            )
        )
        numbers = [raw.message()[5] for _ in range(100)]
        assert numbers == [each for number in range(50) for each in (number, 1000 + number)]


def test_updates_beyond_a_turn_come_all_the_same(small_ioc: SmallIoc) -> None:
    with Raw(small_ioc) as raw:
        sid = raw.create("mbbi")
        raw.say(b"".join(frame(EVENT_ADD, MASK, CTRL_ENUM, 1, sid, number) for number in range(2000)))
        for _ in range(2000):
            raw.update()
        small_ioc.read("mbbi", 2)
        seen: dict[int, int] = {}
        while len(seen) < 2000:
            command, body, *_, number = raw.message()
            assert command == EVENT_ADD
            seen[number] = struct.unpack_from(">H", body, 422)[0]
        assert set(seen.values()) == {2}


def packed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return where the DBR type of each value is noted that is packed."""
    types: list[int] = []
    encode = dbr.encode

    def noted(dbr_type: int, *rest: Any) -> bytes:
        types.append(dbr_type)
        return encode(dbr_type, *rest)

    monkeypatch.setattr(dbr, "encode", noted)
    return types


def test_what_many_subscriptions_to_one_record_have_in_common_is_packed_once_a_turn(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Raw(small_ioc) as raw:
        sid = raw.create("mbbi")
        types = packed(monkeypatch)
        raw.say(b"".join(frame(EVENT_ADD, MASK, CTRL_ENUM, 1, sid, number) for number in range(2000)))
        assert {raw.message()[5] for _ in range(2000)} == set(range(2000))
        small_ioc.read("mbbi", 2)
        assert {raw.message()[5] for _ in range(2000)} == set(range(2000))
        assert len(types) < 200


def test_a_subscription_that_is_ended_at_once_needs_no_first_value(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in EPICS base, where updates are sent by another thread: libca's users subscribe and cancel in masses."""
    with Raw(small_ioc) as raw:
        sid = raw.create("ao")
        types = packed(monkeypatch)
        raw.say(frame(EVENT_ADD, MASK, 23, 1, sid, 1) + frame(EVENT_CANCEL, b"", 23, 1, sid, 1))
        command, body, *_ = raw.message()
        assert (command, body, types) == (EVENT_ADD, b"", [])


@pytest.mark.parametrize("field", ["SEVR", "STAT", "AMSG"])
def test_a_field_is_looked_at_once_however_many_subscribed_to_it(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    small_ioc.read("ai", 0.0)
    with Raw(small_ioc) as raw:
        sid = raw.create(f"ai.{field}")
        raw.say(b"".join(frame(EVENT_ADD, MASK, dbr.STRING, 1, sid, number) for number in range(1000)))
        assert {raw.message()[5] for _ in range(1000)} == set(range(1000))
        looks: list[View] = []
        values = FieldView.values

        def noted(view: FieldView) -> Array:
            looks.append(view)
            return values(view)

        monkeypatch.setattr(FieldView, "values", noted)
        small_ioc.read("ai", 0.0, Severity.MAJOR, Status.READ, None, "planted")
        assert {raw.message()[5] for _ in range(1000)} == set(range(1000))
        assert len(looks) < 100
    small_ioc.read("ai", 0.0)


@pytest.mark.parametrize("what", ["channels", "subscriptions"])
def test_a_client_has_no_more_than_there_is_memory_for(
    small_ioc: SmallIoc, other: Raw, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(conversation, "MOST", 100)
    with Raw(small_ioc) as raw:
        sid = raw.create("ai")
        creates = [frame(CREATE_CHAN, padded(small_ioc.prefix + "ai"), 0, 0, cid, 13) for cid in range(99)]
        subscribed = [frame(EVENT_ADD, MASK, 6, 1, sid, number) for number in range(100)]
        ended = [frame(EVENT_CANCEL, b"", 6, 1, sid, number) for number in range(100)]
        parts = creates if what == "channels" else [*subscribed, *ended, *subscribed]
        raw.say(b"".join([*parts, frame(READ_NOTIFY, b"", 6, 1, sid, 7)]))
        raw.answer(READ_NOTIFY, 7)
        raw.say(parts[-1])
        raw.answer(ERROR, NO_MEMORY)
        with pytest.raises((AssertionError, OSError)):
            raw.read_to_the_end()
    assert longest_get(other, 0.05) < SOON


def test_subscriptions_to_one_record_end_in_any_order_and_the_others_go_on(small_ioc: SmallIoc) -> None:
    with Raw(small_ioc) as raw:
        sid = raw.create("ai")
        numbers = list(range(100))
        raw.say(b"".join(frame(EVENT_ADD, MASK, 6, 1, sid, number) for number in numbers))
        ended = [0, 99, 50, 98, *range(10, 40, 3)]
        raw.say(b"".join(frame(EVENT_CANCEL, b"", 6, 1, sid, number) for number in ended))
        for _ in range(len(numbers) + len(ended)):
            raw.message()
        small_ioc.read("ai", 77.0)
        left = {raw.message()[5] for _ in range(len(numbers) - len(ended))}
        assert left == set(numbers) - set(ended)
        raw.say(HEADER.pack(12, 0, 0, 0, sid, 1))
        assert raw.message()[0] == 12
    assert not small_ioc.records["ai"].monitors
