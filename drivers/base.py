"""The contract between an instrument and the IOC.

A driver states what can be read from an instrument and written to it (its points) and moves values over the wire. It
knows nothing of EPICS servers, event loops or databases. The IOC calls it from one thread, never concurrently, so a
driver blocks and needs no locks.

    DeviceError          a sentence for the operator
    |-- LinkDown         cable, power, session: the connection must be opened again    COMM alarm
    |-- NoReply          the instrument did not answer in time                         TIMEOUT alarm
    |-- BadReply         it replied, but not to what was asked                         READ alarm
    `-- Refused          a put that the instrument, a limit or the driver turned down  the put fails; no alarm
        `-- NotShown     a put that makes things safe, sent and not shown yet          it is sent again; no alarm
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

Value = float | int | str
Array = tuple[Value, ...]


class Severity(IntEnum):
    """EPICS alarm severity (epics-base, alarm.h)."""

    NO_ALARM = 0
    MINOR = 1
    MAJOR = 2
    INVALID = 3


class Status(IntEnum):
    """EPICS alarm status (epics-base, alarm.h), in the order that Channel Access numbers them."""

    NO_ALARM = 0
    READ = 1
    WRITE = 2
    HIHI = 3
    HIGH = 4
    LOLO = 5
    LOW = 6
    STATE = 7
    COS = 8
    COMM = 9
    TIMEOUT = 10
    HWLIMIT = 11
    CALC = 12
    SCAN = 13
    LINK = 14
    SOFT = 15
    BAD_SUB = 16
    UDF = 17
    DISABLE = 18
    SIMM = 19
    READ_ACCESS = 20
    WRITE_ACCESS = 21


class RecordType(IntEnum):
    """The EPICS record types that a point can ask for (lsi: a text of any length; waveform: an array, read only)."""

    ai = 0
    ao = 1
    bi = 2
    bo = 3
    mbbi = 4
    mbbo = 5
    longin = 6
    longout = 7
    stringin = 8
    stringout = 9
    lsi = 10
    waveform = 11

    @property
    def writable(self) -> bool:
        """Return True for the output types: a client may put to them."""
        return self in _OUTPUTS

    @property
    def states(self) -> bool:
        """Return True for the types whose value is the index of a state."""
        return self in _STATES

    @property
    def numeric(self) -> bool:
        """Return True for the types with limits: ai, ao, longin, longout."""
        return self in _NUMERIC


_OUTPUTS = {RecordType.ao, RecordType.bo, RecordType.mbbo, RecordType.longout, RecordType.stringout}
_STATES = {RecordType.bi, RecordType.bo, RecordType.mbbi, RecordType.mbbo}
_NUMERIC = {RecordType.ai, RecordType.ao, RecordType.longin, RecordType.longout}


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One value of an instrument, to be read or put; field names are those of EPICS records in lower case.

    name      unique within the instrument; the record's name is prefix + instrument + ":" + name
    rtyp      the EPICS record type
    addr      what the driver needs to find it in the instrument; nobody else looks at it
    group     the scan group that reads it; "" for a point that no scan reads (a command, a setting with a readback)
    command   True for something that a put of 1 executes: nothing reads it, it rests at 0, to which the IOC brings it
              back; a put of 0 gets to the driver only if the point has ``safe``: it takes back what is pending
    follows   for a setting: the name of its readback point, whose value it has after connect and on change
    egu       unit, 15 characters at most, ASCII; prec: digits after the point
    states    words of a bi/bo/mbbi/mbbo, 25 characters and 16 words at most; severities: one for each word
    safe      for a switch: the value that makes things safe (HV off). Its put is never refused for the state of the
              line: it goes first, and is kept and repeated until the instrument shows it or another value is put
    worst_of  for a point that shows the worst severity of others, as the index of a state and as its alarm: what
              their names begin with. No scan reads it
    drvl/drvh a put outside is refused (None: no limit); lopr/hopr: display range
    moving    True for limits that move with other settings: the driver checks a put against those of that moment
    mdel      deadband of what is told (below 0: each reading, whatever a site says); adel: of what is archived
    nelm      elements of a waveform; ftvl: their type. Its value is a tuple of at most nelm elements
    """

    name: str
    rtyp: RecordType
    addr: Any = None
    group: str = ""
    follows: str | None = None
    command: bool = False
    desc: str = ""
    egu: str = ""
    prec: int = 0
    states: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()
    safe: int | None = None
    worst_of: tuple[str, ...] = ()
    lopr: float | None = None
    hopr: float | None = None
    drvl: float | None = None
    drvh: float | None = None
    moving: bool = False
    hihi: float | None = None
    high: float | None = None
    low: float | None = None
    lolo: float | None = None
    hhsv: Severity = Severity.MAJOR
    hsv: Severity = Severity.MINOR
    lsv: Severity = Severity.MINOR
    llsv: Severity = Severity.MAJOR
    cosv: Severity = Severity.NO_ALARM
    hyst: float = 0.0
    mdel: float = 0.0
    adel: float = 0.0
    nelm: int = 1
    ftvl: Literal["DOUBLE", "LONG", "STRING"] = "DOUBLE"


