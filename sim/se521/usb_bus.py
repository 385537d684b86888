"""A USB bus for pyusb with fake instruments on it: a backend that takes the place of libusb."""

from __future__ import annotations

import errno
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import usb.backend.libusb1
import usb.core
import usb.util

from sim.se521.descriptors import IN, INTERFACE, OUT, Attached, Descriptors, Handle, UsbInstrument

ENGLISH = 0x0409
SET_REPORT = (0x21, 0x09)
GET_DESCRIPTOR = (0x80, 0x06)
OUTPUT_REPORT, FEATURE_REPORT = 2, 3


class UsbBus(Descriptors):
    """Buses with SE521 loggers, as a backend of pyusb, whose docstrings say what each method is for.

    Without ``has_out_endpoint`` commands come by control transfer alone.
    """

    def __init__(self, fakes: Sequence[UsbInstrument], *, has_out_endpoint: bool = True) -> None:
        super().__init__(has_out_endpoint=has_out_endpoint)
        self._attached = {fake: Attached(fake, fake.address, socket) for socket, fake in enumerate(fakes, 1)}

    def enumerate_devices(self) -> Iterator[Attached]:
        """Yield the instruments that are there."""
        for fake, device in self._attached.items():
            if fake.address != device.address:
                self._attached[fake] = Attached(fake, fake.address, device.socket)
            if fake.there:
                yield self._attached[fake]

    def open_device(self, dev: Attached) -> Handle:
        """Return a handle, if that is allowed."""
        _there(dev)
        if dev.fake.denied:
            raise _error("Access denied (insufficient permissions)", -3, errno.EACCES)
        return Handle(dev)

    def close_device(self, dev_handle: Handle) -> None:
        """Close a handle and release what it claimed."""
        if dev_handle.device.claimed_by is dev_handle:
            dev_handle.device.claimed_by = None

    def get_configuration(self, dev_handle: Handle) -> int:
        """Return the number of the one configuration."""
        _there(dev_handle.device)
        return 1

    def set_configuration(self, dev_handle: Handle, config_value: int) -> None:
        """Accept the configuration, unless the interface is in use."""
        _there(dev_handle.device)
        _free(dev_handle)

    def set_interface_altsetting(self, dev_handle: Handle, intf: int, altsetting: int) -> None:
        """Accept the setting, if the interface is claimed."""
        _claimed(dev_handle)

    def claim_interface(self, dev_handle: Handle, intf: int) -> None:
        """Claim the interface for a handle, unless it is in use."""
        _there(dev_handle.device)
        if intf != INTERFACE:
            raise _error("Entity not found", -5, errno.ENOENT)
        _free(dev_handle)
        dev_handle.device.claimed_by = dev_handle

    def release_interface(self, dev_handle: Handle, intf: int) -> None:
        """Release the interface."""
        _claimed(dev_handle)
        dev_handle.device.claimed_by = None

    def is_kernel_driver_active(self, dev_handle: Handle, intf: int) -> bool:
        """Return True while the kernel has the interface."""
        _there(dev_handle.device)
        return dev_handle.device.kernel_driver

    def detach_kernel_driver(self, dev_handle: Handle, intf: int) -> None:
        """Take the interface from the kernel."""
        _there(dev_handle.device)
        if not dev_handle.device.kernel_driver:
            raise _error("Entity not found", -5, errno.ENOENT)
        dev_handle.device.kernel_driver = False

    def attach_kernel_driver(self, dev_handle: Handle, intf: int) -> None:
        """Return the interface to the kernel."""
        _there(dev_handle.device)
        _free(dev_handle)
        dev_handle.device.kernel_driver = True

    def reset_device(self, dev_handle: Handle) -> None:
        """Do nothing, if the instrument is there."""
        _there(dev_handle.device)

    def clear_halt(self, dev_handle: Handle, ep: int) -> None:
        """Let an endpoint that has stalled go on, if the interface is claimed."""
        _claimed(dev_handle)
        dev_handle.device.fake.halted.discard(ep)

    def ctrl_transfer(
        self,
        dev_handle: Handle,
        bmRequestType: int,  # noqa: N803  # the names are those of the USB specification
        bRequest: int,  # noqa: N803
        wValue: int,  # noqa: N803
        wIndex: int,  # noqa: N803
        data: array[int],
        timeout: int,
    ) -> int:
        """Answer a string descriptor, or receive a report; stall at anything else."""
        _there(dev_handle.device)
        high, low = divmod(wValue, 256)
        request = (bmRequestType, bRequest)
        if request == GET_DESCRIPTOR and high == usb.util.DESC_TYPE_STRING:
            return _fill(data, _string_descriptor(dev_handle.device.fake, low))
        if request == SET_REPORT and high in (OUTPUT_REPORT, FEATURE_REPORT):
            _claimed(dev_handle)
            _transfer(dev_handle, 0)
            dev_handle.device.fake.receive("feature" if high == FEATURE_REPORT else "output", data.tobytes())
            return len(data)
        raise _stalled()

    def intr_write(self, dev_handle: Handle, ep: int, intf: int, data: array[int], timeout: int) -> int:
        """Receive an output report; returns its size."""
        _claimed(dev_handle)
        _transfer(dev_handle, OUT)
        dev_handle.device.fake.receive("output", data.tobytes())
        return len(data)

    def intr_read(self, dev_handle: Handle, ep: int, intf: int, size: array[int], timeout: int) -> int:
        """Read the next packet into ``size``; returns how many bytes it has. Waits ``timeout`` ms at most."""
        _claimed(dev_handle)
        _transfer(dev_handle, IN)
        device = dev_handle.device
        try:
            packet = device.fake.next_packet(device.address, timeout / 1000)
        except ConnectionError:
            raise _gone() from None
        if packet is None:
            raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
        if len(size) < len(packet):
            raise _error("Overflow", -8, errno.EOVERFLOW)
        return _fill(size, packet)


