"""What a port's thread tells the event loop, in order: the loop is woken once for what was found out in one go.

Each waking costs both threads some 20 us, in which they take the interpreter from each other. What is much is made
in several turns of the loop, between which the clients and the other ports have theirs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

# Seconds of a turn of the loop that calls may take, unless the first takes longer
SECONDS = 0.001

Call = tuple[Callable[..., None], tuple[Any, ...]]


class Outbox:
    """Calls that wait for ``send``: by one thread, before it does anything that may take its time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: list[Call] = []
        # In the loop: what was sent and is to be made
        self._sent: deque[Call] = deque()
        self._taken = 0.0
        self._rests = False

    def add(self, listener: Callable[..., None], *args: object) -> None:
        """Let the loop make a call, with the next ``send``."""
        self._calls.append((listener, args))

    def send(self) -> None:
        """Wake the loop for all that was added."""
        if self._calls and not self._loop.is_closed():
            calls, self._calls = self._calls, []
            self._loop.call_soon_threadsafe(self._receive, calls)

    async def made(self) -> None:
        """Return, in the loop, when all calls that were sent are made."""
        while self._sent:
            await asyncio.sleep(0)

    def _receive(self, calls: list[Call]) -> None:
        self._sent += calls
        if not self._rests:
            self._make()

    def _make(self) -> None:
        """Make calls until they have taken their time of a turn: also those that were sent in many goes."""
        self._rests = False
        while self._sent and not self._rests:
            began = perf_counter()
            self._call(*self._sent.popleft())
            self._taken += perf_counter() - began
            self._rests = self._taken > SECONDS
        if self._rests:
            self._taken = 0.0
            self._loop.call_soon(self._make)

    def _call(self, listener: Callable[..., None], args: tuple[Any, ...]) -> None:
        try:
            listener(*args)
        except Exception as error:  # the others have no part in it
            self._loop.call_exception_handler({"message": f"a call of {listener} failed", "exception": error})