@dataclass(frozen=True, slots=True)
class Reading:
    """A value with its alarm and time; replaced whole, never changed.

    value     None keeps the record's last value (with an alarm: "this is old")
    severity  joins the record's own limit alarms: the higher one wins
    time      seconds since 1970 UTC; None: the moment at which the transaction ended
    message   the alarm in words, 39 characters of which clients see (AMSG)
    limits    False: the record's own limits and state severities do not hold for this reading: a channel is off, or
              ramps
    """

    value: Value | Array | None
    severity: Severity = Severity.NO_ALARM
    status: Status = Status.NO_ALARM
    time: float | None = None
    message: str = ""
    limits: bool = True


Readings = Mapping[str, Value | Array | Reading]


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause in a scan or a put: the port does other things, and goes on after ``seconds`` at the earliest."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SafePut(Wait):
    """A pause in a scan in which the port puts the safe value of a point, as if a client had asked for it.

    name  of the point; what: what was found; why: what asks for the put, such as a key of the configuration
    """

    name: str = ""
    what: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Energizes(Wait):
    """A pause in a put that is about to let high voltage out where none is, or where it is going away.

    The readback may have its value all the same, as that of a channel that ramps down. If the put fails, the safe
    value follows.
    """


@dataclass(frozen=True, slots=True)
class Look(Wait):
    """A pause in a put that was sent, before it is looked at again: readings of a scan may show it just as well.

    Only what makes things safe ends there; nothing more may have to be sent for it.
    """


# What a scan or a put yields: what was read, or a pause
Step = Readings | Wait


@dataclass(frozen=True, slots=True)
class Example:
    """What to try first with an instrument, in the words of its points.

    read  name of a point to read
    put   name of a point and a value, as behind ``caput``: "VSet 30"; "" where nothing can be set
    """

    read: str
    put: str = ""


class DeviceError(Exception):
    """What went wrong with an instrument; ``str(error)`` is one sentence for the operator."""

    status: ClassVar[Status] = Status.COMM


class LinkDown(DeviceError):
    """A connection that is gone or cannot be opened; the port closes the driver and connects again."""

    status = Status.COMM


class NoReply(DeviceError):
    """A reply that did not come in time."""

    status = Status.TIMEOUT


class BadReply(DeviceError):
    """A reply that does not belong to the question: noise, half a reply, a stale reply."""

    status = Status.READ


class Refused(DeviceError):
    """A put that was not carried out."""

    status = Status.WRITE


class NotShown(Refused):
    """A put that makes things safe, was sent, and is not shown yet: nobody said no to it, and it is sent again."""


# The keys that lead there, and a sentence: what is wrong and what is allowed
ConfigFault = tuple[tuple[str, ...], str]


class DriverConfig:
    """Base of the frozen dataclasses that hold an instrument's keys in the configuration file.

    The fields' type hints are the schema; ``faults`` checks the rest.
    """

    @property
    def place(self) -> tuple[str, str]:
        """Return the key that says where the instrument is, and where that is, in words for the operator.

        No two instruments may be at the same place. Here a serial line under its real name, or the host and
        port of a URL, if there is a ``port``; ("", "") for none.
        """
        port = getattr(self, "port", "")
        return ("port", _far_end(port) if "://" in port else os.path.realpath(port)) if port else ("", "")

    def fits(self, other: DriverConfig) -> bool:
        """Return True if these keys also fit the instrument of ``other``, which might then be taken for this one."""
        return False

    def faults(self) -> Iterable[ConfigFault]:
        """Yield what is wrong beyond the types, with the keys below the instrument."""
        return ()


