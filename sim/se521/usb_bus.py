"""A USB bus for pyusb with fake instruments on it: a backend that takes the place of libusb."""

from __future__ import annotations

import errno
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import usb.backend
import usb.backend.libusb1
import usb.core
import usb.util

INTERFACE = 0
IN, OUT = 0x81, 0x02
ENGLISH = 0x0409
SET_REPORT = (0x21, 0x09)
GET_DESCRIPTOR = (0x80, 0x06)
OUTPUT_REPORT, FEATURE_REPORT = 2, 3


class UsbInstrument(Protocol):
    """A fake instrument as the bus sees it."""

    serial: str
    address: int

    @property
    def there(self) -> bool:
        """Return True while it is on the bus."""

    def receive(self, report_type: str, report: bytes) -> None:
        """Receive a report from the host; ``report_type`` is "feature" or "output"."""

    def next_packet(self, address: int, seconds: float) -> bytes | None:
        """Return the next packet, None when there is none in that time. Raises ConnectionError when it is gone."""


@dataclass(eq=False)
class Attached:
    """An instrument on the bus from one plug to the next; after that its handles are dead."""

    fake: UsbInstrument
    address: int
    kernel_driver: bool = True
    claimed_by: Handle | None = None

    @property
    def there(self) -> bool:
        """Return True while the instrument is still plugged in as it was."""
        return self.fake.there and self.fake.address == self.address


@dataclass(eq=False)
class Handle:
    """An opened device."""

    device: Attached


class UsbBus(usb.backend.IBackend):  # type: ignore[misc]  # pyusb has no types
    """Bus 1 with SE521 loggers, as a backend of pyusb, whose docstrings say what each method is for.

    Without ``has_out_endpoint`` commands come by control transfer alone.
    """

    def __init__(self, fakes: Sequence[UsbInstrument], *, has_out_endpoint: bool = True) -> None:
        super().__init__()
        self._endpoints = (IN, OUT) if has_out_endpoint else (IN,)
        self._attached = {fake: Attached(fake, fake.address) for fake in fakes}

    def enumerate_devices(self) -> Iterator[Attached]:
        """Yield the instruments that are there."""
        for fake, device in self._attached.items():
            if fake.address != device.address:
                self._attached[fake] = Attached(fake, fake.address)
            if fake.there:
                yield self._attached[fake]

    def get_parent(self, dev: Attached) -> None:
        """Do nothing: no hub is known."""

    def get_device_descriptor(self, dev: Attached) -> Any:
        """Return the device descriptor of a logger."""
        port = 1 + list(self._attached).index(dev.fake)
        return SimpleNamespace(
            bLength=18,
            bDescriptorType=usb.util.DESC_TYPE_DEVICE,
            bcdUSB=0x0110,
            bDeviceClass=0,
            bDeviceSubClass=0,
            bDeviceProtocol=0,
            bMaxPacketSize0=8,
            idVendor=0x04D9,
            idProduct=0xE000,
            bcdDevice=0x0100,
            iManufacturer=1,
            iProduct=2,
            iSerialNumber=3 if dev.fake.serial else 0,
            bNumConfigurations=1,
            bus=1,
            address=dev.address,
            port_number=port,
            port_numbers=(port,),
            speed=usb.util.SPEED_LOW,
        )

    def get_configuration_descriptor(self, dev: Attached, config: int) -> Any:
        """Return the descriptor of the one configuration. Raises IndexError for others."""
        _index(config, 1)
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=usb.util.DESC_TYPE_CONFIG,
            wTotalLength=27 + 7 * len(self._endpoints),
            bNumInterfaces=1,
            bConfigurationValue=1,
            iConfiguration=0,
            bmAttributes=0x80,
            bMaxPower=50,
            extra_descriptors=[],
        )

    def get_interface_descriptor(self, dev: Attached, intf: int, alt: int, config: int) -> Any:
        """Return the descriptor of the one interface, a HID. Raises IndexError for others."""
        _index(intf, 1)
        _index(alt, 1)
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=usb.util.DESC_TYPE_INTERFACE,
            bInterfaceNumber=INTERFACE,
            bAlternateSetting=0,
            bNumEndpoints=len(self._endpoints),
            bInterfaceClass=3,  # HID
            bInterfaceSubClass=0,
            bInterfaceProtocol=0,
            iInterface=0,
            extra_descriptors=[],
        )

    def get_endpoint_descriptor(self, dev: Attached, ep: int, intf: int, alt: int, config: int) -> Any:
        """Return the descriptor of an interrupt endpoint. Raises IndexError."""
        _index(ep, len(self._endpoints))
        return SimpleNamespace(
            bLength=7,
            bDescriptorType=usb.util.DESC_TYPE_ENDPOINT,
            bEndpointAddress=self._endpoints[ep],
            bmAttributes=usb.util.ENDPOINT_TYPE_INTR,
            wMaxPacketSize=32 if self._endpoints[ep] == IN else 8,
            bInterval=10,
            bRefresh=0,
            bSynchAddress=0,
            extra_descriptors=[],
        )

    def open_device(self, dev: Attached) -> Handle:
        """Return a handle."""
        _there(dev)
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
        """Do nothing, if the interface is claimed."""
        _claimed(dev_handle)

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
            dev_handle.device.fake.receive("feature" if high == FEATURE_REPORT else "output", data.tobytes())
            return len(data)
        raise _error("Pipe error", -9, errno.EPIPE)

    def intr_write(self, dev_handle: Handle, ep: int, intf: int, data: array[int], timeout: int) -> int:
        """Receive an output report; returns its size."""
        _claimed(dev_handle)
        dev_handle.device.fake.receive("output", data.tobytes())
        return len(data)

    def intr_read(self, dev_handle: Handle, ep: int, intf: int, size: array[int], timeout: int) -> int:
        """Read the next packet into ``size``; returns how many bytes it has. Waits ``timeout`` ms at most."""
        _claimed(dev_handle)
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


def _index(index: int, count: int) -> None:
    if index >= count:
        raise IndexError(f"there is no descriptor {index}")


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
