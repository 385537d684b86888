"""What others had sent before an Off was put is not carried out behind it, however long it waits for its turn."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ioc.ca.connection import Connection
from ioc.ca.message import READ_NOTIFY, WRITE, WRITE_NOTIFY
from ioc.ca.overtaken import Overtaken
from tests.ioc.ca.test_fuzz import frame
from tests.ioc.test_fields import Stand
from tests.small_ioc import Raw, until

LONG = 5


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    yield stand
    stand.close()


def reads(sid: int, number: int) -> bytes:
    return b"".join(frame(READ_NOTIFY, b"", LONG, 1, sid, ioid) for ioid in range(number))


def switched(stand: Stand) -> list[object]:
    return [each for each in stand.driver.log if each in {("Safe", 1), ("Safe", 0)}]


def switch(number: int, sid: int, value: int, command: int = WRITE) -> bytes:
    return frame(command, struct.pack(">i4x", value), LONG, 1, sid, number)


@pytest.mark.parametrize("callback", [False, True])
def test_an_on_that_was_sent_before_the_off_of_another_client_does_not_come_after_it(
    stand: Stand, callback: bool
) -> None:
    with Raw(stand) as busy, Raw(stand) as other:
        sid = busy.create("PS:Safe", 1)
        off = other.create("PS:Safe", 2)
        busy.say(reads(sid, 20_000) + switch(90_000, sid, 1, WRITE_NOTIFY if callback else WRITE))
        time.sleep(0.02)
        other.say(switch(90_001, off, 0, WRITE_NOTIFY))
        assert other.answer(WRITE_NOTIFY, 90_001)[0] == 1
        for ioid in range(20_000):
            busy.answer(READ_NOTIFY, ioid)
        time.sleep(0.2)
        assert switched(stand) == [("Safe", 0)]
        busy.say(switch(90_002, sid, 1))
        until(lambda: ("Safe", 1) in stand.driver.log)


def test_an_off_that_had_to_wait_itself_does_not_let_an_on_of_before_come_after_it(stand: Stand) -> None:
    with Raw(stand) as busy, Raw(stand) as waits, Raw(stand) as other:
        on, late, off = busy.create("PS:Safe", 1), waits.create("PS:Safe", 2), other.create("PS:Safe", 3)
        waits.say(reads(late, 10_000) + switch(90_000, late, 0, WRITE_NOTIFY))
        busy.say(reads(on, 20_000) + switch(90_001, on, 1, WRITE_NOTIFY))
        time.sleep(0.02)
        other.say(switch(90_002, off, 0, WRITE_NOTIFY))
        for client, number in ((other, 90_002), (waits, 90_000)):
            assert client.answer(WRITE_NOTIFY, number)[0] == 1
        assert busy.answer(WRITE_NOTIFY, 90_001)[0] != 1
        assert set(switched(stand)) == {("Safe", 0)}


def test_what_had_come_before_an_off_counts_as_before_it_however_long_it_waits() -> None:
    overtaken, minute_ago = Overtaken(), time.monotonic() - 60
    overtaken.note(0, 40, 60, minute_ago)
    overtaken.note(0, 40, 90, minute_ago + 1)
    assert overtaken.asked(99) == minute_ago
    assert overtaken.asked(100) == minute_ago + 1
    assert overtaken.asked(130) is None


def test_what_may_have_waited_at_the_client_counts_as_before_the_last_off_too() -> None:
    overtaken, now = Overtaken(), time.monotonic()
    overtaken.note(0, 0, 100_000, now - 6)
    overtaken.note(200_000, 0, 100_000, now - 1)
    assert overtaken.asked(400_000) == now - 1


def test_what_may_have_waited_at_the_client_counts_as_before_the_off_while_all_the_room_here_is_taken() -> None:
    overtaken, minute_ago = Overtaken(), time.monotonic() - 60
    overtaken.note(0, 0, 100_000, minute_ago)
    overtaken.comes(1 << 15)
    assert overtaken.asked(4_000_000) == minute_ago
    assert overtaken.asked(5_000_000) is None


def test_who_sends_little_at_a_time_has_sent_all_that_waited_after_some_seconds() -> None:
    overtaken, minute_ago = Overtaken(), time.monotonic() - 60
    overtaken.note(0, 0, 100_000, minute_ago)
    overtaken.comes(1000)
    assert overtaken.asked(200_000) is None


def test_a_pause_of_the_server_is_none_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ioc.ca.overtaken._IDLE", 0.0)
    overtaken, now = Overtaken(), time.monotonic()
    overtaken.note(0, 0, 100_000, now)
    overtaken.hears()
    time.sleep(0.01)
    overtaken.comes(1 << 15)
    assert overtaken.asked(200_000) == now
    overtaken.hears()
    time.sleep(0.01)
    overtaken.comes(1000)
    assert overtaken.asked(200_000) is None


def test_an_on_that_waited_at_its_client_for_long_does_not_come_after_the_off_of_another(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ioc.ca.overtaken._LONGEST", 0.1)
    with Raw(stand, receive_buffer=1 << 22) as busy, Raw(stand) as other:
        sid = busy.create("PS:Safe", 1)
        off = other.create("PS:Safe", 2)
        asked = reads(sid, 80_000) + switch(900_000, sid, 1, WRITE_NOTIFY)
        listener = threading.Thread(target=busy.say, args=[asked])
        listener.start()
        time.sleep(0.1)
        other.say(switch(900_001, off, 0, WRITE_NOTIFY))
        assert other.answer(WRITE_NOTIFY, 900_001)[0] == 1
        for ioid in range(80_000):
            busy.answer(READ_NOTIFY, ioid)
        assert busy.answer(WRITE_NOTIFY, 900_000)[0] == 160
        listener.join()
        assert switched(stand) == [("Safe", 0)]


def test_a_client_that_reads_all_the_time_leaves_nothing_behind() -> None:
    overtaken, now = Overtaken(), time.monotonic()
    for number in range(10_000):
        overtaken.note(number * 1000, 16, 100, now + number / 100)
    assert len(overtaken._marks) == 1


def test_an_off_is_carried_out_while_other_clients_are_just_connecting(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = stand.loop.connect_accepted_socket

    async def slowly(made: Callable[[], asyncio.BaseProtocol], taken: socket.socket) -> object:
        protocol = made()
        await asyncio.sleep(0.5)
        return await connect(lambda: protocol, taken)

    with Raw(stand) as client:
        off = client.create("PS:Safe", 1)
        monkeypatch.setattr(stand.loop, "connect_accepted_socket", slowly)
        with socket.create_connection(("127.0.0.1", stand.server.port)):
            time.sleep(0.1)
            client.say(switch(90_000, off, 0, WRITE_NOTIFY))
            assert client.answer(WRITE_NOTIFY, 90_000)[0] == 1
            until(lambda: len(stand.server.clients) == 2)


def test_an_off_is_carried_out_whatever_goes_wrong_with_other_clients(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_self: Connection, _at: float) -> None:
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr(Connection, "overtake", fails)
    with Raw(stand) as client, Raw(stand):
        client.say(switch(90_000, client.create("PS:Safe", 1), 0, WRITE_NOTIFY))
        assert client.answer(WRITE_NOTIFY, 90_000)[0] == 1
    assert switched(stand) == [("Safe", 0)]
