"""The SE521 driver with every USB error at every call that it makes: real pyusb over a bus of fake loggers.

The loggers answer at once; only the tests of what a fault costs use one that takes its time.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import usb.backend.libusb1
import usb.core

from drivers.base import DeviceError, LinkDown, NoReply, Reading, Severity
from drivers.se521 import SE521, SE521Config, link
from drivers.se521.link import UsbLink
from sim.se521.descriptors import IN, OUT, Attached
from sim.se521.fake import ThermometerFake, packets
from sim.se521.thermometer import Thermometer, identification, temperatures
from sim.se521.usb_bus import UsbBus
from tests.drivers.steps import merged

# What a call of pyusb's backend may raise
ERRORS: dict[str, Callable[[], Exception]] = {
    **{
        name: lambda name=name: usb.core.USBError(name, -1, getattr(errno, name))  # type: ignore[misc]
        for name in ("ENODEV", "EIO", "EPIPE", "EOVERFLOW", "EBUSY", "EACCES", "ENOENT", "EINTR")
    },
    "ETIMEDOUT": lambda: usb.core.USBTimeoutError("timed out", -7, errno.ETIMEDOUT),
    "unknown": lambda: usb.core.USBError("Other error", -99, None),
    "NotImplementedError": lambda: NotImplementedError("Operation not supported"),
}
# The calls that move data, in the order of a reading
TRANSFERS = ("ctrl_transfer", "intr_write", "intr_read")
CALLS = (
    *("enumerate_devices", "open_device", "get_configuration", "claim_interface", "release_interface"),
    *(f"get_{kind}_descriptor" for kind in ("device", "configuration", "interface", "endpoint")),
    *("is_kernel_driver_active", "detach_kernel_driver", "attach_kernel_driver", "clear_halt", *TRANSFERS),
)
CELSIUS = [21.5, 24.0, 63.0, -12.0]


@dataclass(eq=False)
class Logger:
    """A logger that answers at once; ``spoil`` changes the report with that number, or leaves it out."""

    serial: str = "A1234"
    address: int = 2
    usb_port: str = ""
    denied: bool = False
    halted: set[int] = field(default_factory=set)
    failing: int = 0
    there: bool = True
    nameless: Exception | None = None
    spoil: dict[int, bytes | None] = field(default_factory=dict)
    sent: int = 0

    def __post_init__(self) -> None:
        self._model = Thermometer(noise=0, drift=0)
        self._model.step(1)
        self._answer = b""
        self._reports: deque[bytes] = deque()

    def receive(self, report_type: str, report: bytes) -> None:
        if report_type == "output":
            self._answer = identification() if report[2:3] == b"K" else temperatures(self._model, report[6])
        elif report[1] == 4:
            self._reports.extend(packets(self._answer))

    def next_packet(self, address: int, seconds: float) -> bytes | None:
        while self._reports:
            self.sent += 1
            packet = self._reports.popleft()
            if (report := self.spoil.get(self.sent, packet)) is not None:
                return report
        return None


class Bus(UsbBus):
    """A bus whose calls are counted; ``faults`` are raised at the call with that number."""

    def __init__(self, *loggers: Logger | ThermometerFake, **options: Any) -> None:
        super().__init__(loggers, **options)
        self.made: list[str] = []
        self.faults: dict[int, Exception] = {}
        self.handles = 0
        for name in CALLS:
            setattr(self, name, self._counted(name, getattr(self, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self.made.append(name)
            if fault := self.faults.pop(len(self.made), None):
                raise fault
            asks_name = name == "ctrl_transfer" and arguments[1] == 0x80
            if asks_name and (nameless := getattr(arguments[0].device.fake, "nameless", None)):
                raise nameless
            result = call(*arguments)
            self.handles += name == "open_device"
            return result

        return counted

    def close_device(self, dev_handle: Any) -> None:
        super().close_device(dev_handle)
        self.handles -= 1

    @property
    def devices(self) -> list[Attached]:
        return list(self._attached.values())

    def is_as_found(self) -> bool:
        """Whether all loggers are the kernel's, and no handle is open."""
        return self.handles == 0 and all(each.kernel_driver and each.claimed_by is None for each in self.devices)


