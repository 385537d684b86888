"""Channel Access messages: their headers, commands and status codes, and the message that carries a value."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ioc import faults
from ioc.ca import dbr
from ioc.ca.view import View

# The minor version of the protocol (CA_MINOR_PROTOCOL_REVISION), a message's header, and what follows a long one
PROTOCOL_VERSION = 13
HEADER = struct.Struct(">HHHHII")
LARGE = struct.Struct(">II")

# Channel Access commands (caProto.h)
VERSION, EVENT_ADD, EVENT_CANCEL, READ, WRITE = 0, 1, 2, 3, 4
SEARCH, EVENTS_OFF, EVENTS_ON, READ_SYNC, ERROR, CLEAR_CHANNEL = 6, 8, 9, 10, 11, 12
NOT_FOUND, READ_NOTIFY, CREATE_CHAN, WRITE_NOTIFY = 14, 15, 18, 19
CLIENT_NAME, HOST_NAME, ACCESS_RIGHTS, ECHO = 20, 21, 22, 23
CREATE_CHAN_FAIL, SERVER_DISCONNECT = 26, 27

# Status codes (caerr.h)
NORMAL, NO_MEMORY, TOO_LARGE, BAD_TYPE, INTERNAL, GET_FAIL, PUT_FAIL = 1, 48, 72, 114, 142, 152, 160
BAD_COUNT, BAD_MONITOR, NO_WRITE_ACCESS = 176, 242, 376

# What is sent of no values at all: libca takes an update without a byte for the end of its subscription
_NO_VALUES = bytes(8)


def header(command: int, size: int, data_type: int, count: int, first: int, second: int) -> bytes:
    """Return a message's header, in the long form when size or count need it."""
    if size < 0xFFFF and count < 0xFFFF:
        return HEADER.pack(command, size, data_type, count, first, second)
    return HEADER.pack(command, 0xFFFF, data_type, 0, first, second) + LARGE.pack(size, count)


def split(datagram: bytes) -> Iterator[tuple[int, int, int, int, int, bytes]]:
    """Return the whole messages in a datagram: (command, data type, count, first and second parameter, payload)."""
    begin, end, read = HEADER.size, len(datagram), HEADER.unpack_from
    while begin <= end:  # ``begin``: of the payload
        command, size, data_type, count, first, second = read(datagram, begin - HEADER.size)
        after = begin + size
        if after > end:
            return
        yield command, data_type, count, first, second, datagram[begin:after]
        begin = after + HEADER.size


def reply(command: int, dbr_type: int, count: int, number: int, view: View, status: int = NORMAL) -> bytes:
    """Return a message with a view's values; ``count`` 0: as many as there are.

    What is missing is zeros, as base sends them, but in a piece of an array, where it would be taken for values.
    Raises NotConvertible, and whatever is wrong with the value.
    """
    values = view.values_for(dbr_type, count)
    payload = dbr.encode(dbr_type, values, view)
    if not view.padded:
        count = len(values)
    if len(values) < count:
        payload = payload.ljust(dbr.fixed_size(dbr_type, count), b"\0")
    payload = payload or _NO_VALUES
    return header(command, len(payload), dbr_type, count or len(values), status, number) + payload


def report(view: View, error: Exception) -> None:
    """Log why a value could not be sent, unless it is only that the wanted type cannot express it."""
    if not isinstance(error, dbr.NotConvertible):
        faults.log_once("the value", view.record.name, error)


def failure(command: int, dbr_type: int, count: int, number: int, view: View, error: Exception) -> bytes:
    """Return what takes the place of a ``reply`` that failed: zeros, which the status tells not to be the value."""
    report(view, error)
    payload = dbr.blank(dbr_type, count) or _NO_VALUES
    return header(command, len(payload), dbr_type, count, GET_FAIL, number) + payload
