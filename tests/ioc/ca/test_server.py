"""The Channel Access server on loopback: what is mended in caproto, and what rests on its private parts."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import socket
import struct
import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from typing import Any

import aioca
import numpy as np
import pytest

from drivers.base import Point, RecordType, Refused, Severity, Status
from ioc.block import Block
from ioc.ca.connection import WAITING
from ioc.ca.conversation import Conversation
from ioc.ca.message import (
    CLEAR_CHANNEL,
    ERROR,
    EVENT_CANCEL,
    INTERNAL,
    READ,
    SEARCH,
    SERVER_DISCONNECT,
    WRITE,
    WRITE_NOTIFY,
)
from ioc.ca.network import accept
from ioc.ca.network.search import LARGEST_ANSWER
from ioc.ca.network.seldom import Seldom
from ioc.record import ALARM, LOG, PROPERTY, VALUE, Record
from tests.client import Client
from tests.small_ioc import EVENT_ADD, HEADER, PUT_FAIL, READ_NOTIFY, VERSION, Raw, SmallIoc, search, until

# ---- values, types, fields ----


def test_a_value_comes_with_alarm_time_unit_precision_and_limits(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("ai", 55.5)
    value = ca.get(small_ioc.prefix + "ai", format=aioca.FORMAT_TIME)
    assert (float(value), value.severity, value.status) == (55.5, 1, 4)
    assert abs(value.timestamp - time.time()) < 1
    value = ca.get(small_ioc.prefix + "ai", format=aioca.FORMAT_CTRL)
    assert (value.units, value.precision, value.upper_disp_limit, value.upper_warning_limit) == ("kV", 2, 100, 50)
    assert value.upper_alarm_limit != value.upper_alarm_limit  # not set: NaN, not a line at 0
    assert ca.get(small_ioc.prefix + "ao", format=aioca.FORMAT_CTRL).upper_ctrl_limit == 60


def test_new_limits_show_at_once(small_ioc: SmallIoc, ca: Client) -> None:
    updates = ca.monitor(small_ioc.prefix + "ao", events=aioca.DBE_PROPERTY)
    record = small_ioc.records["ao"]
    before = record.point
    record.configure(replace(before, drvh=40.0))
    small_ioc.loop.call_soon_threadsafe(small_ioc.server.post, [(record, PROPERTY)])
    until(lambda: len(updates) == 2)
    assert ca.get(small_ioc.prefix + "ao", format=aioca.FORMAT_CTRL).upper_ctrl_limit == 40
    record.configure(before)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("EGU", "kV"),
        ("DESC", "voltage"),
        ("PREC", 2),
        ("HIGH", 50.0),
        ("RTYP", "ai"),
        ("HSV", "MINOR"),
        ("VAL", 55.5),
    ],
)
def test_fields_are_there_when_somebody_asks(small_ioc: SmallIoc, ca: Client, field: str, value: Any) -> None:
    small_ioc.read("ai", 55.5)
    assert ca.get(f"{small_ioc.prefix}ai.{field}", datatype=str if isinstance(value, str) else None) == value


def test_a_field_that_a_record_lacks_is_not_found(small_ioc: SmallIoc) -> None:
    assert search(small_ioc, f"{small_ioc.prefix}ai.ONAM") is None
    assert search(small_ioc, f"{small_ioc.prefix}ai.NONSENSE") is None
    assert search(small_ioc, f"{small_ioc.prefix}ai.EGU") is not None


def test_a_text_is_cut_at_39_characters_and_whole_as_a_long_string(small_ioc: SmallIoc, ca: Client) -> None:
    sentence = "the generator does not answer: is the cable in, and is it switched on?"
    small_ioc.read("lsi", sentence)
    assert ca.get(small_ioc.prefix + "lsi") == sentence[:39]
    assert ca.get(small_ioc.prefix + "lsi.VAL$", datatype=aioca.DBR_CHAR_STR) == sentence


def test_states_have_words(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("mbbi", 2)
    assert ca.get(small_ioc.prefix + "mbbi", datatype=str) == "Up"
    assert list(ca.get(small_ioc.prefix + "mbbi", format=aioca.FORMAT_CTRL).enums) == ["Down", "Connecting", "Up"]


# ---- puts ----


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("bo", 1, 1),
        ("bo", "On", 1),
        ("bo", "1", 1),
        ("bo", 0.0, 0),
        ("ao", "12.5", 12.5),
        ("ao", 7, 7.0),
        ("text", "hi", "hi"),
    ],
)
def test_a_put_is_taken_in_whatever_type_it_comes(
    small_ioc: SmallIoc, ca: Client, name: str, value: Any, taken: Any
) -> None:
    small_ioc.puts.clear()
    ca.put(small_ioc.prefix + name, value, datatype=type(value))
    assert small_ioc.puts == [(name, taken)]


def test_a_refused_put_fails_as_in_epics_and_says_why_where_the_protocol_can(
    small_ioc: SmallIoc, ca: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(aioca.CANothing, match="write request failed"):
        ca.put(small_ioc.prefix + "ao", 61.0)
    with Raw(small_ioc) as raw:
        assert raw.write_notify("ao", 61.0) == PUT_FAIL
    with Raw(small_ioc) as raw:
        answer = raw.write("ao", 61.0)
    assert f"61 kV is above the upper limit DRVH of 60 kV; not sent to {small_ioc.prefix}ao".encode() in answer
    assert b"exception" not in answer.lower()
    assert "Traceback" not in caplog.text


def test_inputs_are_read_only_for_clients(small_ioc: SmallIoc, ca: Client) -> None:
    with pytest.raises(Exception, match="denied"):
        ca.put(small_ioc.prefix + "ai", 1.0)


@pytest.mark.alone
def test_a_monitor_after_a_put_does_not_wait_for_nagle(small_ioc: SmallIoc, ca: Client) -> None:
    updates = ca.monitor(small_ioc.prefix + "ao")

    def delay(value: float) -> float:
        count, began = len(updates), time.perf_counter()
        ca.put(small_ioc.prefix + "ao", value)
        until(lambda: len(updates) > count)
        return time.perf_counter() - began

    delays = [delay(float(number + 20)) for number in range(10)]
    assert sorted(delays)[5] < 0.035


# ---- masks ----


def test_each_mask_gets_its_events_and_no_others(small_ioc: SmallIoc, ca: Client) -> None:
    record = small_ioc.records["long"]
    record.configure(replace(record.point, mdel=1.0, adel=5.0, high=100.0))
    small_ioc.read("long", 0)
    masks = {"value": VALUE, "log": LOG, "alarm": ALARM}
    seen = {word: ca.monitor(small_ioc.prefix + "long", events=mask) for word, mask in masks.items()}
    time.sleep(0.2)
    for updates in seen.values():
        updates.clear()
    for value in (1, 2, 3, 3, 8, 101):
        small_ioc.read("long", value)
    small_ioc.read("long", None, Severity.INVALID, Status.COMM)
    time.sleep(0.5)
    assert [int(value) for value in seen["value"]] == [2, 8, 101]
    assert [int(value) for value in seen["log"]] == [8, 101]
    assert [(int(value), value.severity) for value in seen["alarm"]] == [(101, 1), (101, 3)]


@pytest.mark.parametrize("field", ["STAT", "AMSG"])
def test_what_tells_of_an_alarm_is_shown_with_the_alarm_of_now(small_ioc: SmallIoc, ca: Client, field: str) -> None:
    small_ioc.read("long", None, Severity.INVALID, Status.HIGH)
    updates = ca.monitor(f"{small_ioc.prefix}long.{field}", events=ALARM)
    until(lambda: updates)
    for severity in (Severity.MAJOR, Severity.MINOR, Severity.MINOR, Severity.NO_ALARM):
        small_ioc.read("long", 1, severity, Status.HIGH if severity else Status.NO_ALARM)
    until(lambda: updates[-1].severity == 0)
    assert [update.severity for update in updates] == [3, 2, 1, 0]


# ---- the protocol, byte by byte ----


def test_a_search_answer_carries_the_clients_sequence_number(small_ioc: SmallIoc) -> None:
    answer = search(small_ioc, small_ioc.prefix + "ai", sequence=4711)
    assert answer is not None
    command, _, valid, _, number, _ = HEADER.unpack_from(answer)
    assert (command, valid, number) == (VERSION, 1, 4711)


def asked(small_ioc: SmallIoc, datagrams: list[bytes]) -> list[bytes]:
    """The datagrams with which one client's are answered that are all there when the server looks."""

    async def send(udp: socket.socket) -> None:
        for datagram in datagrams:
            udp.sendto(datagram, ("127.0.0.1", small_ioc.server.search_port))

    answers = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, suppress(TimeoutError):
        small_ioc.do(send(udp))
        udp.settimeout(0.3)
        while True:
            answers.append(udp.recv(1 << 16))
    return answers


