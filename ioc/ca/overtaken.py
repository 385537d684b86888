"""What a client had sent when another one made something safe: it was asked for before that, whenever its turn is.

Of what has arrived here it is known how much it is. More may wait at the client where there was no room for it.
"""

from __future__ import annotations

import math
from collections import deque
from time import monotonic

# Bytes of a client that wait in the kernel from which on more may wait at the client itself
_FULL = 1 << 14
# Seconds without a byte after which none of those can be on its way any more; marks within them are one
_IDLE = 0.1
# Seconds after which what may have waited at the client counts as of now, though more has come of it all the time;
# counted anew as long as there is still no room here for all of it
_LONGEST = 5.0
# Bytes that a client's computer holds at most of what it has sent (Linux: tcp_wmem): what comes behind them is new
_HELD = 1 << 22


class Overtaken:
    """Which bytes of one client were sent before what; they are counted from the beginning of its connection."""

    def __init__(self) -> None:
        # (bytes that had come, when something was made safe), both rising
        self._marks: deque[tuple[int, float]] = deque()
        # (bytes that had come, when something was made safe) while more may have waited at the client
        self._full: deque[tuple[int, float]] = deque()
        self._full_until = -math.inf  # when as much as _FULL waited in the kernel last
        self._idle_since = math.inf  # all that came was heard

    def note(self, heard: int, unheard: int, waiting: int, at: float) -> None:
        """Note that something is made safe ``at`` (monotonic s).

        ``heard``: bytes that were carried out; ``unheard``: that were read besides; ``waiting``: in the kernel.
        """
        self._forget(heard, at)
        come = heard + unheard + waiting
        if come > (self._marks[-1][0] if self._marks else heard):
            self._marks.append((come, at))
        if waiting > _FULL and (not self._full or at - self._full[-1][1] > _IDLE):
            self._full.append((come, at))

    def asked(self, place: int) -> float | None:
        """Return when what begins behind so many bytes was asked for at the latest (monotonic s); None: now."""
        if not self._marks and not self._full:
            return None
        self._forget(place, monotonic())
        marks = self._marks or self._full
        return marks[0][1] if marks else None

    def hears(self) -> None:
        """Note that all that came was heard."""
        if self._full:
            self._idle_since = monotonic()

    def comes(self, size: int) -> None:
        """Note that ``size`` bytes more come; after a pause none of them had waited at the client.

        If they are many, they lay here, and there was none: this process was busy.
        """
        if self._full:
            now = monotonic()
            if size >= _FULL:
                self._full_until = now
            elif now - self._idle_since > _IDLE:
                self._full.clear()
        self._idle_since = math.inf

    def _forget(self, heard: int, now: float) -> None:
        while self._marks and self._marks[0][0] <= heard:
            self._marks.popleft()
        while self._full and self._is_over(*self._full[0], heard, now):
            self._full.popleft()

    def _is_over(self, come: int, at: float, heard: int, now: float) -> bool:
        """Return True if nothing that is heard from now on can have waited at the client ``at`` that time."""
        flows_on = now - self._full_until <= _LONGEST and heard - come <= _HELD
        return now - at > _LONGEST and not flows_on
