"""The CAEN crate: real caen-libs over the C ABI; each test injects its fault."""

from __future__ import annotations

import math
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.client import Client
from tests.system.conftest import CRATE, Ioc, Racks

CHANNEL = "HV1:S02:C00"


@pytest.fixture(scope="module")
def ioc(racks: Racks, ca: Client) -> Ioc:
    channels = {2: [0, 1, 2, 3], 4: [0, 1], 8: "ALL"}
    # settings are scanned every 10 s if nothing is configured: many a test would wait for that
    ioc = racks.start({"HV1": {**CRATE, "channels": channels, "scan": {"settings": 2.0}}})
    ca.wait(ioc("HV1:Conn"), lambda value: value == 2, 20)
    deadline = time.monotonic() + 30
    while ioc("HV1:S08:C11:VMon") not in ca.long(ioc("IOC:PVList")).splitlines():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return ioc


def healthy(ca: Client, ioc: Ioc, name: str = f"{CHANNEL}:V0Set", timeout: float = 30) -> None:
    ca.wait(ioc(name), lambda value: value.severity < 3, timeout)  # MINOR since a put to it was refused


def test_parameters_come_with_the_crates_units_limits_and_words(ioc: Ioc, ca: Client) -> None:
    healthy(ca, ioc)
    import aioca

    voltage = ca.get(ioc(f"{CHANNEL}:V0Set"), format=aioca.FORMAT_CTRL)
    assert (voltage.units, voltage.upper_ctrl_limit > 100) == ("V", True)
    assert ca.get(ioc(f"{CHANNEL}:IMon"), format=aioca.FORMAT_CTRL).units == "uA"
    assert list(ca.get(ioc(f"{CHANNEL}:Pw"), format=aioca.FORMAT_CTRL).enums) == ["Off", "On"]
    assert ca.text(ioc("HV1:S02:Model")) == "A1833P"
    assert ca.text(ioc("HV1:Sys:ModelName")) == "SY4527"
    assert ca.text(ioc(f"{CHANNEL}:VMon.RTYP")) == "ai"
    assert len(ca.text(ioc(f"{CHANNEL}:Name_RBV"))) > 0


def test_channels_that_are_not_configured_have_no_records(ioc: Ioc, ca: Client) -> None:
    names = ca.long(ioc("IOC:PVList")).splitlines()
    channels = {name.split(":")[2] + name.split(":")[3] for name in names if ":C" in name and ":VMon" in name}
    assert {each for each in channels if each.startswith("S02")} == {"S02C00", "S02C01", "S02C02", "S02C03"}
    assert any(each.startswith("S08") for each in channels)


def test_a_put_completes_when_the_crate_took_the_value(ioc: Ioc, ca: Client) -> None:
    ca.put(ioc(f"{CHANNEL}:V0Set"), 123.4)
    assert float(ca.get(ioc(f"{CHANNEL}:V0Set"))) == pytest.approx(123.4, abs=0.06)
    assert float(ca.get(ioc(f"{CHANNEL}:V0Set_RBV"))) == pytest.approx(123.4, abs=0.06)


