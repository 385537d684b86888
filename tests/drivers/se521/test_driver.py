"""The SE521 driver against transcripts of its USB transfers: real pyusb on a backend that plays them.

A transcript is a list of transfers in order: ("feature" | "output" | "out", bytes sent) and ("in", bytes received).
An error in place of the bytes is raised. Another transfer, or one left over, fails the test.
"""

from __future__ import annotations

import ctypes
import errno
import math
import struct
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import usb.backend
import usb.backend.libusb1
import usb.core

from drivers import se521
from drivers.base import BadReply, DeviceError, LinkDown, NoReply, Reading, RecordType, Refused, Severity, Status
from drivers.se521 import DRIVER, SE521, SE521Config, link
from drivers.se521 import bus as usb_bus
from drivers.se521.means import Means
from tests.drivers.steps import merged

Step = tuple[str, bytes | Exception]

TIMEOUT = usb.core.USBTimeoutError("timed out", -7, errno.ETIMEDOUT)
GONE = usb.core.USBError("No such device", -4, errno.ENODEV)
DENIED = usb.core.USBError("Access denied", -3, errno.EACCES)


@dataclass(eq=False)
class FakeDevice:
    """What a device looks like from the bus."""

    serial: str | None = "A1234"
    bus: int = 1
    address: int = 5
    out_endpoint: bool = True
    denied: bool = False
    kernel_driver: bool = True
    product: int = 0xE000
    ports: tuple[int, ...] = (1,)


class Backend(usb.backend.IBackend):  # type: ignore[misc]
    """A bus with devices; what they are sent and what they answer is the transcript ``script``."""

    def __init__(self, *devices: FakeDevice) -> None:
        self.devices = list(devices)
        self.script: list[Step] = []
        self.claimed = False
        self.times: list[float] = []

    # descriptors

    def enumerate_devices(self) -> list[FakeDevice]:
        return self.devices

    def get_device_descriptor(self, dev: FakeDevice) -> Any:
        return SimpleNamespace(
            bLength=18, bDescriptorType=1, bcdUSB=0x110, bDeviceClass=0, bDeviceSubClass=0, bDeviceProtocol=0,
            bMaxPacketSize0=8, idVendor=0x04D9, idProduct=dev.product, bcdDevice=0x100, iManufacturer=0, iProduct=0,
            iSerialNumber=3 if dev.serial else 0, bNumConfigurations=1, bus=dev.bus, address=dev.address,
            port_number=dev.ports[-1], port_numbers=dev.ports, speed=1,
        )  # fmt: skip

    def get_configuration_descriptor(self, dev: FakeDevice, config: int) -> Any:
        return SimpleNamespace(
            bLength=9, bDescriptorType=2, wTotalLength=41, bNumInterfaces=1, bConfigurationValue=1, iConfiguration=0,
            bmAttributes=0x80, bMaxPower=50, extra_descriptors=[],
        )  # fmt: skip

    def get_interface_descriptor(self, dev: FakeDevice, intf: int, alt: int, config: int) -> Any:
        if intf or alt:
            raise IndexError(intf)
        return SimpleNamespace(
            bLength=9, bDescriptorType=4, bInterfaceNumber=0, bAlternateSetting=0,
            bNumEndpoints=2 if dev.out_endpoint else 1, bInterfaceClass=3, bInterfaceSubClass=0,
            bInterfaceProtocol=0, iInterface=0, extra_descriptors=[],
        )  # fmt: skip

    def get_endpoint_descriptor(self, dev: FakeDevice, ep: int, intf: int, alt: int, config: int) -> Any:
        return SimpleNamespace(
            bLength=7, bDescriptorType=5, bEndpointAddress=(0x81, 0x02)[ep], bmAttributes=3,
            wMaxPacketSize=32, bInterval=10, bRefresh=0, bSynchAddress=0, extra_descriptors=[],
        )  # fmt: skip

    # the handle

    def open_device(self, dev: FakeDevice) -> FakeDevice:
        if dev.denied:
            raise DENIED
        return dev

    def close_device(self, dev_handle: FakeDevice) -> None:
        pass

    def get_configuration(self, dev_handle: FakeDevice) -> int:
        return 1

    def is_kernel_driver_active(self, dev_handle: FakeDevice, intf: int) -> bool:
        return dev_handle.kernel_driver

    def detach_kernel_driver(self, dev_handle: FakeDevice, intf: int) -> None:
        dev_handle.kernel_driver = False

    def attach_kernel_driver(self, dev_handle: FakeDevice, intf: int) -> None:
        assert not self.claimed
        dev_handle.kernel_driver = True

    def claim_interface(self, dev_handle: FakeDevice, intf: int) -> None:
        if dev_handle.kernel_driver or self.claimed:
            raise usb.core.USBError("Resource busy", -6, errno.EBUSY)
        self.claimed = True

    def release_interface(self, dev_handle: FakeDevice, intf: int) -> None:
        self.claimed = False

    # transfers

    def clear_halt(self, dev_handle: FakeDevice, ep: int) -> None:
        assert ep in (0x81, 0x02)

    def ctrl_transfer(
        self, dev_handle: FakeDevice, request_type: int, request: int, value: int, index: int, data: Any, timeout: int
    ) -> int:
        if request_type == 0x80:  # GET_DESCRIPTOR of a string
            text = b"\x09\x04" if value == 0x0300 else (dev_handle.serial or "").encode("utf-16-le")
            reply = array("B", bytes((len(text) + 2, 3)) + text)
            data[: len(reply)] = reply
            return len(reply)
        assert (request_type, request, index) == (0x21, 0x09, 0)
        self._expect({0x0343: "feature", 0x0207: "output"}[value], data.tobytes())
        return len(data)

    def intr_write(self, dev_handle: FakeDevice, ep: int, intf: int, data: Any, timeout: int) -> int:
        assert ep == 0x02
        self._expect("out", data.tobytes())
        return len(data)

    def intr_read(self, dev_handle: FakeDevice, ep: int, intf: int, buff: Any, timeout: int) -> int:
        assert (ep, len(buff)) == (0x81, 32)
        assert timeout <= 500
        report = self._expect("in", b"")
        buff[: len(report)] = array("B", report)
        return len(report)

    def _expect(self, kind: str, data: bytes) -> bytes:
        self.times.append(time.monotonic())
        assert self.script, f"a transfer that nobody expected: {kind} {data.hex(' ')}"
        expected, content = self.script.pop(0)
        assert kind == expected
        if isinstance(content, Exception):
            raise content
        assert kind == "in" or data == content
        return content


