"""The log of puts: who, from where, what was there before, and how it ended."""

from __future__ import annotations

import getpass
import logging
import struct
from collections.abc import Iterator

import pytest

from drivers.base import Array, DeviceError, LinkDown, NoReply, NotShown, Refused
from ioc.ca import dbr
from ioc.ca.puts import putlog
from tests.client import Client
from tests.small_ioc import HEADER, Raw, SmallIoc, until

CLIENT_NAME, HOST_NAME, WRITE = 20, 21, 4


class Lines:
    """What the log of puts has told of one server's records, without their prefix."""

    def __init__(self, caplog: pytest.LogCaptureFixture, prefix: str) -> None:
        self._caplog = caplog
        self._prefix = prefix

    def __call__(self) -> list[str]:
        told = [each.getMessage() for each in self._caplog.records if each.name == "rackioc.puts"]
        return [each.replace(self._prefix, "") for each in told]


@pytest.fixture
def small_ioc() -> Iterator[SmallIoc]:
    """A server for each test: of a burst the newest put is told a second later, when it is another test's turn."""
    small_ioc = SmallIoc()
    yield small_ioc
    small_ioc.close()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, small_ioc: SmallIoc) -> Iterator[Lines]:
    with caplog.at_level(logging.INFO, "rackioc.puts"):
        yield Lines(caplog, small_ioc.prefix)


def named(raw: Raw, user: bytes, host: bytes) -> None:
    for command, name in ((CLIENT_NAME, user), (HOST_NAME, host)):
        padded = name + bytes(8 - len(name) % 8)
        raw.say(HEADER.pack(command, len(padded), 0, 0, 0, 0) + padded)


def write(raw: Raw, sid: int, *values: float) -> None:
    raw.say(b"".join(HEADER.pack(WRITE, 8, 6, 1, sid, 5) + struct.pack(">d", value) for value in values))


def test_a_put_is_told_with_user_computer_and_the_value_before(small_ioc: SmallIoc, lines: Lines) -> None:
    small_ioc.read("ao", 20.0)
    with Raw(small_ioc) as raw:
        named(raw, b"anna", b"control-room")
        raw.write_notify("ao", 30.0000625)
        until(lines)
    assert lines() == ["anna at control-room (127.0.0.1) put 30.0000625 to ao (was 20)"]


