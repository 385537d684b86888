"""Floods of puts to one point: the newest that nobody waits for wins, all others are carried out as ever."""

from __future__ import annotations

import asyncio

import pytest

from drivers.base import BadReply, DeviceError, Refused
from ioc.port import putqueue
from ioc.port.newest import AT_ONCE
from tests.ioc.bench import Rig, Run


def sent(rig: Rig, name: str = "Set") -> list[object]:
    """The values that reached the instrument."""
    return [entry[1] for entry in rig.driver.log if isinstance(entry, tuple) and entry[0] == name]


async def begin(rig: Rig, name: str, value: float, callback: bool) -> asyncio.Future[object]:
    """Put, and return when it is on its way or waits."""
    record = rig.record(name)
    task = asyncio.ensure_future(rig.instrument.put(record, value, callback))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def busy(rig: Rig, value: float = 1.0) -> asyncio.Future[object]:
    """A put that is under way, and stays so until the gate is opened."""
    rig.driver.gate.clear()
    task = await begin(rig, "Set", value, callback=False)
    await rig.until(lambda: value in sent(rig))
    return task


def test_of_a_flood_of_puts_the_first_and_the_newest_are_carried_out(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        puts = [await busy(rig), *[await begin(rig, "Set", float(value), callback=False) for value in range(2, 100)]]
        rig.driver.gate.set()
        await asyncio.gather(*puts)
        assert sent(rig) == [1.0, 99.0]
        assert rig.record("Set").val == 99.0

    run(scenario)


def test_puts_with_callback_are_all_carried_out_in_order(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        puts = [await busy(rig)]
        for value, callback in ((2.0, False), (3.0, False), (4.0, True), (5.0, True), (6.0, False), (7.0, False)):
            puts.append(await begin(rig, "Set", value, callback))
        rig.driver.gate.set()
        await asyncio.gather(*puts)
        assert sent(rig) == [1.0, 3.0, 4.0, 5.0, 7.0]

    run(scenario)


def test_puts_with_callback_beyond_those_in_the_port_wait_their_turn(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        puts = [await busy(rig), *[await begin(rig, "Set", float(value), callback=True) for value in range(2, 60)]]
        off = await begin(rig, "Safe", 0, callback=True)
        rig.driver.gate.set()
        await asyncio.gather(off, *puts)
        assert sent(rig) == [float(value) for value in range(1, 60)]

    run(scenario)


def test_a_put_that_comes_as_the_turn_of_another_comes_stays_behind_it(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        first, second = await busy(rig), await begin(rig, "Set", 2.0, callback=False)
        third: list[asyncio.Future[object]] = []
        first.add_done_callback(
            lambda _: third.append(asyncio.ensure_future(rig.instrument.put(rig.record("Set"), 3.0, False)))
        )
        rig.driver.gate.set()
        await asyncio.gather(first, second)
        await third[0]
        assert sent(rig) == [1.0, 2.0, 3.0]

    run(scenario)


def test_a_put_that_waits_is_cancelled_by_the_off_that_came_later(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.gate.clear()
        first = await begin(rig, "Safe", 1, callback=False)
        await rig.until(lambda: sent(rig, "Safe") == [1])
        waits = await begin(rig, "Safe", 1, callback=False)
        off = await begin(rig, "Safe", 0, callback=False)
        rig.driver.gate.set()
        results = await asyncio.gather(first, waits, off, return_exceptions=True)
        assert isinstance(results[1], Refused)
        assert sent(rig, "Safe")[0] == 1
        assert set(sent(rig, "Safe")[1:]) == {0}

    run(scenario)


@pytest.mark.parametrize("callback", [True, False])
def test_a_put_that_waits_is_not_sent_after_the_off_that_follows_a_failed_one(run: Run, callback: bool) -> None:
    """That Off comes from the port itself, while more puts than go to it at once wait before it."""

    async def scenario(rig: Rig) -> None:
        rig.driver.gate.clear()
        first = await begin(rig, "Safe", 1, callback)
        await rig.until(lambda: sent(rig, "Safe") == [1])
        waits = [await begin(rig, "Safe", 1, callback) for _ in range(AT_ONCE[callback])]
        rig.driver.write_error = BadReply("noise")
        rig.driver.gate.set()
        results = await asyncio.gather(first, *waits, return_exceptions=True)
        assert isinstance(results[-1], Refused)
        rig.driver.write_error = None
        await rig.until(lambda: 0 in sent(rig, "Safe"))
        assert sent(rig, "Safe").count(1) == 1

    run(scenario)


def test_every_off_is_carried_out_at_once(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        under_way = await busy(rig)
        waits = await begin(rig, "Set", 2.0, callback=False)
        off = await begin(rig, "Safe", 0, callback=False)
        rig.driver.gate.set()
        await asyncio.gather(under_way, waits, off)
        order = [entry for entry in rig.driver.log if isinstance(entry, tuple)]
        assert order.index(("Safe", 0)) < order.index(("Set", 2.0))

    run(scenario)


def test_of_thousands_of_puts_that_an_off_overtakes_few_are_told_in_one_turn(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        rig.driver.gate.clear()
        record = rig.record("Safe")
        told: list[asyncio.Future[object]] = []
        puts = [asyncio.ensure_future(rig.instrument.put(record, 1)) for _ in range(2_000)]
        for put in puts:
            put.add_done_callback(told.append)
        await rig.until(lambda: sent(rig, "Safe") == [1])
        off = [asyncio.ensure_future(rig.instrument.put(record, 0)) for _ in range(2)]
        most = 0
        while len(told) < len(puts) - 1:
            before = len(told)
            await asyncio.sleep(0)
            most = max(most, len(told) - before)
        assert most <= 4 * AT_ONCE[True]
        rig.driver.gate.set()
        ends = await asyncio.gather(*puts, return_exceptions=True)
        await asyncio.gather(*off)
        assert all(isinstance(end, Refused) for end in ends[1:])
        assert set(sent(rig, "Safe")[1:]) == {0}

    run(scenario)


def test_a_refused_put_takes_no_others_place(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        puts = [await busy(rig), await begin(rig, "Set", 2.0, callback=False)]
        with pytest.raises(Refused, match="500"):
            await begin(rig, "Set", 500.0, callback=False)
        rig.driver.gate.set()
        await asyncio.gather(*puts)
        assert sent(rig) == [1.0, 2.0]

    run(scenario)


def test_the_newest_is_carried_out_after_one_that_failed(run: Run) -> None:
    async def scenario(rig: Rig) -> None:
        under_way = await busy(rig)
        waits = await begin(rig, "Set", 2.0, callback=False)
        rig.driver.write_error = BadReply("noise")
        rig.driver.gate.set()
        for task in (under_way, waits):
            with pytest.raises(DeviceError, match="noise"):
                await task
        assert sent(rig) == [1.0, 2.0]

    run(scenario)


def test_a_put_that_waited_too_long_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(putqueue, "PUT_AGE", 0.05)

    async def scenario(rig: Rig) -> None:
        under_way = await busy(rig)
        waits = await begin(rig, "Set", 2.0, callback=False)
        await asyncio.sleep(0.1)
        rig.driver.gate.set()
        await under_way
        with pytest.raises(Refused, match="waited for more than"):
            await waits
        assert sent(rig) == [1.0]

    run(scenario)
