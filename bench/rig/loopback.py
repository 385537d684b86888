"""Channel Access that stays on this computer: free ports, and the environment that keeps to them."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from functools import cache

# Below the ports that the kernel gives to outgoing connections, which could take one before the server does.
PORTS = range(10_000, 32_000)
# Ports in a block: a process that asks for more gets its first ones again, if they are free.
BLOCK = 250


def free_port() -> int:
    """Return a port that nothing uses now, for UDP and TCP alike: Channel Access uses both.

    The first call reserves a block of ports; no other process that calls this is given one of them.
    """
    block = _block()
    for _ in range(BLOCK):
        port = block.pop(0)
        block.append(port)
        if _is_free(port):
            return port
    raise OSError(f"no port between {min(block)} and {max(block)} is free")


def environment() -> dict[str, str]:
    """Return the variables of a server and its clients on free ports of the loopback alone."""
    port = str(free_port())
    return {
        "EPICS_CA_SERVER_PORT": port,
        "EPICS_CAS_SERVER_PORT": port,
        "EPICS_CA_REPEATER_PORT": str(free_port()),
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
    }


@cache
def _block() -> list[int]:
    """Reserve a block of ports for this process, for as long as it lives."""
    starts = list(range(PORTS.start, PORTS.stop, BLOCK))
    random.shuffle(starts)
    for start in starts:
        with socket.socket(socket.AF_UNIX) as reservation, suppress(OSError):
            # an abstract name: there is no file, and the kernel frees it however the process ends
            reservation.bind(f"\0rackioc-ports-{start}")
            reservation.detach()
            return list(range(start, start + BLOCK))
    raise OSError("every block of ports is reserved by another process")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp, suppress(OSError):
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind(("127.0.0.1", port))
        tcp.bind(("127.0.0.1", port))
        return True
    return False
