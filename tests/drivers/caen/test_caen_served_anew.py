"""What puts have left behind is still known when a board is served anew, with parameters that were found later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sim.caen.odd import odd_crate
from tests.drivers.caen.test_caen_put_truth import channel_of, outcome
from tests.drivers.crate_run import CrateRun, crate_run

PW = "S02:C00:Pw"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[CrateRun]:
    with crate_run(monkeypatch, odd_crate, channels={2: (0, 1)}) as run:
        run.settle()
        yield run


def serve_anew(run: CrateRun) -> None:
    inventory, session = run.driver._inventory, run.driver._session
    assert session is not None
    before = inventory.sections[2]
    for _ in inventory._serve(session, before.board, tuple(before.table.items.values()), (), before.probe):
        pass
    assert inventory.sections[2] is not before


def test_an_off_is_not_shown_while_the_on_before_it_may_come_behind_it(run: CrateRun) -> None:
    (point,) = (point for point in run.driver.points if point.name == PW)
    channel = channel_of(run)
    channel.switch(False)
    channel.volts = 0.0
    run.run(12)
    steps = run.driver.write(point, 1)
    while not channel.on:
        next(steps)
    serve_anew(run)
    list(steps)
    channel.switch(False)
    channel.volts = 0.0
    serve_anew(run)
    assert not run.driver.shown(point, 0, {f"{PW}_RBV": 0})
    run.clock.now += 1.1
    assert run.driver.shown(point, 0, {f"{PW}_RBV": 0})


def test_a_channel_that_the_panel_switches_on_on_its_way_down_is_shown_on(run: CrateRun) -> None:
    channel = channel_of(run)
    channel.shows_output = True
    assert outcome(run, PW, 0) is None
    assert run.log[PW][-1][1] == 0
    serve_anew(run)
    with run.fake.present():
        channel.switch(True)
    run.run(3)
    assert run.log[PW][-1][1] == 1
