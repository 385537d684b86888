"""Faults of the program itself, planted at each place: they cost nobody anything but the one value concerned."""

from __future__ import annotations

import asyncio
import logging
import math
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import aioca
import numpy as np
import pytest

from drivers.base import Array, Point, RecordType, Value
from ioc import faults
from ioc.block import Block
from ioc.ca import dbr, server, view
from ioc.ca.filters import FilteredView
from ioc.ca.message import (
    CREATE_CHAN,
    CREATE_CHAN_FAIL,
    ERROR,
    EVENT_ADD,
    GET_FAIL,
    HEADER,
    NORMAL,
    NOT_FOUND,
    PUT_FAIL,
    READ,
    READ_NOTIFY,
    SEARCH,
    WRITE,
    WRITE_NOTIFY,
)
from ioc.ca.subscription import Subscription
from ioc.ca.updates.frames import Frames
from ioc.ca.view import FieldView, View
from ioc.record import ALARM, LOG, VALUE, Record
from tests.client import Client
from tests.small_ioc import Raw, SmallIoc, search, until


class Unspeakable(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise ValueError("no text")


class Monster:
    """A value that fails at whatever is done with it."""

    def _fail(self, *_: object) -> Any:
        raise ZeroDivisionError("a monster")

    __float__ = __int__ = __index__ = __bool__ = __str__ = __repr__ = __len__ = __iter__ = _fail
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __abs__ = __sub__ = _fail
    __hash__ = object.__hash__


class Fault:
    """A function that fails for one record while ``on``."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str, error: type[Exception]) -> None:
        self.on = False
        self._record: Record | None = None
        before = getattr(owner, name)

        def fail(subject: Any, *arguments: Any) -> Any:
            at = next(
                (each for each in (subject, *arguments) if hasattr(each, "record") or hasattr(each, "view")), None
            )
            record = getattr(getattr(at, "view", at), "record", None)
            if self.on and record is self._record:
                raise error("planted")
            return before(subject, *arguments)

        patch.setattr(owner, name, fail)

    def of(self, record: Record) -> Fault:
        self._record = record
        return self


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was logged before."""
    monkeypatch.setattr(faults, "_seen", set())


@pytest.fixture(autouse=True)
def settled(small_ioc: SmallIoc) -> Iterator[None]:
    """The records that tests use are as they were at the beginning."""
    points = {name: record.point for name, record in small_ioc.records.items()}
    for name in ("ai", "long"):
        small_ioc.read(name, 0)
    yield
    for name, record in small_ioc.records.items():
        record.configure(points[name])


# DBR types that between them use all parts of a value: plain, as text, with time, and with all properties
TYPES = (dbr.DOUBLE, dbr.STRING, 14, dbr.TIME_DOUBLE, 34, 37)
PLACES = {
    "values": (View, "values"),
    "values_for": (View, "values_for"),
    "text": (View, "text"),
    "alarm": (View, "alarm"),
    "stamp": (View, "stamp"),
    "properties": (View, "properties"),
    "encode": (dbr, "encode"),
    "frame": (Subscription, "frame"),
}


class Talk(Raw):
    """A client with a well channel that has to go on, whatever happens to the others."""

    def __init__(self, small_ioc: SmallIoc) -> None:
        super().__init__(small_ioc)
        self._small_ioc = small_ioc
        self.well = self.create("long", 77)
        self.subscribe(self.well, 77)
        self.answer(EVENT_ADD, 77)

    def request(self, command: int, dtype: int, count: int, first: int, second: int, payload: bytes = b"") -> None:
        self.say(HEADER.pack(command, len(payload), dtype, count, first, second) + payload)

    def monitor(self, sid: int, number: int, dtype: int, count: int = 0) -> None:
        self.request(EVENT_ADD, dtype, count, sid, number, struct.pack(">12xHH", VALUE | LOG | ALARM, 0))

    def read(self, sid: int, dtype: int, count: int = 0) -> tuple[int, bytes, int]:
        self.request(READ_NOTIFY, dtype, count, sid, 4711)
        return self.answer(READ_NOTIFY, 4711)

    def goes_on(self, value: float) -> None:
        """The well channel is updated with this value."""
        while self.number(self.answer(EVENT_ADD, 77)[1]) != value:
            pass


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "internal error" in record.getMessage()]


