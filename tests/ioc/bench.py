"""A driver that does what a test tells it, and an instrument around it with its posts written down."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from drivers.base import DeviceError, Driver, Point, Reading, Readings, RecordType, Step, Value
from ioc.block import Block, Masks
from ioc.instrument import Instrument
from ioc.record import ALARM, LOG, VALUE, Changes, Record
from ioc.site import Site

POINTS = (
    Point(name="Mon", rtyp=RecordType.ai, group="fast", egu="V"),
    Point(name="Set", rtyp=RecordType.ao, follows="Set_RBV", egu="V", drvl=0.0, drvh=100.0),
    Point(name="Set_RBV", rtyp=RecordType.ai, group="slow", egu="V"),
    Point(name="Safe", rtyp=RecordType.bo, command=True, states=("Off", "On"), safe=0),
)


class Bench(Driver):
    """An instrument on the bench: ``values`` is what it holds, the other attributes are what goes wrong."""

    scan: ClassVar[Mapping[str, float]] = {"fast": 0.05, "slow": 0.1}

    def __init__(self) -> None:
        self.points: tuple[Point, ...] = POINTS
        self.values: dict[str, Value | Reading] = {"Mon": 1.0, "Set_RBV": 10.0}
        self.connect_error: DeviceError | None = None
        self.read_error: dict[str, DeviceError] = {}
        self.write_error: DeviceError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.log: list[object] = []
        self.threads: set[int] = set()

    def connect(self) -> Readings:
        self._note("connect")
        if self.connect_error:
            raise self.connect_error
        return {}

    def read(self, group: str) -> Iterator[Step]:
        for point in self.points:
            if point.group == group:
                self._note(group)
                self.gate.wait(5.0)
                if group in self.read_error:
                    raise self.read_error[group]
                yield {point.name: self.values[point.name]}

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        self._note((point.name, value))
        self.gate.wait(5.0)
        if self.write_error:
            raise self.write_error
        if point.follows is None:
            yield {point.name: 0}
            return
        self.values[point.follows] = value
        yield {point.follows: value}

    def close(self) -> None:
        self._note("close")

    def _note(self, what: object) -> None:
        self.log.append(what)
        self.threads.add(threading.get_ident())


@dataclass
class Rig:
    driver: Bench
    instrument: Instrument
    posts: list[tuple[str, int, Value, str]]

    def record(self, name: str) -> Record:
        return self.instrument.records[name]

    def state(self, name: str) -> tuple[Value, str, str]:
        record = self.record(name)
        return record.val, record.stat.name, record.sevr.name

    async def put(self, name: str, value: Value) -> None:
        await self.instrument.put(self.record(name), value)

    async def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            await asyncio.sleep(0.005)


@dataclass
class Screen:
    """A publisher that writes down what it was told."""

    posts: list[tuple[str, int, Value, str]] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)

    def add(self, record: Record, instrument: Instrument) -> None:
        self.records[record.name] = record

    def post(self, changes: Changes) -> None:
        self.posts += [(record.point.name, mask, record.val, record.stat.name) for record, mask in changes]

    def post_block(self, block: Block, masks: Masks) -> None:
        self.post([(record, int(mask)) for record, mask in zip(block.records, masks, strict=True) if mask])

    def post_field(self, record: Record, name: str, mask: int = VALUE | LOG) -> None:
        self.posts.append((f"{record.point.name}.{name}", mask, record.val, record.stat.name))

    def post_alarm(self, record: Record) -> None:
        self.posts.append((record.point.name, ALARM, record.val, record.stat.name))


Scenario = Callable[[Rig], Awaitable[None]]


class Run(Protocol):
    """The fixture ``run``: run a scenario with a fresh instrument."""

    def __call__(self, scenario: Scenario, driver: Bench | None = None, site: Site | None = None) -> None:
        """Return when it is over."""


@asynccontextmanager
async def running(driver: Bench | None = None, site: Site | None = None) -> AsyncIterator[Rig]:
    driver = driver or Bench()
    screen = Screen()
    instrument = Instrument("PS", "T:", driver, site or Site(), screen)
    rig = Rig(driver, instrument, screen.posts)
    instrument.start()
    try:
        if driver.connect_error is None:
            await rig.until(lambda: rig.state("Set")[2] == "NO_ALARM" and rig.state("Mon")[2] != "INVALID")
        yield rig
    finally:
        driver.gate.set()
        await instrument.close()
