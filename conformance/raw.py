"""A client that speaks bytes: what libca would never send, and the answers message by message."""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any, Self

from bench.rig.client import search

HEADER, LARGE = struct.Struct(">HHHHII"), struct.Struct(">II")
COMMANDS = (
    *("VERSION", "EVENT_ADD", "EVENT_CANCEL", "READ", "WRITE", "SNAPSHOT", "SEARCH", "BUILD", "EVENTS_OFF"),
    *("EVENTS_ON", "READ_SYNC", "ERROR", "CLEAR_CHANNEL", "RSRV_IS_UP", "NOT_FOUND", "READ_NOTIFY", "READ_BUILD"),
    *("REPEATER_CONFIRM", "CREATE_CHAN", "WRITE_NOTIFY", "CLIENT_NAME", "HOST_NAME", "ACCESS_RIGHTS", "ECHO"),
    *("REPEATER_REGISTER", "SIGNAL", "CREATE_CH_FAIL", "SERVER_DISCONN"),
)
COMMAND = {name: number for number, name in enumerate(COMMANDS)}
MINOR_VERSION = 13
# Stands in an error for a channel that is not known, and in a search for "where this comes from"
NONE = 0xFFFFFFFF
# The status of what went well, which is no number of a channel here
NORMAL = 1
# The number of an echo that stands behind all that a case sent
END = 0x7E57
# Seconds for a server's answer, and after the last one in which updates may still come
PATIENCE, QUIET = 5.0, 0.05
# Command, payload, type, count, first and second parameter
Message = tuple[int, bytes, int, int, int, int]
# Where in its source base found the fault
_PLACE = re.compile(r" at \S*camessage\.c\.\d+")


def frame(
    command: str | int, payload: bytes = b"", dbr: int = 0, count: int = 0, first: int = 0, second: int = 0
) -> bytes:
    """Return one message."""
    number = COMMAND[command] if isinstance(command, str) else command
    return HEADER.pack(number, len(payload), dbr, count, first, second) + payload


def text(characters: str) -> bytes:
    """Return a text as a payload: with a NUL, to whole words."""
    return characters.encode("latin-1") + bytes(8 - len(characters) % 8)


class RawClient:
    """A circuit on which anything may be sent; ``names``: numbers that differ between servers -> what they are."""

    def __init__(self, name: str) -> None:
        self.port = search(int(os.environ["EPICS_CA_SERVER_PORT"]), name, PATIENCE)
        self.names: dict[int, str] = {NONE: "none", self.port: "port"}
        self._socket = socket.create_connection(("127.0.0.1", self.port))
        self._socket.settimeout(PATIENCE)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def greet(self, minor: int = MINOR_VERSION) -> None:
        """Say the version, and who is there."""
        self.send(
            frame("VERSION", b"", 0, minor) + frame("CLIENT_NAME", text("me")) + frame("HOST_NAME", text("here"))
        )

    def create(self, name: str, cid: int, called: str, minor: int = MINOR_VERSION) -> int:
        """Create a channel; returns its number at the server, which is ``called`` so."""
        self.send(frame("CREATE_CHAN", text(name), 0, 0, cid, minor))
        while (message := self.message()) is not None:
            if message[0] == COMMAND["CREATE_CHAN"]:
                self.names[message[5]] = called
                return message[5]
        raise ConnectionError(f"no channel to {name}")

    def send(self, data: bytes) -> None:
        """Send, as far as there is somebody who takes it."""
        try:
            self._socket.sendall(data)
        except OSError:
            return

    def send_no_more(self) -> None:
        """End this side of the connection."""
        self._socket.shutdown(socket.SHUT_WR)

    def message(self) -> Message | None:
        """Return the next message: command, payload, type, count, parameters; None where the connection ends."""
        head = self._exactly(HEADER.size)
        if head is None:
            return None
        command, size, dbr, count, first, second = HEADER.unpack(head)
        if size == 0xFFFF:
            long = self._exactly(LARGE.size)
            if long is None:
                return None
            size, count = LARGE.unpack(long)
        payload = self._exactly(size) if size else b""
        return None if payload is None else (command, payload, dbr, count, first, second)

    def told(self) -> dict[str, Any]:
        """Return what the server says until it has dealt with all that was sent, or ends the connection."""
        self._socket.settimeout(PATIENCE)
        self.send(frame("ECHO", b"", 0, 0, 0, END))
        told: dict[str, list[str]] = {"answers": [], "updates": [], "puts": []}
        try:
            while (message := self.message()) is not None:
                if message[0] == COMMAND["ECHO"] and message[5] == END:
                    self._socket.settimeout(QUIET)
                    continue
                told[_kind(message)].append(self._words(message))
            ended = "closed"
        except TimeoutError:
            ended = "open" if self._socket.gettimeout() == QUIET else "silent"
        except OSError:
            ended = "closed"
        return {**told, "ended": ended}

    def _words(self, message: Message) -> str:
        command, payload, dbr, count, first, second = message
        name = COMMANDS[command] if command < len(COMMANDS) else str(command)
        kind = self._number(dbr) if name == "SEARCH" else str(dbr)
        last = "new" if name == "CREATE_CHAN" else self._number(second)
        numbers = [kind, str(count), self._number(first), last]
        return " ".join([name, *numbers, self._error(payload) if name == "ERROR" else payload.hex()]).strip()

    def _error(self, payload: bytes) -> str:
        """Return the request that an error is about, and its words."""
        command, size, dbr, count, *parameters = HEADER.unpack_from(payload)
        at = HEADER.size
        if size == 0xFFFF:
            size, count = LARGE.unpack_from(payload, at)
            at += LARGE.size
        request = [command, size, dbr, count, *map(self._number, parameters)]
        said = payload[at:].partition(b"\0")[0].decode("latin-1")
        return f"about {request}: {_PLACE.sub('', said)}"

    def _number(self, number: int) -> str:
        return self.names.get(number, str(number)) if number > NORMAL else str(number)

    def _exactly(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            data = self._socket.recv(1 << 16)
            if not data:
                return None
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def _kind(message: Message) -> str:
    """Return where a message belongs: updates and ends of puts come from threads of their own in base."""
    command, payload, *_ = message
    if command == COMMAND["EVENT_ADD"] and payload:
        return "updates"
    return "puts" if command == COMMAND["WRITE_NOTIFY"] else "answers"


def datagram(data: bytes, names: Mapping[int, str]) -> list[str]:
    """Return the messages of the answer to a datagram, [] if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(4 * QUIET)
        udp.sendto(data, ("127.0.0.1", int(os.environ["EPICS_CA_SERVER_PORT"])))
        end, told = time.monotonic() + PATIENCE, []
        while time.monotonic() < end:
            try:
                answer = udp.recv(1 << 16)
            except TimeoutError:
                break
            while answer:
                command, size, *numbers = HEADER.unpack_from(answer)
                payload = answer[HEADER.size : HEADER.size + size]
                told.append(
                    " ".join([COMMANDS[command], *(names.get(each, str(each)) for each in numbers), payload.hex()])
                )
                answer = answer[HEADER.size + size :]
        return told
