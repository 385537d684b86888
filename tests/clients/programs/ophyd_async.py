"""The program of ophyd-async, over Channel Access (aioca)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import numpy as np
from ophyd_async.core import Array1D, SignalRW, StrictEnum
from ophyd_async.epics.core import epics_signal_rw

from tests.clients.programs import lines


class Power(StrictEnum):
    """The words of a channel's switch."""

    OFF = "Off"
    ON = "On"


class OphydAsync:
    """Signals with types, whose put waits for completion."""

    def __init__(self) -> None:
        self._signals: dict[str, SignalRW[Any]] = {}

    async def get(self, name: str) -> dict[str, Any]:
        signal = await self._signal(name)
        reading = (await signal.read())[signal.name]
        described = (await signal.describe())[signal.name]
        limits = described.get("limits", {}).get("control", {})
        return lines.told(
            reading["value"],
            reading["alarm_severity"],
            units=described.get("units", ""),
            lower=limits.get("low"),
            upper=limits.get("high"),
            words=described.get("choices", ()),
        )

    async def put(self, name: str, value: Any) -> None:
        signal = await self._signal(name)
        await signal.set(value, timeout=10)

    async def monitor(self, *names: str) -> None:
        for name in names:
            signal = await self._signal(name)
            signal.subscribe_reading(partial(take, name))

    async def _signal(self, name: str) -> SignalRW[Any]:
        if name not in self._signals:
            self._signals[name] = epics_signal_rw(datatype(name), f"ca://{name}", name="signal")
            await self._signals[name].connect()
        return self._signals[name]


def datatype(name: str) -> Any:
    """Return the type of a PV; ophyd-async wants to be told."""
    if name.endswith(":Array"):
        return Array1D[np.float64]
    return str if name.endswith("$") else Power if name.endswith(":Pw") else float


def take(name: str, reading: dict[str, Any]) -> None:
    """Hand on an update."""
    (update,) = reading.values()
    lines.update(name, update["value"], update["alarm_severity"])


if __name__ == "__main__":
    asyncio.run(lines.listen_async(OphydAsync()))
