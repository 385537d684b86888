"""A generator that does not hear some commands, and answers all others at once."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from drivers.base import DeviceError, Refused, Step
from tests.drivers.technix.far import Far
from tests.drivers.technix.rack import CONFIG, Rack, far_end, hurry, tell

OFFS = [("HV", 0, "P6,1"), ("Mode", 1, "P7,1"), ("Inhibit", 1, "P8,1")]


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    with far_end(tmp_path) as made:
        yield made


def drop(far: Far, lost: Callable[[str], bool]) -> None:
    """Let the commands not arrive for which ``lost`` is true."""
    handle = far._handle

    def hear(command: str) -> None:
        if lost(command):
            far.heard.append((time.monotonic(), command))
        else:
            handle(command)

    far._handle = hear  # type: ignore[method-assign]


def drop_first(far: Far, command: str, times: int) -> None:
    left = [times]

    def lost(heard: str) -> bool:
        left[0] -= heard == command
        return heard == command and left[0] >= 0

    drop(far, lost)


async def switch_on(rack: Rack) -> None:
    await rack.ready()
    assert await rack.put("HV", 1) is None
    await rack.until(lambda: rack.record("VMon").val > 39)


def starts(far: Far, command: str) -> list[float]:
    moments = [moment for moment, heard in far.heard if heard == command]
    return [after - before for before, after in pairwise(moments)]


@pytest.mark.quiet
@pytest.mark.parametrize(("name", "value", "command"), OFFS)
def test_what_makes_things_safe_is_repeated_every_second_and_measured_between(
    far: Far, caplog: pytest.LogCaptureFixture, name: str, value: int, command: str
) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        drop_first(far, command, 3)
        put = asyncio.create_task(rack.put(name, value))
        valid: list[bool] = []
        while not put.done():
            await asyncio.sleep(0.02)
            valid.append(rack.valid("HV_RBV", "VMon", "IMon"))
        assert put.result() is None  # who waits is told when it shows
        assert all(0.9 < gap < 1.4 for gap in starts(far, command)), starts(far, command)
        assert sum(valid) > 0.8 * len(valid)
        assert "silent" not in caplog.text

    tell(story, far)


def test_a_first_half_that_was_lost_before_is_no_sign_of_a_slow_generator(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        halves = iter([True, True, False, True, False, True] * 3)  # P6,1 and P6,0 in turn: never both
        drop(far, lambda command: command.startswith("P6") and next(halves, False))
        put = asyncio.create_task(rack.put("HV", 0))
        await rack.until(lambda: not far.on, 12)
        assert max(starts(far, "P6,1")) < 2.2
        await put

    tell(story, far)


def test_who_puts_what_does_not_show_hears_after_five_seconds_why(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        drop(far, lambda command: command == "P6,1")
        began = time.monotonic()
        error = await rack.put("HV", 0)
        assert time.monotonic() - began == pytest.approx(5, abs=0.3)
        assert "HV Off is pending, not shown by GEN within 5 s: HV Off was sent" in str(error)

    tell(story, far)


@pytest.mark.slow
@pytest.mark.quiet
@pytest.mark.parametrize(("part", "half", "most"), [(0.3, 2.5, 4.5), (0.5, 4.0, 8.0)])
def test_an_off_gets_through_where_many_commands_are_lost(far: Far, part: float, half: float, most: float) -> None:
    """Both halves of a try arrive with (1 - part) ** 2: of 0.5 lost half need three tries or more, of 1.3 s each."""
    took: list[float] = []
    chance = random.Random(1)
    losing = [False]
    drop(far, lambda _: losing[0] and chance.random() < part)

    async def story(rack: Rack) -> None:
        for _ in range(9):
            losing[0] = False
            await rack.until(lambda: rack.valid() and not rack.pending(), 20)
            assert await rack.put("Mode", 0) is None
            await switch_on(rack)
            losing[0] = True
            began = time.monotonic()
            put = asyncio.create_task(rack.put("HV", 0))
            await rack.until(lambda: not far.on, 20)
            took.append(time.monotonic() - began)
            losing[0] = False
            await put

    tell(story, far)
    assert median(took) < half, took
    assert sorted(took)[-3] < most, took


@pytest.mark.quiet
@pytest.mark.parametrize("times", [3, 99])
def test_an_off_for_an_output_above_its_limit_is_pending_and_measured_between(
    far: Far, caplog: pytest.LogCaptureFixture, times: int
) -> None:
    async def story(rack: Rack) -> None:
        await rack.regulate_current()
        await rack.until(lambda: rack.record("VMon").val > 49)
        drop_first(far, "P6,1", times)
        far.megohm = 8.0
        await rack.until(lambda: rack.record("HV:OffPending").val == 1)
        assert rack.record("HV:OffPending").sevr.name == "MAJOR"
        valid: list[bool] = []
        began = time.monotonic()
        while far.on and time.monotonic() < began + 5:
            await asyncio.sleep(0.02)
            valid.append(rack.valid("VMon", "IMon", "HV_RBV"))
            assert rack.record("HV:OffPending").val == 1 or not far.on
        assert sum(valid) > 0.8 * len(valid)
        assert all(gap < 1.4 for gap in starts(far, "P6,1"))
        assert "silent" not in caplog.text
        assert "VMon is 80, above the limit of 60 kV; HV Off follows by itself (over_limit: off)" in caplog.text
        if times == 3:
            await rack.until(lambda: not rack.pending())
            assert not far.on

    tell(story, far, replace(CONFIG, over_limit="off"))


def test_an_on_cut_short_by_local_mode_is_left_alone_there_and_ends_as_off_in_remote_mode(far: Far) -> None:
    carry_out = far._carry_out

    def panel(command: str) -> str | None:
        if command.startswith("P5") and far.local:
            return command
        answer = carry_out(command)
        if command == "P5,1":
            far.local = True
        return answer

    far._carry_out = panel  # type: ignore[method-assign]

    async def story(rack: Rack) -> None:
        await rack.ready()
        error = await rack.put("HV", 1)
        assert isinstance(error, Refused)
        assert "local mode" in str(error)
        await rack.until(lambda: not rack.pending())
        await rack.until(lambda: "put Mode Remote" in str(rack.record("Error").val))
        assert not far.inhibited
        before = len(far.heard)
        far.on = True  # by the front panel's button
        await asyncio.sleep(1.5)
        assert far.commands(before) == []
        far.on = False
        assert await rack.put("Mode", 0) is None
        await rack.until(lambda: far.held["P5"] is None and not far.inhibited)
        await rack.until(lambda: rack.record("OnCmd").val == 0)
        assert not far.on
        assert far.commands(before)[:3] == ["P7,0", "P6,1", "P6,0"]

    tell(story, far)


def test_an_on_that_was_given_up_for_an_off_has_not_failed(far: Far, caplog: pytest.LogCaptureFixture) -> None:
    async def story(rack: Rack) -> None:
        await rack.ready()
        put = asyncio.create_task(rack.put("HV", 1))
        await rack.until(lambda: "P5,1" in far.commands())
        assert await rack.put("HV", 0) is None
        assert "given up under way" in str(await put)
        assert "has failed" not in caplog.text
        assert not far.on

    tell(story, far)


@pytest.mark.parametrize("lag", [0.0, 0.3])
def test_an_inhibition_that_is_put_while_an_on_ends_as_off_stays(far: Far, lag: float) -> None:
    """The generator's status shows it ``lag`` seconds after its command."""
    carry_out = far._carry_out

    def inhibit() -> None:
        far.inhibited = True

    def late(command: str) -> str | None:
        if command != "P8,1" or far.inhibited:
            return carry_out(command)
        threading.Timer(lag, inhibit).start()
        return command

    far._carry_out = late  # type: ignore[method-assign]

    async def story(rack: Rack) -> None:
        await rack.ready()
        on = asyncio.create_task(rack.put("HV", 1))
        await rack.until(lambda: "P5,1" in far.commands())
        await asyncio.gather(on, rack.put("HV", 0), rack.put("Inhibit", 1))
        await rack.until(lambda: not rack.pending() and rack.record("OnCmd").val == 0)
        await asyncio.sleep(0.5)
        assert "P5,0" in far.commands()  # the release
        assert "P8,0" not in far.commands()
        assert (far.on, far.inhibited, rack.record("Inhibit_RBV").val) == (False, True, 1)

    tell(story, far)


