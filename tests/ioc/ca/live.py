"""A server with a real instrument behind it: its port and thread, and a driver that a test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from drivers.base import Point, RecordType, Step, Value
from ioc.instrument import Instrument
from ioc.site import Site
from tests.ioc.bench import POINTS, Bench
from tests.small_ioc import SmallIoc

# A setpoint that is its own readback, as a driver without one has it
OWN = Point(name="Own", rtyp=RecordType.ao, drvl=0.0, drvh=10_000.0)


class Soft(Bench):
    """The bench's instrument with ``Own``; its gate holds up puts, but no scan, behind which a put would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.points = (*POINTS, OWN)

    def read(self, group: str) -> Iterator[Step]:
        self._note(group)
        yield {point.name: self.values[point.name] for point in self.points if point.group == group}

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        if point.name != OWN.name:
            yield from super().write(point, value)
            return
        self._note((point.name, value))
        self.gate.wait(5.0)
        if self.write_error:
            raise self.write_error
        yield {point.name: value}


class LiveIoc(SmallIoc):
    """The small IOC, with the instrument ``PS`` beside its records."""

    def __init__(self) -> None:
        self.driver = Soft()
        super().__init__()

    async def _start(self) -> None:
        await super()._start()
        self.instrument = Instrument("PS", self.prefix, self.driver, Site(), self.server)
        self.instrument.start()
        while self.instrument.records["Set"].sevr:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        self.driver.gate.set()
        self.do(self.instrument.close())
        super().close()
