"""The updates that a counting client received, and what follows from them about a server."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.rig.load import WRAP

# Seconds from 1970 to 1990
EPICS_EPOCH = 631152000


@dataclass(frozen=True)
class Updates:
    """Updates in the order in which they came.

    channel   number of the channel
    sent      the IOC's time stamp (s since 1970 UTC)
    received  when the update came (s since 1970 UTC)
    """

    channel: npt.NDArray[np.uint32]
    value: npt.NDArray[np.float64]
    severity: npt.NDArray[np.uint16]
    sent: npt.NDArray[np.float64]
    received: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.channel)

    def between(self, begin: float, end: float) -> Updates:
        """Return those that came in a span of time."""
        return self._where((self.received >= begin) & (self.received < end))

    def stamped(self, begin: float, end: float) -> Updates:
        """Return those that the IOC stamped in a span of time, whenever they came."""
        return self._where((self.sent >= begin) & (self.sent < end))

    def latency(self, quantile: float) -> float:
        """Return the milliseconds from the IOC's stamp to here that this share of the updates did not exceed."""
        return 1e3 * float(np.quantile(self.received - self.sent, quantile)) if len(self) else float("nan")

    def in_alarm(self) -> float:
        """Return the share of the updates that came with an alarm."""
        return float((self.severity > 0).mean()) if len(self) else float("nan")

    def lost(self) -> int:
        """Return how many values of the ramps are missing between two that came."""
        steps = self._steps()
        return int((steps - 1)[steps > 0].sum())

    def repeated(self) -> int:
        """Return how many updates brought a value that had come before."""
        return int((self._steps() == 0).sum())

    def newest(self, channels: int) -> npt.NDArray[np.float64]:
        """Return the last value of each channel; NaN where none came."""
        values = np.full(channels, np.nan)
        values[self.channel] = self.value  # of equal indices the last one stays
        return values

    def first_after(self, moment: float, channels: int) -> float:
        """Return the seconds until all channels had an update stamped after a moment; infinity if not all had."""
        fresh = self.sent >= moment
        when = np.full(channels, np.inf)
        np.minimum.at(when, self.channel[fresh], self.received[fresh])
        return float(when.max()) - moment

    def _where(self, inside: npt.NDArray[np.bool_]) -> Updates:
        return Updates(
            self.channel[inside], self.value[inside], self.severity[inside], self.sent[inside], self.received[inside]
        )

    def _steps(self) -> npt.NDArray[np.float64]:
        """Return the steps from one value of a channel to its next."""
        order = np.argsort(self.channel, kind="stable")
        channel, value = self.channel[order], self.value[order]
        same = channel[1:] == channel[:-1]
        steps: npt.NDArray[np.float64] = np.mod(np.diff(value), WRAP)[same]
        return steps
