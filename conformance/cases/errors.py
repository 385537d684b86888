"""Messages that are wrong, or that libca never sends: the good answers before them, the error, and how it ends.

Each case is a circuit of its own: a channel, two reads, the message, and a read behind it, in one go.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from conformance.client import CaClient
from conformance.points import full, pv
from conformance.raw import COMMAND, COMMANDS, LARGE, RawClient, datagram, frame, text
from conformance.raw import HEADER as HEAD
from drivers.base import Point, RecordType

NAME = "errors:ao"
POINTS: tuple[Point, ...] = (full(NAME, RecordType.ao),)
# The client's number of the channel, one of a channel that there is not, and one of a request
CID, OTHER, NUMBER = 7005, 100_000, 7009
# The oldest minor version that base talks to
OLDEST = 4
MASK = struct.pack(">12xHxx", 5)
ONE = struct.pack(">d", 1.0)
# Requests of a channel: with which payload
OF_A_CHANNEL = {"READ": b"", "READ_NOTIFY": b"", "WRITE": ONE, "WRITE_NOTIFY": ONE}
OF_A_CHANNEL |= {"EVENT_ADD": MASK, "EVENT_CANCEL": b""}
# The last type that can be asked for, those that stand alone, and some that do not exist
TYPES = (34, 35, 36, 37, 38, 39, 100, 0xFFFF)
# What is sent, given the number of the channel
Case = Callable[[int], bytes]
Cases = Mapping[str, Case]


def run(client: CaClient) -> None:
    """Run the cases."""
    for key, message in CASES.items():
        client.set(NAME, 1.0)
        with RawClient(pv(NAME)) as raw:
            raw.greet()
            other, sid = raw.create(pv(NAME), CID + 1, "the other's sid"), raw.create(pv(NAME), CID, "sid")
            raw.names[sid + OTHER] = "no sid"
            good = [frame("READ_NOTIFY", b"", 6, 1, other, number) for number in (7101, 7102, 7103)]
            raw.send(good[0] + good[1] + message(sid) + good[2])
            client.emit(f"errors/{key}", raw.told())
    for key, message in LAST.items():
        client.set(NAME, 1.0)
        with RawClient(pv(NAME)) as raw:
            raw.greet()
            raw.send(message(raw.create(pv(NAME), CID, "sid")))
            raw.send_no_more()
            client.emit(f"errors/last/{key}", raw.told())
    for minor in (None, *range(15), 99, 0xFFFF):
        _version(client, minor)
    for key, (first, second) in BEFORE.items():
        with RawClient(pv(NAME)) as raw:
            raw.send(first)
            raw.send(second)
            client.emit(f"errors/before a channel/{key}", raw.told())
    with RawClient(pv(NAME)) as raw:
        for key, data in DATAGRAMS.items():
            client.emit(f"errors/datagram/{key}", {"answers": datagram(data, raw.names)})


def _version(client: CaClient, minor: int | None) -> None:
    """Do the same things as a client of each version; None: it does not tell its version."""
    with RawClient(pv(NAME)) as raw:
        if minor is not None:
            raw.greet(minor)
        if minor is not None and minor >= OLDEST:
            sid = raw.create(pv(NAME), CID, "sid", minor)
            raw.send(
                frame("READ_NOTIFY", b"", 6, 0, sid, 1) + frame("CREATE_CHAN", text("CF:nobody"), 0, 0, 6, minor)
            )
            raw.send(HEAD.pack(COMMAND["READ_NOTIFY"], 0xFFFF, 6, 0, sid, NUMBER) + LARGE.pack(0, 1))
        else:
            raw.send(frame("CREATE_CHAN", text(pv(NAME)), 0, 0, CID, minor or 0))
        client.emit(f"errors/version/{minor}", raw.told())


def _commands() -> Cases:
    """Return all commands that a server does not know, or that are its own."""
    known = {*OF_A_CHANNEL, "VERSION", "SEARCH", "EVENTS_OFF", "EVENTS_ON", "READ_SYNC", "CLEAR_CHANNEL", "ECHO"}
    known |= {"CREATE_CHAN", "CLIENT_NAME", "HOST_NAME"}
    unknown = [number for number, name in enumerate(COMMANDS) if name not in known]
    return {f"command/{number}": _request(number, b"", 0, 0) for number in (*unknown, 28, 99, 0xFFFF)}


def _channels() -> Cases:
    """Return requests of a channel that there is not, of no whole words, of many types and counts."""
    cases: dict[str, Case] = {}
    for name, payload in OF_A_CHANNEL.items():
        cases[f"no channel/{name}"] = _request(name, payload, 6, 1, OTHER)
        cases[f"no words/{name}"] = _request(name, bytes(7), 6, 1)
        if name != "EVENT_CANCEL":
            cases |= {f"type {dbr}/{name}": _request(name, payload, dbr, 1) for dbr in TYPES}
            cases |= {f"count {count}/{name}": _request(name, payload, 6, count) for count in (0, 2, 1000)}
    cases["no channel/CLEAR_CHANNEL"] = lambda sid: frame("CLEAR_CHANNEL", b"", 0, 0, sid + OTHER, CID)
    cases["twice/CLEAR_CHANNEL"] = lambda sid: 2 * frame("CLEAR_CHANNEL", b"", 0, 0, sid, CID)
    return cases


def _request(command: str | int, payload: bytes, dbr: int, count: int, beside: int = 0) -> Case:
    """Return a request of the channel, or of one ``beside`` it that there is not."""
    return lambda sid: frame(command, payload, dbr, count, sid + beside, NUMBER)


CASES: Cases = {
    **_commands(),
    **_channels(),
    "mask 0": lambda sid: frame("EVENT_ADD", bytes(16), 6, 1, sid, NUMBER),
    "mask of nothing known": lambda sid: frame("EVENT_ADD", struct.pack(">12xHxx", 0xFF00), 6, 1, sid, NUMBER),
    "end of no subscription": lambda sid: frame("EVENT_CANCEL", b"", 6, 1, sid, NUMBER),
    "subscribed and ended": lambda sid: (
        frame("EVENT_ADD", MASK, 6, 1, sid, NUMBER) + frame("EVENT_CANCEL", b"", 6, 1, sid, NUMBER)
    ),
    "ended in another type": lambda sid: (
        frame("EVENT_ADD", MASK, 6, 1, sid, NUMBER) + frame("EVENT_CANCEL", b"", 0, 0, sid, NUMBER)
    ),
    "ended twice": lambda sid: (
        frame("EVENT_ADD", MASK, 6, 1, sid, NUMBER) + 2 * frame("EVENT_CANCEL", b"", 6, 1, sid, NUMBER)
    ),
    "synchronisation": lambda sid: frame("READ_SYNC", bytes(8), 3, 4, 8, 9),
    "echo": lambda sid: frame("ECHO", bytes(16), 3, 4, 8, 9),
    "off, a subscription": lambda sid: frame("EVENTS_OFF") + frame("EVENT_ADD", MASK, 6, 1, sid, NUMBER),
    "off, a subscription, on": lambda sid: (
        frame("EVENTS_OFF") + frame("EVENT_ADD", MASK, 6, 1, sid, NUMBER) + frame("EVENTS_ON")
    ),
    "on without off": lambda sid: frame("EVENTS_ON"),
    "user again": lambda sid: frame("CLIENT_NAME", text("other")),
    "computer again": lambda sid: frame("HOST_NAME", text("other")),
    "priority": lambda sid: frame("VERSION", b"", 7, 13),
    "priority above all": lambda sid: frame("VERSION", b"", 100, 13),
    "version again": lambda sid: frame("VERSION", b"", 0, 13),
    "a second channel of the number": lambda sid: frame("CREATE_CHAN", text(pv(NAME)), 0, 0, CID, 13),
    "channel of no name": lambda sid: frame("CREATE_CHAN", bytes(8), 0, 0, 6, 13),
    "channel without a payload": lambda sid: frame("CREATE_CHAN", b"", 0, 0, 6, 13),
    "channel of nobody": lambda sid: frame("CREATE_CHAN", text("CF:nobody"), 0, 0, 6, 13),
    "channel of no field": lambda sid: frame("CREATE_CHAN", text(f"{pv(NAME)}.NONE"), 0, 0, 6, 13),
    "name without a NUL": lambda sid: frame("CREATE_CHAN", b"CF:nobod", 0, 0, 6, 13),
    "long name": lambda sid: frame("CREATE_CHAN", 1000 * b"x" + bytes(8), 0, 0, 6, 13),
    "search": lambda sid: frame("SEARCH", text(pv(NAME)), 5, 13, 77, 77),
    "search, answered always": lambda sid: frame("SEARCH", text(pv(NAME)), 10, 13, 77, 77),
    "search of nobody": lambda sid: frame("SEARCH", text("CF:nobody"), 5, 13, 77, 77),
    "search of nobody, answered always": lambda sid: frame("SEARCH", text("CF:nobody"), 10, 13, 77, 77),
    "search of no name": lambda sid: frame("SEARCH", bytes(8), 10, 13, 77, 77),
    "write of a text that is no number": lambda sid: frame("WRITE", text("words"), 0, 1, sid, NUMBER),
    "write_notify of a text that is no number": lambda sid: frame("WRITE_NOTIFY", text("words"), 0, 1, sid, NUMBER),
    "write of too few bytes": lambda sid: frame("WRITE", b"", 6, 1, sid, NUMBER),
    "long header": lambda sid: HEAD.pack(15, 0xFFFF, 6, 0, sid, NUMBER) + LARGE.pack(0, 1),
    "long header with a count in the short one": lambda sid: (
        HEAD.pack(15, 0xFFFF, 6, 7, sid, NUMBER) + LARGE.pack(8, 1) + bytes(8)
    ),
    "100 kB": lambda sid: HEAD.pack(4, 0xFFFF, 6, 0, sid, NUMBER) + LARGE.pack(100_000, 1) + ONE + bytes(99_992),
    "cleared with a read and a put under way": lambda sid: (
        frame("WRITE_NOTIFY", ONE, 6, 1, sid, NUMBER)
        + frame("READ_NOTIFY", b"", 6, 1, sid, NUMBER + 1)
        + frame("CLEAR_CHANNEL", b"", 0, 0, sid, CID)
    ),
}

# What is sent before a client ends its side of the connection; of its puts with callback base answers some by chance
LAST: Cases = {
    "nothing": lambda _: b"",
    "read": lambda sid: frame("READ_NOTIFY", b"", 6, 1, sid, NUMBER),
    "write": lambda sid: frame("WRITE", ONE, 6, 1, sid, NUMBER),
    "half a message": lambda sid: frame("READ_NOTIFY", b"", 6, 1, sid, NUMBER)[:12],
    "many reads": lambda sid: 1000 * frame("READ_NOTIFY", b"", 6, 1, sid, NUMBER),
}

# What is sent first, and what then, where there is no channel yet
BEFORE = {
    "echo": (frame("VERSION", b"", 0, 13), frame("ECHO", b"", 1, 2, 3, 4)),
    "search": (frame("VERSION", b"", 0, 13), frame("SEARCH", text(pv(NAME)), 10, 13, 7, 7)),
    "user of 600 characters": (frame("VERSION", b"", 0, 13), frame("CLIENT_NAME", 600 * b"x" + bytes(8))),
    "computer of 600 characters": (frame("VERSION", b"", 0, 13), frame("HOST_NAME", 600 * b"x" + bytes(8))),
    "user without an end": (frame("VERSION", b"", 0, 13), frame("CLIENT_NAME", 8 * b"x")),
    "read": (frame("VERSION", b"", 0, 13), frame("READ_NOTIFY", b"", 6, 1, 1 << 30, 7)),
    "half a header": (frame("VERSION", b"", 0, 13), frame("ECHO", b"", 1, 2, 3, 4)[:8] + bytes(8)),
    "nothing but zeros": (bytes(64), b""),
    "text": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(4)),
}

_SEARCH = frame("SEARCH", text(pv(NAME)), 5, 13, 77, 77)
_NOBODY = frame("SEARCH", text("CF:nobody"), 5, 13, 78, 78)
_VERSION = frame("VERSION", b"", 1, 13, 4711)
DATAGRAMS = {
    "search": _VERSION + _SEARCH,
    "search without a version": _SEARCH,
    "version alone": _VERSION,
    "search of nobody": _VERSION + _NOBODY,
    "search of nobody, answered always": _VERSION + frame("SEARCH", text("CF:nobody"), 10, 13, 78, 78),
    "two, one of nobody": _VERSION + _NOBODY + _SEARCH,
    "the same twice": _VERSION + _SEARCH + _SEARCH,
    "no name": _VERSION + frame("SEARCH", bytes(8), 5, 13, 77, 77),
    "no payload": _VERSION + frame("SEARCH", b"", 5, 13, 77, 77),
    "behind an unknown command": _VERSION + frame(99) + _SEARCH,
    "behind an echo": _VERSION + frame("ECHO") + _SEARCH,
    "cut short": (_VERSION + _SEARCH)[:-4],
    "behind a whole one that is cut short": _VERSION + _SEARCH + _NOBODY[:-4],
    "half a header": _VERSION + _SEARCH + bytes(8),
    "of no whole words": _VERSION + frame("SEARCH", text(pv(NAME))[:-1], 5, 13, 77, 77),
    **{
        f"version {minor}": frame("VERSION", b"", 1, minor, 4711) + frame("SEARCH", text(pv(NAME)), 5, minor, 77, 77)
        for minor in range(15)
    },
    "number not valid": frame("VERSION", b"", 0, 13, 4711) + _SEARCH,
}
