"""Where the IOC, the archiver and ``rackioc status`` meet: one status file, beside the spool."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from archiver.health import Health, StatusFile
from tests.client import Client
from tests.system.conftest import GENERATOR, Racks

ARCHIVE = {"database": "sqlite:///rack.sqlite", "pvs": ["PREFIX:*"]}


pytestmark = pytest.mark.usefixtures("one_at_a_time")


@pytest.mark.parametrize(
    ("spool", "file"),
    [({}, "rack.spool.status"), ({"file": "waiting.db"}, "waiting.db.status")],
    ids=["default", "file"],
)
def test_the_iocs_pvs_and_the_command_read_the_same_file(
    racks: Racks, ca: Client, spool: dict[str, str], file: str
) -> None:
    ioc = racks.start({"GEN": GENERATOR}, command="ioc", archive={**ARCHIVE, "spool": spool})
    with closing(StatusFile(ioc.folder / file)) as status_file:
        status_file.write(Health(time.time(), 4711, connected=42, total=43, database="ok"))
        ca.wait(ioc("ARCH:Connected"), lambda value: value == 42)
        assert ca.text(ioc("ARCH:Running")) == "Up"
        told = status(ioc.folder)
    assert (told.returncode, told.stderr) == (0, "")
    assert "42 of 43 connected" in told.stdout
    ca.wait(ioc("ARCH:Running"), lambda value: value == 0)
    assert status(ioc.folder).returncode == 1
    assert ioc("ARCH:Lag") in ca.long(ioc("IOC:PVList")).split("\n")


def test_without_an_archive_there_is_no_archiver_to_tell_of(racks: Racks, ca: Client) -> None:
    ioc = racks.start({"GEN": GENERATOR}, command="ioc")
    assert ioc("ARCH:Lag") not in ca.long(ioc("IOC:PVList")).split("\n")
    assert status(ioc.folder).returncode == 2


def status(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the command says where the IOC was started."""
    command = [sys.executable, "-P", "-m", "rackioc", "status", "rack.yaml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
