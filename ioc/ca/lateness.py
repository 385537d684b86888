"""How long what a client sent waits here: until it takes the answers to what it sent before, or nobody is heard.

The kernel does not tell when each byte came. Of what has arrived when such a pause begins it is known, however, that
it waits through all of it, and through those that follow. Of what has come while the whole process stood still (it
was stopped, its computer was) nothing is known: any of it may have waited all the time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

# Seconds that a request may wait: a put that waits longer is late
LATE = 5.0
# Seconds within which pauses begin together: a client may make thousands
_TOGETHER = LATE / 50
# Seconds for which the process must have stood still; from which on values may have become old; between two looks
STANDSTILL, _PAUSE, _BEAT = LATE, 0.25, 0.1


class Standstill:
    """Whether the process stood still for so long that what has come meanwhile is late; ``over`` is called then.

    first   what is called after any pause, before clients are answered: it says which values have become too old
    """

    def __init__(self, over: Callable[[], None]) -> None:
        self.first: list[Callable[[], None]] = []
        self._over = over
        self._seen = monotonic()

    async def watch(self) -> None:
        """Look again and again; until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_BEAT)

    def look(self) -> None:
        """Look now: before what has come is heard."""
        now = monotonic()
        before, self._seen = self._seen, now
        if now - before > _PAUSE:
            for look in self.first:
                look()
        if now - before > STANDSTILL:
            self._over()


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

    def stood_still(self, arrived: int) -> None:
        """Count all that has arrived until now as late: nobody was heard for long."""
        self._late = max(self._late, arrived)

    def late(self, heard: int) -> int:
        """Return how many bytes behind those that were ``heard`` are late."""
        while self._marks and (self._waited - self._marks[0][1] > LATE or self._marks[0][0] <= heard):
            self._late = max(self._late, self._marks.popleft()[0])
        return max(self._late - heard, 0)
