"""The thermometer over real pyusb."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import usb.core
import usb.util

from sim.fake import CommandError
from sim.se521.fake import ThermometerFake
from sim.se521.thermometer import Thermometer
from sim.se521.usb_bus import UsbBus

ANNOUNCE = bytes.fromhex("4301070000000000")
IDENTIFY = bytes.fromhex("07024b0000000003")
FETCH = bytes.fromhex("4304200000000000")


@pytest.fixture
def fake() -> ThermometerFake:
    fake = ThermometerFake("A1234", Thermometer())
    fake.plug()
    return fake


@pytest.fixture
def bus(fake: ThermometerFake) -> UsbBus:
    return UsbBus([fake])


@pytest.fixture
def device(bus: UsbBus) -> Iterator[Any]:
    device = find(bus)
    device.detach_kernel_driver(0)
    usb.util.claim_interface(device, 0)
    yield device
    usb.util.dispose_resources(device)


def find(bus: UsbBus, **match: Any) -> Any:
    return usb.core.find(backend=bus, idVendor=0x04D9, idProduct=0xE000, **match)


def feature(device: Any, report: bytes) -> None:
    device.ctrl_transfer(0x21, 0x09, 0x0343, 0, report)


def identify(device: Any, *, through_endpoint: bool = True) -> str:
    feature(device, ANNOUNCE)
    time.sleep(0.05)
    if through_endpoint:
        device.write(0x02, IDENTIFY)
    else:
        device.ctrl_transfer(0x21, 0x09, 0x0207, 0, IDENTIFY)
    time.sleep(0.05)
    feature(device, FETCH)
    model = bytes(device.read(0x81, 32, 500))[24:27]
    device.read(0x81, 32, 500)
    return model.decode()


def test_it_is_found_by_its_serial_number(bus: UsbBus) -> None:
    device = find(bus, serial_number="A1234")
    assert (device.product, device.bus, device.bNumConfigurations) == ("SE521", 1, 1)
    assert find(bus, serial_number="B") is None


def test_its_interface_is_hid_with_interrupt_endpoints(bus: UsbBus) -> None:
    interface = find(bus).get_active_configuration()[(0, 0)]
    assert interface.bInterfaceClass == 3
    assert [endpoint.bEndpointAddress for endpoint in interface] == [0x81, 0x02]


def test_an_exchange_goes_over_pyusb(device: Any) -> None:
    assert identify(device) == "521"


def test_without_an_out_endpoint_commands_go_by_control_transfer(fake: ThermometerFake) -> None:
    device = find(UsbBus([fake], has_out_endpoint=False))
    assert len(list(device.get_active_configuration()[(0, 0)])) == 1
    device.detach_kernel_driver(0)
    assert identify(device, through_endpoint=False) == "521"
    usb.util.dispose_resources(device)


def test_the_kernel_driver_keeps_the_interface_until_detached(bus: UsbBus) -> None:
    device = find(bus)
    assert device.is_kernel_driver_active(0)
    with pytest.raises(usb.core.USBError) as caught:
        feature(device, ANNOUNCE)
    assert caught.value.errno == errno.EBUSY
    device.detach_kernel_driver(0)
    feature(device, ANNOUNCE)
    usb.util.release_interface(device, 0)
    device.attach_kernel_driver(0)
    assert device.is_kernel_driver_active(0)
    usb.util.dispose_resources(device)


def test_an_interface_has_one_owner(bus: UsbBus, device: Any) -> None:
    with pytest.raises(usb.core.USBError) as caught:
        usb.util.claim_interface(find(bus), 0)
    assert caught.value.errno == errno.EBUSY


def test_no_answer_is_a_timeout(device: Any) -> None:
    start = time.monotonic()
    with pytest.raises(usb.core.USBTimeoutError) as caught:
        device.read(0x81, 32, 50)
    assert caught.value.errno == errno.ETIMEDOUT
    assert time.monotonic() - start >= 0.05


def test_an_unknown_request_stalls(device: Any) -> None:
    with pytest.raises(usb.core.USBError) as caught:
        device.ctrl_transfer(0xA1, 0x01, 0x0343, 0, 8)
    assert caught.value.errno == errno.EPIPE


def test_unplugged_it_is_gone_from_the_bus_and_from_its_handles(
    fake: ThermometerFake, bus: UsbBus, device: Any
) -> None:
    fake.run("unplug")
    assert find(bus) is None
    with pytest.raises(usb.core.USBError) as caught:
        feature(device, ANNOUNCE)
    assert caught.value.errno == errno.ENODEV


def test_a_read_that_waits_ends_when_the_cable_goes(fake: ThermometerFake, device: Any) -> None:
    threading.Timer(0.05, fake.unplug).start()
    start = time.monotonic()
    with pytest.raises(usb.core.USBError) as caught:
        device.read(0x81, 32, 5000)
    assert caught.value.errno == errno.ENODEV
    assert time.monotonic() - start < 1


def test_plugged_again_it_has_a_new_address_and_old_handles_stay_dead(
    fake: ThermometerFake, bus: UsbBus, device: Any
) -> None:
    fake.run("unplug")
    fake.run("plug")
    again = find(bus)
    assert again.address != device.address
    with pytest.raises(usb.core.USBError):
        feature(device, ANNOUNCE)
    again.detach_kernel_driver(0)
    assert identify(again) == "521"
    usb.util.dispose_resources(again)


def test_after_power_loss_only_the_button_brings_it_back(fake: ThermometerFake, bus: UsbBus) -> None:
    fake.run("power_loss")
    fake.run("unplug")
    fake.run("plug")
    assert find(bus) is None
    fake.run("button")
    assert find(bus) is not None


def test_two_loggers_are_told_apart_by_serial_and_address(fake: ThermometerFake) -> None:
    other = ThermometerFake("", Thermometer())
    other.plug()
    devices = list(usb.core.find(find_all=True, backend=UsbBus([fake, other])))
    assert [device.serial_number for device in devices] == ["A1234", None]
    assert len({(device.bus, device.port_numbers) for device in devices}) == 2


def test_a_logger_is_at_the_port_that_the_configuration_says() -> None:
    fakes = [ThermometerFake.of({"usb_port": port}, time.monotonic) for port in ("1-2.3", "3-1", "")]
    for fake in fakes:
        fake.plug()
    devices = usb.core.find(find_all=True, backend=UsbBus(fakes))
    assert [(device.bus, device.port_numbers) for device in devices] == [(1, (2, 3)), (3, (1,)), (1, (3,))]


@pytest.mark.parametrize(("name", "endpoint"), [("in", 0x81), ("out", 0x02)])
def test_an_endpoint_stalls_until_its_halt_is_cleared(
    fake: ThermometerFake, device: Any, name: str, endpoint: int
) -> None:
    fake.run(f"stall {name}")
    for _ in range(2):
        with pytest.raises(usb.core.USBError) as caught:
            identify(device)
        assert caught.value.errno == errno.EPIPE
    device.clear_halt(endpoint)
    with suppress(usb.core.USBTimeoutError):  # the answers to the questions of before
        while True:
            device.read(0x81, 32, 100)
    assert identify(device) == "521"


@pytest.mark.parametrize(("fault", "number"), [("stall control", errno.EPIPE), ("io_error", errno.EIO)])
def test_one_transfer_fails(fake: ThermometerFake, device: Any, fault: str, number: int) -> None:
    fake.run(fault)
    with pytest.raises(usb.core.USBError) as caught:
        identify(device)
    assert caught.value.errno == number
    time.sleep(0.05)
    assert identify(device) == "521"


def test_a_logger_that_nobody_may_open(fake: ThermometerFake, bus: UsbBus) -> None:
    fake.run("deny")
    with pytest.raises(usb.core.USBError) as caught:
        find(bus).is_kernel_driver_active(0)
    assert caught.value.errno == errno.EACCES
    fake.run("deny 0")
    assert find(bus).is_kernel_driver_active(0)


def test_there_is_no_other_endpoint_to_stall(fake: ThermometerFake) -> None:
    with pytest.raises(CommandError, match="usage: stall in"):
        fake.run("stall both")
