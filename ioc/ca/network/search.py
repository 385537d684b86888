"""Answering searches for names: with the server's port."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter

from ioc import faults
from ioc.ca.message import HEADER, PROTOCOL_VERSION, SEARCH, VERSION, split
from ioc.ca.turns import SECONDS

log = logging.getLogger("rackioc.server")

# Bytes that may wait while others have their turn, and bytes of one datagram
_BUFFER = 1 << 22
_LARGEST_DATAGRAM = 1 << 16
# Bytes of a datagram of answers, which has to pass any network in one piece
LARGEST_ANSWER = 1400
# "At the address that this datagram came from"
ANYWHERE = 0xFFFFFFFF
# The first minor version whose datagrams are numbered, and what marks the number of an answer
_NUMBERED, _NUMBER_IS_VALID = 11, 1
# The answer for a name that is served: a header, and the version behind it
_FOUND = struct.Struct(">HHHHIIH6x")

Address = tuple[str, int]


def answers(datagram: bytes, known: Callable[[bytes], bool], port: int) -> Iterator[bytes]:
    """Yield the answer to each message of a datagram, empty where it does not concern this server.

    The client's sequence number is echoed: libca takes answers without it for old ones and searches far more slowly.
    What is not understood is passed over; a network carries all kinds of things to a well-known port.
    """
    found, size = _FOUND.pack, _FOUND.size - HEADER.size
    for command, _, count, first, _, payload in split(datagram):
        if command == SEARCH and known(payload.partition(b"\0")[0]):
            yield found(SEARCH, size, port, 0, ANYWHERE, first, PROTOCOL_VERSION)
        elif command == VERSION and count >= _NUMBERED:
            yield HEADER.pack(VERSION, 0, _NUMBER_IS_VALID, PROTOCOL_VERSION, first, 0)
        else:
            yield b""


def answer(parts: Iterable[bytes]) -> bytes:
    """Return the datagram to send back; empty when there is no answer but the version."""
    parts = list(parts)
    heads = [part for part in parts if len(part) == HEADER.size]  # versions, the last of which counts
    together = b"".join([part for part in parts if len(part) != HEADER.size])
    return together and b"".join(heads[-1:]) + together


class Searches:
    """A UDP socket on which searches arrive, many in a row: they are read and answered until there are none.

    The answers to datagrams of one client that follow each other go back together, as base's do: to send one takes as
    long as to find the answers for it.
    """

    def __init__(
        self, udp: socket.socket, address: str, port: int, answers: Callable[[bytes, Address], Iterator[bytes]]
    ) -> None:
        self._answers = answers
        self._begun: Iterator[bytes] | None = None
        self._asker: Address | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._socket = udp
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        # caproto sets it: of two servers at one address each client would always reach the same one, by chance
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        self._socket.bind((address, port))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        """Hear no more searches."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        if self._begun is None:
            self._go_on()

    def _go_on(self) -> None:
        until = perf_counter() + SECONDS
        try:
            while perf_counter() < until:
                self._answer_some(until)
        except BlockingIOError:  # there are no more
            pass
        except OSError as error:  # an unreachable client's ICMP answer, for one: the next one is another's
            log.debug("search: %s", error)
        except Exception as error:
            faults.log_once("the answer to a search", "the server", error)
            self._begun = None
        if self._begun is not None:  # of what is still in the socket the loop knows
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self._send()

    def _answer_some(self, until: float) -> None:
        """Go on with the datagram that was begun, or with the next."""
        if self._begun is None:
            datagram, sender = self._socket.recvfrom(_LARGEST_DATAGRAM)
            if sender != self._asker:
                self._send()
            self._asker, self._begun = sender, self._answers(datagram, sender)
        for part in self._begun:
            if part:
                if self._size + len(part) > LARGEST_ANSWER:
                    self._send(go_on=True)
                self._parts.append(part)
                self._size += len(part)
            if perf_counter() > until:
                return
        self._begun = None

    def _send(self, go_on: bool = False) -> None:
        """Send the answers that there are; if they ``go_on``, the further ones are of the same version."""
        parts, together = self._parts, answer(self._parts)
        self._parts = [part for part in parts if go_on and len(part) == HEADER.size][-1:]
        self._size = sum(map(len, self._parts))
        if together and self._asker is not None:
            try:
                self._socket.sendto(together, self._asker)
            except OSError as error:
                log.debug("search: %s", error)
