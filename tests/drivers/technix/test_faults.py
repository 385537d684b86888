"""Every fault of the line at every command of everything that is asked of a generator: what the far end made of it.

The waits of driver and port are a fifth of what they are, and so are the faults' times; the 100 ms of a pair are not.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from drivers.base import DeviceError, Refused, Wait
from drivers.technix import line, switching
from tests.drivers.steps import merged
from tests.drivers.technix.far import PAUSE, Far
from tests.drivers.technix.rack import Rack, far_end, hurry, tell

# Name -> what goes wrong; times in seconds, a fifth of those meant
FAULTS: dict[str, Callable[[Far], None]] = {
    "mute": lambda far: far.faults.update(mute=True),
    "deaf": lambda far: far.faults.update(deaf=True),
    "noise": lambda far: far.faults.update(noise=True),
    "garbage": lambda far: far.faults.update(garbage=True),
    "late 0.3": lambda far: far.faults.update(late=0.06),
    "late 0.6": lambda far: far.faults.update(late=0.12),
    "late 1.2": lambda far: far.faults.update(late=0.24),
    "late 3": lambda far: far.faults.update(late=0.6),
    "split 0.05": lambda far: far.faults.update(split=0.01),
    "split 0.2": lambda far: far.faults.update(split=0.04),
    "split 0.7": lambda far: far.faults.update(split=0.14),
    "one answer lost": lambda far: far.faults.update(lost=1),
    "three answers lost": lambda far: far.faults.update(lost=3),
    "line gone": lambda far: far.unplug(),
}
# What is put, from which state, and all that may be written in its course
PUTS: dict[str, tuple[tuple[str, int], str, int, str]] = {
    "VSet": (("VSet", 30), "off", 2, r"d1,1228"),
    "ISet": (("ISet", 12), "off", 2, r"d2,982"),
    "HV On": (("HV", 1), "off", 4, r"P5,[01]|P6,[01]|P8,[01]"),
    "HV Off": (("HV", 0), "on", 3, r"P6,[01]"),
    "Mode Local": (("Mode", 1), "on", 2, r"P7,1"),
    "Mode Remote": (("Mode", 0), "local", 3, r"P7,0"),
    "Inhibit On": (("Inhibit", 1), "on", 2, r"P8,1"),
    "Inhibit Off": (("Inhibit", 0), "inhibited", 3, r"P8,[01]"),
}
# Those that show most in little time; of a put: command and its number
QUICK_FAULTS = {"mute", "deaf", "one answer lost", "line gone"}
QUICK_PUTS = {("HV On", 1), ("HV On", 2), ("HV Off", 0), ("HV Off", 1), ("Inhibit Off", 1)}


def case(fault: str, *others: str | int, quick: bool = True) -> ParameterSet:
    """Return a case, which is slow unless it is one of the few that show most."""
    return pytest.param(fault, *others, marks=() if quick and fault in QUICK_FAULTS else pytest.mark.slow)


CASES = [
    case(fault, name, number, quick=(name, number) in QUICK_PUTS)
    for name, (_, _, commands, _) in PUTS.items()
    for fault in FAULTS
    for number in range(commands)
]


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    hurry(monkeypatch)
    with far_end(tmp_path) as made:
        yield made


async def bring(rack: Rack, state: str) -> None:
    await rack.ready()
    puts = {"off": (), "on": (("HV", 1),), "local": (("Mode", 1),), "inhibited": (("Inhibit", 1), ("HV", 1))}
    for name, value in puts[state]:
        error = await rack.put(name, value)
        if error is not None:  # a busy computer answers late
            error = await rack.put(name, value)
        assert error is None


async def mend(rack: Rack) -> None:
    """End the fault, and wait until all is read and nothing is pending any more."""
    rack.far.faults.clear()
    if not rack.far.link.exists():
        rack.far.plug()
    await rack.until(lambda: rack.valid() and not rack.pending(), 20)


def check_truth(rack: Rack) -> None:
    """Check that what is shown as valid is what the far end has."""
    far = rack.far
    shown = {
        "HV_RBV": far.on,
        "Mode_RBV": far.local,
        "Inhibit_RBV": far.inhibited,
        "OnCmd": far.held["P5"] is not None,
        "OffCmd": far.held["P6"] is not None,
        "VSet_RBV": far.set["d1"] * 100 / 4095,
        "ISet_RBV": far.set["d2"] * 50 / 4095,
    }
    for name, value in shown.items():
        assert not rack.valid(name) or rack.record(name).val == pytest.approx(float(value)), name


@pytest.mark.parametrize(("fault", "what", "number"), CASES)
def test_a_put_ends_as_it_says_whatever_the_line_does(far: Far, fault: str, what: str, number: int) -> None:
    (name, value), state, _, allowed = PUTS[what]

    async def story(rack: Rack) -> None:
        await bring(rack, state)
        before = len(far.heard)
        await rack.until(lambda: len(far.heard) >= before + 6)
        await rack.until(lambda: rack.far.heard[-1][1] == "a2")  # the scan is over: the put comes next
        before = len(far.heard)
        far.at_command(number, lambda: FAULTS[fault](far))
        error = await rack.put(name, value)
        await asyncio.sleep(0.3)
        await mend(rack)
        after = {"HV": far.on, "Mode": far.local, "Inhibit": far.inhibited}
        if (name, value) in {("HV", 0), ("Mode", 1), ("Inhibit", 1)}:
            assert after[name] == value
        elif name == "HV":
            assert after[name] == (error is None), error
            assert far.held == {"P5": None, "P6": None}
        elif name == "Inhibit":
            assert after[name] == (error is not None), error
        elif name == "Mode":
            assert after[name] is False or error is not None
        elif error is not None and not isinstance(error, Refused):
            assert not rack.valid(f"{name}_RBV")
        check_truth(rack)
        sent = far.commands(before)
        assert all(re.fullmatch(allowed, command) for command in sent), sent
        assert sent.count("P5,1") <= 1
        assert far.violated == []

    tell(story, far)


@pytest.mark.parametrize(
    ("fault", "number"), [case(fault, number, quick=number == 1) for fault in FAULTS for number in range(4)]
)
def test_connecting_and_scanning_write_nothing_and_show_nothing_untrue(far: Far, fault: str, number: int) -> None:
    async def story(rack: Rack) -> None:
        await bring(rack, "on")
        kilovolts = far.output()[0]
        await rack.until(lambda: rack.record("VMon").val == pytest.approx(kilovolts))
        updates: list[object] = []
        before = len(far.heard)
        far.at_command(number, lambda: FAULTS[fault](far))
        for _ in range(60):
            await asyncio.sleep(0.01)
            record = rack.record("VMon")
            updates += [record.val] if rack.valid("VMon") else []
        await mend(rack)
        assert all(value == pytest.approx(kilovolts, abs=0.05) for value in updates)
        assert far.commands(before) == []
        assert far.on
        check_truth(rack)

    tell(story, far)


@pytest.mark.parametrize(("fault", "left"), [case(fault, left) for fault in FAULTS for left in ("P6", "P5")])
def test_a_pair_that_somebody_left_half_given_is_released_if_it_was_an_off(far: Far, fault: str, left: str) -> None:
    far.on = left == "P6"
    far.held[left] = 0.0
    FAULTS[fault](far)

    async def story(rack: Rack) -> None:
        await asyncio.sleep(0.2)
        await mend(rack)
        if left == "P6":
            await rack.until(lambda: not far.on)
            await rack.until(lambda: rack.record("OffCmd").val == 0)
            assert set(far.commands()) == {"P6,0"}
        else:
            assert (rack.record("OnCmd").val, rack.record("OnCmd").sevr.name) == (1, "MINOR")
            assert far.commands() == []

    tell(story, far)


def test_an_off_completes_an_on_that_somebody_left_half_given_without_output_on_the_way(far: Far) -> None:
    far.held["P5"] = 0.0

    async def story(rack: Rack) -> None:
        await rack.until(rack.valid)
        assert await rack.put("HV", 0) is None
        assert far.commands() == ["P6,1", "P6,0", "P8,1", "P5,0", "P6,1", "P6,0", "P8,0"]
        assert (far.on, far.inhibited, far.held["P5"]) == (False, False, None)

    tell(story, far)


def test_an_on_is_not_released_before_the_status_shows_inhibition(far: Far, caplog: pytest.LogCaptureFixture) -> None:
    far.held["P5"] = 0.0
    carry_out = far._carry_out
    far._carry_out = lambda command: command if command == "P8,1" else carry_out(command)  # type: ignore[method-assign]

    async def story(rack: Rack) -> None:
        await rack.until(rack.valid)
        await rack.put("HV", 0)
        await rack.until(lambda: far.commands().count("P8,1") >= 3)
        assert "does not show inhibition" in caplog.text
        assert "P5,0" not in far.commands()

    tell(story, far)


@pytest.mark.parametrize(("name", "value"), [("HV", 0), ("Inhibit", 1), ("Mode", 1)])
def test_what_makes_things_safe_is_sent_in_the_pause_of_hv_on_and_nothing_is_let_out(
    far: Far, name: str, value: int
) -> None:
    carry_out, outputs, late = far._carry_out, [], []

    def watched(command: str) -> str | None:
        answer = carry_out(command)
        outputs.append(far.output()[0])
        return answer

    async def story(rack: Rack) -> None:
        await rack.ready()
        far._carry_out = watched  # type: ignore[method-assign]
        on = asyncio.ensure_future(rack.put("HV", 1))
        await rack.until(lambda: "P5,1" in far.commands())
        asked = time.monotonic()
        assert await rack.put(name, value) is None
        assert await on is not None
        safe = {"HV": "P6,1", "Inhibit": "P8,1", "Mode": "P7,1"}[name]
        late.append(next(moment for moment, command in far.heard if command == safe) - asked)
        await rack.until(lambda: not rack.pending() and rack.valid())
        assert rack.record("HV_RBV").val == 0
        assert not far.violated

    tell(story, far)
    assert max(outputs) == 0
    assert late[0] < PAUSE


def test_an_off_that_was_put_in_a_short_standstill_comes_before_the_second_half_of_hv_on(far: Far) -> None:
    """What clients have sent meanwhile is read when the computer goes on, in another thread than this one."""
    rack = Rack(far)
    driver = rack.driver
    points = {point.name: point for point in driver.points}
    driver.connect()
    for name, value in (("Mode", 0), ("ISet", 10.0), ("VSet", 40.0)):
        merged(driver.write(points[name], value))
    on = driver.write(points["HV"], 1)
    while "P5,1" not in far.commands():
        next(on)
    pause = next(on)
    assert isinstance(pause, Wait)
    assert pause.seconds > PAUSE
    time.sleep(0.5)  # the standstill
    assert next(on) == Wait(line.QUIET)
    merged(driver.write(points["HV"], 0))
    with pytest.raises(DeviceError):
        merged(on)
    driver.close()
    commands = far.commands()
    assert commands.index("P6,1") < commands.index("P5,0")  # which is then the release, under inhibition
    assert commands.index("P8,1") < commands.index("P5,0")
    assert (far.on, far.held["P5"]) == (False, None)


def test_hv_on_is_not_completed_behind_a_standstill_of_the_computer(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switching, "LONGEST_PAUSE", 0.0)

    async def story(rack: Rack) -> None:
        await rack.ready()
        before = len(far.commands())
        assert "stood still" in str(await rack.put("HV", 1))
        await rack.until(lambda: not rack.pending() and rack.valid())
        commands = far.commands()[before:]
        assert commands.index("P8,1") < commands.index("P5,0")
        assert (far.on, far.held["P5"]) == (False, None)

    tell(story, far)
