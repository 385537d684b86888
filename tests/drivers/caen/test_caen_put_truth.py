"""A put is good only if it was carried out, and in the unit in which it was meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from drivers.base import DeviceError, LinkDown, Readings, Refused, Value, Wait
from sim.caen.header import Code, Mode
from sim.caen.odd import OddChannel, odd_crate
from tests.drivers.crate_run import CrateRun, crate_run
from tests.drivers.test_caen_units import Ranges, ranged_crate

I0SET = "S04:C01:I0Set"
CODES = [None, Code.TIMEERR, Code.WRITEERR, Code.SYSERR, Code.OUTOFRANGE, 23, 0x5A5A]


def outcome(run: CrateRun, name: str, value: Value) -> DeviceError | None:
    (point,) = (point for point in run.driver.points if point.name == name)
    try:
        for step in run.driver.write(point, value):
            if isinstance(step, Wait):
                run.clock.now += step.seconds
            else:
                run._take(step)
    except DeviceError as error:
        return error
    return None


# ---- the unit of a current ----


@pytest.fixture
def ranges(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ranges]:
    with crate_run(monkeypatch, ranged_crate) as run:
        run.__class__ = Ranges
        assert isinstance(run, Ranges)
        run.wrong = []
        run.settle()
        yield run
        assert run.wrong == []


def put_while_it_flips(run: Ranges, call: int, value: float) -> None:
    """Put 0.3 uA, and change the range before a call of the put; check what comes of it."""
    channel = run.channel(1)
    writes = run.fake.writes
    run.at_call(call, run.flip)
    error = outcome(run, I0SET, value)
    run.at_call(10**9, run.flip)
    amps = float(channel.values["I0Set"]) * 10.0 ** channel.param("I0Set").exp
    if error is None:
        assert amps == pytest.approx(3e-7)
    elif run.fake.writes == writes:
        assert isinstance(error, Refused)
        assert amps == pytest.approx(5e-7)
    else:
        assert not isinstance(error, Refused | LinkDown)  # so its setpoint is not shown as true
        assert "its range was changed" in str(error)
        assert run.log[f"{I0SET}_RBV"][-1][1] is None


@pytest.mark.parametrize("call", range(18))
@pytest.mark.parametrize("low", [False, True])
def test_a_current_put_while_its_range_is_changed_is_never_good_in_another_unit(
    ranges: Ranges, call: int, low: bool
) -> None:
    if low:
        ranges.flip()
        ranges.run(4)
    put_while_it_flips(ranges, call, 300.0 if low else 0.3)
    ranges.run(8)
    assert ranges.valid_again()


@pytest.mark.parametrize("call", range(18))
def test_nor_is_it_where_the_crate_does_not_tell_the_range(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    with crate_run(monkeypatch, ranged_crate) as run:
        run.__class__ = Ranges
        assert isinstance(run, Ranges)
        run.wrong = []
        for channel in run.fake.model.boards[4].channels:
            channel.params["IMRange"] = replace(channel.params["IMRange"], mode=Mode.WRONLY)
        run.settle()
        put_while_it_flips(run, call, 0.3)


@pytest.mark.parametrize("code", [Code.READERR, Code.TIMEERR, 0x5A5A])
@pytest.mark.parametrize("call", range(4, 14))
def test_a_range_that_cannot_be_read_behind_a_put_makes_it_not_good(ranges: Ranges, call: int, code: int) -> None:
    def act() -> None:
        ranges.flip()
        ranges.fault(slot=4, name="IMRange", code=code)

    ranges.at_call(call, act)
    error = outcome(ranges, I0SET, 0.3)
    amps = float(ranges.channel(1).values["I0Set"]) * 10.0 ** ranges.channel(1).param("I0Set").exp
    assert error is not None or amps == pytest.approx(3e-7)
    ranges.fake.faults.clear()
    assert ranges.until(ranges.valid_again, most=60) < 45


def blocks(run: CrateRun) -> Iterator[Readings]:
    """The blocks of a scan of the settings."""
    for step in run.driver.read("settings"):
        assert not isinstance(step, Wait)
        yield step


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer lost"])
def test_a_scan_under_way_does_not_show_a_current_of_before_its_put(ranges: Ranges, lost: bool) -> None:
    shows = [f"{I0SET}_RBV" in step for step in blocks(ranges)]
    for number, steps in enumerate(range(shows.index(True) - 3, shows.index(True) + 1)):
        scan = blocks(ranges)
        for _ in range(steps):
            ranges._take(next(scan))
        put = 0.2 + 0.1 * number
        if lost:  # nor can it be read back
            ranges.fault(function="SetChParam", code=Code.WRITEERR, late=True, left=1)
            ranges.fault(function="GetChParam", slot=4, channel=1, name="I0Set", code=Code.READERR, skip=1)
        assert (outcome(ranges, I0SET, put) is not None) is lost
        ranges.fake.faults.clear()
        shown = ranges.log[f"{I0SET}_RBV"]
        shown.clear()
        for step in scan:
            ranges._take(step)
        assert [value for _, value in shown if value is not None and value != pytest.approx(put)] == []
        ranges.run(3)
        assert ranges.valid(f"{I0SET}_RBV")


# ---- values near to the one of before ----


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[CrateRun]:
    with crate_run(monkeypatch, odd_crate, channels={2: (0, 1)}) as run:
        run.settle()
        yield run


def channel_of(run: CrateRun) -> OddChannel:
    found = run.fake.model.channel(2, 0)
    assert isinstance(found, OddChannel)
    return found


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    ("name", "before", "asked"),
    [("V0Set", 1000.0, 1000.4), ("V0Set", 1000.0, 1000.1), ("RUp", 50.0, 54.0), ("I0Set", 100.0, 100.2)],
)
@pytest.mark.parametrize("panel", [True, False])
def test_a_put_that_was_not_carried_out_is_not_good_however_near_the_old_value_is(
    odd: CrateRun, name: str, before: float, asked: float, code: int | None, panel: bool
) -> None:
    if not panel:
        channel_of(odd).values[name] = before
        odd.run(12)
    else:  # set at the front panel just now, and not read yet
        channel_of(odd).values[name] = 40.0
        odd.run(12)
        channel_of(odd).values[name] = before
    if code is None:
        channel_of(odd).deaf.add(name)
    else:
        odd.fault(function="SetChParam", code=code)
    assert isinstance(outcome(odd, f"S02:C00:{name}", asked), Refused)
    assert channel_of(odd).values[name] == before
    assert odd.log[f"S02:C00:{name}_RBV"][-1][1] == before


def test_nor_where_the_crate_does_not_tell_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    with crate_run(monkeypatch, odd_crate, channels={2: (0,)}) as run:
        run.fault(prop="Decimal", code=Code.PARAMPROPNOTFOUND)
        run.settle()
        channel_of(run).deaf.add("V0Set")
        assert isinstance(outcome(run, "S02:C00:V0Set", 1001.0), Refused)
        channel_of(run).deaf.clear()
        assert outcome(run, "S02:C00:V0Set", 1001.0) is None


@pytest.mark.parametrize("code", [None, Code.TIMEERR, Code.WRITEERR])
def test_a_step_of_the_unit_is_a_success_and_so_is_the_same_put_once_more(odd: CrateRun, code: int | None) -> None:
    channel = channel_of(odd)
    channel.params["I0Set"] = replace(channel.params["I0Set"], decimal=2, maxval=3000.0)
    channel.steps["I0Set"] = 0.05
    odd.run(12)
    for _ in range(2):
        if code is not None:
            odd.fault(function="SetChParam", code=code, late=True, left=1)
        assert outcome(odd, "S02:C00:I0Set", 0.07) is None
        assert channel.values["I0Set"] == pytest.approx(0.05)
    channel.deaf.add("I0Set")
    assert isinstance(outcome(odd, "S02:C00:I0Set", 0.08), Refused)


@pytest.mark.parametrize("code", [Code.READERR, Code.TIMEERR])
def test_a_value_that_cannot_be_read_before_a_put_stops_it_not(odd: CrateRun, code: int) -> None:
    odd.fault(function="GetChParam", name="V0Set", code=code, left=1)
    assert outcome(odd, "S02:C00:V0Set", 700.0) is None
    odd.fault(function="GetChParam", name="V0Set", code=code, left=1)
    channel_of(odd).deaf.add("V0Set")
    assert isinstance(outcome(odd, "S02:C00:V0Set", 700.4), Refused)