Plug = Callable[..., Bus]


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Make a bus and put it in the place of the real one."""

    def plug(*loggers: Logger | ThermometerFake, **options: Any) -> Bus:
        bus = Bus(*loggers, **options)
        monkeypatch.setattr(usb.backend.libusb1, "get_backend", lambda find_library=None: bus)
        return bus

    monkeypatch.setattr(link, "PAUSE", 0.0)
    return plug


def scan(driver: SE521) -> dict[str, Any]:
    """Read all, and see that nothing of it is untrue."""
    readings: dict[str, Any] = dict(merged(driver.read("temperatures")))
    for number, celsius in enumerate(CELSIUS, 1):
        assert readings[f"T{number}"].value == pytest.approx(celsius, abs=0.03)
        assert readings[f"T{number}:Mean"].value == pytest.approx(celsius, abs=0.03)
        assert readings[f"T{number}:Open"] == 0
    assert readings["Model"] == "521"
    return readings


def lives(driver: SE521) -> None:
    """Connect and scan as a port does: after an error once more, after a lost link by connecting again."""
    up = False
    for _ in range(6):
        try:
            if not up:
                driver.connect()
                up = True
            scan(driver)
        except LinkDown:
            driver.close()
            up = False
        except DeviceError:
            if not up:
                driver.close()


# ---- every error at every call ----


@pytest.mark.parametrize("out_endpoint", [True, False], ids=["", "without OUT"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("error", ERRORS)
def test_any_error_at_any_call_is_a_sentence_heals_and_leaves_nothing_behind(
    plug: Plug, error: str, times: int, out_endpoint: bool
) -> None:
    healthy = plug(Logger(), has_out_endpoint=out_endpoint)
    driver = SE521(SE521Config(mean=3))
    lives(driver)
    driver.close()
    assert healthy.is_as_found()
    for number in range(1, len(healthy.made) + 1):
        bus = plug(Logger(), has_out_endpoint=out_endpoint)
        bus.faults = {number + index: ERRORS[error]() for index in range(times)}
        lives(driver)
        driver.connect()
        scan(driver)
        driver.close()
        assert bus.is_as_found(), f"{error} at call {number}, {healthy.made[number - 1]}"


@pytest.mark.parametrize("error", [name for name in ERRORS if name not in {"ENODEV", "NotImplementedError"}])
def test_one_error_of_any_transfer_is_mended_within_the_scan_and_the_mean_stays(plug: Plug, error: str) -> None:
    for place in range(6):
        bus = plug(Logger())
        driver = SE521(SE521Config(mean=3))
        driver.connect()
        for _ in range(3):
            scan(driver)
        bus.faults = {len(bus.made) + 1 + place: ERRORS[error]()}
        assert scan(driver)["T1:Mean"].severity is Severity.NO_ALARM
        assert not bus.faults
        driver.close()


@pytest.mark.parametrize("error", [name for name in ERRORS if name not in {"ENODEV", "NotImplementedError"}])
def test_one_error_of_any_transfer_is_mended_while_it_is_asked_who_it_is(plug: Plug, error: str) -> None:
    healthy = plug(Logger())
    driver = SE521(SE521Config())
    driver.connect()
    driver.close()
    first = healthy.made.index("get_configuration") + 1
    places = [place for place, name in enumerate(healthy.made, 1) if place > first and name in TRANSFERS]
    for place in places:
        bus = plug(Logger())
        bus.faults = {place: ERRORS[error]()}
        driver.connect()
        scan(driver)
        assert not bus.faults
        driver.close()


@pytest.mark.parametrize("endpoints", [{IN}, {OUT}, {IN, OUT}, {0}])
def test_an_endpoint_that_has_stalled_is_cleared_and_asked_again(plug: Plug, endpoints: set[int]) -> None:
    logger = Logger()
    logger.halted = set(endpoints)
    plug(logger)
    driver = SE521(SE521Config(mean=1))
    driver.connect()
    for _ in range(2):
        logger.halted = set(endpoints)
        assert scan(driver)["T1:Mean"].severity is Severity.NO_ALARM
    driver.close()


def test_a_stall_of_an_earlier_session_costs_nothing(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = Logger()
    bus = plug(logger)
    logger.halted = {IN, OUT}
    cleared: list[int] = []
    clear = bus.clear_halt

    def clear_halt(handle: Any, endpoint: int) -> None:
        cleared.append(endpoint)
        clear(handle, endpoint)

    monkeypatch.setattr(bus, "clear_halt", clear_halt)
    ask = UsbLink._exchange

    def exchange(link: UsbLink, command: bytes, counts: tuple[int, ...]) -> list[bytes]:
        assert cleared == [IN, OUT]
        return ask(link, command, counts)

    monkeypatch.setattr(UsbLink, "_exchange", exchange)
    driver = SE521(SE521Config())
    driver.connect()
    driver.close()


def test_an_endpoint_that_stays_stalled_is_told(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = Logger()
    bus = plug(logger)
    driver = SE521(SE521Config())
    driver.connect()
    logger.halted = {IN}
    monkeypatch.setattr(bus, "clear_halt", lambda *_: None)
    with pytest.raises(LinkDown, match="Pipe error"):
        scan(driver)
    driver.close()
    assert bus.is_as_found()


# ---- reports that are not those of the protocol ----


@pytest.mark.parametrize(
    "bad", [b"", b"\x1f" * 10, b"\x1f" * 31, b"\x1f" * 33, b"\x1f" * 64, bytes(32), b"\xff" * 32, None]
)
def test_one_bad_report_anywhere_is_mended(plug: Plug, bad: bytes | None) -> None:
    for place in range(1, 6):  # two of who it is, three of a reading
        logger = Logger(spoil={place: bad})
        bus = plug(logger)
        driver = SE521(SE521Config(mean=1))
        driver.connect()
        assert scan(driver)["T1:Mean"].severity is Severity.NO_ALARM
        driver.close()
        assert bus.is_as_found()


# ---- closing ----


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", ["release_interface", "attach_kernel_driver"])
def test_an_error_while_closing_still_gives_the_kernel_its_driver_back(plug: Plug, call: str, error: str) -> None:
    bus = plug(Logger())
    driver = SE521(SE521Config())
    driver.connect()
    before = len(bus.made)
    bus.faults = {before + (1 if call == "release_interface" else 2): ERRORS[error]()}
    driver.close()
    assert bus.made[before:][0] == "release_interface"
    assert bus.is_as_found()


# ---- other devices of the same ids ----


def choose(config: SE521Config) -> str:
    """Connect and return the serial number of the logger that was taken."""
    driver = SE521(config)
    driver.connect()
    readings = scan(driver)
    driver.close()
    serial = readings["Serial"]
    return serial if isinstance(serial, str) else ""


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("first", [True, False])
def test_a_device_that_cannot_be_asked_does_not_hinder_the_one_that_is_wanted(
    plug: Plug, error: str, first: bool
) -> None:
    other, wanted = Logger("B", nameless=ERRORS[error]()), Logger("A1234")
    bus = plug(*((other, wanted) if first else (wanted, other)))
    assert choose(SE521Config(serial="A1234")) == "A1234"
    assert bus.is_as_found()


@pytest.mark.parametrize("first", [True, False])
def test_a_device_that_vanishes_while_it_is_asked_is_not_one_of_several(plug: Plug, first: bool) -> None:
    gone, there = Logger("A1234", nameless=ERRORS["ENODEV"]()), Logger("A1234")
    plug(*((gone, there) if first else (there, gone)))
    assert choose(SE521Config()) == choose(SE521Config(serial="A1234")) == "A1234"
    plug(gone)
    with pytest.raises(LinkDown, match=r"^SE521 not found: is it plugged in"):
        choose(SE521Config())


@pytest.mark.parametrize("serial", ["A1234", None])
def test_devices_that_may_not_be_opened_are_counted_and_told_when_the_wanted_one_is_not_found(
    plug: Plug, serial: str | None
) -> None:
    bus = plug(Logger("B", denied=True, usb_port="1-2.3"), Logger("C"), Logger("D", denied=True, usb_port="2-4"))
    assert choose(SE521Config(serial="C")) == "C"
    denied = "no permission for the SE521: install the udev rule in deploy/"
    if serial:
        told = (
            "^SE521 with serial A1234 not found; 2 could not be asked for its serial: "
            f"bus 1 address 2, usb_port 1-2.3: {denied}; bus 2 address 2, usb_port 2-4: {denied}$"
        )
    else:
        told = (
            "^3 SE521 found; say which by serial or usb_port: serial not known at bus 1 address 2, usb_port 1-2.3, "
        )
    with pytest.raises(LinkDown, match=told):
        choose(SE521Config(serial=serial))
    assert bus.is_as_found()


def test_a_device_that_does_not_answer_is_not_waited_for(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = plug(Logger("B"), Logger("C"), Logger("A1234"))
    timeouts: list[int] = []
    transfer = bus.ctrl_transfer

    def slow(handle: Any, kind: int, *arguments: Any) -> Any:
        if kind == 0x80 and handle.device.fake.serial != "A1234":
            timeouts.append(arguments[-1])
            raise ERRORS["ETIMEDOUT"]()
        return transfer(handle, kind, *arguments)

    monkeypatch.setattr(bus, "ctrl_transfer", slow)
    assert choose(SE521Config(serial="A1234")) == "A1234"
    assert timeouts
    assert sum(timeouts) <= 400


def test_a_logger_that_does_not_tell_its_serial_number_measures_all_the_same(plug: Plug) -> None:
    plug(Logger(nameless=ERRORS["EPIPE"]()))
    driver = SE521(SE521Config())
    driver.connect()
    serial = scan(driver)["Serial"]
    assert isinstance(serial, Reading)
    assert serial.severity is Severity.INVALID
    driver.close()


def test_loggers_of_the_same_serial_number_are_told_apart_by_their_port_after_a_replug(plug: Plug) -> None:
    left, right = Logger("", usb_port="1-2.3"), Logger("", usb_port="1-2.4")
    right.there = False
    bus = plug(left, right)
    driver = SE521(SE521Config(usb_port="1-2.4"))
    for address in (3, 7):
        with pytest.raises(LinkDown, match=r"^SE521 with usb_port 1-2\.4 not found: is it plugged in"):
            driver.connect()
        right.there, right.address = True, address
        driver.connect()
        assert [each.claimed_by is not None for each in bus.devices] == [False, True]
        driver.close()
        right.there = False


def test_the_port_may_go_with_other_keys(plug: Plug) -> None:
    plug(Logger("A", usb_port="1-2"), Logger("A", usb_port="2-2"), Logger("B", usb_port="10-2"))
    assert choose(SE521Config(usb_port="2-2", serial="A")) == "A"
    assert choose(SE521Config(usb_port="10-2", bus=10)) == "B"
    with pytest.raises(LinkDown, match="with serial B, usb_port 2-2 not found"):
        choose(SE521Config(usb_port="2-2", serial="B"))
    with pytest.raises(LinkDown, match=r"2 SE521 found.*usb_port 1-2, serial 'A' at bus 2 address 2, usb_port 2-2$"):
        choose(SE521Config(serial="A"))


# ---- what a fault costs, at the pace of the instrument ----


@pytest.fixture
def real(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SE521, Bus, ThermometerFake]]:
    """A driver that has connected to a logger that takes its time, and has its mean together."""
    monkeypatch.undo()
    fake = ThermometerFake("A1234", Thermometer(noise=0, drift=0))
    fake.plug()
    bus = Bus(fake)
    monkeypatch.setattr(usb.backend.libusb1, "get_backend", lambda find_library=None: bus)
    driver = SE521(SE521Config(mean=2))
    driver.connect()
    for _ in range(2):
        scan(driver)
    yield driver, bus, fake
    driver.close()
    assert bus.is_as_found()
    assert not fake.violations


@pytest.mark.quiet
@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("error", ["EIO", "EPIPE"])
def test_a_quick_error_costs_well_below_a_second(
    real: tuple[SE521, Bus, ThermometerFake], error: str, place: int
) -> None:
    driver, bus, _ = real
    bus.faults = {len(bus.made) + 1 + place: ERRORS[error]()}
    began = time.monotonic()
    assert scan(driver)["T1:Mean"].severity is Severity.NO_ALARM
    assert time.monotonic() - began < 0.7


@pytest.mark.quiet
@pytest.mark.parametrize("fault", ["stale", "half", "garbage 1", "late 0.3 1", "io_error 1", "stall in", "stall out"])
def test_one_fault_on_the_wire_costs_less_than_a_second(real: tuple[SE521, Bus, ThermometerFake], fault: str) -> None:
    driver, _, fake = real
    fake.run(fault)
    began = time.monotonic()
    assert scan(driver)["T1:Mean"].severity is Severity.NO_ALARM
    assert time.monotonic() - began < 1


@pytest.mark.quiet
def test_a_mute_logger_is_told_before_a_call_counts_as_hanging(real: tuple[SE521, Bus, ThermometerFake]) -> None:
    driver, _, fake = real
    fake.run("mute")
    began = time.monotonic()
    with pytest.raises(NoReply):
        scan(driver)
    assert time.monotonic() - began < 1
    fake.run("unmute")
    scan(driver)
