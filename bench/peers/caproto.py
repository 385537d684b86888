"""Plain caproto: its own records where fields are wanted, else its bare channels, which are the lightest."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from caproto import ChannelDouble
from caproto.asyncio.server import start_server
from caproto.server import PVGroup, pvproperty

from bench.rig import load
from bench.rig.load import Load, LoadKind

# Writes between two chances for the server to serve
YIELD_EVERY = 100


def channels(wanted: Load) -> dict[str, Any]:
    """Return all channels by name."""
    if wanted.kind is LoadKind.described:
        return _described(wanted.count)
    return {
        name: ChannelDouble(value=float(load.first_value(index)), precision=3)
        for index, name in enumerate(wanted.names)
    }


def _described(count: int) -> dict[str, Any]:
    prefix = f"{load.PREFIX}{load.INSTRUMENT}:"
    body = {f"p{index}": _property(index) for index in range(count)}
    made: dict[str, Any] = dict(type("Bench", (PVGroup,), body)(prefix=prefix).pvdb)
    for index in range(count):
        fields = made[prefix + load.point(index)].fields
        for name, value in load.described(index).items():
            fields[name]._data["value"] = value  # before the server runs, no client is to be notified
    return made


def _property(index: int) -> Any:
    """Return a record; these fields come from the channel, the others have values of their own."""
    fields = load.described(index)
    return pvproperty(
        name=load.point(index),
        value=float(index),
        record="ai",
        precision=3,
        upper_ctrl_limit=fields["HOPR"],
        lower_ctrl_limit=fields["LOPR"],
        upper_alarm_limit=fields["HIHI"],
        upper_warning_limit=fields["HIGH"],
        lower_warning_limit=fields["LOW"],
        lower_alarm_limit=fields["LOLO"],
    )


async def ramp(made: list[Any], rate: float, connected: threading.Event) -> None:
    """Step all channels at the rate, or as fast as possible."""
    await asyncio.to_thread(connected.wait)
    clock = asyncio.get_running_loop().time
    due = clock()
    while True:
        for count, channel in enumerate(made):
            await channel.write((channel.value + 1) % load.WRAP)
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        due = max(due + 1 / rate, clock())
        await asyncio.sleep(due - clock())


async def main(wanted: Load, connected: threading.Event) -> None:
    """Serve until killed."""
    made = channels(wanted)
    tasks = [asyncio.create_task(start_server(made))]
    if wanted.kind is LoadKind.ramp:
        tasks.append(asyncio.create_task(ramp(list(made.values()), wanted.rate, connected)))
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    event = load.follow_bench()
    asyncio.run(main(load.begin(), event))
