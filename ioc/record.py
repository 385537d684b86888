"""A record: one value with its alarm, time and deadbands, after the rules of EPICS base.

Pure: no server, no event loop, no clock. ``process`` follows base's order (aiRecord.c, recGbl.c): set the value,
check the alarm limits, check the deadbands, and return which event masks the change concerns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from drivers.base import Array, Point, Reading, Readings, RecordType, Refused, Severity, Status, Value
from ioc import faults, putcheck, units
from ioc.fields import FIELDS, LIMITS, TIGHTER
from ioc.units import Quantity

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Event masks of Channel Access (epics-base, caeventmask.h)
VALUE = 1
LOG = 2
ALARM = 4
PROPERTY = 8

# A stamp that does not move on would be dropped by every archiver: it goes on by so many seconds while a clock that
# was set back a little is behind
TICK = 1e-6
# A clock that is set back by more seconds than this was wrong before (a computer that begins with a wrong clock):
# stamps follow it. Archivers reject what lies so far in the future, until the clock is there again
WRONG = 300.0
# The first second that Channel Access has no number for, since 1970 UTC: 32 bits of seconds since 1990
_LATEST = 631152000 + 2.0**32

_TEXT = {RecordType.stringin, RecordType.stringout, RecordType.lsi}
_FLOAT = {RecordType.ai, RecordType.ao}
_BINARY = {RecordType.bi, RecordType.bo}
# Equal to no value
_NOTHING = object()
# A reading without an alarm of its own
_PLAIN = Reading(None)
_ALL_APPLIED: Mapping[str, Quantity] = MappingProxyType({})

Changes = Iterable[tuple["Record", int]]


class BlockColumns(Protocol):
    """Where the numbers of records that are read together lie, a row for each record (ioc/block.py).

    val, time, mlst, alst, stat, sevr   what the fields of the record hold
    mdel, adel                          the deadbands in force
    above, below                        between these a value leaves the alarm as it is; NaN: none does
    monitors                            belongs to the server
    """

    val: npt.NDArray[np.float64]
    time: npt.NDArray[np.float64]
    mlst: npt.NDArray[np.float64]
    alst: npt.NDArray[np.float64]
    mdel: npt.NDArray[np.float64]
    adel: npt.NDArray[np.float64]
    above: npt.NDArray[np.float64]
    below: npt.NDArray[np.float64]
    stat: npt.NDArray[np.uint16]
    sevr: npt.NDArray[np.uint16]
    monitors: Any


class _Cell:
    """A number of a record: in its own slot, or in the column of the block that the record is read in."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._column = attrgetter(name)
        self._slot = f"_{name}"

    def __get__(self, record: Record, owner: type | None = None) -> Any:
        if record.block is None:
            return getattr(record, self._slot)
        return self._column(record.block).item(record.row)

    def __set__(self, record: Record, value: Any) -> None:
        if record.block is None:
            setattr(record, self._slot, value)
        else:
            self._column(record.block)[record.row] = value


