"""For how long this process stood still, stopped or on a busy computer: time that no line has needed."""

from __future__ import annotations

import threading
from functools import cache
from time import monotonic, sleep

# Seconds between two beats; one that is late by less may be so by chance
_BEAT = 0.05


class Beat:
    """A thread that does nothing but to sleep and wake: whenever it is late, so may be all others."""

    def __init__(self) -> None:
        self._last = monotonic(), 0.0  # its moment, and the seconds of all standstills before
        threading.Thread(target=self._go_on, name="beat", daemon=True).start()

    def stood_still(self, now: float) -> float:
        """Return the seconds of all standstills until ``now`` (monotonic s), also of one that no beat has ended."""
        moment, seconds = self._last
        return seconds + max(0.0, now - moment - 2 * _BEAT)

    def _go_on(self) -> None:
        while True:
            sleep(_BEAT)
            now = monotonic()
            self._last = now, self.stood_still(now)


@cache
def beat() -> Beat:
    """Return that of this process, which begins with the first call."""
    return Beat()
