"""Two clients at full load, one of which stops reading, such as a screen on a laptop that went to sleep."""

from __future__ import annotations

import math
import time

import numpy as np
import typer

from bench.rig import contest
from bench.rig.client import Circuit, collect
from bench.rig.contest import Count, Only, Rounds, Seconds
from bench.rig.load import WRAP, Load, LoadKind
from bench.rig.servers import Peer, PeerServer, serve
from bench.rig.table import Column, Figures
from bench.rig.updates import Updates

RATE = 10.0
# Seconds for the first values of all records, and before the measurement begins
FIRST_VALUES = 30.0
SETTLE = 2.0
# Seconds in which the stopped client has to get what is new
AFTERWARDS = 5.0
# Seconds between two looks at the server's memory
LOOK = 0.25
# Steps of the ramp by which the last values of the two clients may differ: 0.3 s
NEWEST = 3
COLUMNS = (
    Column("worst", "other client: worst latency, ms", 1),
    Column("p99", "99 %, ms", 1),
    Column("share", "of offered, %", 1),
    Column("lost", "lost", 0),
    Column("growth", "server's growth, MB", 1),
    Column("other_cut", "other client cut off", 0),
    Column("stopped_cut", "stopped client cut off", 0),
    Column("fresh", "new value of each PV after, s", 2),
    Column("stale", "PVs not at their newest", 0),
)
GOAL = "the other client's worst latency < 100 ms; growth < 50 MB; no PV that is not at its newest in the end"


def main(rounds: Rounds = 3, seconds: Seconds = 20, count: Count = 12_000, only: Only = "rackioc,softioc") -> None:
    """Stop one of two clients at 120,000 updates/s: what the other notices, what it costs, how it recovers."""
    load = Load(LoadKind.ramp, count, RATE)
    contest.run(
        f"slow: one of two clients of {count:,} x {RATE:g} Hz stopped for {seconds:g} s",
        contest.chosen(only),
        rounds,
        lambda peer: measure(peer, load, seconds),
        COLUMNS,
        GOAL,
        saturating=True,
    )


def measure(peer: Peer, load: Load, seconds: float) -> Figures:
    """Read both, then one of them, then both again."""
    with serve(peer, load) as server, Circuit(server.port) as other, Circuit(server.port) as stopped:
        for circuit in (other, stopped):
            circuit.subscribe(circuit.connect(load.names))
        for circuit in (other, stopped):
            circuit.wait_for_first_values(FIRST_VALUES)
        server.clients_are_connected()
        collect([other, stopped], SETTLE)
        before, begin = server.rss(), time.time()
        highest = _peak(server, other, seconds)
        resumed = time.time()
        collect([other, stopped], AFTERWARDS)
        return {
            "growth": (highest - before) / 1024,
            **_meanwhile(other, begin, resumed, load),
            **_afterwards(other.updates(), stopped, resumed, load.count),
        }


def _peak(server: PeerServer, other: Circuit, seconds: float) -> float:
    """Read one client for a time; returns the most memory that the server had (kB)."""
    end = time.monotonic() + seconds
    highest = server.rss()
    while (left := end - time.monotonic()) > 0:
        collect([other], min(LOOK, left))
        highest = max(highest, server.rss())
    return highest


def _meanwhile(other: Circuit, begin: float, resumed: float, load: Load) -> Figures:
    """Return what the client that goes on reading got meanwhile; infinite latency if the server cut it off."""
    sent = other.updates().stamped(begin, resumed)
    return {
        "worst": math.inf if other.closed else sent.latency(1.0),
        "p99": sent.latency(0.99),
        "share": 100 * len(sent) / (load.count * load.rate * (resumed - begin)),
        "lost": sent.lost(),
        "other_cut": float(other.closed),
    }


def _afterwards(other: Updates, stopped: Circuit, resumed: float, count: int) -> Figures:
    """Compare the client that was stopped with the other in the end."""
    updates = stopped.updates()
    behind = np.mod(other.newest(count) - updates.newest(count), WRAP)
    behind = np.minimum(behind, WRAP - behind)  # the stopped client may be the one that is ahead
    return {
        "stopped_cut": float(stopped.closed),
        "fresh": updates.first_after(resumed, count),
        "stale": int((~(behind <= NEWEST)).sum()),
    }


if __name__ == "__main__":
    typer.run(main)
