"""The arrays of a board are as true as its channels: in the unit that they name, and no older than they look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drivers.base import Array, Reading, Readings, Severity, Value
from sim.caen.header import Code
from tests.drivers.crate_run import CrateRun, crate_run
from tests.drivers.test_caen_units import SCALES, Ranges, ranged_crate

CURRENTS, WORDS, VOLTS = "S04:IMon:Array", "S04:Status:Array", "S04:VMon:Array"


def elements(value: Value | Array | Reading) -> tuple[float, ...]:
    """Return the numbers of an array that are shown as true."""
    if isinstance(value, Reading):
        value = () if value.severity is Severity.INVALID or value.value is None else value.value
    return tuple(float(each) for each in value) if isinstance(value, tuple) else ()


class Gathered(Ranges):
    """A run that compares the currents of an array with the crate's, in the unit that the array names."""

    told: int

    def _take(self, block: Readings) -> None:
        super()._take(block)
        if CURRENTS not in block:
            return
        (unit,) = (point.egu for point in self.driver.points if point.name == CURRENTS)
        for number, element in enumerate(elements(block[CURRENTS])):
            self.told += 1
            true = self.channel(number).amps
            if abs(element * SCALES[unit] - true) > 0.02 * true:
                self.wrong.append(f"{self.clock.now:.2f} {CURRENTS} {element:g} {unit} instead of {true:g} A")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gathered]:
    with crate_run(monkeypatch, ranged_crate) as run:
        run.__class__ = Gathered
        assert isinstance(run, Gathered)
        run.wrong, run.told = [], 0
        run.settle()
        yield run


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
@pytest.mark.parametrize("gap", [0.0, 0.3, 4.0])
def test_an_array_is_in_its_unit_when_that_of_the_first_or_last_channel_moves(
    run: Gathered, order: tuple[int, ...], gap: float
) -> None:
    del run.fake.model.boards[4].channels[3:]
    units = set()
    for number in order * 4:  # to the low range and back, one by one
        run.flip(number)
        run.run(gap)
        units |= {point.egu for point in run.driver.points if point.name == CURRENTS}
    run.run(8)
    assert run.wrong == []
    assert run.told > 0
    assert gap < 4.0 or units == {"uA", "nA"}


def switch(run: CrateRun, number: int, on: bool) -> None:
    """Switch a channel at the front panel."""
    run.fake.model.channel(4, number).put("Pw", int(on))


def test_a_put_behind_a_login_does_not_show_what_the_other_channels_were_before(run: Gathered) -> None:
    run.until(lambda: all(int(each) & 1 for each in elements(run.values[WORDS])), 20)
    switch(run, 0, on=False)
    run.driver.connect()
    read = run.put("S04:C01:Pw", 0)
    assert "S04:C01:Status" in read
    assert WORDS not in read
    run.until(lambda: [int(each) & 1 for each in elements(run.values[WORDS])] == [0, 0, 1], 10)  # they ramp down


def test_a_put_does_not_make_an_array_look_younger_than_its_channels(run: Gathered) -> None:
    run.run(2)
    read = run.put("S04:C01:Pw", 0)
    assert "S04:C01:Status" in read
    assert not {CURRENTS, WORDS, VOLTS} & read.keys()


def test_a_name_that_was_put_is_in_the_array_of_names_at_once(run: Gathered) -> None:
    read = run.put("S04:C01:Name", "abc")
    names = read["S04:Name:Array"]
    assert isinstance(names, tuple)
    assert names[1] == "abc"


def test_an_array_whose_channels_cannot_be_read_comes_back_with_them(run: Gathered) -> None:
    fault = run.fault(code=Code.READERR, function="GetChParam", name="Status", slot=4)
    run.run(5)
    assert not run.valid(WORDS)
    run.fake.faults.remove(fault)
    run.until(lambda: run.valid("S04:C00:Status"))
    assert run.until(lambda: bool(elements(run.values[WORDS])), 5) <= 1.1
