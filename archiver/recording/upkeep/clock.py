"""The time by which old rows are old: a clock that has jumped ahead is not believed at once."""

from __future__ import annotations

import logging
import time

# How far the clock may run ahead of the time that passes, and how long one that is further ahead is not believed.
AHEAD_NS, DOUBT_NS = 600 * 10**9, 86_400 * 10**9

log = logging.getLogger(__name__)


class Clock:
    """The time by which rows are old: the computer's, but one that has jumped ahead is believed after a day only.

    A clock that is wrong, as some are when a computer begins, would make all rows old: they would be deleted. It has
    jumped if it is far ahead of the last sign of life (ns, 0 if there is none) and of the time that has passed since.
    """

    def __init__(self, alive_ns: int) -> None:
        self._now_ns = alive_ns
        self._looked_ns = time.monotonic_ns()
        self._jumped_ns: int | None = None  # by the monotonic clock

    def now_ns(self) -> int:
        """Return the time by which rows are old."""
        shown_ns, looked_ns = time.time_ns(), time.monotonic_ns()
        passed_ns = self._now_ns + looked_ns - self._looked_ns
        self._looked_ns = looked_ns
        if not self._now_ns or shown_ns <= passed_ns + AHEAD_NS:
            self._jumped_ns = None
        elif self._jumped_ns is None:
            self._jumped_ns = looked_ns
            hours = f"{(shown_ns - passed_ns) / 3.6e12:.1f}"
            log.info(
                "the clock is %s h after the last sign of life: for a day rows are as old as they were then", hours
            )
        doubted = self._jumped_ns is not None and looked_ns < self._jumped_ns + DOUBT_NS
        self._now_ns = passed_ns if doubted else shown_ns
        return self._now_ns
