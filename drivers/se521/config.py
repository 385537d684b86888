"""The keys of an SE521 in the configuration file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from drivers.base import ConfigFault, DriverConfig

# Degrees C below which nothing is a temperature: -200 F, of which the public code says that lower values mean nothing
COLDEST = -128.9
ABSOLUTE_ZERO = -273.15

# A bus, and the ports on the way to the device: as the kernel names it in /sys/bus/usb/devices
_USB_PORT = re.compile(r"([1-9]\d{0,2})-[1-9]\d{0,2}(\.[1-9]\d{0,2}){0,6}")


@dataclass(frozen=True, kw_only=True)
class SE521Config(DriverConfig):
    """One logger.

    serial        chooses among several: the USB serial number
    usb_port      chooses by the socket: bus-port.port, as in /sys/bus/usb/devices; stays when the logger is replugged
    bus, address  choose by the USB bus and the address on it, which changes at each plug
    mean          how many readings T1:Mean ... T4:Mean look back
    coldest_c     degrees C below which a value is no temperature
    """

    serial: str | None = None
    usb_port: str | None = None
    bus: int | None = None
    address: int | None = None
    mean: int = 20
    coldest_c: float = COLDEST

    @property
    def place(self) -> tuple[str, str]:
        """Return the first key that distinguishes the logger ("driver" if none does), and all of them."""
        return next(iter(self._selectors), "driver"), f"SE521{self.wanted}"

    def fits(self, other: DriverConfig) -> bool:
        """Return True if all that distinguishes this logger is so of the other, too: fewer keys fit more loggers."""
        if not isinstance(other, SE521Config):
            return False
        known: dict[str, str | int] = {}
        if other.usb_port is not None and (match := _USB_PORT.fullmatch(other.usb_port)):
            known["bus"] = int(match[1])  # which its socket is on
        return self._selectors.items() <= (known | other._selectors).items()

    def faults(self) -> Iterable[ConfigFault]:
        """Yield the keys that are out of range, or contradict each other."""
        if not 1 <= self.mean <= 3600:
            yield ("mean",), f"is {self.mean}; it must be a number of readings from 1 to 3600"
        for key, highest in (("bus", 255), ("address", 127)):
            number = getattr(self, key)
            if number is not None and not 1 <= number <= highest:
                yield (key,), f"is {number}; it must be from 1 to {highest} (lsusb shows it)"
        yield from self._port_faults(self.usb_port) if self.usb_port is not None else ()
        if not ABSOLUTE_ZERO <= self.coldest_c <= 0:
            yield ("coldest_c",), f"is {self.coldest_c:g}; it must be from {ABSOLUTE_ZERO} to 0 degrees C"

    def _port_faults(self, usb_port: str) -> Iterable[ConfigFault]:
        match = _USB_PORT.fullmatch(usb_port)
        if match is None:
            yield (
                ("usb_port",),
                f"is '{usb_port}'; it must be bus-port.port as in /sys/bus/usb/devices, such as 1-2.3",
            )
        elif self.bus is not None and self.bus != int(match[1]):
            yield ("bus",), f"is {self.bus}, but usb_port {usb_port} is on bus {match[1]}; leave bus out"

    @property
    def wanted(self) -> str:
        """Return what distinguishes the instrument, as words that follow its name."""
        words = [f"{key} {value}" for key, value in self._selectors.items()]
        return f" with {', '.join(words)}" if words else ""

    @property
    def _selectors(self) -> dict[str, str | int]:
        keys = {"serial": self.serial, "usb_port": self.usb_port, "bus": self.bus, "address": self.address}
        return {key: value for key, value in keys.items() if value is not None}