def report(count: int, content: dict[int, bytes] | None = None) -> bytes:
    filled = bytearray(32)
    filled[0] = count
    for place, part in (content or {}).items():
        filled[place : place + len(part)] = part
    return bytes(filled)


def command(letter: int, counter: int, length: int, output: str = "out") -> list[Step]:
    """The three reports that ask for something, byte for byte as in the published code."""
    return [
        ("feature", bytes.fromhex("43 01 07 00 00 00 00 00")),
        (output, bytes((0x07, 0x02, letter, 0, 0, 0, counter, 0x03))),
        ("feature", bytes((0x43, 0x04, length, 0, 0, 0, 0, 0))),
    ]


QUIET: list[Step] = [("in", TIMEOUT)]


def identify(model: bytes = b"521", output: str = "out") -> list[Step]:
    reply: list[Step] = [("in", report(0x1F, {24: model})), ("in", report(0x01))]
    return [*QUIET, *command(0x4B, 0, 0x20, output), *reply]


def reading(
    counter: int,
    tenths: tuple[int, ...] = (0, 0, 0, 0),
    flags: int = 0xFF,
    echo: int | None = None,
    output: str = "out",
) -> list[Step]:
    first = report(0x1F, {7: bytes((flags,)), 10: struct.pack(">4h", *tenths)})
    second = report(0x1F, {31: bytes((counter if echo is None else echo,))})
    return [*command(0x41, counter, 0x40, output), ("in", first), ("in", second), ("in", report(0x02))]


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """A bus with one SE521; what is left of its transcript fails the test."""
    backend = Backend(FakeDevice())
    monkeypatch.setattr(usb.backend.libusb1, "get_backend", lambda find_library=None: backend)
    monkeypatch.setattr(link, "PAUSE", 0.0)
    yield backend
    assert not backend.script, f"transfers that did not happen: {backend.script}"


@pytest.fixture
def driver(bus: Backend) -> Iterator[SE521]:
    """A driver that has connected."""
    made = SE521(SE521Config(mean=3))
    bus.script = identify()
    made.connect()
    yield made
    made.close()


