"""An On of a desktop unit's channel that ramps down: its switch is on until it is down, and proves nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drivers.base import BadReply
from sim.caen.header import Code
from sim.caen.odd import odd_crate
from tests.drivers.caen.crate_rig import CrateRig
from tests.drivers.caen.test_caen_live import go
from tests.drivers.caen.test_caen_put_truth import channel_of
from tests.drivers.caen.test_caen_puts import outcome
from tests.drivers.crate_run import CrateRun, crate_run

PW = "S02:C00:Pw"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[CrateRun]:
    """Yield a crate whose channel is on at 1000 V, and shows its output in its switch."""
    with crate_run(monkeypatch, odd_crate, channels={2: (0, 1)}) as run:
        channel_of(run).shows_output = True
        del channel_of(run).params["V1Set"]  # as a desktop unit, which has one voltage setting
        run.settle()
        yield run


def come_down(run: CrateRun, by_panel: bool) -> None:
    """Switch the channel off; it has just begun to come down."""
    if by_panel:
        channel_of(run).switch(False)
    else:
        assert outcome(run, PW, 0) is None
    run.clock.now += 0.2
    with run.fake.present():
        assert channel_of(run).conditions()["DOWN"]


@pytest.mark.parametrize("by_panel", [False, True])
@pytest.mark.parametrize("code", [None, Code.WRITEERR, Code.TIMEERR, Code.OUTOFRANGE, 23, 0x5A5A])
@pytest.mark.parametrize("scans", [0, 1])
def test_an_on_that_has_no_effect_while_the_channel_ramps_down_is_not_good(
    run: CrateRun, code: int | None, by_panel: bool, scans: int
) -> None:
    come_down(run, by_panel)
    run.run(scans)
    channel_of(run).stubborn = True
    if code is not None:
        run.fault(slot=2, name="Pw", function="SetChParam", code=code, left=1)
    error = outcome(run, PW, 1)
    assert error is not None
    assert not channel_of(run).on
    if code is None:
        assert isinstance(error, BadReply)
        assert "goes on ramping down" in str(error)


@pytest.mark.parametrize("by_panel", [False, True])
def test_an_on_that_has_an_effect_while_the_channel_ramps_down_is_good(run: CrateRun, by_panel: bool) -> None:
    come_down(run, by_panel)
    assert outcome(run, PW, 1) is None
    assert channel_of(run).on


def test_an_on_without_effect_of_a_channel_that_is_down_soon_is_not_good(run: CrateRun) -> None:
    come_down(run, by_panel=True)
    channel_of(run).stubborn, channel_of(run).volts = True, 20.0
    assert isinstance(outcome(run, PW, 1), BadReply)


@pytest.mark.parametrize("by_panel", [False, True])
def test_an_on_that_the_switch_does_not_show_while_the_channel_ramps_down_may_come_on_later(
    run: CrateRun, by_panel: bool
) -> None:
    channel_of(run).shows_output = False
    come_down(run, by_panel)
    channel_of(run).stubborn = True
    error = outcome(run, PW, 1)
    assert isinstance(error, BadReply)
    assert "goes on ramping down" in str(error)


def test_an_on_changes_nothing_where_the_channel_ramps_down_to_a_lower_setting(run: CrateRun) -> None:
    assert outcome(run, "S02:C00:V0Set", 400.0) is None
    assert channel_of(run).conditions()["DOWN"]
    assert outcome(run, PW, 1) is None
    assert channel_of(run).on


@pytest.mark.parametrize("fault", ["Status", "VMon"])
def test_an_on_is_not_good_where_it_cannot_be_read_what_became_of_it(run: CrateRun, fault: str) -> None:
    come_down(run, by_panel=True)
    run.run(1)
    channel_of(run).stubborn = True
    run.fault(slot=2, name=fault, code=Code.READERR)
    assert isinstance(outcome(run, PW, 1), BadReply)


def test_an_off_follows_an_on_that_the_switch_does_not_show_while_the_channel_ramps_down() -> None:
    async def scenario(rig: CrateRig) -> None:
        channel = rig.channel()
        channel.values["RDWn"] = 300.0
        await rig.put(PW, 0)
        channel.stubborn = True
        writes = rig.fake.writes
        with pytest.raises(BadReply, match="goes on ramping down"):
            await rig.put(PW, 1)
        await rig.until(lambda: rig.fake.writes == writes + 2)
        await rig.shows(f"{PW}:OffPending", 0)
        await rig.shows(PW, 0)
        assert channel.get("Pw") == 0

    go(scenario)


def test_an_on_without_effect_is_told_and_an_off_follows_until_the_channel_is_down() -> None:
    async def scenario(rig: CrateRig) -> None:
        channel = rig.channel()
        channel.shows_output, channel.values["RDWn"] = True, 300.0
        await rig.put(PW, 0)
        channel.stubborn = True
        with pytest.raises(BadReply, match="goes on ramping down"):
            await rig.put(PW, 1)
        await rig.shows(PW, 0)
        await rig.shows(f"{PW}_RBV", 0)
        await rig.shows(f"{PW}:OffPending", 0)
        assert not channel.on

    go(scenario)
