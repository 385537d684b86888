"""An SE521 logger: its points, and its scan, which is one transaction."""

from __future__ import annotations

import itertools
import math
import struct
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar

from drivers.base import (
    BadReply,
    DeviceError,
    Driver,
    Example,
    LinkDown,
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
from drivers.se521.bus import Candidate, find
from drivers.se521.config import SE521Config
from drivers.se521.link import UsbLink
from drivers.se521.means import Means

CHANNELS = 4
# Degrees C above which a value is no temperature: where the tables of type K end (IEC 60584-1)
HOTTEST = 1372.0


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
        self._counters = (number % 256 for number in itertools.count(1))
        self._identity: Readings = {}
        self._means = Means(CHANNELS, config.mean)

    def connect(self) -> Readings:
        """Find the instrument, claim it and ask for its model. Raises DeviceError."""
        self.close()
        candidate = find(self._config)
        self._link = UsbLink(candidate.device, self._counters)
        try:
            self._link.open()
            model = self._link.identify()
            if model != "521":
                raise BadReply(f"the USB device says it is model {model!r}, not '521'")
        except Exception:
            self.close()
            raise
        self._identity = {"Model": model, "Serial": _serial(candidate)}
        return self._identity

    def close(self) -> None:
        """Release the instrument to the kernel's driver."""
        self._means.restart()
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def read(self, group: str) -> Iterator[Step]:
        """Read the four channels and all that comes with them, in one block; temperatures in degrees C."""
        if self._link is None:
            raise LinkDown("SE521 is not connected")
        try:
            report = self._link.measure()
        except DeviceError:
            self._means.restart()
            raise
        flags = report[7]
        connected = [bool(flags & (8 >> index)) for index in range(CHANNELS)]
        celsius = [(tenths - 320) / 18 for tenths in struct.unpack_from(">4h", report, 10)]
        temperatures = [self._temperature(*channel) for channel in zip(connected, celsius, strict=True)]
        readings: dict[str, Value | Reading] = {"Flags": flags}
        means = self._means.add(temperatures, time.monotonic())
        for n, (is_connected, temperature, mean) in enumerate(zip(connected, temperatures, means, strict=True), 1):
            readings |= {f"T{n}": temperature, f"T{n}:Open": _open(is_connected, temperature), f"T{n}:Mean": mean}
        yield {**readings, **self._identity}

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        """Raise Refused: there is nothing to set."""
        raise Refused(f"{point.name} cannot be set")

    def _temperature(self, connected: bool, celsius: float) -> Reading:
        """Return a channel's temperature; ``celsius`` is meaningless when it is open."""
        if not connected:
            return Reading(math.nan, Severity.INVALID, Status.UDF, message="the thermocouple is open")
        if celsius < self._config.coldest_c:
            message = f"{celsius:.1f} C is below coldest_c, {self._config.coldest_c:g} C"
            return Reading(math.nan, Severity.INVALID, Status.HWLIMIT, message=message)
        if celsius > HOTTEST:
            message = f"{celsius:.1f} C is above {HOTTEST:g} C"
            return Reading(math.nan, Severity.INVALID, Status.HWLIMIT, message=message)
        return Reading(celsius)


def _open(connected: bool, temperature: Reading) -> Value | Reading:
    """Return whether a thermocouple is open: not known where the flag says connected, but the value is impossible."""
    if connected and temperature.severity is Severity.INVALID:
        message = "flag: connected; value: no temperature"
        return Reading(0, Severity.INVALID, temperature.status, message=message)
    return int(not connected)


def _serial(candidate: Candidate) -> Value | Reading:
    """Return the serial number; an instrument that does not tell it measures all the same."""
    if candidate.serial is None:
        return Reading("", Severity.INVALID, Status.READ, message="the serial number could not be read")
    return candidate.serial


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
