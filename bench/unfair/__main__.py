"""``python -m bench.unfair``: a get over and over, beside each of the foul clients."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median
from typing import Annotated

import typer

from bench.rig import contest, table
from bench.rig.client import Circuit
from bench.rig.contest import Count, Rounds, Seconds
from bench.rig.load import Load, LoadKind
from bench.rig.servers import Failed, Peer, serve
from bench.rig.table import Column, Figures, TableRow
from bench.unfair.foul import FOULS

# Seconds between two gets, for an answer, and after the foul client has gone in which the gets are watched too
PAUSE = 0.002
ANSWER = 120.0
AFTERWARDS = 0.5
# Seconds until a foul client has connected
BEGIN = 30.0
COLUMNS = (
    Column("median", "get of another client, median, ms", 2),
    Column("p99", "99 %, ms", 1),
    Column("worst", "worst, ms", 1),
    Column("gets", "gets", 0),
)
GOAL = "rackioc: 10 ms median, 25 ms worst, whatever the one client sends"

Fouls = Annotated[str, typer.Option(help=f"Foul clients, with commas between: {','.join(FOULS)}.")]
Only = Annotated[str, typer.Option(help="Servers, with commas between.")]


def main(
    rounds: Rounds = 3, seconds: Seconds = 5, count: Count = 10_000, only: Only = "rackioc,softioc", foul: Fouls = ""
) -> None:
    """Let one client be foul, and time the gets of another: median and worst, beside each of the foul clients."""
    contest.clean_up_when_terminated()
    kinds = foul.split(",") if foul else list(FOULS)
    if unknown := set(kinds) - set(FOULS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))} is no foul client; allowed: {', '.join(FOULS)}")
    peers = contest.chosen(only)
    rows: dict[tuple[str, Peer], list[Figures | None]] = {(kind, peer): [] for kind in kinds for peer in peers}
    for number in range(rounds):
        for (kind, peer), runs in rows.items():
            typer.echo(f"round {number + 1} of {rounds}: {peer.title}, {kind}", err=True)
            runs.append(_measured(peer, kind, count, seconds))
    lines = [TableRow(f"{kind}: {peer.title}", runs) for (kind, peer), runs in rows.items()]
    table.show(f"unfair: one client for {seconds:g} s", COLUMNS, lines, None, GOAL, head="foul client: server")


def _measured(peer: Peer, kind: str, count: int, seconds: float) -> Figures | None:
    try:
        return measure(peer, kind, count, seconds)
    except (Failed, ConnectionError, TimeoutError) as error:
        typer.echo(f"failed: {error}", err=True)
        return None


def measure(peer: Peer, kind: str, count: int, seconds: float) -> Figures:
    """Return the milliseconds of the gets."""
    with serve(peer, Load(LoadKind.mixed, 10)) as server, Circuit(server.port) as circuit:
        (channel,) = circuit.connect(Load(LoadKind.mixed, 10).names[:1])
        circuit.get(channel)
        command = [sys.executable, "-P", "-m", "bench.unfair.foul", str(server.port), kind, str(count), str(seconds)]
        with subprocess.Popen(command, env=dict(server.environment), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            if process.stdout.readline() != "begun\n":
                raise Failed("the foul client did not begin")
            taken = _gets(circuit, channel, seconds + AFTERWARDS)
            if process.poll():
                raise Failed("the foul client failed: what it was to send did not arrive")
            process.kill()
    taken.sort()
    return {
        "median": 1e3 * median(taken),
        "p99": 1e3 * taken[int(0.99 * len(taken))],
        "worst": 1e3 * taken[-1],
        "gets": float(len(taken)),
    }


def _gets(circuit: Circuit, channel: int, seconds: float) -> list[float]:
    """Return how long each get took."""
    taken = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        circuit.get(channel, timeout=ANSWER)
        taken.append(time.perf_counter() - begun)
        time.sleep(PAUSE)
    return taken


if __name__ == "__main__":
    typer.run(main)
