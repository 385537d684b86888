"""rackioc with one instrument, the bench's."""

from __future__ import annotations

import asyncio

from bench.rig import load
from bench.rig.driver import BenchDriver
from bench.rig.load import Load
from ioc.ca.server import Server
from ioc.instrument import Instrument
from ioc.site import Site


async def main(wanted: Load) -> None:
    """Serve until killed."""
    server = Server()
    instrument = Instrument(load.INSTRUMENT, load.PREFIX, BenchDriver(wanted), Site(), server)
    serving = asyncio.create_task(server.run())
    while server.port is None and not serving.done():
        await asyncio.sleep(0.001)
    instrument.start()
    await serving


if __name__ == "__main__":
    load.follow_bench()
    asyncio.run(main(load.begin()))
