"""The records that the cases use, stated as points of an instrument; ``database`` writes the same for base.

Inputs are read-only in rackioc and follow the instrument, in base anybody may write to them. So each input has a
text beside it, ``X:Src``, that stands for the instrument on both sides: what is put there becomes the value of X. It
is a text because that is the only setpoint that accepts NaN and infinity everywhere. An array's ``X:Src`` is the
number of its elements, ``X:Off`` the first of them in ``BANK``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drivers.base import Point, RecordType, Severity

PREFIX = "CF:"
INSTRUMENT = "T"
FENCE = "fence"
GROUP = "values"

ANALOG = (RecordType.ai, RecordType.ao)
LONG = (RecordType.longin, RecordType.longout)
BINARY = (RecordType.bi, RecordType.bo)
MULTI = (RecordType.mbbi, RecordType.mbbo)
TEXT = (RecordType.stringin, RecordType.stringout)
ARRAYS = ("DOUBLE", "LONG", "STRING")

BANK: dict[str, tuple[Any, ...]] = {
    "DOUBLE": (1.5, -2.25, 1e10, 0.1, -0.0, 3.7, 65537.5, -1e-7),
    "LONG": (1, -2, 65536, 2147483647, -2147483648, 0, 255, 40000),
    "STRING": ("one", "2", "3.5", "", "x" * 39, "six", "-7", "eight"),
}

# Limits as a screen would show them: none of them is a round number in another's place
FULL: dict[str, Any] = {
    "egu": "kV/min",
    "prec": 3,
    "lopr": -50.0,
    "hopr": 60.0,
    "lolo": -20.0,
    "low": -10.0,
    "high": 10.0,
    "hihi": 20.0,
}


def pv(point: str) -> str:
    """Return the name of a point's PV."""
    return f"{PREFIX}{INSTRUMENT}:{point}"


def driven(point: Point) -> tuple[Point, ...]:
    """Return an input and the text that stands for the instrument."""
    return point, Point(name=f"{point.name}:Src", rtyp=RecordType.stringout, addr=point)


def array(point: Point) -> tuple[Point, ...]:
    """Return an array and the numbers that choose its part of BANK."""
    source = Point(name=f"{point.name}:Src", rtyp=RecordType.longout, addr=point)
    return point, source, Point(name=f"{point.name}:Off", rtyp=RecordType.longout)


def with_source(point: Point) -> tuple[Point, ...]:
    """Return the point with what drives it, if it is an input."""
    if point.rtyp is RecordType.waveform:
        return array(point)
    return (point,) if point.rtyp.writable else driven(point)


def full(name: str, rtyp: RecordType, **changes: Any) -> Point:
    """Return a point with everything that its record type can have."""
    options: dict[str, Any] = {"desc": f"{rtyp.name} with everything"}
    if rtyp.numeric:
        options |= FULL if rtyp in ANALOG else FULL | {"prec": 0}
    if rtyp in {RecordType.ao, RecordType.longout}:
        options |= {"drvl": -40.0, "drvh": 45.0}
    if rtyp in BINARY:
        options |= {"states": ("Off", "On"), "severities": (Severity.NO_ALARM, Severity.MINOR)}
    if rtyp in MULTI:
        severities = (Severity.NO_ALARM, Severity.MINOR, Severity.MAJOR, Severity.INVALID)
        options |= {"states": ("Zero", "One", "2", "Three and as long as it g"), "severities": severities}
    if rtyp is RecordType.waveform:
        options |= {"nelm": len(BANK["DOUBLE"]), "egu": "kV/min", "prec": 3, "lopr": -50.0, "hopr": 60.0}
    return Point(name=name, rtyp=rtyp, **(options | {"group": GROUP} | changes))


def unlimited(area: str, names: Iterable[str]) -> tuple[Point, ...]:
    """Return setpoints without limits, one for each kind of case, so that none sees the puts of another."""
    none: dict[str, Any] = dict.fromkeys(("drvl", "drvh", "lolo", "low", "high", "hihi"))
    return tuple(full(f"{area}:{name}", RecordType.ao, **none) for name in names)


def kinds() -> list[tuple[str, RecordType, dict[str, Any]]]:
    """Return (name, record type, further attributes) of every kind of record.

    Waveforms count by their element type.
    """
    scalars: list[tuple[str, RecordType, dict[str, Any]]] = [
        (rtyp.name, rtyp, {}) for rtyp in (*ANALOG, *LONG, *BINARY, *MULTI, *TEXT)
    ]
    return scalars + [(f"waveform_{ftvl}", RecordType.waveform, {"ftvl": ftvl}) for ftvl in ARRAYS]


def all_kinds(area: str) -> tuple[Point, ...]:
    """Return a full and a bare record of every kind, with their sources, for one area of cases."""
    points: list[Point] = []
    for name, rtyp, more in kinds():
        points += with_source(full(f"{area}:{name}", rtyp, **more))
        own = more | ({"nelm": 3} if rtyp is RecordType.waveform else {})
        points += with_source(Point(name=f"{area}:{name}:bare", rtyp=rtyp, group=GROUP, **own))
    return tuple(points)
