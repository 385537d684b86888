"""Readings that cannot be processed: the record keeps its last value and becomes INVALID, and no other does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from drivers.base import Point, Reading, RecordType, Severity, Status
from ioc import faults
from ioc.block import Block
from ioc.record import ALARM, VALUE, Record, process_block

POINTS = {
    "ai": Point(name="ai", rtyp=RecordType.ai, high=50.0, low=-50.0),
    "mbbi": Point(
        name="mbbi", rtyp=RecordType.mbbi, states=("a", "b"), severities=(Severity.NO_ALARM, Severity.MINOR)
    ),
    "long": Point(name="long", rtyp=RecordType.longin, high=50.0),
    "wave": Point(name="wave", rtyp=RecordType.waveform, nelm=3),
}
GOOD = {"ai": 1.0, "mbbi": 1, "long": 1, "wave": (1.0,)}


class Monster:
    """A value that cannot be compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("a monster")


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was logged before."""
    monkeypatch.setattr(faults, "_seen", set())


@pytest.fixture
def records() -> dict[str, Record]:
    """Return a record of each kind, and one after them all, each with a good value."""
    found = {name: Record(name, point) for name, point in POINTS.items()}
    found["last"] = Record("last", Point(name="last", rtyp=RecordType.ai))
    process(found, {**GOOD, "last": 0.0}, 1.0)
    return found


def process(records: dict[str, Record], readings: dict[str, Any], moment: float) -> dict[str, int]:
    return {record.name: mask for record, mask in process_block(records, readings, moment, [])}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, Monster()) for name in POINTS),
        *((name, np.array([1.0, 2.0])) for name in POINTS),
        ("ai", "abc"),
        ("ai", 1j),
        ("ai", [1.0]),
        ("mbbi", "a"),
        ("mbbi", 0.5),
        ("mbbi", (0,)),
        ("long", "abc"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_a_reading_that_cannot_be_processed_makes_its_record_invalid_and_no_other(
    records: dict[str, Record], caplog: pytest.LogCaptureFixture, name: str, value: Any
) -> None:
    record = records[name]
    for moment in (2.0, 3.0):
        changed = process(records, {name: value, "last": moment}, moment)
        assert changed["last"] & VALUE
        assert changed.get(name, 0) == (ALARM if moment == 2.0 else 0)
    assert record.val == GOOD[name]
    assert (record.stat, record.sevr, record.time) == (Status.READ, Severity.INVALID, 3.0)
    assert len(caplog.records) == 1
    assert process(records, {name: GOOD[name], "last": 4.0}, 4.0)[name] & ALARM
    assert (record.val, record.amsg) == (GOOD[name], "")
    assert record.sevr == (Severity.MINOR if name == "mbbi" else Severity.NO_ALARM)


@pytest.mark.parametrize("moment", [math.nan, math.inf, -math.inf, 1e300, "noon", 631152000 + 2.0**32])
def test_a_stamp_that_nothing_can_carry_does_not_stay(records: dict[str, Record], moment: Any) -> None:
    records["ai"].process(Reading(2.0, time=moment), 2.0)
    assert 1.0 < records["ai"].time <= 2.0
    records["ai"].process(Reading(3.0), 3.0)
    assert (records["ai"].time, records["ai"].val, records["ai"].sevr) == (3.0, 3.0, Severity.NO_ALARM)


def test_a_record_of_a_block_that_fails_costs_the_block_nothing(
    records: dict[str, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    def limits(record: Record, val: float) -> Any:
        if record.name == "ai" and val == 99.0:
            raise ZeroDivisionError("planted")
        return before(record, val)

    before = Record._limits
    monkeypatch.setattr(Record, "_limits", limits)
    block = Block([records["ai"], records["last"]])
    assert block.process(np.array([99.0, 5.0]), 2.0).tolist() == [ALARM, 3]
    assert (records["ai"].val, records["ai"].sevr, records["last"].val) == (1.0, Severity.INVALID, 5.0)
    assert (block.stat[0], block.sevr[0]) == (Status.READ, Severity.INVALID)
    assert block.process(np.array([2.0, 6.0]), 3.0)[0] & ALARM
    assert (records["ai"].val, records["ai"].sevr) == (2.0, Severity.NO_ALARM)
