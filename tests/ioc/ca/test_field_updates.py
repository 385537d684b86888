"""Who subscribed to a field that changes with the value is sent each of its values."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.base import Severity, Status, Value
from ioc.block import Block
from ioc.ca.message import EVENT_ADD
from ioc.record import ALARM, LOG, VALUE
from tests.ioc.ca.test_crowd import subscribe
from tests.small_ioc import Raw, SmallIoc, until


def update(raw: Raw) -> tuple[int, float]:
    """The number of the next subscription that gets an update, and which."""
    while True:
        command, body, *_, number = raw.message()
        if command == EVENT_ADD:
            return number, raw.number(body)


@pytest.mark.parametrize(
    ("field", "values", "shown"),
    [
        ("wave.NORD", [(1.0,), (1.0, 2.0, 3.0), ()], [1, 3, 0]),
        ("lsi.LEN", ["a", "abc", ""], [2, 4, 1]),
        ("ao.OVAL", [1.0, 2.0, 3.0], [1, 2, 3]),
        ("bo.RVAL", [1, 0, 1], [1, 0, 1]),
        ("mbbo.RVAL", [1, 2, 1], [1, 2, 1]),
    ],
)
@pytest.mark.parametrize("mask", [VALUE, LOG])
def test_a_field_that_changes_with_the_value_is_told(
    small_ioc: SmallIoc, field: str, values: list[Value], shown: list[float], mask: int
) -> None:
    name = field.partition(".")[0]
    small_ioc.read(name, values[-1])
    small_ioc.read(name, values[-2])
    with Raw(small_ioc) as raw:
        sid = raw.create(field)
        raw.say(subscribe(sid, 1, mask))
        raw.say(subscribe(sid, 2, ALARM))
        assert {update(raw)[0], update(raw)[0]} == {1, 2}
        for value, expected in zip(values, shown, strict=True):
            small_ioc.read(name, value)
            small_ioc.read(name, value)  # the same again is no news
            assert update(raw) == (1, expected)


def test_an_alarm_of_the_same_moment_is_told_with_it_as_base_does(small_ioc: SmallIoc) -> None:
    small_ioc.read("ao", 1.0)
    with Raw(small_ioc) as raw:
        sid = raw.create("ao.OVAL")
        raw.say(subscribe(sid, 1, ALARM))
        assert update(raw) == (1, 1.0)
        small_ioc.read("ao", 2.0)
        small_ioc.read("ao", 3.0, Severity.MAJOR, Status.READ)
        assert update(raw) == (1, 3.0)
        small_ioc.read("ao", 3.0)
        small_ioc.read("ao", 4.0, Severity.MAJOR, Status.READ)
        assert update(raw) == (1, 4.0)
        small_ioc.read("ao", 1.0)


def test_a_block_tells_it_too(small_ioc: SmallIoc) -> None:
    ao = small_ioc.records["ao"]
    small_ioc.read("ao", 1.0)
    small_ioc.read("ai", 1.0)

    async def joined() -> Block:
        return Block([small_ioc.records["ai"], ao])

    async def read(value: float) -> None:
        small_ioc.server.post_block(block, block.process(np.array([value, value]), ao.time + 1))

    async def left() -> None:
        block.dissolve()

    block = small_ioc.do(joined())
    try:
        with Raw(small_ioc) as raw:
            raw.say(subscribe(raw.create("ao.OVAL"), 1, VALUE))
            assert update(raw) == (1, 1.0)
            for value in (2.0, 3.0):
                small_ioc.do(read(value))
                assert update(raw) == (1, value)
    finally:
        small_ioc.do(left())
    until(lambda: not small_ioc.server.field_monitors.following)
