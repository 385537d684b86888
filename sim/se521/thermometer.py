"""A Center SE521: four thermocouples, and the answers before its USB bridge divides them into packets."""

from __future__ import annotations

import math
import random
import struct
from dataclasses import asdict, dataclass, field
from typing import Any

CHANNELS = 4
# Seconds between two samples of the instrument
SAMPLE = 0.3


@dataclass
class Thermometer:
    """Four thermocouples, each drifting slowly around a temperature in degrees Celsius."""

    celsius: list[float] = field(default_factory=lambda: [21.5, 24.0, 63.0, -12.0])
    open: list[bool] = field(default_factory=lambda: [False] * CHANNELS)
    drift: float = 1.5  # amplitude in degrees
    period: float = 600.0  # s
    noise: float = 0.05
    time: float = 0.0
    tenths: list[int] = field(default_factory=lambda: [0] * CHANNELS)  # of a degree Fahrenheit: the last sample
    _random: random.Random = field(default_factory=lambda: random.Random(521))
    _next_sample: float = 0.0

    def step(self, dt: float) -> None:
        """Let ``dt`` seconds pass."""
        self.time += dt
        if self.time >= self._next_sample:
            self._next_sample = self.time + SAMPLE
            self.tenths = [self._sample(channel) for channel in range(CHANNELS)]

    def _sample(self, channel: int) -> int:
        if self.open[channel]:  # an open input shows anything
            return self._random.randint(-3276, 9999)
        swing = self.drift * math.sin(2 * math.pi * self.time / self.period + channel)
        celsius = self.celsius[channel] + swing + self._random.gauss(0, self.noise)
        return round((celsius * 1.8 + 32) * 10)

    def state(self) -> dict[str, Any]:
        """Return all that can be seen and set from the control channel."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}


def identification() -> bytes:
    """Return the answer to 'K': 32 bytes with the model's name."""
    answer = bytearray(32)
    answer[:2] = b"\x02K"
    answer[23:26] = b"521"
    answer[-1] = 3
    return bytes(answer)


def temperatures(thermometer: Thermometer, counter: int) -> bytes:
    """Return the answer to 'A': 64 bytes with validity flags, four values and the counter of the question."""
    connected = sum(8 >> channel for channel in range(CHANNELS) if not thermometer.open[channel])
    answer = bytearray(64)
    answer[:2] = b"\x02A"
    answer[6] = connected << 4 | connected
    struct.pack_into(">4h", answer, 9, *thermometer.tenths)
    answer[61] = counter
    answer[-1] = 3
    return bytes(answer)
