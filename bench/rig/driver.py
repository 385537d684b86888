"""The instruments of the bench: drivers without a wire, so that what is measured is the IOC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from bench.rig import load
from bench.rig.load import Load, LoadKind
from drivers.base import Driver, Point, Readings, RecordType, Severity, Step, Value

# A scan comes in as many blocks as a full rack has crate slots
BLOCKS = 16
# Seconds between scans of what does not change
REST = 60.0


class BenchDriver(Driver):
    """A driver that serves a load. The ramp's scan is the one thing that it does with time."""

    def __init__(self, wanted: Load) -> None:
        self.scan: Mapping[str, float] = {"all": 1 / wanted.rate if wanted.kind is LoadKind.ramp else REST}  # type: ignore[misc]
        self.points = tuple(_point(wanted.kind, index) for index in range(wanted.count))
        self._ramps = wanted.kind is LoadKind.ramp
        self._values = np.array([load.first_value(index) for index in range(wanted.count)], float)
        names = [point.name for point in self.points if point.group and point.rtyp is RecordType.ai]
        self._constant: Readings = (
            {load.point(3): (1.5,) * load.ARRAY, load.point(4): "x" * load.TEXT}
            if wanted.kind is LoadKind.mixed
            else {}
        )
        edges = np.linspace(0, len(names), BLOCKS + 1).astype(int)
        self._blocks = [(slice(begin, end), names[begin:end]) for begin, end in pairwise(edges) if end > begin]

    def connect(self) -> Readings:
        """Do nothing: there is nothing to open."""
        return {}

    def read(self, group: str) -> Iterator[Step]:
        """Yield all values, block by block; a ramp is a step further than the last time."""
        if self._ramps:
            self._values = (self._values + 1) % load.WRAP
        for part, names in self._blocks:
            yield dict(zip(names, self._values[part].tolist(), strict=True))
        yield self._constant

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        """Accept the value as it is."""
        yield {point.name: value}

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _point(kind: LoadKind, index: int) -> Point:
    name = load.point(index)
    match kind:
        case LoadKind.ramp:
            fields = _lower(load.LIMITS | load.DEADBANDS)
            return Point(name=name, rtyp=RecordType.ai, group="all", prec=3, **fields)
        case LoadKind.setpoint:
            return Point(name=name, rtyp=RecordType.ao, prec=3)
        case LoadKind.described:
            return Point(name=name, rtyp=RecordType.ai, group="all", prec=3, **_lower(load.described(index)))
        case LoadKind.mixed:
            return _mixed(name, load.MIXED[index] if index < len(load.MIXED) else "setpoint")
        case LoadKind.arrays:
            raise ValueError("arrays are served by softIoc alone")


def _mixed(name: str, kind: str) -> Point:
    match kind:
        case "state":
            return Point(name=name, rtyp=RecordType.mbbo, states=load.WORDS)
        case "array":
            return Point(name=name, rtyp=RecordType.waveform, group="all", nelm=load.ARRAY)
        case "text":
            return Point(name=name, rtyp=RecordType.lsi, group="all")
        case "alarmed":
            return Point(name=name, rtyp=RecordType.ao, hihi=load.ALARMED["HIHI"], hhsv=Severity.MAJOR)
    return Point(name=name, rtyp=RecordType.ao, prec=3)


def _lower(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in fields.items()}