def test_a_put_is_decoded_once_for_the_instrument_and_the_log(
    small_ioc: SmallIoc, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = dbr.decode

    def counted(dbr_type: int, count: int, payload: bytes) -> Array:
        decoded.append(count)
        return decode(dbr_type, count, payload)

    monkeypatch.setattr(dbr, "decode", counted)
    with Raw(small_ioc) as raw:
        raw.write_notify("ao", 30.0)
        raw.write_notify("ao", 61.0)
        until(lines)
    assert decoded == [1, 1]


def test_a_refused_put_is_told_with_its_reason(small_ioc: SmallIoc, lines: Lines) -> None:
    with Raw(small_ioc) as raw:
        named(raw, b"anna", b"127.0.0.1")
        raw.write_notify("ao", 61.0)
        until(lines)
    (line,) = lines()
    assert line.startswith("anna at 127.0.0.1 put 61 to ao (refused: ")
    assert "DRVH" in line


@pytest.mark.parametrize("error", [NoReply("no answer"), LinkDown("line cut"), NotShown("sent, not shown yet")])
def test_a_put_that_may_have_been_carried_out_is_not_told_as_refused(
    small_ioc: SmallIoc, lines: Lines, monkeypatch: pytest.MonkeyPatch, error: DeviceError
) -> None:
    async def put(*_: object) -> None:
        raise error

    monkeypatch.setattr(small_ioc, "put", put)
    with Raw(small_ioc) as raw:
        raw.write_notify("bo", 1.0)
        until(lines)
    assert lines()[0].endswith(f" put On to bo (failed, it may have been carried out: {error})")


def test_a_number_of_no_state_is_told_as_it_is(small_ioc: SmallIoc, lines: Lines) -> None:
    with Raw(small_ioc) as raw:
        raw.write_notify("bo", 1.5)
        until(lines)
    assert " put 1.5 to bo (refused: " in lines()[0]


def test_what_is_not_a_number_is_spelled_as_everywhere(small_ioc: SmallIoc, lines: Lines) -> None:
    with Raw(small_ioc) as raw:
        raw.write_notify("ao", float("nan"))
        until(lines)
    assert " put NaN to ao (refused: " in lines()[0]


def test_a_put_of_a_client_of_epics_base_is_told_with_the_words_of_the_state(
    small_ioc: SmallIoc, ca: Client, lines: Lines
) -> None:
    small_ioc.read("bo", 0)
    ca.put(small_ioc.prefix + "bo", "On")
    until(lines)
    (line,) = lines()
    assert line.startswith(f"{getpass.getuser()} at ")
    assert line.endswith(" put On to bo (was Off)")


def test_a_flood_is_told_by_its_first_and_its_newest(
    small_ioc: SmallIoc, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(putlog, "BURST", 0.5)
    small_ioc.read("ao", 0.0)
    with Raw(small_ioc) as raw:
        named(raw, b"anna", b"vm")
        sid = raw.create("ao")
        write(raw, sid, *map(float, range(1, 51)))
        until(lambda: len(lines()) == 2)
    first, newest = lines()
    assert first.endswith(" to ao (was 0)")
    assert newest.startswith("anna at vm (127.0.0.1) put 50 to ao (was ")
    assert newest.endswith(" within 0.5 s")


def test_the_second_put_of_two_is_told_alone(
    small_ioc: SmallIoc, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(putlog, "BURST", 0.2)
    small_ioc.read("ao", 0.0)
    with Raw(small_ioc) as raw:
        for value in (1.0, 2.0):
            raw.write_notify("ao", value)
        until(lambda: len(lines()) == 2)
    assert lines()[1] == "somebody at 127.0.0.1 put 2 to ao (was 1)"


def test_puts_of_several_clients_are_told_in_their_order(
    small_ioc: SmallIoc, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(putlog, "BURST", 0.5)
    small_ioc.read("ao", 0.0)
    with Raw(small_ioc) as anna, Raw(small_ioc) as ben, Raw(small_ioc) as carl:
        for client, value in zip((anna, anna, anna, ben, ben, anna, carl, ben), map(float, range(1, 9)), strict=True):
            client.write_notify("ao", value)
        until(lambda: len(lines()) == 7)
    told = [(line.split()[4], line.split("was ")[1]) for line in lines()]
    assert told == [
        ("1", "0)"),
        ("3", "2), the newest of 2 within 0.5 s"),
        ("4", "3)"),
        ("5", "4)"),
        ("6", "5)"),
        ("7", "6)"),
        ("8", "7)"),
    ]


@pytest.mark.parametrize("name", [b"a\nERROR b", b"\xff\xfe", b"x" * 500])
def test_a_name_adds_no_line_and_no_page_to_the_log(small_ioc: SmallIoc, lines: Lines, name: bytes) -> None:
    with Raw(small_ioc) as raw:
        named(raw, name, name)
        raw.write_notify("ao", 1.0)
        until(lines)
    (line,) = lines()
    assert "\n" not in line
    assert len(line) < 250


@pytest.mark.parametrize("name", ["ao", "bo", "text"])
def test_a_text_that_is_refused_adds_no_line_to_the_log(small_ioc: SmallIoc, lines: Lines, name: str) -> None:
    with Raw(small_ioc) as raw:
        sid = raw.create(name)
        raw.say(HEADER.pack(WRITE, 40, dbr.STRING, 1, sid, 5) + b"1\nroot put 0\x1b[2K\r\x85".ljust(40, b"\0"))
        until(lines)
    (line,) = lines()
    assert line.isprintable()
    assert "refused: " in line


def test_what_an_instrument_says_adds_no_line_to_the_log(
    small_ioc: SmallIoc, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def put(*_: object) -> None:
        raise Refused("the crate says\nroot put 0")

    monkeypatch.setattr(small_ioc, "put", put)
    with Raw(small_ioc) as raw:
        raw.write_notify("ao", 1.0)
        until(lines)
    (line,) = lines()
    assert line.endswith("(refused: the crate says?root put 0)")


def test_a_text_put_as_characters_is_told_as_a_text(small_ioc: SmallIoc, ca: Client, lines: Lines) -> None:
    small_ioc.read("text", "before")
    ca.put(small_ioc.prefix + "text", "after")
    until(lines)
    assert lines()[0].endswith(" put after to text (was before)")
