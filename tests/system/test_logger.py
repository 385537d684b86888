"""The SE521 logger: real pyusb over a backend that plays the instrument; each test injects its fault."""

from __future__ import annotations

import math
import time

import pytest

from tests.client import Client
from tests.system.conftest import LOGGER, Ioc, Racks, losses


@pytest.fixture(scope="module")
def ioc(racks: Racks) -> Ioc:
    return racks.start({"TC1": {**LOGGER, "mean": 5, "scan": {"temperatures": 0.5}}})


def healthy(ca: Client, ioc: Ioc, timeout: float = 15) -> None:
    ca.wait(ioc("TC1:Flags"), lambda value: value.severity == 0, timeout)


def test_temperatures_means_and_identity_are_served(ioc: Ioc, ca: Client) -> None:
    healthy(ca, ioc)
    assert -50 < ca.wait(ioc("TC1:T1"), lambda value: value.severity == 0) < 200
    assert ca.get(ioc("TC1:T1:Mean")) == pytest.approx(float(ca.get(ioc("TC1:T1"))), abs=5)
    assert ca.text(ioc("TC1:Model")) == "521"
    assert ca.text(ioc("TC1:Serial")) == "A1234"
    assert ca.text(ioc("TC1:T1.EGU")) == "C"


def test_an_open_thermocouple_is_invalid_and_no_number(ioc: Ioc, ca: Client) -> None:
    ioc.fault("TC1 open 2")
    value = ca.wait(ioc("TC1:T2"), lambda value: value.severity == 3)
    assert math.isnan(value)
    assert ca.text(ioc("TC1:T2:Open")) == "Open"
    assert ca.get(ioc("TC1:T1")).severity == 0
    assert ca.get(ioc("TC1:T2:Mean")).severity == 3  # at once, and not when the window has run out
    assert "open" in ca.text(ioc("TC1:T2.AMSG"))
    ioc.fault("TC1 close 2")
    ca.wait(ioc("TC1:T2"), lambda value: value.severity == 0 and not math.isnan(value))
    assert ca.get(ioc("TC1:T2:Mean")).severity == 1
    assert ca.text(ioc("TC1:T2:Mean.AMSG")).endswith("readings, not 5")
    ca.wait(ioc("TC1:T2:Mean"), lambda value: value.severity == 0)


def test_a_value_below_the_lower_limit_says_why_and_not_that_the_thermocouple_is_connected(
    ioc: Ioc, ca: Client
) -> None:
    healthy(ca, ioc)
    ioc.fault("TC1 set celsius.3 -150")
    assert math.isnan(ca.wait(ioc("TC1:T4"), lambda value: value.severity == 3))
    assert "below coldest_c" in ca.text(ioc("TC1:T4.AMSG"))
    assert ca.get(ioc("TC1:T4:Open")).severity == 3
    assert ca.get(ioc("TC1:T4:Mean")).severity == 3
    ioc.fault("TC1 set celsius.3 -12")
    ca.wait(ioc("TC1:T4"), lambda value: value.severity == 0)


@pytest.mark.quiet
@losses
def test_a_loss_is_invalid_within_two_scans_keeps_the_value_and_heals(
    ioc: Ioc, ca: Client, fault: str, cure: str, statuses: set[str]
) -> None:
    healthy(ca, ioc)
    value = float(ca.get(ioc("TC1:T1")))
    began = time.monotonic()
    ioc.fault(f"TC1 {fault}")
    lost = ca.wait(ioc("TC1:T1"), lambda value: value.severity == 3, timeout=5)
    assert time.monotonic() - began < 2.0
    assert ca.status(ioc("TC1:T1")) in statuses
    assert float(lost) == pytest.approx(value, abs=5)
    ioc.fault(f"TC1 {cure}")
    healthy(ca, ioc)


FAULTS = ["stale", "half", "garbage 1", "io_error 1", "stall in", "stall out", "stall control"]


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_mended_within_its_scan_and_the_means_stay(ioc: Ioc, ca: Client, fault: str) -> None:
    ca.wait(ioc("TC1:T1:Mean"), lambda value: value.severity == 0)
    updates, means = ca.monitor(ioc("TC1:T1")), ca.monitor(ioc("TC1:T1:Mean"))
    errors = int(ca.get(ioc("TC1:ErrorCount")))
    ioc.fault(f"TC1 {fault}")
    seen = len(updates)
    deadline = time.monotonic() + 10
    while len(updates) < seen + 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {value.severity for value in (*updates, *means)} == {0}
    assert max(updates) - min(updates) < 5
    assert int(ca.get(ioc("TC1:ErrorCount"))) == errors


@pytest.mark.parametrize("fault", ["garbage 3", "io_error 3"])
def test_three_faults_in_a_row_are_told_and_it_heals_by_itself(ioc: Ioc, ca: Client, fault: str) -> None:
    healthy(ca, ioc)
    updates = ca.monitor(ioc("TC1:T1"))
    errors = int(ca.get(ioc("TC1:ErrorCount")))
    ioc.fault(f"TC1 {fault}")
    ca.wait(ioc("TC1:ErrorCount"), lambda value: value > errors)
    healthy(ca, ioc)
    good = [float(value) for value in updates if value.severity == 0]
    assert max(good) - min(good) < 5


def test_a_power_loss_tells_to_press_the_button(ioc: Ioc, ca: Client) -> None:
    healthy(ca, ioc)
    ioc.fault("TC1 power_loss")
    ca.wait(ioc("TC1:Conn"), lambda value: value != 2)
    deadline = time.monotonic() + 8
    while "button" not in ca.long(ioc("TC1:Error")):
        assert time.monotonic() < deadline, ca.long(ioc("TC1:Error"))
        time.sleep(0.2)
    ioc.fault("TC1 button")
    healthy(ca, ioc, 40)


def test_nothing_can_be_set(ioc: Ioc, ca: Client) -> None:
    with pytest.raises(Exception, match="denied"):
        ca.put(ioc("TC1:T1"), 5)
    assert ioc.fault("TC1 violations") == "[]"
