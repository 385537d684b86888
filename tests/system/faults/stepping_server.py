"""An IOC whose clock steps: ``stepping_server.py PREFIX COUNT``; a line on stdin is how far its clock is off, in s.

PVs S0, S1 ... count together, once a second. It is of plain caproto, for the stamps of rackioc's own never go back.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from itertools import count

from caproto import ChannelDouble
from caproto.asyncio.server import start_server

BREATH = 100  # writes between two chances for the server to serve


class Clock:
    def __init__(self) -> None:
        self._offset = 0.0

    def follow(self) -> None:
        for line in sys.stdin:
            self._offset = float(line)

    def __call__(self) -> float:
        return time.time() + self._offset


async def ramp(channels: list[ChannelDouble], clock: Clock) -> None:
    for value in count(1):
        now = clock()
        for number, channel in enumerate(channels):
            await channel.write(float(value), timestamp=now)
            if number % BREATH == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(1)


async def main(prefix: str, number: int) -> None:
    channels = {f"{prefix}S{index}": ChannelDouble(value=0.0) for index in range(number)}
    clock = Clock()
    threading.Thread(target=clock.follow, daemon=True).start()
    await asyncio.gather(start_server(channels), ramp(list(channels.values()), clock))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
