"""A stop while puts wait: each that waits is told so, and asyncio logs no error that nobody asked for."""

from __future__ import annotations

import asyncio
import gc

import pytest

from drivers.base import LinkDown
from tests.ioc.bench import Rig, running

Puts = list[asyncio.Future[object]]


async def under_way(rig: Rig) -> Puts:
    """Begin a put that the instrument takes its time for."""
    rig.driver.gate.clear()
    ends = put(rig, 1.0, callback=False)
    await rig.until(lambda: ("Set", 1.0) in rig.driver.log)
    return ends


def put(rig: Rig, value: float, callback: bool, name: str = "Set") -> Puts:
    return [asyncio.ensure_future(rig.instrument.put(rig.record(name), value, callback))]


@pytest.mark.parametrize("callbacks", [(True,), (False,), (True, False), (False, True, True)])
@pytest.mark.parametrize("times", [1, 15, 100])
def test_a_stop_tells_each_put_that_waits_before_it_is_over(
    caplog: pytest.LogCaptureFixture, times: int, callbacks: tuple[bool, ...]
) -> None:
    told: list[object] = []

    async def scenario() -> None:
        async with running() as rig:
            ends = await under_way(rig)
            for number in range(times):
                ends += put(rig, 2.0 + number % 90, callbacks[number % len(callbacks)])
            for end in ends:
                end.add_done_callback(told.append)
            closing = asyncio.create_task(rig.instrument.close())
            await asyncio.sleep(0)
            rig.driver.gate.set()
            await closing
            assert len(told) == len(ends) == times + 1
            assert {type(end.exception()) for end in ends[1:]} <= {LinkDown, type(None)}

    asyncio.run(scenario())
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("name", ["Set", "Safe", "Retry"])
@pytest.mark.parametrize("moment", ["before the stop", "in the stop", "after the stop"])
def test_no_error_of_a_put_that_nobody_waits_for_is_logged_at_a_stop(
    caplog: pytest.LogCaptureFixture, moment: str, name: str
) -> None:
    async def scenario() -> None:
        async with running() as rig:
            await under_way(rig)

            def ask() -> None:
                for number in range(100):
                    rig.instrument.put(rig.record(name), 1 - number % 2, callback=True)

            if moment == "before the stop":
                ask()
            closing = asyncio.create_task(rig.instrument.close())
            await asyncio.sleep(0)
            if moment == "in the stop":
                ask()
            rig.driver.gate.set()
            await closing
            if moment == "after the stop":
                ask()

    asyncio.run(scenario())
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
