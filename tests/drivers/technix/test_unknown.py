"""When the setpoints of a generator are not known: what its front panel or a loss of power may have made of them."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.base import DeviceError, Refused
from drivers.technix import line
from drivers.technix.watchdog import Watchdog
from tests.drivers.technix.far import Far
from tests.drivers.technix.rack import Rack, far_end, tell


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    with far_end(tmp_path) as made:
        yield made


def press_local(far: Far) -> None:
    far.on, far.local = False, True


def cycle_power(far: Far) -> None:
    far.on = far.inhibited = False
    far.set.update(d1=0, d2=0)


def cycle_power_into_local(far: Far) -> None:
    press_local(far)
    cycle_power(far)


async def check_unknown(rack: Rack) -> None:
    assert not rack.valid("VSet_RBV")
    assert not rack.valid("ISet_RBV")
    error = await rack.put("HV", 1)
    assert isinstance(error, Refused)
    assert "VSet is unknown since" in str(error)
    assert not rack.far.on
    assert "P5,1" not in rack.far.commands()[-1:]


@pytest.mark.parametrize(("name", "value", "command"), [("VSet", 30, "d1,1228"), ("HV", 1, "P5,1")])
def test_what_local_mode_refuses_is_refused_before_the_status_shows_that_it_was_put(
    far: Far, name: str, value: int, command: str
) -> None:
    """The generator's status shows the mode late."""
    carry_out, shows = far._carry_out, threading.Event()

    def late(command: str) -> str | None:
        return f"E{far.status & ~0x40}" if command == "E" and not shows.is_set() else carry_out(command)

    far._carry_out = late  # type: ignore[method-assign]

    async def story(rack: Rack) -> None:
        await rack.ready()
        local = asyncio.create_task(rack.put("Mode", 1))
        await rack.until(lambda: far.local)
        error = await rack.put(name, value)
        assert rack.record("Mode_RBV").val == 0
        assert isinstance(error, Refused)
        assert "Mode Remote first" in str(error)
        shows.set()
        assert await local is None
        assert command not in far.commands()
        assert await rack.put("Mode", 0) is None
        assert await rack.put("VSet", 30) is None
        assert "d1,1228" in far.commands()

    tell(story, far)


@pytest.mark.parametrize("by_panel", [True, False])
def test_a_setpoint_is_not_set_in_local_mode_and_unknown_after_it(far: Far, by_panel: bool) -> None:
    async def story(rack: Rack) -> None:
        await rack.ready()
        if by_panel:
            press_local(far)
        else:
            assert await rack.put("Mode", 1) is None
        await rack.until(lambda: rack.record("Mode_RBV").val == 1)
        before = len(far.heard)
        for name, value in (("ISet", 10), ("VSet", 40)):
            error = await rack.put(name, value)
            assert isinstance(error, Refused)
            assert "in local mode the front panel sets it (put Mode Remote first)" in str(error)
            assert not rack.valid(f"{name}_RBV")
        assert far.commands(before) == []
        far.set["d1"] = 4000  # 97.7 kV, at a limit of 60
        assert await rack.put("Mode", 0) is None
        await check_unknown(rack)
        await rack.ready()
        assert await rack.put("HV", 1) is None

    tell(story, far)


@pytest.mark.parametrize("command", ["d1,4000", "d2,4000"])
def test_a_setpoint_is_unknown_when_the_echo_of_a_second_program_is_heard(far: Far, command: str) -> None:
    name = {"d1": "VSet", "d2": "ISet"}[command[:2]]

    async def story(rack: Rack) -> None:
        await rack.ready()
        far.carry_out_for_another(command)
        await rack.until(lambda: not rack.valid(f"{name}_RBV"))
        error = await rack.put("HV", 1)
        assert isinstance(error, Refused)
        assert f"{name} is unknown since a second program on the line set it" in str(error)
        assert "P5,1" not in far.commands()
        await rack.ready()
        assert await rack.put("HV", 1) is None

    tell(story, far)


def follow(far: Far, reply_to: str, command: str) -> list[float]:
    """Have a second program send a command behind each reply to another; return the outputs (kV) after each reply."""
    answer, outputs = far._answer, [0.0]

    def answer_both(text: str) -> None:
        # in one, for the driver may be faster than the second write
        answer(f"{text}\r{far._carry_out(command)}" if text.startswith(reply_to) else text)
        outputs.append(far.output()[0])

    far._answer = answer_both  # type: ignore[method-assign]
    return outputs


