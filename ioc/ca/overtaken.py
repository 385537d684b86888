"""What a client had sent when another one made something safe: it was asked for before that, whenever its turn is.

Of what has arrived here it is known how much it is. More may wait at the client where there was no room for it.
"""

from __future__ import annotations

import math
from collections import deque
from time import monotonic

# Bytes of a client that wait in the kernel from which on more may wait at the client itself
_FULL = 1 << 14
# Seconds without a byte after which none of those can be on its way any more
_IDLE = 0.1
# Seconds after which a put counts as one of now all the same, though more has come of the client all the time
_LONGEST = 5.0


class Overtaken:
    """Which bytes of one client were sent before what; they are counted from the beginning of its connection."""

    def __init__(self) -> None:
        # (bytes that had been sent, when something was made safe), both rising
        self._marks: deque[tuple[float, float]] = deque()
        self._idle_since = math.inf  # all that came was heard

    def note(self, heard: int, unheard: int, waiting: int, at: float) -> None:
        """Note that something is made safe ``at`` (monotonic s).

        ``heard``: bytes that were carried out; ``unheard``: that were read besides; ``waiting``: in the kernel.
        """
        if unheard or waiting:
            sent = math.inf if waiting > _FULL else heard + unheard + waiting
            if not self._marks or sent > self._marks[-1][0]:
                self._marks.append((sent, at))

    def asked(self, place: int) -> float | None:
        """Return when what begins behind so many bytes was asked for at the latest (monotonic s); None: now."""
        marks = self._marks
        while marks and (marks[0][0] <= place or monotonic() - marks[0][1] > _LONGEST):
            marks.popleft()
        return marks[0][1] if marks else None

    def hears(self) -> None:
        """Note that all that came was heard."""
        if self._marks:
            self._idle_since = monotonic()

    def comes(self) -> None:
        """Note that more comes; after a pause it was sent after all that is noted."""
        if self._marks and monotonic() - self._idle_since > _IDLE:
            self._marks.clear()
        self._idle_since = math.inf
