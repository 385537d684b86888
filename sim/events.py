"""What a fake instrument heard and did, and how its true state changed: a bounded list with monotonic time stamps."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

# A part of the true state; None: it is not there any more
Scalar = float | int | str | None

# Events that are kept: ten minutes of a full rack
MOST = 200_000
# Events that one answer of the control channel holds
PAGE = 5000


class Event(NamedTuple):
    """Something that happened: ``time`` by the fake's clock (monotonic s), what, and a value.

    heard      a command that arrived
    missed     a command that a fault kept from arriving
    answered   an answer that left as it should; spoilt: one that a fault lost or changed
    wire       a transaction of an instrument without the four above: a call of a library, a report
    fault      a command of the control channel
    violation  what the manual forbids
    is:NAME    the part NAME of the true state, from then on
    """

    time: float
    what: str
    value: Scalar


class Events:
    """The events of one fake; may be used from several threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.count = 0  # of all so far, those included that are not kept any more
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: deque[Event] = deque(maxlen=MOST)
        self._state: dict[str, Scalar] = {}

    def add(self, what: str, value: Scalar) -> None:
        """Record an event of now."""
        with self._lock:
            self._append(Event(self._clock(), what, value))

    def changed(self, state: Mapping[str, Scalar], deadbands: Mapping[str, float]) -> None:
        """Record what is different in the true state; a number whose last word has a deadband, once it left that."""
        with self._lock:
            now = self._clock()
            for name in self._state.keys() - state.keys():
                del self._state[name]
                self._append(Event(now, f"is:{name}", None))
            for name, value in state.items():
                if name not in self._state or _differs(self._state[name], value, name, deadbands):
                    self._state[name] = value
                    self._append(Event(now, f"is:{name}", value))

    def since(self, number: int, most: int | None = None) -> tuple[int, list[Event]]:
        """Return the events from a number on, as far as they are kept, and the number of the first of them."""
        with self._lock:
            if number >= self.count:
                return number, []
            dropped = self.count - len(self._kept)
            first = max(number, dropped)
            events = list(self._kept)[first - dropped :]
        return first, events[:most]

    def page(self, number: int) -> dict[str, Any]:
        """Return some events from a number on, as JSON can hold it; ``next`` is the number to go on with."""
        first, events = self.since(number, PAGE)
        return {"now": self._clock(), "first": first, "next": first + len(events), "events": events}

    def _append(self, event: Event) -> None:
        self._kept.append(event)
        self.count += 1


def _differs(old: Scalar, new: Scalar, name: str, deadbands: Mapping[str, float]) -> bool:
    deadband = deadbands.get(name.rpartition(":")[2])
    if deadband is None or not isinstance(old, float | int) or not isinstance(new, float | int):
        return old != new
    # What begins, or comes to rest at zero, is always told
    return abs(new - old) > deadband or (old != new and 0 in (old, new)) or math.isnan(new) != math.isnan(old)


def flat(state: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    """Return a nested state with dots between the names of its parts."""
    found: dict[str, Scalar] = {}
    for name, value in state.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            found |= flat(dict(enumerate(value)), f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            found[f"{prefix}{name}"] = value
    return found