def scan(driver: SE521) -> dict[str, Any]:
    return dict(merged(driver.read("temperatures")))


def is_invalid(reading: object) -> bool:
    return (
        isinstance(reading, Reading)
        and reading.severity is Severity.INVALID
        and isinstance(reading.value, float)
        and math.isnan(reading.value)
    )


# ---- points and configuration ----


def test_every_group_answers_exactly_its_points(driver: SE521, bus: Backend) -> None:
    bus.script = reading(1)
    assert set(scan(driver)) == {point.name for point in driver.points}
    assert {point.group for point in driver.points} == set(driver.scan)


def test_points_are_named_once_and_fit_into_epics_fields() -> None:
    points = SE521(SE521Config(mean=3600)).points
    assert len({point.name for point in points}) == len(points)
    assert all(0 < len(point.desc) <= 40 for point in points)
    assert {point.egu for point in points if point.rtyp is RecordType.ai} == {"C"}
    assert next(point.desc for point in points if point.name == "T1:Mean") == "Mean of the last 3600 readings"


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        (SE521Config(), []),
        (SE521Config(mean=3600, bus=1, address=127), []),
        (SE521Config(mean=0), ["mean"]),
        (SE521Config(mean=3601, bus=0, address=128), ["mean", "bus", "address"]),
        (SE521Config(usb_port="1-2"), []),
        (SE521Config(usb_port="3-1.4.2", bus=3), []),
        (SE521Config(usb_port="3-1.4.2", bus=1), ["bus"]),
        *(
            (SE521Config(usb_port=port), ["usb_port"])
            for port in ("", "1", "1-", "1-0", "1:2", "1-2.", "1-2:1.0", "usb1")
        ),
        (SE521Config(coldest_c=-273.15), []),
        *((SE521Config(coldest_c=celsius), ["coldest_c"]) for celsius in (-273.2, 0.1, math.nan, -math.inf)),
    ],
)
def test_faults_name_each_key_that_is_out_of_range(config: SE521Config, keys: list[str]) -> None:
    assert [".".join(key) for key, _ in config.faults()] == keys


def test_nothing_can_be_put(driver: SE521) -> None:
    with pytest.raises(Refused):
        driver.write(driver.points[0], 1.0)


def test_the_class_that_the_configuration_loads_has_its_config() -> None:
    assert DRIVER.Config is se521.Config is SE521Config


# ---- reading ----


@pytest.mark.parametrize(
    ("tenths", "celsius"),
    [(320, 0.0), (2120, 100.0), (-400, -40.0), (778, 25.4444), (25016, 1372.0), (-2000, -128.889)],
)
def test_temperatures_are_signed_tenths_of_fahrenheit(
    driver: SE521, bus: Backend, tenths: int, celsius: float
) -> None:
    bus.script = reading(1, (tenths, 320, 320, tenths))
    readings = scan(driver)
    assert readings["T1"].value == readings["T4"].value == pytest.approx(celsius, abs=0.005)
    assert readings["T2"] == Reading(0.0)


def test_the_exchange_has_its_pauses(driver: SE521, bus: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "PAUSE", 0.05)
    bus.script = reading(1)
    bus.times.clear()
    scan(driver)
    setup, output, request = bus.times[:3]
    assert output - setup >= 0.05
    assert request - output >= 0.05


@pytest.mark.parametrize(("flags", "number"), [(0x77, 1), (0xBB, 2), (0xDD, 3), (0xEE, 4)])
def test_an_open_thermocouple_is_never_a_number(driver: SE521, bus: Backend, flags: int, number: int) -> None:
    bus.script = reading(1, (320, 320, 320, 320), flags)
    readings = scan(driver)
    assert readings["Flags"] == flags
    for n in range(1, 5):
        assert readings[f"T{n}:Open"] == (n == number)
        assert is_invalid(readings[f"T{n}"]) == is_invalid(readings[f"T{n}:Mean"]) == (n == number)


