"""Center SE521, a logger for four thermocouples, on USB (a HID-to-UART bridge, 04d9:e000) through pyusb.

Source: public code for the instrument; there is no manual of the protocol. Temperatures cross the wire in tenths of a
degree Fahrenheit, whatever the display shows. Assumed, because it was not tried on an instrument: a 1 in the low
nibble of the flags says "connected" (bit 3 is channel 1); the counter comes back in byte 31 of the second report.
"""

from __future__ import annotations

import ctypes
import errno
import math
import struct
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import libusb_package
import usb.backend.libusb1
import usb.core
import usb.util

from drivers.base import (
    BadReply,
    ConfigFault,
    DeviceError,
    Driver,
    DriverConfig,
    Example,
    LinkDown,
    NoReply,
    Point,
    Reading,
    Readings,
    RecordType,
    Refused,
    Severity,
    Status,
    Step,
    Value,
)

VENDOR, PRODUCT, INTERFACE = 0x04D9, 0xE000, 0
# bRequest of a control transfer (USB HID 1.11, 7.2)
SET_REPORT = 0x09
# wValue of such a transfer: kind of report and its number
FEATURE, OUTPUT = 0x0343, 0x0207
# Bytes of an input report; the first says how many of the others are valid
SIZE = 32
# Milliseconds for one transfer; a dead instrument must show within two scans
TRANSFER_TIMEOUT = 500
# Milliseconds without a report after which none is on its way
QUIET = 100
# Seconds that the bridge needs after each of the first two reports of a transaction
PAUSE = 0.05
CHANNELS = 4
# Tenths of a degree F; what is below is no temperature
COLDEST = -2000

_ASLEEP = "is it plugged in and switched on? After a loss of USB power it stays off until its button is pressed."
_OPEN = Reading(math.nan, Severity.INVALID, Status.UDF)
_USB_ERRORS = {
    errno.EACCES: "no permission for the SE521: install the udev rule in deploy/",
    errno.EBUSY: "another program uses the SE521",
    errno.ENODEV: f"SE521 is gone: {_ASLEEP}",
}


@dataclass(frozen=True, kw_only=True)
class SE521Config(DriverConfig):
    """One logger.

    serial, bus, address   choose among several: the USB serial number, the USB bus and the address on it
    mean                   how many readings T1:Mean ... T4:Mean look back
    """

    serial: str | None = None
    bus: int | None = None
    address: int | None = None
    mean: int = 20

    def faults(self) -> Iterable[ConfigFault]:
        """Yield the keys that are out of range."""
        if not 1 <= self.mean <= 3600:
            yield ("mean",), f"is {self.mean}; it must be a number of readings from 1 to 3600"
        for key, highest in (("bus", 255), ("address", 127)):
            number = getattr(self, key)
            if number is not None and not 1 <= number <= highest:
                yield (key,), f"is {number}; it must be from 1 to {highest} (lsusb shows it)"

    @property
    def wanted(self) -> str:
        """Return what distinguishes the instrument, as words that follow its name."""
        keys = {"serial": self.serial, "bus": self.bus, "address": self.address}
        words = [f"{key} {value}" for key, value in keys.items() if value is not None]
        return f" with {', '.join(words)}" if words else ""


