"""The crate's physics, with time stepped by hand."""

from __future__ import annotations

import pytest

from sim.caen.boards import demo_crate
from sim.caen.channel import Channel
from sim.caen.crate import Crate
from sim.caen.header import Code, status_bits
from sim.caen.parameters import CrateError, float32

ON, UP, DOWN, OVC, OVV, UNV, VMAX, DISABLED, TRIP = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x80, 0x100, 0x200


@pytest.fixture
def crate() -> Crate:
    return demo_crate("SY4527")


@pytest.fixture
def channel(crate: Crate) -> Channel:
    """A quiet channel that is off: 1000 V wanted into 10 megaohm, at most 400 uA."""
    channel = crate.channel(2, 25)
    channel.noise = 0.0
    channel.resistance = 1e7
    channel.put("V0Set", 1000.0)
    return channel


def run(channel: Channel, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        channel.step(0.1)


def refuses(code: Code, crate: Crate, slot: int, number: int, name: str, value: float | str) -> bool:
    with pytest.raises(CrateError) as caught:
        crate.put([crate.channel(slot, number)], name, value)
    return caught.value.code is code


def test_the_demo_crate_has_three_different_boards(crate: Crate) -> None:
    assert {slot: len(board.channels) for slot, board in crate.boards.items()} == {2: 28, 4: 24, 8: 12}
    kinds = {frozenset(channel.params) for channel in crate.all_channels()}
    assert len(kinds) == 4
    assert len({frozenset(board.params) for board in crate.boards.values()}) == 3


def test_the_names_fit_the_fields_of_the_library(crate: Crate) -> None:
    for node in (*crate.all_channels(), *crate.boards.values()):
        assert all(len(name) < 10 for name in node.params)
    assert all(len(channel.name) < 12 for channel in crate.all_channels())


def test_some_channels_of_the_demo_are_on_and_settled_and_some_are_off(crate: Crate) -> None:
    statuses = [channel.status() for channel in crate.all_channels()]
    assert set(statuses) == {0, ON}
    assert statuses.count(ON) > 30


def test_readings_of_the_demo_have_noise(crate: Crate) -> None:
    for name in ("VMon", "IMon"):
        assert len({crate.channel(2, 0).get(name) for _ in range(20)}) > 1


def test_a_reading_can_be_wrong(channel: Channel) -> None:
    channel.put("Pw", 1)
    run(channel, 21)
    channel.offset = -7.5
    assert channel.get("VMon") == 992.5
    assert channel.get("Status") == ON


def test_power_on_ramps_with_rup(channel: Channel) -> None:
    channel.put("Pw", 1)
    run(channel, 10)
    assert channel.get("VMon") == pytest.approx(500)
    assert channel.get("Status") == ON | UP | UNV
    run(channel, 11)
    assert channel.get("VMon") == 1000
    assert channel.get("IMon") == pytest.approx(100)
    assert channel.get("Status") == ON


def test_power_off_ramps_with_rdwn(channel: Channel) -> None:
    channel.put("Pw", 1)
    run(channel, 21)
    channel.put("Pw", 0)
    assert channel.get("Pw") == 0
    run(channel, 5)
    assert channel.get("VMon") == pytest.approx(500)
    assert channel.get("Status") == ON | DOWN
    run(channel, 6)
    assert channel.get("Status") == 0


def test_a_new_setting_while_ramping_is_followed_at_once(channel: Channel) -> None:
    channel.put("Pw", 1)
    run(channel, 15)
    channel.put("V0Set", 500.0)
    run(channel, 1)
    assert channel.get("VMon") == pytest.approx(650)
    assert channel.get("Status") == ON | DOWN | OVV


def test_a_load_that_wants_too_much_gets_constant_current(channel: Channel) -> None:
    channel.put("Trip", 1000.0)
    channel.put("Pw", 1)
    run(channel, 21)
    channel.resistance = 1e6
    run(channel, 3600)
    assert channel.get("IMon") == pytest.approx(400)
    assert channel.get("VMon") == pytest.approx(400)
    assert channel.get("Status") == ON | OVC | UNV


def test_overcurrent_that_lasts_longer_than_trip_switches_off(channel: Channel) -> None:
    channel.put("Trip", 2.0)
    channel.put("Pw", 1)
    run(channel, 21)
    channel.resistance = 1e6
    run(channel, 1.9)
    assert channel.get("Status") == ON | OVC | UNV
    run(channel, 0.5)
    assert channel.get("Pw") == 0
    assert channel.status() & TRIP


def test_overcurrent_that_ends_in_time_does_not_trip(channel: Channel) -> None:
    channel.put("Trip", 2.0)
    channel.put("Pw", 1)
    run(channel, 21)
    for resistance in (1e6, 1e7, 1e6):
        channel.resistance = resistance
        run(channel, 1.5)
    assert channel.get("Pw") == 1


@pytest.mark.parametrize(("pdwn", "volts"), [(0, 0), (1, 900)])
def test_a_trip_goes_down_by_pdwn(channel: Channel, pdwn: int, volts: float) -> None:
    channel.put("PDwn", pdwn)
    channel.put("Pw", 1)
    run(channel, 21)
    channel.trip()
    run(channel, 1)
    assert channel.get("VMon") == pytest.approx(volts)


def test_a_trip_stays_until_alarms_are_cleared(crate: Crate, channel: Channel) -> None:
    channel.trip()
    run(channel, 60)
    assert channel.get("Status") == TRIP
    crate.execute("ClearAlarm")
    assert channel.get("Status") == 0


def test_kill_drops_everything(crate: Crate) -> None:
    crate.execute("Kill")
    for _ in range(10):
        crate.step(0.1)
    assert all(channel.volts == 0 and channel.get("Pw") == 0 for channel in crate.all_channels())


def test_an_unknown_command_is_refused(crate: Crate) -> None:
    with pytest.raises(CrateError, match="EXECNOTFOUND"):
        crate.execute("Explode")


def test_svmax_is_the_highest_setting_and_drags_it_down(crate: Crate, channel: Channel) -> None:
    assert channel.param("V0Set").maxval == 2500
    crate.put([channel], "SVMax", 600.0)
    assert channel.get("V0Set") == 600
    assert channel.param("V0Set").maxval == 600
    assert refuses(Code.OUTOFRANGE, crate, 2, 25, "V0Set", 601.0)


def test_the_hardware_limit_of_the_board_shows_in_the_status(channel: Channel) -> None:
    channel.put("SVMax", 3000.0)
    channel.put("V0Set", 2900.0)
    channel.put("Pw", 1)
    run(channel, 60)
    assert channel.get("VMon") == 2800
    assert channel.get("Status") == ON | VMAX


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("V0Set", -1.0, Code.OUTOFRANGE),
        ("V0Set", 2501.0, Code.OUTOFRANGE),
        ("RUp", 0.0, Code.OUTOFRANGE),
        ("Pw", 2, Code.OUTOFRANGE),
        ("VMon", 1.0, Code.WRITEERR),
        ("Status", 1, Code.WRITEERR),
        ("NoSuch", 1.0, Code.PARAMNOTFOUND),
    ],
)
def test_what_the_crate_refuses(crate: Crate, name: str, value: float, code: Code) -> None:
    assert refuses(code, crate, 2, 0, name, value)


