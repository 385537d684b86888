"""A simulated crate whose calls take time, and rackioc in front of it: the server of the bench ``crate``.

Runs as a process: ``python -m bench.rig.crate BOARDS CHANNELS MS MS_CHANNEL``.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.rig import load
from drivers.caen import DRIVER, Config
from ioc import status
from ioc.ca.server import Server
from ioc.instrument import Instrument
from ioc.site import Site
from sim.caen.boards import DETECTOR, PLAIN, PLAIN_BOARD
from sim.caen.channel import Channel
from sim.caen.crate import Board, Crate
from sim.caen.fake import CrateFake
from sim.caen.header import status_bits
from sim.caen.login import Login
from sim.caen.parameters import Property
from sim.control import Control

PREFIX = "B:"
NAME = "HV1"
SYSTEM = "SY4527"
# Unix socket of the simulation, in the folder of the process
CONTROL = "control"
HOST = "bench-crate"
# Boards with fewer channels than this have the sixteen parameters of a detector board, others the six of a plain one
PLAIN_FROM = 48


class TimedCrate(CrateFake):
    """A crate that counts the processor time that it takes itself; a call takes that much less of its time."""

    cpu = 0.0  # s
    _last = 0.0  # s of it, in the last call

    @contextmanager
    def call(self, login: Login, *, writes: bool) -> Iterator[Crate]:
        """Yield the model for one call of the library."""
        began = time.thread_time()
        try:
            with super().call(login, writes=writes) as crate:
                yield crate
        finally:
            self._last = time.thread_time() - began
            self.cpu += self._last

    def lateness(self) -> float:
        """Return how much later than its delay a call is answered (s)."""
        return super().lateness() - min(self.latency, self._last)

    def do_truth(self) -> str:
        """Return what the channels' parameters are (JSON)."""
        with self.lock:
            return json.dumps({name: value for name, value in self.truth().items() if ":C" in name})

    def do_cpu(self) -> str:
        """Return the seconds of processor time so far."""
        return str(self.cpu)


def crate(boards: int, channels: int) -> Crate:
    """Return a crate of equal boards, all of whose channels are on and settled."""
    bits = status_bits(SYSTEM)
    params = PLAIN if channels >= PLAIN_FROM else DETECTOR
    slots = {slot: Board("BENCH", f"{channels} Ch", slot, PLAIN_BOARD) for slot in range(boards)}
    for slot, board in slots.items():
        draw = random.Random(slot)
        for number in range(channels):
            channel = Channel(params, bits, seed=1000 * slot + number)
            channel.name, channel.noise = f"S{slot:02d}C{number:02d}", 1.0
            channel.values["V0Set"] = float(draw.randrange(1000, 1800, 10))
            channel.resistance = 1e8
            channel.on = True
            channel.volts = channel.target
            board.channels.append(channel)
    return Crate(SYSTEM, slots, list[Property]())


async def main(boards: int, channels: int, ms: float, ms_channel: float) -> None:
    """Serve until killed."""
    fake = TimedCrate(crate(boards, channels), host=HOST)
    fake.do_delay(ms, ms_channel)
    with TimedCrate.wire([fake]):
        fake.plug()
        control = Control({NAME: fake}, CONTROL)
        server = Server()
        driver = DRIVER(Config(system="SY4527", link="TCPIP", host=HOST))
        instrument = Instrument(NAME, PREFIX, driver, Site(), server)
        own = Instrument(status.NAME, PREFIX, status.IocStatus(server), Site(), server)
        serving = asyncio.create_task(server.run())
        while server.port is None and not serving.done():
            await asyncio.sleep(0.001)
        instrument.start()
        own.start()
        try:
            await serving
        finally:
            control.close()


if __name__ == "__main__":
    load.follow_bench()
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