class UsbLink:
    """The instrument as a USB device: whole transactions, and their errors as DeviceErrors."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._detached = False
        self._out: Any = None
        self._in: Any = None
        self._quiet = False  # whether no report of an older transaction can be on its way

    def open(self) -> None:
        """Detach the kernel's HID driver from the interface and claim it. Raises LinkDown, NoReply."""
        with usb_errors():
            with suppress(NotImplementedError):  # a system whose kernel does not claim the interface
                if self._device.is_kernel_driver_active(INTERFACE):
                    self._device.detach_kernel_driver(INTERFACE)
                    self._detached = True
            usb.util.claim_interface(self._device, INTERFACE)
            for endpoint in self._device.get_active_configuration()[(INTERFACE, 0)]:
                if usb.util.endpoint_type(endpoint.bmAttributes) != usb.util.ENDPOINT_TYPE_INTR:
                    continue
                if usb.util.endpoint_direction(endpoint.bEndpointAddress) == usb.util.ENDPOINT_IN:
                    self._in = endpoint
                else:
                    self._out = endpoint
        if self._in is None:
            raise LinkDown("the USB device has no interrupt IN endpoint: it is not an SE521")

    def close(self) -> None:
        """Release the interface and attach the kernel's driver again. Never raises."""
        with suppress(usb.core.USBError, NotImplementedError):
            usb.util.release_interface(self._device, INTERFACE)
        if self._detached:
            with suppress(usb.core.USBError, NotImplementedError):
                self._device.attach_kernel_driver(INTERFACE)
        with suppress(usb.core.USBError, NotImplementedError):
            usb.util.dispose_resources(self._device)

    def identify(self) -> str:
        """Return the model that the instrument says it is. Raises NoReply, BadReply, LinkDown."""
        first, _ = self._ask(b"K", 0, (31, 1))
        self._quiet = True
        return first[24:27].decode("ascii", "backslashreplace")

    def measure(self, counter: int) -> bytes:
        """Return the first report of a reading: flags and temperatures. Raises NoReply, BadReply, LinkDown.

        ``counter`` is 0 to 255 and comes back in the reply.
        """
        first, second, _ = self._ask(b"A", counter, (31, 31, 2))
        if second[31] != counter:
            raise BadReply(f"SE521 sent a stale reply: number {second[31]} instead of {counter}")
        self._quiet = True
        return first

    def _ask(self, command: bytes, counter: int, counts: tuple[int, ...]) -> list[bytes]:
        """Send a command and return its reports, whose counts of valid bytes must be ``counts``."""
        with usb_errors():
            if not self._quiet:
                self._drain()
            self._quiet = False  # until all of the reply is here
            time.sleep(PAUSE)  # from whatever went before
            self._set_report(FEATURE, b"\x43\x01\x07" + bytes(5))  # 7 bytes follow
            time.sleep(PAUSE)
            self._output(b"\x07\x02" + command + bytes(3) + bytes((counter, 0x03)))
            time.sleep(PAUSE)
            self._set_report(FEATURE, bytes((0x43, 0x04, sum(counts))) + bytes(5))  # read so many bytes
            return [self._report(count) for count in counts]

    def _drain(self) -> None:
        for _ in range(16):
            try:
                self._in.read(SIZE, QUIET)
            except usb.core.USBTimeoutError:
                return
        raise BadReply("SE521 sends reports that were not asked for")

    def _output(self, data: bytes) -> None:
        if self._out is None:
            self._set_report(OUTPUT, data)
        else:
            self._out.write(data, TRANSFER_TIMEOUT)

    def _set_report(self, kind: int, data: bytes) -> None:
        self._device.ctrl_transfer(0x21, SET_REPORT, kind, INTERFACE, data, TRANSFER_TIMEOUT)

    def _report(self, count: int) -> bytes:
        report = bytes(self._in.read(SIZE, TRANSFER_TIMEOUT))
        if len(report) != SIZE or report[0] != count:
            got = f"{len(report)} bytes that begin with {report[:1].hex() or 'nothing'}"
            raise BadReply(f"SE521 sent {got}, not {SIZE} that begin with {count:02x}: noise, or half a reply")
        return report


@contextmanager
def usb_errors() -> Iterator[None]:
    """Raise NoReply or LinkDown for what pyusb raises."""
    try:
        yield
    except usb.core.USBTimeoutError as error:
        raise NoReply(f"SE521 did not answer within {TRANSFER_TIMEOUT} ms") from error
    except NotImplementedError as error:
        raise LinkDown("libusb on this system does not support what the SE521 needs") from error
    except usb.core.USBError as error:
        raise LinkDown(_USB_ERRORS.get(error.errno, f"SE521: the USB connection failed: {error.strerror}")) from error


def find(config: SE521Config) -> Any:
    """Return the one device that the configuration means. Raises LinkDown."""
    backend = usb.backend.libusb1.get_backend(find_library=_libusb)
    if backend is None:
        raise LinkDown("libusb is missing: install the system's libusb-1.0 or the Python package libusb-package")
    keys = {key: value for key, value in (("bus", config.bus), ("address", config.address)) if value is not None}
    with usb_errors():
        devices = list(usb.core.find(True, backend, idVendor=VENDOR, idProduct=PRODUCT, **keys))
        if config.serial is not None:
            devices = [device for device in devices if serial_number(device) == config.serial]
        if len(devices) > 1:
            found = ", ".join(f"serial '{serial_number(d)}' at bus {d.bus} address {d.address}" for d in devices)
            raise LinkDown(f"{len(devices)} SE521 found; say which by serial, or by bus and address: {found}")
    if not devices:
        raise LinkDown(f"SE521{config.wanted} not found: {_ASLEEP}")
    return devices[0]


