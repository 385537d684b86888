"""One case on the bench: driver, real port and instrument, and the fake on the real wire, without a network."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from drivers import caen, se521, technix
from drivers.base import DeviceError, Driver
from ioc.block import Block, Masks
from ioc.instrument import Instrument
from ioc.record import ALARM, LOG, VALUE, Changes, Record
from ioc.site import Site
from sim.caen.boards import demo_crate
from sim.caen.crate import Crate
from sim.fake import CommandError, Fake
from sim.rack import Rack
from tests.campaign.faults import CURE, RESET
from tests.campaign.instruments import HEAL, INSTRUMENTS, REST, VITAL
from tests.campaign.plan import Case, PutStep
from tests.campaign.recording import CaseRun, Put, Recording, Update
from tests.campaign.rules import writes

# Seconds that a put which prepares a case may take, and between two looks
PREPARED, LOOK = 8.0, 0.05

# Channels of each board on the bench
MOST_CHANNELS = 4

_numbers = itertools.count()


class Monitors:
    """A publisher that keeps what a client with a monitor on every PV would see."""

    def __init__(self, name: str) -> None:
        self.updates: dict[str, list[Update]] = {}
        self._name = name

    def add(self, record: Record, instrument: Instrument) -> None:
        self._keep(record)

    def post(self, changes: Changes) -> None:
        for record, mask in changes:
            if mask & (VALUE | LOG | ALARM):
                self._keep(record)

    def post_block(self, block: Block, masks: Masks) -> None:
        self.post([(record, int(mask)) for record, mask in zip(block.records, masks, strict=True) if mask])

    def post_field(self, record: Record, name: str, mask: int = VALUE | LOG) -> None:
        pass

    def post_alarm(self, record: Record) -> None:
        pass

    def _keep(self, record: Record) -> None:
        update = Update(time.monotonic(), record.val, int(record.sevr), int(record.stat))
        self.updates.setdefault(f"{self._name}:{record.point.name}", []).append(update)


class Bench:
    """An instrument on the bench, and the recording of what happens to it."""

    def __init__(self, driver: str, instrument: Instrument, fake: Fake[Any], monitors: Monitors) -> None:
        self.driver = driver
        self.name = INSTRUMENTS[driver][0]
        self.recording = Recording({self.name: driver}, updates=monitors.updates)
        self._instrument = instrument
        self._fake = fake
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, case: Case) -> Recording:
        """Run a case and return what is known of it."""
        watch = asyncio.create_task(self._measure())
        run = CaseRun(case, time.monotonic(), float("inf"))
        self.recording.runs[self.name] = [run]
        for line in RESET[self.driver]:
            await self._do(line)
        for point, value in case.prepare:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._put(PutStep(0, point, value, True))), PREPARED)
        run.faulted = time.monotonic()
        for step in case.steps:
            await asyncio.sleep(step.after)
            if isinstance(step.act, PutStep):
                self._put(step.act)
            else:
                await self._do(step.act)
        await asyncio.sleep(0.3)
        for line in CURE[self.driver]:
            await self._do(line)
        run.cured = time.monotonic()
        run.settled = await self.well(REST[self.driver])
        run.well = time.monotonic() - REST[self.driver]
        run.missing = tuple(self.recording.missing(self.name, VITAL[self.driver]))
        await self._await_offs()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PREPARED)
        run.ended = time.monotonic()
        watch.cancel()
        self._look()
        return self.recording

    async def well(self, rest: float = 0.0) -> bool:
        """Wait until the instrument is connected and read, and stays so; return False if that takes too long."""
        deadline = time.monotonic() + HEAL
        since = None
        while time.monotonic() < deadline:
            now = time.monotonic()
            self._look()
            missing = self.recording.missing(self.name, VITAL[self.driver])
            since = None if missing else since or now
            if since is not None and now - since >= rest:
                return True
            await asyncio.sleep(LOOK)
        return False

    def _put(self, step: PutStep) -> asyncio.Task[None]:
        put = Put(len(self.recording.puts), 0, f"{self.name}:{step.point}", step.value, True, time.monotonic())
        self.recording.puts.append(put)

        async def act() -> None:
            try:
                await self._instrument.put(self._instrument.records[step.point], step.value)
            except (DeviceError, KeyError) as error:
                put.ok, put.error = False, str(error)
            else:
                put.ok = True
            put.done = time.monotonic()

        task = asyncio.create_task(act())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _do(self, line: str) -> None:
        """Let the fake carry out a command, some of which take their time."""
        try:
            await asyncio.to_thread(self._fake.run, line)
        except CommandError as error:
            if "SLOTNOTPRES" not in str(error):
                raise

    async def _await_offs(self) -> None:
        while True:
            self._look()
            if not any(writes.waits(self.recording, self.name, put) for put in self.recording.puts):
                return
            await asyncio.sleep(0.3)

    def _look(self) -> None:
        with self._fake.present():
            self._fake.look()
        events = self.recording.events.setdefault(self.name, [])
        events += self._fake.events.since(len(events))[1]
        self.recording.end = time.monotonic()

    async def _measure(self) -> None:
        """Look at the true state all the time, and measure by how much the event loop is late."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(LOOK)
            self._look()
            self.recording.delays.append((began, time.monotonic() - began - LOOK))


@asynccontextmanager
async def bench(driver: str) -> AsyncIterator[Bench]:
    """Yield a bench whose instrument is well. Raises RuntimeError if it does not come up."""
    with tempfile.TemporaryDirectory() as folder:
        name, keys = INSTRUMENTS[driver]
        keys = {**keys, "port": str(Path(folder) / "line"), "host": f"crate-{next(_numbers)}"}
        monitors = Monitors(name)
        with Rack({name: keys}, options={"caen": {"crate": _small_crate}}) as rack:
            fake = rack.fakes[name]
            fake.run("watch")
            instrument = Instrument(name, "", _driver(driver, keys), Site(), monitors)
            instrument.start(keys.get("scan"))
            try:
                made = Bench(driver, instrument, fake, monitors)
                if not await made.well():
                    raise RuntimeError(f"{name} does not come up")
                yield made
            finally:
                await instrument.close()


def _small_crate(system: str) -> Crate:
    """Return the demo crate with the channels that are served and a few more: each look at it costs time."""
    crate = demo_crate(system)
    for board in crate.boards.values():
        del board.channels[MOST_CHANNELS:]
    return crate


def _driver(driver: str, keys: dict[str, Any]) -> Driver:
    match driver:
        case "technix":
            full, limits = technix.config.FullScale(**keys["full_scale"]), technix.config.Limits(**keys["limits"])
            return technix.Technix(technix.Config(port=keys["port"], full_scale=full, limits=limits))
        case "caen":
            channels: dict[int, Any] = {slot: tuple(numbers) for slot, numbers in keys["channels"].items()}
            login = {key: keys[key] for key in ("system", "link", "host", "username", "password")}
            return caen.Caen(caen.Config(**login, channels=channels))
    return se521.SE521(se521.Config(serial=keys["serial"]))


async def run(case: Case) -> Recording:
    """Run a case with an instrument of its own."""
    async with bench(case.driver) as made:
        return await made.run(case)
