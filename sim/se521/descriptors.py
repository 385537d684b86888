"""What the devices on a fake USB bus say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import usb.backend
import usb.util

INTERFACE = 0
IN, OUT = 0x81, 0x02


class UsbInstrument(Protocol):
    """A fake instrument as the bus sees it.

    usb_port  where it is plugged in: bus-port.port; "" for the next port of bus 1
    denied    True while nobody has the permission to open it
    halted    the endpoints that stall until their halt is cleared; endpoint 0 by itself, after one transfer
    failing   how many of the next transfers end with an I/O error
    """

    serial: str
    address: int
    usb_port: str
    denied: bool
    halted: set[int]
    failing: int

    @property
    def there(self) -> bool:
        """Return True while it is on the bus."""

    def receive(self, report_type: str, report: bytes) -> None:
        """Receive a report from the host; ``report_type`` is "feature" or "output"."""

    def next_packet(self, address: int, seconds: float) -> bytes | None:
        """Return the next packet, None when there is none in that time. Raises ConnectionError when it is gone."""


@dataclass(eq=False)
class Attached:
    """An instrument on the bus from one plug to the next; after that its handles are dead.

    ``socket`` is its port on bus 1, unless it says itself where it is plugged in.
    """

    fake: UsbInstrument
    address: int
    socket: int
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


class Descriptors(usb.backend.IBackend):  # type: ignore[misc]  # pyusb has no types
    """The descriptors of SE521 loggers, as pyusb asks for them; they are read without opening a device."""

    def __init__(self, *, has_out_endpoint: bool) -> None:
        super().__init__()
        self._endpoints = (IN, OUT) if has_out_endpoint else (IN,)

    def get_parent(self, dev: Attached) -> None:
        """Do nothing: no hub is known."""

    def get_device_descriptor(self, dev: Attached) -> Any:
        """Return the device descriptor of a logger."""
        bus, ports = _place(dev.fake.usb_port or f"1-{dev.socket}")
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
            bus=bus,
            address=dev.address,
            port_number=ports[-1],
            port_numbers=ports,
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


def _place(usb_port: str) -> tuple[int, tuple[int, ...]]:
    """Return bus and ports of bus-port.port."""
    bus, _, ports = usb_port.partition("-")
    return int(bus), tuple(map(int, ports.split(".")))


def _index(index: int, count: int) -> None:
    if index >= count:
        raise IndexError(f"there is no descriptor {index}")
