"""A unit that changes under a client: real caen-libs over the C ABI, the server process, libca."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client import Client
from tests.system.conftest import CRATE, Ioc, Racks

CURRENT = "HV1:S04:C00:IMon"
AMPERES = {"uA": 1e-6, "nA": 1e-9}


@pytest.fixture(scope="module")
def ioc(racks: Racks, ca: Client) -> Ioc:
    records = {
        "PREFIX:HV1:S04:C*:IMon": {"HIHI": "200 nA", "HIGH": 0.1, "MDEL": "1 nA"},
        "PREFIX:HV1:S04:C*:IMonn": {"HIHI": 5},
        "PREFIX:HV1:S04:C*:Pw": {"HIHI": 5},
        "PREFIX:HV1:S04:C00:VMon": {"HIHI": "5 uA"},
    }
    crate = {**CRATE, "channels": {4: [0, 1]}, "scan": {"monitor": 0.2, "settings": 0.5}}
    ioc = racks.start({"HV1": crate}, records=records)
    ca.wait(ioc("HV1:Conn"), lambda value: value == 2, 20)
    return ioc


def test_a_client_gets_value_unit_and_limits_of_one_unit_in_each_update(ioc: Ioc, ca: Client) -> None:
    import aioca

    ca.put(ioc("HV1:S04:C00:RUp"), 500)
    ca.put(ioc("HV1:S04:C00:V0Set"), 7.5)
    ca.put(ioc("HV1:S04:C00:I0Set"), 5)
    ca.put(ioc("HV1:S04:C00:Pw"), "On")
    ca.wait(ioc(CURRENT), lambda value: abs(value - 0.5) < 0.02 and value.severity == 2)
    whole = aioca.DBE_VALUE | aioca.DBE_ALARM | aioca.DBE_PROPERTY
    updates = ca.monitor(ioc(CURRENT), events=whole, format=aioca.FORMAT_CTRL)
    properties = ca.monitor(ioc(CURRENT), events=aioca.DBE_PROPERTY, format=aioca.FORMAT_CTRL)
    plain = ca.monitor(ioc(CURRENT), events=aioca.DBE_VALUE)
    limits = ca.monitor(ioc(f"{CURRENT}.HIHI"))
    assert len(properties) == 1
    ca.put(ioc("HV1:S04:C00:IMRange"), "Low")
    ca.wait(ioc(CURRENT), lambda value: abs(value - 500.0) < 20 and value.severity == 2)
    changed: list[Any] = [each for each in properties if each.units == "nA"]
    assert changed
    assert (float(changed[0].upper_alarm_limit), float(changed[0].upper_warning_limit)) == (200.0, 100.0)
    for each in updates:
        assert float(each) * AMPERES[each.units] == pytest.approx(5e-7, rel=0.05)
        assert each.upper_alarm_limit * AMPERES[each.units] == pytest.approx(200e-9)
        assert each.upper_warning_limit * AMPERES[each.units] == pytest.approx(100e-9)
    assert abs(float(plain[-1]) - 500.0) < 20
    assert [float(each) for each in limits] == [0.2, 200.0]
    assert [float(ca.get(ioc(f"{CURRENT}.{field}"))) for field in ("HIHI", "HIGH", "MDEL")] == [200.0, 100.0, 1.0]
    ca.put(ioc(f"{CURRENT}.HIHI"), 2000)
    assert ca.severity(ioc(CURRENT)) == "MINOR"
    ca.put(ioc("HV1:S04:C00:IMRange"), "High")
    ca.wait(ioc(CURRENT), lambda value: abs(value - 0.5) < 0.02 and value.severity == 1)
    assert float(ca.get(ioc(f"{CURRENT}.HIHI"))) == 2.0


def test_a_limit_in_a_unit_that_the_value_has_not_is_an_alarm(ioc: Ioc, ca: Client) -> None:
    ca.wait(ioc("HV1:S04:C00:VMon"), lambda value: value.severity == 2)
    assert ca.status(ioc("HV1:S04:C00:VMon")) == "SOFT"
    assert ca.text(ioc("HV1:S04:C00:VMon.AMSG")) == "limits are in uA, value in V"


def test_what_is_configured_and_not_there_is_told(ioc: Ioc, ca: Client) -> None:
    ca.wait(ioc("HV1:Error"), lambda value: str(value) != "")
    log = ioc.logged()
    assert log.count(f"matches no PV: {ioc.prefix}HV1:S04:C*:IMonn") == 1
    assert log.count(f"HIHI acts on no PV of {ioc.prefix}HV1:S04:C*:Pw: a record of type bo has no such field") == 1
    assert log.count("not applied: HIHI 5 uA, for the value is in V") == 1
