"""The environment variables of Channel Access servers, with the fallbacks of EPICS base (rsrv, caservertask.c)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import psutil

# A server's own variable, and the client's that base looks at when it is not set
_FALLBACKS = {
    "EPICS_CAS_SERVER_PORT": "EPICS_CA_SERVER_PORT",
    "EPICS_CAS_BEACON_PORT": "EPICS_CA_REPEATER_PORT",
    "EPICS_CAS_BEACON_PERIOD": "EPICS_CA_BEACON_PERIOD",
    "EPICS_CAS_BEACON_ADDR_LIST": "EPICS_CA_ADDR_LIST",
    "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "EPICS_CA_AUTO_ADDR_LIST",
}
SERVER_PORT = 5064


def fill() -> None:
    """Give each of the server's variables that is not set the value of the client's; caproto reads them later."""
    for name, fallback in _FALLBACKS.items():
        if not os.environ.get(name) and os.environ.get(fallback):
            os.environ[name] = os.environ[fallback]


def broadcasts() -> Iterator[tuple[str, str]]:
    """(address, broadcast address) of each of this computer's interfaces that has one."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and each.broadcast:
                yield each.address, each.broadcast


def server_port() -> int:
    """Return the port for searches, and for connections if it is free. ValueError if it is none."""
    text = os.environ.get("EPICS_CAS_SERVER_PORT") or str(SERVER_PORT)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError(f"EPICS_CAS_SERVER_PORT is '{text}', not a port from 1 to 65535")
    return int(text)