def _fill(buffer: array[int], data: bytes) -> int:
    """Put what fits into the buffer; returns how many bytes that was."""
    count = min(len(buffer), len(data))
    buffer[:count] = array("B", data[:count])
    return count


def _string_descriptor(fake: UsbInstrument, index: int) -> bytes:
    strings = {1: "Center Technology", 2: "SE521", 3: fake.serial}
    body = ENGLISH.to_bytes(2, "little") if index == 0 else strings.get(index, "").encode("utf-16-le")
    return bytes([2 + len(body), usb.util.DESC_TYPE_STRING]) + body


def _there(device: Attached) -> None:
    if not device.there:
        raise _gone()


def _free(handle: Handle) -> None:
    """Raise EBUSY while the kernel or another handle has the interface."""
    if handle.device.kernel_driver or handle.device.claimed_by not in (None, handle):
        raise _error("Resource busy", -6, errno.EBUSY)


def _claimed(handle: Handle) -> None:
    _there(handle.device)
    if handle.device.claimed_by is not handle:
        raise _error("Entity not found", -5, errno.ENOENT)


def _transfer(handle: Handle, endpoint: int) -> None:
    """Raise the error that this transfer is to end with."""
    fake = handle.device.fake
    if fake.failing > 0:
        fake.failing -= 1
        raise _error("Input/Output Error", -1, errno.EIO)
    if endpoint in fake.halted:
        fake.halted.discard(0)  # the next transfer ends the stall of endpoint 0
        raise _stalled()


def _stalled() -> Exception:
    return _error("Pipe error", -9, errno.EPIPE)


def _gone() -> Exception:
    return _error("No such device (it may have been disconnected)", -4, errno.ENODEV)


def _error(sentence: str, libusb: int, number: int) -> Exception:
    error: Exception = usb.core.USBError(sentence, libusb, number)
    return error


@contextmanager
def replaced(bus: UsbBus) -> Iterator[None]:
    """Put this bus in place of the real one for pyusb in this process."""
    get_backend = usb.backend.libusb1.get_backend
    _forget_libusb()
    usb.backend.libusb1.get_backend = lambda find_library=None: bus
    try:
        yield
    finally:
        usb.backend.libusb1.get_backend = get_backend
        _forget_libusb()


def _forget_libusb() -> None:
    """Clear the cache of libusb_package, which keeps the backend that it found first."""
    package = sys.modules.get("libusb_package")
    if package is not None:
        package.get_libusb1_backend.cache_clear()
