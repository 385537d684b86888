"""Unusual and malformed messages: answered as EPICS base answers them (rsrv, camessage.c), and nobody else is harmed.

Base ends a connection on some of them: then this server does, after the error that says why, for this client alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from ioc.ca.conversation import LARGEST_MESSAGE
from ioc.ca.message import (
    BAD_COUNT,
    BAD_MONITOR,
    BAD_TYPE,
    CLEAR_CHANNEL,
    CLIENT_NAME,
    CREATE_CHAN,
    CREATE_CHAN_FAIL,
    ECHO,
    ERROR,
    EVENT_ADD,
    EVENT_CANCEL,
    EVENTS_OFF,
    EVENTS_ON,
    GET_FAIL,
    HEADER,
    HOST_NAME,
    INTERNAL,
    LARGE,
    NO_MEMORY,
    NORMAL,
    NOT_FOUND,
    READ,
    READ_NOTIFY,
    READ_SYNC,
    SEARCH,
    TOO_LARGE,
    VERSION,
    WRITE,
    WRITE_NOTIFY,
)
from tests.ioc.ca.test_fuzz import frame, padded
from tests.small_ioc import Raw, SmallIoc

# The client's number of the channel "ai", and what stands in its place in an error about no channel that there is
CID, NONE = 5, 0xFFFFFFFF
MASK = struct.pack(">12xHH", 5, 0)
FOREIGN = struct.pack(">12xHH", 0xFF00, 0)
ONE = struct.pack(">d", 1.0)


class Client(Raw):
    """A client with a channel to "ai", ``sid``, and a subscription to it with the number 1."""

    def __init__(self, small_ioc: SmallIoc) -> None:
        super().__init__(small_ioc)
        self.sid = self.create("ai", CID)
        self.subscribe(self.sid, 1)
        self.answer(EVENT_ADD, 1)

    def is_served(self, small_ioc: SmallIoc) -> None:
        """It gets updates and answers."""
        value = next(_numbers)
        small_ioc.read("ai", value)
        while self.number(self.answer(EVENT_ADD, 1)[1]) != value:
            pass
        self.say(frame(READ_NOTIFY, b"", 6, 1, self.sid, 4711))
        assert self.answer(READ_NOTIFY, 4711)[0] == NORMAL

    def is_cut_off(self) -> None:
        with pytest.raises((AssertionError, OSError)):
            self.read_to_the_end()

    def error(self, status: int) -> tuple[int, tuple[int, ...]]:
        """The next error, which has this status: the client's number of the channel, the header of the request."""
        cid, body, _ = self.answer(ERROR, status)
        request = HEADER.unpack_from(body)
        assert body[16 + 8 * (request[1] == 0xFFFF) :].partition(b"\0")[0]
        return cid, request


_numbers = iter(map(float, range(100, 10_000)))


# What is sent (sid stands for the channel's number), the error's status and whom it is about
ENDS: dict[str, tuple[Callable[[int], bytes], int, int]] = {
    "unknown command": (lambda sid: frame(99), INTERNAL, NONE),
    "command of the server": (lambda sid: frame(ERROR, first=sid), INTERNAL, NONE),
    "command without meaning": (lambda sid: frame(5, first=sid), INTERNAL, NONE),
    "payload of no whole words": (lambda sid: frame(READ_NOTIFY, bytes(7), 6, 1, sid, 1), INTERNAL, CID),
    "read of no channel": (lambda sid: frame(READ, b"", 6, 1, sid + 9, 1), INTERNAL, NONE),
    "read of no type": (lambda sid: frame(READ, b"", 39, 1, sid, 1), BAD_TYPE, CID),
    "read_notify of no channel": (lambda sid: frame(READ_NOTIFY, b"", 6, 1, sid + 9, 1), INTERNAL, NONE),
    "read_notify of no type": (lambda sid: frame(READ_NOTIFY, b"", 0xFFFF, 1, sid, 1), BAD_TYPE, CID),
    "write to no channel": (lambda sid: frame(WRITE, ONE, 6, 1, 0, 1), INTERNAL, NONE),
    "write of no type": (lambda sid: frame(WRITE, ONE, 39, 1, sid, 1), BAD_TYPE, CID),
    "write_notify to no channel": (lambda sid: frame(WRITE_NOTIFY, ONE, 6, 1, NONE, 1), INTERNAL, NONE),
    "write_notify of no type": (lambda sid: frame(WRITE_NOTIFY, ONE, 39, 1, sid, 1), BAD_TYPE, CID),
    "subscription to no channel": (lambda sid: frame(EVENT_ADD, MASK, 6, 1, sid + 9, 2), INTERNAL, NONE),
    "subscription of no type": (lambda sid: frame(EVENT_ADD, MASK, 39, 1, sid, 2), BAD_TYPE, CID),
    "subscription without a mask": (lambda sid: frame(EVENT_ADD, bytes(8), 6, 1, sid, 2), INTERNAL, CID),
    "subscription to no event": (lambda sid: frame(EVENT_ADD, bytes(16), 6, 1, sid, 2), NO_MEMORY, CID),
    "end of no subscription": (lambda sid: frame(EVENT_CANCEL, b"", 6, 1, sid, 2), BAD_MONITOR, CID),
    "end of a subscription of no channel": (lambda sid: frame(EVENT_CANCEL, b"", 6, 1, sid + 9, 1), INTERNAL, NONE),
    "end of no channel": (lambda sid: frame(CLEAR_CHANNEL, b"", 0, 0, sid + 9, CID), INTERNAL, NONE),
    "subscription to no event that is known": (lambda sid: frame(EVENT_ADD, FOREIGN, 6, 1, sid, 2), NO_MEMORY, CID),
}
# Where base says nothing
SILENT = {"priority above all": (100, 13), "version before all": (0, 3)}


