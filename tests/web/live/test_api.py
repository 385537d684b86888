"""The JSON API: what it answers is what its description says."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from archiver.sample import Sample
from archiver.storage.database import open_store
from bench.rig.loopback import free_port
from tests.client import Client
from tests.small_ioc import until
from tests.system.conftest import CRATE, GENERATOR, LOGGER, Ioc, Racks
from tests.system.conftest import racks as racks  # noqa: PLC0414 - the fixture
from web.api.history import history
from web.rack.alarms import Alarm, order


def get(port: int, path: str, **query: Any) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", f"{path}?{urlencode(query, doseq=True)}")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


class Rack:
    """A simulated rack with its web server."""

    def __init__(self, ioc: Ioc, port: int) -> None:
        self.ioc, self.port = ioc, port

    def ok(self, path: str, **query: Any) -> Any:
        status, answer = get(self.port, path, **query)
        assert status == 200, answer
        return answer

    def alarms(self) -> dict[str, Any]:
        return {each["pv"].removeprefix(self.ioc.prefix): each for each in self.ok("/api/alarms")["alarms"]}


@pytest.fixture(scope="module")
def rack(racks: Racks) -> Rack:
    port = free_port()
    ioc = racks.start(
        {"HV1": CRATE, "TC1": LOGGER, "GEN": GENERATOR},
        web={"port": port},
        archive={"database": "sqlite:///rack.sqlite", "pvs": ["PREFIX:*"]},
    )
    rack = Rack(ioc, port)

    def complete() -> bool:
        try:
            return any(len(each["boards"]) == 3 for each in rack.ok("/api/instruments")["instruments"])
        except OSError:
            return False

    until(complete, 40)
    return rack


def test_instruments_have_their_points_boards_and_channels(rack: Rack) -> None:
    answer = rack.ok("/api/instruments")
    found = {each["name"]: each for each in answer["instruments"]}
    assert (answer["prefix"], answer["archived"]) == (rack.ioc.prefix, True)
    assert {name: each["kind"] for name, each in found.items()} == {
        "HV1": "caen", "TC1": "se521", "GEN": "technix", "IOC": "ioc", "ARCH": "archiver",
    }  # fmt: skip
    assert [board["name"] for board in found["HV1"]["boards"]] == ["S02", "S04", "S08"]
    board = found["HV1"]["boards"][0]
    assert board["channels"][:2] == ["C00", "C01"]
    assert {"VMon", "IMon", "Status:ON"} <= set(board["parameters"])
    assert "Alarm" in board["points"]
    assert {"T1", "T4", "Conn"} <= set(found["TC1"]["points"])
    names = rack.ok("/api/pvs")
    points = sum(
        len(each["points"]) + sum(len(board["points"]) for board in each["boards"]) for each in found.values()
    )
    assert points < len(names)
    assert rack.ok("/api/pvs", glob="*:T?") == [rack.ioc(f"TC1:T{number}") for number in range(1, 5)]
    assert len(rack.ok("/api/pvs", glob="*", limit=3)) == 3


def test_a_pv_has_value_metadata_and_description(rack: Rack, ca: Client) -> None:
    name = rack.ioc("GEN:VSet")
    found = rack.ok(f"/api/pvs/{quote(name)}")
    assert (found["pv"], found["type"], found["unit"], found["record_type"]) == (name, "VDouble", "kV", "ao")
    assert (found["display"], found["writable"], found["severity"]) == ({"low": 0, "high": 60}, True, "INVALID")
    assert found["description"] == str(ca.get(f"{name}.DESC"))
    enum = rack.ok(f"/api/pvs/{quote(rack.ioc('GEN:HV_RBV'))}")
    assert (enum["value"], enum["text"], enum["labels"], enum["writable"]) == (0, "Off", ["Off", "On"], False)
    assert get(rack.port, "/api/pvs/NOBODY:HAS:IT")[0] == 404


def test_values_of_several_pvs_and_of_one_that_nobody_has(rack: Rack) -> None:
    names = [rack.ioc("TC1:T1"), rack.ioc("HV1:S02:VMon:Array"), "NOBODY:HAS:IT"]
    one, array, nobody = rack.ok("/api/values", pv=names)
    assert isinstance(one["value"], float)
    assert len(array["value"]) == 28
    assert nobody == {"pv": names[2], "value": None, "text": None, "severity": "UNDEFINED",
                      "status": "DISCONNECTED", "time": None}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/values", {}), ("/api/values", {"pv": ["a"] * 1001}), ("/api/values", {"pv": "a b"}),
        ("/api/values", {"pv": "x" * 5000}), ("/api/pvs", {"limit": "-1"}), ("/api/pvs", {"limit": "1e9"}),
        ("/api/pvs", {"limit": "٣"}), ("/api/history", {}), ("/api/history", {"pv": "nobody"}),
        ("/api/history", {"pv": "*", "since": "yesterday-ish"}), ("/api/history", {"pv": "*", "since": "-1"}),
        ("/api/history", {"pv": "'; DROP TABLE sample; --"}), ("/api/history", {"pv": "*", "points": "many"}),
        ("/api/history", {"pv": ["a"] * 21}), ("/api/pvs/a b", {}), ("/api/history", {"pv": "a\0b"}),
    ],
)  # fmt: skip
def test_nonsense_is_answered_with_a_sentence(rack: Rack, path: str, query: dict[str, Any]) -> None:
    status, answer = get(rack.port, quote(path), **query)
    assert status in {400, 404}
    assert answer.keys() == {"error"}
    assert answer["error"]


def test_an_alarm_says_since_when_and_what_to_do(rack: Rack) -> None:
    assert "TC1:T2" not in rack.alarms()
    rack.ioc.fault("TC1 open 2")
    until(lambda: "TC1:T2" in rack.alarms(), 40)
    alarm = rack.alarms()["TC1:T2"]
    assert (alarm["severity"], alarm["status"], alarm["exact"], alarm["instrument"]) == (
        "INVALID",
        "UDF",
        True,
        "TC1",
    )
    assert "thermocouple" in alarm["remedy"]
    rack.ioc.fault("TC1 close 2")
    until(lambda: "TC1:T2" not in rack.alarms(), 40)


def test_a_channel_that_trips_is_found_by_its_board(rack: Rack) -> None:
    rack.ioc.fault("HV1 trip 2 3")
    until(lambda: "HV1:S02:C03:Status" in rack.alarms(), 40)
    until(lambda: rack.alarms()["HV1:S02:C03:Status"]["message"] == "internal trip", 30)
    found = rack.alarms()
    assert not {"HV1:Alarm", "HV1:S02:Alarm"} & found.keys()


def test_an_instrument_that_is_away_is_one_alarm_with_its_error(rack: Rack) -> None:
    rack.ioc.fault("TC1 unplug")
    until(lambda: rack.alarms().get("TC1:Conn", {}).get("others", 0) > 5, 40)
    alarm = rack.alarms()["TC1:Conn"]
    assert alarm["severity"] == "MAJOR"
    assert alarm["message"].startswith("SE521")
    assert alarm["cause"]
    assert not [name for name in rack.alarms() if name.startswith("TC1:T")]
    rack.ioc.fault("TC1 plug")
    until(lambda: "TC1:Conn" not in rack.alarms(), 40)


def test_an_instrument_that_is_away_is_not_hidden_behind_single_values_that_are_not_known() -> None:
    conn = Alarm("T:TC1:Conn", "TC1", "MAJOR", "STATE", 100.0, True, "no answer", 7)
    fault = Alarm("T:GEN:Fault", "GEN", "MAJOR", "STATE", 300.0, True, "", 0)
    unknown = [Alarm(f"T:HV1:S00:C{n:02}:IMon", "HV1", "INVALID", "UDF", 200.0 + n, True, "", 0) for n in range(3)]
    assert sorted([fault, *unknown, conn], key=order) == [conn, *reversed(unknown), fault]


def test_history_is_that_of_the_archive(rack: Rack) -> None:
    name = rack.ioc("TC1:T1")
    until(lambda: len(rack.ioc.archived("TC1:T1")) >= 2, 30)
    answer = rack.ok("/api/history", pv=name, since="1h")
    (curve,) = answer["curves"]
    assert (curve["pv"], curve["unit"], answer["left_out"]) == (name, "C", [])
    assert len(curve["times"]) == len(curve["values"]) == len(curve["severities"])
    archived = [row[2] for row in rack.ioc.archived("TC1:T1") if isinstance(row[2], float)]
    assert {each for each in curve["values"] if each is not None} <= set(archived)


@pytest.mark.parametrize("days", [1, 100, 1826, 20_000])
def test_a_history_of_any_length_keeps_what_stood_out_for_one_sample(tmp_path: Path, days: int) -> None:
    database, begin, step = f"sqlite:///{tmp_path}/rack.sqlite", 1_000_000, days * 86_400 // 10_000
    values = [6000.0 if i == 4321 else -6000.0 if i == 7654 else float(i % 2) for i in range(10_000)]
    with closing(open_store(database)) as store:
        store.add([Sample("A", (begin + i * step) * 10**9, value, 0, "NO_ALARM") for i, value in enumerate(values)])
    since, until = (f"{datetime.fromtimestamp(begin + days * part, UTC):%Y-%m-%d %H:%M:%S}" for part in (0, 86_400))
    (curve,) = history(database, ["A"], since, until, 1000).curves
    assert len(curve.times) < 5000
    assert {begin + 4321 * step: 6000.0, begin + 7654 * step: -6000.0}.items() <= dict(
        zip(curve.times, curve.values, strict=True)
    ).items()


def test_the_description_has_each_address_and_fits_the_answers(rack: Rack) -> None:
    document = rack.ok("/api/openapi.json")
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/api/instruments", "/api/pvs", "/api/pvs/{name}", "/api/values", "/api/alarms", "/api/history",
    }  # fmt: skip
    schemas = document["components"]["schemas"]
    answer = rack.ok("/api/alarms")
    assert set(schemas["AlarmsResult"]["properties"]) == answer.keys()
    assert answer["alarms"]
    assert set(schemas["AlarmResult"]["properties"]) == answer["alarms"][0].keys()
    assert {each["name"] for each in document["paths"]["/api/history"]["get"]["parameters"]} == {
        "pv", "since", "until", "points",
    }  # fmt: skip


def scrape(rack: Rack, **query: Any) -> dict[str, dict[str, float]]:
    """Metric -> severity or PV -> value, as a reader of Prometheus' own finds them."""
    with urlopen(f"http://127.0.0.1:{rack.port}/metrics?{urlencode(query, doseq=True)}", timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        page = answer.read().decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            label = sample.labels.get("pv") or sample.labels.get("severity") or ""
            found.setdefault(sample.name, {})[label.removeprefix(rack.ioc.prefix)] = sample.value
    return found


def test_metrics_have_the_values_of_instruments_their_alarms_and_the_servers_own_load(rack: Rack, ca: Client) -> None:
    found = scrape(rack)
    assert found["rackioc_up"] == {"": 1}
    assert found["rackioc_alarms"].keys() == {"MINOR", "MAJOR", "INVALID", "UNDEFINED"}
    assert found["rackioc_pv"]["GEN:Conn"] == 2
    assert found["rackioc_pv"]["TC1:T1"] == pytest.approx(float(ca.get(rack.ioc("TC1:T1"))), abs=5)
    assert found["rackioc_pv_severity"]["TC1:T1"] == 0
    assert found["rackioc_web_process_resident_memory_bytes"][""] > 1e7
    assert not any("C00" in pv for pv in found["rackioc_pv"])
    asked = scrape(rack, pv=[rack.ioc("HV1:*:VMon"), rack.ioc("HV1:S02:C00:V0Set")])["rackioc_pv"]
    assert sum(pv.startswith("HV1:") and pv.endswith(":VMon") for pv in asked) == 64
    assert asked["HV1:S02:C00:V0Set"] == float(ca.get(rack.ioc("HV1:S02:C00:V0Set")))


def test_metrics_have_no_value_of_what_is_not_known(rack: Rack) -> None:
    rack.ioc.fault("TC1 unplug")
    try:
        until(lambda: scrape(rack)["rackioc_pv_severity"]["TC1:T1"] == 3, 20)
        found = scrape(rack)
        assert "TC1:T1" not in found["rackioc_pv"]
        assert found["rackioc_alarms"]["INVALID"] + found["rackioc_alarms"]["MAJOR"] >= 1
    finally:
        rack.ioc.fault("TC1 plug")
    until(lambda: "TC1:T1" in scrape(rack)["rackioc_pv"], 20)
