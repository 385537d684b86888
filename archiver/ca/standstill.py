"""The last time that this process stood still: it was stopped, or its computer was, or suspended.

An IOC cannot send then. When the network's buffers are full it keeps the newest update of each PV in place of those
before, and tells nobody. What was missed shows in the stamps of what comes then: a hole before the newest.
"""

from __future__ import annotations

import logging
import math
import time

from archiver.ca.calls import CallQueue

# Seconds without a turn of ours and without a call of libca, whose threads go on while we are only busy.
STANDSTILL = 2.0
# How many times the usual time between two updates of a PV, and how long (ns), is no hole.
USUAL, SHORT_NS = 1.5, 1_500_000_000
# ns after it by which all that was sent in it has been handled.
_UNDER_WAY_NS = 60 * 10**9

log = logging.getLogger(__name__)


class Standstill:
    """The watch over one client's turns and calls; times in ns since 1970, 0 before the first standstill."""

    def __init__(self, queue: CallQueue) -> None:
        self._queue = queue
        self._turn = math.inf
        self._told = True
        self._since_ns = 0
        self.until_ns = 0

    def look(self) -> None:
        """Look, in each turn, before what has come is handled."""
        turn = time.clock_gettime(time.CLOCK_BOOTTIME)
        before, self._turn = self._turn, turn
        if turn - before < STANDSTILL:
            return
        now = time.time()
        since, until = self._queue.silence(now)
        since, until = max(since, now - (turn - before)), min(until, now)
        if until - since >= STANDSTILL:
            # behind another one, what was sent in that may still be on its way; a clock may have been set back
            if not 0 <= since * 1e9 - self.until_ns <= SHORT_NS:
                self._since_ns = int(since * 1e9)
            self.until_ns, self._told = int(until * 1e9), False

    def missing(self, before_ns: int, newest_ns: int, stamp_ns: int) -> int:
        """Return since when updates of a PV may be missing before one that comes now; 0 if none is.

        The arguments are stamps: of the last but one before it, of the last one (0 for none), and of itself.
        """
        if time.time_ns() > self.until_ns + _UNDER_WAY_NS:  # of an IOC whose clock is late
            return 0
        since_ns = max(newest_ns, self._since_ns)
        usual_ns = USUAL * (newest_ns - before_ns) if before_ns else SHORT_NS
        if not newest_ns or stamp_ns > self.until_ns + SHORT_NS or stamp_ns - since_ns <= min(usual_ns, SHORT_NS):
            return 0
        if not self._told:
            self._told, took = True, (self.until_ns - self._since_ns) / 1e9
            log.warning(
                "the archiver stood still for %.0f s: where an IOC may have merged updates it is marked", took
            )
        return since_ns