@pytest.mark.parametrize("tenths", [-2001, -4597, -32768])
def test_a_value_below_200_below_zero_fahrenheit_is_no_number_and_says_so(
    driver: SE521, bus: Backend, tenths: int
) -> None:
    bus.script = reading(1, (tenths, 320, -2000, tenths), 0xEE)
    readings = scan(driver)
    assert is_invalid(readings["T1"])
    assert is_invalid(readings["T1:Mean"])
    assert readings["T1"].status is Status.HWLIMIT
    assert "below coldest_c, -128.9 C" in readings["T1"].message
    assert readings["T1:Open"].severity is Severity.INVALID  # the flag says connected, the value cannot be
    assert readings["T2:Open"] == readings["T3:Open"] == 0
    assert readings["T3"].value == pytest.approx(-128.889, abs=0.001)
    assert (readings["T4"].status, readings["T4:Open"]) == (Status.UDF, 1)
    assert "open" in readings["T4"].message


@pytest.mark.parametrize("tenths", [25_017, 32_767])
def test_a_value_above_the_range_of_type_k_is_no_number_and_says_so(driver: SE521, bus: Backend, tenths: int) -> None:
    bus.script = reading(1, (tenths, 320, 24_916, 320))
    readings = scan(driver)
    assert is_invalid(readings["T1"])
    assert is_invalid(readings["T1:Mean"])
    assert readings["T1"].status is Status.HWLIMIT
    assert "above 1372 C" in readings["T1"].message
    assert readings["T1:Open"].severity is Severity.INVALID
    assert readings["T2"].value == 0
    assert readings["T3"].value == pytest.approx(1366.4, abs=0.1)


def test_a_cryogenic_site_gets_the_number(bus: Backend) -> None:
    driver = SE521(SE521Config(coldest_c=-200))
    bus.script = [*identify(), *reading(1, (-3100, -3280, -3281, -32768))]
    driver.connect()
    readings = scan(driver)
    assert readings["T1"].value == pytest.approx(-190.0)
    assert readings["T2"].value == pytest.approx(-200.0)
    assert readings["T1:Open"] == 0
    assert is_invalid(readings["T3"])
    assert is_invalid(readings["T4"])
    driver.close()


def test_below_absolute_zero_is_never_a_number(bus: Backend) -> None:
    driver = SE521(SE521Config(coldest_c=-273.15))
    bus.script = [*identify(), *reading(1, (-4596, -4597, -32768, 320))]
    driver.connect()
    readings = scan(driver)
    assert readings["T1"].value == pytest.approx(-273.11, abs=0.01)
    assert is_invalid(readings["T2"])
    assert is_invalid(readings["T3"])
    driver.close()


# ---- means ----


def test_a_mean_looks_back_over_its_readings_and_is_in_alarm_until_it_has_them_all(
    driver: SE521, bus: Backend
) -> None:
    means = []
    for counter, tenths in enumerate((320, 500, 680, 860), start=1):
        bus.script = reading(counter, (tenths, 0, 0, 0))
        means.append(scan(driver)["T1:Mean"])
    assert [mean.value for mean in means] == [0.0, 5.0, 10.0, 20.0]
    assert [mean.severity for mean in means] == [Severity.MINOR, Severity.MINOR, Severity.NO_ALARM, Severity.NO_ALARM]
    assert means[1].message == "mean of 2 readings, not 3"


@pytest.mark.parametrize(("tenths", "flags"), [(320, 0x77), (-2001, 0xFF)], ids=["open", "cold"])
def test_a_missing_reading_makes_the_mean_invalid_at_once_and_it_begins_anew_after_it(
    driver: SE521, bus: Backend, tenths: int, flags: int
) -> None:
    for counter in (1, 2, 3):
        bus.script = reading(counter, (320, 320, 0, 0))
        assert scan(driver)["T1:Mean"].value == 0.0
    bus.script = reading(4, (tenths, 320, 0, 0), flags)
    missing = scan(driver)
    assert is_invalid(missing["T1:Mean"])
    assert (missing["T1:Mean"].status, missing["T1:Mean"].message) == (missing["T1"].status, missing["T1"].message)
    assert missing["T2:Mean"] == Reading(0.0)
    bus.script = reading(5, (500, 320, 0, 0))
    back = scan(driver)
    assert (back["T1:Mean"].value, back["T1:Mean"].severity) == (10.0, Severity.MINOR)
    assert back["T2:Mean"] == Reading(0.0)


def test_a_mean_of_one_reading_is_complete(bus: Backend) -> None:
    driver = SE521(SE521Config(mean=1))
    bus.script = [*identify(), *reading(1, (320, 0, 0, 0))]
    driver.connect()
    assert scan(driver)["T1:Mean"] == Reading(0.0)
    driver.close()


