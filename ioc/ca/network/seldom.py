"""Lines of the log that a client can cause a thousand times a second: the first of a minute, not all."""

from __future__ import annotations

import logging
import time

log = logging.getLogger("rackioc.server")

# Seconds in which lines of a kind are counted, and kinds that are remembered
PERIOD = 60.0
KINDS = 1000


class Seldom:
    """A log of at most so many lines of a kind (of a computer, for one) in PERIOD."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[str, tuple[float, int]] = {}

    def warning(self, sentence: str, *words: object, kind: str) -> None:
        """Log a line, unless there were too many of its kind."""
        now = time.monotonic()
        began, count = self._seen.get(kind, (now, 0))
        if now - began >= PERIOD:
            began, count = now, 0
        if len(self._seen) >= KINDS:
            self._seen.clear()
        self._seen[kind] = began, count + 1
        if count < self._most:
            log.warning(sentence, *words)
        if count == self._most:
            log.warning("further lines about %s are left out for a minute", kind)