@pytest.mark.parametrize("error", [ZeroDivisionError, RecursionError, UnicodeError, Unspeakable])
@pytest.mark.parametrize("place", PLACES)
def test_a_fault_of_one_value_costs_nobody_else_anything(
    small_ioc: SmallIoc,
    ca: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: str,
    error: type[Exception],
) -> None:
    fault = Fault(monkeypatch, *PLACES[place], error).of(small_ioc.records["ai"])
    seen = ca.monitor(small_ioc.prefix + "long")
    with Talk(small_ioc) as own, Talk(small_ioc) as other:
        sid = own.create("ai", 5)
        for dtype in TYPES:
            own.monitor(sid, 100 + dtype, dtype)
        fault.on = True
        for dtype in TYPES:
            own.monitor(sid, 200 + dtype, dtype)
        for number in range(1, 21):
            small_ioc.read("ai", float(number))
            small_ioc.read("long", number)
        for client in (own, other):
            client.goes_on(20)
        until(lambda: float(seen[-1]) == 20)
        statuses = {own.read(sid, dtype)[0] for dtype in TYPES}
        assert statuses <= {NORMAL, GET_FAIL}
        assert (GET_FAIL in statuses) == (place != "frame")
        own.request(READ, dbr.STRING, 1, sid, 8)
        while own.message()[0] not in {READ, ERROR}:
            pass
        assert own.create("ai", 6)
        assert own.write_notify("ai", 1.0) == 376  # as ever: it is an input
        lines = said(caplog)
        assert lines
        assert len(lines) == len(set(lines)) <= 3
        fault.on = False
        small_ioc.read("ai", 7.5)
        for number in (100 + dbr.DOUBLE, 200 + dbr.DOUBLE):  # also the subscription that began in the fault
            while (found := own.answer(EVENT_ADD, number))[0] != NORMAL or own.number(found[1]) != 7.5:
                pass
        assert all(own.read(sid, dtype)[0] == NORMAL for dtype in TYPES)
    assert float(ca.get(small_ioc.prefix + "ai")) == 7.5


@pytest.mark.parametrize("dtype", [dbr.TIME_DOUBLE, dbr.DOUBLE, dbr.STRING, 34])
@pytest.mark.parametrize("value", [Monster(), None, "no number", b"x", 1j], ids=lambda value: type(value).__name__)
def test_a_value_that_no_type_can_express_is_told_as_not_read(small_ioc: SmallIoc, value: Any, dtype: int) -> None:
    """Whatever stands in a record, however it came there."""
    record = small_ioc.records["ai"]

    async def plant() -> None:
        record.val = value
        small_ioc.server.post([(record, VALUE), (small_ioc.records["long"], 0)])

    with Talk(small_ioc) as own, Talk(small_ioc) as other:
        sid = own.create("ai", 5)
        own.monitor(sid, 1, dtype, 1)
        own.answer(EVENT_ADD, 1)
        small_ioc.do(plant())
        status = own.answer(EVENT_ADD, 1)[0]
        assert status == own.read(sid, dtype, 1)[0]
        assert status == GET_FAIL or dtype == dbr.STRING
        small_ioc.read("long", 9)
        own.goes_on(9)
        other.goes_on(9)
        small_ioc.read("ai", 2.5)
        assert own.answer(EVENT_ADD, 1)[0] == NORMAL


@pytest.mark.parametrize("command", [READ_NOTIFY, READ])
def test_a_read_that_waits_for_a_put_is_answered_even_if_it_fails(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch, command: int
) -> None:
    release = asyncio.Event()

    async def put(_record: Record, _value: Any) -> None:
        await release.wait()

    monkeypatch.setattr(small_ioc, "put", put)
    fault = Fault(monkeypatch, View, "values", ZeroDivisionError).of(small_ioc.records["ao"])
    with Talk(small_ioc) as own:
        sid = own.create("ao", 5)
        own.request(WRITE, dbr.DOUBLE, 1, sid, 1, struct.pack(">d", 1.0))
        own.request(command, dbr.DOUBLE, 1, sid, 2)
        fault.on = True
        small_ioc.loop.call_soon_threadsafe(release.set)
        if command == READ_NOTIFY:
            assert own.answer(READ_NOTIFY, 2)[0] == GET_FAIL
        else:
            assert own.answer(ERROR, GET_FAIL)[0] == 5  # the client's number of the channel
        small_ioc.read("long", 3)
        own.goes_on(3)


def _raise(*_: object) -> Any:
    raise ZeroDivisionError("planted")


async def _raise_later(*_: object) -> None:
    await asyncio.sleep(0)
    raise Unspeakable


