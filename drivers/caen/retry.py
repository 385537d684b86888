"""When to ask again for what was asked in vain."""

from __future__ import annotations

from time import monotonic

# Seconds before the first repetition; each further wait is twice as long, up to the longest
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 32.0
# Part of the line's time that may go to what failed before, and the seconds of it that may be saved up
_SHARE, _MOST = 0.25, 0.5


class Backoff:
    """The moment of the next try: 1, 2, 4 ... 32 s after each failure; ``at``: in monotonic seconds."""

    __slots__ = ("_wait", "at")

    def __init__(self) -> None:
        self.at = 0.0
        self._wait = _FIRST_WAIT

    @property
    def due(self) -> bool:
        """Return True when it may be tried."""
        return monotonic() >= self.at

    def failed(self) -> None:
        """Wait twice as long as the last time."""
        self.at = monotonic() + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT)

    def hurry(self) -> None:
        """Try at the next opportunity; if that fails, the wait is as long as it would have been."""
        self.at = 0.0


class Allowance:
    """The time on the line for what failed before, so that time-outs of one parameter hold up no other.

    A call may overdraw it: the next one waits until the time is saved up again.
    """

    def __init__(self) -> None:
        self._saved = _MOST
        self._at = monotonic()

    @property
    def free(self) -> bool:
        """Return True while there is time left."""
        now = monotonic()
        self._saved = min(_MOST, self._saved + _SHARE * (now - self._at))
        self._at = now
        return self._saved > 0

    def spend(self, seconds: float) -> None:
        """Take the time that a call took."""
        self._saved -= seconds