def test_of_two_servers_at_one_address_the_newer_is_found_by_all(small_ioc: SmallIoc) -> None:
    newer = SmallIoc([Point(name="ai", rtyp=RecordType.ai)])
    try:
        assert all(search(newer, newer.prefix + "ai") for _ in range(20))  # each from another port
    finally:
        newer.close()
    assert search(small_ioc, small_ioc.prefix + "ai")


def searched(small_ioc: SmallIoc, sequence: int, cids: range) -> bytes:
    """A datagram of searches for one name."""
    name = f"{small_ioc.prefix}ai".encode()
    name += bytes(8 - len(name) % 8)
    searches = [HEADER.pack(SEARCH, len(name), 5, 13, cid, cid) + name for cid in cids]
    return HEADER.pack(VERSION, 0, 1, 13, sequence, 0) + b"".join(searches)


def found(answer: bytes) -> list[int]:
    """The numbers of the names for which a datagram is the answer, behind its version."""
    return [HEADER.unpack_from(answer, at)[5] for at in range(HEADER.size, len(answer), HEADER.size + 8)]


def test_searches_of_one_client_that_wait_are_answered_together_as_by_base(small_ioc: SmallIoc) -> None:
    datagrams = [searched(small_ioc, 7, range(3)), searched(small_ioc, 8, range(3, 5))]
    (answer,) = asked(small_ioc, datagrams)
    assert HEADER.unpack_from(answer)[:5] == (VERSION, 0, 1, 13, 8)
    assert found(answer) == [0, 1, 2, 3, 4]


