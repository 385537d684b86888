"""A server of many counters in a process of its own: ``crowd_server.py PREFIX COUNT``. Its port is the first line."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import ClassVar

from drivers.base import Driver, Point, Readings, RecordType, Step, Value
from ioc.ca.server import Server
from ioc.instrument import Instrument
from ioc.site import Site

BLOCKS = 16  # a scan comes in as many blocks as a full crate has slots


class Counters(Driver):
    """Points C0, C1 ... that count the scans, all alike, and the server's own load."""

    scan: ClassVar[Mapping[str, float]] = {"all": 1.0}

    def __init__(self, count: int, server: Server) -> None:
        self.points = tuple(Point(name=f"C{index}", rtyp=RecordType.ai, group="all") for index in range(count))
        self.points += tuple(
            Point(name=name, rtyp=RecordType.longin, group="all") for name in ("Clients", "Channels")
        )
        self._server = server
        self._scans = 0
        names = [point.name for point in self.points[:count]]
        self._blocks = [names[number::BLOCKS] for number in range(BLOCKS)]

    def connect(self) -> Readings:
        """Nothing to open."""
        return {}

    def read(self, group: str) -> Iterator[Step]:
        self._scans += 1
        for names in self._blocks:
            yield dict.fromkeys(names, float(self._scans))
        clients, channels, _ = self._server.load
        yield {"Clients": clients, "Channels": channels}

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to close."""


async def main(prefix: str, count: int) -> None:
    server = Server()
    instrument = Instrument("X", prefix, Counters(count, server), Site(), server)
    serving = asyncio.create_task(server.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    while server.port is None:
        await asyncio.sleep(0.01)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    instrument.start()
    await asyncio.gather(serving, return_exceptions=True)
    await instrument.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
