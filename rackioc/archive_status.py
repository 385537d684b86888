"""The state of the archiver as an ordinary driver; it reads the archiver's status file (archiver.health)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from archiver.health import STALE, Cause, Health, hidden, read, running
from drivers.base import Driver, NoReply, Point, Reading, Readings, RecordType, Refused, Severity, Status, Step, Value

NAME = "ARCH"
RUNNING = "Running"
# Seconds in which an archiver that is started with the IOC comes up
STARTING = 5.0

_CAUSES = {
    "Rejected:Backwards": (Cause.BACKWARDS, "stamps going backwards"),
    "Rejected:Epoch1990": (Cause.EPOCH_1990, "stamps of 1990"),
    "Rejected:Future": (Cause.FUTURE, "stamps over 5 min in the future"),
    "Rejected:Database": (Cause.DATABASE, "rejected by the database"),
}
_AI, _LONG = RecordType.ai, RecordType.longin


def _point(name: str, rtyp: RecordType, egu: str, desc: str, **fields: object) -> Point:
    return Point(name=name, rtyp=rtyp, group="status", egu=egu, desc=desc, **fields)  # type: ignore[arg-type]


POINTS = (
    _point(
        RUNNING, RecordType.bi, "", "archiver runs and reports its state",
        states=("Down", "Up"), severities=(Severity.MAJOR, Severity.NO_ALARM),
    ),
    _point("Connected", _LONG, "PVs", "PVs connected"),
    _point("Total", _LONG, "PVs", "PVs to archive"),
    _point("SamplesRate", _AI, "1/s", "samples that come in", prec=1),
    _point("Queue", _LONG, "samples", "samples in memory"),
    _point("SpoolRows", _LONG, "samples", "samples that wait on disk", high=1.0),
    _point("SpoolSize", _AI, "byte", "size of the spool file"),
    _point("Lag", _AI, "s", "age of oldest sample not committed", prec=1, high=10.0, hihi=60.0),
    # what only grows is a double: it outgrows 32 bits
    _point("Stored", _AI, "samples", "samples stored since its start"),
    _point("SpoolAside", _LONG, "batches", "unreadable batches not looked at", high=1.0),
    _point("Lost", _AI, "samples", "samples without room (Overrun)", hihi=1.0),
    _point("Rejected", _AI, "samples", "samples rejected since its start", high=1.0),
    *(_point(name, _AI, "samples", desc) for name, (_, desc) in _CAUSES.items()),
    _point("DiskFree", _AI, "byte", "free disk for spool and database", low=1e9, lolo=0.5e9),
    _point("DaysLeft", _AI, "d", "until its disk is full; NaN: not known", prec=1, low=14.0, lolo=3.0),
    _point("Database", RecordType.stringin, "", "state of the database"),
    _point("LastError", RecordType.lsi, "", "last error, whole text: .VAL$"),
)  # fmt: skip


class ArchiveStatus(Driver):
    """The driver of the archiver's status file; nothing can be set."""

    scan: ClassVar[Mapping[str, float]] = {"status": 1.0}

    def __init__(self, path: Path, ends: Callable[[], bool]) -> None:
        """Take the status file, and ``ends``, which returns True once the archiver is stopped with all the rest."""
        self.points = POINTS
        self._path = path
        self._ends = ends
        # Monotonic time; None: not connected yet; 0: it has run
        self._starts_until: float | None = None

    def connect(self) -> Readings:
        """Begin to wait for the archiver, once; the file is opened with each reading, for it may be created later."""
        if self._starts_until is None:
            self._starts_until = time.monotonic() + STARTING
        return {}

    def read(self, group: str) -> Iterator[Step]:
        """Yield whether the archiver runs, then the rest. Raises NoReply if it does not run, or does not report.

        While it may still be starting, and in a stop, what it tells is not known, and that is no error.
        """
        health = read(self._path)
        is_running = running(self._path)
        fresh = health is not None and health.age <= STALE
        yield {RUNNING: int(is_running and fresh)}
        if is_running and fresh:
            self._starts_until = 0.0
        elif self._ends() or time.monotonic() < (self._starts_until or 0.0):
            why = "the archiver is stopped" if self._ends() else "the archiver is starting"
            unknown = Reading(None, Severity.INVALID, Status.UDF, message=why)
            yield {point.name: unknown for point in POINTS if point.name != RUNNING}
            return
        if reason := hidden(self._path):
            raise NoReply(f"whether the archiver runs cannot be seen: {reason}")
        if health is None or not is_running:
            raise NoReply(f"the archiver is not running (no process holds {self._path})")
        if not fresh:
            raise NoReply(f"the archiver (pid {health.pid}) has not reported for {health.age:.0f} s")
        yield _readings(health)

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        """Refuse: nothing can be set."""
        raise Refused(f"{point.name} cannot be set")

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""


def _connected(health: Health) -> Reading:
    """Return how many PVs are connected: MINOR if some were searched for minutes, and never found."""
    if not health.never_long:
        return Reading(health.connected)
    first = health.never_names[0] if health.never_names else ""
    return Reading(
        health.connected, Severity.MINOR, Status.STATE, message=f"{health.never_long} never connected: {first}"
    )


def _days_left(health: Health) -> Reading:
    """Return how many days the disk lasts: INVALID where it is not known."""
    if health.days_left is None:
        return Reading(math.nan, Severity.INVALID, Status.UDF, message="not known (yet)")
    return Reading(health.days_left)


def _readings(health: Health) -> Readings:
    ok = health.database == "ok"
    return {
        "Connected": _connected(health),
        "Total": health.total,
        "SamplesRate": health.samples_per_second,
        "Queue": health.queue,
        "SpoolRows": health.spool_rows,
        "SpoolSize": float(health.spool_bytes),
        "Lag": health.lag,
        "Stored": float(health.stored),
        "SpoolAside": health.aside,
        "Lost": float(health.lost),
        "Rejected": float(sum(health.rejected.values())),
        **{name: float(health.rejected.get(cause, 0)) for name, (cause, _) in _CAUSES.items()},
        "DiskFree": health.disk_free,
        "DaysLeft": _days_left(health),
        "Database": health.database[:39] if ok else Reading(health.database[:39], Severity.MINOR, Status.STATE),
        "LastError": health.last_error,
    }
