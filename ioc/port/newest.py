"""Floods of puts to one point: they wait here, not in the port, and of those that nobody waits for the newest wins.

As in EPICS base, where a record that is busy is processed once more with the value that it has then. A flood of puts
without callback so costs the instrument two of them; one of puts with callback is carried out whole, but what else is
put to the instrument does not queue behind it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from drivers.base import Point, Refused, Value
from ioc.port.ended import Ended, fail, succeed
from ioc.port.putqueue import refusal_of

# Puts to one point that may be in the port at the same time: those with callback, and any that come after one
AT_ONCE = {True: 16, False: 1}
# Puts of those that an Off overtook whose end is told in one turn of the loop: there may be 60,000, and nobody else,
# another Off among them, would be heard while all are told in one go (2 s and more)
TOLD_AT_ONCE = 16


@dataclass(slots=True, eq=False)
class _Put:
    """A put (``asked``: when it was, monotonic s); ``ended``: what ``put`` has returned for it."""

    point: Point
    value: Value
    callback: bool
    asked: float
    ended: Ended


class Newest:
    """The puts of one instrument on their way to its port.

    write   queues a put in the port: point, value, when it was asked for, and what is to be ended with it
    undoes  ``Driver.undoes``
    """

    def __init__(
        self, write: Callable[[Point, Value, float, Ended], None], undoes: Callable[[Point, Point], bool]
    ) -> None:
        self._write = write
        self._undoes = undoes
        self._under_way: Counter[str] = Counter()
        self._waiting: dict[str, deque[_Put]] = {}
        self._overtaken: deque[tuple[deque[_Put], str]] = deque()  # whose end is still to be told, in a sentence

    def put(self, point: Point, value: Value, callback: bool, asked: float) -> Ended:
        """Begin a put; return its end, with the DeviceError; if a newer one took its place, with the end of that.

        That happens to puts without ``callback`` only. One that makes things safe waits for none, and counts for
        none; what it undoes is cancelled. ``asked``: when the client asked for it (monotonic s).
        """
        ended = Ended()
        put = _Put(point, value, callback, asked, ended)
        if value == point.safe:
            self._cancel(point)
            self._write(point, value, asked, ended)
        elif point.name in self._waiting or self._under_way[point.name] >= AT_ONCE[callback]:
            self._wait(put)
        else:
            self._begin(put)
        return ended

    def _begin(self, put: _Put) -> None:
        """Hand a put to the port; it counts from now on."""
        self._under_way[put.point.name] += 1
        put.ended.add_done_callback(partial(self._done, put.point.name))
        if refusal := refusal_of(put.point, put.asked):
            fail(put.ended, refusal)
        else:
            self._write(put.point, put.value, put.asked, put.ended)

    def _wait(self, put: _Put) -> None:
        """Let a put wait, in the place of the one before it if nobody waits for the end of either."""
        line = self._waiting.setdefault(put.point.name, deque())
        if line and not put.callback and not line[-1].callback:
            succeed(line.pop().ended, put.ended)
        line.append(put)

    def _done(self, name: str, _ended: Ended) -> None:
        """Note the end of a put, and let the next to the same point go."""
        self._under_way[name] -= 1
        line = self._waiting.get(name)
        if line and self._under_way[name] < AT_ONCE[line[0].callback]:
            put = line.popleft()
            if not line:
                del self._waiting[name]
            self._begin(put)
        if not self._under_way[name]:
            del self._under_way[name]

    def _cancel(self, safe: Point) -> None:
        """Take out of the line what an Off undoes; that it will not be sent is told in turns."""
        undone = [name for name, line in self._waiting.items() if self._undoes(safe, line[0].point)]
        telling = bool(self._overtaken)
        for name in undone:
            sentence = f"{name}: not sent, a later put to {safe.name} that makes it safe overtook it"
            self._overtaken.append((self._waiting.pop(name), sentence))
        if not telling:
            self._tell_overtaken()

    def _tell_overtaken(self) -> None:
        for _ in range(TOLD_AT_ONCE):
            if not self._overtaken:
                return
            line, sentence = self._overtaken[0]
            fail(line.popleft().ended, Refused(sentence))
            if not line:
                self._overtaken.popleft()
        asyncio.get_running_loop().call_soon(self._tell_overtaken)
