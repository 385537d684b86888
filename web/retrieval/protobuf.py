"""The protocol buffers of the Archiver Appliance (EPICSEvent.proto, documents "PB/HTTP"), written for many samples.

A chunk is a line with a ``PayloadInfo`` and a line for each sample; chunks are parted by an empty line. A line is a
message in which three bytes are escaped, and a line feed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from archiver.sample import Metadata
from web.retrieval.payload import Fields, Kind, Piece, headers

Bytes = npt.NDArray[np.uint8]

_SECOND_NS = 10**9
# Byte -> the second of the two that stand for it; the first is ESCAPE
_ESCAPE, _LINE_FEED, _RETURN = 0x1B, 0x0A, 0x0D
_CODES = np.zeros(256, np.uint8)
_CODES[[_ESCAPE, _LINE_FEED, _RETURN]] = 1, 2, 3
# Bytes that clients in Python cut off where a chunk ends with them; behind them goes a ``repeatcount`` of 0.
_WHITE, _NOTHING = b"\t\x0b\x0c ", b"\x30\x00"


class ProtobufFormat:
    """The format ``raw``."""

    media_type = "application/x-protobuf"

    def __init__(self, since_ns: int) -> None:
        self._since_ns = since_ns
        self._chunk: tuple[object, ...] | None = None

    def begin(self) -> bytes:
        """Return what comes before all PVs."""
        return b""

    def pv(self, name: str, metadata: Metadata) -> bytes:
        """Return what comes before the samples of a PV: nothing, but they begin a chunk."""
        if self._chunk is not None:
            self._chunk = ()
        return b""

    def piece(self, name: str, piece: Piece) -> Iterator[bytes]:
        """Yield some samples of a PV, at least its header."""
        if not len(piece.time_ns):
            yield self._header(name, piece, _year(self._since_ns))
            return
        begin = 0
        while begin < len(piece.time_ns):
            year = _year(int(piece.time_ns[begin]))
            end = int(np.searchsorted(piece.time_ns, _year_ns(year + 1)))
            part = piece if end - begin == len(piece.time_ns) else piece.take(slice(begin, end))
            yield self._header(name, part, year) + samples(part, _year_ns(year))
            begin = end

    def end(self) -> bytes:
        """Return what comes after all PVs."""
        return b""

    def _header(self, name: str, piece: Piece, year: int) -> bytes:
        """Return the begin of a chunk, nothing where the one before goes on."""
        chunk = (name, piece.kind, year, piece.elements, piece.metadata)
        if chunk == self._chunk:
            return b""
        parted = b"" if self._chunk is None else b"\n"
        self._chunk = chunk
        fields = b"".join(_field(0x7A, *each) for each in headers(piece.metadata).items())
        message = b"\x08%b%b\x18%b\x20%b%b" % (
            varint(piece.kind),
            _text(0x12, name),
            varint(year),
            varint(piece.elements),
            fields,
        )
        return parted + escaped(message) + b"\n"


def samples(piece: Piece, year_ns: int) -> bytes:
    """Return the lines of samples of the year that begins at a time."""
    if not isinstance(piece.value, np.ndarray):
        return b"".join(_line(piece, index, year_ns) for index in range(len(piece.time_ns)))
    if not piece.fields:
        return _lines(piece, year_ns)
    lines, begin = [], 0
    for index in sorted(piece.fields):
        lines += [_lines(piece.take(slice(begin, index)), year_ns)] if begin < index else []
        one = _lines(piece.take(slice(index, index + 1)), year_ns)
        lines += [one[:-1], escaped(_fields(piece.fields[index])), b"\n"]
        begin = index + 1
    return b"".join([*lines, _lines(piece.take(slice(begin, None)), year_ns) if begin < len(piece.time_ns) else b""])


def _lines(piece: Piece, year_ns: int) -> bytes:
    """Return the lines of numbers: a column of bytes of all messages at once, then what each message has of them."""
    since_ns = piece.time_ns - year_ns
    parts = [
        *_tagged(0x08, _varints(since_ns // _SECOND_NS, 4)),
        *_tagged(0x10, _varints(since_ns % _SECOND_NS, 5)),
        *_value(piece),
        *_optional(0x20, piece.severity),
        *_optional(0x28, piece.status),
    ]
    parts += _ending(piece, parts)
    count = len(piece.time_ns)
    width = sum(part.shape[1] if part.ndim > 1 else 1 for part, _ in parts) + 1
    table: Bytes = np.empty((count, width), np.uint8)
    there: npt.NDArray[np.bool_] = np.ones((count, width), bool)
    at = 0
    for part, is_there in parts:
        size = part.shape[1] if part.ndim > 1 else 1
        table[:, at : at + size] = part if part.ndim > 1 else part[:, None]
        if is_there is not None:
            there[:, at : at + size] = is_there if is_there.ndim > 1 else is_there[:, None]
        at += size
    table[:, at] = _LINE_FEED
    codes = _CODES[table]
    codes[:, at] = 0
    flat, code = (table[there], codes[there]) if not there.all() else (table.ravel(), codes.ravel())
    where = np.flatnonzero(code)
    if len(where):
        second = code[where]
        flat[where] = _ESCAPE
        flat = np.insert(flat, where + 1, second)
    return flat.tobytes()


# Bytes of all messages (one or a table), and which of them are there (None: all)
_Part = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_] | None]


def _tagged(tag: int, part: _Part) -> list[_Part]:
    return [(np.full(len(part[0]), tag, np.uint8), None), part]


def _optional(tag: int, numbers: Any) -> list[_Part]:
    """Return a number below 128; 0, the default, is left out."""
    if not numbers.any():
        return []
    there = numbers != 0
    return [(np.full(len(numbers), tag, np.uint8), there), (numbers.astype(np.uint8), there)]


def _ending(piece: Piece, parts: list[_Part]) -> list[_Part]:
    """Return what follows messages that would end with white space: the value is the part before the alarms."""
    value = parts[len(parts) - 2 * int(piece.severity.any()) - 2 * int(piece.status.any()) - 1][0]
    alarm = np.where(piece.status != 0, piece.status, piece.severity)
    last = np.where(alarm != 0, alarm, value[:, -1] if piece.kind is not Kind.SCALAR_ENUM else 0)
    white = np.isin(last, list(_WHITE))
    if not white.any():
        return []
    return [(np.full(len(white), byte, np.uint8), white) for byte in _NOTHING]


def _varints(numbers: Any, size: int) -> _Part:
    """Return numbers of at most ``size`` groups of 7 bits."""
    shifts = 7 * np.arange(size)
    groups = (numbers[:, None] >> shifts).astype(np.uint64)
    there = groups != 0
    there[:, 0] = True
    more = np.zeros_like(there)
    more[:, :-1] = there[:, 1:]
    return ((groups & 0x7F) | np.where(more, 0x80, 0).astype(np.uint64)).astype(np.uint8), there


def _value(piece: Piece) -> list[_Part]:
    value: Any = piece.value
    if piece.kind is Kind.WAVEFORM_DOUBLE:
        size = 8 * value.shape[1]
        length = np.tile(np.frombuffer(b"\x1a" + varint(size), np.uint8), (len(value), 1))
        return [(length, None), (_little_endian(value, "<f8", size), None)]
    if piece.kind is Kind.SCALAR_DOUBLE:
        return _tagged(0x19, (_little_endian(value, "<f8", 8), None))
    if piece.kind is Kind.SCALAR_INT:
        return _tagged(0x1D, (_little_endian(value, "<i4", 4), None))
    return _tagged(0x18, _varints((value << 1) ^ (value >> 63), 5))  # zig-zag


def _little_endian(value: Any, kind: str, size: int) -> Bytes:
    return np.ascontiguousarray(value.astype(kind)).view(np.uint8).reshape(len(value), size)


def _line(piece: Piece, index: int, year_ns: int) -> bytes:
    """Return the line of a text or an array."""
    seconds, nano = divmod(int(piece.time_ns[index]) - year_ns, _SECOND_NS)
    value = piece.value[index]
    if piece.kind is Kind.SCALAR_STRING:
        packed = _text(0x1A, value)
    else:
        packed = b"\x1a" + varint(8 * len(value)) + struct.pack(f"<{len(value)}d", *value)
    severity, status = int(piece.severity[index]), int(piece.status[index])
    alarm = (b"\x20%c" % severity if severity else b"") + (b"\x28%c" % status if status else b"")
    fields = _fields(piece.fields.get(index, {}))
    message = b"\x08%b\x10%b%b%b%b" % (varint(seconds), varint(nano), packed, alarm, fields)
    return escaped(message + (_NOTHING if message[-1:] in _WHITE else b"")) + b"\n"


def _fields(fields: Fields) -> bytes:
    return b"".join(_field(0x3A, *each) for each in fields.items())


def _field(tag: int, name: str, value: str) -> bytes:
    """Return a message FieldValue."""
    message = _text(0x0A, name) + _text(0x12, value)
    return bytes([tag]) + varint(len(message)) + message


def _text(tag: int, text: str) -> bytes:
    data = text.encode(errors="replace")
    return bytes([tag]) + varint(len(data)) + data


def varint(number: int) -> bytes:
    """Return a number in groups of 7 bits, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def escaped(message: bytes) -> bytes:
    """Return a message without line feeds in it."""
    return message.replace(b"\x1b", b"\x1b\x01").replace(b"\n", b"\x1b\x02").replace(b"\r", b"\x1b\x03")


def _year(time_ns: int) -> int:
    return datetime.fromtimestamp(time_ns // _SECOND_NS, UTC).year


def _year_ns(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * _SECOND_NS