def test_the_answers_to_many_searches_are_datagrams_that_any_network_carries(small_ioc: SmallIoc) -> None:
    answers = asked(small_ioc, [searched(small_ioc, 9, range(1000))])
    assert sorted(cid for answer in answers for cid in found(answer)) == list(range(1000))
    assert {HEADER.unpack_from(answer)[:5] for answer in answers} == {(VERSION, 0, 1, 13, 9)}
    assert max(map(len, answers)) <= LARGEST_ANSWER


def test_a_channel_that_is_cleared_without_cancelling_its_monitors_ends_no_others(small_ioc: SmallIoc) -> None:
    small_ioc.read("ai", 1.0)
    with Raw(small_ioc) as raw:
        first, second = raw.create("ai", 1), raw.create("long", 2)
        raw.subscribe(first, 1)
        raw.subscribe(second, 2)
        raw.clear(first)
        time.sleep(0.2)
        small_ioc.read("ai", 2.0)
        small_ioc.read("long", 4000)
        numbers = []
        while 4000 not in numbers:
            command, body, _, _, _, subscription = raw.message()
            if command == EVENT_ADD and subscription == 2:
                numbers.append(struct.unpack_from(">d", body)[0])


@pytest.mark.parametrize("dbr", [35, 36])
def test_an_acknowledged_alarm_is_never_taken_for_a_value(small_ioc: SmallIoc, dbr: int) -> None:
    small_ioc.puts.clear()
    with Raw(small_ioc) as raw:
        assert raw.write_notify("bo", 2.0, dbr) == 1
    assert small_ioc.puts == []


def test_a_put_before_the_channel_is_cleared_is_carried_out(small_ioc: SmallIoc) -> None:
    small_ioc.puts.clear()
    with Raw(small_ioc) as raw:
        sid = raw.create("ao")
        raw.write_and_clear(sid, 44.0)
        until(lambda: small_ioc.puts == [("ao", 44.0)])