def test_a_put_to_several_channels_is_all_or_nothing(crate: Crate) -> None:
    channels = [crate.channel(2, 20), crate.channel(2, 21)]
    channels[1].put("SVMax", 100.0)
    with pytest.raises(CrateError, match="OUTOFRANGE"):
        crate.put(channels, "V0Set", 200.0)
    assert channels[0].get("V0Set") != 200


def test_settings_are_kept_in_single_precision(channel: Channel) -> None:
    channel.put("V0Set", 1234.56)
    assert channel.get("V0Set") == float32(1234.56) != 1234.56


def test_the_second_set_is_chosen_at_the_front_panel(channel: Channel) -> None:
    channel.put("V1Set", 300.0)
    channel.put("Pw", 1)
    channel.uses_second_set = True
    run(channel, 21)
    assert channel.get("VMon") == 300


def test_the_interlock_of_a_board_disables_its_channels(crate: Crate) -> None:
    crate.put([crate.board(2)], "BdIlk", 1)
    crate.step(2)
    crate.step(2)
    assert crate.channel(2, 0).get("Status") == DISABLED
    crate.put([crate.channel(2, 0)], "Pw", 1)
    assert crate.channel(2, 0).get("Pw") == 0
    assert crate.channel(4, 0).get("Pw") == 1


