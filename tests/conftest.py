"""Keeps this session's Channel Access to itself: on loopback, on ports of its own, before libca is loaded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bench.rig.loopback import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client import Client
    from tests.small_ioc import SmallIoc


os.environ.update(
    EPICS_CA_SERVER_PORT=str(free_port()),
    EPICS_CA_REPEATER_PORT=str(free_port()),
    EPICS_CA_AUTO_ADDR_LIST="NO",
    EPICS_CA_ADDR_LIST="127.0.0.1",
    EPICS_CAS_INTF_ADDR_LIST="127.0.0.1",
    EPICS_CAS_BEACON_ADDR_LIST="127.0.0.1",
    EPICS_CAS_AUTO_BEACON_ADDR_LIST="NO",
)


@pytest.fixture(scope="session")
def ca() -> Client:
    """A Channel Access client."""
    from tests.client import Client

    return Client()


@pytest.fixture(scope="module")
def small_ioc() -> Iterator[SmallIoc]:
    """A Channel Access server on loopback."""
    from tests.small_ioc import SmallIoc

    small_ioc = SmallIoc()
    yield small_ioc
    small_ioc.close()