def test_a_new_subscriber_gets_the_value_of_now(small_ioc: SmallIoc) -> None:
    record = small_ioc.records["ai"]
    record.configure(replace(record.point, mdel=10.0, adel=10.0))
    small_ioc.read("ai", 0.0)
    with Raw(small_ioc) as raw:
        raw.subscribe(raw.create("ai", 1), 1)
        assert struct.unpack_from(">d", raw.update())[0] == 0.0
        small_ioc.read("ai", 4.0)  # inside the deadband: nothing is sent
        raw.subscribe(raw.create("ai", 2), 2)
        assert struct.unpack_from(">d", raw.update())[0] == 4.0
    record.configure(replace(record.point, mdel=0.0, adel=0.0))


def test_a_text_that_channel_access_cannot_carry_holds_up_nothing(small_ioc: SmallIoc, ca: Client) -> None:
    ca.monitor(small_ioc.prefix + "lsi")
    small_ioc.read("lsi", "serial \u4e2d")
    small_ioc.read("ai", 7.5)
    assert ca.get(small_ioc.prefix + "lsi") == "serial ?"
    assert ca.get(small_ioc.prefix + "ai") == 7.5


def test_a_long_unit_is_cut_to_what_the_protocol_carries(small_ioc: SmallIoc, ca: Client) -> None:
    record = small_ioc.records["long"]
    record.configure(replace(record.point, egu="fortnights"))
    assert ca.get(small_ioc.prefix + "long", format=aioca.FORMAT_CTRL).units == "fortnig"


def test_a_record_of_another_type_reaches_the_clients_of_the_one_it_replaced(small_ioc: SmallIoc, ca: Client) -> None:
    old = small_ioc.records["mbbi"]
    small_ioc.read("mbbi", 1)
    with Raw(small_ioc) as raw:
        raw.subscribe(raw.create("mbbi.VAL"))
        record = small_ioc.records["mbbi"] = Record(old.name, Point(name="mbbi", rtyp=RecordType.ai))
        small_ioc.loop.call_soon_threadsafe(small_ioc.server.add, record, small_ioc)
        with pytest.raises((AssertionError, OSError)):  # the connection is cut, for the client to come back
            raw.read_to_the_end()
    small_ioc.read("mbbi", 2.5)
    with Raw(small_ioc) as raw:
        raw.subscribe(raw.create("mbbi.VAL"))
        assert struct.unpack_from(">d", raw.update())[0] == 2.5


@pytest.fixture
def own_ioc() -> Iterator[SmallIoc]:
    """A server whose records no other test needs."""
    with closing(SmallIoc()) as ioc:
        yield ioc


