"""Puts that wait for a client to take its answers, or for the IOC: what comes late is not carried out, but an Off."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from drivers.base import Array, Point, RecordType, Value
from ioc.ca import lateness
from ioc.ca.message import ERROR, PUT_FAIL, READ_NOTIFY, WRITE, WRITE_NOTIFY
from ioc.record import Record
from tests.ioc.ca.test_fuzz import frame
from tests.small_ioc import HEADER, Raw, SmallIoc, until

POINTS = (
    Point(name="ao", rtyp=RecordType.ao, drvl=0.0, drvh=60.0),
    Point(name="Pw", rtyp=RecordType.bo, states=("Off", "On"), safe=0),
    Point(name="lsi", rtyp=RecordType.lsi),
)
LATE = 0.3
CHAR, DOUBLE, LONG, CTRL_DOUBLE = 4, 6, 5, 34
PUT_ACKS = 36


class Stopped(Raw):
    """A client that asks for 15 MB and takes none of them, while LATE passes."""

    def __init__(self, small_ioc: SmallIoc) -> None:
        super().__init__(small_ioc, receive_buffer=4096)
        self.text, self.volts, self.switch = (self.create(name, 3) for name in ("lsi.VAL$", "ao", "Pw"))

    def asks(self, *puts: bytes) -> None:
        """Ask, and put something behind that in the same segment."""
        self.say(b"".join(frame(READ_NOTIFY, b"", CHAR, 0, self.text, ioid) for ioid in range(60)) + b"".join(puts))
        until(lambda: self.client._unread)

    def put(self, value: float, command: int = WRITE, number: int = 100) -> bytes:
        return frame(command, struct.pack(">d", value), DOUBLE, 1, self.volts, number)

    def switched(self, value: int) -> bytes:
        return frame(WRITE, struct.pack(">i4x", value), LONG, 1, self.switch, 101)

    def is_killed(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def takes_the_answers(self) -> None:
        for ioid in range(60):
            self.answer(READ_NOTIFY, ioid)


@pytest.fixture
def small_ioc(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallIoc]:
    monkeypatch.setattr(lateness, "LATE", LATE)
    small_ioc = SmallIoc(POINTS)
    small_ioc.read("lsi", "x" * 200_000)
    yield small_ioc
    small_ioc.close()


def test_of_a_client_that_is_killed_while_stopped_only_the_off_is_carried_out(small_ioc: SmallIoc) -> None:
    stopped = Stopped(small_ioc)
    stopped.asks(stopped.switched(1), stopped.put(42.0), stopped.switched(0))
    time.sleep(2 * LATE)
    assert small_ioc.puts == []
    stopped.is_killed()
    until(lambda: not small_ioc.server.clients and small_ioc.puts)
    assert small_ioc.puts == [("Pw", 0)]


def test_a_client_that_leaves_soon_has_its_put_carried_out(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lateness, "LATE", 60.0)
    stopped = Stopped(small_ioc)
    stopped.asks(stopped.put(42.0))
    stopped.is_killed()
    until(lambda: small_ioc.puts)
    assert small_ioc.puts == [("ao", 42.0)]


@pytest.mark.parametrize("while_stopped", [False, True])
def test_a_client_that_goes_on_is_told_that_its_put_was_late(small_ioc: SmallIoc, while_stopped: bool) -> None:
    with Stopped(small_ioc) as stopped:
        puts = stopped.put(41.0) + stopped.put(42.0, WRITE_NOTIFY, 102) + stopped.switched(0)
        stopped.asks(*([] if while_stopped else [puts]))
        if while_stopped:  # waits in the kernel, where no time is noted
            stopped.say(puts)
        time.sleep(2 * LATE)
        stopped.takes_the_answers()
        command, body, *_ = stopped.message()
        assert command == ERROR
        assert b"waited too long (for the client to take its answers, or for the IOC)" in body
        assert stopped.answer(WRITE_NOTIFY, 102)[0] == PUT_FAIL
        until(lambda: small_ioc.puts == [("Pw", 0)])
        stopped.say(stopped.put(43.0, WRITE_NOTIFY, 103))
        assert stopped.answer(WRITE_NOTIFY, 103)[0] == 1
    assert small_ioc.puts == [("Pw", 0), ("ao", 43.0)]


@pytest.mark.parametrize("on", [0, 1])
def test_who_takes_the_answers_in_blocks_has_what_it_put_long_before_refused_but_an_off(
    small_ioc: SmallIoc, on: int
) -> None:
    with Stopped(small_ioc) as slow:
        slow.asks(slow.switched(on), slow.put(42.0, WRITE_NOTIFY, 102))
        for ioid in range(60):
            slow.answer(READ_NOTIFY, ioid)
            if ioid % 12 == 0:  # less than what is held, so that each block is awaited for a short time
                time.sleep(0.4 * LATE)
        assert slow.answer(WRITE_NOTIFY, 102)[0] == PUT_FAIL
    assert small_ioc.puts == ([] if on else [("Pw", 0)])


def test_an_alarm_is_not_acknowledged_late(small_ioc: SmallIoc) -> None:
    with Stopped(small_ioc) as stopped:
        stopped.asks(HEADER.pack(WRITE_NOTIFY, 8, PUT_ACKS, 1, stopped.volts, 104) + struct.pack(">H6x", 3))
        time.sleep(2 * LATE)
        stopped.takes_the_answers()
        assert stopped.answer(WRITE_NOTIFY, 104)[0] == PUT_FAIL


def test_what_only_waits_for_its_turn_is_not_late(small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lateness, "LATE", 0.02)
    with Raw(small_ioc) as busy:
        volts = busy.create("ao", 3)
        asked = b"".join(frame(READ_NOTIFY, b"", DOUBLE, 1, volts, ioid) for ioid in range(60_000))
        began = time.monotonic()
        busy.say(asked + frame(WRITE, struct.pack(">d", 42.0), DOUBLE, 1, volts, 100))
        until(lambda: small_ioc.puts)
        assert time.monotonic() > began + 0.05
    assert small_ioc.puts == [("ao", 42.0)]


def test_who_took_no_answers_for_a_moment_and_then_waits_for_its_turn_is_not_late(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = 1.0
    monkeypatch.setattr(lateness, "LATE", late)
    carry_out = small_ioc.put

    async def hold_up(record: Record, value: Value | Array, callback: bool, asked: float | None) -> None:
        await carry_out(record, value, callback, asked)
        if value == 41.0:
            time.sleep(1.5 * late)  # as if many others had their turns

    monkeypatch.setattr(small_ioc, "put", hold_up)
    with Raw(small_ioc) as client:
        text, volts = client.create("lsi.VAL$", 3), client.create("ao", 4)
        much = b"".join(frame(READ_NOTIFY, b"", CHAR, 0, text, ioid) for ioid in range(100))
        turns = b"".join(frame(READ_NOTIFY, b"", CTRL_DOUBLE, 1, volts, ioid) for ioid in range(100, 1_500))
        puts = [frame(WRITE_NOTIFY, struct.pack(">d", value), DOUBLE, 1, volts, 2_000) for value in (41.0, 42.0)]
        client.say(much + puts[0] + turns + puts[1])
        until(lambda: client.client._unread and client.client._answers_wait())
        statuses = [client.answer(WRITE_NOTIFY, 2_000)[0] for _ in puts]
    assert (statuses, small_ioc.puts) == ([1, 1], [("ao", 41.0), ("ao", 42.0)])


@pytest.mark.parametrize("leaves", [False, True])
def test_what_was_put_while_the_ioc_stood_still_is_not_carried_out_but_an_off(
    small_ioc: SmallIoc, monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    monkeypatch.setattr(lateness, "STANDSTILL", 1.5)
    client = Stopped(small_ioc)
    small_ioc.loop.call_soon_threadsafe(time.sleep, 2.0)  # as if the process was stopped
    time.sleep(0.1)
    client.say(client.switched(1) + client.put(42.0, WRITE_NOTIFY, 102) + client.switched(0))
    if leaves:
        client.is_killed()
        until(lambda: small_ioc.puts and not small_ioc.server.clients)
    else:
        assert b"waited too long" in client.message()[1]
        assert client.answer(WRITE_NOTIFY, 102)[0] == PUT_FAIL
        client.say(client.put(43.0, WRITE_NOTIFY, 103))
        assert client.answer(WRITE_NOTIFY, 103)[0] == 1
        client.is_killed()
    assert small_ioc.puts == [("Pw", 0), *([] if leaves else [("ao", 43.0)])]
