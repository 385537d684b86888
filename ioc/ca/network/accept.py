"""The connections of clients, taken one by one: each in a turn of its own, and no more than there is room for."""

from __future__ import annotations

import asyncio
import resource
import socket
import sys
from collections.abc import Callable

from ioc import faults
from ioc.ca.network.seldom import Seldom

# Connections that may wait to be taken
BACKLOG = 512
# Seconds until the next try when none can be taken
PAUSE = 1.0

# Host and port
Address = tuple[str, int]


def most() -> int:
    """Return how many clients there may be: half of the files that may be open; instruments need some as well."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit // 2


class Door:
    """Where the clients of a listening socket come in.

    connected  makes who speaks with a client, given its address
    count      returns how many clients there are
    """

    def __init__(
        self, listener: socket.socket, connected: Callable[[Address], asyncio.BaseProtocol], count: Callable[[], int]
    ) -> None:
        self._listener = listener
        self._connected = connected
        self._count = count
        self._log = Seldom(1)

    async def run(self) -> None:
        """Take connections until cancelled; nothing that goes wrong with one ends that."""
        self._listener.setblocking(False)
        self._listener.listen(BACKLOG)
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    taken, (host, port, *_) = await loop.sock_accept(self._listener)
                except OSError as error:
                    told = "no client can connect at the moment (%s); what is connected goes on"
                    self._log.warning(told, error, kind="connections that cannot be taken")
                    await asyncio.sleep(PAUSE)
                    continue
                await self._take(taken, (host, port))
        finally:
            self._listener.close()

    async def _take(self, taken: socket.socket, address: Address) -> None:
        count = self._count()
        if count >= most():
            taken.close()
            told = "client %s:%d is refused: %d are connected, half of the open files that are allowed (ulimit -n)"
            self._log.warning(told, *address, count, kind="clients that are refused")
            return
        try:
            # one that has left again has an address no more, but that with which it came
            await asyncio.get_running_loop().connect_accepted_socket(lambda: self._connected(address), taken)
        except Exception as error:
            taken.close()
            faults.log_once("the connection", "a client", error)