async def _give_up(*_: object) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    "put", [_raise, _raise_later, _give_up, lambda *_: 5], ids=["now", "later", "cancelled", "junk"]
)
def test_a_put_that_ends_in_a_fault_is_answered_as_failed(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, put: Callable[..., Any]
) -> None:
    monkeypatch.setattr(small_ioc, "put", put)
    with Talk(small_ioc) as own:
        sid = own.create("ao", 5)
        for number in (1, 2, 3):
            own.request(WRITE_NOTIFY, dbr.DOUBLE, 1, sid, number, struct.pack(">d", 1.0))
            assert own.answer(WRITE_NOTIFY, number)[0] == PUT_FAIL
        own.request(WRITE, dbr.DOUBLE, 1, sid, 4, struct.pack(">d", 1.0))
        status, body, _ = own.answer(ERROR, PUT_FAIL)
        assert status == 5
        assert (small_ioc.prefix + "ao").encode() in body
        assert own.read(sid, dbr.DOUBLE)[0] == NORMAL
        assert len(said(caplog)) <= 1


@pytest.mark.parametrize("act", ["set", "alarm"])
def test_a_field_that_fails_costs_no_other_field_its_update(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    fault = Fault(monkeypatch, FieldView, "values", ZeroDivisionError).of(small_ioc.records["ai"])

    async def post() -> None:
        record = small_ioc.records["ai"]
        if act == "set":
            small_ioc.server.post_field(record, "SEVR")
        else:
            small_ioc.server.post([(record, VALUE | ALARM), (small_ioc.records["long"], 0)])

    with Talk(small_ioc) as own, Talk(small_ioc) as other:
        sid, value = own.create("ai.SEVR", 5), other.create("ai", 6)
        own.monitor(sid, 1, dbr.LONG, 1)
        other.monitor(value, 1, dbr.DOUBLE, 1)
        own.answer(EVENT_ADD, 1)
        other.answer(EVENT_ADD, 1)
        fault.on = True
        small_ioc.do(post())
        assert own.answer(EVENT_ADD, 1)[0] == GET_FAIL
        if act == "alarm":
            assert other.answer(EVENT_ADD, 1)[0] == NORMAL
        small_ioc.read("long", 4)
        own.goes_on(4)
        fault.on = False
        small_ioc.do(post())
        assert own.answer(EVENT_ADD, 1)[0] == NORMAL


def test_a_filter_that_fails_lets_pass_and_costs_nobody_else_anything(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fault = Fault(monkeypatch, FilteredView, "passes", ZeroDivisionError).of(small_ioc.records["ai"])
    with Talk(small_ioc) as own, Talk(small_ioc) as other:
        own.monitor(own.create('ai.VAL{"dbnd":{"abs":5}}', 5), 1, dbr.DOUBLE, 1)
        other.monitor(other.create("ai", 5), 1, dbr.DOUBLE, 1)
        own.answer(EVENT_ADD, 1)
        fault.on = True
        for number in (1.0, 2.0, 3.0):
            small_ioc.read("ai", number)
            assert own.number(own.answer(EVENT_ADD, 1)[1]) == number
        while other.number(other.answer(EVENT_ADD, 1)[1]) != 3.0:
            pass
        assert len(said(caplog)) == 1
        fault.on = False
        for number in (4.0, 5.0, 20.0):
            small_ioc.read("ai", number)
        assert [own.number(own.answer(EVENT_ADD, 1)[1]) for _ in range(2)] == [4.0, 20.0]


def test_a_block_that_fails_for_one_client_is_sent_to_it_one_by_one_and_to_the_others(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[Any] = []
    send = Frames.send

    def fail(frames: Frames, block: Block, masks: Any) -> None:
        if frames._connection in broken:
            raise ZeroDivisionError("planted")
        send(frames, block, masks)

    monkeypatch.setattr(Frames, "send", fail)
    fault = Fault(monkeypatch, View, "values", ZeroDivisionError).of(small_ioc.records["ai"])

    async def make() -> Block:
        return Block([small_ioc.records["ai"], small_ioc.records["ao"]])

    async def post(value: float) -> None:
        small_ioc.server.post_block(block, block.process(np.array([value, value + 1]), time.time()))

    async def dissolve() -> None:
        block.dissolve()

    small_ioc.read("ao", 1.0)
    block = small_ioc.do(make())
    try:
        with Talk(small_ioc) as own, Talk(small_ioc) as other:
            for client in (own, other):
                ai, ao = client.create("ai", 1), client.create("ao", 2)
                for number, (sid, dtype) in enumerate([(ai, 20), (ao, 20), (ai, 6), (ao, 6)]):
                    client.monitor(sid, number, dtype, 1)
                    client.answer(EVENT_ADD, number)
            broken.append(own.client)
            fault.on = True
            small_ioc.do(post(11.0))
            for client in (own, other):
                assert client.answer(EVENT_ADD, 0)[:1] == (NORMAL,)
                assert client.answer(EVENT_ADD, 1)[:1] == (NORMAL,)
                assert client.answer(EVENT_ADD, 2)[:1] == (GET_FAIL,)
                assert client.number(client.answer(EVENT_ADD, 3)[1]) == 12.0
    finally:
        small_ioc.do(dissolve())


def test_a_name_that_fails_is_not_found_and_the_others_are(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(value: View, field: str) -> View:
        if field == "EGU":
            raise OSError("planted")
        return view.view_of(value, field)

    monkeypatch.setattr(server, "view_of", fail)
    name = small_ioc.prefix + "ai.EGU"
    padded = name.encode() + bytes(8 - len(name) % 8)
    for _ in range(5):
        assert search(small_ioc, name) is None
    assert search(small_ioc, small_ioc.prefix + "ai.DESC") is not None
    with Talk(small_ioc) as own:
        own.say(HEADER.pack(SEARCH, len(padded), 10, 13, 9, 9) + padded)
        own.answer(NOT_FOUND, 9)
        own.say(HEADER.pack(CREATE_CHAN, len(padded), 0, 0, 9, 13) + padded)
        while own.message()[0] != CREATE_CHAN_FAIL:
            pass
        small_ioc.read("long", 6)
        own.goes_on(6)
    assert len(said(caplog)) == 1


def test_a_view_that_cannot_be_announced_is_told_as_one_that_is_not_there(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FieldView, "writable", property(_raise))
    name = (small_ioc.prefix + "ai.DESC").encode()
    with Talk(small_ioc) as own:
        own.say(
            HEADER.pack(CREATE_CHAN, len(name) + 8 - len(name) % 8, 0, 0, 9, 13) + name + bytes(8 - len(name) % 8)
        )
        command, _, _, _, cid, _ = own.message()
        assert (command, cid) == (CREATE_CHAN_FAIL, 9)
        small_ioc.read("long", 6)
        own.goes_on(6)


def test_a_client_whose_socket_fails_costs_no_other_its_updates(small_ioc: SmallIoc) -> None:
    with Talk(small_ioc) as own, Talk(small_ioc) as other:
        client = own.client
        transport = client.transport
        client.transport = SimpleNamespace(write=_raise, is_closing=lambda: False, abort=transport.abort)  # type: ignore[assignment]
        small_ioc.read("long", 8)
        other.goes_on(8)
        with pytest.raises((AssertionError, OSError)):  # this one is cut off, to come back
            own.read_to_the_end()


def test_beacons_that_fail_do_not_end_the_server(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ioc.ca.network.beacons.addresses", _raise)

    async def send() -> bool:
        beacons = asyncio.create_task(small_ioc.server._context.broadcast_beacon_loop())
        while not said(caplog):
            await asyncio.sleep(0)
        running = not beacons.done()
        beacons.cancel()
        return running

    assert small_ioc.do(send())


def test_a_record_that_cannot_be_served_costs_no_other_its_place(
    small_ioc: SmallIoc, caplog: pytest.LogCaptureFixture
) -> None:
    names = small_ioc.server.names
    small_ioc.server.add(Record(small_ioc.prefix + "\u4e2d", Point(name="x", rtyp=RecordType.ai)), small_ioc)
    assert small_ioc.server.names == names
    assert len(said(caplog)) == 1


# ---- values of the troublesome sort, in every type ----

VALUES: list[tuple[str, Any]] = [
    *(("ai", value) for value in (math.nan, math.inf, -math.inf, 1e300, -0.0, 10**400)),
    *(("long", value) for value in (2**31, -(2**63), math.nan, math.inf, 1e300, 2.7)),
    *(("mbbi", value) for value in (-1, 3, 15, 16, 70000, 1.5)),
    *(("bo", value) for value in (-1, 2, 70000)),
    *(("text", value) for value in ("", "\u4e2d", "x" * 100, "\ud800", "a\0b")),
    *(("lsi", value) for value in ("", "x" * 65535, "\u4e2d" * 70000, "\ud800")),
    *(("wave", value) for value in ((), (math.nan,), (1e300,) * 6, ("a",), (1.0,) * 9, 5.0)),
    *(("one", value) for value in ((), (math.nan,), (1e300,))),
]
SOUND: dict[str, Any] = {"text": "", "lsi": "", "wave": (0.0,), "one": (0.0,)}


@pytest.mark.parametrize(("name", "value"), VALUES, ids=lambda value: repr(value)[:20])
def test_a_troublesome_value_is_answered_in_every_type_and_harms_nobody(
    small_ioc: SmallIoc, caplog: pytest.LogCaptureFixture, name: str, value: Any
) -> None:
    names = [name, *([name + ".VAL$"] if name in {"text", "lsi"} else [])]
    with Talk(small_ioc) as own, Talk(small_ioc) as other:
        sids = [own.create(each, 30 + at) for at, each in enumerate(names)]
        for sid in sids:
            for dtype in range(39):
                own.monitor(sid, 1000 * sid + dtype, dtype, dtype % 3)
        small_ioc.read(name, value)
        for sid in sids:
            for dtype in range(39):
                for count in (0, 1, 3, 0xFFFF):
                    status, _, sent = own.read(sid, dtype, count)
                    assert status in {NORMAL, GET_FAIL}
                    assert sent <= count or not count
        small_ioc.read("long", 12)
        own.goes_on(12)
        other.goes_on(12)
        small_ioc.read(name, SOUND.get(name, 0))
        for sid in sids:
            assert own.read(sid, dbr.STRING, 1)[0] == NORMAL


@pytest.mark.parametrize(("value", "number"), [(math.nan, -(2**31)), (1e300, -(2**31)), (-1.5, -1)])
def test_a_number_beyond_the_integers_is_the_most_negative_one(
    small_ioc: SmallIoc, ca: Client, value: float, number: int
) -> None:
    small_ioc.read("ai", value)
    assert int(ca.get(small_ioc.prefix + "ai", datatype=aioca.DBR_LONG)) == number


@pytest.mark.parametrize("form", [aioca.FORMAT_RAW, aioca.FORMAT_TIME])
def test_an_empty_array_is_an_update_and_not_the_end_of_the_subscription(
    small_ioc: SmallIoc, ca: Client, form: Any
) -> None:
    small_ioc.read("wave", ())
    updates = ca.monitor(small_ioc.prefix + "wave", format=form)
    assert [list(each) for each in updates] == [[]]
    small_ioc.read("wave", (1.0,))
    small_ioc.read("wave", ())
    until(lambda: len(updates) == 3)
    assert [np.atleast_1d(each).tolist() for each in updates] == [[], [1.0], []]


def test_an_array_that_gets_more_room_while_subscribed_is_whole_for_whoever_asks(small_ioc: SmallIoc) -> None:
    record = small_ioc.records["wave"]
    with Talk(small_ioc) as own:
        own.monitor(own.create("wave", 5), 1, dbr.DOUBLE, 0)
        own.answer(EVENT_ADD, 1)
        record.configure(replace(record.point, nelm=9))
        small_ioc.read("wave", tuple(map(float, range(9))))
        assert own.answer(EVENT_ADD, 1)[::2] == (NORMAL, 9)
        assert own.read(own.create("wave", 6), dbr.DOUBLE, 9)[::2] == (NORMAL, 9)


@pytest.mark.parametrize("rtyp", list(RecordType))
def test_a_record_whose_point_takes_another_type_while_subscribed_harms_nobody(
    small_ioc: SmallIoc, rtyp: RecordType
) -> None:
    record = small_ioc.records["ai"]
    with Talk(small_ioc) as own:
        sid, field = own.create("ai", 5), own.create("ai.HIGH", 6)
        for dtype in range(39):
            own.monitor(sid, dtype, dtype, 1)
            own.monitor(field, 100 + dtype, dtype, 1)
        record.configure(replace(record.point, rtyp=rtyp, states=("a", "b")))
        values: list[Value | Array] = [1.0, 1, "x", (1.0, 2.0)]
        for value in values:
            small_ioc.read("ai", value)
            assert {own.read(each, dtype, 1)[0] for each in (sid, field) for dtype in range(39)} <= {NORMAL, GET_FAIL}
        small_ioc.read("long", 14)
        own.goes_on(14)


def test_a_fault_is_logged_once_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    for name in ("one", "one", "two"):
        try:
            _raise()
        except ZeroDivisionError as error:
            faults.log_once("a test", name, error)
    assert said(caplog) == [f"internal error in a test of {name}; said once" for name in ("one", "two")]
    assert caplog.text.count("Traceback") == 2