class Record:
    """One process variable.

    ``val`` is a number, a state's index, a text or a tuple, after ``point.rtyp``; ``stat``, ``sevr``, ``amsg`` the
    alarm in force; ``acks`` the highest severity not acknowledged yet, ``ackt`` False if past alarms need none;
    ``time`` the stamp in seconds since 1970 UTC; ``udf`` is True until the first value; ``disp`` locks out puts;
    ``unapplied`` are the site's numbers for a unit into which the value's cannot be converted (field -> what was
    given); ``scan`` the index in base's menu of scan rates. ``mlst``/``alst``/``lalm`` are base's memory of what was
    last sent to monitors and archivers, and checked. ``monitors`` belongs to the server: the subscriptions to the
    value.
    """

    __slots__ = (
        "_above",
        "_adel",
        "_alst",
        "_asked",
        "_below",
        "_doubt",
        "_limit",
        "_mdel",
        "_mlst",
        "_reading",
        "_refused",
        "_same",
        "_time",
        "_val",
        "acks",
        "ackt",
        "amsg",
        "block",
        "disp",
        "monitors",
        "name",
        "point",
        "row",
        "scan",
        "sevr",
        "stat",
        "udf",
        "unapplied",
    )

    val = _Cell()
    time = _Cell()
    mlst = _Cell()
    alst = _Cell()

    def __init__(self, name: str, point: Point, unapplied: Mapping[str, Quantity] = _ALL_APPLIED) -> None:
        self.name = name
        self.block: BlockColumns | None = None
        self.row = 0
        self._val: Any = _blank(point.rtyp)
        self._mlst: Any = self._val
        self._alst: Any = self._val
        self._limit: float | None = 0 if point.rtyp.states else None
        self.udf = True
        self.stat = Status.UDF
        self.sevr = Severity.INVALID
        self.amsg = ""
        self.acks = Severity.NO_ALARM
        self.ackt = True
        self.disp = False
        self.scan = 0
        self._time = 0.0
        self._above = self._below = math.nan
        self.monitors: Any = ()
        self._reading = _PLAIN
        self._asked = -math.inf
        self._refused: str | None = None
        self.point = point
        self.configure(point, unapplied)

    def configure(self, point: Point, unapplied: Mapping[str, Quantity] = _ALL_APPLIED) -> None:
        """Use other limits, deadbands, words; ``check_alarms`` applies the limits before the next reading.

        With another unit the value is converted in the same moment, and undefined until it is read: the last reading
        may have been in either. The next one is a change for everybody, whatever the deadbands.
        """
        if point.egu != self.point.egu and point.rtyp in FIELDS["EGU"].rtyps:
            self._change_unit(units.exponent(self.point.egu, point.egu))
        self.point = point
        self.unapplied = unapplied
        self._doubt = _doubt(point, unapplied)
        self._mdel = point.mdel
        self._adel = point.adel
        self._cache_limits(plain=False)

    @property
    def lalm(self) -> Any:
        """Return the limit in force, or the value that was found to be within all of them."""
        return self.val if self._limit is None else self._limit

    def process(self, reading: Reading, now: float) -> int:
        """Process a reading; return the event masks (VALUE, LOG, ALARM or'ed), 0 when nothing is to be sent.

        A reading that cannot be processed, a fault of the program, costs no other record its reading: this one keeps
        its last value and becomes INVALID.
        """
        val, udf, time = self.val, self.udf, self.time
        try:
            if reading.value is not None:
                self.val = reading.value
                self.udf = bool(reading.value != reading.value)  # NaN
            # a stamp that nothing can carry would stay for ever, for stamps go forward only
            moment = now if reading.time is None or not 0 <= reading.time < _LATEST else reading.time
            self.time = next_stamp(moment, time)
            return self._update_alarm(reading)
        except Exception as error:
            faults.log_once("the processing", self.name, error)
            self.val, self.udf, self.time = val, udf, time
            return self._reject(now)

    def shown(self) -> tuple[int, int, float, Any]:
        """Return status, severity, time and value, as nearly all clients want them."""
        if self.block is None:
            return self.stat, self.sevr, self._time, self._val
        return self.stat, self.sevr, self.time, self.val

    def move_into(self, block: BlockColumns, row: int) -> tuple[Any, float, Any, Any]:
        """Keep the numbers in the columns of a block from now on; return value, time, mlst and alst for it."""
        self.block, self.row = block, row
        self._fill_row(block)
        return self._val, self._time, self._mlst, self._alst

    def move_out(self, block: BlockColumns, val: float, time: float, mlst: float, alst: float) -> None:
        """Keep the numbers in the record again; they are what the columns of the block held."""
        self.block = None
        self._val, self._time, self._mlst, self._alst = val, time, mlst, alst
        self._above, self._below = block.above.item(self.row), block.below.item(self.row)

    def check_alarms(self, now: float) -> int:
        """Check the present value anew, after a limit was changed; return the masks as ``process`` does."""
        return self.process(replace(self._reading, value=None, time=None), now)

    def refuse(self, asked: float, reason: str, now: float) -> int:
        """Show that a put asked for at ``asked`` (monotonic s) was refused, until a later one is taken.

        Many clients drop the status of a put. It is not the value that is doubted: MINOR, as base's device support
        does it; an alarm of the value itself goes before. Return the masks as ``process`` does.
        """
        return self._judge(asked, reason[: putcheck.STRING_SIZE], now)

    def take(self, asked: float, now: float) -> int:
        """Note that a put asked for at ``asked`` was carried out; return the masks as ``process`` does."""
        return self._judge(asked, None, now)

    def _judge(self, asked: float, refused: str | None, now: float) -> int:
        """Note what became of a put, if none that was asked for later has ended before it."""
        if asked < self._asked:
            return 0
        self._asked = asked
        if refused == self._refused:
            return 0
        self._refused = refused
        return self.check_alarms(now)

    def check_put(self, value: Value | Array) -> Value:
        """Return a put in the record's own type. Raises Refused with the reason: limits refuse, they never clamp."""
        checked = putcheck.check(self.name, self.point, value)
        for field in TIGHTER.keys() & self.unapplied.keys() if checked else ():  # 0 is 0 in any unit
            limit, egu = self.unapplied[field], units.word(self.point.egu)
            raise Refused(f"the limit {field} is {limit}, the value is in {egu}; not sent to {self.name}")
        return checked

    def _change_unit(self, power: int | None) -> None:
        """Convert the value and what is remembered of it; ``power``: of ten, None if that is not possible."""
        val = None if power is None else _scaled(self.point.rtyp, self.val, power)
        if val is None:
            val = math.nan if self.point.rtyp in _FLOAT else self.val
        self.val, self.udf = val, True
        if self.point.rtyp.numeric:
            self.mlst = self.alst = math.nan
            if self._limit is not None:
                self._limit = None if power is None else units.scale(self._limit, power)

    def _reject(self, now: float) -> int:
        """Become INVALID after a reading that could not be processed; the next one that can be clears it."""
        self.time = next_stamp(now, self.time)
        self.mlst = self.alst = self.val
        before = self.stat, self.sevr, self.amsg
        alarm = Status.READ, Severity.INVALID, "internal error, see the log"
        self.stat, self.sevr, self.amsg = alarm
        self.acks = Severity.INVALID
        self._cache_limits(plain=False)
        return ALARM if alarm != before else 0

    # ---- alarm ----

    def _update_alarm(self, reading: Reading) -> int:
        """Apply alarm limits and deadbands to the value that the record has now; return the masks."""
        status, severity = self._alarm() if reading.limits or self.udf else self._no_alarm()
        message = ""
        if self._doubt is not None and reading.limits and self._doubt.severity > severity:
            status, severity, message = self._doubt.status, self._doubt.severity, self._doubt.message
        if reading.severity >= severity and reading.severity:
            status, severity, message = reading.status, reading.severity, reading.message
        if self._refused is not None and not severity:
            status, severity, message = Status.WRITE, Severity.MINOR, self._refused
        elif self._refused is not None and not message:  # as of a setpoint that nobody has put yet: UDF
            message = self._refused
        mask = 0
        if status != self.stat or severity != self.sevr or message != self.amsg:
            self.stat, self.sevr, self.amsg = status, severity, message
            mask = ALARM
            if not self.ackt or severity >= self.acks:
                self.acks = severity
        if not self.udf or self.val != self.val:
            mask |= self._deadbands()
        plain = reading.limits and not reading.severity
        self._reading = _PLAIN if plain else reading
        self._cache_limits(plain=plain and self._doubt is None and self._refused is None)
        return mask

    def _alarm(self) -> tuple[Status, Severity]:
        point = self.point
        if self.udf:
            return Status.UDF, Severity.INVALID
        if point.rtyp.numeric:
            return self._limits(self.val)
        if point.rtyp.states:
            return self._state_alarm(self.val)
        return Status.NO_ALARM, Severity.NO_ALARM

    def _no_alarm(self) -> tuple[Status, Severity]:
        """Forget which limit or state was in force: neither holds now."""
        self._limit = self.val if self.point.rtyp.states else None
        return Status.NO_ALARM, Severity.NO_ALARM

    def _limits(self, val: float) -> tuple[Status, Severity]:
        """Check the limits as aiRecord's checkAlarms does: HIHI, LOLO, HIGH, LOW in this order, each with HYST."""
        point, hyst, last = self.point, self.point.hyst, self._limit
        for limit, severity, status in (
            (point.hihi, point.hhsv, Status.HIHI),
            (point.lolo, point.llsv, Status.LOLO),
            (point.high, point.hsv, Status.HIGH),
            (point.low, point.lsv, Status.LOW),
        ):
            if limit is None or not severity:
                continue
            upper = status in {Status.HIHI, Status.HIGH}
            held = last == limit and (val >= limit - hyst if upper else val <= limit + hyst)
            if held or (val >= limit if upper else val <= limit):
                self._limit = limit
                return status, severity
        self._limit = None
        return Status.NO_ALARM, Severity.NO_ALARM

    def _state_alarm(self, val: int) -> tuple[Status, Severity]:
        """Check the state as biRecord and mbbiRecord do: its severity, then that of a change if it is higher.

        A change that raised the alarm is one until the state before it returns in a mbbi and mbbo; in a bi and bo it
        is over with the next reading.
        """
        binary = self.point.rtyp in _BINARY
        if val > 1 and binary:
            return Status.NO_ALARM, Severity.NO_ALARM
        severities, cosv = self.point.severities, self.point.cosv
        severity = severities[val] if 0 <= val < len(severities) else Severity.NO_ALARM
        changed = val != self._limit and cosv > severity
        if binary or not changed:
            self._limit = val
        if changed:
            return Status.COS, cosv
        return (Status.STATE, severity) if severity else (Status.NO_ALARM, severity)

    def _deadbands(self) -> int:
        mask = 0
        if beyond(self.val, self.mlst, self._mdel):
            self.mlst = self.val
            mask = VALUE
        if beyond(self.val, self.alst, self._adel):
            self.alst = self.val
            mask |= LOG
        return mask

    def _cache_limits(self, plain: bool) -> None:
        """Cache for which next values nothing but the deadbands need be looked at (``process_block``).

        A number strictly between ``_above`` and ``_below`` leaves the alarm as it is; a value equal to ``_same``
        changes nothing at all.
        """
        self._above = self._below = math.nan
        self._same = _NOTHING
        if plain and not self.udf:
            if self.point.rtyp in _FLOAT:
                self._above, self._below = _range_of(self.stat, self.point)
            elif self.stat is not Status.COS and self._mdel >= 0 and self._adel >= 0:
                self._same = self.val
        if self.block is not None:
            self._fill_row(self.block)

    def _fill_row(self, block: BlockColumns) -> None:
        """Write into the block what it needs for the next values; ``process_block`` then finds none to deal with."""
        row = self.row
        block.above[row], block.below[row] = self._above, self._below
        block.mdel[row], block.adel[row] = self._mdel, self._adel
        block.stat[row], block.sevr[row] = self.stat, self.sevr
        self._above = self._below = math.nan


