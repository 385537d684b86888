"""A generator on a line that fails, served as the IOC does it: that Off gets there, and what its watchdog gets."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import serial
from _pytest.mark.structures import ParameterSet

from drivers.base import DeviceError, Step, Wait
from drivers.technix import Technix, line, loss
from drivers.technix.switching import PAUSE
from tests.drivers.technix.far import Far
from tests.drivers.technix.rack import CONFIG, Rack, far_end, hurry, tell


def slow(value: object) -> ParameterSet:
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    with far_end(tmp_path) as made:
        yield made


async def switch_on(rack: Rack) -> None:
    await rack.ready()
    assert await rack.put("HV", 1) is None
    await rack.until(lambda: rack.record("VMon").val > 39)


def told_off(far: Far, since: int) -> bool:
    return "P6,1" in far.commands(since)


# ---- Off is written at once ----


@pytest.mark.quiet
@pytest.mark.parametrize("fault", ["noise", "mute", "garbage"])
def test_an_off_is_written_at_once_to_a_generator_that_hears_and_is_not_understood(far: Far, fault: str) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        for wait in (0.05, 0.3, 0.7):
            far.on = True
            far.faults.update({fault: True, "late": 0.01})
            await asyncio.sleep(wait)
            before = len(far.heard)
            put = asyncio.create_task(rack.put("HV", 0))
            assert await rack.until(partial(told_off, far, before)) < 1.0
            assert await rack.until(lambda: not far.on) < 1.0
            assert rack.record("HV:OffPending").val == 1
            far.faults.clear()
            assert await put is None
            assert rack.record("HV:OffPending").val == 0
            await rack.until(rack.valid)

    tell(story, far)


@pytest.mark.parametrize(
    ("point", "value", "attribute"), [("HV", 0, "on"), ("Mode", 1, "local"), ("Inhibit", 1, "inhibited")]
)
def test_what_makes_things_safe_is_carried_out_when_a_line_comes_back_that_was_gone_for_a_moment(
    far: Far, point: str, value: int, attribute: str
) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        far.unplug()
        await asyncio.sleep(0.1)
        far.plug()
        await rack.until(lambda: rack.record("Conn").val == 0)
        await asyncio.sleep(0.3)
        assert await rack.put(point, value) is None
        assert getattr(far, attribute) == value
        assert far.strikes == 0

    tell(story, far)


def test_a_line_that_was_gone_for_a_moment_is_asked_again_before_the_watchdog_strikes(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        far.unplug()
        await asyncio.sleep(0.1)
        far.plug()
        await rack.until(lambda: not rack.valid())
        assert await rack.until(rack.valid) < 2.5
        assert far.on
        assert far.commands() == ["d2,819", "d1,1638", "P5,1", "P5,0"]

    tell(story, far)


@pytest.mark.parametrize("late", [0.6, slow(1.2)])
def test_an_on_whose_answers_come_late_ends_as_off_while_they_still_do(far: Far, late: float) -> None:
    async def story(rack: Rack) -> None:
        await rack.ready()
        far.at_command(2, lambda: far.faults.update(late=late))
        assert await rack.put("HV", 1) is not None
        far.on = True  # as if the first half had been enough
        await rack.until(lambda: not far.on, 20)

    tell(story, far)


@pytest.mark.slow
@pytest.mark.quiet
@pytest.mark.parametrize("late", [1.0, 2.0, 3.0])
def test_an_off_gets_to_a_generator_whose_answers_come_late_by_seconds(far: Far, late: float) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        far.faults["late"] = late
        put = asyncio.create_task(rack.put("HV", 0))
        await rack.until(lambda: not far.on, 45)
        far.faults.clear()
        await put
        await rack.until(rack.valid, 20)

    tell(story, far)


@pytest.mark.slow
@pytest.mark.quiet
@pytest.mark.parametrize("wait", [1.5, 2.5, 3.5, 4.5])
def test_another_off_does_not_wait_for_one_that_waits_for_late_answers(far: Far, wait: float) -> None:
    """While nothing answers each third HV off waits between its halves."""

    async def story(rack: Rack) -> None:
        await switch_on(rack)
        far.faults["mute"] = True
        first = asyncio.create_task(rack.put("HV", 0))
        await asyncio.sleep(wait)
        second = asyncio.create_task(rack.put("Inhibit", 1))
        assert await rack.until(lambda: "P8,1" in far.commands()) < 1.5  # a step in progress
        far.faults.clear()
        await asyncio.gather(first, second)

    tell(story, far)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_on_that_a_stop_ends_under_way_leaves_hv_off(far: Far, number: int) -> None:
    """At its first half, its second, and the question behind it."""

    async def story(rack: Rack) -> None:
        await rack.ready()
        coming = asyncio.Event()
        loop = asyncio.get_running_loop()

        def come() -> None:
            loop.call_soon_threadsafe(coming.set)

        far.at_command(number + 1, come)
        put = asyncio.create_task(rack.put("HV", 1))
        await coming.wait()
        await rack.instrument.close()
        if await put is not None:
            assert not far.on
            assert not far.inhibited  # for the release of a first half that was given up in its pause
            assert far.held == {"P5": None, "P6": None}
            assert [command for command in far.commands() if command != "P8,0"][-1] == "P6,0"

    tell(story, far)


@pytest.mark.slow
@pytest.mark.quiet
@pytest.mark.parametrize(("late", "wait"), [(0.3, 0.2), (1.0, 1.0), (1.0, 3.0), (2.0, 3.0)])
def test_a_stop_leaves_no_half_of_an_off_behind(far: Far, late: float, wait: float) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        far.faults["late"] = late
        asyncio.create_task(rack.put("HV", 0)).add_done_callback(lambda put: put.exception())
        await asyncio.sleep(wait)

    tell(story, far)
    deadline = time.monotonic() + 20
    while far.held["P6"] is not None or far.on:  # it has what is in its queue still to do, and its watchdog
        assert time.monotonic() < deadline, far.commands()
        time.sleep(0.05)
    assert far.commands()[-1] == "P6,0"


# ---- no step lasts longer than it may ----


def steps_of(driver: Technix, what: str) -> Iterator[Step]:
    points = {point.name: point for point in driver.points}
    name, _, value = what.partition(" ")
    return driver.write(points[name], float(value)) if value else driver.read("status")


def longest_step(driver: Technix, what: str) -> float:
    steps, longest = steps_of(driver, what), 0.0
    while True:
        began, step = time.monotonic(), None
        with suppress(DeviceError, StopIteration):
            step = next(steps)
        longest = max(longest, time.monotonic() - began)
        if step is None:
            return longest
        if isinstance(step, Wait):
            time.sleep(step.seconds)


@pytest.mark.quiet
@pytest.mark.parametrize(
    "fault", ["noise", "mute", *map(slow, ("deaf", "garbage", "late 0.45", "late 1.2", "split 0.2"))]
)
def test_no_step_lasts_as_long_as_what_counts_as_hanging(far: Far, fault: str) -> None:
    name, _, seconds = fault.partition(" ")
    driver = Technix(replace(CONFIG, port=str(far.link)))
    driver.connect()
    far.faults[name] = float(seconds or 1)
    longest = max(
        longest_step(driver, what)
        for what in ("read", "HV 0", "read", "VSet 10", "ISet 5", "HV 1", "Inhibit 1", "Inhibit 0", "Mode 1", "HV 0")
    )
    driver.close()
    assert longest < driver.longest_call
    assert driver.longest_call < 2.2


def test_the_longest_call_is_the_sum_of_what_the_line_may_take() -> None:
    once = line.DRAIN_TIME + line.WRITE_TIMEOUT + line.REPLY_TIMEOUT + 2 * line.QUIET
    assert Technix.longest_call == pytest.approx(2 * once + PAUSE)


# ---- the generator's watchdog, times a fifth of what they are ----


def gaps(far: Far, since: float) -> list[float]:
    """Return the seconds between the occasions at which something was sent."""
    moments = [moment for moment, _ in far.heard if moment >= since]
    return [after - before for before, after in pairwise(moments)]


@pytest.mark.quiet
@pytest.mark.parametrize("fault", ["mute", slow("noise"), slow("garbage")])
def test_a_generator_that_is_not_understood_is_not_asked_so_that_its_watchdog_switches_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    hurry(monkeypatch)

    async def story(rack: Rack) -> None:
        await switch_on(rack)
        rack.far.faults.update({fault: True, "late": 0.01})
        lost = time.monotonic()
        took = await rack.until(lambda: rack.far.strikes == 1)
        assert 2.0 + 1.0 - 0.5 < took < 2.0 + 1.2  # 10 s of asking, 5 s of the watchdog
        assert not rack.far.on
        assert "not asked for" in str(rack.record("Error").val)
        held = rack.far.heard[-1][0]
        await asyncio.sleep(4.5)
        apart = [gap for gap in gaps(rack.far, held) if gap > 0.5]
        assert len(apart) >= 2
        assert min(apart) >= 1.2
        assert max(gap for gap in gaps(rack.far, lost) if gap not in apart) < 1.0
        rack.far.faults.clear()
        await rack.until(rack.valid)
        assert rack.record("WD:Strikes").val == 1
        assert not rack.valid("VSet_RBV")
        assert rack.far.commands() == ["d2,819", "d1,1638", "P5,1", "P5,0"]

    with far_end(tmp_path, watchdog=1.0) as far:
        tell(story, far)


@pytest.mark.quiet
@pytest.mark.parametrize("fault", ["mute", slow("noise"), slow("garbage")])
def test_a_generator_that_is_to_be_kept_on_is_asked_often_enough_though_not_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    hurry(monkeypatch)

    async def story(rack: Rack) -> None:
        await switch_on(rack)
        lost = time.monotonic()
        rack.far.faults.update({fault: True, "late": 0.01})
        await asyncio.sleep(6.0)
        assert max(gaps(rack.far, lost)) < 0.8
        assert rack.far.on
        rack.far.faults.clear()
        await rack.until(rack.valid)
        assert (rack.far.strikes, rack.record("HV_RBV").val) == (0, 1)

    with far_end(tmp_path, watchdog=1.0) as far:
        tell(story, far, replace(CONFIG, on_loss="keep"))


@pytest.mark.quiet
@pytest.mark.parametrize("opening", [0.3, 0.7])
def test_a_generator_that_is_to_be_kept_on_is_asked_often_enough_however_long_its_line_takes_to_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: float
) -> None:
    hurry(monkeypatch)
    serial_for_url = serial.serial_for_url

    def slowly(*args: Any, **keys: Any) -> Any:
        time.sleep(opening)
        return serial_for_url(*args, **keys)

    monkeypatch.setattr(serial, "serial_for_url", slowly)

    async def story(rack: Rack) -> None:
        await switch_on(rack)
        lost = time.monotonic()
        rack.far.faults["mute"] = True
        await asyncio.sleep(6.0)
        assert max(gaps(rack.far, lost)) < 0.8
        assert rack.far.on
        rack.far.faults.clear()
        await rack.until(rack.valid)
        assert rack.far.strikes == 0

    with far_end(tmp_path, watchdog=1.0) as far:
        tell(story, far, replace(CONFIG, on_loss="keep"))


@pytest.mark.quiet
@pytest.mark.parametrize("late", [0.1, 1.0, 2.5])
def test_an_off_for_a_line_that_is_gone_is_tried_at_once_and_every_second(far: Far, late: float) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        far.unplug()
        await rack.until(lambda: rack.record("Conn").val == 0)
        await asyncio.sleep(late)
        tries: list[float] = []
        blind = rack.driver.write_blind

        def write_blind(*args: Any) -> Iterator[Step]:
            tries.append(time.monotonic())
            yield from blind(*args)

        rack.driver.write_blind = write_blind  # type: ignore[method-assign, assignment]
        began = time.monotonic()
        await rack.put("HV", 0)
        assert tries[0] - began < 0.2
        assert max(after - before for before, after in pairwise(tries)) < 1.3
        far.plug()
        await rack.until(lambda: not rack.pending())

    tell(story, far)


@pytest.mark.quiet
def test_an_off_goes_out_at_once_while_nothing_is_asked_and_is_repeated_more_slowly_than_the_watchdog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)

    async def story(rack: Rack) -> None:
        await switch_on(rack)
        rack.far.faults["deaf"] = True
        await rack.until(lambda: "not asked for" in str(rack.record("Error").val))
        before = len(rack.far.heard)
        await rack.put("HV", 0)
        await rack.until(lambda: "P6,1" in rack.far.commands(before))
        moments = [moment for moment, command in rack.far.heard[before:] if command == "P6,1"]
        assert moments[0] - rack.far.heard[before - 1][0] < 1.0
        await asyncio.sleep(4.0)
        moments = [moment for moment, command in rack.far.heard[before:] if command == "P6,1"]
        assert len(moments) >= 2
        assert min(after - former for former, after in pairwise(moments)) >= 1.2
        assert [gap for gap in gaps(rack.far, moments[0]) if gap > 1.0]
        rack.far.faults.clear()
        await rack.until(lambda: not rack.far.on)
        await rack.until(lambda: rack.valid() and not rack.pending())

    with far_end(tmp_path, watchdog=100.0) as far:
        tell(story, far)


def test_an_off_for_a_line_that_cannot_be_opened_while_nothing_is_asked_is_sent_when_it_can(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(loss, "HOLD", 60.0)  # nothing is to come by itself

    async def story(rack: Rack) -> None:
        await switch_on(rack)
        far.faults["mute"] = True
        await rack.until(lambda: "not asked for" in str(rack.record("Error").val))
        far.unplug()
        before = len(far.heard)
        await rack.put("HV", 0)  # which is tried meanwhile, and fails
        assert not far.commands(before)
        far.plug()
        await rack.until(lambda: far.commands(before) == ["P6,1", "P6,0"])
        assert not far.on
        await asyncio.sleep(0.5)
        assert far.commands(before) == ["P6,1", "P6,0"]  # once: else the generator's watchdog would be fed
        far.faults.clear()
        monkeypatch.setattr(loss, "HOLD", 0.0)
        await rack.until(lambda: rack.valid() and not rack.pending())

    tell(story, far)


# ---- what is told meanwhile ----


@pytest.mark.quiet
def test_a_storm_of_puts_does_not_hide_an_interlock_that_opens(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        storming = True

        async def storm() -> None:
            while storming:
                await rack.put("VSet", 30)

        clients = [asyncio.create_task(storm()) for _ in range(3)]
        for _ in range(3):
            await asyncio.sleep(0.2)
            far.open_interlock()
            assert await rack.until(lambda: rack.record("Interlock").val == 1) < 0.5
            assert rack.valid()
            far.interlock_open = far.fault = False
            await rack.until(lambda: rack.record("Interlock").val == 0)
        storming = False
        await asyncio.gather(*clients)

    far.faults["late"] = 0.01  # the time on the wire
    tell(story, far)


@pytest.mark.quiet
def test_no_put_makes_values_too_old(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await rack.ready()
        bad: list[str] = []

        async def watch() -> None:
            while True:
                bad.extend(name for name in ("VMon", "IMon", "HV_RBV", "Fault") if not rack.valid(name))
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        for name, value in (
            ("HV", 1),
            ("Inhibit", 1),
            ("HV", 0),
            ("Inhibit", 0),
            ("VSet", 20),
            ("HV", 1),
            ("HV", 0),
        ) * 3:
            assert await rack.put(name, value) is None
        watching.cancel()
        assert bad == []

    far.faults["late"] = 0.01
    tell(story, far)


# ---- the output above its limit ----


def test_an_output_above_its_limit_is_major_whatever_is_regulated(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await rack.until(rack.valid)
        for name, value in (("VSet", 40), ("ISet", 10), ("HV", 1)):
            assert await rack.put(name, value) is None
        await rack.until(lambda: rack.record("VMon").sevr.name == "MAJOR")
        assert (rack.record("VMon").stat.name, rack.record("IMon").sevr.name) == ("HIHI", "NO_ALARM")
        assert far.on
        assert await rack.put("VSet", 60) is None
        await rack.until(lambda: rack.record("VMon").sevr.name == "NO_ALARM")

    tell(story, far)


@pytest.mark.parametrize("lost", [0, 1, 2, 6])
def test_an_output_above_its_limit_is_switched_off_where_that_is_asked_for(far: Far, lost: int) -> None:
    async def story(rack: Rack) -> None:
        await rack.regulate_current()
        assert far.on
        await rack.until(lambda: rack.record("VMon").val > 49)
        before = len(far.heard)
        far.megohm = 8.0
        if lost:
            far.faults["deaf"] = True
            asyncio.get_running_loop().call_later(0.4 * lost, far.faults.clear)
        await rack.until(lambda: not far.on)
        assert set(far.commands(before)) == {"P6,1", "P6,0"}
        await rack.until(lambda: "VMon is 80" in str(rack.record("Error").val))
        assert "above the limit of 60 kV: HV off is put (over_limit: off)" in str(rack.record("Error").val)
        await rack.until(lambda: rack.record("VMon").sevr.name == "NO_ALARM")

    tell(story, far, replace(CONFIG, over_limit="off"))


@pytest.mark.parametrize("late", [0.6, 1.2])
def test_an_output_above_its_limit_is_switched_off_where_only_the_answers_to_that_are_late(
    far: Far, late: float
) -> None:
    async def story(rack: Rack) -> None:
        await rack.regulate_current()
        far.faults["late P6"] = late
        far.megohm = 8.0
        began = time.monotonic()
        await rack.until(lambda: not far.on)
        assert time.monotonic() - began < 6

    tell(story, far, replace(CONFIG, over_limit="off"))


@pytest.mark.quiet
def test_an_output_that_goes_down_slowly_from_above_its_limit_is_switched_off_once(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await rack.regulate_current()
        before = len(far.heard)
        far.fading, far.megohm = 4.0, 8.0
        await rack.until(lambda: not far.on)
        await rack.until(lambda: rack.record("HV_RBV").val == 0 and not rack.pending())
        assert rack.record("VMon").sevr.name == "MAJOR"
        assert await rack.until(lambda: rack.record("VMon").sevr.name == "NO_ALARM") > 0.6
        assert far.commands(before) == ["P6,1", "P6,0"]

    tell(story, far, replace(CONFIG, over_limit="off"))


@pytest.mark.quiet
@pytest.mark.parametrize("fault", ["garbage", "mute"])
@pytest.mark.parametrize("question", ["a1", "a2"])
def test_one_output_is_watched_while_the_other_cannot_be_read(far: Far, fault: str, question: str) -> None:
    async def story(rack: Rack) -> None:
        lost, read = ("VMon", "IMon") if question == "a1" else ("IMon", "VMon")
        await (switch_on(rack) if question == "a1" else rack.regulate_current())
        far.faults[f"{fault} {question}"] = True
        await rack.until(lambda: not rack.valid(lost) and rack.valid(read))
        await asyncio.sleep(1.0)
        for _ in range(20):
            assert rack.valid(read, "HV_RBV")
            assert not rack.valid(lost)
            await asyncio.sleep(0.05)
        before = len(far.heard)
        far.megohm = 1.0 if question == "a1" else 8.0  # 40 mA in place of 5, or 80 kV in place of 50
        await rack.until(lambda: not far.on, seconds=2.5)
        assert set(far.commands(before)) == {"P6,1", "P6,0"}

    tell(story, far, replace(CONFIG, over_limit="off"))


def test_an_off_that_waits_for_its_answer_is_given_up_without_a_traceback_when_the_line_goes(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        far.faults["late"] = 0.7  # so that it has patience with the first half
        await rack.until(lambda: rack.record("Error").val != "")
        await asyncio.sleep(1.0)
        before = len(far.heard)
        puts = [asyncio.create_task(rack.put("HV", 0))]
        await rack.until(partial(told_off, far, before))
        puts.append(asyncio.create_task(rack.put("Mode", 1)))
        await rack.until(lambda: rack.driver._line.switched.get("P7") == "P7,1")
        far.unplug()
        await rack.until(lambda: rack.record("Conn").val == 0)
        far.faults.clear()
        far.plug()
        await asyncio.gather(*puts)
        await rack.until(lambda: not far.on and far.local and not rack.pending())

    tell(story, far)
    gc.collect()
