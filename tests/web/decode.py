"""The wire format of the Archiver Appliance, read as its documents say, without the code that wrote it."""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime
from typing import Any, NamedTuple

STRING, ENUM, INT, DOUBLE, ARRAY = 0, 3, 5, 6, 13
UNESCAPED = {b"\x1b\x01": b"\x1b", b"\x1b\x02": b"\n", b"\x1b\x03": b"\r"}


class Read(NamedTuple):
    """A sample as it was read; ``kind`` is the number of the type."""

    pv: str
    kind: int
    time_ns: int
    value: Any
    severity: int
    status: int
    fields: dict[str, str]


class Chunk(NamedTuple):
    pv: str
    kind: int
    year: int
    elements: int
    headers: dict[str, str]
    samples: list[Read]


def decode(raw: bytes) -> list[Chunk]:
    if not raw:
        return []
    assert raw.endswith(b"\n")
    assert b"\r" not in raw
    return [_chunk(chunk.split(b"\n")) for chunk in raw.removesuffix(b"\n").split(b"\n\n")]


def samples(raw: bytes) -> list[Read]:
    return [sample for chunk in decode(raw) for sample in chunk.samples]


def _chunk(lines: list[bytes]) -> Chunk:
    about = _message(lines[0])
    ((kind,), (name,), (year,), (elements,)) = (about.pop(number) for number in (1, 2, 3, 4))
    headers = dict(_field(each) for each in about.pop(15, []))
    assert not about
    pv = name.decode()
    begin = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    return Chunk(pv, kind, year, elements, headers, [_sample(pv, kind, begin, line) for line in lines[1:]])


def _sample(pv: str, kind: int, begin: int, line: bytes) -> Read:
    found = _message(line)
    ((seconds,), (nano,), (value,)) = (found.pop(number) for number in (1, 2, 3))
    assert 0 <= seconds < 366 * 86_400
    (severity,), (status,) = found.pop(4, [0]), found.pop(5, [0])
    fields = dict(_field(each) for each in found.pop(7, []))
    assert found.pop(6, [0]) == [0]
    assert not found
    assert line[-1:] not in b"\t\x0b\x0c "  # what clients in Python cut off where a chunk ends
    return Read(pv, kind, (begin + seconds) * 10**9 + nano, _value(kind, value), severity, status, fields)


def _value(kind: int, value: Any) -> Any:
    if kind == STRING:
        return value.decode()
    if kind == ENUM:
        return (value >> 1) ^ -(value & 1)
    if kind == INT:
        return struct.unpack("<i", value)[0]
    if kind == DOUBLE:
        return struct.unpack("<d", value)[0]
    assert kind == ARRAY
    return struct.unpack(f"<{len(value) // 8}d", value)


def _field(data: bytes) -> tuple[str, str]:
    found = _message(data, escaped=False)
    return found[1][0].decode(), found[2][0].decode()


def _message(data: bytes, *, escaped: bool = True) -> dict[int, list[Any]]:
    """Field number -> its values: numbers, and bytes of what is not a varint."""
    if escaped:
        data = re.sub(b"\x1b.", lambda match: UNESCAPED[match[0]], data, flags=re.DOTALL)
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            found.setdefault(tag >> 3, []).append(value)
            continue
        if kind == 2:
            size, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}[kind]
        assert at + size <= len(data)
        found.setdefault(tag >> 3, []).append(data[at : at + size])
        at += size
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return number, at