def test_who_asks_while_the_process_stands_still_gets_nothing_old_as_true(ioc: Ioc, ca: Client) -> None:
    """Requests lie there when it goes on, and are heard before anything that is due by the clock."""
    names, pause = [ioc(f"HV1:S08:C{channel:02}:VMon") for channel in range(12)], 3.0
    for _ in range(4):
        for name in names:
            ca.wait(name, lambda value: value.severity < 3)
        ioc.process.send_signal(signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(len(names)) as pool:
                asked = [pool.submit(ca.get, name) for name in names]
                time.sleep(pause)
                ioc.process.send_signal(signal.SIGCONT)
                answers = [each.result() for each in asked]
        finally:
            ioc.process.send_signal(signal.SIGCONT)
        assert not [each for each in answers if each.severity < 3 and time.time() - each.timestamp > pause]


def test_a_channel_ramps_up_and_down_with_its_status(ioc: Ioc, ca: Client) -> None:
    ca.put(ioc("HV1:S02:C01:RDWn"), 500)
    ca.put(ioc("HV1:S02:C01:Pw"), "Off")
    ca.put(ioc("HV1:S02:C01:V0Set"), 60)
    ca.put(ioc("HV1:S02:C01:RUp"), 20)
    ca.wait(ioc("HV1:S02:C01:Status:ON"), lambda value: value == 0, 20)
    ca.put(ioc("HV1:S02:C01:Pw"), "On")
    ca.wait(ioc("HV1:S02:C01:Status:UP"), lambda value: value == 1)
    ca.wait(ioc("HV1:S02:C01:VMon"), lambda value: abs(value - 60) < 3)
    ca.wait(ioc("HV1:S02:C01:Status:UP"), lambda value: value == 0)
    assert ca.text(ioc("HV1:S02:C01:Status:ON.SEVR")) == "NO_ALARM"
    ca.put(ioc("HV1:S02:C01:Pw"), "Off")
    ca.wait(ioc("HV1:S02:C01:VMon"), lambda value: value < 3)


@pytest.mark.parametrize("value", [1e6, -1, math.nan, math.inf])
def test_a_put_outside_the_limits_is_refused_and_nothing_is_sent(ioc: Ioc, ca: Client, value: float) -> None:
    healthy(ca, ioc)
    before = ioc.fault("HV1 writes"), float(ca.get(ioc(f"{CHANNEL}:V0Set")))
    assert "V0Set" in ca.refused(ioc(f"{CHANNEL}:V0Set"), value)
    after = ca.get(ioc(f"{CHANNEL}:V0Set"))
    assert (ioc.fault("HV1 writes"), float(after), after.severity) == (*before, 1)


def test_a_change_at_the_front_panel_shows_in_the_setting(ioc: Ioc, ca: Client) -> None:
    ioc.fault("HV1 front 2 0 V0Set 77")
    ca.wait(ioc(f"{CHANNEL}:V0Set"), lambda value: abs(value - 77) < 0.1, 25)


def test_a_lower_svmax_lowers_the_limit_of_v0set(ioc: Ioc, ca: Client) -> None:
    import aioca

    ca.put(ioc(f"{CHANNEL}:V0Set"), 50)
    ca.put(ioc(f"{CHANNEL}:SVMax"), 400)
    deadline = time.monotonic() + 20
    while ca.get(ioc(f"{CHANNEL}:V0Set"), format=aioca.FORMAT_CTRL).upper_ctrl_limit != 400:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "400" in ca.refused(ioc(f"{CHANNEL}:V0Set"), 500)


def test_a_trip_is_major_in_its_bit_and_in_the_status_word(ioc: Ioc, ca: Client) -> None:
    ca.put(ioc("HV1:S02:C02:Pw"), "On")
    ca.wait(ioc("HV1:S02:C02:Status:ON"), lambda value: value == 1)
    ioc.fault("HV1 trip 2 2")
    ca.wait(ioc("HV1:S02:C02:Status:I_TRIPPED"), lambda value: value == 1)
    assert ca.severity(ioc("HV1:S02:C02:Status:I_TRIPPED")) == "MAJOR"
    assert ca.severity(ioc("HV1:S02:C02:Status")) == "MAJOR"
    ca.put(ioc("HV1:Cmd:ClearAlarm"), 1)
    ca.wait(ioc("HV1:S02:C02:Status:I_TRIPPED"), lambda value: value == 0)
    assert int(ca.get(ioc("HV1:Cmd:ClearAlarm"))) == 0


def test_a_channel_name_can_be_changed(ioc: Ioc, ca: Client) -> None:
    ca.put(ioc(f"{CHANNEL}:Name"), "WIRE07")
    assert ca.text(ioc(f"{CHANNEL}:Name_RBV")) == "WIRE07"
    assert "11" in ca.refused(ioc(f"{CHANNEL}:Name"), "much too long a name")
    assert ca.text(ioc(f"{CHANNEL}:Name")) == "WIRE07"


def test_a_pulled_board_is_invalid_others_go_on_and_it_comes_back(ioc: Ioc, ca: Client) -> None:
    healthy(ca, ioc, "HV1:S04:C00:VMon")
    ioc.fault("HV1 pull 4")
    ca.wait(ioc("HV1:S04:C00:VMon"), lambda value: value.severity == 3, 3)
    ca.wait(ioc("HV1:S04:C00:V0Set"), lambda value: value.severity == 3, 25)
    assert ca.get(ioc(f"{CHANNEL}:VMon")).severity == 0
    ioc.fault("HV1 insert 4")
    healthy(ca, ioc, "HV1:S04:C00:VMon")
    healthy(ca, ioc, "HV1:S04:C00:V0Set")


def test_a_bad_channel_is_invalid_alone(ioc: Ioc, ca: Client) -> None:
    healthy(ca, ioc, "HV1:S02:C03:VMon")
    ioc.fault("HV1 badchannel 2 3")
    ca.wait(ioc("HV1:S02:C03:VMon"), lambda value: value.severity == 3, 5)
    time.sleep(2)
    assert ca.get(ioc(f"{CHANNEL}:VMon")).severity == 0
    ioc.fault("HV1 badchannel 2 3 0")
    healthy(ca, ioc, "HV1:S02:C03:VMon")


@pytest.mark.quiet
@pytest.mark.parametrize(
    ("fault", "cure", "statuses"),
    [
        ("unplug", "plug", {"COMM", "TIMEOUT"}),
        ("mute", "unmute", {"TIMEOUT", "COMM"}),
        ("reboot 3", "unmute", {"COMM"}),
    ],
)
def test_a_loss_is_invalid_within_two_scans_keeps_the_value_and_heals(
    ioc: Ioc, ca: Client, fault: str, cure: str, statuses: set[str]
) -> None:
    healthy(ca, ioc)
    value = float(ca.get(ioc(f"{CHANNEL}:V0Set")))
    writes = ioc.fault("HV1 writes")
    began = time.monotonic()
    ioc.fault(f"HV1 {fault}")
    ca.wait(ioc(f"{CHANNEL}:VMon"), lambda value: value.severity == 3, 4)
    assert time.monotonic() - began < 2.6
    assert ca.status(ioc(f"{CHANNEL}:VMon")) in statuses
    lost = ca.wait(ioc(f"{CHANNEL}:V0Set"), lambda value: value.severity == 3, 4)
    assert float(lost) == value
    ioc.fault(f"HV1 {cure}")
    healthy(ca, ioc, f"{CHANNEL}:VMon", 40)
    healthy(ca, ioc)
    assert ioc.fault("HV1 writes") == writes


@pytest.mark.quiet
def test_a_call_that_hangs_is_invalid_within_two_scans(ioc: Ioc, ca: Client) -> None:
    healthy(ca, ioc)
    ioc.fault("HV1 hang 4")
    began = time.monotonic()
    ca.wait(ioc(f"{CHANNEL}:VMon"), lambda value: value.severity == 3, 4)
    assert time.monotonic() - began < 2.6
    healthy(ca, ioc, f"{CHANNEL}:VMon")
    healthy(ca, ioc)


def test_a_crate_that_lags_does_not_flip_a_setting_back(ioc: Ioc, ca: Client) -> None:
    healthy(ca, ioc)
    ca.put(ioc(f"{CHANNEL}:V0Set"), 20)
    ioc.fault("HV1 lag 0.5")
    updates = ca.monitor(ioc(f"{CHANNEL}:V0Set"))
    ca.put(ioc(f"{CHANNEL}:V0Set"), 30)
    time.sleep(1)
    ioc.fault("HV1 lag 0")
    values = [round(float(value)) for value in updates]
    assert values == sorted(values)
    assert values[-1] == 30


def test_the_library_was_never_called_from_two_threads(ioc: Ioc) -> None:
    assert ioc.fault("HV1 violations") == "[]"