def serial_number(device: Any) -> str:
    """Return the USB serial number, "" if the instrument has none. Raises usb.core.USBError."""
    device.default_timeout = TRANSFER_TIMEOUT
    device.get_active_configuration()  # opens the device, so that a lack of permission is reported as such
    try:
        return device.serial_number or ""
    except ValueError:  # pyusb: the device has no strings
        return ""


def _libusb(candidate: str) -> str | None:
    """Return the system's libusb where there is one, as the dynamic loader finds it, else libusb_package's."""
    for name in ("libusb-1.0.so.0", "libusb-1.0.so"):
        with suppress(OSError):
            ctypes.CDLL(name)
            return name
    path: str | None = libusb_package.find_library(candidate)
    return path


class SE521(Driver):
    """One logger: a transaction a scan, with all its points."""

    Config = SE521Config
    scan: ClassVar[Mapping[str, float]] = MappingProxyType({"temperatures": 1.0})
    example = Example("T1")
    tables = frozenset({"temperatures"})

    def __init__(self, config: SE521Config) -> None:
        self._config = config
        self.points = tuple(_points(config.mean))
        self._link: UsbLink | None = None
        self._counter = 0
        self._model = ""
        self._serial = ""
        # The last readings of each channel, None for an open one
        self._windows: list[deque[float | None]] = [deque(maxlen=config.mean) for _ in range(CHANNELS)]

    def connect(self) -> Readings:
        """Find the instrument, claim it and ask for its model. Raises DeviceError."""
        self.close()
        device = find(self._config)
        self._link = UsbLink(device)
        try:
            self._link.open()
            with usb_errors():
                self._serial = serial_number(device)
            self._model = self._link.identify()
            if self._model != "521":
                raise BadReply(f"the USB device says it is model '{self._model}', not '521'")
        except DeviceError:
            self.close()
            raise
        for window in self._windows:
            window.clear()
        return {"Model": self._model, "Serial": self._serial}

    def close(self) -> None:
        """Release the instrument to the kernel's driver."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def read(self, group: str) -> Iterator[Step]:
        """Read the four channels and all that comes with them, in one block; temperatures in degrees C."""
        if self._link is None:
            raise LinkDown("SE521 is not connected")
        self._counter = (self._counter + 1) % 256
        report = self._link.measure(self._counter)
        flags = report[7]
        readings: dict[str, Value | Reading] = {"Flags": flags, "Model": self._model, "Serial": self._serial}
        for index, tenths in enumerate(struct.unpack_from(">4h", report, 10)):
            readings |= self._channel(index, bool(flags & (8 >> index)), tenths)
        yield readings

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        """Raise Refused: there is nothing to set."""
        raise Refused(f"{point.name} cannot be set")

    def _channel(self, index: int, connected: bool, tenths: int) -> dict[str, Value | Reading]:
        """Return the readings of one channel; ``tenths`` of a degree F are meaningless when it is open."""
        name, window = f"T{index + 1}", self._windows[index]
        celsius = (tenths - 320) / 18 if connected and tenths >= COLDEST else None
        window.append(celsius)
        valid = [each for each in window if each is not None]
        return {
            name: _OPEN if celsius is None else celsius,
            f"{name}:Open": int(not connected),
            f"{name}:Mean": sum(valid) / len(valid) if valid else _OPEN,
        }


def _points(mean: int) -> Iterator[Point]:
    group = "temperatures"
    for n in range(1, CHANNELS + 1):
        yield Point(name=f"T{n}", rtyp=RecordType.ai, group=group, desc=f"Thermocouple {n}", egu="C", prec=2)
        yield Point(
            name=f"T{n}:Open", rtyp=RecordType.bi, group=group, desc=f"Thermocouple {n} is open",
            states=("Connected", "Open"), severities=(Severity.NO_ALARM, Severity.MINOR),
        )  # fmt: skip
        yield Point(
            name=f"T{n}:Mean", rtyp=RecordType.ai, group=group, desc=f"Mean of the last {mean} readings",
            egu="C", prec=2,
        )  # fmt: skip
    yield Point(name="Flags", rtyp=RecordType.longin, group=group, desc="Flag byte; bit 3 = T1 connected, ...")
    yield Point(name="Model", rtyp=RecordType.stringin, group=group, desc="Model, from the instrument")
    yield Point(name="Serial", rtyp=RecordType.stringin, group=group, desc="USB serial number")


DRIVER = SE521
Config = SE521Config
