"""Logging in and out: the addresses that change something."""

from __future__ import annotations

import json
import math

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from web.access.access import Access, LoginRefused, same_site
from web.access.sessions import cookie

# Bytes of a body.
_LONGEST = 4096


class TooLong(Exception):
    """A body that is longer than any that has a use here."""


def routes(access: Access) -> list[Route]:
    """Return the addresses."""

    async def me(request: Request) -> Response:
        visitor = access.visitor(request.scope)
        session = access.session(visitor)
        return JSONResponse(
            {"name": visitor.name, "refusal": access.refusal(visitor), "csrf": session.csrf if session else "",
             "may_see": access.may_see(visitor), "logins": access.has_logins},
            headers={"Cache-Control": "no-store"},
        )  # fmt: skip

    async def login(request: Request) -> Response:
        # no form of another page can send this type
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return JSONResponse({"error": "the body is JSON: name and password"}, 415)
        if not same_site(request):
            return JSONResponse({"error": "a login comes from the page of this server"}, 403)
        try:
            given = json.loads(await _body(request))
            name, password = given["name"], given["password"]
            if not isinstance(name, str) or not isinstance(password, str):
                raise TypeError
            (name + password).encode()  # JSON can have halves of characters
        except TooLong:
            return JSONResponse({"error": "the body is too long"}, 413)
        except (ValueError, KeyError, TypeError, RecursionError):
            return JSONResponse({"error": "the body is JSON: name and password"}, 400)
        try:
            token = await access.login(access.visitor(request.scope), name, password)
        except LoginRefused as error:
            wait = {"Retry-After": str(math.ceil(error.wait))} if error.wait else None
            return JSONResponse({"error": str(error)}, 429 if error.wait else 401, wait)
        return _with_cookie(request, token)

    async def logout(request: Request) -> Response:
        visitor = access.visitor(request.scope)
        if not access.is_own_request(visitor, request.headers.get("x-csrf-token", "")):
            return JSONResponse({"error": "a logout comes from the page of this server"}, 403)
        access.logout(visitor)
        return _with_cookie(request, "")

    return [
        Route("/api/me", me, methods=["GET"]),
        Route("/api/login", login, methods=["POST"]),
        Route("/api/logout", logout, methods=["POST"]),
    ]


def _with_cookie(request: Request, token: str) -> Response:
    made = cookie(token, secure=request.url.scheme == "https")
    return JSONResponse({}, headers={"Set-Cookie": made, "Cache-Control": "no-store"})


async def _body(request: Request) -> bytes:
    """Return the body. Raises TooLong before it is in memory."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST:
            raise TooLong
    return body
