"""Requests to read a scan group now instead of at its next turn."""

from __future__ import annotations

from dataclasses import dataclass

from ioc.port.ended import Ended
from ioc.port.scan import Scan


@dataclass(slots=True, eq=False)
class Reread:
    """A request for a group; ``done`` is for who waits, ``asked`` when it came (monotonic s)."""

    group: str
    done: Ended
    asked: float
    scheduled: bool = False


class Rereads:
    """The requests that were not answered yet."""

    def __init__(self) -> None:
        self._waiting: list[Reread] = []

    def add(self, reread: Reread) -> None:
        """Add a request."""
        self._waiting.append(reread)

    @property
    def unscheduled(self) -> list[Reread]:
        """Return those whose group has still to be made due."""
        return [reread for reread in self._waiting if not reread.scheduled]

    def take(self, scan: Scan | None = None) -> list[Ended]:
        """Forget and return who waits for this scan, if it was begun after the request; for any scan (None)."""
        ended = [
            reread
            for reread in self._waiting
            if scan is None or (scan.group == reread.group and scan.began >= reread.asked)
        ]
        for reread in ended:
            self._waiting.remove(reread)
        return [reread.done for reread in ended]
