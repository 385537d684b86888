"""Means of the last readings of each channel, which never bridge a reading that is missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from drivers.base import Reading, Severity, Status


class Means:
    """The mean of each channel over its last ``size`` readings.

    A reading that is missing (open, no temperature, a scan that failed, a lost connection, a pause) makes the mean
    begin anew with the next one. While it has fewer than ``size`` readings it is in alarm, and says how many.
    """

    def __init__(self, channels: int, size: int) -> None:
        self._windows: list[deque[float]] = [deque(maxlen=size) for _ in range(channels)]
        self._size = size
        self._last: float | None = None
        # The last two, as a client may have a reading made between two scans. Their period is the site's
        self._intervals: deque[float] = deque(maxlen=2)

    def restart(self) -> None:
        """Forget all readings."""
        for window in self._windows:
            window.clear()

    def add(self, readings: Sequence[Reading], now: float) -> list[Reading]:
        """Add a reading of each channel at ``now`` (monotonic s) and return the means.

        A pause is what lasts longer than two intervals and a second.
        """
        interval = 0.0 if self._last is None else now - self._last
        if self._intervals and interval > 2 * max(self._intervals) + 1:
            self.restart()
        self._last = now
        self._intervals.append(interval)
        return [self._add(window, reading) for window, reading in zip(self._windows, readings, strict=True)]

    def _add(self, window: deque[float], reading: Reading) -> Reading:
        if reading.severity is Severity.INVALID or not isinstance(reading.value, float):
            window.clear()
            return reading
        window.append(reading.value)
        mean = sum(window) / len(window)
        if len(window) < self._size:
            message = f"mean of {len(window)} readings, not {self._size}"
            return Reading(mean, Severity.MINOR, Status.SOFT, message=message)
        return Reading(mean)
