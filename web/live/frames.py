"""Frames of a web socket (RFC 6455) that are made once and written to many: what a server sends is not masked."""

from __future__ import annotations

import struct
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# Final frame with a text; with a ping, without data.
_TEXT = 0x81
PING = b"\x89\x00"


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

    Rests on private names of uvicorn: ``writable``, ``disconnected``, ``close_sent``, ``transport``, and
    ``keepalive_timeout``. It must not compress.
    """

    async def send(self, message: Any) -> None:
        """Send a message; wait first while the other side does not read."""
        frames = message.get("frames")
        if frames is None:
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        self.transport.write(frames)

    def keepalive_timeout(self) -> None:
        """End a connection that has not answered a ping, without waiting until what is left for it is read."""
        super().keepalive_timeout()
        self.transport.abort()
