"""Floods of puts to one point: they wait here, not in the port, and of those that nobody waits for the newest wins.

As in EPICS base, where a record that is busy is processed once more with the value that it has then. A flood of puts
without callback so costs the instrument two of them; one of puts with callback is carried out whole, but what else is
put to the instrument does not queue behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from drivers.base import Point, Refused, Value
from ioc.port.putqueue import refusal_of

# Puts to one point that may be in the port at the same time: those with callback, and any that come after one
AT_ONCE = {True: 16, False: 1}


@dataclass(slots=True, eq=False)
class _Waiting:
    """A put that waits; ``turn`` becomes True when it goes, False when a newer one has taken its place."""

    point: Point
    callback: bool
    turn: asyncio.Future[bool]

    def end(self, goes: bool | Refused) -> None:
        if self.turn.done():  # who waited is gone
            return
        if isinstance(goes, Refused):
            self.turn.set_exception(goes)
        else:
            self.turn.set_result(goes)


class Newest:
    """The puts of one instrument on their way to its port.

    write   queues a put in the port, and returns when it is done
    undoes  ``Driver.undoes``
    """

    def __init__(
        self, write: Callable[[Point, Value], Awaitable[None]], undoes: Callable[[Point, Point], bool]
    ) -> None:
        self._write = write
        self._undoes = undoes
        self._under_way: Counter[str] = Counter()
        self._waiting: dict[str, deque[_Waiting]] = {}

    async def put(self, point: Point, value: Value, callback: bool) -> bool:
        """Carry out a put; return False if a newer one took its place: one without ``callback``. Raises DeviceError.

        A put that makes things safe waits for none, and counts for none; what it undoes is cancelled.
        """
        if value == point.safe:
            self._cancel(point)
            await self._write(point, value)
            return True
        name = point.name
        if name in self._waiting or self._under_way[name] >= AT_ONCE[callback]:
            if not await self._turn(point, callback):
                return False
        else:
            self._under_way[name] += 1
        try:
            await self._write(point, value)
        finally:
            self._done(name)
        return True

    async def _turn(self, point: Point, callback: bool) -> bool:
        """Wait; return False if a newer put has taken the place of this one. Raises Refused after PUT_AGE."""
        asked = time.monotonic()
        line = self._waiting.setdefault(point.name, deque())
        if line and not callback and not line[-1].callback:
            line.pop().end(False)
        waiting = _Waiting(point, callback, asyncio.get_running_loop().create_future())
        line.append(waiting)
        if not await waiting.turn:
            return False
        if error := refusal_of(point, asked):
            self._done(point.name)
            raise error
        return True

    def _done(self, name: str) -> None:
        """Note the end of a put, and let the next to the same point go; it counts from now on."""
        self._under_way[name] -= 1
        line = self._waiting.get(name)
        if line and self._under_way[name] < AT_ONCE[line[0].callback]:
            self._under_way[name] += 1
            line.popleft().end(True)
            if not line:
                del self._waiting[name]
        if not self._under_way[name]:
            del self._under_way[name]

    def _cancel(self, safe: Point) -> None:
        undone = [name for name, line in self._waiting.items() if self._undoes(safe, line[0].point)]
        for name in undone:
            for waiting in self._waiting.pop(name):
                sentence = f"{name}: not sent, a later put to {safe.name} that makes it safe overtook it"
                waiting.end(Refused(sentence))
