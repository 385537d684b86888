"""The lists for other archives and for save-and-restore, read by models of these programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exports.archives import appliance, engine, kept
from exports.snapshot import snapshot
from rackioc import listing
from rackioc.config.load import load
from tests.exports.readers import Appliance, Engine, SaveSet

if TYPE_CHECKING:
    from exports.rack import Rack

CONFIG = """\
prefix: "LAB:"
instruments:
  TC1: {driver: se521}
archive:
  database: "sqlite:///rack.sqlite"
  pvs: ["LAB:TC1:T?"]
  policies:
    "LAB:TC1:T2": {scan: 90s}
"""


@pytest.fixture
def few(tmp_path: Path) -> Rack:
    """A rack whose archiver keeps some PVs alone."""
    path = tmp_path / "rack.yaml"
    path.write_text(CONFIG)
    return listing.rack(load(path))[0]


def test_the_appliance_gets_each_pv_once_with_a_period_that_leaves_room(demo: Rack) -> None:
    reader = Appliance()
    reader.post(appliance(demo))
    assert reader.already == []
    assert set(reader.requests) == {pv.name for pv in kept(demo, tuple(demo.pvs))}
    assert reader.requests["DEMO:HV1:S02:C00:VMon"] == ("MONITOR", 0.5)
    assert reader.requests["DEMO:HV1:S02:C00:V0Set_RBV"] == ("MONITOR", 1.0)
    assert reader.requests["DEMO:GEN:VMon"] == ("MONITOR", 0.125)
    assert min(period for _, period in reader.requests.values()) >= 0.1


def test_the_engine_gets_the_same_pvs_by_instrument_and_board(demo: Rack) -> None:
    reader, other = Engine(), Appliance()
    reader.load(engine(demo))
    other.post(appliance(demo))
    assert list(reader.groups) == [
        "DEMO:HV1", "DEMO:HV1:S02", "DEMO:HV1:S04", "DEMO:HV1:S08", "DEMO:TC1", "DEMO:GEN", "DEMO:IOC", "DEMO:ARCH",
    ]  # fmt: skip
    read = {pv: how for channels in reader.groups.values() for pv, how in channels.items()}
    assert read == {pv: (method == "MONITOR", period) for pv, (method, period) in other.requests.items()}


@pytest.mark.parametrize(
    "name",
    [
        "IOC:PVList",
        "IOC:SafeList",
        "IOC:Instruments",
        "HV1:Error",
        "HV1:S02:VMon:Array",
        "HV1:S02:Name:Array",
        "HV1:Cmd:ClearAlarm",
    ],
)
def test_what_such_an_archive_cannot_show_is_left_out(demo: Rack, name: str) -> None:
    assert f"DEMO:{name}" in {pv.name for pv in demo.pvs}
    assert f"DEMO:{name}" not in {pv.name for pv in kept(demo, tuple(demo.pvs))}


def test_what_the_configuration_archives_is_archived_in_the_same_way(few: Rack) -> None:
    reader, other = Appliance(), Engine()
    reader.post(appliance(few))
    other.load(engine(few))
    assert reader.requests == {
        "LAB:TC1:T1": ("MONITOR", 0.5), "LAB:TC1:T2": ("SCAN", 90.0),
        "LAB:TC1:T3": ("MONITOR", 0.5), "LAB:TC1:T4": ("MONITOR", 0.5),
    }  # fmt: skip
    assert other.groups["LAB:TC1"]["LAB:TC1:T2"] == (False, 90.0)


def test_a_snapshot_has_all_settings_with_their_readbacks(demo: Rack) -> None:
    reader = SaveSet()
    reader.load(snapshot(demo))
    assert reader.name == "DEMO settings"
    assert demo.version in reader.description
    assert len(reader.columns) <= 5  # more are taken for a snapshot with values
    names = {pv.name for pv in demo.pvs}
    entries = {entry["PV"]: entry for entry in reader.entries}
    assert len(entries) == len(reader.entries)
    assert set(entries) | {entry["READBACK"] for entry in reader.entries} - {""} <= names
    assert entries["DEMO:HV1:S02:C00:V0Set"] == {
        "PV": "DEMO:HV1:S02:C00:V0Set", "READBACK": "DEMO:HV1:S02:C00:V0Set_RBV", "READ_ONLY": "0",
    }  # fmt: skip
    settings = {pv.name for pv in demo.pvs if pv.point.follows}
    assert set(entries) == settings


@pytest.mark.parametrize(
    "name", ["HV1:S02:C00:Pw", "GEN:HV", "GEN:Mode", "GEN:Inhibit", "HV1:Sys:IPAddr", "HV1:Sys:GenSignCfg"]
)
def test_a_restore_switches_nothing(demo: Rack, name: str) -> None:
    reader = SaveSet()
    reader.load(snapshot(demo))
    assert {entry["PV"]: entry["READ_ONLY"] for entry in reader.entries}[f"DEMO:{name}"] == "1"


@pytest.mark.parametrize("name", ["HV1:Cmd:Kill", "HV1:Cmd:ClearAlarm", "HV1:Retry", "HV1:Sys:Message"])
def test_a_snapshot_has_no_commands(demo: Rack, name: str) -> None:
    assert f"DEMO:{name}" in {pv.name for pv in demo.pvs}
    assert f"DEMO:{name}," not in snapshot(demo)


@pytest.mark.parametrize("prefix", ["A,B:", "#A:"])
def test_a_name_that_is_odd_in_a_csv_stays_whole(few: Rack, demo: Rack, prefix: str) -> None:
    generator = demo.instruments[2]
    odd = replace(
        generator, prefix=prefix, pvs=tuple(replace(pv, name=f"{prefix}{pv.point.name}") for pv in generator.pvs)
    )
    reader = SaveSet()
    reader.load(snapshot(replace(few, instruments=(odd,))))
    assert {"PV": f"{prefix}VSet", "READBACK": f"{prefix}VSet_RBV", "READ_ONLY": "0"} in reader.entries


@pytest.mark.parametrize("name", ["rack--2.yaml", "rack---old.yaml", "----.yaml", "a <&> b.yaml", "-"])
def test_a_file_whose_name_has_dashes_gives_xml(few: Rack, name: str) -> None:
    reader = Engine()
    reader.load(engine(replace(few, file=name)))
    assert set(reader.groups["LAB:TC1"]) == {f"LAB:TC1:T{number}" for number in range(1, 5)}


@pytest.mark.parametrize("make", [appliance, engine, snapshot])
def test_the_same_rack_gives_the_same_bytes_and_says_from_what(make: object, demo: Rack) -> None:
    assert callable(make)
    assert make(demo) == make(demo)
    assert f"Made by rackioc {demo.version} from demo.yaml." in make(demo)
