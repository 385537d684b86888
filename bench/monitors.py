"""12,000 values, each changing ten times a second, to one client."""

from __future__ import annotations

import typer

from bench.rig import contest, monitoring
from bench.rig.contest import ALL, Count, Only, Rounds, Seconds
from bench.rig.load import Load, LoadKind

RATE = 10.0
GOAL = "rackioc <= 0.35 x softIoc's CPU, nothing lost, with limits, HYST and deadbands evaluated for every value"


def main(rounds: Rounds = 3, seconds: Seconds = 10, count: Count = 12_000, only: Only = ALL) -> None:
    """Send 12,000 values x 10 Hz to one client: CPU, latency, losses."""
    load = Load(LoadKind.ramp, count, RATE)
    contest.run(
        f"monitors: {count:,} DBR_TIME_DOUBLE x {RATE:g} Hz to one client, {seconds:g} s",
        contest.chosen(only),
        rounds,
        lambda peer: monitoring.measure(peer, load, 1, seconds),
        monitoring.COLUMNS,
        GOAL,
        saturating=True,
    )


if __name__ == "__main__":
    typer.run(main)
