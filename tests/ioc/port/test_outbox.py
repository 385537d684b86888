"""What a port's thread tells the event loop: at once, in order, and each for itself."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from drivers.base import Point, Step, Value
from ioc.port import outbox
from ioc.port.ended import Ended, fail, succeed
from tests.ioc.bench import Bench, Rig, Run


def test_what_was_found_out_in_one_go_wakes_the_loop_once_in_order_and_one_failure_costs_no_other() -> None:
    heard: list[Any] = []
    failures: list[Any] = []

    def fail() -> None:
        raise ValueError("planted")

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        box = outbox.Outbox(loop)

        def tell() -> None:
            for call in (partial(heard.append, 1), fail, partial(heard.append, 2)):
                box.add(call)
            box.send()

        await asyncio.to_thread(tell)
        while len(heard) < 2:
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert heard == [1, 2]
    assert [str(each) for each in failures] == ["planted"]


@pytest.mark.parametrize("at_once", [1, 20, 40])
def test_calls_that_take_long_are_made_in_turns_of_the_loop_in_order(at_once: int) -> None:
    """Sent in one go or in many."""
    heard: list[int] = []
    between: list[int] = []

    def slow(number: int) -> None:
        time.sleep(0.6 * outbox.SECONDS)
        heard.append(number)

    async def scenario() -> None:
        box = outbox.Outbox(asyncio.get_running_loop())

        def tell() -> None:
            for begin in range(0, 40, at_once):
                for number in range(begin, begin + at_once):
                    box.add(slow, number)
                box.send()

        telling = asyncio.create_task(asyncio.to_thread(tell))
        while len(heard) < 40:
            between.append(len(heard))
            await asyncio.sleep(0)
        await telling
        await box.made()

    asyncio.run(scenario())
    assert heard == [*range(40)]
    assert max(after - before for before, after in zip(between, [*between[1:], 40], strict=True)) <= 2


def test_the_end_of_a_put_is_heard_once_at_once_or_later() -> None:
    heard: list[object] = []

    async def scenario() -> None:
        ended = [Ended() for _ in range(3)]
        for number, end in enumerate(ended):
            for which in "ab":
                end.tells(partial(lambda number, which, _: heard.append((number, which)), number, which))
        succeed(ended[0])
        ended[0].tell()
        assert heard == [(0, "a"), (0, "b")]
        fail(ended[1], ValueError("planted"))
        ended[2].cancel()
        await asyncio.sleep(0)
        ended[0].tells(lambda _: heard.append("late"))
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert heard == [*((number, which) for number in range(3) for which in "ab"), "late"]


def test_who_fails_in_hearing_an_end_costs_no_other() -> None:
    heard: list[object] = []
    failures: list[object] = []

    def breaks(_: object) -> None:
        raise ValueError("planted")

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
        end = Ended()
        end.tells(breaks)
        end.tells(heard.append)
        succeed(end)
        end.tell()

    asyncio.run(scenario())
    assert len(heard) == len(failures) == 1


class Slow(Bench):
    """An instrument that says something in the course of a put, and then goes on when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = threading.Event()

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        yield {"Mon": 7.0}
        self.goes_on.wait(10.0)


def test_a_reading_is_published_before_the_driver_is_called_again(run: Run) -> None:
    """A call that takes long, or hangs, must not keep back what was read before it."""
    driver = Slow()

    async def scenario(rig: Rig) -> None:
        put = asyncio.ensure_future(rig.instrument.put(rig.record("Set"), 1.0))
        await rig.until(lambda: rig.record("Mon").val == 7.0)
        assert not put.done()
        driver.goes_on.set()
        await put

    run(scenario, driver)
