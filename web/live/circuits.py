"""The connections of the persons who put: one for each of them and server, so that it knows who puts."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict

import psutil

from web.live.circuit import Address, Circuit, NotThereError

# Seconds after the last put for which a connection stays
LINGER = 60.0


class Circuits:
    """The connections by person and address; what one person puts to a server goes out in order, past others."""

    def __init__(self) -> None:
        self._circuits: dict[tuple[str, Address], Circuit] = {}
        self._turns: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def begin(
        self, person: str, server: str, name: str, kind: int, count: int, data: bytes
    ) -> asyncio.Future[int]:
        """Send a put under a person's name to the server that libca names so, and has connected to.

        Return the ECA status that is to come. Raises NotThereError: nothing was sent then.
        """
        async with self._turns[person, server]:
            for address in await asyncio.to_thread(addresses, server):
                try:
                    circuit = await self._circuit(person, address)
                    return await circuit.begin(name, kind, count, data)
                except (OSError, NotThereError):
                    continue
        raise NotThereError(name)

    def close(self) -> None:
        """End all connections."""
        for circuit in self._circuits.values():
            circuit.close()

    async def _circuit(self, person: str, address: Address) -> Circuit:
        key = person, address
        circuit = self._circuits.get(key)
        if circuit is None or circuit.closed:
            circuit = self._circuits[key] = await Circuit.open(address, person)
            self._close_later(key, circuit)
        return circuit

    def _close_later(self, key: tuple[str, Address], circuit: Circuit) -> None:
        asyncio.get_running_loop().call_later(LINGER, self._look, key, circuit)

    def _look(self, key: tuple[str, Address], circuit: Circuit) -> None:
        """Close a connection that was not used since the last look."""
        if (circuit.used or circuit.busy) and not circuit.closed:
            circuit.used = False
            self._close_later(key, circuit)
            return
        circuit.close()
        if self._circuits.get(key) is circuit:
            del self._circuits[key]


def addresses(server: str) -> list[Address]:
    """Return the addresses that a server can have of which libca has told name and port, the likeliest first.

    The name comes from the address and need not lead back to it: the far ends of our connections are looked at.
    """
    host, _, port = server.rpartition(":")
    if not port.isdigit():
        return []
    ends = {each.raddr for each in psutil.Process().net_connections("tcp4") if each.raddr}
    try:
        named = {str(each[4][0]) for each in socket.getaddrinfo(host, None, socket.AF_INET)}
    except OSError:
        named = set()
    there = [(end.ip, end.port) for end in ends if end.port == int(port)]
    return sorted(there, key=lambda address: (address[0] not in named, address))
