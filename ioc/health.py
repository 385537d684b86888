"""The records of an instrument's connection; every instrument has them, from the start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drivers.base import Point, Reading, Readings, RecordType, Severity, Status
from ioc.port import Link, ScanState

# Names of the points
CONN = "Conn"
ERROR = "Error"
ERROR_COUNT = "ErrorCount"
RETRY = "Retry"
SCAN_TIME = "ScanTime"
OVERRUNS = "Overruns"

POINTS = (
    Point(
        name=CONN,
        rtyp=RecordType.mbbi,
        desc="state of the connection",
        states=tuple(link.name for link in Link),
        severities=(Severity.MAJOR, Severity.MINOR, Severity.NO_ALARM),
    ),
    Point(name=ERROR, rtyp=RecordType.lsi, desc="last error, whole text: .VAL$"),
    Point(name=ERROR_COUNT, rtyp=RecordType.longin, desc="errors since the start", egu="errors"),
    Point(name=RETRY, rtyp=RecordType.bo, desc="put 1: connect (again) now", states=("Idle", "Connect")),
    Point(name=SCAN_TIME, rtyp=RecordType.ai, desc="duration of a scan, the last or present", egu="ms", prec=1),
    Point(name=OVERRUNS, rtyp=RecordType.longin, desc="scans missed since the start", egu="scans"),
)


def values(link: Link, error: str, errors: int) -> Readings:
    """Return the health records before anything happened."""
    return {CONN: int(link), ERROR: error, ERROR_COUNT: errors, RETRY: 0, SCAN_TIME: 0.0, OVERRUNS: 0}


def with_health(points: Iterable[Point]) -> Iterator[Point]:
    """Yield the points of all records that an instrument with these points has."""
    yield from POINTS
    for point in points:
        yield point
        if point.safe is not None:
            yield pending(point)


def pending(point: Point) -> Point:
    """Return the point that shows whether a put which makes ``point`` safe is pending ("HV:OffPending").

    It is pending from the put until the instrument shows it, or another value was put.
    """
    assert point.safe is not None
    word = point.states[point.safe]
    return Point(
        name=f"{point.name}:{''.join(filter(str.isalnum, word))}Pending",
        rtyp=RecordType.bi,
        desc=f"{word} was put, the instrument lacks it"[:40],
        states=("No", "Yes"),
        severities=(Severity.NO_ALARM, Severity.MAJOR),
    )


def scans(state: ScanState) -> Readings:
    """Return how the scans keep their periods, with the alarms of that."""
    return {
        SCAN_TIME: _scan_reading(1e3 * state.seconds, state.main_late, state.main_stale),
        OVERRUNS: _scan_reading(state.missed, state.late, state.stale),
    }


def _scan_reading(value: float, late: bool, stale: bool) -> Reading:
    """Return a scan's duration or count with its alarm: ``late``, or ``stale``: values had to go INVALID."""
    if stale:
        return Reading(value, Severity.MAJOR, Status.SCAN, message="values became too old to be true")
    if late:
        return Reading(value, Severity.MINOR, Status.SCAN, message="a scan takes longer than its period")
    return Reading(value)
