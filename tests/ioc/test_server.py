"""The Channel Access server on loopback: what is mended in caproto, and what rests on its private parts."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

import aioca
import pytest

from drivers.base import Point, Reading, RecordType, Refused, Severity, Status, Value
from ioc.client import WAITING
from ioc.record import ALARM, LOG, PROPERTY, VALUE, Record
from ioc.server import Server
from tests.client import Client

HEADER = struct.Struct(">HHHHII")
VERSION, EVENT_ADD, READ_NOTIFY, CLEAR, CREATE, SEARCH, ERROR = 0, 1, 15, 12, 18, 6, 11
PUT_FAIL = 160

POINTS = (
    Point(name="ai", rtyp=RecordType.ai, egu="kV", prec=2, desc="voltage", high=50.0, hopr=100.0, lopr=0.0),
    Point(name="ao", rtyp=RecordType.ao, egu="kV", drvl=0.0, drvh=60.0),
    Point(name="bo", rtyp=RecordType.bo, states=("Off", "On")),
    Point(name="mbbi", rtyp=RecordType.mbbi, states=("Down", "Connecting", "Up")),
    Point(name="long", rtyp=RecordType.longin),
    Point(name="text", rtyp=RecordType.stringout),
    Point(name="lsi", rtyp=RecordType.lsi),
)


class House:
    """A server with a few records in a thread of its own, and what was put to them."""

    def __init__(self) -> None:
        self.prefix = f"S{time.monotonic_ns()}:"
        self.puts: list[tuple[str, Value]] = []
        self.loop = asyncio.new_event_loop()
        self.records = {point.name: Record(self.prefix + point.name, point) for point in POINTS}
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self._start())

    async def _start(self) -> None:
        self.server = Server()
        for record in self.records.values():
            self.server.add(record, self)  # type: ignore[arg-type]
        self._serving = asyncio.create_task(self.server.run())
        while self.server.port is None:
            await asyncio.sleep(0.01)

    async def put(self, record: Record, value: Value) -> None:
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

    def post(self, name: str, value: Value | None, *alarm: Any) -> None:
        record = self.records[name]
        mask = record.process(Reading(value, *alarm), time.time())
        if mask:
            self.server.post([(record, mask)])

    def read(self, name: str, value: Value | None, *alarm: Any) -> None:
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


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    house = House()
    yield house
    house.close()


def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


# ---- values, types, fields ----


def test_a_value_comes_with_alarm_time_unit_precision_and_limits(house: House, ca: Client) -> None:
    house.read("ai", 55.5)
    value = ca.get(house.prefix + "ai", format=aioca.FORMAT_TIME)
    assert (float(value), value.severity, value.status) == (55.5, 1, 4)
    assert abs(value.timestamp - time.time()) < 1
    value = ca.get(house.prefix + "ai", format=aioca.FORMAT_CTRL)
    assert (value.units, value.precision, value.upper_disp_limit, value.upper_warning_limit) == ("kV", 2, 100, 50)
    assert value.upper_alarm_limit != value.upper_alarm_limit  # not set: NaN, not a line at 0
    assert ca.get(house.prefix + "ao", format=aioca.FORMAT_CTRL).upper_ctrl_limit == 60


def test_new_limits_show_at_once(house: House, ca: Client) -> None:
    updates = ca.monitor(house.prefix + "ao", events=aioca.DBE_PROPERTY)
    record = house.records["ao"]
    before = record.point
    record.configure(replace(before, drvh=40.0))
    house.loop.call_soon_threadsafe(house.server.post, [(record, PROPERTY)])
    until(lambda: len(updates) == 2)
    assert ca.get(house.prefix + "ao", format=aioca.FORMAT_CTRL).upper_ctrl_limit == 40
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
def test_fields_are_there_when_somebody_asks(house: House, ca: Client, field: str, value: Any) -> None:
    house.read("ai", 55.5)
    assert ca.get(f"{house.prefix}ai.{field}", datatype=str if isinstance(value, str) else None) == value


def test_a_field_that_a_record_lacks_is_not_found(house: House) -> None:
    assert search(house, f"{house.prefix}ai.ONAM") is None
    assert search(house, f"{house.prefix}ai.NONSENSE") is None
    assert search(house, f"{house.prefix}ai.EGU") is not None


def test_a_text_is_cut_at_39_characters_and_whole_as_a_long_string(house: House, ca: Client) -> None:
    sentence = "the generator does not answer: is the cable in, and is it switched on?"
    house.read("lsi", sentence)
    assert ca.get(house.prefix + "lsi") == sentence[:39]
    assert ca.get(house.prefix + "lsi.VAL$", datatype=aioca.DBR_CHAR_STR) == sentence


def test_states_have_words(house: House, ca: Client) -> None:
    house.read("mbbi", 2)
    assert ca.get(house.prefix + "mbbi", datatype=str) == "Up"
    assert list(ca.get(house.prefix + "mbbi", format=aioca.FORMAT_CTRL).enums) == ["Down", "Connecting", "Up"]


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
    house: House, ca: Client, name: str, value: Any, taken: Any
) -> None:
    house.puts.clear()
    ca.put(house.prefix + name, value, datatype=type(value))
    assert house.puts == [(name, taken)]


def test_a_refused_put_fails_as_in_epics_and_says_why_where_the_protocol_can(
    house: House, ca: Client, caplog
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(aioca.CANothing, match="write request failed"):
        ca.put(house.prefix + "ao", 61.0)
    with Raw(house) as raw:
        assert raw.write_notify("ao", 61.0) == PUT_FAIL
    with Raw(house) as raw:
        answer = raw.write("ao", 61.0)
    assert f"61 kV is above the upper limit DRVH of 60 kV; not sent to {house.prefix}ao".encode() in answer
    assert b"exception" not in answer.lower()
    assert "Traceback" not in caplog.text


def test_inputs_are_read_only_for_clients(house: House, ca: Client) -> None:
    with pytest.raises(Exception, match="denied"):
        ca.put(house.prefix + "ai", 1.0)


def test_a_monitor_after_a_put_does_not_wait_for_nagle(house: House, ca: Client) -> None:
    updates = ca.monitor(house.prefix + "ao")
    delays = []
    for number in range(10):
        count, began = len(updates), time.perf_counter()
        ca.put(house.prefix + "ao", float(number + 20))
        until(lambda count=count: len(updates) > count)
        delays.append(time.perf_counter() - began)
    assert sorted(delays)[5] < 0.035


# ---- masks ----


def test_each_mask_gets_its_events_and_no_others(house: House, ca: Client) -> None:
    record = house.records["long"]
    record.configure(replace(record.point, mdel=1.0, adel=5.0, high=100.0))
    house.read("long", 0)
    masks = {"value": VALUE, "log": LOG, "alarm": ALARM}
    seen = {word: ca.monitor(house.prefix + "long", events=mask) for word, mask in masks.items()}
    time.sleep(0.2)
    for updates in seen.values():
        updates.clear()
    for value in (1, 2, 3, 3, 8, 101):
        house.read("long", value)
    house.read("long", None, Severity.INVALID, Status.COMM)
    time.sleep(0.5)
    assert [int(value) for value in seen["value"]] == [2, 8, 101]
    assert [int(value) for value in seen["log"]] == [8, 101]
    assert [(int(value), value.severity) for value in seen["alarm"]] == [(101, 1), (101, 3)]


# ---- the protocol, byte by byte ----


def search(house: House, name: str, sequence: int = 7) -> bytes | None:
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


def test_a_search_answer_carries_the_clients_sequence_number(house: House) -> None:
    answer = search(house, house.prefix + "ai", sequence=4711)
    assert answer is not None
    command, _, valid, _, number, _ = HEADER.unpack_from(answer)
    assert (command, valid, number) == (VERSION, 1, 4711)


class Raw:
    """A client that speaks bytes."""

    def __init__(self, house: House, receive_buffer: int = 0) -> None:
        self._house = house
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(10)
        self._socket.connect(("127.0.0.1", house.server.port or 0))
        self._socket.sendall(HEADER.pack(VERSION, 0, 0, 13, 0, 0))

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def create(self, name: str, cid: int = 1) -> int:
        padded = (self._house.prefix + name).encode()
        padded += bytes(8 - len(padded) % 8)
        self._socket.sendall(HEADER.pack(CREATE, len(padded), 0, 0, cid, 13) + padded)
        while True:
            command, _, _, _, _, sid = self.message()
            if command == CREATE:
                return int(sid)

    def subscribe(self, sid: int, number: int = 1, mask: int = VALUE) -> None:
        self._socket.sendall(HEADER.pack(EVENT_ADD, 16, 6, 1, sid, number) + bytes(12) + struct.pack(">HH", mask, 0))

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
        self._socket.sendall(b"\xff" * 64)

    def message(self) -> tuple[int, bytes, int, int, int, int]:
        command, size, dtype, count, one, two = HEADER.unpack(self._exactly(16))
        return command, self._exactly(size), dtype, count, one, two

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            assert chunk, "the server closed the connection"
            data += chunk
        return data


def test_a_channel_that_is_cleared_without_cancelling_its_monitors_ends_no_others(house: House) -> None:
    house.read("ai", 1.0)
    with Raw(house) as raw:
        first, second = raw.create("ai", 1), raw.create("long", 2)
        raw.subscribe(first, 1)
        raw.subscribe(second, 2)
        raw.clear(first)
        time.sleep(0.2)
        house.read("ai", 2.0)
        house.read("long", 4000)
        numbers = []
        while 4000 not in numbers:
            command, body, _, _, _, subscription = raw.message()
            if command == EVENT_ADD and subscription == 2:
                numbers.append(struct.unpack_from(">d", body)[0])


@pytest.mark.parametrize("dbr", [35, 36])
def test_an_acknowledged_alarm_is_never_taken_for_a_value(house: House, dbr: int) -> None:
    house.puts.clear()
    with Raw(house) as raw:
        assert raw.write_notify("bo", 2.0, dbr) == 1
    assert house.puts == []


def test_a_put_before_the_channel_is_cleared_is_carried_out(house: House) -> None:
    house.puts.clear()
    with Raw(house) as raw:
        sid = raw.create("ao")
        raw.write_and_clear(sid, 44.0)
        until(lambda: house.puts == [("ao", 44.0)])


def test_a_new_subscriber_gets_the_value_of_now(house: House) -> None:
    record = house.records["ai"]
    record.configure(replace(record.point, mdel=10.0, adel=10.0))
    house.read("ai", 0.0)
    with Raw(house) as raw:
        raw.subscribe(raw.create("ai", 1), 1)
        assert struct.unpack_from(">d", raw.update())[0] == 0.0
        house.read("ai", 4.0)  # inside the deadband: nothing is sent
        raw.subscribe(raw.create("ai", 2), 2)
        assert struct.unpack_from(">d", raw.update())[0] == 4.0
    record.configure(replace(record.point, mdel=0.0, adel=0.0))


def test_a_text_that_channel_access_cannot_carry_holds_up_nothing(house: House, ca: Client) -> None:
    ca.monitor(house.prefix + "lsi")
    house.read("lsi", "serial \u4e2d")
    house.read("ai", 7.5)
    assert ca.get(house.prefix + "lsi") == "serial ?"
    assert ca.get(house.prefix + "ai") == 7.5


def test_a_long_unit_is_cut_to_what_the_protocol_carries(house: House, ca: Client) -> None:
    record = house.records["long"]
    record.configure(replace(record.point, egu="fortnights"))
    assert ca.get(house.prefix + "long", format=aioca.FORMAT_CTRL).units == "fortnig"


def test_a_record_of_another_type_under_the_name_reaches_the_clients_of_the_old_one(house: House, ca: Client) -> None:
    old = house.records["mbbi"]
    house.read("mbbi", 1)
    with Raw(house) as raw:
        raw.subscribe(raw.create("mbbi.VAL"))
        record = house.records["mbbi"] = Record(old.name, Point(name="mbbi", rtyp=RecordType.ai))
        house.loop.call_soon_threadsafe(house.server.add, record, house)
        with pytest.raises((AssertionError, OSError)):  # the connection is cut, for the client to come back
            raw.read_to_the_end()
    house.read("mbbi", 2.5)
    with Raw(house) as raw:
        raw.subscribe(raw.create("mbbi.VAL"))
        assert struct.unpack_from(">d", raw.update())[0] == 2.5


def test_more_subscriptions_than_caprotos_queue_are_served(house: House) -> None:
    house.read("ai", 0.0)
    with Raw(house) as raw:
        sid = raw.create("ai")
        for number in range(1, 12_001):
            raw.subscribe(sid, number)
        for _ in range(12_000):
            raw.update()
        house.read("ai", 1.0)
        assert {struct.unpack_from(">d", raw.update())[0] for _ in range(12_000)} == {1.0}


def test_a_client_that_does_not_read_misses_the_old_gets_the_newest_and_holds_up_nobody(
    house: House, ca: Client
) -> None:
    updates = ca.monitor(house.prefix + "ao")
    with Raw(house, receive_buffer=4096) as raw:
        sid = raw.create("ai")
        for number in range(1, 2000):
            raw.subscribe(sid, number)
        client = next(client for client in house.server.clients if len(client.channels) == 1)
        for number in range(400):
            house.read("ai", float(number))
        until(lambda: client.blocked)
        ca.put(house.prefix + "ao", 33.0)
        until(lambda: float(updates[-1]) == 33.0)
        assert client.transport.get_write_buffer_size() < 2 * WAITING
        house.read("ai", -5.0)
        newest: dict[int, float] = {}
        while len(newest) < 1999 or set(newest.values()) != {-5.0}:
            command, body, *_, number = raw.message()
            if command == EVENT_ADD:
                newest[number] = struct.unpack_from(">d", body)[0]
        assert not client.blocked


def test_a_client_that_speaks_garbage_harms_nobody_and_is_no_traceback(house: House, ca: Client, caplog) -> None:
    with Raw(house) as raw:
        raw.create("ai")
        raw.garbage()
        time.sleep(0.2)
    with Raw(house) as raw:
        raw.write_cut_short("bo")
        time.sleep(0.2)
    assert "Traceback" not in caplog.text
    assert ca.get(house.prefix + "ai", format=aioca.FORMAT_TIME).ok


def test_clients_and_channels_are_counted(house: House) -> None:
    before = house.server.load
    with Raw(house) as raw:
        raw.create("ai", 1)
        raw.create("ao", 2)
        until(lambda: house.server.load[:2] == (before[0] + 1, before[1] + 2))
    until(lambda: house.server.load == before)


def test_a_refusal_is_the_records(house: House) -> None:
    with pytest.raises(Refused):
        house.do(house.put(house.records["ao"], 61.0))
