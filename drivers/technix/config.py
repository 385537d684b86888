"""The keys of a Technix generator in the configuration file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from drivers.base import ConfigFault, DriverConfig


@dataclass(frozen=True, kw_only=True)
class FullScale:
    """The model's output at 4095 counts: kV and mA, both positive."""

    voltage_kv: float
    current_ma: float


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The highest setpoints that are allowed: kV and mA; None: full scale."""

    voltage_kv: float | None = None
    current_ma: float | None = None


@dataclass(frozen=True, kw_only=True)
class TechnixConfig(DriverConfig):
    """One generator.

    port        a serial device, ``socket://host:port`` (raw TCP) or ``rfc2217://host:port``
    on_loss     what becomes of HV when the generator is not understood: its watchdog ends it, or is kept from that
    over_limit  what follows an output above its limit: an alarm, or HV off besides (YAML reads ``off`` as False)
    """

    port: str
    full_scale: FullScale
    limits: Limits = Limits()
    polarity: Literal["positive", "negative"] = "positive"
    on_loss: Literal["trip", "keep"] = "trip"
    over_limit: Literal["alarm", "off", False] = "alarm"

    def faults(self) -> Iterable[ConfigFault]:
        """Yield the keys whose numbers make no sense."""
        if not self.port:
            yield ("port",), "is empty; it must be a serial device, socket://host:port or rfc2217://host:port"
        for key in ("voltage_kv", "current_ma"):
            full_scale, limit = getattr(self.full_scale, key), getattr(self.limits, key)
            if not _positive(full_scale):
                yield ("full_scale", key), f"is {full_scale:g}; it must be a finite number above 0"
            if limit is None:
                continue
            if not _positive(limit):
                yield ("limits", key), f"is {limit:g}; it must be a finite number above 0"
            elif limit > full_scale:
                yield ("limits", key), f"is {limit:g}, above the full scale of {full_scale:g}"


def _positive(number: float) -> bool:
    return math.isfinite(number) and number > 0