def process_block(
    records: Mapping[str, Record], readings: Readings, moment: float, missing: list[str]
) -> Iterator[tuple[Record, int]]:
    """Process a block of readings; yield what changed, with its masks. Names without a record go to ``missing``.

    The same as ``Record.process`` for each, but a number that keeps its alarm (nearly all do) is dealt with here,
    at a fifth of the price: a full rack at ten readings a second and channel is 120,000 a second. One by one, so that
    each is sent while it is still in the processor's cache.
    """
    get = records.get
    for name, value in readings.items():
        record = get(name)
        if record is None:
            missing.append(name)
            continue
        if type(value) is float and record._above < value < record._below:
            record._val = value
            record._time = moment if moment > record._time else next_stamp(moment, record._time)
            mask = 0
            if not abs(value - record._mlst) <= record._mdel:
                record._mlst = value
                mask = VALUE
            if not abs(value - record._alst) <= record._adel:
                record._alst = value
                mask |= LOG
        else:
            try:
                unchanged = bool(value == record._same)
            except Exception:  # an array of numpy, for one, is neither true nor false: process() reports it
                unchanged = False
            if unchanged:
                record._time = moment if moment > record._time else next_stamp(moment, record._time)
                continue
            mask = record.process(value if isinstance(value, Reading) else Reading(value), moment)
        if mask:
            yield record, mask