def test_a_scan_that_failed_makes_the_means_begin_anew(driver: SE521, bus: Backend) -> None:
    bus.script = reading(1, (500, 0, 0, 0))
    scan(driver)
    bus.script = [*reading(2, echo=0), *QUIET, *reading(3, echo=0), *QUIET, *reading(4, echo=0)]
    with pytest.raises(BadReply):
        scan(driver)
    bus.script = [*QUIET, *reading(5, (320, 0, 0, 0))]
    mean = scan(driver)["T1:Mean"]
    assert (mean.value, mean.message) == (0.0, "mean of 1 readings, not 3")


@pytest.mark.parametrize("period", [0.5, 1.0, 60.0])
def test_a_mean_bridges_no_pause_whatever_the_period(period: float) -> None:
    means = Means(1, 20)
    now = 1000.0
    for _ in range(30):
        complete = means.add([Reading(1.0)], now)
        now += period
    assert complete == [Reading(1.0)]
    means.add([Reading(1.0)], now - 0.7 * period)  # a client has it read between two scans
    for late in (0, 1, 3):  # in the end one is left out
        assert means.add([Reading(1.0)], now + late * period) == [Reading(1.0)]
    after = means.add([Reading(9.0)], now + 8 * period + 3)
    assert (after[0].value, after[0].severity) == (9.0, Severity.MINOR)


def test_model_and_serial_number_come_with_each_scan(driver: SE521, bus: Backend) -> None:
    bus.script = reading(1)
    readings = scan(driver)
    assert (readings["Model"], readings["Serial"]) == ("521", "A1234")


def test_the_counter_rises_with_each_reading_and_wraps(driver: SE521, bus: Backend) -> None:
    for number in range(1, 258):
        bus.script = reading(number % 256)
        scan(driver)


def test_a_bridge_without_out_endpoint_gets_its_output_report_as_a_control_transfer(bus: Backend) -> None:
    bus.devices[0].out_endpoint = False
    driver = SE521(SE521Config())
    bus.script = [*identify(output="output"), *reading(1, output="output")]
    driver.connect()
    assert scan(driver)["T1:Open"] == 0
    driver.close()


# ---- answers that do not fit ----


def broken(place: int, bad: bytes | Exception) -> list[Step]:
    """A reading whose transfer number ``place`` goes wrong."""
    good = reading(1)
    return [*good[:place], (good[place][0], bad)]


