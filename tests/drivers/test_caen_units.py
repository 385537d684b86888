"""A current is shown with the unit of the range in which it was read, or as INVALID; never with another one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from drivers.base import Reading, Readings, Severity
from sim.caen.boards import demo_crate
from sim.caen.channel import Channel
from sim.caen.crate import Board, Crate
from sim.caen.faults import Call
from sim.caen.header import Code
from tests.drivers.crate_run import CrateRun, crate_run

SCALES = {"uA": 1e-6, "nA": 1e-9}


def ranged_crate(system: str) -> Crate:
    """A board of three channels with two ranges, and one without."""
    crate = demo_crate(system)
    board: Board = crate.boards[4]
    del board.channels[3:]
    del crate.boards[2].channels[1:]
    for channel in board.channels:
        channel.noise = 0.0
        channel.values |= {"V0Set": 100.0, "I0Set": 0.5}
        channel.on, channel.volts, channel.resistance = True, 100.0, 1e9  # 0.1 uA = 100 nA
    return Crate(system, {2: crate.boards[2], 4: board}, [])


class Ranges(CrateRun):
    """A run that compares each current that is shown as true with the crate's."""

    wrong: list[str]

    def _take(self, block: Readings) -> None:
        super()._take(block)
        units = {point.name: point.egu for point in self.driver.points}
        for name, value in block.items():
            if name.startswith("S04:C") and ("IMon" in name or "I0Set_RBV" in name):
                invalid = isinstance(value, Reading) and value.severity is Severity.INVALID
                plain = value.value if isinstance(value, Reading) else value
                if not invalid and isinstance(plain, float):
                    self.check(name, plain * SCALES[units[name]])

    def check(self, name: str, amps: float) -> None:
        """Record a current that is not the crate's, by more than the digits that it has."""
        channel = self.channel(int(name[5:7]))
        true = channel.amps
        if "I0Set" in name:
            true = channel.values["I0Set"] * 10.0 ** channel.param("I0Set").exp  # type: ignore[operator]
        if abs(amps - true) > 0.02 * true:
            self.wrong.append(f"{self.clock.now:.2f} {name} {amps:g} instead of {true:g} A")

    def channel(self, number: int) -> Channel:
        """Return a channel of the board with ranges."""
        return self.fake.model.channel(4, number)

    def flip(self, number: int = 1) -> None:
        """Change a channel's range at the front panel."""
        channel = self.channel(number)
        channel.put("IMRange", 1 - int(channel.values["IMRange"]))

    def at_call(self, number: int, action: Callable[[], None]) -> None:
        """Do something before the call with that number from now on."""
        left = [number]
        hit = type(self.fake).hit

        def counting(call: Call) -> int | None:
            left[0] -= 1
            if left[0] == -1:
                action()
            return hit(self.fake, call)

        self.fake.hit = counting  # type: ignore[method-assign]

    def valid_again(self) -> bool:
        """Return True if all currents of the board are shown as true."""
        return not {name for name in self.invalid_names("S04:C") if "IMon" in name}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ranges]:
    with crate_run(monkeypatch, ranged_crate) as run:
        run.__class__ = Ranges
        assert isinstance(run, Ranges)
        run.wrong = []
        run.settle()
        assert run.valid_again()
        yield run
        assert run.wrong == []


def test_a_range_that_is_changed_at_any_moment_shows_no_wrong_current(run: Ranges) -> None:
    waits = []
    for call in range(60):
        run.at_call(call, run.flip)
        run.run(4)
        waits.append(run.until(run.valid_again))
    assert max(waits) < 4


def test_a_range_that_is_changed_and_changed_back_within_a_question_gives_one_wrong_sample(run: Ranges) -> None:
    hit = type(run.fake).hit
    for first in range(60):
        run.wrong.clear()
        calls = count()

        def flipping(call: Call, calls: Iterator[int] = calls, first: int = first) -> int | None:
            if next(calls) in (first, first + 3):
                run.flip()
            return hit(run.fake, call)

        run.fake.hit = flipping  # type: ignore[method-assign]
        run.put("S04:C01:V0Set", 100.0 + first)  # after which the units of the channel are asked
        run.run(12)
        names = [line.split()[1] for line in run.wrong]
        assert len(set(names)) == len(names), run.wrong
    run.wrong.clear()


@pytest.mark.parametrize(
    "code",
    [Code.READERR, Code.TIMEERR, Code.SLOTNOTPRES, 20, Code.SOCKETERROR, 0x5A5A],
)
@pytest.mark.parametrize("hits", [1, 2])
def test_nor_does_it_when_the_calls_behind_it_fail(run: Ranges, code: int, hits: int) -> None:
    for call in range(0, 40, 5):
        for behind in (0, 1, 3):

            def act(behind: int = behind) -> None:
                run.flip()
                run.fault(code=code, skip=behind, left=hits)

            run.at_call(call, act)
            run.run(4)
            run.fake.faults.clear()
            assert run.until(run.valid_again, most=60) < 40
            assert run.wrong == []


