"""When to ask again for what was asked in vain, or is not shown yet."""

from __future__ import annotations

from time import monotonic

# Seconds before the first repetition, a little less than a scan's period, for it is done in scans; each further wait
# is twice as long, up to the longest
_FIRST_WAIT, _LONGEST_WAIT = 0.9, 32.0
# Seconds for which something must have been answered before its waits are short again
_STEADY = 10.0
# Part of the line's time that may go to what failed before, and the seconds of it that may be saved up: three
# time-outs of a second, with which a bad channel is found
_SHARE, _MOST = 0.25, 3.0
# Seconds of it that may go in one scan: time-outs come one in a scan, so that they make no value of others too old
_AT_ONCE = 0.5
# Seconds within which a crate shows what it was set to, or told to do; assumed
LAG = 1.0


def looks(*pauses: float) -> tuple[float, ...]:
    """Return the seconds before each look at what a crate was told: ``pauses``, and what is left of its time."""
    return (*pauses, LAG - sum(pauses))


class Backoff:
    """The moment of the next try: 1, 2, 4 ... 32 s after each failure; ``at``: in monotonic seconds."""

    __slots__ = ("_good_since", "_wait", "at")

    def __init__(self) -> None:
        self.at = 0.0
        self._wait = _FIRST_WAIT
        self._good_since: float | None = None

    @property
    def due(self) -> bool:
        """Return True when it may be tried."""
        return monotonic() >= self.at

    def failed(self) -> None:
        """Wait twice as long as the last time, or a short time if all was well for a while."""
        now = monotonic()
        if self._good_since is not None and now - self._good_since >= _STEADY:
            self._wait = _FIRST_WAIT
        self._good_since = None
        self.at = now + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT)

    def delay(self, seconds: float) -> None:
        """Wait that long before the first try."""
        self.at = monotonic() + seconds

    def answered(self) -> None:
        """Note that it is answered from now on."""
        self._good_since = monotonic()

    def hurry(self) -> None:
        """Try at the next opportunity; if that fails, the wait is as long as it would have been."""
        self.at = 0.0


class Allowance:
    """The time on the line for what failed before, so that time-outs of one parameter hold up no other.

    A call may overdraw it: the next one waits until the time is saved up again, and until the next scan.
    """

    def __init__(self) -> None:
        self._saved = _MOST
        self._left = _AT_ONCE  # of the scan in progress
        self._at = monotonic()

    def begin(self) -> None:
        """Begin a scan of the most important group."""
        self._left = _AT_ONCE

    @property
    def free(self) -> bool:
        """Return True while there is time left."""
        now = monotonic()
        self._saved = min(_MOST, self._saved + _SHARE * (now - self._at))
        self._at = now
        return self._saved > 0 and self._left > 0

    def renew(self) -> None:
        """Leave as much time as one scan may take, at once: what was waited for answers again."""
        self._saved, self._left = max(self._saved, _AT_ONCE), _AT_ONCE

    def spend(self, seconds: float) -> None:
        """Take the time that a call took."""
        self._saved -= seconds
        self._left -= seconds