BAD_REPORTS = [report(0x1E), report(0x00), report(0x20), b"", b"\x1f" * 31]
USB_ERRORS = [usb.core.USBError("x", -1, number) for number in (errno.EIO, errno.EPIPE, errno.EOVERFLOW, None)]
TIMEOUTS = [TIMEOUT, usb.core.USBError("timed out", -7, errno.ETIMEDOUT)]
# A transfer that goes wrong: its place in a reading, and what comes instead
FAULTS = [
    *(broken(place, error) for place in range(6) for error in [*USB_ERRORS, *TIMEOUTS]),
    *(broken(3 + place, bad) for place in range(3) for bad in BAD_REPORTS),
    [*reading(1)[:3], *reading(1)[4:]],  # the first report is missing
    reading(1, echo=0),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_asked_again_in_the_same_scan_with_another_counter(
    driver: SE521, bus: Backend, fault: list[Step]
) -> None:
    bus.script = [*fault, *QUIET, *reading(2, (320, 0, 0, 0))]
    assert scan(driver)["T1"] == Reading(0.0)
    bus.script = reading(3, (500, 0, 0, 0))
    assert scan(driver)["T1:Mean"].value == 5.0


def test_reports_that_come_late_are_thrown_away_before_the_second_question(driver: SE521, bus: Backend) -> None:
    late: list[Step] = [("in", report(0x1F)), ("in", report(0x1F, {31: b"\x01"})), ("in", report(0x02))]
    bus.script = [*reading(1, echo=0), *late, *QUIET, *reading(2, (320, 0, 0, 0))]
    assert scan(driver)["T1"] == Reading(0.0)


def test_an_answer_that_is_too_long_is_thrown_away_before_the_second_question(driver: SE521, bus: Backend) -> None:
    overflow: list[Step] = [("in", usb.core.USBError("Overflow", -8, errno.EOVERFLOW))]
    bus.script = [*reading(1)[:3], *overflow, *overflow, *overflow, *QUIET, *reading(2, (320, 0, 0, 0))]
    assert scan(driver)["T1"] == Reading(0.0)


def of_question(counter: int, fault: list[Step]) -> list[Step]:
    """The same of a later question, behind a quiet line."""

    def numbered(content: bytes | Exception) -> bytes | Exception:
        if isinstance(content, bytes) and content[:3] == b"\x07\x02\x41":
            return content[:6] + bytes((counter, 0x03))
        if isinstance(content, bytes) and content[31:] == b"\x01":
            return content[:31] + bytes((counter,))
        return content

    return [*QUIET, *((kind, numbered(content)) for kind, content in fault)]


@pytest.mark.parametrize("fault", FAULTS)
def test_two_faults_are_asked_again_in_the_same_scan(driver: SE521, bus: Backend, fault: list[Step]) -> None:
    bus.script = [*fault, *of_question(2, fault), *QUIET, *reading(3, (320, 0, 0, 0))]
    assert scan(driver)["T1"] == Reading(0.0)
    bus.script = reading(4, (500, 0, 0, 0))
    assert scan(driver)["T1:Mean"].value == 5.0


@pytest.mark.parametrize("fault", FAULTS)
def test_a_third_fault_in_a_row_is_told_and_the_next_scan_starts_clean(
    driver: SE521, bus: Backend, fault: list[Step]
) -> None:
    bus.script = [*fault, *of_question(2, fault), *of_question(3, fault)]
    with pytest.raises(DeviceError) as caught:
        scan(driver)
    errors = [content for _, content in fault if isinstance(content, Exception)]
    kind = BadReply if not errors else NoReply if errors[0] in TIMEOUTS else LinkDown
    assert type(caught.value) is kind
    bus.script = [*QUIET, *reading(4, (320, 0, 0, 0))]
    assert scan(driver)["T1"] == Reading(0.0)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [([*reading(1)[:3], ("in", TIMEOUT)], "did not answer in time"), (reading(1, echo=0), "stale reply")],
)
def test_a_fault_that_leaves_no_time_for_a_second_question_is_told_as_it_is(
    driver: SE521, bus: Backend, monkeypatch: pytest.MonkeyPatch, fault: list[Step], sentence: str
) -> None:
    monkeypatch.setattr(link, "READING_TIME", 0.15)  # as long as the pauses of the first one take
    bus.script = fault
    with pytest.raises(DeviceError, match=sentence):
        scan(driver)
    monkeypatch.undo()
    bus.script = [*QUIET, *reading(2, (320, 0, 0, 0))]
    assert scan(driver)["T1"] == Reading(0.0)


def test_an_instrument_that_never_stops_sending_is_a_bad_reply(driver: SE521, bus: Backend) -> None:
    bus.script = [*reading(1)[:3], ("in", b""), *[("in", report(0x1F))] * 32]
    with pytest.raises(BadReply, match="not asked for"):
        scan(driver)
    bus.script = [("in", report(0x1F))] * 48
    with pytest.raises(BadReply, match="not asked for"):
        scan(driver)


@pytest.mark.parametrize("place", range(6))
def test_a_device_that_goes_away_is_a_link_down_at_once(driver: SE521, bus: Backend, place: int) -> None:
    bus.script = broken(place, GONE)
    with pytest.raises(LinkDown, match="is gone"):
        scan(driver)


# ---- the connection ----


def test_the_kernel_gets_its_driver_back(bus: Backend) -> None:
    driver = SE521(SE521Config())
    bus.script = identify()
    driver.connect()
    assert bus.claimed
    assert not bus.devices[0].kernel_driver
    driver.close()
    driver.close()
    assert not bus.claimed
    assert bus.devices[0].kernel_driver


def test_a_device_without_kernel_driver_is_left_without(bus: Backend) -> None:
    bus.devices[0].kernel_driver = False
    driver = SE521(SE521Config())
    bus.script = identify()
    driver.connect()
    driver.close()
    assert not bus.devices[0].kernel_driver


def test_reports_of_an_older_program_are_drained_before_the_first_question(bus: Backend) -> None:
    driver = SE521(SE521Config())
    bus.script = [("in", report(0x1F)), ("in", report(0x02)), *identify()]
    driver.connect()
    driver.close()


