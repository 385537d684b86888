"""Many subscriptions of one client to one value: each gets what is new to it, once, and no change waits for them."""

from __future__ import annotations

import struct
import time

import pytest

from drivers.base import Severity, Status
from ioc.ca import dbr, turns
from ioc.ca.filters import FilteredView
from ioc.ca.message import EVENT_ADD, EVENT_CANCEL, EVENTS_OFF, EVENTS_ON, READ_NOTIFY
from ioc.ca.updates.crowd import FEW
from ioc.record import ALARM, LOG, PROPERTY, VALUE
from tests.ioc.ca.test_fuzz import frame
from tests.small_ioc import Raw, SmallIoc, until

MANY = 10 * FEW
DBND = '.VAL{"dbnd":{"abs":5}}'


def subscribe(sid: int, number: int, mask: int = VALUE | ALARM, dtype: int = dbr.DOUBLE) -> bytes:
    return frame(EVENT_ADD, struct.pack(">12xHH", mask, 0), dtype, 1, sid, number)


def updates(raw: Raw, sid: int) -> dict[int, list[float]]:
    """What each subscription got until now: whatever was sent before the answer to a get."""
    found: dict[int, list[float]] = {}
    time.sleep(0.05)
    raw.say(frame(READ_NOTIFY, b"", dbr.DOUBLE, 1, sid, 1 << 20))
    while True:
        command, body, dtype, *_, number = raw.message()
        if command == READ_NOTIFY:
            return found
        value = raw.number(body) if dtype == dbr.DOUBLE else float(struct.unpack_from(">H", body)[0])
        found.setdefault(number, []).append(value)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn has room for an update or two of a client."""
    monkeypatch.setattr(turns, "SECONDS", 5e-6)


@pytest.mark.parametrize("name", ["ai", "ai.VAL", "ai" + DBND, "mbbi"])
def test_each_of_many_gets_each_change_once(small_ioc: SmallIoc, name: str) -> None:
    record = name.partition(".")[0]
    small_ioc.read(record, 0)
    with Raw(small_ioc) as raw:
        sid, end = raw.create(name, 1), raw.create("long", 2)
        raw.say(b"".join(subscribe(sid, number) for number in range(MANY)))
        assert updates(raw, end) == {number: [0.0] for number in range(MANY)}
        for value in (2, 1) if record == "mbbi" else (7, 20):
            small_ioc.read(record, value)
            assert updates(raw, end) == {number: [value] for number in range(MANY)}
        small_ioc.read(record, 0)


@pytest.mark.parametrize("name", ["ai", "ai" + DBND])
def test_each_of_many_gets_the_newest_when_turns_have_no_room(small_ioc: SmallIoc, slow: None, name: str) -> None:
    small_ioc.read("ai", 0.0)
    with Raw(small_ioc) as raw:
        sid, end = raw.create(name, 1), raw.create("long", 2)
        raw.say(b"".join(subscribe(sid, number) for number in range(MANY)))
        for number in range(MANY):
            raw.answer(EVENT_ADD, number)
        for value in (10.0, 20.0, 30.0, 40.0):
            small_ioc.read("ai", value)
        last: dict[int, list[float]] = {}
        until(lambda: last.update(updates(raw, end)) is None and len(last) == MANY)
        assert all(got[-1] == 40.0 and got == sorted(set(got)) for got in last.values())
        small_ioc.read("ai", 0.0)


def test_a_change_before_the_first_value_is_sent_once(small_ioc: SmallIoc, slow: None) -> None:
    small_ioc.read("ai", 0.0)
    with Raw(small_ioc) as raw:
        sid, end = raw.create("ai", 1), raw.create("long", 2)

        async def ask() -> None:
            raw.say(b"".join(subscribe(sid, number) for number in range(MANY)))

        small_ioc.do(ask())
        small_ioc.read("ai", 3.0)
        found = updates(raw, end)
        until(lambda: found.update(updates(raw, end)) is None and len(found) == MANY)
        assert all(got in ([3.0], [0.0, 3.0], [0.0]) for got in found.values())
        small_ioc.read("ai", 0.0)


@pytest.mark.parametrize("name", ["long", "long.VAL", "long" + DBND])
def test_each_of_many_gets_what_its_mask_asks_for(small_ioc: SmallIoc, name: str) -> None:
    small_ioc.read("long", 0)
    masks = [VALUE, LOG, ALARM, PROPERTY, VALUE | LOG, VALUE | ALARM]
    with Raw(small_ioc) as raw:
        sid, end = raw.create(name, 1), raw.create("ai", 2)
        raw.say(b"".join(subscribe(sid, number, masks[number % len(masks)]) for number in range(MANY)))
        updates(raw, end)
        small_ioc.read("long", 10)
        assert {number % len(masks) for number in updates(raw, end)} == {0, 1, 4, 5}
        small_ioc.read("long", None, Severity.INVALID, Status.COMM)
        assert {number % len(masks) for number in updates(raw, end)} == {2, 5}
        small_ioc.read("long", 0)
        assert {number: len(got) for number, got in updates(raw, end).items()} == {
            number: 1 for number in range(MANY) if number % len(masks) != 3
        }


@pytest.mark.parametrize(("field", "alarm_only"), [("SEVR", False), ("STAT", True)])
def test_each_of_many_to_a_field_gets_what_its_mask_asks_for(
    small_ioc: SmallIoc, field: str, alarm_only: bool
) -> None:
    """As few ones: base posts SEVR to VALUE, STAT to VALUE and ALARM."""
    small_ioc.read("long", 0)
    with Raw(small_ioc) as raw:
        sid, end = raw.create(f"long.{field}", 1), raw.create("ai", 2)
        masks = [VALUE, ALARM]
        raw.say(
            b"".join(subscribe(sid, number, masks[number % 2], dbr.ENUM) for number in range(MANY))
            + b"".join(subscribe(end, 10_000 + number, VALUE) for number in range(MANY))
        )
        updates(raw, end)
        small_ioc.read("long", None, Severity.INVALID, Status.COMM)
        assert {number % 2 for number in updates(raw, end)} == ({0, 1} if alarm_only else {0})
        small_ioc.read("long", 0)


def test_of_many_with_a_filter_each_judges_by_what_it_was_sent_itself(small_ioc: SmallIoc) -> None:
    small_ioc.read("ai", 0.0)
    with Raw(small_ioc) as raw:
        sid, end = raw.create("ai" + DBND, 1), raw.create("long", 2)
        raw.say(b"".join(subscribe(sid, number) for number in range(MANY)))
        updates(raw, end)
        small_ioc.read("ai", 4.0)
        assert updates(raw, end) == {}
        raw.say(b"".join(subscribe(sid, number) for number in range(MANY, 2 * MANY)))
        assert updates(raw, end) == {number: [4.0] for number in range(MANY, 2 * MANY)}
        small_ioc.read("ai", 8.0)
        assert updates(raw, end) == {number: [8.0] for number in range(MANY)}
        small_ioc.read("ai", 0.0)


@pytest.mark.parametrize("order", ["first to last", "last to first", "every third"])
def test_of_many_any_may_end_while_the_others_have_still_to_be_told(
    small_ioc: SmallIoc, slow: None, order: str
) -> None:
    numbers = {"first to last": range(MANY), "last to first": range(MANY)[::-1], "every third": range(0, MANY, 3)}
    small_ioc.read("ai", 0.0)
    with Raw(small_ioc) as raw:
        sid, end = raw.create("ai", 1), raw.create("long", 2)
        raw.say(b"".join(subscribe(sid, number) for number in range(MANY)))
        for number in range(MANY):
            raw.answer(EVENT_ADD, number)
        ended = list(numbers[order])[: 2 * MANY // 3]

        async def end_and_change() -> None:
            raw.say(b"".join(frame(EVENT_CANCEL, b"", dbr.DOUBLE, 1, sid, number) for number in ended))

        small_ioc.read("ai", 5.0)
        small_ioc.do(end_and_change())
        small_ioc.read("ai", 9.0)
        last: dict[int, float] = {}
        left = set(range(MANY)) - set(ended)
        while {number for number, value in last.items() if value == 9.0} < left:
            command, body, *_, number = raw.message()
            if command == EVENT_ADD and body:
                last[number] = raw.number(body)
        time.sleep(0.05)
        raw.say(b"".join(frame(EVENT_CANCEL, b"", dbr.DOUBLE, 1, sid, number) for number in left))
        raw.say(frame(READ_NOTIFY, b"", dbr.DOUBLE, 1, end, 1 << 20))
        raw.answer(READ_NOTIFY, 1 << 20)
    assert not small_ioc.records["ai"].monitors
    small_ioc.read("ai", 0.0)


@pytest.mark.parametrize("number", range(FEW + 1, FEW + 4))
def test_of_many_each_is_told_also_when_another_one_comes_before_its_turn(small_ioc: SmallIoc, number: int) -> None:
    small_ioc.read("ai", 0.0)
    with Raw(small_ioc) as raw:
        sid, end = raw.create("ai", 1), raw.create("long", 2)
        raw.say(b"".join(subscribe(sid, each) for each in range(number)))
        updates(raw, end)
        raw.say(frame(EVENTS_OFF))
        updates(raw, end)
        small_ioc.read("ai", 3.0)
        raw.say(subscribe(sid, number) + frame(EVENTS_ON))
        assert updates(raw, end) == {each: [3.0] for each in range(number + 1)}
    small_ioc.read("ai", 0.0)


@pytest.mark.parametrize("name", ["ai" + DBND, "long" + DBND, "ai.SEVR{dec:{n:2}}"])
def test_a_change_looks_at_few_subscriptions_of_a_client_with_many(
    small_ioc: SmallIoc, slow: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    record = name.partition(".")[0]
    small_ioc.read(record, 0)
    with Raw(small_ioc) as raw:
        sid = raw.create(name, 1)
        dtype = dbr.ENUM if "SEVR" in name else dbr.DOUBLE
        raw.say(b"".join(subscribe(sid, number, dtype=dtype) for number in range(1000)))
        for number in range(1000):
            raw.answer(EVENT_ADD, number)
        looks: list[int] = []
        passes = FilteredView.passes

        def noted(view: FilteredView, memory: dict[str, object], mask: int) -> bool:
            looks.append(mask)
            return passes(view, memory, mask)

        monkeypatch.setattr(FilteredView, "passes", noted)

        async def change() -> int:
            small_ioc.post(record, 1.0, Severity.MAJOR, Status.READ)
            return len(looks)

        assert FEW <= small_ioc.do(change()) <= 5 * FEW
        until(lambda: len(looks) == 1000)
        monkeypatch.undo()
        small_ioc.read(record, 0)
