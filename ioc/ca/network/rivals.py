"""Other servers with our names: clients would be answered by the one or the other, by chance.

Before the first port is opened the network is asked for the names, as any client would ask.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterable, Sequence

import psutil

from ioc.ca.message import HEADER, PROTOCOL_VERSION, SEARCH, VERSION, split
from ioc.ca.network.environment import broadcasts

# Seconds after which the question is asked again (a datagram may get lost), and after which nobody has answered
AGAIN, ENOUGH = 0.1, 0.3
CONNECT_TIMEOUT = 1.0
_NAMES_A_DATAGRAM = 16


async def refuse(names: Sequence[str], port: int, remedy: str) -> None:
    """OSError, with ``remedy`` in it, if a living server answers for one of the names on the UDP port ``port``."""
    for name, address in (await asyncio.to_thread(find, names, port)).items():
        if await asyncio.to_thread(_lives, address):
            raise OSError(f"{name} is served already, by {address[0]}:{address[1]}; stop that server, {remedy}")


def find(names: Sequence[str], port: int) -> dict[str, tuple[str, int]]:
    """Return the names that somebody answers for, and where; an IOC that is gone may still stand in a name server."""
    found: dict[str, tuple[str, int]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asker.bind(("", 0))
        began = time.monotonic()
        for end in (began + AGAIN, began + ENOUGH):
            _ask(asker, names, _addresses(port))
            while (left := end - time.monotonic()) > 0:
                asker.settimeout(left)
                try:
                    datagram, (host, _) = asker.recvfrom(1 << 16)
                except OSError:  # nothing came, or somebody's port is closed
                    continue
                found |= {
                    names[cid]: (host, at)
                    for command, at, _, _, cid, _ in split(datagram)
                    if command == SEARCH and cid < len(names)
                }
    return found


def holder(port: int) -> str:
    """Return who listens on a TCP port of this computer, in words: what one may see of the processes of others."""
    for connection in psutil.net_connections("tcp"):
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
            try:
                process = psutil.Process(connection.pid)
                return f"process {process.pid} ({process.name()}, user {process.username()})"
            except psutil.Error:
                break
    return "a process of another user"


def _ask(asker: socket.socket, names: Sequence[str], addresses: Iterable[tuple[str, int]]) -> None:
    for first in range(0, len(names), _NAMES_A_DATAGRAM):
        datagram = HEADER.pack(VERSION, 0, 0, PROTOCOL_VERSION, 0, 0)
        for cid, name in enumerate(names[first : first + _NAMES_A_DATAGRAM], first):
            padded = name.encode() + bytes(8 - len(name) % 8)
            datagram += HEADER.pack(SEARCH, len(padded), 5, PROTOCOL_VERSION, cid, cid) + padded
        for address in addresses:
            try:
                asker.sendto(datagram, address)
            except OSError:  # a network that is down has no rival either
                continue


def _addresses(port: int) -> list[tuple[str, int]]:
    """Where clients would search: EPICS_CA_ADDR_LIST, the broadcast addresses unless they are off, this computer."""
    listed = [each.partition(":") for each in os.environ.get("EPICS_CA_ADDR_LIST", "").split()]
    hosts = [(host, int(own) if own.isdecimal() else port) for host, _, own in listed]
    if os.environ.get("EPICS_CA_AUTO_ADDR_LIST", "YES").upper() != "NO":
        hosts += [(broadcast, port) for _, broadcast in broadcasts()]
    return list(dict.fromkeys([*hosts, ("127.0.0.1", port)]))


def _lives(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=CONNECT_TIMEOUT):
            return True
    except OSError:
        return False
