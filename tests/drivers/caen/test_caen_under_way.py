"""What a switch shows while its channel ramps to what it was put to, and what it shows when that does not come."""

from __future__ import annotations

import pytest

from drivers.base import Refused
from sim.caen.odd import OddChannel
from tests.drivers.caen.crate_rig import CrateRig
from tests.drivers.caen.test_caen_live import go

PW = "S02:C00:Pw"


async def come_down(rig: CrateRig, volts_per_second: float) -> OddChannel:
    """Put Off to a channel whose switch shows its output; it has begun to come down."""
    channel = rig.channel()
    channel.shows_output, channel.values["RDWn"] = True, volts_per_second
    await rig.put(PW, 0)
    assert rig.state(PW) == (0, "NO_ALARM")
    assert rig.state(f"{PW}_RBV") == (1, "NO_ALARM")
    return channel


def test_a_channel_that_is_switched_on_at_the_panel_on_its_way_down_is_shown_on() -> None:
    async def scenario(rig: CrateRig) -> None:
        channel = await come_down(rig, 50.0)
        with rig.fake.present():
            channel.switch(True)
        await rig.shows(PW, 1)
        assert rig.state(f"{PW}_RBV") == (1, "NO_ALARM")

    go(scenario)


def test_a_channel_that_comes_down_stays_shown_off() -> None:
    async def scenario(rig: CrateRig) -> None:
        await come_down(rig, 400.0)
        began = len(rig.screen.log[PW])
        await rig.shows(f"{PW}_RBV", 0)
        assert all(value == 0 for _, (value, _) in rig.screen.log[PW][began:])

    go(scenario)


def test_an_off_that_was_lost_is_not_taken_for_the_one_before_the_panels_on() -> None:
    async def scenario(rig: CrateRig) -> None:
        channel = await come_down(rig, 50.0)
        with rig.fake.present():
            channel.switch(True)
        await rig.shows(PW, 1)
        await rig.put("S02:C00:V0Set", 300.0)  # it ramps down, and is on
        await rig.shows("S02:C00:Status:DOWN", 1)
        channel.deaf.add("Pw")
        with pytest.raises(Refused, match="reads back On"):
            await rig.put(PW, 0)
        channel.deaf.clear()
        with rig.fake.present():
            channel.volts = 310.0
        channel.values["RDWn"] = 400.0
        await rig.shows(f"{PW}:OffPending", 0)
        assert not channel.on

    go(scenario)


def test_a_channel_that_trips_before_its_switch_shows_that_it_was_switched_on_is_shown_off() -> None:
    async def scenario(rig: CrateRig) -> None:
        channel = rig.channel()
        await rig.put(PW, 0)
        with rig.fake.present():
            channel.volts = 0.0
        await rig.shows(f"{PW}_RBV", 0)
        channel.late = True
        await rig.put(PW, 1)
        assert rig.state(PW) == (1, "NO_ALARM")
        assert rig.state(f"{PW}_RBV") == (0, "NO_ALARM")
        with rig.fake.present():
            channel.trip()
        await rig.shows(PW, 0)

    go(scenario)
