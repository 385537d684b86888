"""Answering searches: who asks a network for a name is told the server's port."""

from __future__ import annotations

import struct
from collections.abc import Callable

from ioc.message import HEADER, PROTOCOL_VERSION, SEARCH, VERSION

_ANYWHERE = 0xFFFFFFFF  # "at the address that this datagram came from"
_VERSION = struct.Struct(">H6x")


def found(port: int, cid: int) -> bytes:
    """The answer for a name that is served."""
    return HEADER.pack(SEARCH, _VERSION.size, port, 0, _ANYWHERE, cid) + _VERSION.pack(PROTOCOL_VERSION)


def answer(datagram: bytes, known: Callable[[bytes], bool], port: int) -> bytes:
    """The datagram to send back; empty when nothing in it concerns this server.

    The client's sequence number is echoed: libca takes answers without it for old ones and searches far more slowly.
    What is not understood is passed over; a network carries all kinds of things to a well-known port.
    """
    at, end = 0, len(datagram)
    head = b""
    answers = []
    while end - at >= HEADER.size:
        command, size, data_type, _, first, _ = HEADER.unpack_from(datagram, at)
        at += HEADER.size
        if end - at < size:
            break
        if command == VERSION:
            head = HEADER.pack(VERSION, 0, data_type, PROTOCOL_VERSION, first, 0)
        elif command == SEARCH and known(datagram[at : at + size].partition(b"\0")[0]):
            answers.append(found(port, first))
        at += size
    return head + b"".join(answers) if answers else b""