def test_many_records_that_are_replaced_cost_one_look_at_the_channels_of_a_client(
    own_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    disconnect = Conversation.disconnect

    def counted(conversation: Conversation, records: Collection[Record]) -> None:
        looks.append(len(records))
        disconnect(conversation, records)

    monkeypatch.setattr(Conversation, "disconnect", counted)

    async def others() -> None:
        for record in own_ioc.records.values():
            own_ioc.server.add(Record(record.name, record.point), own_ioc)

    with Raw(own_ioc) as raw:
        for number, name in enumerate(own_ioc.records):
            raw.create(name, number)
        raw.create("ai.HIHI", 100)
        own_ioc.do(others())
        ended = [raw.message() for _ in range(len(own_ioc.records) + 1)]
        assert {command for command, *_ in ended} == {SERVER_DISCONNECT}
        assert {cid for *_, cid, _ in ended} == {*range(len(own_ioc.records)), 100}
    assert looks == [len(own_ioc.records)]


def test_where_the_port_is_taken_another_is_served_and_no_socket_stays_open(small_ioc: SmallIoc) -> None:
    with closing(SmallIoc()) as second, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert second.server.port != small_ioc.server.port
        gc.collect()
    assert [each for each in told if "unclosed" in str(each.message)] == []


def test_a_put_to_a_record_that_was_just_replaced_is_not_carried_out(own_ioc: SmallIoc) -> None:
    async def another_and_a_put() -> None:
        record = own_ioc.records["ao"]
        own_ioc.server.add(Record(record.name, record.point), own_ioc)
        put = HEADER.pack(4, 8, 6, 1, sid, 5) + struct.pack(">d", 3.0)
        own_ioc.server.clients[client].receive(put, lambda: False, False, 0)

    with Raw(own_ioc) as raw:
        sid, client = raw.create("ao"), raw.client
        own_ioc.do(another_and_a_put())
        assert own_ioc.puts == []


def replaced_before_it_is_heard(ioc: SmallIoc, raw: Raw, names: Sequence[str], data: bytes) -> None:
    """What a client sends while it is not told yet that records are replaced."""

    async def replace_them() -> None:
        raw.say(data)
        until(lambda: client._arrived(b"") >= heard + len(data))
        for name in names:
            ioc.server.add(Record(ioc.prefix + name, Point(name=name, rtyp=RecordType.longout)), ioc)

    client = raw.client
    heard = client._arrived(b"")
    ioc.do(replace_them())


def test_what_was_on_its_way_to_a_record_that_was_replaced_costs_the_client_nothing_else(
    own_ioc: SmallIoc, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rackioc.puts")
    three, mask = struct.pack(">d", 3.0), bytes(12) + struct.pack(">HH", VALUE, 0)
    own_ioc.read("bo", 1)
    with Raw(own_ioc) as raw:
        sid, other = raw.create("ao", 11), raw.create("bo", 12)
        raw.subscribe(sid, 1)
        raw.update()
        sent = (
            HEADER.pack(READ_NOTIFY, 0, 6, 1, sid, 5),
            HEADER.pack(READ, 0, 6, 1, sid, 6),
            HEADER.pack(EVENT_ADD, 16, 6, 1, sid, 2) + mask,
            HEADER.pack(WRITE_NOTIFY, 8, 6, 1, sid, 7) + three,
            HEADER.pack(WRITE_NOTIFY, 8, 39, 1, sid, 8) + three,  # of no type that there is
            put := HEADER.pack(WRITE, 8, 6, 1, sid, 9) + three,
            HEADER.pack(EVENT_CANCEL, 0, 6, 1, sid, 1),
            HEADER.pack(EVENT_CANCEL, 0, 6, 1, sid, 2),
            HEADER.pack(CLEAR_CHANNEL, 0, 0, 0, sid, 11),
            HEADER.pack(WRITE, 8, 6, 1, other, 10) + struct.pack(">d", 0.0),
            HEADER.pack(READ_NOTIFY, 0, 6, 1, other, 99),
        )
        replaced_before_it_is_heard(own_ioc, raw, ["ao"], b"".join(sent))
        assert raw.message()[::4] == (SERVER_DISCONNECT, 11)
        command, told, *_, cid, status = raw.message()
        assert (command, told[:16], cid, status) == (ERROR, put[:16], 11, PUT_FAIL)
        assert raw.message()[::5] == (READ_NOTIFY, 99)
        assert own_ioc.puts == [("bo", 0)]
        raw.clear(sid, 11)  # cleared already: it has no such channel, as if it never had one
        raw.answer(ERROR, INTERNAL)
        with pytest.raises(AssertionError, match="closed"):
            raw.read_to_the_end()
    reason = f"refused: not sent, another record has taken the place of that one: {own_ioc.prefix}ao"
    until(lambda: caplog.text.count(f"put 3 to {own_ioc.prefix}ao ({reason})") == 2)


def test_a_put_under_way_is_not_answered_to_whom_the_channel_was_taken_or_who_cleared_it(
    own_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = asyncio.Event()

    async def put(*_: object) -> None:
        await ends.wait()

    async def end() -> None:
        ends.set()

    monkeypatch.setattr(own_ioc, "put", put)
    with Raw(own_ioc) as raw:
        sids = [raw.create("ao", 1), raw.create("mbbo", 2), raw.create("ai", 3)]
        puts = [HEADER.pack(WRITE_NOTIFY, 8, 6, 1, sid, 5) + struct.pack(">d", 1.0) for sid in sids[:2]]
        gets = [HEADER.pack(READ_NOTIFY, 0, 6, 1, sid, 6) for sid in sids[:2]]
        raw.say(b"".join((*puts, *gets)))
        raw.clear(sids[0], 1)
        assert raw.message()[0] == CLEAR_CHANNEL
        replaced_before_it_is_heard(own_ioc, raw, ["mbbo"], b"")
        assert raw.message()[0] == SERVER_DISCONNECT
        own_ioc.do(end())
        own_ioc.do(asyncio.sleep(0.01))
        raw.read_notify(sids[2])
        assert raw.message()[0] == READ_NOTIFY


def test_only_so_many_numbers_of_channels_that_were_taken_are_remembered(
    own_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ioc.ca.conversation.MOST_TAKEN", 3)
    with Raw(own_ioc) as raw:
        sids = [raw.create(name) for name in ("ao", "ai", "long")]
        replaced_before_it_is_heard(own_ioc, raw, ["ao", "ai", "long"], b"")
        sids.append(raw.create("bo"))
        replaced_before_it_is_heard(own_ioc, raw, ["bo"], b"")
        for sid in reversed(sids):
            raw.read_notify(sid)
        raw.answer(ERROR, INTERNAL)
        until(lambda: not own_ioc.server.clients[raw.client].channels)
        assert [*own_ioc.server.clients[raw.client]._taken] == sids[1:]


def test_a_record_of_another_instrument_never_takes_the_place_of_one_of_the_same_name(
    own_ioc: SmallIoc, small_ioc: SmallIoc, caplog: pytest.LogCaptureFixture
) -> None:
    other = Record(own_ioc.records["ao"].name, own_ioc.records["ao"].point)

    async def add() -> None:
        own_ioc.server.add(other, small_ioc)
        own_ioc.server.post([(other, VALUE)])

    own_ioc.do(add())
    with Raw(own_ioc) as raw:
        assert raw.write_notify("ao", 3.0) == 1
    assert own_ioc.puts == [("ao", 3.0)]
    assert f"{other.name}: another instrument has a record of this name" in caplog.text


def test_more_subscriptions_than_caprotos_queue_are_served(small_ioc: SmallIoc) -> None:
    small_ioc.read("ai", 0.0)
    with Raw(small_ioc) as raw:
        sid = raw.create("ai")
        for number in range(1, 12_001):
            raw.subscribe(sid, number)
        for _ in range(12_000):
            raw.update()
        small_ioc.read("ai", 1.0)
        assert {struct.unpack_from(">d", raw.update())[0] for _ in range(12_000)} == {1.0}


@pytest.mark.alone
def test_a_client_that_does_not_read_misses_the_old_gets_the_newest_and_holds_up_nobody(
    small_ioc: SmallIoc, ca: Client
) -> None:
    updates = ca.monitor(small_ioc.prefix + "ao")
    with Raw(small_ioc, receive_buffer=4096) as raw:
        sid = raw.create("ai")
        for number in range(1, 2000):
            raw.subscribe(sid, number)
        client = raw.client
        for number in range(400):
            small_ioc.read("ai", float(number))
        until(lambda: client.blocked)
        ca.put(small_ioc.prefix + "ao", 33.0)
        until(lambda: float(updates[-1]) == 33.0)
        assert client.transport.get_write_buffer_size() < 2 * WAITING
        small_ioc.read("ai", -5.0)
        newest: dict[int, float] = {}
        while len(newest) < 1999 or set(newest.values()) != {-5.0}:
            command, body, *_, number = raw.message()
            if command == EVENT_ADD:
                newest[number] = struct.unpack_from(">d", body)[0]
        assert not client.blocked


def test_a_client_that_speaks_garbage_harms_nobody_and_is_no_trace(
    small_ioc: SmallIoc, ca: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with Raw(small_ioc) as raw:
        raw.create("ai")
        raw.garbage()
        time.sleep(0.2)
    with Raw(small_ioc) as raw:
        raw.write_cut_short("bo")
        time.sleep(0.2)
    assert "Traceback" not in caplog.text
    assert ca.get(small_ioc.prefix + "ai", format=aioca.FORMAT_TIME).ok


def test_clients_and_channels_are_counted(small_ioc: SmallIoc) -> None:
    before = small_ioc.server.load
    with Raw(small_ioc) as raw:
        raw.create("ai", 1)
        raw.create("ao", 2)
        until(lambda: small_ioc.server.load[:2] == (before[0] + 1, before[1] + 2))
    until(lambda: small_ioc.server.load == before)


def test_a_refusal_is_the_records(small_ioc: SmallIoc) -> None:
    with pytest.raises(Refused):
        small_ioc.do(small_ioc.put(small_ioc.records["ao"], 61.0))


def test_a_mask_with_unknown_events_harms_no_other_client_of_a_block(small_ioc: SmallIoc) -> None:
    async def post(value: float) -> None:
        changed = block.process(np.array([value, value]), time.time())
        small_ioc.server.post_block(block, changed)

    async def make_block() -> Block:
        return Block([small_ioc.records["ai"], small_ioc.records["ao"]])

    async def dissolve() -> None:
        block.dissolve()

    block = small_ioc.do(make_block())
    try:
        with Raw(small_ioc) as odd, Raw(small_ioc) as other:
            odd.subscribe(odd.create("ai"), mask=0x0105)
            other.subscribe(other.create("ai"))
            odd.update()
            other.update()
            small_ioc.do(post(11.0))
            small_ioc.do(post(12.0))
            for client in (odd, other):
                assert [client.number(client.update()) for _ in range(2)] == [11.0, 12.0]
    finally:
        small_ioc.do(dissolve())


def test_an_array_of_one_element_is_monitored_as_any_other(small_ioc: SmallIoc, ca: Client) -> None:
    small_ioc.read("one", (1.5,))
    updates = ca.monitor(small_ioc.prefix + "one")
    small_ioc.read("one", (2.5,))
    until(lambda: len(updates) == 2)
    assert [np.atleast_1d(each).tolist() for each in updates] == [[1.5], [2.5]]


def test_more_clients_than_there_is_room_for_are_refused_and_the_others_go_on(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        raw = stack.enter_context(Raw(small_ioc))
        sid = raw.create("ai")
        limit = len(small_ioc.server.clients) + 2
        monkeypatch.setattr(accept, "most", lambda: limit)
        address = ("127.0.0.1", small_ioc.server.port or 0)
        crowd = [stack.enter_context(socket.create_connection(address, 10)) for _ in range(20)]
        refused = [each for each in crowd if closed(each)]
        assert 10 < len(refused) < 20  # clients of other tests may just have left
        assert len(small_ioc.server.clients) <= limit
        raw.say(HEADER.pack(READ_NOTIFY, 0, 6, 1, sid, 9))
        assert raw.message()[0] == READ_NOTIFY
    until(lambda: len(small_ioc.server.clients) < limit)
    with Raw(small_ioc) as another:
        another.create("ai")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2, told
    assert "is refused: " in told[0]
    assert told[1] == "further lines about clients that are refused are left out for a minute"


def test_a_client_that_is_cut_over_and_over_does_not_fill_the_log(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(small_ioc.server, "told", Seldom(10))
    for _ in range(50):
        with Raw(small_ioc) as raw:
            raw.say(HEADER.pack(99, 0, 0, 0, 0, 0))
            with pytest.raises((AssertionError, OSError)):
                raw.read_to_the_end()
    assert len(caplog.records) == 11


def closed(connection: socket.socket) -> bool:
    """Whether the server closes it; it greets those that it takes."""
    try:
        return not connection.recv(16)
    except ConnectionResetError:
        return True


def test_without_another_open_file_who_is_connected_is_served_and_the_log_stays_short(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accept, "PAUSE", 0.05)
    with Raw(small_ioc) as raw, socket.socket() as waiting:
        sid = raw.create("ai")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            lowest_free = os.dup(waiting.fileno())
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
            waiting.connect(("127.0.0.1", small_ioc.server.port or 0))
            until(lambda: "no client can connect" in caplog.text)
            for number in range(3):
                raw.say(HEADER.pack(READ_NOTIFY, 0, 6, 1, sid, number))
                assert raw.message()[0] == READ_NOTIFY
                time.sleep(0.05)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        waiting.settimeout(10)
        assert len(waiting.recv(16)) == 16  # it is greeted after all
    assert 1 <= len(caplog.records) <= 2, caplog.text


@pytest.mark.parametrize(("sent", "text"), [(b"\0", ""), (b"A", "A"), (b"5\0", "5")])
def test_a_single_character_put_to_a_long_text_is_no_number(small_ioc: SmallIoc, sent: bytes, text: str) -> None:
    with Raw(small_ioc) as client:
        sid = client.create("text.VAL$")
        client.say(HEADER.pack(19, 8, 4, len(sent), sid, 5) + sent.ljust(8, b"\0"))
        assert client.answer(19, 5)[0] == 1
    assert small_ioc.puts[-1] == ("text", text)
