"""What holds for each request: headers of the answer, who may see, how long a body may take."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.access.access import Access

# Everything that the page needs comes from this server; nobody may show it in a frame of theirs.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# A year: who came by TLS once does so again.
_STRICT = "max-age=31536000"

# Seconds from one piece of a body to the next, and for all of it.
_PATIENCE, _WHOLE = 10.0, 30.0

# The first words of the addresses that show values; the page itself, and the login, may be seen by all.
_SHOWN = ("/api/", "/pvws/", "/retrieval/", "/metrics")
_OPEN = {"/api/me", "/api/login", "/api/openapi.json", "/pvws/info"}


class Headers:
    """Adds headers to each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its answer with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        body = _Body(receive)

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", _STRICT)
            elif body.is_coming and not message.get("more_body"):
                # a connection that is closed while more comes is reset, and the answer with it
                await send({**message, "more_body": True})
                await body.discard()
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, body.receive, add)


class View:
    """Refuses values to those who may not see them; ``access`` decides."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        path = scope.get("path", "")
        asks = scope["type"] in {"http", "websocket"} and path.startswith(_SHOWN) and path not in _OPEN
        if asks and not self._access.may_see(self._access.visitor(scope)):
            await JSONResponse({"error": "log in first"}, 401)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _Body:
    """The body of a request; one that does not come, or too slowly, is taken for a client that has gone."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._end = time.monotonic() + _WHOLE
        self.is_coming = True

    async def receive(self) -> Message:
        """Return the next piece, or that the client has gone."""
        if not self.is_coming:
            return await self._receive()
        try:
            async with asyncio.timeout(min(_PATIENCE, self._end - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            message = {"type": "http.disconnect"}
        self.is_coming = bool(message.get("more_body"))
        return message

    async def discard(self) -> None:
        """Take the rest, which nobody wants."""
        while self.is_coming:
            await self.receive()
