"""One put after the other to a setpoint that accepts its value at once."""

from __future__ import annotations

import time
from statistics import median

import typer

from bench.rig import contest
from bench.rig.client import Circuit
from bench.rig.contest import ALL, Count, Only, Rounds
from bench.rig.load import Load, LoadKind
from bench.rig.servers import Peer, serve
from bench.rig.table import Column, Figures

# Seconds for the first value of a record, and for the answer to a put
FIRST_VALUE = 10.0
ANSWER = 30.0
# Puts that are not counted
WARM_UP = 50
COLUMNS = (
    Column("callback", "put-callback, ms", 3, ratio=True),
    Column("own_callback", "put-callback with own monitor, ms", 3, ratio=True),
    Column("monitor", "own monitor, ms", 3, ratio=True),
)
GOAL = "rackioc <= 0.4 ms to the callback, <= 0.4 ms to the own monitor"


def main(rounds: Rounds = 3, count: Count = 1000, only: Only = ALL) -> None:
    """Put with completion, one by one: time to the callback, and to the own monitor of the same PV (medians)."""
    contest.run(
        f"puts: {count:,} one after the other",
        contest.chosen(only),
        rounds,
        lambda peer: measure(peer, count),
        COLUMNS,
        GOAL,
    )


def measure(peer: Peer, count: int) -> Figures:
    """Return the medians, first without and then with a monitor."""
    load = Load(LoadKind.setpoint, 10)
    with serve(peer, load) as server, Circuit(server.port) as circuit:
        channel, watched = circuit.connect(load.names[:2])
        plain = [_put(circuit, channel, float(value)) for value in range(1, count + WARM_UP + 1)]
        circuit.subscribe([watched])
        circuit.wait_for_first_values(FIRST_VALUE)
        both = [_put_and_see(circuit, watched, float(value)) for value in range(1, count + WARM_UP + 1)]
    callback, monitor = zip(*both[WARM_UP:], strict=True)
    return {
        "callback": 1e3 * median(plain[WARM_UP:]),
        "own_callback": 1e3 * median(callback),
        "monitor": 1e3 * median(monitor),
    }


def _put(circuit: Circuit, channel: int, value: float) -> float:
    begin = time.perf_counter()
    circuit.put(channel, value)
    return time.perf_counter() - begin


def _put_and_see(circuit: Circuit, channel: int, value: float) -> tuple[float, float]:
    """Return the seconds until the put was done, and until the monitor brought its value."""
    when: dict[str, float] = {}

    def came() -> bool:
        if "put" not in when and circuit.put_done(ioid):
            when["put"] = time.perf_counter()
        if "monitor" not in when and circuit.newest() == value:
            when["monitor"] = time.perf_counter()
        return len(when) == 2

    begin = time.perf_counter()
    ioid = circuit.start_put(channel, value)
    circuit.wait(came, ANSWER)
    return when["put"] - begin, when["monitor"] - begin


if __name__ == "__main__":
    typer.run(main)
