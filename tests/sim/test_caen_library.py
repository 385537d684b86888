"""The crate through the real caen_libs, over the fake C library."""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sim.caen.fake import CrateFake
from sim.caen.library import LIBRARY
from sim.caen.parameters import float32
from sim.rack import Rack

KEYS = {
    "driver": "caen",
    "system": "SY4527",
    "link": "TCPIP",
    "host": "crate-of-tests",
    "username": "admin",
    "password": "secret",
}


@pytest.fixture
def rack() -> Iterator[Rack]:
    with Rack({"HV": KEYS}) as rack:
        fake(rack).patience = 0.05
        yield rack


@pytest.fixture
def hv(rack: Rack) -> Any:
    """The binding; it looks for the C library when it is imported."""
    from caen_libs import caenhvwrapper

    return caenhvwrapper


@pytest.fixture
def device(hv: Any) -> Iterator[Any]:
    device = login(hv)
    yield device
    leave(device)


def fake(rack: Rack) -> CrateFake:
    crate = rack.fakes["HV"]
    assert isinstance(crate, CrateFake)
    return crate


def login(hv: Any, **differences: Any) -> Any:
    arguments = {"system_type": hv.SystemType.SY4527, "link_type": hv.LinkType.TCPIP, "arg": KEYS["host"]}
    return hv.Device.open(**(arguments | {"username": "admin", "password": "secret"} | differences))


def leave(device: Any) -> None:
    """Close, dead or alive: the binding closes again when it is collected, unless it believes that it is closed."""
    try:
        device.close()
    except Exception:
        device._Device__opened = False


def fails(hv: Any, code: str, call: Any, *arguments: Any) -> bool:
    with pytest.raises(hv.Error) as caught:
        call(*arguments)
    assert caught.value.code.name == code
    return True


def test_the_crate_map_tells_the_boards(device: Any) -> None:
    boards = device.get_crate_map()
    assert len(boards) == 16
    assert {board.slot: (board.model, board.n_channel) for board in boards if board} == {
        2: ("A1833P", 28),
        4: ("A1535DN", 24),
        8: ("A1737", 12),
    }
    assert boards[4].serial_number == 70311, "more than 16 bits"


def test_all_channel_parameters_can_be_discovered_and_read(rack: Rack, device: Any) -> None:
    fake(rack).latency = 0.0  # some 6000 calls
    for board in filter(None, device.get_crate_map()):
        for channel in range(board.n_channel):
            for name in device.get_ch_param_info(board.slot, channel):
                if device.get_ch_param_prop(board.slot, channel, name).mode.name != "WRONLY":
                    assert len(device.get_ch_param(board.slot, [channel], name)) == 1


def test_the_properties_of_parameters_arrive(device: Any, hv: Any) -> None:
    current = device.get_ch_param_prop(8, 1, "IMon")
    assert (current.unit, current.exp, current.decimal, current.maxval) == (hv.ParamUnit.AMPERE, -3, 4, 20)
    power = device.get_ch_param_prop(2, 0, "PDwn")
    assert (power.onstate, power.offstate) == ("Ramp", "Kill")
    assert device.get_ch_param_prop(4, 0, "IMRange").enum == ("High", "Low")
    assert device.get_ch_param_prop(8, 0, "ClrAlarm").mode is hv.ParamMode.WRONLY


def test_channel_0_of_the_distributor_is_of_another_kind(device: Any, hv: Any) -> None:
    assert "HsTemp" in device.get_ch_param_info(8, 0)
    assert fails(hv, "PARAMNOTFOUND", device.get_ch_param, 8, [1, 0], "IMon")


def test_strings_of_several_channels_arrive(device: Any) -> None:
    assert device.get_ch_param(4, [0, 5, 7], "Polarity") == ["-", "-", "-"]


def test_board_parameters_can_be_read_and_set(device: Any, hv: Any) -> None:
    assert device.get_bd_param_info(4) == ("BdStatus", "HVMax", "Temp")
    assert device.get_bd_param([2, 4], "HVMax") == [2800, 480]
    device.set_bd_param([8], "FanSpeed", 5)
    assert device.get_bd_param([8], "FanSpeed") == [5]
    assert fails(hv, "WRITEERR", device.set_bd_param, [8], "Temp1", 5)