@pytest.mark.slow
@pytest.mark.quiet
def test_an_off_that_was_lost_is_not_waited_for_when_a_later_command_is_answered(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await switch_on(rack)
        far.faults["late"] = 0.9
        await rack.until(lambda: not rack.valid(), 5)
        await asyncio.sleep(2.0)
        drop_first(far, "P6,1", 1)
        far.faults.clear()
        puts = [asyncio.create_task(rack.put("HV", 0))]
        await asyncio.sleep(0.3)
        puts.append(asyncio.create_task(rack.put("Inhibit", 1)))
        await rack.until(lambda: not far.on, 10)
        await asyncio.gather(*puts)
        assert starts(far, "P6,1")[0] < 2.5

    tell(story, far)


@pytest.mark.quiet
@pytest.mark.parametrize(("lost", "seconds"), [(1, 0.6), (2, 2.2), (3, 4.2)])
def test_a_line_whose_first_answers_were_lost_is_read_at_the_next_question_that_may_be_asked(
    far: Far, lost: int, seconds: float
) -> None:
    """That is another one at once, and then the next try to connect, a second later, and two."""
    far.faults["lost"] = lost

    async def story(rack: Rack) -> None:
        assert await rack.until(rack.valid, 12) < seconds + 0.5
        assert far.commands() == []

    tell(story, far)


@pytest.mark.quiet
def test_an_answer_lost_after_a_pause_for_the_watchdog_does_not_cost_another_pause(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)

    async def story(rack: Rack) -> None:
        await rack.until(rack.valid)
        far.faults["mute"] = True
        await rack.until(lambda: "not asked for" in str(rack.record("Error").val))
        far.faults.clear()
        far.faults["lost"] = 1
        pause = 1.2
        assert await rack.until(rack.valid) < pause + 0.8

    tell(story, far)


@pytest.mark.parametrize(
    ("first", "off"),
    [
        (("HV", 1), ("HV", 0)),
        (("HV", 1), ("Mode", 1)),
        (("Inhibit", 0), ("Inhibit", 1)),
        (("Mode", 0), ("HV", 0)),
    ],
)
def test_what_was_put_while_the_status_is_read_is_not_overtaken(
    far: Far, first: tuple[str, int], off: tuple[str, int]
) -> None:
    async def story(rack: Rack) -> None:
        await rack.ready()
        far.inhibited = first[0] == "Inhibit"
        await rack.until(lambda: bool(rack.record("Inhibit_RBV").val) is far.inhibited)
        loop, handle, look = asyncio.get_running_loop(), far._handle, rack.driver._look_before
        puts: list[asyncio.Task[DeviceError | None]] = []
        looking: list[str] = []

        def look_before(what: str) -> Iterator[Step]:
            looking.append(what)
            return look(what)

        def put_meanwhile(command: str) -> None:
            if command == "E" and looking:
                looking.clear()
                loop.call_soon_threadsafe(lambda: puts.append(asyncio.create_task(rack.put(*off))))
                time.sleep(0.1)
            handle(command)

        rack.driver._look_before = look_before  # type: ignore[method-assign]
        far._handle = put_meanwhile  # type: ignore[method-assign]
        began = len(far.heard)
        assert isinstance(await rack.put(*first), DeviceError)
        assert await puts[0] is None
        # HV off may follow the switch that was given up
        assert set(far.commands(began)) <= {"P6,1", "P6,0", "P7,1", "P8,1"}

    tell(story, far)


@pytest.mark.parametrize("deaf", [0.8, 2.5])
def test_an_on_that_its_release_has_switched_on_ends_as_off_also_under_an_inhibition_that_was_put(
    far: Far, deaf: float
) -> None:
    carry_out = far._carry_out
    hits: list[str] = []

    def panel(command: str) -> str | None:
        if command.startswith("P5") and far.local:
            return command
        if command == "P5,0" and far.held["P5"] is not None and far.inhibited:
            hits.append(command)
            far.held["P5"], far.on = None, True  # what the manual leaves open: the second half switches on
            far.faults["deaf"] = True
            threading.Timer(deaf, far.faults.clear).start()
            return command
        answer = carry_out(command)
        if command == "P5,1":
            far.local = True
        return answer

    far._carry_out = panel  # type: ignore[method-assign]

    async def story(rack: Rack) -> None:
        await rack.ready()
        assert isinstance(await rack.put("HV", 1), Refused)
        await rack.until(lambda: not rack.pending())
        assert await rack.put("Inhibit", 1) is None
        assert await rack.put("Mode", 0) is None
        await rack.until(lambda: bool(hits) and far.on)
        await rack.until(lambda: not far.faults, 5)
        await rack.until(lambda: not far.on, 6)
        assert far.inhibited
        assert "P8,0" not in far.commands()

    tell(story, far)


def test_an_on_that_was_given_up_ends_as_off_also_where_its_first_half_shows_late(far: Far) -> None:
    carry_out = far._carry_out

    def late(command: str) -> str | None:
        if command == "P5,1":
            threading.Timer(0.4, carry_out, [command]).start()
            return command
        return carry_out(command)

    far._carry_out = late  # type: ignore[method-assign]

    async def story(rack: Rack) -> None:
        await rack.ready()
        on = asyncio.create_task(rack.put("HV", 1))
        await rack.until(lambda: "P5,1" in far.commands())
        assert await rack.put("HV", 0) is None
        assert isinstance(await on, DeviceError)
        await rack.until(lambda: rack.record("OnCmd").val == 1)
        await rack.until(lambda: rack.record("OnCmd").val == 0)
        assert not far.on
        assert far.commands().count("P5,0") == 1

    tell(story, far)


def test_an_on_after_one_whose_release_is_not_over_stays_on_and_is_not_inhibited(far: Far) -> None:
    lost = {"P5,0": 1, "P8,0": 1}

    def is_lost(command: str) -> bool:
        lost[command] = lost.get(command, 0) - 1
        return lost[command] >= 0

    drop(far, is_lost)

    async def story(rack: Rack) -> None:
        await rack.ready()
        assert isinstance(await rack.put("HV", 1), DeviceError)
        assert "P8,0" in far.commands()  # the first, which is lost
        assert await rack.put("HV", 1) is None
        await asyncio.sleep(2.5)
        assert (far.on, far.inhibited) == (True, False)
        assert far.commands().count("P6,1") == far.commands().count("P6,0")

    tell(story, far)


@pytest.mark.parametrize("local", [False, True])
def test_an_inhibition_under_which_an_on_was_released_ends_also_where_its_end_was_lost(far: Far, local: bool) -> None:
    carry_out = far._carry_out
    lost = ["P5,0", "P8,0"]

    def hear(command: str) -> str | None:
        if command in lost:
            lost.remove(command)
            far.local = local and command == "P8,0"
            return command
        return carry_out(command)

    far._carry_out = hear  # type: ignore[method-assign]

    async def story(rack: Rack) -> None:
        await rack.ready()
        assert isinstance(await rack.put("HV", 1), DeviceError)
        assert "P8,0" in far.commands()  # the first, which is lost
        await rack.until(lambda: not far.inhibited)
        await asyncio.sleep(1.5)
        assert not far.on
        assert far.commands()[-1] == "P8,0"
        assert far.commands().count("P8,0") == 2

    tell(story, far)


def test_an_on_that_is_put_while_another_one_is_ended_waits_for_that_and_stays_on(far: Far) -> None:
    carry_out = far._carry_out

    def late(command: str) -> str | None:
        """The release of an HV off shows late."""
        if command == "P6,0":
            threading.Timer(0.2, carry_out, [command]).start()
            return command
        return carry_out(command)

    far._carry_out = late  # type: ignore[method-assign]

    async def story(rack: Rack) -> None:
        await rack.ready()
        began = len(far.heard)
        far.held["P5"] = time.monotonic()  # the first half of an own HV on
        rack.driver._status.note_on(begun=True)
        await rack.until(lambda: "P6,0" in far.commands(began))
        assert await rack.put("HV", 1) is None
        await asyncio.sleep(1.5)
        assert (far.on, far.inhibited) == (True, False)

    tell(story, far)


def test_an_inhibition_that_does_not_end_is_told(far: Far) -> None:
    carry_out = far._carry_out
    lost = ["P5,0"]

    def hear(command: str) -> str | None:
        if command == "P8,0" or command in lost:
            lost.clear()
            return command
        return carry_out(command)

    far._carry_out = hear  # type: ignore[method-assign]

    async def story(rack: Rack) -> None:
        await rack.ready()
        assert isinstance(await rack.put("HV", 1), DeviceError)
        await rack.until(lambda: str(rack.record("Error").val).endswith("does not end"))
        for _ in range(20):  # and goes on to be
            assert str(rack.record("Error").val).endswith("does not end")
            await asyncio.sleep(0.1)
        assert await rack.put("Inhibit", 1) is None  # somebody's own now
        ends = far.commands().count("P8,0")
        await asyncio.sleep(1.5)
        assert far.commands().count("P8,0") == ends

    tell(story, far)


def test_an_on_is_not_released_under_an_inhibition_that_was_ended_and_still_shows(far: Far) -> None:
    """The generator's status shows HV of 0.2 s ago, and inhibition of 0.4 s ago."""
    carry_out, seen = far._carry_out, [(0.0, 0)]
    released: list[bool] = []

    def late(command: str) -> str | None:
        answer = carry_out(command)
        now = time.monotonic()
        if command == "P5,0":
            released.append(far.inhibited)
        if command == "E":
            high_voltage, inhibition = ([byte for at, byte in seen if at <= now - lag][-1] for lag in (0.2, 0.4))
            answer = f"E{far.status & ~0x88 | high_voltage & 0x08 | inhibition & 0x80}"
        seen.append((now, far.status))
        return answer

    far._carry_out = late  # type: ignore[method-assign]

    async def story(rack: Rack) -> None:
        await rack.ready()
        assert await rack.put("HV", 1) is None
        assert await rack.put("Inhibit", 1) is None
        far.held["P5"] = time.monotonic()  # by a second program
        await rack.until(lambda: rack.record("OnCmd").val == 1)
        off = asyncio.create_task(rack.put("HV", 0))
        await rack.until(lambda: far.commands()[-1] == "P6,0")
        await asyncio.gather(off, rack.put("Inhibit", 0))
        await rack.until(lambda: not rack.pending() and far.held["P5"] is None)
        assert released[1:] == [True]
        assert not far.on

    tell(story, far)


def test_what_the_panel_has_switched_on_after_a_release_stays_on_in_remote_mode(far: Far) -> None:
    carry_out = far._carry_out

    def hear(command: str) -> str | None:
        if command.startswith("P5") and far.local:
            return command
        if command == "P5,0" and far.inhibited:
            far.local = True  # by the front panel, and nothing is heard for a time
            far.held["P5"] = None
            far.faults["deaf"] = True
            threading.Timer(1.5, far.faults.clear).start()
            return command
        answer = carry_out(command)
        far.local = far.local or command == "P5,1"
        return answer

    far._carry_out = hear  # type: ignore[method-assign]

    async def story(rack: Rack) -> None:
        await rack.ready()
        assert isinstance(await rack.put("HV", 1), Refused)
        assert await rack.put("Mode", 0) is None
        await rack.until(lambda: "deaf" in far.faults)
        await rack.until(lambda: not far.faults and not rack.pending() and not far.inhibited)
        await rack.until(lambda: rack.record("Mode_RBV").val == 1)
        before = len(far.heard)
        far.on = True
        await asyncio.sleep(1.2)
        far.local = False
        await asyncio.sleep(1.5)
        assert far.on
        assert far.commands(before) == []

    tell(story, far)
