"""The Technix generator: real pyserial on a pty, real libca in front; each test injects its fault."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from aioca import CANothing

from tests.client import Client
from tests.system.conftest import GENERATOR, Ioc, Racks, losses


@pytest.fixture(scope="module")
def ioc(racks: Racks) -> Ioc:
    return racks.start({"GEN": GENERATOR})


@pytest.fixture(autouse=True)
def at_rest(ioc: Ioc, ca: Client) -> Iterator[None]:
    """Every test begins and ends with a healthy generator in remote mode, HV off."""

    def rest() -> None:
        for line in ("plug", "unmute", "split 0", "late 0", "garbage 0", "interlock close"):
            ioc.fault(f"GEN {line}")
        with suppress(CANothing):  # a first try in vain is followed by others
            ca.put(ioc("GEN:Retry"), 1)
        ca.wait(ioc("GEN:Status"), lambda value: value.severity == 0)
        ioc.fault("GEN reset")
        ca.put(ioc("GEN:Inhibit"), "Off")
        ca.put(ioc("GEN:HV"), "Off")
        ca.put(ioc("GEN:Mode"), "Remote")

    rest()
    yield
    rest()


def set_both(ioc: Ioc, ca: Client, kilovolts: float) -> None:
    """Put both setpoints, the voltage last: it is what is regulated."""
    ca.put(ioc("GEN:ISet"), 10)
    ca.put(ioc("GEN:VSet"), kilovolts)


def switch_on(ioc: Ioc, ca: Client, kilovolts: float = 30.0) -> None:
    set_both(ioc, ca, kilovolts)
    ca.put(ioc("GEN:HV"), "On")
    ca.wait(ioc("GEN:VMon"), lambda value: abs(value - kilovolts) < 0.2)


def told_by_rackioc(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.partition("rackioc: ")[2]


def test_a_put_sets_the_voltage_and_the_readback_is_rounded_down(ioc: Ioc, ca: Client) -> None:
    ca.put(ioc("GEN:VSet"), 30)
    step = 100 / 4095
    taken = float(ca.get(ioc("GEN:VSet_RBV")))
    assert taken == float(ca.get(ioc("GEN:VSet")))
    assert taken == pytest.approx(math.floor(30 / step) * step)


@pytest.mark.parametrize(
    ("fault", "value", "reason"),
    [
        (None, "500", "500 kV is above the upper limit DRVH of "),
        ("strike", "500", "500 kV is above the upper limit DRVH of "),  # VSet is unknown then: INVALID, UDF
        ("strike", "nan", "NaN is not a value that can be set"),
        ("unplug", "1", "/GEN "),  # the path of the line: gone, or not opened; INVALID, COMM
    ],
)
def test_rackioc_put_prints_the_reason_of_a_refusal_whatever_the_alarm_of_the_setpoint(
    ioc: Ioc, ca: Client, fault: str | None, value: str, reason: str
) -> None:
    set_both(ioc, ca, 30)
    if fault is not None:
        ioc.fault(f"GEN {fault}")
        ca.wait(ioc("GEN:VSet"), lambda value: value.severity == 3)
    command = [sys.executable, "-P", "-m", "rackioc", "put", ioc("GEN:VSet"), value]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    told = told_by_rackioc(done)
    invalid = f"{ioc('GEN:VSet')} is INVALID ("
    assert (done.returncode, told.count(ioc("GEN:VSet"))) == (1, 1 if fault is None else 2)
    assert (reason in told, told.count(invalid)) == (True, 0 if fault is None else 1)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [(".HIHI", "abc", "abc"), (".PREC", "99", "99"), (".DISP", "7", ""), ("", "77", "kV"), ("", "5", "DISP")],
)
def test_rackioc_put_never_tells_the_reason_of_an_earlier_put(
    ioc: Ioc, ca: Client, field: str, value: str, reason: str
) -> None:
    earlier = ca.refused(ioc("GEN:VSet"), 1e6)
    if reason == "DISP":
        ca.put(ioc("GEN:VSet.DISP"), 1)
    command = [sys.executable, "-P", "-m", "rackioc", "put", ioc(f"GEN:VSet{field}"), value]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    ca.put(ioc("GEN:VSet.DISP"), 0)
    told = told_by_rackioc(done)
    assert (done.returncode, bool(told)) == ((1, True) if field != ".DISP" else (0, False))
    assert reason in told
    assert earlier not in told


def test_the_readback_can_be_put_again_without_a_step_down(ioc: Ioc, ca: Client) -> None:
    ca.put(ioc("GEN:VSet"), 30)
    taken = float(ca.get(ioc("GEN:VSet_RBV")))
    ca.put(ioc("GEN:VSet"), taken)
    assert float(ca.get(ioc("GEN:VSet_RBV"))) == taken


def test_hv_goes_on_and_off(ioc: Ioc, ca: Client) -> None:
    switch_on(ioc, ca)
    assert ca.text(ioc("GEN:HV_RBV")) == "On"
    assert ca.text(ioc("GEN:HV")) == "On"
    assert ca.text(ioc("GEN:Polarity")) == "Negative"
    ca.put(ioc("GEN:HV"), "Off")
    assert ca.text(ioc("GEN:HV_RBV")) == "Off"
    ca.wait(ioc("GEN:VMon"), lambda value: value == 0)


def test_hv_on_is_refused_until_each_limited_setpoint_was_put_since_the_connect(ioc: Ioc, ca: Client) -> None:
    ca.put(ioc("GEN:Retry"), 1)
    ca.wait(ioc("GEN:VSet"), lambda value: value.severity == 3)
    ca.wait(ioc("GEN:Conn"), lambda value: value == 2)
    before = int(ioc.fault("GEN writes"))
    sentence = ca.refused(ioc("GEN:HV"), "On")
    assert "put VSet first" in sentence
    assert "put ISet first" in sentence
    assert int(ioc.fault("GEN writes")) == before
    ca.put(ioc("GEN:VSet"), 1)
    assert "VSet" not in ca.refused(ioc("GEN:HV"), "On")
    ca.put(ioc("GEN:ISet"), 1)
    assert ca.severity(ioc("GEN:VSet")) == "NO_ALARM"
    ca.put(ioc("GEN:HV"), "On")


@pytest.mark.parametrize(("point", "value"), [("VSet", 60.1), ("VSet", -1), ("VSet", math.nan), ("ISet", math.inf)])
def test_a_setpoint_outside_the_limits_is_refused_and_nothing_is_sent(
    ioc: Ioc, ca: Client, point: str, value: float
) -> None:
    ca.put(ioc("GEN:VSet"), 10)
    before = int(ioc.fault("GEN writes"))
    sentence = ca.refused(ioc(f"GEN:{point}"), value)
    assert point in sentence
    assert int(ioc.fault("GEN writes")) == before
    assert ca.get(ioc("GEN:VSet")).severity == (point == "VSet")  # MINOR where a put was refused


def test_a_refused_put_leaves_the_value_and_posts_it_again_with_an_alarm(ioc: Ioc, ca: Client) -> None:
    ca.put(ioc("GEN:VSet"), 10)
    updates = ca.monitor(ioc("GEN:VSet"))
    before = len(updates)
    ca.refused(ioc("GEN:VSet"), 99)
    deadline = time.monotonic() + 2
    while len(updates) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(updates) == before + 1
    assert (float(updates[-1]), updates[-1].severity) == (float(updates[0]), 1)


def test_an_open_interlock_is_major_and_hv_stays_off_after_it(ioc: Ioc, ca: Client) -> None:
    switch_on(ioc, ca)
    ioc.fault("GEN interlock open")
    ca.wait(ioc("GEN:Interlock"), lambda value: value == 1)
    assert ca.severity(ioc("GEN:Interlock")) == "MAJOR"
    assert ca.severity(ioc("GEN:Fault")) == "MAJOR"
    assert ca.text(ioc("GEN:HV_RBV")) == "Off"
    sentence = ca.refused(ioc("GEN:HV"), "On")
    assert "interlock" in sentence.lower() or "fault" in sentence.lower()
    ioc.fault("GEN interlock close")
    ca.wait(ioc("GEN:Interlock"), lambda value: value == 0)
    assert ca.text(ioc("GEN:HV_RBV")) == "Off"


def test_local_mode_refuses_hv_on(ioc: Ioc, ca: Client) -> None:
    ca.put(ioc("GEN:VSet"), 10)
    ca.put(ioc("GEN:Mode"), "Local")
    assert "ocal" in ca.refused(ioc("GEN:HV"), "On")


def test_inhibition_switches_the_output_without_hv_off(ioc: Ioc, ca: Client) -> None:
    switch_on(ioc, ca)
    ca.put(ioc("GEN:Inhibit"), "On")
    ca.wait(ioc("GEN:VMon"), lambda value: value == 0)
    assert ca.text(ioc("GEN:Inhibit_RBV")) == "On"
    assert ca.text(ioc("GEN:HV_RBV")) == "On"


@pytest.mark.quiet
@losses
def test_a_loss_is_invalid_within_two_scans_keeps_the_value_and_heals(
    ioc: Ioc, ca: Client, fault: str, cure: str, statuses: set[str]
) -> None:
    switch_on(ioc, ca)
    value = float(ca.get(ioc("GEN:VMon")))
    began = time.monotonic()
    ioc.fault(f"GEN {fault}")
    lost = ca.wait(ioc("GEN:VMon"), lambda value: value.severity == 3, timeout=3)
    assert time.monotonic() - began < 1.5
    assert ca.status(ioc("GEN:VMon")) in statuses
    assert float(lost) == pytest.approx(value, abs=0.2)
    assert ca.severity(ioc("GEN:HV_RBV")) == "INVALID"
    ioc.fault(f"GEN {cure}")
    ca.wait(ioc("GEN:VMon"), lambda value: value.severity == 0, timeout=12)
    assert ca.long(ioc("GEN:Error"))


@pytest.mark.quiet
def test_hv_off_reaches_a_generator_whose_answers_are_lost_and_is_pending_until_they_come(
    ioc: Ioc, ca: Client
) -> None:
    switch_on(ioc, ca)
    ioc.fault("GEN mute")
    time.sleep(1.5)
    ca.put_and_get(ioc("GEN:HV"), "Off")
    ca.wait(ioc("GEN:HV:OffPending"), lambda value: value == 1)
    deadline = time.monotonic() + 2.5
    while json.loads(ioc.fault("GEN state"))["on"]:
        assert time.monotonic() < deadline
    ioc.fault("GEN unmute")
    ca.wait(ioc("GEN:HV:OffPending"), lambda value: value == 0)
    ca.wait(ioc("GEN:HV_RBV"), lambda value: value == 0 and value.severity == 0)


@pytest.mark.quiet
def test_an_output_above_its_limit_in_current_regulation_is_major(ioc: Ioc, ca: Client) -> None:
    ca.put(ioc("GEN:VSet"), 40)
    ca.put(ioc("GEN:ISet"), 10)
    ca.put(ioc("GEN:HV"), "On")
    ca.wait(ioc("GEN:VMon"), lambda value: value > 61, timeout=8)
    ca.wait(ioc("GEN:VMon"), lambda value: value.severity == 2)
    assert ca.status(ioc("GEN:VMon")) == "HIHI"


def test_split_answers_are_put_together(ioc: Ioc, ca: Client) -> None:
    ioc.fault("GEN split 1")
    time.sleep(1)  # in which a scan becomes longer than its period
    errors = int(ca.get(ioc("GEN:ErrorCount")))
    time.sleep(1.5)
    assert ca.get(ioc("GEN:VMon")).severity == 0
    assert int(ca.get(ioc("GEN:ErrorCount"))) == errors


def test_a_late_answer_is_never_taken_for_the_next_one(ioc: Ioc, ca: Client) -> None:
    switch_on(ioc, ca, 30)
    updates = ca.monitor(ioc("GEN:VMon"))
    currents = ca.monitor(ioc("GEN:IMon"))
    ioc.fault("GEN late 0.7 3")
    time.sleep(4)
    ca.wait(ioc("GEN:VMon"), lambda value: value.severity == 0)
    assert {round(float(v)) for v in updates if v.severity == 0} == {30}
    assert len({round(float(v)) for v in currents if v.severity == 0}) == 1


def test_a_long_silence_strikes_the_watchdog_and_nothing_is_switched_on_again(ioc: Ioc, ca: Client) -> None:
    switch_on(ioc, ca)
    strikes = int(ca.get(ioc("GEN:WD:Strikes")))
    ioc.fault("GEN unplug")
    time.sleep(6)
    writes = int(ioc.fault("GEN writes"))
    ioc.fault("GEN plug")
    ca.wait(ioc("GEN:Conn"), lambda value: value == 2, timeout=12)
    ca.wait(ioc("GEN:Status"), lambda value: value.severity == 0)
    time.sleep(1)
    assert ca.text(ioc("GEN:HV_RBV")) == "Off"
    assert ca.text(ioc("GEN:Mode_RBV")) == "Local"
    assert ca.severity(ioc("GEN:VSet")) == "INVALID"
    assert int(ca.get(ioc("GEN:WD:Strikes"))) == strikes + 1
    assert int(ioc.fault("GEN writes")) == writes


def test_a_lost_second_half_of_hv_on_leaves_hv_off_and_the_pair_released(ioc: Ioc, ca: Client) -> None:
    set_both(ioc, ca, 10)
    ioc.fault("GEN drop-half")
    ca.refused(ioc("GEN:HV"), "On")
    ca.wait(ioc("GEN:OnCmd"), lambda value: value == 0 and value.severity == 0, timeout=5)
    assert ca.text(ioc("GEN:HV_RBV")) == "Off"
    ca.put(ioc("GEN:HV"), "On")
    assert ca.text(ioc("GEN:HV_RBV")) == "On"


def test_the_margin_of_the_watchdog_is_told(ioc: Ioc, ca: Client) -> None:
    margin = ca.get(ioc("GEN:WD:Margin"))
    assert 0 <= float(margin) <= 5
    assert ca.severity(ioc("GEN:WD:Margin")) == ("MINOR" if margin <= 2.5 else "NO_ALARM")


def test_no_rule_of_the_protocol_was_broken(ioc: Ioc) -> None:
    assert ioc.fault("GEN violations") == "[]"
