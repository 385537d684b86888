"""Answering searches for names: with the server's port."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable

from ioc import faults
from ioc.ca.message import HEADER, PROTOCOL_VERSION, SEARCH, VERSION, split

log = logging.getLogger("rackioc.server")

# Searches that are answered before others get their turn, bytes that may wait meanwhile, and bytes of one datagram
_AT_ONCE = 64
_BUFFER = 1 << 22
_LARGEST_DATAGRAM = 1 << 16
# "At the address that this datagram came from"
_ANYWHERE = 0xFFFFFFFF
_VERSION = struct.Struct(">H6x")


def found(port: int, cid: int) -> bytes:
    """Return the answer for a name that is served."""
    return HEADER.pack(SEARCH, _VERSION.size, port, 0, _ANYWHERE, cid) + _VERSION.pack(PROTOCOL_VERSION)


def answer(datagram: bytes, known: Callable[[bytes], bool], port: int) -> bytes:
    """Return the datagram to send back; empty when nothing in it concerns this server.

    The client's sequence number is echoed: libca takes answers without it for old ones and searches far more slowly.
    What is not understood is passed over; a network carries all kinds of things to a well-known port.
    """
    head = b""
    answers = []
    for command, data_type, first, _, payload in split(datagram):
        if command == VERSION:
            head = HEADER.pack(VERSION, 0, data_type, PROTOCOL_VERSION, first, 0)
        elif command == SEARCH and known(payload.partition(b"\0")[0]):
            answers.append(found(port, first))
    return head + b"".join(answers) if answers else b""


class Searches:
    """A UDP socket on which searches arrive, many in a row: they are read and answered until there are none."""

    def __init__(
        self, udp: socket.socket, address: str, port: int, answer: Callable[[bytes, tuple[str, int]], bytes]
    ) -> None:
        self._answer = answer
        self._socket = udp
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((address, port))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        """Hear no more searches."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                datagram, sender = self._socket.recvfrom(_LARGEST_DATAGRAM)
                if answer := self._answer(datagram, sender):
                    self._socket.sendto(answer, sender)
            except BlockingIOError:
                return
            except OSError as error:  # an unreachable client's ICMP answer, for one: the next one is another's
                log.debug("search: %s", error)
            except Exception as error:
                faults.log_once("the answer to a search", "the server", error)
