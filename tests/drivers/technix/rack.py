"""A Technix generator served as the IOC does it: real driver, port and records, and a far end with faults."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.base import DeviceError, Severity, Value
from drivers.technix import Technix, driver, line, loss, status, switching, watchdog
from drivers.technix.config import FullScale, Limits, TechnixConfig
from ioc.instrument import Instrument
from ioc.port import execution, port
from ioc.record import Record
from ioc.site import Site
from tests.drivers.technix.far import Far
from tests.ioc.bench import Screen

CONFIG = TechnixConfig(
    port="", full_scale=FullScale(voltage_kv=100, current_ma=50), limits=Limits(voltage_kv=60, current_ma=20)
)


class Rack:
    """The instrument GEN and its far end."""

    def __init__(self, far: Far, config: TechnixConfig = CONFIG) -> None:
        self.far = far
        self.driver = Technix(replace(config, port=str(far.link)))
        self.instrument = Instrument("GEN", "T:", self.driver, Site(), Screen())

    def record(self, name: str) -> Record:
        return self.instrument.records[name]

    def valid(self, *names: str) -> bool:
        return all(self.record(name).sevr is not Severity.INVALID for name in names or ("HV_RBV", "VMon", "IMon"))

    async def put(self, name: str, value: Value) -> DeviceError | None:
        """Put; return what it failed with."""
        try:
            await self.instrument.put(self.record(name), value)
        except DeviceError as error:
            return error
        return None

    async def until(self, condition: Callable[[], bool], seconds: float = 8.0) -> float:
        """Wait for a condition; return the seconds that it took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + seconds, f"it did not happen in time; {self.record('Error').val}"
            await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def ready(self) -> None:
        """Bring the generator, in remote mode, to where HV On is allowed.

        On a busy machine a reply can come after the shortened waits: then it is put again.
        """
        for name, value in (("ISet", 10), ("VSet", 40)):
            for _ in range(5):
                await self.until(self.valid)
                if (error := await self.put(name, value)) is None:
                    break
            assert error is None

    async def regulate_current(self) -> None:
        """Switch HV on with the current regulated, and a load that keeps the voltage at 50 kV, below its limit."""
        await self.until(self.valid)
        for name, value in (("VSet", 40), ("ISet", 10)):
            assert await self.put(name, value) is None
        self.far.megohm = 5.0
        assert await self.put("HV", 1) is None

    def pending(self) -> bool:
        return any(self.record(name).val for name in ("HV:OffPending", "Inhibit:OnPending", "Mode:LocalPending"))


Story = Callable[[Rack], Awaitable[None]]


def tell(story: Story, far: Far, config: TechnixConfig = CONFIG) -> None:
    """Run a story with a rack that is started."""

    async def main() -> None:
        rack = Rack(far, config)
        rack.instrument.start()
        try:
            await story(rack)
        finally:
            await rack.instrument.close()

    asyncio.run(main())


@contextmanager
def far_end(folder: Path, watchdog: float = 5.0) -> Iterator[Far]:
    far = Far(folder / "line", watchdog)
    try:
        yield far
    finally:
        far.close()


# Waits of driver and port, in the modules that use them
WAITS = {
    "REPLY_TIMEOUT": (line, switching, driver),
    "QUIET": (line, switching),
    "DRAIN_TIME": (line,),
    "LATEST": (line,),
    "QUICK": (line,),
    "SETTLE": (switching, status),
    "PATIENCE": (switching,),
    "TIDY_PERIOD": (switching,),
    "LOSS": (loss,),
    "IN_VAIN": (loss,),
    "HOLD": (loss,),
    "LAPSE": (watchdog,),
    "REPEAT": (execution, port),
    "FIRST_RETRY": (port,),
    "GIVE_UP": (port,),
}


def hurry(monkeypatch: pytest.MonkeyPatch, factor: float = 0.2) -> None:
    """Shorten the waits, but not the 100 ms of the manual."""
    for name, modules in WAITS.items():
        for module in modules:
            monkeypatch.setattr(module, name, factor * getattr(module, name))
    monkeypatch.setattr(port, "PATIENCE", 0.5)
    monkeypatch.setattr(Technix, "longest_retry", factor * Technix.longest_retry)
