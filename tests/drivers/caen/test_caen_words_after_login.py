"""A crate that was restarted may have other words for a switch, under the same model and serial number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from drivers.base import LinkDown, Refused
from sim.caen.crate import Crate
from sim.caen.header import status_bits
from tests.drivers.caen.test_caen_assumed import PW, Reversed, Truth, plain_crate
from tests.drivers.caen.test_caen_put_truth import outcome
from tests.drivers.crate_run import crate_run


def off_crate(system: str) -> Crate:
    """A board of four channels that are off."""
    made = plain_crate(system)
    for channel in made.boards[1].channels:
        channel.on, channel.volts = False, 0.0
    return made


@pytest.fixture(params=[plain_crate, off_crate])
def run(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Truth]:
    """A crate that was on or off and was restarted, which has left all channels off."""
    make: Callable[[str], Crate] = request.param
    with crate_run(monkeypatch, make) as run:
        run.__class__ = Truth
        assert isinstance(run, Truth)
        run.wrong = []
        run.settle()
        run.driver.close()
        run._down(LinkDown("the crate is restarted"))
        channels = run.fake.model.boards[1].channels
        channels[2] = Reversed(channels[2].params.values(), status_bits(run.fake.model.system), seed=2)
        channels[2].params["Pw"] = replace(channels[2].params["Pw"], onstate="Off", offstate="On")
        for channel in channels:
            channel.on, channel.volts = False, 0.0
        yield run
        assert run.wrong == []


def log_in(run: Truth) -> None:
    """Connect, and scan no further than that."""
    run.until(lambda: run._up)


@pytest.mark.parametrize("calls", [0, 1, 3, 7, 15, 30, 100])
def test_an_off_behind_a_login_never_switches_on(run: Truth, calls: int) -> None:
    log_in(run)
    run.served(calls)
    outcome(run, PW, run.word("off"))
    assert not run.odd().on
    assert vars(run.odd()).get("switched_on", 0) == 0
    run.settle()
    assert run.valid(f"{PW}_RBV")


@pytest.mark.parametrize("calls", [0, 1, 3, 7, 15, 30, 100])
def test_an_off_behind_a_login_switches_off_what_came_on_meanwhile(run: Truth, calls: int) -> None:
    log_in(run)
    run.odd().on = True
    run.served(calls)
    assert outcome(run, PW, run.word("off")) is None
    assert not run.odd().on


@pytest.mark.parametrize("calls", [0, 1, 3, 7, 15, 30, 100])
def test_an_on_behind_a_login_is_an_on_or_refused(run: Truth, calls: int) -> None:
    log_in(run)
    run.served(calls)
    error = outcome(run, PW, run.word("on"))
    assert run.odd().on == (error is None)
    assert error is None or isinstance(error, Refused)
