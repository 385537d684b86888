"""The puts of one port: what is to be carried out next, and what makes things safe and must not be lost.

An ordinary put waits its turn, is carried out step by step, and is refused when the connection goes. A safe put (HV
off) goes before all others, and stays pending, whatever happens to the line, until the instrument shows it or
another value is put to the same point.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from drivers.base import Array, DeviceError, Point, Reading, Readings, Refused, Step, Value
from ioc.port.ended import Ended

# A put that has waited for more than this many seconds is refused: who asked for it has given up
PUT_AGE = 10.0
# Seconds after which who waits for a safe put hears that it is still pending
PATIENCE = 5.0
# Steps of scans between two of ordinary puts, if a scan is ready: puts have a third of a line too slow for all
SCAN_STEPS = 2
# Seconds from the start of a try to carry out a safe put to that of the next, while the instrument does not show it
REPEAT = 1.0


@dataclass(slots=True, eq=False)
class Put:
    """One put. Times in monotonic seconds.

    waiting   who waits for its end; nobody does for a safe put that follows a failed one
    changes   False if the instrument had the value already
    steps     what the driver does of it; None before it was begun
    looks     it was sent, and waits to be looked at; resume: when the next step may be done, or a safe put be tried
              again; began: when the last try did
    tried     it was sent, or may have been; broke: its last try ended with the connection
    readings  what the instrument said in the course of it
    error     of its last try
    """

    point: Point
    value: Value
    asked: float
    changes: bool = True
    waiting: list[Ended] = field(default_factory=list)
    steps: Iterator[Step] | None = None
    looks: bool = False
    resume: float = 0.0
    began: float = 0.0
    tried: bool = False
    broke: bool = False
    readings: dict[str, Value | Array | Reading] = field(default_factory=dict)
    error: DeviceError | None = None

    @property
    def safe(self) -> bool:
        """Return True for a put that makes things safe."""
        return self.point.safe is not None and self.value == self.point.safe

    @property
    def sent(self) -> bool:
        """Return True if it was sent, or may have been, since it was asked for last."""
        return self.tried and self.began >= self.asked

    @property
    def in_vain(self) -> bool:
        """Return True for a safe put that was sent, and not shown, over a line that is there: it is repeated."""
        return self.safe and self.error is not None and not self.broke

    def is_late(self, now: float) -> bool:
        """Return True for a put that is refused when its turn comes, because it has waited too long."""
        return not self.safe and self.steps is None and now - self.asked > PUT_AGE

    @property
    def words(self) -> str:
        """Return it in words: 'HV Off'."""
        return f"{self.point.name} {word_of(self.point, self.value)}"


class PutQueue:
    """The puts of one port; its methods may be called from any thread.

    lock    held while the queue is looked at or changed
    undoes  ``Driver.undoes``
    """

    def __init__(self, lock: threading.Condition, undoes: Callable[[Point, Point], bool]) -> None:
        self._lock = lock
        self._undoes = undoes
        self._waiting: list[Put] = []
        self._begun: list[Put] = []
        self._undone: list[Put] = []  # begun, and to be given up for a safe one
        self._pending: dict[str, Put] = {}  # safe ones by point
        self._safe: dict[str, tuple[Point, float]] = {}  # when the last safe put to a point was asked for
        self._repeated = False  # the last step was one of a safe put in vain: others have their turn
        self._last: Put | None = None  # the put stepped last, until the scans have had their turn
        self._scanned = 0  # steps of scans since then

    def add(self, put: Put) -> list[Put]:
        """Queue a put; return those that are cancelled, which must be ended with a sentence.

        A safe put cancels what waits; it has cancelled also what was asked for before it and comes only now.
        """
        with self._lock:
            if not put.safe:
                if any(asked > put.asked and self._undoes(point, put.point) for point, asked in self._safe.values()):
                    return [put]
                self._waiting.append(put)
                return []
            self._safe[put.point.name] = put.point, put.asked
            undone = [each for each in self._waiting if self._undoes(put.point, each.point)]
            for each in undone:
                self._waiting.remove(each)
            for each in tuple(self._begun):
                if each.point.safe is not None and self._undoes(put.point, each.point):
                    self._begun.remove(each)
                    self._undone.append(each)
            earlier = self._pending.get(put.point.name)
            if earlier is None:
                self._pending[put.point.name] = put
            else:
                earlier.waiting.extend(put.waiting)
                earlier.asked, earlier.error = put.asked, None  # who puts it once more does not wait for others
                earlier.resume = put.asked if earlier.steps is None else earlier.resume
            return undone

    def next(self, now: float, scan_ready: bool) -> Put | None:
        """Return the put to step now, if any.

        Safe ones go first, of several in turns, then those that were begun, then the others in order of arrival, one
        at a time for a point. Safe ones that are repeated in vain take turns with the others. All of them take turns
        with a scan that is ready, ordinary ones with two of its steps; a safe one only once it was begun. One
        that is late needs nothing of the line, so that thousands of them hold up none that is not.
        """
        with self._lock:
            found = self._next(now)
            after = self._last
            late = found is not None and found.is_late(now)
            if found is None or (scan_ready and after and not late and (not found.safe or found.tried)):
                return None
            if found in self._waiting:
                self._waiting.remove(found)
                self._begun.append(found)
            if not late:
                self._last, self._scanned, self._repeated = found, 0, found.in_vain
            return found

    def _next(self, now: float) -> Put | None:
        # Not sent yet: first; then what has waited longest, so that one which is repeated in vain holds up no other
        safe = sorted(self._pending.values(), key=lambda put: (put.tried, put.resume))
        urgent = [put for put in safe if put.resume <= now and not self._overtaken(put)]
        found = next((put for put in urgent if not put.in_vain), None)
        if found is not None or (urgent and not self._repeated):
            return found or urgent[0]
        return self._next_ordinary(now) or next(iter(urgent), None)

    def _next_ordinary(self, now: float) -> Put | None:
        for put in self._begun:
            if put.resume <= now:
                return put
        busy = {put.point.name for put in self._begun}
        busy |= {put.point.name for put in self._pending.values() if put.steps is not None}
        return next((put for put in self._waiting if put.point.name not in busy), None)

    def _overtaken(self, safe: Put) -> bool:
        """Return True while a later put to the same point is under way, which may take the place of the safe one."""
        return any(put.point.name == safe.point.name and put.asked > safe.asked for put in self._begun)

    def scan_stepped(self) -> None:
        """Note that a step of a scan was done."""
        self._scanned += 1
        if self._last is not None and (self._last.safe or self._scanned >= SCAN_STEPS):
            self._last = None

    def wait(self, now: float) -> float:
        """Return seconds until one of those that pause may go on, or be tried again; ``next`` has none now."""
        with self._lock:
            safe = [put for put in self._pending.values() if not self._overtaken(put)]
            moments = [put.resume for put in (*safe, *self._begun)]
            return max(0.0, min(moments, default=now + 3600.0) - now)

    @property
    def pending(self) -> list[Put]:
        """Return the safe puts that the instrument has not shown yet."""
        with self._lock:
            return list(self._pending.values())

    def is_pending(self, point: Point) -> bool:
        """Return True while a put that makes the point safe is not shown by the instrument yet."""
        return any(put.point.name == point.name for put in self.pending)

    def is_urgent(self) -> bool:
        """Return True while a safe put waits to be sent."""
        return any(not put.sent for put in self.pending)

    @property
    def under_way(self) -> list[Iterator[Step]]:
        """Return the steps of the puts that were begun, and are not over."""
        with self._lock:
            begun = (*self._pending.values(), *self._begun, *self._undone)
            return [put.steps for put in begun if put.steps is not None]

    def note_readings(self, readings: Readings) -> None:
        """Note which puts change something after all: the instrument no longer has their value."""
        with self._lock:
            for put in (*self._waiting, *self._begun):
                reading = readings.get(put.point.follows or "", put.value)
                value = reading.value if isinstance(reading, Reading) else reading
                put.changes |= value is not None and value != put.value

    def error_of(self, point: Point) -> DeviceError | None:
        """Return why the last try of a pending put to a point failed."""
        put = self._pending.get(point.name)
        return None if put is None else put.error

    def repeat(self, put: Put, moment: float) -> None:
        """Try a safe put again, from its first step, at ``moment``."""
        put.steps, put.looks, put.resume, put.tried = None, True, moment, True

    def end(self, put: Put) -> None:
        """Forget a put that is over."""
        with self._lock:
            for queue in (self._begun, self._undone):
                if put in queue:
                    queue.remove(put)
            if self._pending.get(put.point.name) is put:
                del self._pending[put.point.name]

    def replaced_by(self, put: Put) -> Put | None:
        """Forget and return the safe put whose place a put that was carried out has taken."""
        with self._lock:
            safe = self._pending.get(put.point.name)
            if put.safe or safe is None or safe.asked > put.asked:
                return None
            return self._pending.pop(put.point.name)

    def take_undone(self) -> list[Put]:
        """Forget and return the switches under way that a safe put has undone: they must not go on after it."""
        with self._lock:
            undone, self._undone = self._undone, []
            return undone

    def take_waiting(self) -> list[Put]:
        """Forget and return the ordinary puts that were not begun."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            return waiting

    def interrupt(self, now: float) -> list[Put]:
        """Forget and return the ordinary puts that were begun; safe ones are to begin anew."""
        with self._lock:
            for put in self._pending.values():
                if put.steps is not None:
                    self.repeat(put, now)
            return self.take_begun()

    def take_begun(self) -> list[Put]:
        """Forget and return the ordinary puts that were begun."""
        with self._lock:
            begun, self._begun, self._undone = self._begun + self._undone, [], []
            return begun


def refusal_of(point: Point, asked: float) -> Refused | None:
    """Return the error of a put that was asked for (monotonic s) too long ago; None while it may be sent."""
    if time.monotonic() - asked <= PUT_AGE:
        return None
    return Refused(f"{point.name}: not sent, it waited for more than {PUT_AGE:g} s")


def word_of(point: Point, value: Value) -> str:
    """Return a state's word, or the value as text."""
    if isinstance(value, int) and 0 <= value < len(point.states):
        return point.states[value]
    return str(value)
