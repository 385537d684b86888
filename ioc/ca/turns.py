"""Turns of the event loop: what one client may take of one, and which of those that have more to do is next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter, thread_time

# Seconds and bytes to be sent that one client may take of a turn: for its requests, and again for its updates.
# Another client waits for two such turns at most, the one in progress and the next
SECONDS = 0.001
BYTES = 1 << 16
# The share of it that is taken as soon as requests arrive, for hundreds of clients may be heard in the same turn: who
# sends more waits for a turn, and does so at once for as many seconds from then on
AT_ONCE = 0.15
LATELY = 5.0


class Budget:
    """What may still be done in a turn; ``out`` is where the bytes to be sent gather, ``share`` that of its time."""

    def __init__(self, out: list[bytes], share: float = 1.0) -> None:
        self._out = out
        self._until = perf_counter() + share * SECONDS
        self._left = BYTES
        self._counted = len(out)

    def spent(self) -> bool:
        """Return True if the rest is for a later turn."""
        out = self._out
        more = len(out) - self._counted
        if more:
            self._left -= len(out[-1]) if more == 1 else sum(map(len, out[self._counted :]))
            self._counted += more
        return self._left <= 0 or perf_counter() > self._until

    def used(self, began: float) -> bool:
        """Return True if a whole turn was spent on work: not while other programs had the processor.

        ``began``: when that began (``thread_time``).
        """
        return self.spent() and (self._left <= 0 or thread_time() - began > SECONDS)


class Turns:
    """What is to be gone on with: one after the other, each in a turn of the loop in which all else has its own.

    clients   how many are connected, among whom what they take is shared
    """

    def __init__(self) -> None:
        self.clients = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._called = False

    def add(self, turn: Callable[[], None]) -> None:
        """Call ``turn`` once, after those that were added before."""
        self._waiting.append(turn)
        self._call()

    def _call(self) -> None:
        if self._waiting and not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._called = False
        turn = self._waiting.popleft()
        try:
            turn()
        finally:
            self._call()
