"""The measurement of a server that sends the updates of ramps to counting clients (``monitors``, ``fanout``)."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench.rig.client import Circuit, collect
from bench.rig.contest import SHORT
from bench.rig.load import Load
from bench.rig.servers import Peer, serve
from bench.rig.table import Column, Figures
from bench.rig.updates import Updates

# Seconds that clients wait for the first value of each channel
FIRST_VALUES = 30.0
# Seconds between the first values and the measurement
SETTLE = 2.0

COLUMNS = (
    Column("cpu", "CPU, cores", 3, ratio=True),
    Column("delivered", "updates/s", 0),
    Column("share", "of offered, %", 1),
    Column("lost", "lost", 0),
    Column("repeated", "repeated", 0),
    Column("alarm", "in alarm, %", 1),
    Column("cut", "clients cut off", 0),
    Column("p50", "latency 50 %, ms", 1),
    Column("p99", "latency 99 %, ms", 1),
    Column("client", "client's CPU, cores", 3),
)


def measure(peer: Peer, load: Load, clients: int, seconds: float) -> Figures:
    """Measure the CPU of the server, and what the clients got of all updates, over some seconds."""
    seconds = min(seconds, SHORT) if peer.saturates else seconds
    with serve(peer, load) as server, ExitStack() as stack:
        circuits = [stack.enter_context(Circuit(server.port)) for _ in range(clients)]
        for circuit in circuits:
            circuit.subscribe(circuit.connect(load.names))
        for circuit in circuits:
            circuit.wait_for_first_values(FIRST_VALUES)
        server.clients_are_connected()
        collect(circuits, SETTLE)
        begin, used, own = time.time(), server.cpu(), time.process_time()
        collect(circuits, seconds)
        end, used, own = time.time(), server.cpu() - used, time.process_time() - own
        cut = sum(circuit.closed for circuit in circuits)
        received = [circuit.updates().between(begin, end) for circuit in circuits]
    lasted = end - begin
    return {**_evaluate(received, load, lasted), "cut": cut, "cpu": used / lasted, "client": own / lasted}


def _evaluate(received: list[Updates], load: Load, seconds: float) -> Figures:
    delivered = sum(map(len, received)) / seconds
    return {
        "delivered": delivered,
        "share": 100 * delivered / (load.count * load.rate * len(received)),
        "lost": sum(each.lost() for each in received),
        "repeated": sum(each.repeated() for each in received),
        "alarm": 100 * received[0].in_alarm(),
        "p50": max(each.latency(0.5) for each in received),
        "p99": max(each.latency(0.99) for each in received),
    }