def test_the_current_range_changes_unit_and_settings(crate: Crate) -> None:
    channel = crate.channel(4, 0)
    channel.put("I0Set", 0.5)
    assert channel.param("IMon").exp == -6
    channel.put("IMRange", 1)
    assert channel.param("IMon").exp == channel.param("I0Set").exp == -9
    assert channel.get("I0Set") == pytest.approx(500)
    channel.put("IMRange", 0)
    assert channel.get("I0Set") == pytest.approx(0.5)


def test_a_setting_beyond_the_fine_range_becomes_its_end(crate: Crate) -> None:
    channel = crate.channel(4, 0)
    channel.put("I0Set", 500.0)
    channel.put("IMRange", 1)
    assert channel.get("I0Set") == 1000


def test_after_a_power_cycle_only_channels_with_pon_come_back(crate: Crate) -> None:
    crate.power_down()
    assert all(channel.volts == 0 for channel in crate.all_channels())
    crate.boot()
    assert crate.channel(2, 0).get("Pw") == 1
    assert crate.channel(2, 5).get("Pw") == 0


def test_a_pulled_board_is_gone_and_comes_back_off(crate: Crate) -> None:
    crate.pull(4)
    with pytest.raises(CrateError, match="SLOTNOTPRES"):
        crate.channel(4, 0)
    crate.insert(4)
    assert crate.channel(4, 0).status() == 0


def test_a_lagging_crate_tells_the_old_setting_for_a_while(crate: Crate) -> None:
    channel = crate.channel(2, 0)
    old = channel.get("V0Set")
    crate.lag = 1.0
    crate.put([channel], "V0Set", 777.0)
    crate.step(0.9)
    assert crate.get(channel, "V0Set") == old
    crate.step(0.2)
    assert crate.get(channel, "V0Set") == 777


def test_status_bits_differ_between_systems(channel: Channel) -> None:
    channel.tripped = True
    masks = {}
    for system in ("SY1527", "SY4527", "N1470", "V65XX", "SMARTHV"):
        channel.bits = status_bits(system)
        masks[system] = channel.status()
    assert masks == {"SY1527": 0x200, "SY4527": 0x200, "N1470": 0x80, "V65XX": 0x100, "SMARTHV": 0x40}


def test_an_unplugged_channel_says_so_and_stays_off(channel: Channel) -> None:
    channel.unplugged = True
    channel.put("Pw", 1)
    assert channel.get("Status") == 0x800


def test_a_channel_at_rest_does_not_move_and_one_that_is_disturbed_does(channel: Channel) -> None:
    channel.put("Pw", 1)
    assert not channel.resting
    run(channel, 21)
    assert channel.resting
    run(channel, 10)
    assert channel.get("VMon") == 1000
    channel.resistance = 1e6  # wants 1 mA, gets 400 uA
    assert not channel.resting
    run(channel, 1)
    assert channel.get("VMon") == 400
    assert channel.overcurrent
    channel.resistance = 1e7
    run(channel, 13)
    assert channel.get("VMon") == 1000
    assert channel.resting
