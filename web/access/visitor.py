"""Who is at the other end of a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Visitor:
    """A person, or nobody known (``name`` empty); ``session`` is the token of the login."""

    address: str
    name: str = ""
    session: str = ""

    def __str__(self) -> str:
        """Return how a log names them."""
        return f"{self.name or 'somebody not logged in'} at {self.address}"
