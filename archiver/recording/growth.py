"""How long the disk lasts: what the rows take more of it, and what is free."""

from __future__ import annotations

import time
from collections import deque

from archiver.storage.store import Store

# Seconds from one look to the next, of which the first and the last within SPAN say how fast the archive grows.
PERIOD, SPAN = 60.0, 86_400.0
# Seconds that the first look must lie back before anything is told: rows settle, and pages are used again.
SHORTEST = 600.0
# What is told of an archive that does not grow, or nearly not: a hundred years.
LONGEST_DAYS = 36_525.0


class Growth:
    """The size of an archive over the last day. It begins anew with each store, which may be another file."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._looks: deque[tuple[float, float]] = deque()
        self._next = 0.0
        self._free = 0.0
        self.days_left: float | None = None

    def look(self, store: Store) -> None:
        """Look at the size, if it is time to. Raises StoreError."""
        now = time.monotonic()
        if store is not self._store:
            self._store, self._next, self.days_left = store, now, None
            self._looks.clear()
        if now < self._next:
            return
        self._next = now + PERIOD
        space = store.space()
        if space is None:
            return
        self._looks.append((now, space.used))
        while self._looks[0][0] < now - SPAN:
            self._looks.popleft()
        self.days_left = _days(self._looks[0], self._looks[-1], space.free)


def _days(first: tuple[float, float], last: tuple[float, float], free: float) -> float | None:
    """Return how many days the free bytes last; None if that cannot be told yet."""
    elapsed, grown = last[0] - first[0], last[1] - first[1]
    if elapsed < SHORTEST:
        return None
    if grown <= 0:
        return LONGEST_DAYS
    return min(LONGEST_DAYS, free / grown * elapsed / 86_400)