def test_presence_of_a_board_can_be_tested(device: Any, hv: Any) -> None:
    assert device.test_bd_presence(2).n_channel == 28
    assert fails(hv, "SLOTNOTPRES", device.test_bd_presence, 3)


def test_system_properties_of_every_type_can_be_read(device: Any, hv: Any) -> None:
    values = {}
    for name in device.get_sys_prop_list():
        if name not in ("PWCurrent", "Message"):
            values[device.get_sys_prop_info(name).type] = device.get_sys_prop(name)
    assert set(values) == set(hv.SysPropType)
    assert device.get_sys_prop("ModelName") == "SY4527"
    assert device.get_sys_prop("CPULoad") == 12.5
    assert device.get_sys_prop("OutputLevel") is True


def test_system_properties_have_their_modes(device: Any, hv: Any) -> None:
    device.set_sys_prop("SymbolicName", "north")
    device.set_sys_prop("GenSignCfg", 3)
    assert (device.get_sys_prop("SymbolicName"), device.get_sys_prop("GenSignCfg")) == ("north", 3)
    device.set_sys_prop("Message", "hello")
    assert fails(hv, "NOTGETPROP", device.get_sys_prop, "Message")
    assert fails(hv, "GETPROPNOTIMPL", device.get_sys_prop, "PWCurrent")
    assert fails(hv, "NOTSETPROP", device.set_sys_prop, "ModelName", "mine")
    assert fails(hv, "PROPNOTFOUND", device.get_sys_prop, "NoSuch")


def test_a_setting_is_quantised_to_single_precision(device: Any) -> None:
    device.set_ch_param(2, [20, 21], "V0Set", 1234.56)
    assert device.get_ch_param(2, [20, 21, 22], "V0Set")[:2] == [float32(1234.56)] * 2


def test_a_refused_setting_has_code_and_text(device: Any, hv: Any) -> None:
    with pytest.raises(hv.Error, match="OUTOFRANGE") as caught:
        device.set_ch_param(2, [0], "V0Set", 99999)
    assert caught.value.code is hv.Error.Code.OUTOFRANGE
    assert fails(hv, "PARAMNOTFOUND", device.get_ch_param_prop, 2, 0, "NoSuch")
    assert fails(hv, "OUTOFRANGE", device.get_ch_param, 2, [28], "VMon")


def test_a_channel_ramps_in_real_time(device: Any) -> None:
    device.set_ch_param(2, [24], "RUp", 500)
    device.set_ch_param(2, [24], "Pw", 1)
    time.sleep(0.3)
    volts = device.get_ch_param(2, [24], "VMon")[0]
    assert 100 < volts < 600
    assert device.get_ch_param(2, [24], "Status")[0] & 0x3 == 0x3


def test_names_of_channels_can_be_set(device: Any) -> None:
    assert device.get_ch_name(8, [1, 11]) == ("S08C01", "S08C11")
    device.set_ch_name(8, [1], "a name too long")
    assert device.get_ch_name(8, [1]) == ("a name too ",)


def test_commands_without_value_go_to_a_channel_and_to_the_crate(device: Any, hv: Any) -> None:
    device.set_ch_param(8, [1], "ZeroAdj", None)
    assert device.get_exec_comm_list() == ("Kill", "ClearAlarm", "EnMsg", "DisMsg")
    device.exec_comm("Kill")
    assert device.get_ch_param(2, range(28), "Pw") == [0] * 28
    assert fails(hv, "EXECNOTFOUND", device.exec_comm, "NoSuch")


def test_sets_count_as_writes_and_gets_do_not(rack: Rack, device: Any) -> None:
    device.get_crate_map()
    device.get_ch_param(2, [0], "V0Set")
    assert rack.command("HV writes") == "0"
    device.set_ch_param(2, [0], "RUp", 10)
    device.set_sys_prop("SymbolicName", "x")
    device.exec_comm("ClearAlarm")
    device.set_ch_name(2, [0], "x")
    assert rack.command("HV writes") == "4"


