"""The rackioc side: an instrument that keeps its values in memory, served until standard input closes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from conformance.areas import POINTS
from conformance.points import BANK, GROUP, INSTRUMENT, PREFIX
from drivers.base import Array, Driver, Point, Reading, Readings, RecordType, Step, Value
from ioc.ca.server import Server
from ioc.instrument import Instrument
from ioc.site import Site

INTEGER = {rtyp for rtyp in RecordType if rtyp.states} | {RecordType.longin, RecordType.longout}


class SoftDriver(Driver):
    """A driver that accepts every put at once; what is put to ``X:Src`` becomes the value of X."""

    scan: ClassVar[Mapping[str, float]] = {GROUP: 3600.0}  # what a put does not change does not change

    def __init__(self, points: Iterable[Point]) -> None:
        self.points = tuple(points)
        self._values: dict[str, Value | Array | Reading] = {}

    def connect(self) -> Readings:
        """Do nothing: there is nothing to connect to."""
        return {}

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def read(self, group: str) -> Iterator[Step]:
        """Yield what is known of a group."""
        names = {point.name for point in self.points if point.group == group}
        yield {name: value for name, value in self._values.items() if name in names}

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        """Store the value, and what it makes the instrument report."""
        readings: dict[str, Value | Array | Reading] = {point.name: value}
        if isinstance(point.addr, Point):
            readings[point.addr.name] = self._driven(point.addr, value)
        self._values |= readings
        yield readings

    def _driven(self, point: Point, value: Value) -> Value | Array:
        if point.rtyp is RecordType.waveform:
            first = self._values.get(f"{point.name}:Off", 0)
            assert isinstance(first, int)
            return BANK[point.ftvl][first : first + min(int(value), point.nelm)]
        if point.rtyp in INTEGER:
            return int(value)
        return float(value) if point.rtyp.numeric else value


async def serve() -> None:
    """Serve the points of all areas; says "ready" when clients can connect."""
    server = Server()
    instrument = Instrument(INSTRUMENT, PREFIX, SoftDriver(POINTS), Site(), server)
    serving = asyncio.create_task(server.run())
    while server.port is None:
        if serving.done():
            serving.result()
        await asyncio.sleep(0.01)
    instrument.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await instrument.close()
    serving.cancel()


if __name__ == "__main__":
    asyncio.run(serve())
