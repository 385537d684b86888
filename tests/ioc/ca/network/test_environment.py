"""Environment variables with values that they cannot have: one sentence, before a port is opened."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from ioc.ca.network import environment, rivals
from ioc.ca.network.beacons import addresses
from ioc.ca.network.environment import EnvironmentFault
from ioc.ca.server import Server

PORTS = ("EPICS_CAS_SERVER_PORT", "EPICS_CA_SERVER_PORT", "EPICS_CAS_BEACON_PORT", "EPICS_CA_REPEATER_PORT")
PERIODS = ("EPICS_CAS_BEACON_PERIOD", "EPICS_CA_BEACON_PERIOD", "EPICS_CA_CONN_TMO", "EPICS_CA_MAX_SEARCH_PERIOD")
LISTS = ("EPICS_CA_ADDR_LIST", "EPICS_CA_NAME_SERVERS", "EPICS_CAS_BEACON_ADDR_LIST", "EPICS_CAS_IGNORE_ADDR_LIST")
NONSENSE = {
    PORTS: ("x", "0", "-1", "65536", "5064.5", "\u0665"),
    PERIODS: ("x", "0", "-1", "inf", "nan", "15 s"),
    LISTS: ("127.0.0.1:x", ":5064", "127.0.0.1:70000", "::1", "bad..host", "127.0.0.1,127.0.0.2"),
    ("EPICS_CAS_INTF_ADDR_LIST",): ("127.0.0.999", "no.such.host.invalid", "127.0.0.1,127.0.0.2"),
    ("EPICS_CA_AUTO_ADDR_LIST", "EPICS_CAS_AUTO_BEACON_ADDR_LIST"): ("maybe", "0"),
    ("EPICS_CA_MAX_ARRAY_BYTES",): ("many", "0", "-1", "1e6"),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for names, values in NONSENSE.items() for name in names for value in values]
)
def test_nonsense_is_one_sentence_with_the_variable_and_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(EnvironmentFault) as error:
        asyncio.run(make())
    assert name in str(error.value)
    assert value in str(error.value)
    assert str(error.value).startswith("the environment variable ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["", "yes"])
@pytest.mark.parametrize("name", ["EPICS_PVA_SERVER_PORT", "EPICS_PVAS_BEACON_PERIOD", "EPICS_TS_MIN_WEST"])
def test_a_variable_that_means_nothing_here_hinders_no_server(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    asyncio.run(make())


@pytest.mark.parametrize(("value", "whole"), [("300.0", "300"), ("60.5", "61"), ("90", "90")])
def test_a_search_period_is_written_as_base_writes_it(
    monkeypatch: pytest.MonkeyPatch, value: str, whole: str
) -> None:
    monkeypatch.setenv("EPICS_CA_MAX_SEARCH_PERIOD", value)
    asyncio.run(make())
    assert os.environ["EPICS_CA_MAX_SEARCH_PERIOD"] == whole


@pytest.mark.parametrize("value", ["no.such.host.invalid", "rack.example.org.", "127.0.0.1 localhost:5066"])
def test_a_name_that_nobody_has_now_is_no_nonsense(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", value)
    environment.check()


@pytest.mark.parametrize("address", ["224.0.2.3", "255.255.255.255", "127.255.255.255"])
def test_an_address_of_many_computers_is_refused_though_it_can_be_bound(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(environment, "broadcasts", lambda: iter([("127.0.0.1", "127.255.255.255")]))
    monkeypatch.setenv("EPICS_CAS_INTF_ADDR_LIST", f"127.0.0.1 {address}")
    with pytest.raises(OSError, match=rf"{address} in EPICS_CAS_INTF_ADDR_LIST is not an"):
        environment.fill()


def test_an_address_that_this_computer_does_not_have_may_come_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPICS_CAS_INTF_ADDR_LIST", "127.0.0.1 203.0.113.7")
    with pytest.raises(OSError, match=r"203.0.113.7 in EPICS_CAS_INTF_ADDR_LIST is not an"):
        asyncio.run(make())


@pytest.mark.parametrize(
    ("listed", "served", "beacons"),
    [
        ("localhost", "127.0.0.1", [("127.0.0.1", 4065)]),
        ("127.0.0.1:5064", "127.0.0.1", [("127.0.0.1", 4065)]),
        ("127.0.0.1 0.0.0.0", None, None),
    ],
)
def test_addresses_to_be_served_are_numbers_by_which_their_networks_are_known_or_all(
    monkeypatch: pytest.MonkeyPatch, listed: str, served: str | None, beacons: list[tuple[str, int]] | None
) -> None:
    monkeypatch.delenv("EPICS_CAS_BEACON_ADDR_LIST", raising=False)
    monkeypatch.setenv("EPICS_CAS_AUTO_BEACON_ADDR_LIST", "YES")
    monkeypatch.setenv("EPICS_CAS_BEACON_PORT", "4065")
    monkeypatch.setenv("EPICS_CAS_INTF_ADDR_LIST", listed)
    environment.fill()
    assert os.environ.get("EPICS_CAS_INTF_ADDR_LIST") == served
    assert beacons is None or addresses() == beacons


async def make() -> None:
    Server()


@pytest.mark.parametrize("name", environment._CHECKS)
def test_a_variable_that_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for each in environment._CHECKS:
        monkeypatch.setenv(each, os.environ.get(each, ""))  # so that all are as before afterwards
    monkeypatch.setenv(name, " ")
    environment.fill()


def test_who_has_a_port_is_told() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        told = rivals.holder(holder.getsockname()[1])
    assert told.startswith(f"process {os.getpid()} (")
    assert rivals.holder(1) == "a process of another user"
