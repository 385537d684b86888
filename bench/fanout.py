"""12,000 values, each changing once a second, to five clients."""

from __future__ import annotations

import typer

from bench.rig import contest, monitoring
from bench.rig.contest import ALL, Count, Only, Rounds, Seconds
from bench.rig.load import Load, LoadKind

CLIENTS = 5
RATE = 1.0
GOAL = "rackioc below softIoc in CPU, nothing lost"


def main(rounds: Rounds = 3, seconds: Seconds = 10, count: Count = 12_000, only: Only = ALL) -> None:
    """Send 12,000 values x 1 Hz to five clients: CPU, latency, losses. The latencies are the worst client's."""
    load = Load(LoadKind.ramp, count, RATE)
    contest.run(
        f"fanout: {count:,} DBR_TIME_DOUBLE x {RATE:g} Hz to {CLIENTS} clients, {seconds:g} s",
        contest.chosen(only),
        rounds,
        lambda peer: monitoring.measure(peer, load, CLIENTS, seconds),
        monitoring.COLUMNS,
        GOAL,
        saturating=True,
    )


if __name__ == "__main__":
    typer.run(main)
