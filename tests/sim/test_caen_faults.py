"""The faults of a crate beyond its result codes, through the real caen_libs over the fake C library."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from sim.caen.fake import CrateFake
from sim.fake import CommandError
from sim.rack import Rack

KEYS = {"driver": "caen", "system": "SY4527", "link": "TCPIP", "host": "crate-of-faults"}


@pytest.fixture
def fake() -> Iterator[CrateFake]:
    with Rack({"HV": KEYS}) as rack:
        crate = rack.fakes["HV"]
        assert isinstance(crate, CrateFake)
        crate.patience = 0.05
        yield crate


@pytest.fixture
def device(fake: CrateFake) -> Iterator[Any]:
    from caen_libs import caenhvwrapper

    hv: Any = caenhvwrapper
    device: Any = hv.Device.open(hv.SystemType.SY4527, hv.LinkType.TCPIP, KEYS["host"], "", "")
    yield device
    try:
        device.close()
    except hv.Error:
        device._Device__opened = False


def code(call: Any, *arguments: Any) -> str:
    from caen_libs import caenhvwrapper as hv

    with pytest.raises(hv.Error) as caught:
        call(*arguments)
    return str(caught.value.code.name)


def took(call: Any, *arguments: Any) -> float:
    began = time.monotonic()
    call(*arguments)
    return time.monotonic() - began


def test_a_call_takes_as_long_as_asked_and_longer_for_each_channel(fake: CrateFake, device: Any) -> None:
    fake.run("delay 50 5")
    assert took(device.get_ch_param, 2, [0], "VMon") >= 0.055
    assert took(device.get_ch_param, 2, list(range(20)), "VMon") >= 0.15
    assert took(device.set_ch_param, 2, list(range(10)), "RUp", 40.0) >= 0.1


def test_a_session_that_idles_is_lost(fake: CrateFake, device: Any) -> None:
    fake.run("idle 0.1")
    device.get_ch_param(2, [0], "VMon")
    time.sleep(0.15)
    assert code(device.get_ch_param, 2, [0], "VMon") == "NOTCONNECTED"
    assert fake.model.sessions == []


def test_a_session_that_is_used_is_kept(fake: CrateFake, device: Any) -> None:
    fake.run("idle 0.2")
    for _ in range(5):
        time.sleep(0.1)
        device.get_ch_param(2, [0], "VMon")


def test_a_setting_outside_its_limits_is_clipped_silently(fake: CrateFake, device: Any) -> None:
    device.set_ch_param(2, [0], "SVMax", 1000.0)
    fake.run("clip")
    device.set_ch_param(2, [0], "V0Set", 2000.0)
    assert device.get_ch_param(2, [0], "V0Set") == [1000.0]
    fake.run("clip 0")
    assert code(device.set_ch_param, 2, [0], "V0Set", 2000.0) == "OUTOFRANGE"


def test_the_property_decimal_is_lacking(fake: CrateFake, device: Any) -> None:
    assert device.get_ch_param_prop(2, 0, "VMon").decimal == 1
    fake.run("no-decimal")
    assert device.get_ch_param_prop(2, 0, "VMon").decimal == 0
    assert "GetChParamProp  -> 21" in [event.value for event in fake.events.since(0)[1]]
    fake.run("no-decimal 0")
    assert device.get_ch_param_prop(2, 0, "VMon").decimal == 1


def test_a_board_is_swapped_for_another_and_back(fake: CrateFake, device: Any) -> None:
    fake.run("swap 4")
    assert device.get_crate_map()[4].model == "SIM4"
    fake.run("swap 4")
    assert device.get_crate_map()[4].model == "A1535DN"
    assert device.get_ch_param(4, [0], "Pw") == [0]
    with pytest.raises(CommandError, match="slot 5: SLOTNOTPRES"):
        fake.run("swap 5")


@pytest.mark.parametrize("place", ["8 0", "8 11"])
def test_an_overcurrent_is_refused_where_there_can_be_none(fake: CrateFake, place: str) -> None:
    fake.model.channel(8, 11).values["V0Set"] = 0.0
    with pytest.raises(CommandError, match="no voltage is set, or it has no current limit"):
        fake.run(f"overcurrent {place}")
    assert fake.model.channel(8, 11).resistance > 0


def test_a_short_circuit_is_no_division_by_zero(fake: CrateFake, device: Any) -> None:
    fake.run("set boards.2.channels.0.resistance 0")
    assert device.get_ch_param(2, [0], "IMon")[0] >= 0
    fake.run("state")


def test_a_write_is_an_event_with_the_true_state_after_it(fake: CrateFake, device: Any) -> None:
    fake.run("watch")
    device.set_ch_param(2, [0], "Pw", 0)
    whats = [event.what for event in fake.events.since(0)[1]]
    calls = [str(event.value) for event in fake.events.since(0)[1] if event.what == "wire"]
    assert calls[-1] == "SetChParam 2 [0] Pw 0 -> 0"
    assert whats[-2:] == ["is:S02:C00:Pw", "wire"]