def _far_end(url: str) -> str:
    """Return host and port of a URL, however it is written: a port has one line behind it. Else the URL."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.hostname and parts.port:
            return f"{parts.hostname}:{parts.port}"
    return url


class Driver(ABC):
    """An instrument. The constructor's argument is the instrument's own frozen ``Config``; it does no I/O.

    Config    the dataclass of its keys in the configuration file
    points    what the instrument has: known from the constructor, or (for instruments that are asked) replaced by a
              new tuple in ``connect`` or ``read``
    scan      scan group -> period in seconds, in order of importance; the site may change the periods
    exploring True while an instrument is still being asked what it has: ``points`` will grow with the readings
    discovers True when ``points`` are known only after ``connect``; name_size: the longest name they may then have
    longest_period  the instrument needs a question at least this often (seconds), or None
    longest_retry   the longest pause between two tries to connect (seconds)
    longest_reply   seconds for which a reply is awaited: a value may become so much older while one does not come
    reopens   True if the connection is to be opened anew when nothing good was heard over it for a while
    longest_call    seconds that one step of ``read`` or ``write`` may take before it counts as hanging
    urgent    called in a step of several calls, between two: True if a put that makes things safe waits to be sent,
              for which the step is ended where it can be. The port sets it
    example   a point to read and one to put, for the first steps of a user; None: the driver suggests nothing
    tables    the tables of the configuration's ``archive:`` section that such an instrument can fill
    """

    Config: ClassVar[type[DriverConfig]] = DriverConfig
    points: tuple[Point, ...]
    scan: ClassVar[Mapping[str, float]]
    discovers: ClassVar[bool] = False
    name_size: ClassVar[int] = 0
    longest_period: ClassVar[float | None] = None
    longest_retry: ClassVar[float] = 5.0
    longest_reply: ClassVar[float] = 0.0
    longest_call: ClassVar[float] = 2.0
    urgent: Callable[[], bool] = staticmethod(lambda: False)
    example: Example | None = None
    tables: ClassVar[frozenset[str]] = frozenset()

    @property
    def exploring(self) -> bool:
        """Return True while an instrument is still being asked what it has."""
        return False

    @property
    def reopens(self) -> bool:
        """Return True if the connection is to be opened anew when nothing good was heard over it for a while."""
        return True

    @property
    def unserved(self) -> Iterable[str]:
        """Yield a sentence for each thing configured that the instrument lacks, once it is explored.

        It does no I/O, and is called from another thread than the rest.
        """
        return ()

    @abstractmethod
    def connect(self) -> Readings:
        """Open the connection and ask the instrument who it is; return what was read on the way.

        Writes nothing to it. Raises DeviceError.
        """

    @abstractmethod
    def read(self, group: str) -> Iterator[Step]:
        """Read a scan group: yield a block of readings for each transaction, together all points of the group.

        A block may hold readings of other groups that became known on the way. An empty one says that the instrument
        answered, though with no reading; a ``Wait`` says nothing about it. Between two steps the port may call
        ``write``, and read another group. A block that cannot be read is either yielded as INVALID readings (the rest
        goes on) or raised as a DeviceError (the rest of the group becomes INVALID).
        """

    @abstractmethod
    def write(self, point: Point, value: Value) -> Iterator[Step]:
        """Carry out a put: yield all that the instrument says meanwhile (the readback and all that the put touched).

        The put is done when this ends. Each block is published at once, also that of a put which then fails. Where
        it can wait, as for the instrument to show the put, it yields a ``Wait``: then the port may read, and carry
        out puts to other points; a put to the same point only if it makes things safe.
        Raises Refused with the reason when the put was not carried out, any other DeviceError when that is not known.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection; may be called at any time and more than once. Never raises, never writes a value."""

    def write_blind(self, point: Point, value: Value) -> Iterator[Step]:
        """Send a put that makes things safe while there is no connection: open what it needs, expect no answer.

        Called before each try to connect, as long as such a put waits. What it yields says nothing, but another put
        that makes things safe may be sent then. Raises DeviceError when it cannot be sent, as here: most instruments
        take nothing before they are connected.
        """
        yield from ()
        raise LinkDown(f"{point.name}: cannot be sent without a connection")

    def energizes(self, point: Point, value: Value) -> bool:
        """Return True for a put that lets high voltage out: where its outcome is not known, the safe value follows.

        This and ``undoes`` do no I/O: they are called from another thread than the rest.
        """
        return point.safe is not None and value != point.safe

    def shown(self, point: Point, value: Value, readings: Readings) -> bool:
        """Return True if readings show that the instrument has the value that makes a point safe."""
        reading = readings.get(point.follows or "")
        if isinstance(reading, Reading):
            return reading.severity is not Severity.INVALID and reading.value == value
        return reading == value

    def undoes(self, safe: Point, waiting: Point) -> bool:
        """Return True if a put that waits must not be carried out after one that makes things safe overtook it."""
        return safe.name == waiting.name
