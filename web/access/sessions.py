"""Sessions: a cookie with a random token that says nothing, and what it stands for in memory.

They end after some hours, when the person logs out or gets another password, and when the web server starts again.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from http.cookies import SimpleCookie

COOKIE = "rackioc_session"
# Seconds of a session: a shift.
LASTS = 12 * 3600
MOST = 1000


@dataclass(frozen=True)
class Session:
    """A login.

    known   the hash of the password that it was begun with: it ends when that is another one
    csrf    what a request that changes something must say
    ends    when it ends (monotonic clock)
    """

    name: str
    known: str
    csrf: str
    ends: float


class Sessions:
    """The sessions by token."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def begin(self, name: str, known: str) -> str:
        """Return the token of a new session."""
        token = secrets.token_urlsafe(32)
        self._sessions[token] = Session(name, known, secrets.token_urlsafe(32), time.monotonic() + LASTS)
        while len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return token

    def get(self, token: str) -> Session | None:
        """Return a session that has not ended."""
        session = self._sessions.get(token)
        if session is not None and session.ends < time.monotonic():
            del self._sessions[token]
            return None
        return session

    def end(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(token, None)


def cookie(token: str, *, secure: bool) -> str:
    """Return the value of the header Set-Cookie for a token; an empty one takes the cookie away."""
    made: SimpleCookie = SimpleCookie()
    made[COOKIE] = token
    made[COOKIE]["path"] = "/"
    made[COOKIE]["httponly"] = True
    made[COOKIE]["samesite"] = "Strict"
    made[COOKIE]["max-age"] = LASTS if token else 0
    if secure:
        made[COOKIE]["secure"] = True
    return made[COOKIE].OutputString()
