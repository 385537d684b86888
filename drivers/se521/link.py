"""An SE521 as a USB device: whole transactions, how they are brought into step again, and their errors."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import usb.core
import usb.util

from drivers.base import BadReply, DeviceError, LinkDown, NoReply

INTERFACE = 0
# bRequest of a control transfer (USB HID 1.11, 7.2)
SET_REPORT = 0x09
# wValue of such a transfer: kind of report and its number
FEATURE, OUTPUT = 0x0343, 0x0207
# Bytes of an input report; the first says how many of the others are valid
SIZE = 32
# Milliseconds for one transfer
TRANSFER_TIMEOUT = 500
# Milliseconds without a report after which none is on its way
QUIET = 100
# Reports that are thrown away before the next question, at most
DRAIN_REPORTS = 16
# How often the kernel's driver is attached before that is given up
CLOSE_TRIES = 3
# How often is asked who it is, and a reading, before its error is told, if there is time
IDENTIFY_TRIES, READING_TRIES = 2, 3
# Seconds that the bridge needs after each of the first two reports of a transaction
PAUSE = 0.05
# Milliseconds that another try takes at least: until the line is known to be quiet, and its pauses
AGAIN = QUIET + int(2000 * PAUSE)
# Seconds for a reading with all its errors: the shortest time after which a call counts as hanging is 1 s, and a dead
# instrument must show within two scans
READING_TIME = 0.95
# Seconds for asking who it is; there reports of an earlier program may have to be thrown away first
IDENTIFY_TIME = 2.0

_USB_ERRORS = {
    errno.EACCES: "no permission for the SE521: install the udev rule in deploy/",
    errno.EBUSY: "another program uses the SE521",
    errno.ENODEV: "SE521 is gone: is it plugged in and switched on? "
    "After a loss of USB power it stays off until its button is pressed.",
}
# What pyusb raises: ValueError and IndexError for descriptors that are not those of an SE521, or make no sense
PYUSB_ERRORS = (usb.core.USBError, NotImplementedError, ValueError, IndexError)


class UsbLink:
    """The instrument as a USB device. An error in a transaction is not told before other tries, while there is time.

    ``counters`` gives the numbers of the readings, 0 to 255; no two that follow each other are the same.
    """

    def __init__(self, device: Any, counters: Iterator[int]) -> None:
        self._device = device
        self._counters = counters
        self._detached = False
        self._out: Any = None
        self._in: Any = None
        self._quiet = False  # whether no report of an older transaction can be on its way
        self._deadline = 0.0  # of the transaction, monotonic s

    def open(self) -> None:
        """Detach the kernel's HID driver from the interface and claim it. Raises LinkDown, NoReply."""
        with usb_errors():
            with suppress(NotImplementedError):  # a system whose kernel does not claim the interface
                if self._device.is_kernel_driver_active(INTERFACE):
                    self._detached = True  # even if it is not known whether that succeeded
                    self._device.detach_kernel_driver(INTERFACE)
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
        self._clear_halts()  # of an earlier session, or of the one that ended with them

    def close(self) -> None:
        """Release the interface and attach the kernel's driver again. Never raises.

        A handle that is closed releases what it could not release before: if the kernel's driver could not be
        attached with it, another handle tries again.
        """
        for _ in range(CLOSE_TRIES):
            with suppress(*PYUSB_ERRORS):
                usb.util.release_interface(self._device, INTERFACE)
            if self._detached:
                with suppress(*PYUSB_ERRORS):
                    self._device.attach_kernel_driver(INTERFACE)
                    self._detached = False
            with suppress(*PYUSB_ERRORS):
                usb.util.dispose_resources(self._device)
            if not self._detached:
                break

    def identify(self) -> str:
        """Return the model that the instrument says it is. Raises NoReply, BadReply, LinkDown."""
        first, _ = self._ask(b"K", (31, 1), IDENTIFY_TIME, IDENTIFY_TRIES)
        return first[24:27].decode("ascii", "backslashreplace")

    def measure(self) -> bytes:
        """Return the first report of a reading: flags and temperatures. Raises NoReply, BadReply, LinkDown."""
        return self._ask(b"A", (31, 31, 2), READING_TIME, READING_TRIES)[0]

    def _ask(self, command: bytes, counts: tuple[int, ...], seconds: float, tries: int) -> list[bytes]:
        """Send a command and return its reports, whose counts of valid bytes must be ``counts``."""
        self._deadline = time.monotonic() + seconds
        with usb_errors():
            for _ in range(tries - 1):
                try:
                    return self._exchange(command, counts)
                except (BadReply, usb.core.USBError) as error:
                    if isinstance(error, usb.core.USBError):
                        if error.errno == errno.ENODEV:
                            raise
                        if not _timed_out(error):
                            self._clear_halts()
                    if self._left() < AGAIN:  # another try would say nothing but that there was no time for it
                        raise
            return self._exchange(command, counts)

    def _exchange(self, command: bytes, counts: tuple[int, ...]) -> list[bytes]:
        if self._quiet:
            time.sleep(PAUSE)  # from whatever went before
        else:
            self._drain()
        self._quiet = False  # until all of the reply is here
        counter = next(self._counters) if command == b"A" else 0
        self._set_report(FEATURE, b"\x43\x01\x07" + bytes(5))  # 7 bytes follow
        time.sleep(PAUSE)
        self._output(b"\x07\x02" + command + bytes(3) + bytes((counter, 0x03)))
        time.sleep(PAUSE)
        self._set_report(FEATURE, bytes((0x43, 0x04, sum(counts))) + bytes(5))  # read so many bytes
        reports = [self._report(count) for count in counts]
        if command == b"A" and (echo := reports[1][31]) != counter:
            raise BadReply(f"SE521 sent a stale reply: number {echo} instead of {counter}")
        self._quiet = True
        return reports

    def _drain(self) -> None:
        """Throw away the reports that are on their way, until none has come for ``QUIET``."""
        for _ in range(DRAIN_REPORTS):
            if self._left() < QUIET:
                break
            try:
                self._in.read(SIZE, QUIET)
            except usb.core.USBError as error:
                if _timed_out(error):
                    return
                if error.errno != errno.EOVERFLOW:  # that one was longer than a report, and is gone as well
                    raise
        raise BadReply("SE521 sends reports that were not asked for")

    def _clear_halts(self) -> None:
        """Let endpoints that have stalled go on; where that fails the next question shows it."""
        for endpoint in (self._in, self._out):
            if endpoint is not None:
                with suppress(*PYUSB_ERRORS):
                    endpoint.clear_halt()

    def _output(self, data: bytes) -> None:
        if self._out is None:
            self._set_report(OUTPUT, data)
        else:
            self._out.write(data, self._left())

    def _set_report(self, kind: int, data: bytes) -> None:
        self._device.ctrl_transfer(0x21, SET_REPORT, kind, INTERFACE, data, self._left())

    def _report(self, count: int) -> bytes:
        report = bytes(self._in.read(SIZE, self._left()))
        if len(report) != SIZE or report[0] != count:
            got = f"{len(report)} bytes that begin with {report[:1].hex() or 'nothing'}"
            raise BadReply(f"SE521 sent {got}, not {SIZE} that begin with {count:02x}: noise, or half a reply")
        return report

    def _left(self) -> int:
        """Return the milliseconds that the next transfer may take; libusb takes 0 for ever."""
        return max(1, min(TRANSFER_TIMEOUT, int(1000 * (self._deadline - time.monotonic()))))


@contextmanager
def usb_errors() -> Iterator[None]:
    """Raise NoReply or LinkDown for what pyusb raises."""
    try:
        yield
    except PYUSB_ERRORS as error:
        raise device_error(error) from error


def device_error(error: Exception) -> DeviceError:
    """Return the DeviceError for what pyusb raised."""
    if isinstance(error, NotImplementedError):
        return LinkDown("libusb on this system does not support what the SE521 needs")
    if not isinstance(error, usb.core.USBError):
        return LinkDown(f"the USB device does not describe itself as an SE521 does: {error}")
    if _timed_out(error):
        return NoReply("SE521 did not answer in time")
    return LinkDown(_USB_ERRORS.get(error.errno, f"SE521: the USB connection failed: {error.strerror}"))


def _timed_out(error: usb.core.USBError) -> bool:
    return isinstance(error, usb.core.USBTimeoutError) or error.errno == errno.ETIMEDOUT
