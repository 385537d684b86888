"""A crate of odd channels behind a real port and instrument, in real time, with all that a client would see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from drivers.base import Array, Value
from drivers.caen import Caen, Config
from ioc.block import Block, Masks
from ioc.instrument import Instrument
from ioc.record import Changes, Record
from ioc.site import Site
from sim.caen.fake import CrateFake
from sim.caen.faults import Fault
from sim.caen.odd import OddChannel, odd_crate
from sim.rack import Rack

KEYS: dict[str, Any] = {"system": "SY4527", "link": "TCPIP", "host": "crate", "username": "u", "password": "p"}

State = tuple[Value | Array, str]


@dataclass
class Screen:
    """A publisher that writes down when a record changed to what."""

    log: dict[str, list[tuple[float, State]]] = field(default_factory=dict)

    def add(self, record: Record, instrument: Instrument) -> None:
        """Serve a record."""

    def post(self, changes: Changes) -> None:
        """Write down what changed."""
        for record, _ in changes:
            entry = (time.monotonic(), (record.val, record.sevr.name))
            self.log.setdefault(record.point.name, []).append(entry)

    def post_block(self, block: Block, masks: Masks) -> None:
        """Write down what changed in a block."""
        self.post([(record, int(mask)) for record, mask in zip(block.records, masks, strict=True) if mask])

    def post_field(self, record: Record, name: str, mask: int = 0) -> None:
        """Send a field."""

    def post_alarm(self, record: Record) -> None:
        """Send an alarm that was acknowledged."""


@dataclass
class CrateRig:
    """The crate, the instrument around its driver, and what was published."""

    fake: CrateFake
    driver: Caen
    instrument: Instrument
    screen: Screen

    def channel(self, slot: int = 2, number: int = 0) -> OddChannel:
        """Return a channel of the crate."""
        channel = self.fake.model.channel(slot, number)
        assert isinstance(channel, OddChannel)
        return channel

    def state(self, name: str) -> State:
        """Return value and severity of a record."""
        record = self.instrument.records[name]
        return record.val, record.sevr.name

    def number(self, name: str) -> float:
        """Return the value of a record that is a number."""
        value, _ = self.state(name)
        assert isinstance(value, float | int)
        return value

    def amsg(self, name: str) -> str:
        """Return the alarm of a record in words."""
        return self.instrument.records[name].amsg

    def fault(self, **keys: Any) -> Fault:
        """Let calls fail from now on."""
        fault = Fault(**keys)
        self.fake.faults.append(fault)
        return fault

    async def put(self, name: str, value: Value) -> None:
        """Put as a client does; return when the put is over."""
        await self.instrument.put(self.instrument.records[name], value)

    async def until(self, condition: Callable[[], bool], seconds: float = 6.0) -> float:
        """Wait until something is so; return the seconds that it took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, "it did not happen in time"
            await asyncio.sleep(0.002)
        return time.monotonic() - began

    async def shows(self, name: str, value: Value, severity: str = "NO_ALARM", seconds: float = 6.0) -> float:
        """Wait until a record has a value and severity; return the seconds that it took."""
        return await self.until(lambda: self.state(name) == (value, severity), seconds)

    def calls(self) -> list[str]:
        """Return the calls since this was last asked, without their time."""
        texts = [line.split(maxsplit=1)[1] for line in self.fake.transactions]
        self.fake.transactions.clear()
        return texts

    async def settle(self) -> None:
        """Wait until all is known, and nothing is asked about limits and units any more."""
        await self.until(lambda: self.driver._inventory.sections.keys() >= {2, 4} and not self.driver.exploring, 30)
        sections = self.driver._inventory.sections.values()
        await self.until(
            lambda: not any(s.metadata.assumed or s.metadata.stale or s.doubts.labels for s in sections), 30
        )
        await self.shows("S02:C00:V0Set", 1000.0, seconds=15)
        await self.until(lambda: 0 < self.number("ScanTime") < 200, 15)  # ms


@asynccontextmanager
async def crate_rig(latency: float = 0.002, **keys: Any) -> AsyncIterator[CrateRig]:
    """Yield a rig whose crate is served and at rest."""
    options = {"caen": {"crate": odd_crate}}
    instrument_keys = {**KEYS, **keys}
    sim = {key: instrument_keys[key] for key in KEYS}
    with Rack({"HV1": {"driver": "caen", **sim}}, options=options) as rack:
        fake = rack.fakes["HV1"]
        assert isinstance(fake, CrateFake)
        fake.latency, fake.patience = 0.0002, 0.05
        driver, screen = Caen(Config(**instrument_keys)), Screen()
        instrument = Instrument("HV1", "T:", driver, Site(), screen)
        instrument.start()
        rig = CrateRig(fake, driver, instrument, screen)
        try:
            await rig.settle()
            fake.latency = latency
            yield rig
        finally:
            await instrument.close()
            assert fake.violations == []
