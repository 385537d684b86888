"""Answering searches for names: with the server's port."""

from __future__ import annotations

import struct
from collections.abc import Callable

from ioc.ca.message import HEADER, PROTOCOL_VERSION, SEARCH, VERSION, split

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
