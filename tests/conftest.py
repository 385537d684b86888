"""Keeps this session's Channel Access to itself: on loopback, on ports of its own, before libca is loaded."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.client import Client


def free_port() -> int:
    """A port that nothing uses now, for UDP and TCP alike."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind(("127.0.0.1", 0))
        tcp.bind(("127.0.0.1", udp.getsockname()[1]))
        return int(udp.getsockname()[1])


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
