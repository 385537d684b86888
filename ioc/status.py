"""The IOC about itself, as an ordinary driver: the names of EPICS iocStats, and lists of its records."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import ClassVar, Protocol

import psutil

from drivers.base import Driver, Point, Reading, Readings, RecordType, Refused, Severity, Status, Step, Value

NAME = "IOC"
PV_LIST = "PVList"
SAFE_LIST = "SafeList"
INSTRUMENTS = "Instruments"
SITE_FILE = "SiteFile"

_AI, _LONG, _TEXT = RecordType.ai, RecordType.longin, RecordType.stringin
_FIGURES = tuple(
    # who follows the count learns by it whether the IOC hangs: each is told
    Point(name=name, rtyp=rtyp, group="status", egu=egu, desc=desc, mdel=-1.0 if name == "HEARTBEAT" else 0.0)
    for name, rtyp, egu, desc in (
        ("HEARTBEAT", _LONG, "s", "counts once a second"),
        ("UPTIME", _TEXT, "", "time since the start"),
        ("STARTTOD", _TEXT, "", "start, local time"),
        ("TOD", _TEXT, "", "now, local time"),
        ("VERSION", _TEXT, "", "version of rackioc"),
        ("EPICS_VERS", _TEXT, "", "Channel Access server"),
        ("KERNEL_VERS", _TEXT, "", "operating system"),
        ("HOSTNAME", _TEXT, "", "computer"),
        ("PROCESS_ID", _LONG, "", "process id"),
        ("PARENT_ID", _LONG, "", "process id of the parent"),
        ("IOC_CPU_LOAD", _AI, "%", "processor time of the IOC"),
        ("SYS_CPU_LOAD", _AI, "%", "processor time of the computer"),
        ("CPU_CNT", _LONG, "cores", "processors"),
        ("MEM_USED", _AI, "byte", "memory of the IOC"),
        ("MEM_FREE", _AI, "byte", "memory free on the computer"),
        ("MEM_MAX", _AI, "byte", "memory of the computer"),
        ("FD_CNT", _LONG, "files", "file descriptors in use"),
        ("CA_CLNT_CNT", _LONG, "clients", "Channel Access clients"),
        ("CA_CONN_CNT", _LONG, "channels", "Channel Access channels"),
        ("RECORD_CNT", _LONG, "records", "records served"),
        (PV_LIST, RecordType.lsi, "", "names of all records, by line: .VAL$"),
        (SAFE_LIST, RecordType.lsi, "", "record, its safe state, by line: .VAL$"),
        (INSTRUMENTS, RecordType.lsi, "", "instrument, its driver, by line: .VAL$"),
    )
)
POINTS = (
    *_FIGURES,
    Point(
        name=SITE_FILE, rtyp=RecordType.bi, group="status", desc="fields that clients set are kept",
        states=("Kept", "Lost at restart"),
    ),
)  # fmt: skip


class Served(Protocol):
    """What the server of process variables reports of itself."""

    @property
    def names(self) -> list[str]:
        """Return the names of all records, in the order in which they came."""

    @property
    def safe(self) -> list[tuple[str, int, str]]:
        """Return the names of the records with a state that makes things safe, and its number and word."""

    @property
    def load(self) -> tuple[int, int, int]:
        """How many clients, channels and records there are at the moment."""


class IocStatus(Driver):
    """What the process and its server report of themselves; nothing can be set.

    ``site_file_trouble`` returns why fields that clients set are not kept over a restart, "" if they are;
    ``instruments``: name -> driver.
    """

    scan: ClassVar[Mapping[str, float]] = {"status": 1.0}

    def __init__(
        self,
        server: Served,
        site_file_trouble: Callable[[], str] = lambda: "",
        instruments: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.points = POINTS
        self._server = server
        self._site_file_trouble = site_file_trouble
        self._process = psutil.Process()
        self._started = time.monotonic()  # the computer's clock may be set
        self._beat = 0
        self._listed, self._list = 0, ""
        self._constant: Readings = {
            "STARTTOD": _clock(time.time()),
            "VERSION": version("rackioc"),
            "EPICS_VERS": f"caproto {version('caproto')}",
            "KERNEL_VERS": f"{platform.system()} {platform.release()}"[:39],
            "HOSTNAME": socket.gethostname()[:39],
            "PROCESS_ID": os.getpid(),
            "PARENT_ID": os.getppid(),
            "CPU_CNT": os.cpu_count() or 0,
            INSTRUMENTS: "\n".join(f"{name} {kind}" for name, kind in instruments.items()),
        }

    def connect(self) -> Readings:
        """Begin to measure the load."""
        self._process.cpu_percent()
        psutil.cpu_percent()
        return {}

    def read(self, group: str) -> Iterator[Step]:
        """All figures in one block."""
        self._beat += 1
        memory = psutil.virtual_memory()
        clients, channels, records = self._server.load
        names = self._pv_list(records)  # before the other list, which then lacks none of them
        yield {
            **self._constant,
            "HEARTBEAT": self._beat,
            "UPTIME": _duration(time.monotonic() - self._started),
            "TOD": _clock(time.time()),
            "IOC_CPU_LOAD": self._process.cpu_percent(),
            "SYS_CPU_LOAD": psutil.cpu_percent(),
            "MEM_USED": float(self._process.memory_info().rss),
            "MEM_FREE": float(memory.available),
            "MEM_MAX": float(memory.total),
            "FD_CNT": self._process.num_fds(),
            "CA_CLNT_CNT": clients,
            "CA_CONN_CNT": channels,
            "RECORD_CNT": records,
            # this one first: who follows both learns with a name what of it makes things safe
            SAFE_LIST: "\n".join(f"{name} {number} {word}" for name, number, word in self._server.safe),
            PV_LIST: names,
            SITE_FILE: self._site_file(),
        }

    def _site_file(self) -> Reading:
        trouble = self._site_file_trouble()
        return Reading(1, Severity.MINOR, Status.WRITE, message=trouble) if trouble else Reading(0)

    def _pv_list(self, records: int) -> str:
        if records != self._listed:
            self._listed, self._list = records, "\n".join(self._server.names)
        return self._list

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        """Nothing can be set."""
        raise Refused(f"{point.name} cannot be set")

    def close(self) -> None:
        """Nothing to close."""


def _clock(moment: float) -> str:
    return time.strftime("%m/%d/%Y %H:%M:%S", time.localtime(moment))


def _duration(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days} days, {hour:02}:{minute:02}:{second:02}" if days else f"{hour:02}:{minute:02}:{second:02}"
