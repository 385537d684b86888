"""The connection of one Channel Access client: bytes received, bytes to be sent, and clients that do not read.

Messages are read where they lie and answered in one write; updates are packed once and appended to one list a
connection. A client that does not read gets nothing more until it does, and then the newest value of each
subscription: it loses what was in between, holds up nobody, and costs no memory.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Protocol

from ioc import faults
from ioc.ca.message import INTERNAL, PROTOCOL_VERSION, VERSION, header

log = logging.getLogger("rackioc.server")

# Bytes that may wait in this process for a client to read, and bytes of answers after which it is not heard any more
WAITING = 1 << 19
ANSWERS_WAITING = 1 << 23

# Where a client's bytes are received: read at once, so one place does for all. Not larger, for others want a turn
_RECEIVED = bytearray(1 << 15)


class RequestError(Exception):
    """What a client sent is wrong: it is answered with an error, which has a status code (caerr.h)."""

    def __init__(self, reason: str, status_code: int = INTERNAL) -> None:
        super().__init__(reason)
        self.status_code = status_code


class BrokenProtocolError(RequestError):
    """What a client sent makes no sense; it is told so and disconnected, where EPICS base does it (camessage.c)."""


class Receiver(Protocol):
    """Who answers what a client sends."""

    def receive(self, data: bytes) -> int:
        """Carry out the whole messages in ``data``; return how many bytes they were. Raises BrokenProtocolError."""

    def close(self) -> None:
        """Forget the client: its connection is gone."""


class Framed(Protocol):
    """What a client subscribed to."""

    def frame(self) -> bytes:
        """Return the whole message with the value of now."""

    def failed(self, error: Exception) -> bytes:
        """Return the whole message that tells the client that the value of now cannot be had."""


class Connection(asyncio.BufferedProtocol):
    """One TCP connection of a client.

    receiver  who answers what arrives; set before the connection is made
    out       messages that are sent with the next ``flush``
    blocked   True while nothing may be sent, because the client does not read or asked for it
    missed     the updates that it misses while it is blocked
    """

    transport: asyncio.Transport
    address: tuple[str, int]
    receiver: Receiver

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.missed: dict[Framed, None] = {}
        self.blocked = False
        self._rest = b""
        self._held = self._full = False
        self._reading = True

    # ---- asyncio calls these ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client with the version of the protocol."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=WAITING)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.address = transport.get_extra_info("peername")[:2]
        self.out.append(header(VERSION, 0, 0, PROTOCOL_VERSION, 0, 0))
        self.flush()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return the place for what is received next."""
        return _RECEIVED

    def buffer_updated(self, nbytes: int) -> None:
        """Read what was received."""
        self._receive(self._rest + memoryview(_RECEIVED)[:nbytes])

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self.receiver.close()
        self.missed.clear()
        self.out.clear()
        self.blocked = True

    def pause_writing(self) -> None:
        """Send nothing more: the client does not read."""
        self._full = True
        self._block()

    def resume_writing(self) -> None:
        """Send what was missed, and go on with what the client had sent meanwhile."""
        self._full = False
        self._block()
        if not self._reading:
            self._reading = True
            self._receive(self._rest)
            if self._reading and not self.transport.is_closing():
                self.transport.resume_reading()

    # ---- the server and the conversation call these ----

    def flush(self) -> None:
        """Send what waits, in one write."""
        if self.out:
            data = b"".join(self.out)
            self.out.clear()
            if self.transport.is_closing():
                return
            try:
                self.transport.write(data)
            except Exception as error:  # no other client has a part in it
                faults.log_once("the sending", "the server", error)
                self.transport.abort()

    def update(self, update: Framed) -> None:
        """Send a subscriber the newest value, now or when it reads again."""
        if self.blocked:
            self.missed[update] = None
            return
        try:
            self.out.append(update.frame())
        except Exception as error:  # a fault of one value must not cost anybody the others
            self.out.append(update.failed(error))

    def hold(self, updates: bool) -> None:
        """Hold updates back (True), or send again the newest of those that were held back (False)."""
        self._held = updates
        self.flush()
        self._block()

    def drop(self, reason: str) -> None:
        """Cut the connection; the client finds its way back if it is one."""
        log.warning("client %s:%d is disconnected: %s", *self.address, reason)
        self.flush()  # what it did wrong
        self.transport.abort()

    def answers_wait(self) -> bool:
        """Return True if the client does not take its answers: what else it sent is not read until it does."""
        self.flush()
        if self.transport.get_write_buffer_size() > ANSWERS_WAITING:
            self._reading = False
            self.transport.pause_reading()
        return not self._reading

    def _receive(self, data: bytes) -> None:
        try:
            self._rest = data[self.receiver.receive(data) :]
        except BrokenProtocolError as error:
            self.drop(f"it violated the Channel Access protocol ({error})")
            return
        except Exception:
            log.exception("internal error while answering client %s:%d; it is disconnected", *self.address)
            self.transport.abort()
            return
        self.answers_wait()

    def _block(self) -> None:
        blocked = self._held or self._full
        if blocked == self.blocked:
            return
        self.blocked = blocked
        if not blocked:
            missed, self.missed = self.missed, {}
            for update in missed:
                self.update(update)
            self.flush()
