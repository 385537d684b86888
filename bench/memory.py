"""What a record costs in memory and at the start, with all fields of all records readable."""

from __future__ import annotations

import random
import time

import typer

from bench.rig import contest
from bench.rig.client import DBR_STRING, Circuit
from bench.rig.contest import ALL, Count, Only, Rounds
from bench.rig.load import Load, LoadKind, described
from bench.rig.servers import CAPROTO, Peer, serve
from bench.rig.table import Column, Figures

# Seconds in which the first scan comes in
SETTLE = 2.0
# caproto makes 74 channels for a record: measured with so many times fewer, and extrapolated
FEWER = 20
# Records whose fields are compared
SAMPLE = 25
COLUMNS = (
    Column("each", "kB/record", 2, ratio=True),
    Column("slope", "kB/record, from 1 x to 3 x", 2, ratio=True),
    Column("empty", "empty server, MB", 1),
    Column("start", "start, s", 2, ratio=True),
    Column("records", "records measured", 0),
    Column("fields", "fields right, %", 1),
)
GOAL = "rackioc <= 2 kB a record and <= 1 s of start for 12,000, all fields right (caproto: extrapolated)"


def main(rounds: Rounds = 3, count: Count = 12_000, only: Only = ALL) -> None:
    """Measure the memory of a record (ai with description, unit and limits), and the time to serve 12,000 of them."""
    contest.run(
        f"memory: {count:,} records with fields of their own",
        contest.chosen(only),
        rounds,
        lambda peer: measure(peer, count),
        COLUMNS,
        GOAL,
    )


def measure(peer: Peer, count: int) -> Figures:
    """Measure servers of three sizes; the smallest has one record, since a server needs something to be asked for."""
    measured = count // FEWER if peer is CAPROTO else count
    empty, _, _ = _serve(peer, 1)
    once, start, fields = _serve(peer, measured)
    thrice, _, _ = _serve(peer, 3 * measured)
    return {
        "each": (once - empty) / (measured - 1),
        "slope": (thrice - once) / (2 * measured),
        "empty": empty / 1024,
        "start": start * count / measured,
        "records": measured,
        "fields": fields,
    }


def _serve(peer: Peer, count: int) -> tuple[float, float, float]:
    """Return resident memory before any client (kB), seconds of the start, percent of the fields that are right."""
    load = Load(LoadKind.described, count)
    with serve(peer, load) as server:
        time.sleep(SETTLE)
        resident = server.rss()
        with Circuit(server.port) as circuit:
            return resident, server.start_seconds, _right(circuit, load)


def _right(circuit: Circuit, load: Load) -> float:
    """Return the percentage of the fields of some records that can be read and are as they should be."""
    sample = random.Random(1).sample(range(load.count), min(SAMPLE, load.count))
    wanted = {f"{load.names[i]}.{field}": value for i in sample for field, value in described(i).items()}
    numbers = circuit.connect(list(wanted))
    texts = [circuit.get(number, DBR_STRING).partition(b"\0")[0].decode() for number in numbers]
    return 100 * sum(map(_same, texts, wanted.values())) / len(wanted)


def _same(text: str, value: str | float) -> bool:
    return text == value if isinstance(value, str) else abs(float(text) - value) < 0.01


if __name__ == "__main__":
    typer.run(main)
