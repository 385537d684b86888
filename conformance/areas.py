"""All areas of cases, and all the records that they use."""

from __future__ import annotations

from conformance import (
    cases_access,
    cases_alarm,
    cases_deadband,
    cases_fieldput,
    cases_fields,
    cases_get,
    cases_monitor,
    cases_put,
)
from conformance.points import FENCE
from drivers.base import Point, RecordType

MODULES = (
    cases_get,
    cases_put,
    cases_access,
    cases_fields,
    cases_fieldput,
    cases_monitor,
    cases_alarm,
    cases_deadband,
)
NAMES = tuple(module.__name__.rpartition("cases_")[2] for module in MODULES)

POINTS: tuple[Point, ...] = (
    Point(name=FENCE, rtyp=RecordType.longout),
    *(point for module in MODULES for point in module.POINTS),
)
