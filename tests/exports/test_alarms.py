"""The alarm tree: read by a model of Phoebus' alarm server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from exports.alarms import alarms
from tests.exports.alarmserver import AlarmServer

if TYPE_CHECKING:
    from exports.rack import Rack


@pytest.fixture(scope="module")
def server(demo: Rack) -> AlarmServer:
    server = AlarmServer()
    server.load(alarms(demo))
    return server


def test_each_pv_is_there_once_and_exists(demo: Rack, server: AlarmServer) -> None:
    assert server.skipped == []
    assert set(server.pvs) <= {pv.name for pv in demo.pvs}


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("LAB:", "LAB"), ("SITE:RACK_1:", "SITE-RACK_1"), ("#<1>B2-", "1-B2"), ("", "rackioc"), (":", "rackioc")],
)
def test_the_name_of_the_tree_is_one_that_kafka_takes(demo: Rack, prefix: str, name: str) -> None:
    server = AlarmServer()
    server.load(alarms(replace(demo, prefix=prefix)))
    assert next(iter(server.components)) == (name,)


def test_the_tree_is_by_instrument_and_board_with_the_summaries_first(server: AlarmServer) -> None:
    inside = [pv for pv, item in server.pvs.items() if item.path[1] == "HV1"]
    assert inside[:2] == ["DEMO:HV1:Alarm", "DEMO:HV1:Conn"]
    boards = [path for path in server.components if path[:2] == ("DEMO", "HV1") and len(path) == 3]
    assert [path[2] for path in boards] == ["S02", "S04", "S08"]
    for board in boards:
        first = next(pv for pv, item in server.pvs.items() if item.path[:3] == board)
        assert first == f"DEMO:HV1:{board[2]}:Alarm"
    assert {path[1] for path in server.components if len(path) == 2} == {"HV1", "TC1", "GEN", "IOC", "ARCH"}


def test_one_trip_is_one_alarm_for_the_board_speaks_for_its_channels(server: AlarmServer) -> None:
    under_boards = {pv: item for pv, item in server.pvs.items() if len(item.path) > 3}
    assert {pv for pv, item in under_boards.items() if item.enabled} == {
        "DEMO:HV1:S02:Alarm", "DEMO:HV1:S04:Alarm", "DEMO:HV1:S08:Alarm",
    }  # fmt: skip
    assert {"DEMO:HV1:S02:C00:Status", "DEMO:HV1:S02:C00:VMon", "DEMO:HV1:S02:C00:Pw:OffPending"} <= set(under_boards)
    assert not server.pvs["DEMO:HV1:Alarm"].annunciating
    assert server.pvs["DEMO:HV1:S02:Alarm"].annunciating


@pytest.mark.parametrize("name", ["HV1:S02:Alarm", "GEN:Fault", "GEN:Interlock", "ARCH:Lost"])
def test_a_trip_or_a_loss_stays_until_somebody_has_looked(server: AlarmServer, name: str) -> None:
    assert server.pvs[f"DEMO:{name}"].latching


@pytest.mark.parametrize("name", ["HV1:Conn", "TC1:T1", "GEN:VMon", "ARCH:DiskFree", "HV1:Alarm"])
def test_what_mends_itself_is_over_when_it_is_over(server: AlarmServer, name: str) -> None:
    assert not server.pvs[f"DEMO:{name}"].latching


def test_a_fault_or_an_open_interlock_is_told_at_once_and_a_lost_connection_after_a_while(
    server: AlarmServer,
) -> None:
    delays = {name: server.pvs[f"DEMO:{name}"].delay for name in ("GEN:Fault", "GEN:Interlock", "HV1:Conn")}
    assert delays == {"GEN:Fault": 0, "GEN:Interlock": 0, "HV1:Conn": 10}


def test_each_alarm_says_what_it_means_and_what_to_do(server: AlarmServer) -> None:
    for pv, item in server.pvs.items():
        assert [title for title, _ in item.guidance] == ["Meaning", "To do"], pv
        assert item.description
        assert "{" not in str(item.guidance), pv
    assert dict(server.pvs["DEMO:HV1:S02:C00:IMon"].guidance)["Meaning"].startswith(
        "S02C00 IMon: MAJOR from 400 uA up; MINOR from 300 uA up"
    )
    assert "HV off" in dict(server.pvs["DEMO:GEN:Fault"].guidance)["To do"]


def test_guidance_names_only_pvs_that_exist(demo: Rack, server: AlarmServer) -> None:
    names = {pv.name for pv in demo.pvs}
    for item in server.pvs.values():
        for _, text in item.guidance:
            words = [word.strip(";:.,") for word in text.split() if word.startswith("DEMO:")]
            assert {word.partition(".")[0] for word in words} <= names


def test_each_alarm_opens_the_screen_of_its_board_or_instrument(demo: Rack, server: AlarmServer) -> None:
    assert server.pvs["DEMO:HV1:S02:C00:Status"].display == [("HV1_S02", "HV1_S02.bob")]
    assert server.pvs["DEMO:GEN:Fault"].display == [("GEN", "GEN.bob")]
    placed = AlarmServer()
    placed.load(alarms(demo, "https://displays.lab/hv/"))
    assert placed.pvs["DEMO:GEN:Fault"].display == [("GEN", "https://displays.lab/hv/GEN.bob")]


def test_the_same_rack_gives_the_same_bytes_with_a_header_without_a_time(demo: Rack) -> None:
    text = alarms(demo)
    assert text == alarms(demo)
    assert f"Made by rackioc {demo.version} from demo.yaml." in text.splitlines()[1]
    assert "make it again: rackioc alarms - -screens /opt/screens demo.yaml" in alarms(demo, "/opt/screens")


def test_a_name_that_would_end_a_comment_or_a_crate_that_was_away_leaves_it_good(demo: Rack) -> None:
    away = replace(demo.instruments[0], complete=False)
    server = AlarmServer()
    text = alarms(replace(demo, file="rack--2.yaml", instruments=(away,)))
    server.load(text)
    assert "Incomplete: HV1 could not be asked what it has." in text


def test_a_description_with_signs_of_xml_or_none_that_it_can_hold_leaves_it_good(demo: Rack) -> None:
    generator = demo.instruments[2]
    pvs = tuple(replace(pv, point=replace(pv.point, desc="<a> & \x01\x0b\ud800]]>")) for pv in generator.pvs)
    server = AlarmServer()
    text = alarms(replace(demo, instruments=(replace(generator, pvs=pvs),)))
    server.load(text.encode().decode())
    assert server.pvs["DEMO:GEN:Fault"].description == "GEN: <a> & ]]>"


def test_instruments_whose_names_differ_in_signs_alone_have_screens_of_their_own(demo: Rack) -> None:
    names = ("A:B", "A-B", "a-b", "overview")
    instruments = tuple(replace(demo.instruments[1], name=name) for name in names)
    server = AlarmServer()
    server.load(alarms(replace(demo, instruments=instruments)))
    shown = [server.components["DEMO", name].display[0][1] for name in names]
    assert shown == ["A-B.bob", "A-B-2.bob", "a-b-3.bob", "overview-2.bob"]
