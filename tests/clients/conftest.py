"""Clients of others, each in a process of its own, and one real server for all tests of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.client import Client
from tests.clients.peer import Peer, missing
from tests.system.conftest import CRATE, Ioc, Racks, racks

__all__ = ["racks"]


@pytest.fixture(scope="session", autouse=True)
def repeater(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What passes the beacons on: clients find none beside them, or start one that would outlive the tests."""
    peer = Peer("repeater", tmp_path_factory.mktemp("repeater") / "log")
    yield
    peer.close()


@pytest.fixture(scope="module")
def rack(racks: Racks, ca: Client) -> Ioc:
    """A crate with four channels, which are read."""
    # settings are scanned every 10 s if nothing is configured: many a test would wait for that
    rack = racks.start({"HV1": {**CRATE, "channels": {2: [0, 1, 2, 3]}, "scan": {"settings": 2.0}}})
    settled(rack, ca)
    return rack


def settled(rack: Ioc, ca: Client) -> None:
    """Wait until the settings of the crate were read."""
    ca.wait(rack("HV1:Conn"), lambda value: value == 2, 20)
    ca.wait(rack("HV1:S02:C00:V0Set"), lambda value: value.severity < 3, 20)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Peer]]:
    """Starts clients by the name of their program; they end with the module."""
    folder = tmp_path_factory.mktemp("clients")
    started: list[Peer] = []

    def start(program: str) -> Peer:
        if reason := missing(program):
            pytest.skip(reason)
        started.append(Peer(program, folder / f"{program}{len(started)}.log"))
        return started[-1]

    yield start
    for peer in started:
        peer.close()
