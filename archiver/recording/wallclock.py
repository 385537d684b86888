"""The watch over the computer's clock, which may be set back while the archiver runs."""

from __future__ import annotations

import time

# How far back counts (s): to begin anew takes some seconds, for which nothing is known.
SET_BACK = 10.0


class WallClock:
    """The computer's clock beside the monotonic one, which nobody sets."""

    def __init__(self) -> None:
        self._offset = _offset()

    def set_back(self) -> float:
        """Return by how many seconds the clock was set back since the last call; 0 for less than SET_BACK."""
        before, self._offset = self._offset, _offset()
        back = before - self._offset
        return back if back >= SET_BACK else 0.0


def _offset() -> float:
    return time.time() - time.monotonic()
