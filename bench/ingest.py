"""From the archiver's queue to the commit: 12,000 PVs, a commit a scan, beside the fastest inserts by hand."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random
from typing import Annotated, Any, cast

import typer

from archiver.recording.queue import Queue
from archiver.recording.spool import Spool
from archiver.recording.upkeep.rounds import Upkeep
from archiver.recording.writer import Writer
from archiver.sample import Sample
from archiver.settings import Policy
from archiver.storage.database import open_store
from archiver.storage.store import Store
from bench.rig import byhand, table
from bench.rig.archives import END_NS, NAMES, SECOND_NS, filled_archive, scan, sizes
from bench.rig.contest import Rounds
from bench.rig.databases import Backend, Database, Directory, MariadbDatabases, SqliteFiles, databases
from bench.rig.servers import Failed
from bench.rig.table import Column, Figures, TableRow

COLUMNS = (
    Column("rate", "samples/s to the commit", 0),
    Column("lasting", "with settling", 0),
    Column("longest", "longest commit, s", 2),
    Column("reached", "rackioc reaches of it", 2),
    Column("lastingly", "with settling", 2),
    Column("held", "with settling, of its rate at the first size", 2),
    Column("queueing", "before it: into the queue, us/sample", 2),
)
GOALS = {
    Backend.sqlite: "rackioc reaches 0.6 of executemany into sample_recent; at 10^8 rows 0.8 of its rate at 10^6",
    Backend.mariadb: "rackioc reaches 0.6 of the best and 40,000 samples/s; at 10^8 rows 0.8 of its rate at 10^6",
}
RowsBefore = Annotated[str, typer.Option(help="Rows that are there before, with commas between: 1e6,1e8.")]
# Seconds: more than there is to settle
MUCH = 3600.0
Scans = Annotated[int, typer.Option(min=1, help="Scans of 12,000 PVs in a round.")]


class Rackioc:
    """The archiver's queue, writer, spool and store, without their thread."""

    def __init__(self, url: str, spool: Path, title: str) -> None:
        self.title = title
        self._store = _Stopwatch(open_store(url))
        self._queue = Queue()
        self._spool = Spool(spool, 1e9, 0)
        self._writer = Writer(self._queue, self._spool, Upkeep(lambda _: Policy()), lambda: cast(Store, self._store))

    @property
    def settling(self) -> float:
        """Return the seconds so far that went to moving rows to where they stay."""
        return self._store.seconds

    def newest_ns(self) -> int:
        """Return the time stamp of the newest row (ns since 1970 UTC)."""
        return max((sample.time_ns for sample in self._store.newest()), default=END_NS)

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Put samples into the queue."""
        for sample in samples:
            self._queue.add(sample)

    def store(self) -> None:
        """Store what is queued, with the maintenance that is due. Raises Failed."""
        self._writer.cycle(time.monotonic() + MUCH)
        if not self._writer.database.healthy or len(self._queue):
            raise Failed(self._writer.database.error)

    def close(self) -> None:
        """Close the store and the spool."""
        self._store.close()
        self._spool.close()


class _Stopwatch:
    """A store, and how long its maintenance took."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def tidy(self) -> bool:
        """Do some maintenance as the store does, and add up the time."""
        begin = time.perf_counter()
        try:
            return self._store.tidy()
        finally:
            self.seconds += time.perf_counter() - begin


class TimedWriter:
    """A writer, and the time stamp of the scan that it stores next."""

    def __init__(self, writer: byhand.BulkWriter, begin_ns: int, spacing_ns: int = SECOND_NS) -> None:
        self.writer = writer
        self._spacing_ns = spacing_ns
        self._next_ns = begin_ns + spacing_ns
        self.round(1, Random(0))  # opens the database, gives numbers to names

    def round(self, scans: int, numbers: Random) -> Figures:
        """Store so many scans, one after the other; returns the figures."""
        queueing, seconds, settled = 0.0, [], self._settling
        for _ in range(scans):
            samples = scan(self._next_ns, numbers)
            self._next_ns += self._spacing_ns
            begin = time.perf_counter()
            self.writer.prepare(samples)
            taken = time.perf_counter()
            self.writer.store()
            seconds.append(time.perf_counter() - taken)
            queueing += taken - begin
        each, took = scans * len(NAMES), sum(seconds)
        return {
            "rate": each / (took - self._settling + settled),
            "lasting": each / took,
            "longest": max(seconds),
            "queueing": 1e6 * queueing / each,
        }

    @property
    def _settling(self) -> float:
        return self.writer.settling if isinstance(self.writer, Rackioc) else 0.0


def main(
    rounds: Rounds = 3,
    scans: Scans = 200,
    database: Database = Backend.sqlite,
    rows_before: RowsBefore = "0",
    directory: Directory = None,
) -> None:
    """Measure samples/s from the archiver's queue to the commit, beside inserts by hand, into filled archives."""
    with databases(database, directory) as there, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ours = [_rackioc(there, rows, Path(folder)) for rows in sizes(rows_before)]
        writers = [*ours, *(TimedWriter(each, END_NS) for each in _references(there, Path(folder)))]
        for each in writers:
            stack.enter_context(closing(each.writer))
        runs: list[list[Figures]] = []
        for number in range(rounds):
            typer.echo(f"round {number + 1} of {rounds}", err=True)
            runs.append([each.round(scans, Random(number)) for each in writers])
        rows = [
            TableRow(each.writer.title, [_compared(run, number, each in ours) for run in runs])
            for number, each in enumerate(writers)
        ]
        title = f"ingest: {there.title}, {rounds} x {scans} scans of {len(NAMES):,} PVs, a commit a scan"
        table.show(title, COLUMNS, rows, None, GOALS[database], head="writer")


def _rackioc(there: SqliteFiles | MariadbDatabases, rows: int, folder: Path) -> TimedWriter:
    url = filled_archive(there, rows) if rows else there.create("rackioc")
    writer = Rackioc(url, folder / f"spool{rows}.sqlite", f"rackioc, {rows:,} rows before")
    return TimedWriter(writer, writer.newest_ns())


def _references(there: SqliteFiles | MariadbDatabases, folder: Path) -> list[byhand.BulkWriter]:
    """Return the writers by hand, each with empty tables of its own, made as rackioc makes them."""

    def made(name: str) -> str:
        url = there.create(name)
        open_store(url).close()
        return url

    if there.kind is Backend.sqlite:
        return [byhand.SqliteMany(made(each.name), each) for each in (byhand.ARRIVING, byhand.CLUSTERED)]
    return [
        byhand.MariadbStatement(made("statement"), byhand.MARIADB),
        byhand.MariadbMany(made("many"), byhand.MARIADB),
        byhand.MariadbFile(made("file"), byhand.MARIADB, folder),
    ]


def _compared(run: Sequence[Figures], number: int, ours: bool) -> Figures:
    """Return one writer's figures of a round, beside those of rackioc (at the first size)."""
    each, first = run[number], run[0]
    if ours:
        return {**each, "reached": math.nan, "lastingly": math.nan, "held": each["lasting"] / first["lasting"]}
    ratios = {"reached": first["rate"] / each["rate"], "lastingly": first["lasting"] / each["rate"]}
    return {**each, **ratios, "lasting": math.nan, "held": math.nan, "queueing": math.nan}


if __name__ == "__main__":
    typer.run(main)
