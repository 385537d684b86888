"""What is logged of a board: one line for what hits many of its channels."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from drivers.base import DeviceError

log = logging.getLogger(__name__)


class EventLog:
    """The events of a board in the course of a scan, which are logged in one line."""

    def __init__(self, board: str) -> None:
        self._board = board
        self._events: list[str] = []
        self._gone = False

    def add(self, events: Iterable[str]) -> None:
        """Add sentences for the next line."""
        self._events += events

    def flush(self) -> None:
        """Log what was added since the last time."""
        if self._events:
            more = f" (and {len(self._events) - 1} more like it)" if len(self._events) > 1 else ""
            log.warning("%s: %s%s", self._board, self._events[0], more)
            self._events.clear()

    def board_gone(self, error: DeviceError) -> None:
        """Log at once that the board is gone; once until it answers again."""
        if not self._gone:
            self._gone = True
            log.warning("%s is gone: %s", self._board, error)

    def board_answered(self) -> None:
        """Mark the board as there: when it goes, that is logged again."""
        self._gone = False
