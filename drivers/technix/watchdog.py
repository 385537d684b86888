"""The generator's watchdog, as far as it can be known from outside."""

from __future__ import annotations

from collections import deque

# Seconds without a command after which the generator turns HV off (manual)
WATCHDOG = 5.0
# Seconds between two answered commands from which on the watchdog may have struck: a command is received up to a
# reply's time before its answer is here
LAPSE = 4.5
# Seconds that WD:Margin looks back
MARGIN_WINDOW = 60.0


class Watchdog:
    """What can be known from outside about the generator's watchdog. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._fed: float | None = None
        self._lapse = 0.0
        self._gaps: deque[tuple[float, float]] = deque()  # (end, length), ever shorter: the first is the longest

    def feed(self, now: float) -> None:
        """Record that a command was answered at ``now`` (monotonic s)."""
        gap = 0.0 if self._fed is None else now - self._fed
        self._fed = now
        if gap > LAPSE:
            self._lapse = gap
        while self._gaps and self._gaps[-1][1] <= gap:
            self._gaps.pop()
        self._gaps.append((now, gap))
        while self._gaps[0][0] < now - MARGIN_WINDOW:
            self._gaps.popleft()

    def lapse(self) -> float:
        """Return the length in seconds of the last gap in which it may have struck, once; 0 if there was none."""
        lapse, self._lapse = self._lapse, 0.0
        return lapse

    @property
    def margin(self) -> float:
        """Return the least time in seconds that was left of the 5 s in the last minute."""
        return max(0.0, WATCHDOG - self._gaps[0][1]) if self._gaps else WATCHDOG
