"""What the C library asks of a crate on the network: logins and calls."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from sim.caen.crate import Crate
from sim.caen.header import Code


class GarbledAnswer(Exception):
    """The library returns a code that its header does not know."""


@dataclass(eq=False)
class Login:
    """A login to a crate; it dies with the connection and does not come back."""

    host: Host
    user: str
    alive: bool = True
    error: Code = Code.OK
    busy: threading.Lock = field(default_factory=threading.Lock)


class Host(Protocol):
    """A crate on the network. Its methods raise CrateError."""

    def login(self, system: str, link: str, username: str, password: str) -> Login:
        """Open a login."""

    def logout(self, login: Login) -> None:
        """Close a login."""

    def call(self, login: Login, *, writes: bool) -> AbstractContextManager[Crate]:
        """Return the crate for the time of one call; raises GarbledAnswer, too."""

    def record(self, transaction: str) -> None:
        """Record a call and its outcome."""
