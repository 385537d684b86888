"""Frames of a web socket (RFC 6455) that are made once and written to many: what a server sends is not masked."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import sys
from asyncio.transports import BaseTransport
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# Final frame with a text; with a ping, without data.
_TEXT = 0x81
PING = b"\x89\x00"
# Bytes that wait in the kernel when more are made, at most: over a slow network they are old values when they go out.
_UNSENT = 8_000
# Of Linux: how many bytes the kernel has not sent yet (tcp(7)); seconds from one look at it to the next.
_SIOCOUTQNSD = 0x894B
_SOON_S, _SELDOM_S = 0.01, 0.2


def text_frame(text: bytes) -> bytes:
    """Return the frame of a text message."""
    size = len(text)
    if size < 126:
        return bytes((_TEXT, size)) + text
    if size < 65536:
        return struct.pack(">BBH", _TEXT, 126, size) + text
    return struct.pack(">BBQ", _TEXT, 127, size) + text


class FrameProtocol(WebSocketsSansIOProtocol):
    """uvicorn's web socket, which also sends messages ``{"type": "websocket.send", "frames": bytes}`` as they are.

    A client that sends what is refused (too long, not UTF-8) is told so before it is cut off, though it is still
    sending: a socket that is closed with something unread takes from its client what was written to it last.

    Rests on private names of uvicorn: ``writable``, ``disconnected``, ``close_sent``, ``close_timer``,
    ``close_timeout``, ``read_paused``, ``transport``, ``conn``, ``handshake_initiated``, ``handle_parser_exception``
    and ``keepalive_timeout``. It must not compress.
    """

    _refused = False

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to serve; nothing waits in the transport but what it was given at once."""
        super().connection_made(transport)
        # not (0): TLS would pause with nothing to write, and not go on
        self.transport.set_write_buffer_limits(high=1, low=0)

    def data_received(self, data: bytes) -> None:
        """Take what the client sends, its whole request first; discard it once something was refused."""
        if self._refused:
            return
        super().data_received(data)
        if not self.handshake_initiated:
            self._refuse_request()

    def handle_parser_exception(self) -> None:
        """Tell the client that what it sends is refused, and why; end the connection when the client has read it."""
        self._refused = self.close_sent = True
        assert self.conn.close_sent is not None
        code, reason = self.conn.close_sent.code, self.conn.close_sent.reason
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    def _refuse_request(self) -> None:
        """Answer a request for a web socket that is none (it has a body, or too much), and end the connection."""
        self._refused = self.close_sent = True
        # websockets has an answer for some; uvicorn sends none
        answer = b"".join(self.conn.data_to_send())
        self.transport.write(answer or self.conn.reject(400, "This is no request for a web socket.\n").serialize())
        self.transport.close()

    async def send(self, message: Any) -> None:
        """Send a message, and wait until nearly all of it is under way: what is made then is new when it goes out."""
        frames = message.get("frames")
        if frames is None:
            await super().send(message)
            return
        await self.writable.wait()
        # one that is closing takes nothing more, and asyncio would log each of many frames
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ClientDisconnected
        self.transport.write(frames)
        await self.writable.wait()
        wait = _SOON_S
        while self._unsent() > _UNSENT:
            await asyncio.sleep(wait)
            wait = min(2 * wait, _SELDOM_S)

    def _unsent(self) -> int:
        """Return how many bytes wait in the kernel; the far end, or the network, is slower than what is new."""
        if self.transport.is_closing():
            return 0
        found = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), _SIOCOUTQNSD, bytes(4))
        return int.from_bytes(found, sys.byteorder)

    def keepalive_timeout(self) -> None:
        """End a connection that has not answered a ping, without waiting until what is left for it is read."""
        super().keepalive_timeout()
        self.transport.abort()