@pytest.mark.parametrize("model", [b"309", b"\xff\xff\xff", b"\0\0\0"])
def test_another_model_does_not_connect(bus: Backend, model: bytes) -> None:
    driver = SE521(SE521Config())
    bus.script = identify(model)
    with pytest.raises(BadReply, match="not '521'"):
        driver.connect()
    assert not bus.claimed


def test_a_mute_instrument_does_not_connect_and_is_given_back(bus: Backend) -> None:
    driver = SE521(SE521Config())
    bus.script = 2 * [*QUIET, *command(0x4B, 0, 0x20), ("in", TIMEOUT)]
    with pytest.raises(NoReply):
        driver.connect()
    assert bus.devices[0].kernel_driver


def test_an_absent_instrument_is_told_with_what_to_do(bus: Backend) -> None:
    bus.devices[0].product = 0xE001
    with pytest.raises(LinkDown, match=r"^SE521 not found: is it plugged in .* button is pressed\.$"):
        SE521(SE521Config()).connect()


def test_a_lack_of_permission_names_the_udev_rule(bus: Backend) -> None:
    bus.devices[0].denied = True
    for config in (SE521Config(), SE521Config(serial="A1234")):
        with pytest.raises(LinkDown, match="udev rule in deploy/"):
            SE521(config).connect()


def test_another_program_on_the_instrument_is_told(bus: Backend) -> None:
    bus.devices[0].kernel_driver, bus.claimed = False, True
    with pytest.raises(LinkDown, match="another program"):
        SE521(SE521Config()).connect()


@pytest.mark.parametrize(
    "config",
    [SE521Config(serial="B"), SE521Config(bus=1, address=6), SE521Config(address=6), SE521Config(serial="B", bus=1)],
)
def test_one_of_several_is_chosen(bus: Backend, config: SE521Config) -> None:
    bus.devices.append(FakeDevice(serial="B", address=6))
    driver = SE521(config)
    bus.script = identify()
    driver.connect()
    assert [device.kernel_driver for device in bus.devices] == [True, False]
    driver.close()


def test_several_without_a_choice_are_told_with_their_serial_numbers(bus: Backend) -> None:
    bus.devices.append(FakeDevice(serial=None, address=6))
    places = r"'A1234' at bus 1 address 5, usb_port 1-1, serial '' at bus 1 address 6, usb_port 1-1"
    with pytest.raises(LinkDown, match=rf"^2 SE521 found; say which by serial or usb_port: serial {places}$"):
        SE521(SE521Config()).connect()


def test_a_choice_that_is_not_there_is_told_with_its_keys(bus: Backend) -> None:
    with pytest.raises(LinkDown, match="SE521 with serial X, bus 1 not found"):
        SE521(SE521Config(serial="X", bus=1)).connect()


def test_after_a_reconnect_the_means_start_anew(driver: SE521, bus: Backend) -> None:
    bus.script = reading(1, (500, 0, 0, 0))
    scan(driver)
    bus.script = identify()
    driver.connect()
    bus.script = reading(2, (320, 0, 0, 0))
    mean = scan(driver)["T1:Mean"]
    assert (mean.value, mean.severity) == (0.0, Severity.MINOR)


def test_close_survives_a_device_that_is_gone(driver: SE521, bus: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise GONE

    monkeypatch.setattr(bus, "release_interface", gone)
    monkeypatch.setattr(bus, "attach_kernel_driver", gone)
    driver.close()
    with pytest.raises(LinkDown, match="not connected"):
        scan(driver)


# ---- libusb ----


def test_the_systems_libusb_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(ctypes, "CDLL", loaded.append)
    assert usb_bus._libusb("usb-1.0") == "libusb-1.0.so.0"
    assert loaded == ["libusb-1.0.so.0"]


def test_the_libusb_of_the_python_package_is_taken_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert "libusb_package" in (usb_bus._libusb("usb-1.0") or "")


def test_no_libusb_at_all_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usb.backend.libusb1, "get_backend", lambda find_library: None)
    with pytest.raises(LinkDown, match="install"):
        SE521(SE521Config()).connect()


def test_a_machine_without_the_instrument_says_so_through_the_real_libusb() -> None:
    with pytest.raises(LinkDown, match=r"SE521 with serial no-such-serial not found"):
        SE521(SE521Config(serial="no-such-serial")).connect()
