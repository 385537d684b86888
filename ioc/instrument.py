"""An instrument in the IOC: its driver, its port, its records. The path of a reading and of a put are written here.

reading: port -> block -> ``process_block`` -> what changed, with its masks -> ``Publisher.post``, once a block
put:     client -> ``Record.check_put`` -> port, ahead of the scans -> what the instrument says is a reading -> done
field:   client -> ``Field.convert`` -> the record checks its alarms -> stored in the site file; nothing is commanded
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Protocol

from drivers.base import (
    Array,
    DeviceError,
    Driver,
    LinkDown,
    Point,
    Reading,
    Readings,
    RecordType,
    Refused,
    Severity,
    Status,
    Value,
)
from ioc import dbd, faults, health
from ioc.block import Block, Blocks, Masks
from ioc.configured import Configured
from ioc.fields import ALARM_FIELDS, FIELDS, is_told_always
from ioc.numbers import number_of, to_long, written
from ioc.port import Ages, ErrorLog, Link, Port, ScanState, Watch
from ioc.port.ended import Ended, fail, succeed
from ioc.port.newest import Newest
from ioc.putcheck import STRING_SIZE
from ioc.record import ALARM, LOG, PROPERTY, VALUE, Changes, Record, process_block
from ioc.site import NAME_SIZE, Applied, Site
from ioc.summary import Summaries

# Records whose limits are 32-bit integers
_WHOLE = {RecordType.longin, RecordType.longout}

# Seconds between two looks at the age of the values, and whether the instrument answers
_WATCH_PERIOD = 0.1

# Seconds that a stop gives to telling the ends of puts: the clients have them at once, but for a call that hangs
_TELL = 1.0

# base's menu of scan rates (menuScan)
_PASSIVE, _IO_INTR = 0, 2
_RATES = {10.0: 3, 5.0: 4, 2.0: 5, 1.0: 6, 0.5: 7, 0.2: 8, 0.1: 9}


class Publisher(Protocol):
    """Where records are shown to clients (the Channel Access server)."""

    def add(self, record: Record, instrument: Instrument) -> None:
        """Serve a record from now on, in place of the one of its name; puts to it go to ``instrument.put``."""

    def post(self, changes: Changes) -> None:
        """Send what changed in some records; a mask says what (VALUE, LOG, ALARM, PROPERTY)."""

    def post_block(self, block: Block, masks: Masks) -> None:
        """Send what changed in a block; ``masks``: one for each of its records."""

    def post_field(self, record: Record, name: str, mask: int = VALUE | LOG) -> None:
        """Send a field other than the value."""

    def post_alarm(self, record: Record) -> None:
        """Send the alarm, which was acknowledged, to those who want alarms, of the value and of any field."""


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
        self._newest = Newest(self._write, driver.undoes)
        self._ends: set[Ended] = set()  # of the puts that are under way
        self._points: dict[str, Point] = {}
        self._settings: dict[str, str] = {}
        self._readbacks: dict[str, Reading] = {}  # what a setting follows, as read last
        # Switch -> what shows that its Off is pending, in the words that it has and has had
        self._pending: dict[str, list[str]] = {}
        self._missed: set[str] = set()
        self._blocks = Blocks()
        self._summaries = Summaries()
        self._periods: Mapping[str, float] = driver.scan
        self._errors = 0
        self._link = Link.Connecting
        self._watch: Watch | None = None
        self._ages = Ages()
        self._seen = ErrorLog(name)  # by the watch
        self._groups: dict[str, str] = {}
        self._configured = Configured(self._prefix, driver, site)
        for point in health.POINTS:
            self._add_record(point)
        self.points(driver.points)

    def start(self, periods: Mapping[str, float] | None = None) -> None:
        """Begin to connect and scan; ``periods`` replaces those of the driver (scan group -> seconds)."""
        self._periods = {**self._driver.scan, **(periods or {})}
        for record in self.records.values():
            record.scan = self._scan_of(record.point)
        self._show_health(health.values(Link.Connecting, "", self._errors))
        self._port = Port(self.name, self._driver, self, self._periods)
        self._port.start()
        self._watch = Watch(self.name, self._port, self._ages, self)
        self._watching = asyncio.create_task(self._look_again())

    async def stop(self) -> None:
        """Refuse ordinary puts from now on; return when what makes things safe and is pending was carried out.

        Until ``close`` what is shown stays true, and an Off is carried out: clients are still served. Returns after
        some seconds also where that could not be done. All who wait for a put are told its end.
        """
        if self._port is not None:
            await self._port.stop()
        await self._all_told()

    async def close(self) -> None:
        """Close the connection, after what makes things safe and is pending; who waits for a put is told its end."""
        if self._port is not None:
            await self._port.close()
            self._watching.cancel()
        await self._all_told()

    async def _all_told(self) -> None:
        if self._ends:
            await asyncio.wait(self._ends, timeout=_TELL)

    # ---- the way of a put ----

    def put(
        self, record: Record, value: Value | Array, callback: bool = True, asked: float | None = None
    ) -> Awaitable[object]:
        """Carry out a client's put; return its end: when the instrument took it and it was read back.

        Raises the DeviceError, at once or in the end. A put that was not sent leaves the record's value and alarm as
        they were, and posts the value again. Without ``callback`` a newer put may take the place of this one while it
        waits: then it ends with the end of that one. ``asked``: when it was asked for at the latest (monotonic s);
        None: now.
        """
        asked = time.monotonic() if asked is None else asked
        try:
            ended = self._begin_put(record, value, callback, asked)
        except DeviceError as error:
            self._put_failed(record, asked, error)
            raise
        self._ends.add(ended)
        ended.tells(partial(self._put_ended, record, asked))
        return ended

    def _begin_put(self, record: Record, value: Value | Array, callback: bool, asked: float) -> Ended:
        self._check_open(record)
        checked = record.check_put(value)
        if self._port is None:
            raise LinkDown(f"{self.name} is not started")
        if record.point.command and record.point.safe is None and not checked:
            return _done()  # only a 1 executes; where it makes things safe, a 0 takes back what is pending
        if record.point.name == health.RETRY:
            return self._port.retry() if checked else _done()
        return self._newest.put(record.point, checked, callback, asked)

    def _put_ended(self, record: Record, asked: float, ended: Ended) -> None:
        self._ends.discard(ended)
        error = None if ended.cancelled() else ended.exception()
        if isinstance(error, DeviceError):
            self._put_failed(record, asked, error)
        elif record.point.command and self._link is Link.Up:
            self._process([(record, Reading(0))], time.time())

    def _put_failed(self, record: Record, asked: float, error: DeviceError) -> None:
        self._report(error)
        told = isinstance(error, Refused) and not record.disp
        mask = record.refuse(asked, str(error), time.time()) if told else 0
        self._publisher.post([(record, VALUE | LOG | mask)])

    def _write(self, point: Point, value: Value, asked: float, ended: Ended) -> None:
        """Queue a put in the port; end it with what stopped it, so that others that wait have their turn."""
        assert self._port is not None
        try:
            if value != point.safe:
                self._check_hang()
            self._port.write(point, value, asked, ended, self._changes(point, value))
        except Exception as error:
            fail(ended, error)

    def _changes(self, point: Point, value: Value) -> bool:
        """Return False if the instrument is known to have a value already, and was not told to have another one."""
        readback = self.records.get(point.follows or "")
        if readback is None or readback.sevr is Severity.INVALID:
            return True
        return bool(readback.val != value or self.records[point.name].val != value)

    def set_field(self, record: Record, name: str, value: Value) -> Awaitable[None] | None:
        """Carry out a client's put to a field: how the record checks and shows its value, or PROC, which reads it."""
        try:
            if name != "DISP":
                self._check_open(record)
            if name == "PROC":
                return self._reread(record)
            if name == "DISP":
                record.disp = bool(_number(value))
                self._publisher.post_field(record, name)
            elif name in {"ACKS", "ACKT"}:
                self.acknowledge(record, name, int(_number(value)))
            else:
                self._set(record, name, value)
        except DeviceError as error:
            self._report(error)
            raise
        return None

    def acknowledge(self, record: Record, field: str, value: int) -> None:
        """Acknowledge alarms (base's putAcks, putAckt): ACKS up to a severity; ACKT 0: none that went by needs it."""
        self._check_open(record)
        if field == "ACKS":
            if value < record.acks:
                return
            record.acks = Severity.NO_ALARM
            self._publisher.post_field(record, "ACKS", VALUE | ALARM)
        else:
            if bool(value) == record.ackt:
                return
            record.ackt = bool(value)
            self._publisher.post_field(record, "ACKT", VALUE | ALARM)
            if not record.ackt and record.acks > record.sevr:
                record.acks = record.sevr
                self._publisher.post_field(record, "ACKS", VALUE | ALARM)
        self._publisher.post_alarm(record)

    async def _reread(self, record: Record) -> None:
        """Process a record as its scan does. An output is not commanded again, as EPICS base would do."""
        readback = self._points.get(record.point.follows or "", record.point)
        try:
            self._check_hang()
            if self._port is not None and readback.group:
                await self._port.reread(readback.group)
        except DeviceError as error:
            self._report(error)
            raise

    def _set(self, record: Record, name: str, value: Value) -> None:
        field = FIELDS[name]
        own = self._points.get(record.point.name)
        if own is not None and is_told_always(own, name):
            raise Refused(f"each reading is told, as its driver says; not set: {record.name}.{name}")
        try:
            parsed = field.convert(value)
            if record.point.rtyp in _WHOLE and isinstance(parsed, float):
                parsed = _whole(parsed)
        except ValueError as error:
            raise Refused(f"{error}; not set: {record.name}.{name}") from None
        before = field.get(record.point)
        unapplied = {other: given for other, given in record.unapplied.items() if other != name}
        record.configure(field.set(record.point, parsed), unapplied)
        self._site.store(record.name, name, field.in_unit(parsed, record.point.egu))
        self._publisher.post_field(record, name)  # with the alarm of before, as base does
        if before != parsed and dbd.fields(record.point.rtyp.name)[name].prop:
            self._publisher.post([(record, PROPERTY)])
        if name in ALARM_FIELDS and (mask := record.check_alarms(time.time())):
            self._publisher.post([(record, mask)])

    def _check_hang(self) -> None:
        """Raise why puts must not wait: behind a call that hangs they would be carried out when nobody expects it."""
        if self._watch is not None and self._watch.hang is not None:
            raise self._watch.hang

    def _check_open(self, record: Record) -> None:
        if record.disp:
            raise Refused(f"puts are locked out (DISP is 1); not sent to {record.name}")

    # ---- the way of a reading (the port's listener, always in the event loop) ----

    def readings(self, readings: Readings, moment: float, read_at: float) -> None:
        """Process a block of readings that came from the instrument at ``moment`` (seconds since 1970 UTC).

        Their ages count from then, by ``read_at`` (monotonic s): a block may have waited for this loop.
        """
        self._ages.read(readings, read_at)
        self._publish(readings, moment)

    def failed(self, group: str, read: frozenset[str], error: DeviceError) -> None:
        """Make INVALID what a scan that failed did not read."""
        self._invalidate([n for n, p in self._points.items() if p.group == group and n not in read], error)
        self._report(error)

    def link(self, state: Link, error: DeviceError | None) -> None:
        """Show a connection that came or went; what was read before it went is INVALID."""
        if error is not None:
            self._invalidate(self._points, error)
            self._report(error)
        self._link = state
        self._show_link()
        self._reset_commands()
        self._end_loss(self._points)

    def scanned(self, group: str) -> None:
        """Show how long a scan took, the scans that were missed, and the worst alarm of all that was read."""
        self._publish(self._summaries.readings(), time.time())
        if self._watch is not None:
            self._watch.show_scans(self._groups, time.monotonic())

    def done(self, point: Point, value: Value, readings: Readings, asked: float) -> None:
        """Show in a setting what the instrument took, also if its readback is the one of before.

        A scan may have read another one since the put read it back: then that stays.
        """
        record = self.records.get(point.name)
        if record is None:
            return
        now = time.time()
        mask = record.take(asked, now)
        if point.name not in readings:
            readback = point.follows or ""
            reading = _reading(readings.get(readback, value))
            newest = self._readbacks.get(readback, _state(reading))
            if readback in readings and newest != _state(reading):
                reading = newest
            mask |= record.process(reading, now)
        if mask:
            self._publisher.post([(record, mask)])

    def unknown(self, point: Point, error: DeviceError) -> None:
        """Make a setting INVALID of which it is not known what a failed put made of it, until it is read."""
        self._invalidate([name for name in (point.follows, point.name) if name and not point.command], error)

    def pending(self, point: Point) -> None:
        """Show whether a put that makes a point safe is pending."""
        waits = self._port is not None and self._port.is_pending(point)
        self._show_health({name: int(waits) for name in self._pending.get(point.name, ())})

    def points(self, points: tuple[Point, ...]) -> None:
        """Use other points: new ones get records, the records of those that went become INVALID."""
        self._blocks.dissolve()
        before, self._points = self._points, {point.name: point for point in points}
        gone = before.keys() - self._points.keys()
        self._settings = {point.follows: point.name for point in points if point.follows}
        self._groups = {point.name: point.group for point in points if point.group}
        self._ages.arrange(self._groups)
        for point in points:
            known = before.get(point.name)
            if known is not point and known != point:  # with each board that is found nearly all are the same
                self._add_record(point)
                if point.safe is not None:
                    self._add_pending(point)
        self._summaries.arrange(points, self.records, self._pending)
        self._reset_commands()
        self._end_loss(self._points.keys() - before.keys())
        for name in gone:
            self._readbacks.pop(name, None)
        self._invalidate(gone, LinkDown(f"{self.name} no longer has this point"))
        self._configured.changed()

    # ---- parts ----

    def _add_pending(self, point: Point) -> None:
        """Serve what shows whether an Off is pending: one put in the words of a board before is shown in both."""
        pending = health.pending(point)
        self._add_record(pending)
        names = self._pending.setdefault(point.name, [])
        if pending.name in self.records and pending.name not in names:
            names.append(pending.name)
        self.pending(point)

    def _add_record(self, point: Point) -> None:
        name = f"{self._prefix}{point.name}"
        record = self.records.get(point.name)
        applied = self._site.apply(name, point, seen=record is not None and not record.udf)
        self._configured.note(name, applied)
        point = applied.point
        if record is not None and record.point.rtyp is point.rtyp:
            if record.point != point or record.unapplied != applied.unapplied:
                self._configure(record, applied)
            return
        if len(name) > NAME_SIZE:
            self._log.error("%s: the name is longer than %d characters; left out", name, NAME_SIZE)
            return
        record = self.records[point.name] = Record(name, point, applied.unapplied)
        record.scan = self._scan_of(point)
        self._publisher.add(record, self)

    def _configure(self, record: Record, applied: Applied) -> None:
        """Use other limits, unit, words; tell them with the value, and each to those who watch it."""
        before, point = record.point, applied.point
        mask = PROPERTY
        if before.egu != point.egu:
            self._readbacks.pop(point.name, None)  # the same number is another value now
            mask |= VALUE | LOG
        record.configure(point, applied.unapplied)
        self._publisher.post([(record, record.check_alarms(time.time()) | mask)])
        for name, field in FIELDS.items():
            if point.rtyp in field.rtyps and field.get(before) != field.get(point):
                self._publisher.post_field(record, name)

    def _scan_of(self, point: Point) -> int:
        """Return the index in base's menu of scan rates: "I/O Intr" for a period that the menu lacks."""
        period = self._periods.get(point.group)
        return _PASSIVE if period is None else _RATES.get(period, _IO_INTR)

    def _log_missing(self, name: str) -> None:
        """Log once a reading without a record, a fault of the driver; but not one whose name was too long."""
        if name not in self._points and name not in self._missed:
            self._missed.add(name)
            self._log.error("the driver read %s, which is not one of its points", name)

    def _process(self, readings: Iterable[tuple[Record, Reading]], moment: float) -> None:
        changes = [(record, record.process(reading, moment)) for record, reading in readings]
        self._publisher.post([(record, mask) for record, mask in changes if mask])

    def _follow(self, readings: Readings, moment: float) -> Iterator[tuple[Record, int]]:
        """Process settings whose readback changed: somebody set them elsewhere, or they became known.

        An unchanged readback leaves the setting alone: an instrument that is slow to take a value must not flip
        what was asked back to the old value.
        """
        for readback in readings.keys() & self._settings.keys():
            reading = _reading(readings[readback])
            if self._readbacks.get(readback) == (state := _state(reading)):
                continue
            self._readbacks[readback] = state
            record = self.records.get(self._settings[readback])
            if record is not None and (mask := record.process(reading, moment)):
                yield record, mask

    def _publish(self, readings: Readings, moment: float) -> None:
        found = self._blocks.find(self.records, readings)
        if found is not None:
            block, values = found
            self._publisher.post_block(block, block.process(values, moment))
            self._publisher.post(self._follow(readings, moment))
            return
        missing: list[str] = []
        changed = process_block(self.records, readings, moment, missing)
        self._publisher.post(chain(changed, self._follow(readings, moment)))
        for name in missing:
            self._log_missing(name)

    def _invalidate(self, names: Iterable[str], error: DeviceError) -> None:
        bad = Reading(None, Severity.INVALID, error.status, message=str(error)[:STRING_SIZE])
        readings = {name: bad for name in names if name in self.records}
        self._ages.discard(readings)
        self._publish(readings, time.time())

    def _reset_commands(self) -> None:
        """Set commands, which nothing reads, to 0 while the instrument is there."""
        now = time.time()
        up = self._link is Link.Up
        commands = [self.records.get(point.name) for point in self._points.values() if up and point.command]
        self._process([(each, Reading(0)) for each in commands if each and each.sevr is Severity.INVALID], now)

    def _end_loss(self, names: Iterable[str]) -> None:
        """Say of settings that nothing reads that they are not known: nothing else would end what a loss says."""
        if self._link is not Link.Up:
            return
        untold = [self.records.get(name) for name in names if _is_untold(self._points[name])]
        lost = [each for each in untold if each and each.sevr is Severity.INVALID and each.stat is not Status.UDF]
        self._process([(each, Reading(None, Severity.INVALID, Status.UDF)) for each in lost], time.time())

    def _report(self, error: DeviceError) -> None:
        self._errors += 1
        self._show_health({health.ERROR: str(error), health.ERROR_COUNT: self._errors})

    def _show_health(self, values: Readings) -> None:
        self._process([(self.records[name], _reading(value)) for name, value in values.items()], time.time())

    def _show_link(self) -> None:
        broken = self._link is Link.Up and self._watch is not None and (self._watch.silent or self._watch.hang)
        self._show_health({health.CONN: int(Link.Down if broken else self._link)})

    # ---- what is judged by the clock (``watch``) ----

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_PERIOD)
            self.look()

    def look(self) -> None:
        """Look if what is shown is still true: ten times a second, and after a pause before clients are answered."""
        if self._watch is None:
            return
        try:
            self._tell_configured()
            self._seen.sum_up()
            self._watch.look(self._groups, self._link is Link.Up, time.monotonic())
        except Exception as error:  # who watches must not end
            faults.log_once("the watch over", self.name, error)

    def _tell_configured(self) -> None:
        """Tell in the log and in Error what is configured and not there, or has lost its meaning.

        Error has one place for all of it: behind the news comes what was told before and still holds.
        """
        if news := self._configured.news(self._link is Link.Up):
            for sentence in news:
                self._log.warning("%s: %s", self.name, sentence)
            self._report(DeviceError("; ".join(dict.fromkeys([*news, *self._configured.standing()]))))

    def lost(self, error: DeviceError) -> None:
        """Show that the instrument hangs or is silent: old values must not stand as true."""
        self._seen.report("silence", error)
        self._invalidate(self._points, error)
        self._report(error)
        self._show_link()

    def back(self) -> None:
        """Show that the instrument answers again."""
        if self._seen.clear("silence"):
            self._log.info("%s answers again", self.name)
        self._reset_commands()
        self._end_loss(self._points)
        self._show_link()

    def expired(self, names: Iterable[str], error: DeviceError, told: bool) -> None:
        """Make values INVALID that were not read in time."""
        bad = Reading(None, Severity.INVALID, error.status, message="too old - not read for two periods")
        self._publish(dict.fromkeys(names, bad), time.time())
        self._publish(self._summaries.readings(), time.time())
        if not told:
            self._seen.clear("old values")  # they were read since
            self._seen.report("old values", error)
            self._report(error)

    def show_scans(self, state: ScanState) -> None:
        """Show how long scans take, and how many were missed."""
        self._show_health(health.scans(state))


def _done() -> Ended:
    """Return the end of what needs nothing."""
    ended = Ended()
    succeed(ended)
    return ended


def _number(value: Value) -> float:
    try:
        return number_of(value)
    except ValueError:
        raise Refused(f"{value!r} is not a number") from None


def _whole(number: float) -> float:
    """Return a number cut off to a whole one, as base does it; ValueError for one that does not fit."""
    if not -(2**31) - 1 < number < 2**31:
        raise ValueError(f"{written(number)} does not fit into 32 bits")
    return float(to_long(number))


def _reading(value: Value | Array | Reading) -> Reading:
    return value if isinstance(value, Reading) else Reading(value)


def _state(reading: Reading) -> Reading:
    """Return what a setting follows of its readback: of the words only why nothing is known."""
    message = reading.message if reading.severity is Severity.INVALID else ""
    return Reading(reading.value, reading.severity, reading.status, message=message)


def _is_untold(point: Point) -> bool:
    """Return whether a point is a setting that the instrument does not tell."""
    return point.rtyp.writable and not point.command and not point.group and point.follows is None