def test_all_memory_that_was_given_is_freed(device: Any) -> None:
    device.get_crate_map()
    device.get_sys_prop_list()
    device.get_ch_param_info(2, 0)
    device.get_bd_param_info(2)
    device.get_exec_comm_list()
    device.test_bd_presence(2)
    assert LIBRARY.blocks == set()


def test_events_are_not_there(device: Any, hv: Any) -> None:
    assert fails(hv, "NOTYETIMPLEMENTED", device.subscribe_channel_params, 2, 0, ["VMon"])


def test_a_login_needs_the_right_host_user_link_and_system(hv: Any) -> None:
    assert fails(hv, "NOTCONNECTED", lambda: login(hv, arg="elsewhere"))
    assert fails(hv, "USERPASSFAILED", lambda: login(hv, password="guess"))
    assert fails(hv, "LINKNOTSUPPORTED", lambda: login(hv, link_type=hv.LinkType.USB))
    assert fails(hv, "COMMUNICATIONERROR", lambda: login(hv, system_type=hv.SystemType.SY1527))


def test_sessions_are_few_and_shown(hv: Any) -> None:
    devices = [login(hv) for _ in range(4)]
    assert fails(hv, "LOGINFAILED", lambda: login(hv))
    devices.pop().close()
    assert devices[0].get_sys_prop("Sessions") == "admin admin admin"
    for device in devices:
        device.close()


def test_without_the_cable_nothing_can_be_called_or_opened(rack: Rack, device: Any, hv: Any) -> None:
    rack.command("HV unplug")
    assert fails(hv, "SOCKETERROR", device.get_ch_param_info, 2, 0)
    assert fails(hv, "NOTCONNECTED", lambda: login(hv))


def test_a_handle_does_not_survive_its_connection(rack: Rack, device: Any, hv: Any) -> None:
    rack.command("HV unplug")
    rack.command("HV plug")
    assert fails(hv, "NOTCONNECTED", device.get_ch_param_info, 2, 0)
    assert fails(hv, "NOTCONNECTED", device.close)
    login(hv).close()


def test_a_reboot_kills_handles_and_voltages_except_pon(rack: Rack, device: Any, hv: Any) -> None:
    rack.command("HV reboot 0.1")
    assert fails(hv, "SOCKETERROR", device.get_ch_param_info, 2, 0)
    time.sleep(0.1)
    again = login(hv)
    assert again.get_ch_param(2, [0, 5], "Pw") == [1, 0]
    assert again.get_sys_prop("UpTime") == 0
    again.close()


def test_a_pulled_board_leaves_the_crate_map(rack: Rack, device: Any, hv: Any) -> None:
    rack.command("HV pull 4")
    assert device.get_crate_map()[4] is None
    assert fails(hv, "SLOTNOTPRES", device.get_ch_param, 4, [0], "VMon")
    rack.command("HV insert 4")
    assert device.get_ch_param(4, [0], "Pw") == [0]


def test_an_overcurrent_shows_in_the_status(rack: Rack, device: Any) -> None:
    rack.command("HV overcurrent 2 0")
    time.sleep(0.02)
    assert device.get_ch_param(2, [0], "Status")[0] & 0x8
    assert device.get_ch_param(2, [0], "IMon") == [pytest.approx(400, abs=0.1)]


def test_a_trip_from_the_control_channel(rack: Rack, device: Any) -> None:
    rack.command("HV trip 2 3")
    assert device.get_ch_param(2, [3], "Status")[0] & 0x200


def test_a_bad_channel_fails_every_bulk_call(rack: Rack, device: Any, hv: Any) -> None:
    rack.command("HV badchannel 2 7")
    assert fails(hv, "READERR", device.get_ch_param, 2, range(28), "VMon")
    assert fails(hv, "WRITEERR", device.set_ch_param, 2, [6, 7], "RUp", 10)
    assert len(device.get_ch_param(2, range(7), "VMon")) == 7
    rack.command("HV badchannel 2 7 0")
    assert len(device.get_ch_param(2, range(28), "VMon")) == 28


