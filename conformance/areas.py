"""All areas of cases, and all the records that they use."""

from __future__ import annotations

from conformance.cases import (
    access,
    alarm,
    behaviour,
    contexts,
    deadband,
    errors,
    fieldput,
    fields,
    filters,
    flight,
    get,
    monitor,
    put,
)
from conformance.points import FENCE
from drivers.base import Point, RecordType

MODULES = (
    get,
    put,
    access,
    fields,
    fieldput,
    monitor,
    alarm,
    deadband,
    filters,
    flight,
    behaviour,
    contexts,
    errors,
)
NAMES = tuple(module.__name__.rpartition(".")[2] for module in MODULES)

POINTS: tuple[Point, ...] = (
    Point(name=FENCE, rtyp=RecordType.longout),
    *(point for module in MODULES for point in module.POINTS),
)
