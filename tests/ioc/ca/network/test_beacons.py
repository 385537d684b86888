"""Beacons: to the networks that there are, as those of EPICS base, also where no default route leads."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ioc.ca.network.beacons import Beacons, addresses

ROOT = Path(__file__).parents[4]


def own_network() -> bool:
    """Return True if this computer lets a user have a network namespace."""
    return subprocess.run(["unshare", "-Urn", "ip", "link"], check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not own_network(), reason="this computer gives no network namespace (unshare -Urn)")
@pytest.mark.parametrize(
    ("server", "heard"),
    [("softioc", [["one", "two"]]), ("rackioc", [["one"], ["one", "two"], ["two"], ["one", "two"]])],
)
def test_beacons_are_heard_in_each_network_also_in_one_that_comes_later_or_was_away(
    server: str, heard: list[list[str]]
) -> None:
    program = [sys.executable, "-P", "-m", "tests.ioc.ca.network.networks", server]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EPICS_")}
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["unshare", "-Urn", *program], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == heard  # base may say its name before
    if server == "rackioc":
        assert done.stderr.count("no beacons to 10.9.1.255:5065 (Network is unreachable)") == 1
        assert "socket setup failed" not in done.stderr  # what caproto would say of its own


def test_beacons_go_where_they_are_listed_and_nowhere_else_if_so_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPICS_CAS_BEACON_PORT", "4065")
    monkeypatch.setenv("EPICS_CAS_AUTO_BEACON_ADDR_LIST", "no")
    monkeypatch.setenv("EPICS_CAS_BEACON_ADDR_LIST", "192.0.2.7 gateway:4711")
    assert addresses() == [("192.0.2.7", 4065), ("gateway", 4711)]
    monkeypatch.delenv("EPICS_CAS_BEACON_ADDR_LIST")
    assert addresses() == []


def test_who_serves_the_loopback_alone_sends_beacons_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPICS_CAS_BEACON_PORT", "4065")
    monkeypatch.setenv("EPICS_CAS_AUTO_BEACON_ADDR_LIST", "YES")
    monkeypatch.delenv("EPICS_CAS_BEACON_ADDR_LIST", raising=False)
    monkeypatch.setenv("EPICS_CAS_INTF_ADDR_LIST", "127.0.0.1")
    assert addresses() == [("127.0.0.1", 4065)]


def test_a_name_that_nobody_knows_costs_no_other_its_beacons(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5.0)
        monkeypatch.setenv("EPICS_CAS_AUTO_BEACON_ADDR_LIST", "NO")
        monkeypatch.setenv("EPICS_CAS_BEACON_PERIOD", "0.02")
        monkeypatch.delenv("EPICS_CAS_BEACON_PORT", raising=False)
        there = f"localhost:{listener.getsockname()[1]}"
        monkeypatch.setenv("EPICS_CAS_BEACON_ADDR_LIST", f"no.such.host.invalid two..dots {there}")

        async def numbers() -> list[int]:
            sending = asyncio.create_task(Beacons(5064).send())
            heard = [await asyncio.to_thread(listener.recv, 1024) for _ in range(3)]
            sending.cancel()
            return [int.from_bytes(each[8:12], "big") for each in heard]

        assert asyncio.run(numbers()) == [0, 1, 2]
    for name in ("no.such.host.invalid", "two..dots"):
        assert [record.getMessage().count(f"{name}:5065") for record in caplog.records].count(1) == 1
