"""The keys of a Technix generator in the configuration file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from drivers.base import ConfigFault, DriverConfig

# Kind of URL -> what may stand behind ``?`` (pyserial's manual, "URL handlers")
_OPTIONS = {"socket": {"logging"}, "rfc2217": {"logging", "ign_set_control", "poll_modem", "timeout"}}
_LOGGING = {"debug", "info", "warning", "error"}
# kV and mA between which a full scale lies: with others, steps and digits could not be computed
LOWEST, HIGHEST = 1e-9, 1e9


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
    over_limit  what follows an output above its limit: an alarm, or HV off besides
    """

    port: str
    full_scale: FullScale
    limits: Limits = Limits()
    polarity: Literal["positive", "negative"] = "positive"
    on_loss: Literal["trip", "keep"] = "trip"
    over_limit: Literal["alarm", "off"] = "alarm"

    def faults(self) -> Iterable[ConfigFault]:
        """Yield the keys whose numbers make no sense."""
        if fault := _port_fault(self.port):
            yield ("port",), f"{fault}; it must be a serial device, socket://host:port or rfc2217://host:port"
        keys = ("voltage_kv", "current_ma")
        pairs = {key: (getattr(self.full_scale, key), getattr(self.limits, key)) for key in keys}
        if self.over_limit == "off" and all(limit in (None, full_scale) for full_scale, limit in pairs.values()):
            yield ("over_limit",), "is off, but no key of limits is below full_scale: HV would never be switched off"
        for key, (full_scale, limit) in pairs.items():
            if not LOWEST <= full_scale <= HIGHEST:
                yield ("full_scale", key), f"is {full_scale:g}; it must be a number from {LOWEST:g} to {HIGHEST:g}"
            if limit is None:
                continue
            if not _positive(limit):
                yield ("limits", key), f"is {limit:g}; it must be a finite number above 0"
            elif limit > full_scale:
                yield ("limits", key), f"is {limit:g}, above the full scale of {full_scale:g}"


def _port_fault(port: str) -> str | None:
    """Return what is wrong with a port; None if nothing is, as far as that can be told without it."""
    if not port or not port.isprintable():
        return f"is {port!r}, which has a character that cannot be printed" if port else "is empty"
    if "://" not in port:
        return f"is {port!r}, which is neither a path nor a URL" if ":" in port.partition("/")[0] else None
    parts = urlsplit(port)
    options = _OPTIONS.get(parts.scheme)
    if options is None:
        return f"is a URL of the kind {parts.scheme}://"
    try:
        number = parts.port
    except ValueError:
        number = None
    if not parts.hostname or not number:
        return f"is {port!r}, which has no host, or no port from 1 to 65535, or one that is not a number"
    for option, value in parse_qsl(parts.query, keep_blank_values=True):
        if option not in options or not _fits(option, value):
            return f"is {port!r}, whose {option}={value} pyserial does not understand"
    return None


def _fits(option: str, value: str) -> bool:
    if option == "logging":
        return value in _LOGGING
    return option != "timeout" or _is_number(value)


def _is_number(text: str) -> bool:
    try:
        return _positive(float(text))
    except ValueError:
        return False


def _positive(number: float) -> bool:
    return math.isfinite(number) and number > 0
