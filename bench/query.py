"""One PV's last 24 hours read from archives of different sizes, through the archiver's own reader."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from archiver.storage.database import open_reader
from archiver.times import format_time
from bench.rig import archives, table
from bench.rig.archives import DAY_NS, END_NS, FAST, FAST_ROWS, NAMES, filled_archive
from bench.rig.contest import Rounds
from bench.rig.databases import Backend, Database, Directory, MariadbDatabases, SqliteFiles, databases
from bench.rig.servers import ROOT, Failed
from bench.rig.table import Column, Figures, TableRow

COLUMNS = (
    Column("rows", "rows", 0),
    Column("first", "open to first row, ms", 1),
    Column("first_growth", "x smallest", 2),
    Column("all", "to the last row, s", 3),
    Column("all_growth", "x smallest", 2),
    Column("csv", "rackioc history to csv, s", 2),
)
GOAL = "first row within 50 ms, 100,000 rows within 1 s, growth from 10^7 to 10^8 rows below 1.5 times"
Rows = Annotated[str, typer.Option(help="Sizes of the archives in rows, with commas between.")]


@dataclass(frozen=True)
class Case:
    """A PV of an archive of so many rows. ``cold``: nothing of the archive is in memory."""

    rows: int
    fast: bool
    cold: bool

    @property
    def title(self) -> str:
        """Return what the table says about it."""
        pv = f"PV of {FAST_ROWS:,} rows" if self.fast else "PV of a row a second"
        return f"{self.rows:,} rows, {pv}, {'cold' if self.cold else 'warm'}"

    def pv(self, number: int) -> str:
        """Return the PV of a round: in each another one, where there are many."""
        return NAMES[FAST - 1 if self.fast else (number + 1) * 997 % len(NAMES)]


def main(
    rows: Rows = "1e7,1e8", rounds: Rounds = 5, database: Database = Backend.sqlite, directory: Directory = None
) -> None:
    """Read one PV's 24 h out of 10^7 and 10^8 rows over 12,000 PVs: first row, all rows; cold and warm."""
    sizes = archives.sizes(rows)
    cases = [Case(each, fast, cold) for fast in (True, False) for cold in (True, False) for each in sizes]
    with databases(database, directory) as there:
        for each in sizes:
            filled_archive(there, each)
        runs: dict[Case, list[Figures]] = {case: [] for case in cases}
        for number in range(rounds):
            typer.echo(f"round {number + 1} of {rounds}", err=True)
            for case in cases:
                runs[case].append(_measure(there, case, case.pv(number)))
        shown = [TableRow(case.title, _beside(runs[case], runs[replace(case, rows=sizes[0])])) for case in cases]
        title = f"query: {there.title}, one of {len(NAMES):,} PVs, 24 h"
        table.show(title, COLUMNS, shown, None, GOAL, head="archive")


def _measure(there: SqliteFiles | MariadbDatabases, case: Case, pv: str) -> dict[str, float]:
    """Measure a query; a warm one is the second of two."""
    name = f"rows_{case.rows}"
    url = there.url(name)
    if case.cold:
        there.drop_caches(name)
    else:
        _read(url, pv)
    figures = _read(url, pv)
    if case.fast and figures["rows"] < FAST_ROWS:
        raise Failed(f"{figures['rows']:.0f} rows of {pv} were read, not {FAST_ROWS}")
    return figures | {"csv": math.nan if case.cold else _csv(url, pv, int(figures["rows"]))}


def _read(url: str, pv: str) -> dict[str, float]:
    """Return the milliseconds from the opening of the archive to the first row, and the seconds to the last one."""
    begin = time.perf_counter()
    with closing(open_reader(url)) as reader:
        samples = reader.samples([pv], END_NS - DAY_NS, END_NS - 1)
        next(samples)
        first = time.perf_counter()
        count = 1 + sum(1 for _ in samples)
    return {"first": 1e3 * (first - begin), "all": time.perf_counter() - begin, "rows": count}


def _csv(url: str, pv: str, rows: int) -> float:
    """Return the seconds that the command takes, with its start."""
    window = ["--since", format_time(END_NS - DAY_NS), "--until", format_time(END_NS - 1)]
    command = [sys.executable, "-P", "-m", "rackioc", "history", pv, *window, "--format", "csv", "--database", url]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.stdout.count("\n") != rows + 1:
        raise Failed(f"rackioc history did not print {rows:,} rows of {pv}: {done.stderr}")
    return seconds


def _beside(runs: Sequence[Figures], smallest: Sequence[Figures]) -> list[Figures]:
    """Return the figures with the ratios to the smallest archive, within each round."""
    return [
        {**own, **{f"{key}_growth": own[key] / least[key] for key in ("first", "all")}}
        for own, least in zip(runs, smallest, strict=True)
    ]


if __name__ == "__main__":
    typer.run(main)
