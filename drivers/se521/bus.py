"""The loggers on the USB buses: which of them the configuration means."""

from __future__ import annotations

import ctypes
import errno
from contextlib import suppress
from typing import Any

import libusb_package
import usb.backend.libusb1
import usb.core
import usb.util

from drivers.base import LinkDown
from drivers.se521.config import SE521Config
from drivers.se521.link import PYUSB_ERRORS, device_error, usb_errors

VENDOR, PRODUCT = 0x04D9, 0xE000
# Milliseconds for a question about the serial number: one device that does not answer must not hold up the others
ASK_TIMEOUT = 200


class Candidate:
    """A USB device that may be the logger that is meant. Its serial number is asked for when it is made.

    serial  the USB serial number, "" if it has none, None if it could not be asked
    fault   why it could not be asked
    gone    True for one that was unplugged before it could be asked
    """

    def __init__(self, device: Any) -> None:
        self.device = device
        self.fault = ""
        self.serial: str | None = None
        self.gone = False
        try:
            self.serial = _serial_number(device)
        except PYUSB_ERRORS as error:
            self.fault = str(device_error(error))
            self.gone = getattr(error, "errno", None) == errno.ENODEV

    @property
    def place(self) -> str:
        """Return where it is plugged in."""
        port = usb_port(self.device)
        return f"bus {self.device.bus} address {self.device.address}" + (f", usb_port {port}" if port else "")

    def give_back(self) -> None:
        """Close it: it is not the one. Never raises."""
        with suppress(*PYUSB_ERRORS):
            usb.util.dispose_resources(self.device)


def find(config: SE521Config) -> Candidate:
    """Return the one device that the configuration means.

    Raises LinkDown. A device that cannot be asked for its serial number hinders no other one: it is told when the
    wanted one is not among those that could be asked.
    """
    candidates = [Candidate(device) for device in _devices(config)]
    fitting = [each for each in candidates if config.serial in (None, each.serial) and not each.gone]
    for candidate in candidates:
        if len(fitting) != 1 or candidate is not fitting[0]:
            candidate.give_back()
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        found = ", ".join(f"serial {_shown(each)} at {each.place}" for each in fitting)
        raise LinkDown(f"{len(fitting)} SE521 found; say which by serial or usb_port: {found}")
    unasked = [each for each in candidates if each.serial is None and not each.gone]
    if unasked:
        found = "; ".join(f"{each.place}: {each.fault}" for each in unasked)
        raise LinkDown(f"SE521{config.wanted} not found; {len(unasked)} could not be asked for its serial: {found}")
    raise LinkDown(
        f"SE521{config.wanted} not found: is it plugged in and switched on? "
        "After a loss of USB power it stays off until its button is pressed."
    )


def usb_port(device: Any) -> str:
    """Return the way to a device as the kernel names it: bus-port.port; "" where libusb does not know it."""
    ports = device.port_numbers
    return f"{device.bus}-{'.'.join(map(str, ports))}" if ports else ""


def _devices(config: SE521Config) -> list[Any]:
    """Return the devices of the logger's ids that are where the configuration says. Raises LinkDown."""
    backend = usb.backend.libusb1.get_backend(find_library=_libusb)
    if backend is None:
        raise LinkDown("libusb is missing: install the system's libusb-1.0 or the Python package libusb-package")
    keys = {key: value for key, value in (("bus", config.bus), ("address", config.address)) if value is not None}
    with usb_errors():
        devices = list(usb.core.find(True, backend, idVendor=VENDOR, idProduct=PRODUCT, **keys))
    return [each for each in devices if config.usb_port in (None, usb_port(each))]


def _serial_number(device: Any) -> str:
    """Return the USB serial number, "" if the device has none. Raises what pyusb raises."""
    device.default_timeout = ASK_TIMEOUT
    if not device.iSerialNumber:
        return ""
    languages = usb.util.get_langids(device)  # device.langids would hide an error
    if not languages:
        raise ValueError("it has a serial number, and no language for it")
    return str(usb.util.get_string(device, device.iSerialNumber, languages[0]))


def _shown(candidate: Candidate) -> str:
    return "not known" if candidate.serial is None else f"'{candidate.serial}'"


def _libusb(candidate: str) -> str | None:
    """Return the system's libusb where there is one, as the dynamic loader finds it, else libusb_package's."""
    for name in ("libusb-1.0.so.0", "libusb-1.0.so"):
        with suppress(OSError):
            ctypes.CDLL(name)
            return name
    path: str | None = libusb_package.find_library(candidate)
    return path