@pytest.mark.parametrize(("name", "prop"), [("IMon", "Exp"), ("IMon", "Unit"), ("IMRange", "")])
@pytest.mark.parametrize("code", [Code.READERR, Code.TIMEERR, 0x5A5A])
def test_a_unit_or_range_that_cannot_be_asked_for_long_leaves_the_current_invalid(
    run: Ranges, name: str, prop: str, code: int
) -> None:
    run.fault(slot=4, name=name, prop=prop, code=code)
    run.flip()
    run.run(30)
    assert not run.valid("S04:C01:IMon")
    run.fake.faults.clear()
    assert run.until(run.valid_again, most=90) < 45


@pytest.mark.parametrize("gap", [0.1, 3.0, 40.0])
def test_a_range_that_was_changed_while_the_link_was_down_shows_no_wrong_current(run: Ranges, gap: float) -> None:
    for _ in range(4):
        run.fake.unplug()
        run.run(gap)
        run.flip()
        run.flip(2)
        run.fake.plug()
        assert run.until(run.valid_again, most=60) < 40


def test_a_session_that_is_lost_in_the_middle_shows_no_wrong_current(run: Ranges) -> None:
    for call in range(0, 60, 4):

        def act() -> None:
            run.flip()
            run.fake.unplug()
            run.fake.plug()

        run.at_call(call, act)
        run.run(6)
        assert run.until(run.valid_again, most=60) < 40
    assert run.logins > 10


def test_a_put_to_the_range_shows_no_wrong_current(run: Ranges) -> None:
    for wait in range(20):
        run.put("S04:C01:IMRange", 1 - int(run.channel(1).values["IMRange"]))
        run.run(3 + wait * 0.07)
        assert run.until(run.valid_again, most=10) < 6


def test_units_of_all_currents_are_asked_again_after_a_reconnect(run: Ranges) -> None:
    run.fake.unplug()
    run.run(3)
    run.fake.plug()
    run.fault(function="GetChParamProp", slot=4, name="IMon", prop="Exp", code=Code.READERR)
    run.run(10)
    assert run.logins > 1
    assert run.valid("S04:C00:VMon")
    assert not run.valid("S04:C00:IMon")
    run.fake.faults.clear()
    assert run.until(run.valid_again, most=40) < 35


def test_a_current_whose_range_was_not_read_behind_it_is_not_told_in_a_later_session(run: Ranges) -> None:
    hit = type(run.fake).hit
    told: list[Call] = []

    def dies_behind_the_current(call: Call) -> int | None:
        if told:
            return Code.SOCKETERROR
        if call.function == "GetChParam" and (call.slot, call.name) == (4, "IMon"):
            told.append(call)
        return hit(run.fake, call)

    run.fake.hit = dies_behind_the_current  # type: ignore[method-assign]
    logins = run.logins
    run.until(lambda: not run.valid_again())
    for number in range(3):
        run.channel(number).resistance = 1e8
    run.fake.hit = lambda call: hit(run.fake, call)  # type: ignore[method-assign]
    run.fault(function="GetChParam", slot=4, name="IMon", code=Code.READERR)
    run.until(lambda: run.logins > logins)
    run.run(5)
    assert run.wrong == []


def test_a_setting_that_is_no_number_all_the_time_has_not_moved(run: Ranges) -> None:
    run.channel(1).values["RUp"] = math.nan
    run.run(25)
    run.fake.transactions.clear()
    run.run(25)
    assert not [line for line in run.fake.transactions if "GetChParamProp 4.1 RUp" in line]


def test_settings_that_move_all_the_time_do_not_leave_other_boards_without_units(run: Ranges) -> None:
    def move() -> None:
        for number in range(3):
            run.channel(number).values["RUp"] = 100.0 + run.clock.now % 7.0  # moves no current

    run.fake.latency = 0.03
    run.run(25, move)
    run.fake.unplug()
    run.run(3)
    run.fake.plug()
    run.run(20, move)
    assert run.share_invalid("S02:C00:IMon", 20) == 0.0


def test_settings_that_move_all_the_time_take_half_the_time_of_what_is_not_shown_yet(run: Ranges) -> None:
    def move() -> None:
        run.channel(0).values["RUp"] = 100.0 + run.clock.now % 7.0

    def healed() -> float:
        run.fake.unplug()
        run.run(3)
        run.fake.model.boards[2].serial += 1  # another board, which has to be asked what it has
        run.fake.plug()
        began = run.clock.now
        run.until(lambda: run.clock.now > began + 2 and not {n for n in run.invalid_names("S0") if "IMon" in n})
        return run.clock.now - began

    run.fake.latency = 0.05
    run.run(25)
    alone = healed()
    turn = run._turn

    def moving_turn() -> None:
        move()
        turn()

    run._turn = moving_turn  # type: ignore[method-assign]
    assert healed() < 3 * alone
