"""The calls that libca's threads leave for the thread that polls: a queue that is bounded in bytes."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, NamedTuple

# Bytes of updates that may wait, and what one takes beside its value.
LIMIT = 128_000_000
OVERHEAD = 250
# Bytes of an update in which its time stamp is (see dbr.py).
HEAD = 16

# In the place of an ECA status: updates were dropped, the second argument is ``Dropped``.
LOST = -1


class Call(NamedTuple):
    """The number of a handler, its two arguments, and when libca called (seconds since 1970)."""

    handler: int
    first: int
    second: Any
    time: float


class Dropped(NamedTuple):
    """Updates of a subscription for which there was no room; the last of them is kept, as the value in force.

    more     how many there were before the last one
    first    the head of the first one, with its time stamp
    last     the last one
    """

    more: int
    first: bytes
    last: bytes


class CallQueue:
    """A queue that libca's threads fill and one thread empties.

    When it is full, updates of subscriptions (``droppable`` holds their numbers) are dropped, the newest first, and
    their handlers are called with LOST before the next one. Whatever else comes is always taken.

    lost    updates that were dropped
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._calls: deque[Call] = deque()
        self._dropped: dict[int, Dropped] = {}
        self._lock = threading.Lock()
        self._size = 0
        self.droppable: set[int] = set()
        self.lost = 0

    def __len__(self) -> int:
        """Return the number of calls that wait."""
        return len(self._calls)

    @property
    def size(self) -> int:
        """Return the bytes that wait, about."""
        return self._size

    @property
    def oldest(self) -> float | None:
        """Return when the oldest call came (seconds since 1970), None if there is none."""
        try:
            return self._calls[0].time
        except IndexError:
            return None

    def put(self, number: int, first: int, second: Any) -> None:
        """Append a call, in any case unless it is of a subscription."""
        cost = OVERHEAD + (len(second) if isinstance(second, bytes) else 0)
        now = time.time()
        with self._lock:
            if number in self.droppable and second:
                if self._size + cost > self._limit:
                    self._drop(number, second)
                    return
                if number in self._dropped:
                    self._calls.append(Call(number, LOST, self._dropped.pop(number), now))
            self._size += cost
            self._calls.append(Call(number, first, second, now))

    def take(self, most: int) -> list[Call]:
        """Remove and return the oldest calls; when no others are left, what was dropped of each subscription."""
        with self._lock:
            calls = [self._calls.popleft() for _ in range(min(most, len(self._calls)))]
            for call in calls:
                if call.first != LOST:
                    self._size -= OVERHEAD + (len(call.second) if isinstance(call.second, bytes) else 0)
            if not calls and self._dropped:
                now = time.time()
                calls = [Call(number, LOST, dropped, now) for number, dropped in self._dropped.items()]
                self._dropped.clear()
            return calls

    def end(self, number: int) -> Dropped | None:
        """Return what was dropped of a subscription that has ended and its handler was not called for."""
        with self._lock:
            self.droppable.discard(number)
            return self._dropped.pop(number, None)

    def _drop(self, number: int, data: bytes) -> None:
        before = self._dropped.get(number)
        if before is None:
            self._dropped[number] = Dropped(0, data[:HEAD], data)
        else:
            self.lost += 1
            self._dropped[number] = Dropped(before.more + 1, before.first, data)
