"""An instrument in the IOC: its driver, its port, its records. The path of a reading and of a put are written here.

reading: port -> block -> ``Record.process`` for each -> the masks that changed -> ``publish``
put:     client -> ``Record.check_put`` -> port, ahead of the scans -> what the instrument says -> records -> done
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Protocol

from drivers.base import Array, DeviceError, Driver, LinkDown, NoReply, Point, Reading, Readings, Severity, Value
from ioc import health
from ioc.port import Link, Port
from ioc.record import LOG, PROPERTY, VALUE, Record
from ioc.site import NAME_SIZE, Site


class Publisher(Protocol):
    """Where records are shown to clients (the Channel Access server)."""

    def add(self, record: Record, instrument: Instrument) -> None:
        """A record exists from now on, or replaces the one of its name; puts to it go to ``instrument.put``."""

    def post(self, record: Record, mask: int) -> None:
        """Something in a record changed; ``mask`` says what (VALUE, LOG, ALARM, PROPERTY)."""


class Instrument:
    """One instrument: ``prefix`` + ``name`` + ":" begins the names of its records."""

    def __init__(self, name: str, prefix: str, driver: Driver, site: Site, publisher: Publisher) -> None:
        self.name = name
        self.records: dict[str, Record] = {}
        self._prefix = f"{prefix}{name}:"
        self._driver = driver
        self._site = site
        self._publisher = publisher
        self._log = logging.getLogger(f"rackioc.{name}")
        self._port: Port | None = None
        self._points: dict[str, Point] = {}
        self._settings: dict[str, str] = {}
        self._seen: dict[str, tuple[object, ...]] = {}
        self._missed: set[str] = set()
        self._errors = 0
        self._up = False
        self._stalled: DeviceError | None = None
        for point in health.POINTS:
            self._adopt(point)
        self.points(driver.points)

    def start(self, periods: Mapping[str, float] | None = None) -> None:
        """Begin to connect and scan; ``periods`` replaces those of the driver (scan group -> seconds)."""
        scan = {**self._driver.scan, **(periods or {})}
        self._show(health.values(Link.Connecting, "", self._errors))
        self._port = Port(self.name, self._driver, self, scan)
        self._port.start()
        self._watchman = asyncio.create_task(self._watch(self._port))

    async def close(self) -> None:
        """Close the connection after the transaction in progress; nothing is written."""
        if self._port is not None:
            self._watchman.cancel()
            await self._port.close()

    # ---- the way of a put ----

    async def put(self, record: Record, value: Value) -> None:
        """A client's put: returns when the instrument took it and it was read back; raises the DeviceError if not.

        A put that fails leaves the record's value and alarm as they were, and posts the value again.
        """
        try:
            checked = record.check_put(value)
            if self._port is None:
                raise LinkDown(f"{self.name} is not started")
            if record.point.name == health.RETRY:
                if checked:
                    await self._port.retry()
                return
            if self._stalled is not None:
                raise self._stalled
            readings = await self._port.write(record.point, checked)
        except DeviceError as error:
            self._complain(error)
            self._publisher.post(record, VALUE | LOG)
            raise
        taken = readings.get(record.point.name, readings.get(record.point.follows or "", checked))
        self._process(record, _reading(taken), time.time())

    # ---- the way of a reading (the port's listener, always in the event loop) ----

    def readings(self, readings: Readings, moment: float) -> None:
        """A block of readings came from the instrument at ``moment``."""
        for name, value in readings.items():
            record = self.records.get(name)
            if record is None:
                self._miss(name)
                continue
            reading = _reading(value)
            self._process(record, reading, moment)
            self._follow(name, reading, moment)

    def failed(self, group: str, read: frozenset[str], error: DeviceError) -> None:
        """A scan failed: what it did not read is not true any more."""
        self._invalidate([n for n, p in self._points.items() if p.group == group and n not in read], error)
        self._complain(error)

    def link(self, state: Link, error: DeviceError | None) -> None:
        """The connection came or went."""
        if error is not None:
            self._invalidate(self._points, error)
            self._complain(error)
        self._show({health.CONN: int(state)})
        self._up = state is Link.Up
        self._rest_commands()

    def scanned(self, group: str, duration: float, overruns: int) -> None:
        """A scan ended after ``duration`` seconds."""
        if group == next(iter(self._driver.scan)):
            self._show({health.SCAN_TIME: 1e3 * duration})
        self._show({health.OVERRUNS: overruns})

    def points(self, points: tuple[Point, ...]) -> None:
        """The instrument has these points now: new ones get records, those that went become INVALID."""
        before, self._points = self._points, {point.name: point for point in points}
        gone = before.keys() - self._points.keys()
        self._settings = {point.follows: point.name for point in points if point.follows}
        for point in points:
            if before.get(point.name) != point:
                self._adopt(point)
        self._rest_commands()
        for name in gone:
            self._seen.pop(name, None)
        self._invalidate(gone, LinkDown(f"{self.name} does not have it any more"))

    # ---- parts ----

    def _adopt(self, point: Point) -> None:
        name = f"{self._prefix}{point.name}"
        point = self._site.apply(name, point)
        record = self.records.get(point.name)
        if record is not None and record.point.rtyp is point.rtyp:
            if record.point != point:
                record.point = point
                self._publisher.post(record, PROPERTY)
            return
        if len(name) > NAME_SIZE:
            self._log.error("%s: the name is longer than %d characters; left out", name, NAME_SIZE)
            return
        record = self.records[point.name] = Record(name, point)
        self._publisher.add(record, self)

    def _miss(self, name: str) -> None:
        """A reading without a record: its name was too long, or the driver has a fault, which is told once."""
        if name not in self._points and name not in self._missed:
            self._missed.add(name)
            self._log.error("the driver read %s, which is not one of its points", name)

    def _process(self, record: Record, reading: Reading, moment: float) -> None:
        mask = record.process(reading, moment)
        if mask:
            self._publisher.post(record, mask)

    def _follow(self, readback: str, reading: Reading, moment: float) -> None:
        """A setting takes its readback's value when that changes: somebody set it elsewhere, or it became known.

        An unchanged readback leaves the setting alone: an instrument that is slow to take a value must not flip
        what was asked back to the old value.
        """
        setting = self._settings.get(readback)
        seen = (reading.value, reading.severity, reading.status)
        if setting is not None and self._seen.get(readback) != seen:
            self._seen[readback] = seen
            self._process(self.records[setting], reading, moment)

    def _invalidate(self, names: Mapping[str, object] | set[str] | list[str], error: DeviceError) -> None:
        bad = Reading(None, Severity.INVALID, error.status)
        now = time.time()
        for name in names:
            if record := self.records.get(name):
                self._process(record, bad, now)
                self._follow(name, bad, now)

    def _rest_commands(self) -> None:
        """Nothing reads a command: it rests at 0 while the instrument is there."""
        now = time.time()
        for point in self._points.values() if self._up else ():
            record = self.records.get(point.name)
            if point.command and record is not None and record.sevr is Severity.INVALID:
                self._process(record, Reading(0), now)

    def _complain(self, error: DeviceError) -> None:
        self._errors += 1
        self._show({health.ERROR: str(error), health.ERROR_COUNT: self._errors})

    def _show(self, values: Readings) -> None:
        now = time.time()
        for name, value in values.items():
            self._process(self.records[name], _reading(value), now)

    async def _watch(self, port: Port) -> None:
        """A call that hangs inside a vendor's library must not leave old values standing as true.

        Nor must puts wait behind it and be carried out when nobody expects them any more.
        """
        while True:
            await asyncio.sleep(0.2)
            deadline = port.deadline
            if deadline is None or time.monotonic() < deadline:
                continue
            self._stalled = NoReply(f"{self.name} hangs: a call to it does not come back")
            self._log.warning("%s", self._stalled)
            self._invalidate(self._points, self._stalled)
            self._complain(self._stalled)
            self._show({health.CONN: int(Link.Down)})
            port.refuse(self._stalled)
            while port.deadline == deadline:
                await asyncio.sleep(0.2)
            self._log.info("%s answers again", self.name)
            self._stalled = None
            self._rest_commands()
            self._show({health.CONN: int(Link.Up if self._up else Link.Down)})


def _reading(value: Value | Array | Reading) -> Reading:
    return value if isinstance(value, Reading) else Reading(value)