@pytest.mark.parametrize("command", ["d1,4000", "d2,4000"])
@pytest.mark.parametrize("reply_to", ["E", "P5,1"])
def test_hv_does_not_come_on_when_a_second_program_sets_a_setpoint_just_before(
    far: Far, reply_to: str, command: str
) -> None:
    name = {"d1": "VSet", "d2": "ISet"}[command[:2]]

    async def story(rack: Rack) -> None:
        await rack.ready()
        outputs = follow(far, reply_to, command)
        error = await rack.put("HV", 1)
        assert isinstance(error, Refused)
        assert f"{name} is unknown since a second program on the line set it" in str(error)
        assert max(outputs) == 0
        assert ("P5,1" in far.commands()) == (reply_to == "P5,1")
        await rack.until(lambda: rack.record("HV_RBV").val == 0)
        assert not far.on

    tell(story, far)


def test_inhibition_is_not_ended_with_hv_on_when_a_second_program_sets_a_setpoint_just_before(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await rack.ready()
        for name in ("Inhibit", "HV"):
            assert await rack.put(name, 1) is None
        outputs = follow(far, "E", "d1,4000")
        error = await rack.put("Inhibit", 0)
        assert isinstance(error, Refused)
        assert "VSet is unknown since a second program on the line set it" in str(error)
        assert max(outputs) == 0

    tell(story, far)


def test_a_setpoint_stays_known_when_its_own_echo_comes_twice(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await rack.ready()
        far.carry_out_for_another(far.commands()[-1])
        await asyncio.sleep(1.0)
        assert rack.valid("VSet_RBV", "ISet_RBV")
        assert await rack.put("HV", 1) is None

    tell(story, far)


def test_local_mode_between_the_look_and_the_put_leaves_the_setpoint_unknown(far: Far) -> None:
    async def story(rack: Rack) -> None:
        await rack.ready()
        carry_out = far._carry_out

        def panel(command: str) -> str | None:
            if command.startswith("d1"):
                press_local(far)
            return carry_out(command)

        far._carry_out = panel  # type: ignore[method-assign]
        await rack.put("VSet", 30)
        await rack.until(lambda: rack.record("Mode_RBV").val == 1)
        assert not rack.valid("VSet_RBV")
        assert await rack.put("Mode", 0) is None
        await check_unknown(rack)

    tell(story, far)


@pytest.mark.parametrize("put", [("HV", 1), ("Inhibit", 1)])
@pytest.mark.parametrize("event", [cycle_power, cycle_power_into_local])
def test_a_loss_of_power_that_the_status_shows_makes_the_setpoints_unknown(
    far: Far, put: tuple[str, int], event: Callable[[Far], None]
) -> None:
    async def story(rack: Rack) -> None:
        await rack.ready()
        assert await rack.put(*put) is None
        assert rack.valid("VSet_RBV")
        event(far)
        await rack.until(lambda: rack.record(f"{put[0]}_RBV").val == 0)
        await rack.put("Mode", 0)
        await check_unknown(rack)

    tell(story, far)


@pytest.mark.parametrize("end", ["off", "interlock", "inhibition"])
def test_what_goes_off_for_a_known_reason_leaves_the_setpoints_known(far: Far, end: str) -> None:
    async def story(rack: Rack) -> None:
        await rack.ready()
        for name, value in (("Inhibit", 1), ("HV", 1)):
            assert await rack.put(name, value) is None
        if end == "interlock":
            far.open_interlock()
            await rack.until(lambda: rack.record("Interlock").val == 1)
        else:
            assert await rack.put("HV" if end == "off" else "Inhibit", 0) is None
        assert rack.valid("VSet_RBV", "ISet_RBV")

    tell(story, far)


@pytest.mark.parametrize("on", [True, False])
def test_inhibition_is_not_ended_with_hv_on_and_a_limited_setpoint_unknown(far: Far, on: bool) -> None:
    far.inhibited, far.on = True, on
    far.set["d1"] = 4000  # 97.7 kV, at a limit of 60

    async def story(rack: Rack) -> None:
        await rack.until(rack.valid)
        error = await rack.put("Inhibit", 0)
        if not on:
            assert error is None
            return
        assert isinstance(error, Refused)
        assert "Inhibit Off was not sent, for HV is on: VSet is unknown since the start" in str(error)
        assert far.commands() == []
        assert await rack.put("ISet", 10) is None
        assert isinstance(await rack.put("Inhibit", 0), Refused)
        assert await rack.put("VSet", 40) is None
        assert await rack.put("Inhibit", 0) is None
        assert far.output()[0] == pytest.approx(40, abs=0.1)

    tell(story, far)


@pytest.mark.parametrize("late", [2.5, 3.0, 3.4])
def test_a_status_that_comes_late_while_other_replies_do_not_is_never_shown(far: Far, late: float) -> None:
    async def story(rack: Rack) -> None:
        await rack.ready()
        handle = far._handle

        def overtaken(command: str) -> None:
            if command != "E":
                handle(command)
                return
            far.heard.append((time.monotonic(), command))
            far._fed = time.monotonic()
            threading.Timer(late, far._answer, [f"E{far.status}"]).start()

        far._handle = overtaken  # type: ignore[method-assign]
        far.open_interlock()
        await rack.until(lambda: not rack.valid("Interlock"))
        began = time.monotonic()
        far.interlock_open = far.fault = False
        shown = 0
        while time.monotonic() < began + 8:
            await asyncio.sleep(0.01)
            shown += rack.valid("Interlock") and rack.record("Interlock").val == 1
        assert shown == 0

    tell(story, far)


@pytest.mark.parametrize("old", [1, 2])
@pytest.mark.parametrize("anew", [True, False])
def test_a_status_of_before_a_long_silence_is_never_shown_after_it(
    far: Far, monkeypatch: pytest.MonkeyPatch, anew: bool, old: int
) -> None:
    """A terminal server that stood still, or kept what came for nobody, delivers it with the next command."""
    for name, seconds in (("REPLY_TIMEOUT", 0.1), ("OLDEST", 0.4), ("LATEST", 0.7)):
        monkeypatch.setattr(line, name, seconds)
    wire = line.Line(str(far.link), Watchdog())
    wire.open()
    far.on = True
    before = wire.read("E")
    if anew:
        wire.close()
    time.sleep(0.8)
    wire.open()
    wire.drain()
    far.on = False
    far.at_command(0, lambda: far._write(f"E{before}\r".encode() * old))
    shown = wire.read("E")
    wire.close()
    assert shown == far.status != before


@pytest.mark.quiet
@pytest.mark.parametrize(
    ("pause", "lost"), [*((p, 1) for p in (0.2, 0.34, 0.44, 0.52, 0.64, 0.8)), (0.44, 2), (0.6, 2)]
)
def test_a_question_whose_answer_was_lost_is_answered_again_however_seldom_it_is_asked(
    far: Far, monkeypatch: pytest.MonkeyPatch, pause: float, lost: int
) -> None:
    """An answer must not count as that to the question before, which counts as that to the one before, and so on."""
    for name, seconds in (("REPLY_TIMEOUT", 0.1), ("OLDEST", 0.4), ("LATEST", 0.7)):
        monkeypatch.setattr(line, name, seconds)
    wire = line.Line(str(far.link), Watchdog())
    wire.open()
    assert wire.ask("E") == far.status
    far.faults["lost"] = lost
    outcomes = []
    for _ in range(6):
        try:
            outcomes.append(wire.ask("E") == far.status)
        except DeviceError:
            outcomes.append(False)
        time.sleep(pause)
    wire.close()
    assert outcomes[-2:] == [True, True]


@pytest.mark.parametrize("whole", [0, 1])
@pytest.mark.parametrize(("status", "lacking"), [(129, "29"), (105, "05")])  # a zero in front says nothing
def test_a_change_is_not_confirmed_by_two_answers_that_lack_the_same_byte_and_have_a_whole_one_between(
    far: Far, whole: int, status: int, lacking: str
) -> None:
    wire = line.Line(str(far.link), Watchdog())
    wire.open()
    assert wire.read("E") == 0b00000001
    answer, answers = far._answer, itertools.count(whole)

    def every_second(text: str) -> None:
        answer(f"E{status}" if next(answers) % 2 else f"E{lacking}")

    far._answer = every_second  # type: ignore[method-assign]
    shown = []
    for _ in range(4):
        with suppress(DeviceError):
            shown.append(wire.read("E"))
    wire.close()
    assert set(shown) == {status}


@pytest.mark.quiet
def test_an_answer_that_is_taken_for_a_late_one_speaks_against_one_that_lacks_a_byte_of_it(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each two answers the first is set aside: the status is asked when one earlier question is old, twice."""
    monkeypatch.setattr(line, "OLDEST", line.REPLY_TIMEOUT + 0.5)
    wire = line.Line(str(far.link), Watchdog())
    wire.open()
    assert wire.read("E") == 0b00000001
    answer = far._answer
    far._answer = lambda text: answer(text.replace("E1", "1"))  # type: ignore[method-assign]
    began = time.monotonic()
    for moment in (0.0, 0.55, 0.55):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        with pytest.raises(DeviceError):
            wire.read("E")
    answers = itertools.cycle(["E129", "E29"])

    def slowly(text: str) -> None:
        if text.startswith("E"):
            time.sleep(0.22)
            text = next(answers)
        answer(text)

    far._answer = slowly  # type: ignore[method-assign]
    time.sleep(max(0.0, began + 0.98 - time.monotonic()))
    shown = []
    for _ in range(3):
        with suppress(DeviceError):
            shown.append(wire.read("E"))
    wire.close()
    assert set(shown) <= {0b10000001}
