"""A connection to a Channel Access server under the name of a person: it puts, and does nothing else.

libca tells all servers the same name, that of its process's account; the protocol has one for each connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from itertools import count as numbers
from typing import Any, Self

from archiver.ca.libca import DISCONNECTED

Address = tuple[str, int]

_HEADER = struct.Struct(">HHHHII")
_LARGE = struct.Struct(">II")
_VERSION, _CREATE, _WRITE_NOTIFY, _USER, _HOST, _ECHO, _NOT_CREATED, _REMOVED = 0, 18, 19, 20, 21, 23, 26, 27
# The version of the protocol that is spoken: 4.13
_MINOR = 13
# Bytes, and elements, from which on a message has the longer header
_LONG = 0xFFFF
# Bytes of a message of the server, at most: it sends no values here
_LARGEST = 1 << 15
# Milliseconds after which a connection has ended whose far end confirms nothing (tcp(7))
_SILENT_MS = 5000


class NotThereError(Exception):
    """The server does not have the PV, or is gone."""


class Circuit:
    """A connection; made by ``open``. ``used``: whether it has put since somebody set that to False."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.used = False
        self._reader = reader
        self._writer = writer
        self._numbers = numbers(1)
        self._channels: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._creating: dict[int, asyncio.Future[int | None]] = {}
        self._puts: dict[int, asyncio.Future[int]] = {}
        self._receiving = asyncio.create_task(self._receive())

    @classmethod
    async def open(cls, address: Address, user: str) -> Self:
        """Return a connection under a user's name. Raises OSError."""
        reader, writer = await asyncio.open_connection(*address)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_MS)
        circuit = cls(reader, writer)
        circuit._send(_VERSION, b"", 0, _MINOR)
        circuit._send(_USER, _text(user))
        circuit._send(_HOST, _text(socket.gethostname()))
        return circuit

    @property
    def closed(self) -> bool:
        """Return whether the connection has ended."""
        return self._receiving.done()

    @property
    def busy(self) -> bool:
        """Return whether puts are under way."""
        return bool(self._puts)

    def close(self) -> None:
        """End the connection."""
        self._receiving.cancel()

    async def begin(self, name: str, kind: int, count: int, data: bytes) -> asyncio.Future[int]:
        """Send a put: DBR type, count and bytes as the protocol has them. Raises NotThereError.

        Return the ECA status that is to come. Puts go out in the order in which they were begun.
        """
        sid = self._channels.get(name)
        if sid is None:
            sid = await self._create(name)
        if self.closed:
            raise NotThereError(name)
        self.used = True
        number = next(self._numbers)
        ended = self._puts[number] = asyncio.get_running_loop().create_future()
        self._send(_WRITE_NOTIFY, data, kind, count, sid, number)
        return ended

    async def _create(self, name: str) -> int:
        cid = next(self._numbers)
        created = self._creating[cid] = asyncio.get_running_loop().create_future()
        self._names[cid] = name
        self._send(_CREATE, _text(name), 0, 0, cid, _MINOR)
        sid: int | None = None if self.closed else await created
        if sid is None:
            raise NotThereError(name)
        return sid

    def _send(
        self, command: int, data: bytes, kind: int = 0, count: int = 0, first: int = 0, second: int = 0
    ) -> None:
        data += bytes(-len(data) % 8)
        if len(data) < _LONG and count < _LONG:
            head = _HEADER.pack(command, len(data), kind, count, first, second)
        else:
            head = _HEADER.pack(command, _LONG, kind, 0, first, second) + _LARGE.pack(len(data), count)
        self._writer.write(head + data)

    async def _receive(self) -> None:
        """Take the answers until the connection ends; what has none then was lost with it."""
        try:
            while True:
                command, size, _, _, first, second = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
                if size > _LARGEST:
                    return  # no server has as much to say here
                await self._reader.readexactly(size)
                self._take(command, first, second)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self._writer.close()
            for creating in self._creating.values():
                _tell(creating, None)
            for ended in self._puts.values():
                _tell(ended, DISCONNECTED)

    def _take(self, command: int, first: int, second: int) -> None:
        if command == _CREATE and (created := self._creating.pop(first, None)):
            self._channels[self._names[first]] = second
            _tell(created, second)
        elif command == _NOT_CREATED and (created := self._creating.pop(first, None)):
            del self._names[first]
            _tell(created, None)
        elif command == _REMOVED and (name := self._names.pop(first, None)):
            self._channels.pop(name, None)
        elif command == _WRITE_NOTIFY and (ended := self._puts.pop(second, None)):
            _tell(ended, first)
        elif command == _ECHO:
            self._send(_ECHO, b"")


def _tell(waited: asyncio.Future[Any], result: Any) -> None:
    if not waited.done():
        waited.set_result(result)


def _text(text: str) -> bytes:
    return text.encode() + b"\0"