def test_somebody_at_the_front_panel_is_not_a_write_of_ours(rack: Rack, device: Any) -> None:
    rack.command("HV front 2 0 V0Set 432")
    rack.command("HV front 2 0 Pw 0")
    assert (device.get_ch_param(2, [0], "V0Set"), device.get_ch_param(2, [0], "Pw")) == ([432], [0])
    assert rack.command("HV writes") == "0"


@pytest.mark.alone
def test_a_hanging_call_blocks_its_thread_alone(rack: Rack, device: Any) -> None:
    rack.command("HV hang 0.3")
    start = time.monotonic()
    thread = threading.Thread(target=device.get_ch_param, args=(2, [0], "VMon"))
    thread.start()
    assert time.monotonic() - start < 0.2, "the interpreter runs on"
    thread.join()
    assert time.monotonic() - start >= 0.3


def test_a_lagging_crate_reads_back_late(rack: Rack, device: Any) -> None:
    before = device.get_ch_param(2, [0], "RUp")
    rack.command("HV lag 0.2")
    device.set_ch_param(2, [0], "RUp", 7)
    assert device.get_ch_param(2, [0], "RUp") == before
    time.sleep(0.25)
    assert device.get_ch_param(2, [0], "RUp") == [7]


def test_a_mute_crate_times_out(rack: Rack, device: Any, hv: Any) -> None:
    rack.command("HV mute")
    assert fails(hv, "TIMEERR", device.get_ch_param_info, 2, 0)
    assert fails(hv, "TIMEERR", lambda: login(hv))
    rack.command("HV unmute")
    assert "V0Set" in device.get_ch_param_info(2, 0)


def test_garbage_is_a_code_that_nobody_knows(rack: Rack, device: Any, hv: Any) -> None:
    rack.command("HV garbage")
    assert fails(hv, "UNKNOWN", device.get_ch_param_info, 2, 0)
    assert "V0Set" in device.get_ch_param_info(2, 0)


def test_a_late_answer_takes_longer(rack: Rack, device: Any) -> None:
    rack.command("HV late 0.1 1")
    start = time.monotonic()
    device.get_exec_comm_list()
    assert time.monotonic() - start >= 0.1


def test_a_call_takes_its_latency(rack: Rack, device: Any) -> None:
    fake(rack).latency = 0.02
    start = time.monotonic()
    device.get_exec_comm_list()
    assert time.monotonic() - start >= 0.02


def test_two_threads_in_one_handle_are_a_violation(rack: Rack, device: Any) -> None:
    fake(rack).latency = 0.05
    threads = [threading.Thread(target=device.exec_comm, args=("ClearAlarm",), name=f"t{n}") for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    violations = json.loads(rack.command("HV violations"))
    assert len(violations) == 1
    assert violations[0].removeprefix("thread ")[2:] == " called while another was inside the same handle"


def test_two_threads_in_two_handles_are_fine(rack: Rack, hv: Any) -> None:
    devices = [login(hv), login(hv)]
    threads = [threading.Thread(target=device.exec_comm, args=("ClearAlarm",)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rack.command("HV violations") == "[]"
    for device in devices:
        device.close()


def test_the_type_of_the_system_is_that_of_the_configuration(hv: Any) -> None:
    with Rack({"OLD": KEYS | {"system": "SY1527", "host": "old"}}):
        device = login(hv, system_type=hv.SystemType.SY1527, arg="old")
        assert device.get_sys_prop("ModelName") == "SY1527"
        device.close()


def test_everything_of_the_model_can_be_seen_and_set(rack: Rack, device: Any) -> None:
    rack.command("HV set boards.2.channels.5.resistance 5e6")
    state = json.loads(rack.command("HV state"))
    assert state["boards"]["2"]["channels"][5]["resistance"] == 5e6
    rack.command("HV set properties.FrontPanIn.value 2")
    assert device.get_sys_prop("FrontPanIn") == 2


def test_the_binding_closes_a_dead_device_once_more_when_it_is_collected(
    rack: Rack, hv: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why ``leave`` is as it is."""
    device = login(hv)
    rack.command("HV unplug")
    assert fails(hv, "NOTCONNECTED", device.close)
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda complaint: complaints.append(complaint.exc_type))
    del device
    gc.collect()
    assert hv.Error in complaints