def next_stamp(moment: float, last: float) -> float:
    """Return the stamp of a reading of ``moment`` after the stamp ``last``, in seconds since 1970 UTC."""
    return moment if moment > last or last - moment > WRONG else last + TICK


def beyond(new: Any, old: Any, deadband: float) -> bool:
    """Return True if a value left the deadband (recGblCheckDeadband): NaN and infinity count when they come or go."""
    if isinstance(new, str | tuple) or isinstance(old, str | tuple):
        return bool(new != old)
    if math.isfinite(new) and math.isfinite(old):
        return bool(abs(new - old) > deadband)
    if math.isnan(new) and math.isnan(old):
        return deadband < 0
    return bool(new != old) or deadband < 0


def _blank(rtyp: RecordType) -> Value | Array:
    if rtyp is RecordType.waveform:
        return ()
    return "" if rtyp in _TEXT else 0.0 if rtyp in _FLOAT else 0


def _scaled(rtyp: RecordType, value: Any, power: int) -> Any:
    """Return a number, or an array of numbers, times a power of ten; None where the record cannot hold that."""
    if isinstance(value, tuple):
        return tuple(units.scale(each, power) if isinstance(each, float) else each for each in value)
    number = units.scale(value, power)
    if rtyp in _FLOAT:
        return number
    return int(number) if number == int(number) and abs(number) < 2**31 else None