@pytest.mark.parametrize("case", ENDS)
def test_where_base_ends_the_connection_the_client_is_told_why_and_no_other_is_harmed(
    small_ioc: SmallIoc, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    message, status, whom = ENDS[case]
    with Client(small_ioc) as own, Client(small_ioc) as other:
        sent = message(own.sid)
        own.say(sent)
        assert own.error(status) == (whom, HEADER.unpack_from(sent))
        own.is_cut_off()
        other.is_served(small_ioc)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("case", SILENT)
def test_a_client_of_no_version_or_priority_that_there_is_is_cut_without_a_word(
    small_ioc: SmallIoc, case: str
) -> None:
    priority, version = SILENT[case]
    with Client(small_ioc) as own, Client(small_ioc) as other:
        own.say(frame(READ_NOTIFY, b"", 6, 1, own.sid, 9) + frame(VERSION, b"", priority, version))
        assert own.message()[0] == READ_NOTIFY
        with pytest.raises(AssertionError, match="closed"):
            own.message()
        other.is_served(small_ioc)


def test_a_put_of_no_type_that_there_is_is_answered_before_the_cut(small_ioc: SmallIoc) -> None:
    with Client(small_ioc) as own:
        own.say(frame(WRITE_NOTIFY, ONE, 39, 1, own.sid, 9))
        assert own.message()[::4][:1] == (WRITE_NOTIFY,)
        own.error(BAD_TYPE)
        own.is_cut_off()


# What base says in the error (camessage.c), where it says more than the name of the record
WORDS = {
    "unknown command": "invalid (damaged?) request code from TCP",
    "payload of no whole words": "CAS: Missaligned protocol rejected",
    "end of no channel": "Bad Resource ID",
    "subscription to no event that is known": "subscription install into record {prefix}ai failed",
    "read of no type": "{prefix}ai",
    "end of no subscription": "{prefix}ai",
    "subscription to no event": "subscription install into record {prefix}ai failed",
}


@pytest.mark.parametrize("case", WORDS)
def test_the_error_before_a_cut_has_bases_words_and_comes_after_all_good_answers(
    small_ioc: SmallIoc, case: str
) -> None:
    with Client(small_ioc) as own:
        good = b"".join(frame(READ_NOTIFY, b"", 6, 1, own.sid, number) for number in range(500))
        own.say(good + ENDS[case][0](own.sid) + good)
        for number in range(500):
            assert own.answer(READ_NOTIFY, number)[0] == NORMAL
        while (message := own.message())[0] != ERROR:
            pass
        assert message[1][16:].partition(b"\0")[0].decode() == WORDS[case].format(prefix=small_ioc.prefix)
        own.is_cut_off()


def test_a_subscription_takes_the_place_of_one_of_its_number_and_both_may_be_ended(small_ioc: SmallIoc) -> None:
    """As a client subscribes anew that does not know whether its first message came."""
    with Client(small_ioc) as own:
        own.say(2 * frame(EVENT_ADD, MASK, 6, 1, own.sid, 1))
        own.answer(EVENT_ADD, 1)
        value = next(_numbers)
        small_ioc.read("ai", value)
        assert own.number(own.answer(EVENT_ADD, 1)[1]) == value
        own.say(frame(READ_NOTIFY, b"", 6, 1, own.sid, 9))
        assert own.message()[0] == READ_NOTIFY  # one update, not three
        own.say(3 * frame(EVENT_CANCEL, b"", 6, 1, own.sid, 1))
        for _ in range(3):
            assert own.answer(EVENT_ADD, 1)[1] == b""
        small_ioc.read("ai", next(_numbers))
        own.say(frame(READ_NOTIFY, b"", 6, 1, own.sid, 9))
        assert own.message()[0] == READ_NOTIFY
        own.say(frame(EVENT_CANCEL, b"", 6, 1, own.sid, 1))
        own.error(BAD_MONITOR)
        own.is_cut_off()


def test_the_end_of_a_subscription_is_answered_with_the_type_that_it_had(small_ioc: SmallIoc) -> None:
    with Client(small_ioc) as own:
        own.say(frame(EVENT_ADD, MASK, 20, 1, own.sid, 2))
        own.answer(EVENT_ADD, 2)
        own.say(frame(EVENT_CANCEL, b"", 0, 0, own.sid, 2))
        assert own.message() == (EVENT_ADD, b"", 20, 1, own.sid, 2)


@pytest.mark.parametrize("reply", [5, 10])
def test_a_search_by_tcp_is_answered_without_a_version(small_ioc: SmallIoc, reply: int) -> None:
    with Client(small_ioc) as own:
        own.say(frame(SEARCH, padded(small_ioc.prefix + "ai"), reply, 13, 77, 77))
        command, body, port, count, first, second = own.message()
        assert (command, body, port, count) == (SEARCH, b"", small_ioc.server.port, 0)
        assert (first, second) == (NONE, 77)


# What is sent, and the command, the number and the status (or first parameter) of the answer; None: there is none
GOES_ON: dict[str, tuple[Callable[[int], bytes], int, int, int]] = {
    "count 0": (lambda sid: frame(READ_NOTIFY, b"", 6, 0, sid, 9), READ_NOTIFY, 9, NORMAL),
    "count beyond all": (lambda sid: frame(READ_NOTIFY, b"", 6, NONE, sid, 9), READ_NOTIFY, 9, NORMAL),
    "old read beyond all": (lambda sid: frame(READ, b"", 0, 0x7FFFFFFF, sid, 9), READ, 9, CID),
    "type that cannot be read": (lambda sid: frame(READ_NOTIFY, b"", 35, 1, sid, 9), READ_NOTIFY, 9, GET_FAIL),
    "old read of it": (lambda sid: frame(READ, b"", 35, 1, sid, 9), ERROR, GET_FAIL, CID),
    "subscription to it": (lambda sid: frame(EVENT_ADD, MASK, 36, 1, sid, 9), EVENT_ADD, 9, GET_FAIL),
    "read with a payload": (lambda sid: frame(READ_NOTIFY, bytes(16), 6, 1, sid, 9), READ_NOTIFY, 9, NORMAL),
    "long header": (lambda sid: frame(READ_NOTIFY, b"", 6, 1, sid, 9, large=True), READ_NOTIFY, 9, NORMAL),
    "long header with a count in the short one": (
        lambda sid: HEADER.pack(READ_NOTIFY, 0xFFFF, 6, 7, sid, 9) + LARGE.pack(8, 1) + bytes(8),
        *(READ_NOTIFY, 9, NORMAL),
    ),
    "number of another subscription": (lambda sid: frame(EVENT_ADD, MASK, 6, 1, sid, 1), EVENT_ADD, 1, NORMAL),
    "too large": (lambda sid: frame(WRITE, bytes(LARGEST_MESSAGE + 8), 6, 1, sid, 9), ERROR, TOO_LARGE, CID),
    "empty name": (lambda sid: frame(CREATE_CHAN, bytes(8), 0, 0, 9, 13), CREATE_CHAN_FAIL, 0, 9),
    "no name": (lambda sid: frame(CREATE_CHAN, b"", 0, 0, 9, 13), CREATE_CHAN_FAIL, 0, 9),
    "long name": (lambda sid: frame(CREATE_CHAN, b"x" * 60_000, 0, 0, 9, 13), CREATE_CHAN_FAIL, 0, 9),
    "name of no characters": (lambda sid: frame(CREATE_CHAN, b"\xff" * 16, 0, 0, 9, 13), CREATE_CHAN_FAIL, 0, 9),
    "search for nothing": (lambda sid: frame(SEARCH, bytes(8), 10, 13, 9, 9), NOT_FOUND, 9, 9),
    "echo": (lambda sid: frame(ECHO, bytes(8), 3, 4, 8, 9), ECHO, 9, 8),
    "synchronisation": (lambda sid: frame(READ_SYNC, bytes(8), 3, 4, 8, 9), READ_SYNC, 9, 8),
    "user after a channel": (lambda sid: frame(CLIENT_NAME, padded("x")), ERROR, INTERNAL, NONE),
    "computer after a channel": (lambda sid: frame(HOST_NAME, padded("x")), ERROR, INTERNAL, NONE),
}


@pytest.mark.parametrize("case", GOES_ON)
def test_where_base_goes_on_the_client_has_its_answer_and_goes_on(
    small_ioc: SmallIoc, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    message, command, number, first = GOES_ON[case]
    with Client(small_ioc) as own, Client(small_ioc) as other:
        own.say(message(own.sid))
        assert own.answer(command, number)[0] == first
        own.is_served(small_ioc)
        other.is_served(small_ioc)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("count", "payload", "status"),
    [
        (0, b"", BAD_COUNT),
        (1, b"", BAD_COUNT),
        (0, ONE, BAD_COUNT),
        (2, 2 * ONE, BAD_COUNT),
        (0xFFFF, ONE, BAD_COUNT),
        (NONE, ONE, BAD_COUNT),
        (0x80000000, ONE, BAD_COUNT),
        (1, ONE + bytes(800), NORMAL),
    ],
)
def test_a_put_of_a_wrong_size_reaches_no_instrument(
    small_ioc: SmallIoc, count: int, payload: bytes, status: int
) -> None:
    small_ioc.puts.clear()
    with Client(small_ioc) as own:
        sid = own.create("ao", 6)
        own.say(frame(WRITE_NOTIFY, payload, 6, count, sid, 9))
        assert own.answer(WRITE_NOTIFY, 9)[0] == status
        if status != NORMAL:
            own.say(frame(WRITE, payload, 6, count, sid, 9))
            assert own.error(status)[0] == 6
        own.is_served(small_ioc)
    assert small_ioc.puts == [("ao", 1.0)] * (status == NORMAL)


def test_a_message_that_is_too_large_is_passed_over_in_pieces_and_costs_no_memory(small_ioc: SmallIoc) -> None:
    size = 1 << 23
    with Client(small_ioc) as own:
        own.say(HEADER.pack(WRITE, 0xFFFF, 6, 0, own.sid, 9) + LARGE.pack(size, 1 << 20))
        assert own.error(TOO_LARGE) == (CID, (WRITE, 0xFFFF, 6, 0, own.sid, 9))
        for _ in range(size >> 16):
            own.say(b"\xff" * (1 << 16))
            assert len(own.client._rest) < HEADER.size
        own.is_served(small_ioc)


@pytest.mark.parametrize("name", [b"x" * 512, b"x" * 8, b""])
@pytest.mark.parametrize("command", [CLIENT_NAME, HOST_NAME])
def test_a_client_whose_own_name_has_no_end_is_cut_off(small_ioc: SmallIoc, command: int, name: bytes) -> None:
    with Raw(small_ioc) as own, Client(small_ioc) as other:
        own.say(frame(command, name))
        assert own.answer(ERROR, INTERNAL)[0] == NONE
        with pytest.raises((AssertionError, OSError)):
            own.read_to_the_end()
        other.is_served(small_ioc)


def test_two_subscriptions_of_one_number_are_ended_one_by_one(small_ioc: SmallIoc) -> None:
    """As in base, where the number is the client's own affair: two channels may use the same."""
    with Client(small_ioc) as own:
        second = own.create("long", 6)
        own.say(frame(EVENT_ADD, MASK, 6, 1, second, 1))
        assert len(own.answer(EVENT_ADD, 1)[1]) == 8
        own.say(frame(EVENT_CANCEL, b"", 6, 1, own.sid, 1))
        assert own.answer(EVENT_ADD, 1) == (own.sid, b"", 1)
        small_ioc.read("ai", next(_numbers))
        value = next(_numbers)
        small_ioc.read("long", int(value))
        assert own.number(own.answer(EVENT_ADD, 1)[1]) == value
        own.say(frame(EVENT_CANCEL, b"", 6, 1, second, 1))
        assert own.answer(EVENT_ADD, 1) == (second, b"", 1)


def test_messages_may_be_cut_at_every_byte(small_ioc: SmallIoc) -> None:
    with Client(small_ioc) as own:
        data = (
            frame(CREATE_CHAN, padded(small_ioc.prefix + "long"), 0, 0, 6, 13)
            + frame(READ_NOTIFY, b"", 6, 1, own.sid, 9, large=True)
            + frame(EVENTS_OFF)
            + frame(EVENTS_ON)
            + frame(ECHO, bytes(16), second=8)
        )
        client = own.client

        async def arrive(*pieces: bytes) -> None:
            for piece in pieces:
                client._receive(client._rest + piece)

        for cut in range(1, len(data)):
            small_ioc.do(arrive(data[:cut], data[cut:]))
            assert own.answer(READ_NOTIFY, 9)[0] == NORMAL
            own.answer(ECHO, 8)
        small_ioc.do(arrive(*(bytes([byte]) for byte in data)))
        own.answer(ECHO, 8)
        own.is_served(small_ioc)
