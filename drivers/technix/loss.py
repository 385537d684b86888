"""When a generator that cannot be understood is asked, so that its watchdog ends the output, or surely does not.

With ``on_loss: trip`` it is not asked for longer than the watchdog, and then less often than that, until it is
understood. With ``on_loss: keep`` it is asked more often: the port's retries come soon enough by themselves.
"""

from __future__ import annotations

import time

from drivers.base import LinkDown
from drivers.technix.line import Line
from drivers.technix.watchdog import WATCHDOG

# Seconds without an answer that was understood, and of them asking in vain, after which it is not asked any more
LOSS, IN_VAIN = 10.0, 5.0
# Seconds for which nothing is sent then: the watchdog's, and a margin for its clock
HOLD = WATCHDOG + 1.0


class Loss:
    """What may be sent to a generator that does not answer in a way that can be understood."""

    def __init__(self, line: Line, keep: bool) -> None:
        self._line = line
        self._keep = keep
        # Point -> when the generator was understood last (monotonic s), at the time that it was made safe blind
        self._blind: dict[str, float | None] = {}
        self._sending = False  # something was sent already in this try to connect

    def check(self) -> None:
        """Raise LinkDown while nothing may be sent."""
        sending, self._sending = self._sending, False
        if self._held_back() and not sending:
            why = "so that its own watchdog switches HV off"
            raise LinkDown(f"not understood for {LOSS:g} s: not asked for {HOLD:g} s {why}")

    def check_blind(self, name: str) -> None:
        """Raise LinkDown if a put that makes things safe was sent since the loss, and must not be repeated yet."""
        repeated = name in self._blind and self._blind[name] == self._line.understood_at
        if repeated and self._held_back() and not self._sending:
            raise LinkDown(f"{name} is not repeated yet, so that the generator's own watchdog is not fed")

    def note_blind(self, name: str) -> None:
        """Note that a put that makes things safe is sent now, over a line that is open."""
        self._blind[name] = self._line.understood_at
        self._sending = True

    def _held_back(self) -> bool:
        sent, understood = self._line.sent_at, self._line.understood_at
        if self._keep or sent is None or understood is None:
            return False
        now = time.monotonic()
        return now - understood > LOSS and sent - understood > IN_VAIN and now - sent < HOLD
