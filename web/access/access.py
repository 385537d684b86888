"""Who a request comes from, and what that person may."""

from __future__ import annotations

import asyncio
import logging
import secrets
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import Scope

from web.access.logins import LONGEST, Logins
from web.access.sessions import COOKIE, Session, Sessions
from web.access.throttle import Throttle
from web.access.visitor import Visitor

# Passwords that are verified at a time: each takes 64 MiB for a moment.
_AT_ONCE = 2

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

log = logging.getLogger(__name__)


class LoginRefused(Exception):
    """A login is refused: a sentence for the person. ``wait``: seconds until the next try, 0 if it may be now."""

    def __init__(self, sentence: str, wait: float = 0.0) -> None:
        super().__init__(sentence)
        self.wait = wait


class Access:
    """The rights of visitors. ``puts``: whether anybody may put; ``open_view``: whether all may see."""

    def __init__(self, logins: Logins, *, puts: bool, open_view: bool) -> None:
        self._logins = logins
        self._puts = puts
        self._open_view = open_view
        self._sessions = Sessions()
        self._throttle = Throttle()
        self._verifying = asyncio.Semaphore(_AT_ONCE)

    @property
    def has_logins(self) -> bool:
        """Return whether anybody can log in."""
        return self._logins.given

    def visitor(self, scope: Scope) -> Visitor:
        """Return who is at the other end; a page of another site is nobody, whatever cookies the browser sends."""
        connection = HTTPConnection(scope)
        address = connection.client.host if connection.client else "?"
        token = connection.cookies.get(COOKIE, "")
        session = self._begun(token) if same_site(connection) else None
        return Visitor(address, session.name, token) if session else Visitor(address)

    def session(self, visitor: Visitor) -> Session | None:
        """Return the session of a visitor, unless it has ended."""
        return self._begun(visitor.session)

    def _begun(self, token: str) -> Session | None:
        """Return the session of a token, unless it has ended or was begun with another password than that of now."""
        session = self._sessions.get(token) if token else None
        if session is None or session.known != self._logins.known(session.name):
            return None
        return session

    def may_see(self, visitor: Visitor) -> bool:
        """Return whether a visitor may see values."""
        return self._open_view or (self.session(visitor) is not None and bool(self._logins.rights(visitor.name)))

    def refusal(self, visitor: Visitor) -> str:
        """Return why a visitor may not put; empty if they may."""
        if not self._puts:
            return "nothing can be put from a browser: puts are off in this web server's configuration (web: puts)"
        if self.session(visitor) is None:
            return "log in first: only who is logged in may put"
        if self._logins.rights(visitor.name) != "put":
            return f"{visitor.name} may see, not put: the file of logins says so"
        return ""

    async def login(self, visitor: Visitor, name: str, password: str) -> str:
        """Return the token of a new session. Raises LoginRefused."""
        wait = self._throttle.wait(visitor.address)
        if wait > 0:
            raise LoginRefused(f"too many wrong passwords: try again in {wait:.0f} s", wait)
        # counted before it is looked at, so that many tries at once are no way around it
        self._throttle.failed(visitor.address)
        async with self._verifying:
            known = self._logins.known(name)
            right = len(password) <= LONGEST and await run_in_threadpool(self._logins.verify, name, password)
        if not right:
            log.warning("a login as %r from %s was refused", name[:LONGEST], visitor.address)
            raise LoginRefused("name or password is wrong")
        self._throttle.succeeded(visitor.address)
        self._sessions.end(visitor.session)
        log.info("%s logged in from %s", name, visitor.address)
        return self._sessions.begin(name, known)

    def logout(self, visitor: Visitor) -> None:
        """End the session of a visitor."""
        self._sessions.end(visitor.session)
        if visitor.name:
            log.info("%s logged out", visitor)

    def is_own_request(self, visitor: Visitor, csrf: str) -> bool:
        """Return whether a request that changes something comes from our own page: it knows the session's secret."""
        session = self.session(visitor)
        return session is not None and secrets.compare_digest(session.csrf.encode(), csrf.encode())


def same_site(connection: HTTPConnection) -> bool:
    """Return whether a request comes from our own page, or from no page at all (a program)."""
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    try:
        from_, to = urlsplit(origin), urlsplit(f"//{connection.headers.get('host', '')}")
        default = _PORTS.get(from_.scheme)
        return from_.hostname is not None and (from_.hostname, from_.port or default) == (
            to.hostname,
            to.port or default,
        )
    except ValueError:
        return False
