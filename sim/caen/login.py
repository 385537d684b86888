"""The network between the C library and the crates: logins and calls."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from sim.caen.crate import Crate
from sim.caen.faults import Call
from sim.caen.header import Code


class GarbledAnswer(Exception):
    """The library returns a code that its header does not know."""


@dataclass(eq=False)
class Login:
    """A login to a crate; it dies with the connection and does not come back."""

    host: Host
    user: str
    alive: bool = True
    used: float | None = None  # when a call came last, by the crate's clock
    error: int = Code.OK
    busy: threading.Lock = field(default_factory=threading.Lock)


class Host(Protocol):
    """A crate on the network, as the C library reaches it. Its methods raise CrateError."""

    def login(self, system: str, link: str, username: str, password: str) -> Login:
        """Open a login."""

    def logout(self, login: Login) -> None:
        """Close a login."""

    def call(self, login: Login, *, writes: bool) -> AbstractContextManager[Crate]:
        """Return the context of one call, with the crate. Raises GarbledAnswer, too."""

    def hit(self, call: Call) -> int | None:
        """Return the result code of a call that a fault hits, else None."""

    def hit_late(self, call: Call) -> int | None:
        """Return the result code in place of the answer of a call that was carried out, else None."""

    def record(self, transaction: str) -> None:
        """Record a call and its result code."""
