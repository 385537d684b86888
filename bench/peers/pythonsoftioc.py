"""pythonSoftIOC (PyPI: softioc), in an environment of its own."""

from __future__ import annotations

import threading
import time
from typing import Any

from softioc import asyncio_dispatcher, builder, softioc

from bench.rig import load
from bench.rig.load import Load, LoadKind


def records(wanted: Load) -> list[Any]:
    """Return all records; inputs are set by this process, setpoints by clients."""
    builder.SetDeviceName(f"{load.PREFIX}{load.INSTRUMENT}")
    made = [_record(wanted.kind, index) for index in range(wanted.count)]
    builder.LoadDatabase()
    return made


def _record(kind: LoadKind, index: int) -> Any:
    name = load.point(index)
    match kind:
        case LoadKind.ramp:
            fields = load.LIMITS | load.SEVERITIES | load.DEADBANDS
            return builder.aIn(name, initial_value=load.first_value(index), PREC=3, **fields)
        case LoadKind.setpoint:
            return builder.aOut(name, initial_value=0, PREC=3, on_update=lambda value: None, blocking=True)
        case LoadKind.described:
            return builder.aIn(name, initial_value=index, PREC=3, **load.described(index), **load.SEVERITIES)


def ramp(made: list[Any], rate: float) -> None:
    """Step all records at the rate, or as fast as possible."""
    values = [load.first_value(index) for index in range(len(made))]
    due = time.monotonic()
    while True:
        values = [(value + 1) % load.WRAP for value in values]
        for record, value in zip(made, values, strict=True):
            record.set(value)
        due = max(due + 1 / rate, time.monotonic())
        time.sleep(due - time.monotonic() if due > time.monotonic() else 0)


if __name__ == "__main__":
    connected = load.follow_bench()
    wanted = load.begin()
    made = records(wanted)
    softioc.iocInit(asyncio_dispatcher.AsyncioDispatcher())
    if wanted.kind is LoadKind.ramp:
        connected.wait()
        ramp(made, wanted.rate)
    threading.Event().wait()