def _doubt(point: Point, unapplied: Mapping[str, Quantity]) -> Reading | None:
    """Return the alarm of limits that cannot be judged by: as severe as the worst of them, MINOR for drive limits."""
    severities = [getattr(point, LIMITS[field]) for field in LIMITS.keys() & unapplied.keys()]
    severities += [Severity.MINOR for _ in TIGHTER.keys() & unapplied.keys()]
    severity = max(severities, default=Severity.NO_ALARM)
    if not severity:
        return None
    unit = next(given.unit for field, given in unapplied.items() if field in LIMITS or field in TIGHTER)
    message = f"limits are in {units.word(unit)}, value in {units.word(point.egu)}"
    return Reading(None, severity, Status.SOFT, message=message[: putcheck.STRING_SIZE])


def _range_of(status: Status, point: Point) -> tuple[float, float]:
    """Return the open interval of values that leave an alarm in force; NaN, which holds none, when limits cross."""
    lolo, low, high, hihi = (
        none if limit is None or not severity else limit
        for limit, severity, none in (
            (point.lolo, point.llsv, -math.inf),
            (point.low, point.lsv, -math.inf),
            (point.high, point.hsv, math.inf),
            (point.hihi, point.hhsv, math.inf),
        )
    )
    if status is Status.NO_ALARM:
        return max(lolo, low), min(high, hihi)
    active = [limit for limit in (lolo, low, high, hihi) if math.isfinite(limit)]
    in_order = all(lower < upper for lower, upper in pairwise(active))
    ranges = {Status.HIHI: (hihi, math.inf), Status.HIGH: (high, hihi), Status.LOW: (lolo, low)}
    return ranges.get(status, (-math.inf, lolo)) if in_order else (math.nan, math.nan)
