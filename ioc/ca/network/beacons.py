"""Beacons: datagrams by which clients learn that the server is there, and search at once for what they had lost.

They go where those of EPICS base go (rsrv, online_notify.c): to the broadcast address of each interface, for one to
255.255.255.255 leaves by the default route alone, and not at all where there is none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterator

import psutil

from ioc import faults
from ioc.ca.message import HEADER, PROTOCOL_VERSION

log = logging.getLogger("rackioc.server")

# The command (caProto.h, CA_PROTO_RSRV_IS_UP); "at the address that this datagram came from"
IS_UP, ANYWHERE = 13, 0
# Seconds between the first two; each pause is twice the one before, up to EPICS_CAS_BEACON_PERIOD
FIRST_PAUSE, PERIOD = 0.02, 15.0
PORT = 5065

Address = tuple[str, int]


class Beacons:
    """The beacons of a server that listens on the TCP port ``port``."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._resolved: dict[Address, Address] = {}
        self._failed: set[Address] = set()

    async def send(self) -> None:
        """Send beacons until cancelled; nothing that goes wrong with one ends that."""
        longest = float(os.environ.get("EPICS_CAS_BEACON_PERIOD") or PERIOD)
        pause, number = min(FIRST_PAUSE, longest), 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            while True:
                beacon = HEADER.pack(IS_UP, 0, PROTOCOL_VERSION, self._port, number, ANYWHERE)
                try:
                    for address in addresses():
                        await self._send(udp, beacon, address)
                except Exception as error:  # clients are slower to find the server again; they can do without
                    faults.log_once("the beacons", "the server", error)
                number = (number + 1) % (1 << 32)
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)

    async def _send(self, udp: socket.socket, beacon: bytes, address: Address) -> None:
        """Send one; what cannot be sent is told once, until it can be sent again."""
        try:
            udp.sendto(beacon, await self._numbers(address))
            self._failed.discard(address)
        except (OSError, UnicodeError) as error:  # the latter for a name that none can have
            if address not in self._failed:
                self._failed.add(address)
                told = "no beacons to %s:%d (%s): clients there may be minutes late to find this server again"
                log.warning(told, *address, getattr(error, "strerror", None) or error)

    async def _numbers(self, address: Address) -> Address:
        """Return an address whose computer is a number, not a name. OSError if the name is not known."""
        if address not in self._resolved:
            found = await asyncio.get_running_loop().getaddrinfo(*address, family=socket.AF_INET)
            self._resolved[address] = str(found[0][4][0]), address[1]
        return self._resolved[address]


def addresses() -> list[Address]:
    """Return where beacons go now (an interface may come later): all networks unless that is off, and what is listed.

    Names, which somebody may be slow to resolve, hold up none that comes before them.
    """
    port = int(os.environ.get("EPICS_CAS_BEACON_PORT") or PORT)
    found: list[Address] = []
    if os.environ.get("EPICS_CAS_AUTO_BEACON_ADDR_LIST", "YES").upper() != "NO":
        served = [each.partition(":")[0] for each in os.environ.get("EPICS_CAS_INTF_ADDR_LIST", "").split()]
        found += [(network, port) for network in _networks(served)]
    listed = [each.partition(":") for each in os.environ.get("EPICS_CAS_BEACON_ADDR_LIST", "").split()]
    found += [(host, int(own or port)) for host, _, own in listed]
    return list(dict.fromkeys(found))


def _networks(served: list[str]) -> Iterator[str]:
    """Yield how all computers of each network are reached that is served; [] stands for all networks."""
    for interface in psutil.net_if_addrs().values():
        for each in interface:
            if each.family != socket.AF_INET or (served and each.address not in served):
                continue
            if everybody := each.broadcast or each.ptp:
                yield everybody
            elif served:  # the loopback, which has none
                yield each.address
