"""How long what a client sent waits here until the client takes the answers to what it sent before.

The kernel does not tell when each byte came. Of what has arrived when such a pause begins it is known, however, that
it waits through all of it, and through those that follow.
"""

from __future__ import annotations

from collections import deque
from time import monotonic

# Seconds that a request may wait: a put that waits longer is late
LATE = 5.0
# Seconds within which pauses begin together: a client may make thousands
_TOGETHER = LATE / 50


class Lateness:
    """The pauses of one client. Bytes are counted from the beginning of its connection."""

    def __init__(self) -> None:
        self._paused_at: float | None = None
        self._waited = 0.0  # seconds of all pauses that are over
        self._late = 0  # bytes, the last of which is late
        # (bytes that had arrived, seconds of pauses before that), both rising
        self._marks: deque[tuple[int, float]] = deque()

    @property
    def paused(self) -> bool:
        """Return True while the client is not heard because it does not take its answers."""
        return self._paused_at is not None

    def pause(self, arrived: int) -> None:
        """Begin a pause when so many bytes have arrived."""
        self._paused_at, waited = monotonic(), self._waited
        if self._marks and waited - self._marks[-1][1] < _TOGETHER:
            waited = self._marks.pop()[1]
        self._marks.append((arrived, waited))

    def resume(self, arrived: int) -> None:
        """End the pause; if it was long, all that has arrived until now counts as late."""
        assert self._paused_at is not None
        seconds = monotonic() - self._paused_at
        self._paused_at = None
        if seconds > LATE:
            self._late = arrived
            self._marks.clear()
        self._waited += seconds

    def late(self, heard: int) -> int:
        """Return how many bytes behind those that were ``heard`` are late."""
        while self._marks and (self._waited - self._marks[0][1] > LATE or self._marks[0][0] <= heard):
            self._late = max(self._late, self._marks.popleft()[0])
        return max(self._late - heard, 0)
