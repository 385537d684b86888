"""A setting shows that a put was refused until one that was asked for later is carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import permutations, product

import pytest

from drivers.base import LinkDown, NoReply, Point, Reading, RecordType, Refused, Severity, Status, Step, Value
from ioc.port.ended import fail
from ioc.record import ALARM, Record
from tests.ioc.bench import Bench, Rig, Run
from tests.ioc.ca.live import Soft

REFUSED = ("WRITE", "MINOR")
WELL = ("NO_ALARM", "NO_ALARM")


def alarm(record: Record) -> tuple[str, str]:
    return record.stat.name, record.sevr.name


def begin(rig: Rig, name: str, value: float, callback: bool = True) -> asyncio.Future[object]:
    """Put; a put that is refused at once has ended."""
    try:
        return asyncio.ensure_future(rig.instrument.put(rig.record(name), value, callback))
    except Refused as error:
        ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        fail(ended, error)
        return ended


async def ended(*puts: asyncio.Future[object]) -> list[object]:
    return await asyncio.gather(*puts, return_exceptions=True)


@pytest.mark.parametrize("order", [*permutations(range(3))])
@pytest.mark.parametrize("good", [*product((True, False), repeat=3)])
def test_the_put_that_was_asked_for_last_is_told_in_whatever_order_they_end(
    good: tuple[bool, ...], order: tuple[int, ...]
) -> None:
    record = Record("R", Point(name="Set", rtyp=RecordType.ao))
    record.process(Reading(1.0), 1.0)
    for number in order:
        if good[number]:
            record.take(float(number), 2.0 + number)
        else:
            record.refuse(float(number), f"put {number}", 2.0 + number)
    assert alarm(record) == (WELL if good[-1] else REFUSED)
    assert record.amsg == ("" if good[-1] else "put 2")


def test_a_refusal_is_a_change_of_the_alarm_once(run: Run) -> None:
    record = Record("R", Point(name="Set", rtyp=RecordType.ao, high=5.0, hsv=Severity.MINOR))
    record.process(Reading(1.0), 1.0)
    assert record.refuse(1.0, "no", 2.0) & ALARM
    assert not record.refuse(2.0, "no", 3.0) & ALARM
    assert not record.process(Reading(2.0), 4.0) & ALARM
    assert alarm(record) == REFUSED
    record.process(Reading(6.0), 5.0)
    assert alarm(record) == ("HIGH", "MINOR")  # the value's own alarm goes before
    record.process(Reading(None, Severity.INVALID, Status.COMM), 6.0)
    assert alarm(record) == ("COMM", "INVALID")
    record.process(Reading(1.0), 7.0)
    assert alarm(record) == REFUSED
    assert record.take(3.0, 8.0) & ALARM
    assert alarm(record) == WELL


def test_the_reason_is_told_where_the_value_has_an_alarm_without_words() -> None:
    record = Record("R", Point(name="Set", rtyp=RecordType.ao, high=5.0, hsv=Severity.MINOR))
    assert record.refuse(1.0, "70 kV is above", 2.0) & ALARM  # nobody has put it yet
    assert (*alarm(record), record.amsg) == ("UDF", "INVALID", "70 kV is above")
    record.process(Reading(6.0), 3.0)
    assert (*alarm(record), record.amsg) == ("HIGH", "MINOR", "70 kV is above")
    record.process(Reading(None, Severity.INVALID, Status.COMM, message="no cable"), 4.0)
    assert (*alarm(record), record.amsg) == ("COMM", "INVALID", "no cable")
    record.take(6.0, 5.0)
    record.process(Reading(6.0), 6.0)
    assert (*alarm(record), record.amsg) == ("HIGH", "MINOR", "")


@pytest.mark.parametrize("name", ["Set", "Own"])
@pytest.mark.parametrize("callback", [True, False])
@pytest.mark.parametrize("earlier", [1, 2, 3, 30])
def test_the_end_of_an_earlier_put_leaves_a_refusal_standing(
    run: Run, earlier: int, callback: bool, name: str
) -> None:
    """Under way in the port, or waiting before it."""

    async def scenario(rig: Rig) -> None:
        await begin(rig, name, 1.0)
        rig.driver.gate.clear()
        puts = [begin(rig, name, 2.0 + number, callback) for number in range(earlier)]
        await rig.until(lambda: (name, 2.0) in rig.driver.log)
        refused = begin(rig, name, 1e9)
        assert alarm(rig.record(name)) == REFUSED
        rig.driver.gate.set()
        await ended(refused, *puts)
        assert rig.record(name).val == 1.0 + earlier
        assert alarm(rig.record(name)) == REFUSED
        assert "1e+09" in rig.record(name).amsg
        await begin(rig, name, 50.0)
        assert alarm(rig.record(name)) == WELL

    run(scenario, Soft())


class Picky(Soft):
    """An instrument that refuses 2."""

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        self.gate.wait(5.0)
        if value == 2.0:
            raise Refused("not 2")
        yield from super().write(point, value)


@pytest.mark.parametrize("name", ["Set", "Own"])
@pytest.mark.parametrize("callback", [True, False])
@pytest.mark.parametrize("values", [(2.0, 3.0), (3.0, 2.0), (2.0, 3.0, 2.0), (3.0, 2.0, 3.0), (2.0, 2.0, 4.0)])
def test_of_puts_under_way_together_the_last_one_is_told(
    run: Run, values: tuple[float, ...], callback: bool, name: str
) -> None:
    async def scenario(rig: Rig) -> None:
        await begin(rig, name, 1.0)
        rig.driver.gate.clear()
        puts = [begin(rig, name, value, callback) for value in values]
        rig.driver.gate.set()
        await ended(*puts)
        assert alarm(rig.record(name)) == (REFUSED if values[-1] == 2.0 else WELL)

    run(scenario, Picky())


def test_an_off_that_overtakes_an_on_ends_well_though_the_on_is_refused_after_it(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.gate.clear()
        on = begin(rig, "Safe", 1)
        await rig.until(lambda: ("Safe", 1) in rig.driver.log)
        waits, off = begin(rig, "Safe", 1), begin(rig, "Safe", 0)
        rig.driver.gate.set()
        results = await ended(on, waits, off)
        assert isinstance(results[1], Refused)
        assert results[2] is None
        assert alarm(rig.record("Safe")) == WELL

    run(scenario)


@pytest.mark.parametrize("error", [LinkDown("the cable is out"), NoReply("silent")])
def test_a_refusal_is_shown_again_after_an_alarm_that_went_before_it(run: Run, error: Exception) -> None:
    driver = Bench()

    async def scenario(rig: Rig) -> None:
        record = rig.record("Set")
        await ended(begin(rig, "Set", 1e9))
        assert alarm(record) == REFUSED
        driver.read_error["slow"] = error  # type: ignore[assignment]
        await rig.until(lambda: rig.record("Set_RBV").sevr is Severity.INVALID)
        driver.read_error.clear()
        driver.values["Set_RBV"] = 20.0  # somebody sets it at the front panel
        await rig.until(lambda: record.val == 20.0)
        assert alarm(record) == REFUSED
        await begin(rig, "Set", 30.0)
        assert alarm(record) == WELL

    run(scenario, driver)
