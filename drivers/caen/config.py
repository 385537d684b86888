"""The keys of a CAEN crate in the configuration file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from drivers.base import ConfigFault, DriverConfig, Severity

# Written out, because the enums of caen-libs can be imported only where CAEN's C library is installed.
System = Literal[
    "SY1527", "SY2527", "SY4527", "SY5527", "N568", "V65XX", "N1470", "V8100", "N568E", "DT55XX", "FTK", "DT55XXE",
    "N1068", "SMARTHV", "NGPS", "N1168", "R6060",
]  # fmt: skip
Link = Literal["TCPIP", "RS232", "CAENET", "USB", "OPTLINK", "USB_VCP", "USB3", "A4818"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits from which on an alarm is MINOR and MAJOR; None: never."""

    minor: float | None = None
    major: float | None = None

    @property
    def any(self) -> bool:
        """Return True if there is a limit."""
        return self.minor is not None or self.major is not None

    def severity(self, excess: float) -> Severity:
        """Return the severity of a value, in the unit of the limits."""
        if self.major is not None and excess >= self.major:
            return Severity.MAJOR
        return Severity.MINOR if self.minor is not None and excess >= self.minor else Severity.NO_ALARM


@dataclass(frozen=True, kw_only=True)
class RelativeAlarms:
    """Alarms relative to what a channel is set to.

    voltage_v      V between VMon and V0Set
    current_ratio  IMon / I0Set
    """

    voltage_v: Limits = Limits()
    current_ratio: Limits = Limits()


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """When the limits of the records of measured values hold.

    when  "always"; or "on": only while their channel is on and at rest
    """

    when: Literal["always", "on"] = "always"

    @property
    def at_rest_only(self) -> bool:
        """Return True if the limits hold only while a channel is on and at rest."""
        return self.when != "always"


@dataclass(frozen=True, kw_only=True)
class Config(DriverConfig):
    """One crate.

    system    caen-libs' SystemType; link: its LinkType
    host      the link's argument: host name or address, serial device, ...
    username, password   the crate's login; the password never appears in logs, errors or reprs
    channels  slot -> "ALL" or the channels to serve; None: every channel of every board
    relative_alarms   alarms of VMon and IMon relative to the settings
    alarms    when the limits of the records of measured values hold
    """

    system: System
    link: Link
    host: str
    username: str = ""
    password: str = field(default="", repr=False)
    channels: dict[int, Literal["ALL"] | tuple[int, ...]] | None = None
    relative_alarms: RelativeAlarms = RelativeAlarms()
    alarms: Alarms = Alarms()

    @property
    def place(self) -> tuple[str, str]:
        """Return the key ``host`` and the crate: two logins would take two of its few sessions."""
        return "host", f"{self.link} {self.host.lower()}"

    def faults(self) -> Iterable[ConfigFault]:
        """Yield what is wrong beyond the types."""
        if not self.host:
            yield ("host",), "is empty; it is the link's argument: a host name or address, or a serial device"
        for key in ("host", "username", "password"):
            if not getattr(self, key).isascii():
                yield (key,), "has characters outside ASCII, which CAEN's library does not accept"
        for slot, channels in (self.channels or {}).items():
            if slot < 0:
                yield ("channels", str(slot)), "is not a slot; slots are numbered from 0"
            yield from _channel_faults(slot, channels)
        alarms = self.relative_alarms
        yield from _limit_faults("voltage_v", alarms.voltage_v, math.inf, "number of volts above 0")
        yield from _limit_faults("current_ratio", alarms.current_ratio, 1, "part of I0Set: above 0, 1 at most")

    @property
    def first_channel(self) -> tuple[int, int]:
        """Return slot and channel of the first channel that is configured; (2, 0) where none is."""
        for slot, channels in (self.channels or {}).items():
            return slot, 0 if channels == "ALL" or not channels else channels[0]
        return 2, 0

    def serves(self, slot: int) -> bool:
        """Return True if the slot is one of those configured."""
        return self.channels is None or slot in self.channels

    def selected(self, slot: int, present: int) -> tuple[int, ...]:
        """Return the channels to serve of a board that has ``present`` channels."""
        wanted = "ALL" if self.channels is None else self.channels[slot]
        return tuple(range(present)) if wanted == "ALL" else tuple(ch for ch in sorted(set(wanted)) if ch < present)

    def missing(self, slot: int, present: int) -> tuple[int, ...]:
        """Return the channels that are configured for a board but that it does not have."""
        wanted = "ALL" if self.channels is None else self.channels[slot]
        return () if wanted == "ALL" else tuple(ch for ch in sorted(set(wanted)) if ch >= present)


def _limit_faults(key: str, limits: Limits, most: float, allowed: str) -> Iterable[ConfigFault]:
    path = ("relative_alarms", key)
    for name, value in (("minor", limits.minor), ("major", limits.major)):
        if value is not None and not (0 < value <= most and math.isfinite(value)):
            yield (*path, name), f"is {value:g}; it must be a {allowed}"
    if limits.minor is not None and limits.major is not None and limits.minor > limits.major:
        yield (*path, "minor"), f"is {limits.minor:g}; it must not be above major, which is {limits.major:g}"


def _channel_faults(slot: int, channels: Literal["ALL"] | tuple[int, ...]) -> Iterable[ConfigFault]:
    if channels == "ALL":
        return
    if not channels:
        yield ("channels", str(slot)), 'names no channel; allowed are "ALL" and a list of channel numbers'
    for channel in channels:
        if channel < 0:
            yield ("channels", str(slot)), f"{channel} is not a channel; channels are numbered from 0"
    if len(set(channels)) < len(channels):
        yield ("channels", str(slot)), "names a channel twice"
