"""The archiver's memory while its database takes nothing: millions of numbers, and large arrays."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from archiver import health
from archiver.health import Health
from bench.rig import servers, table
from bench.rig.contest import clean_up_when_terminated
from bench.rig.load import LARGE_ARRAY, Load, LoadKind
from bench.rig.servers import SOFTIOC, Failed, PeerServer, serve
from bench.rig.table import Column, Figures, TableRow

# Seconds for all that waits to be stored in the end
END = 600.0
# Seconds between two looks at the archiver
LOOK = 0.5
# PVs of a crowd of numbers, and their rate in 1/s: 50,000 updates a second
NUMBERS, RATE = 5000, 10.0
COLUMNS = (
    Column("came", "updates meanwhile", 0),
    Column("before", "memory before, MB", 0),
    Column("most", "most, MB", 0),
    Column("waiting", "of it samples, most, MB", 0),
    Column("spool", "spool, most, MB", 0),
    Column("lost", "lost", 0),
    Column("stored", "all stored after, s", 1),
)
GOAL = "bounded memory, none lost"


@dataclass(frozen=True)
class Case:
    """Updates of a load that come while the database is locked."""

    title: str
    load: Load
    updates: int


def main(
    numbers: Annotated[int, typer.Option(min=1, help="Updates of numbers, at 50,000/s.")] = 5_000_000,
    arrays: Annotated[int, typer.Option(min=1, help="Arrays, each sent anew every 10 s.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Updates of each array.")] = 6,
) -> None:
    """Lock the archive, let updates come, unlock it: memory of the archiver, spool, losses, time to store all."""
    clean_up_when_terminated()
    cases = (
        Case(f"{numbers:,} numbers, 50,000/s", Load(LoadKind.ramp, NUMBERS, RATE), numbers),
        Case(f"{arrays} arrays of {LARGE_ARRAY:,} doubles", Load(LoadKind.arrays, arrays, 0.1), arrays * rounds),
    )
    rows = []
    for case in cases:
        typer.echo(case.title, err=True)
        rows.append(TableRow(case.title, [_run(case)]))
    table.show("backlog: the archive is locked meanwhile (SQLite)", COLUMNS, rows, None, GOAL, "updates")


def _run(case: Case) -> Figures:
    with (
        serve(SOFTIOC, case.load) as ioc,
        tempfile.TemporaryDirectory() as folder,
        servers.archiver(ioc, case.load, Path(folder), lambda: _missing(Path(folder), case.load)) as pid,
    ):
        return _measure(case, ioc, pid, Path(folder))


def _missing(folder: Path, load: Load) -> str:
    """Return what the archiver has not done yet before the measurement may begin."""
    state = _health(folder)
    begun = state is not None and state.connected == load.count and state.stored
    return "" if begun else "the archiver did not begin"


def _measure(case: Case, ioc: PeerServer, pid: int, folder: Path) -> Figures:
    """Look at the archiver from the moment when the archive is locked until all that came meanwhile is stored."""
    before = servers.rss(pid) / 1024
    seconds = case.updates / (case.load.count * case.load.rate)
    looks: list[tuple[float, Health]] = []
    with closing(sqlite3.connect(folder / "rack.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        first = _now(folder)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            looks.append(_look(pid, folder))
            time.sleep(LOOK)
        ioc.process.kill()
        connection.execute("ROLLBACK")
    free = time.monotonic()
    came = _taken(_now(folder)) - _taken(first)
    while (state := _now(folder)).spool_rows and time.monotonic() < free + END:
        looks.append(_look(pid, folder))
        time.sleep(LOOK)
    return {
        "came": came,
        "before": before,
        "most": max(memory for memory, _ in looks),
        "waiting": max(each.queue_bytes for _, each in looks) / 1e6,
        "spool": max(each.spool_bytes for _, each in looks) / 1e6,
        "lost": state.lost,
        "stored": time.monotonic() - free if not state.spool_rows else float("inf"),
    }


def _taken(state: Health) -> int:
    """Return how many samples the archiver has taken so far."""
    return state.stored + state.spool_rows + state.queue + state.lost


def _look(pid: int, folder: Path) -> tuple[float, Health]:
    """Return the archiver's memory in MB, and its state."""
    return servers.rss(pid) / 1024, _now(folder)


def _now(folder: Path) -> Health:
    state = _health(folder)
    if state is None:
        raise Failed("the archiver tells no state")
    return state


def _health(folder: Path) -> Health | None:
    found = list(folder.glob("*.status"))
    return health.read(found[0]) if found else None


if __name__ == "__main__":
    typer.run(main)
