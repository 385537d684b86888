"""Retention: a policy ``keep`` that frees a year, in small steps, while rows come; and what becomes of the space."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from archiver.recording.queue import Queue
from archiver.recording.spool import Spool
from archiver.recording.upkeep.rounds import Upkeep
from archiver.recording.writer import Writer
from archiver.sample import Sample
from archiver.settings import Policy
from archiver.storage import manage, summarizer
from archiver.storage.database import open_reader, open_store
from archiver.storage.store import Store
from bench.rig import archives, table
from bench.rig.archives import DAY_NS, END_NS, NAMES, SECOND_NS, Series
from bench.rig.databases import (
    Backend,
    Database,
    Directory,
    MariadbDatabases,
    SqliteFiles,
    connect,
    databases,
)
from bench.rig.servers import Failed
from bench.rig.table import Column, Figures, TableRow

COLUMNS = (
    Column("rows", "rows freed", 0),
    Column("seconds", "s of steps", 1),
    Column("elapsed", "s until it was done", 1),
    Column("cpu", "CPU of this process, s", 1),
    Column("steps", "steps", 0),
    Column("longest", "longest step, s", 3),
    Column("sent", "samples meanwhile", 0),
    Column("lost", "lost", 0),
    Column("commit", "longest commit, s", 3),
    Column("waited", "longest wait for a commit, s", 3),
    Column("before", "MB before", 0),
    Column("after", "MB after", 0),
    Column("read", "a day read, s", 3),
    Column("read_after", "a day read after, s", 3),
)
GOAL = "a year within 60 s, no step of more than 1 s, no sample lost, the space comes back"
YEAR_NS = 365 * DAY_NS
# PVs that have a new value each second meanwhile
LIVE = NAMES[1000:2000]
Pvs = Annotated[int, typer.Option(min=1, help="PVs.")]
Spacing = Annotated[int, typer.Option(min=1, help="Seconds from a row of a PV to the next.")]


def main(
    pvs: Pvs = 10, spacing: Spacing = 30, database: Database = Backend.sqlite, directory: Directory = None
) -> None:
    """Keep one of two years of some PVs: seconds, steps, the longest of them, bytes on disk, a day read."""
    with databases(database, directory) as there:
        url = _filled(there, pvs, spacing)
        figures = _measure(there, url, pvs)
        title = f"retention: {there.title}, {pvs} PVs, a row in {spacing} s, two years"
        table.show(title, COLUMNS, [TableRow("keep: 365d", [figures])], None, GOAL, head="policy")


def _filled(there: SqliteFiles | MariadbDatabases, pvs: int, spacing: int) -> str:
    """Return the URL of an archive with the rows of two years, and their summaries."""
    url = there.create("retention")
    open_store(url).close()
    if there.kind is Backend.mariadb:
        from archiver.storage.mysql.tables import months  # noqa: PLC0415 - a file needs no PyMySQL

        with closing(connect(url)) as connection, connection.cursor() as cursor:
            months.cover(cursor, "", (END_NS - 2 * YEAR_NS) / 1e9)
    count = 2 * YEAR_NS // SECOND_NS // spacing
    typer.echo(f"filling {count * pvs:,} rows", err=True)
    begin_ns = END_NS - count * spacing * SECOND_NS
    archives.fill(there, url, _series(begin_ns, spacing * SECOND_NS, count, pvs))
    summarizer.PAUSE = 0.0
    with closing(open_store(url)) as store:
        store.add([_sample(n, 1) for n in range(pvs)])  # the PVs are this archiver's now
        store.live(END_NS + DAY_NS)
        typer.echo("making summaries", err=True)
        while store.tidy():
            pass
    return url


def _series(begin_ns: int, spacing_ns: int, count: int, pvs: int) -> Iterator[Series]:
    """Yield the rows of the PVs, a million at a time: one statement inserts them."""
    for channel in range(1, pvs + 1):
        for done in range(0, count, 1_000_000):
            yield Series(channel, begin_ns + done * spacing_ns, spacing_ns, min(1_000_000, count - done))


def _measure(there: SqliteFiles | MariadbDatabases, url: str, pvs: int) -> Figures:
    before, rows, read = _size(there, url), _rows(url, pvs), _read(url)
    age = time.time() - (END_NS - YEAR_NS) / 1e9
    policy = Policy(keep=f"{age:.0f}s")
    with tempfile.TemporaryDirectory() as folder:
        figures = _keep(url, lambda pv: policy if pv in NAMES[:pvs] else Policy(), Path(folder))
    return {
        "rows": rows - _rows(url, pvs),
        **figures,
        "lost": figures["sent"] - _live(url),
        "before": before / 1e6,
        "after": _size(there, url) / 1e6,
        "read": read,
        "read_after": _read(url),
    }


class _Round(Upkeep):
    """One round, and the seconds of its steps."""

    def __init__(self, policy: Callable[[str], Policy]) -> None:
        super().__init__(policy)
        self.seconds: list[float] = []
        self.done = threading.Event()

    def step(self, store: Store) -> bool:
        begin = time.perf_counter()
        more = super().step(store)
        if not self.done.is_set():
            self.seconds.append(time.perf_counter() - begin)
        if not more:
            self.done.set()
        return more


class _Clocked:
    """A store, and the seconds of its commits of samples."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seconds: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def add(self, samples: Sequence[Sample]) -> None:
        begin = time.perf_counter()
        self._store.add(samples)
        self.seconds.append(time.perf_counter() - begin)


def _keep(url: str, policy: Callable[[str], Policy], folder: Path) -> Figures:
    """Do a round as the archiver does, with its own writer, while some PVs have a new value each second."""
    queue, round_ = Queue(), _Round(policy)
    with closing(open_store(url)) as previous:
        previous.live(time.time_ns())  # long after the last sign of life a round doubts the clock
    store = _Clocked(open_store(url))
    writer = Writer(queue, Spool(folder / "spool.sqlite", 1e9, 0), round_, lambda: cast(Store, store))
    sent, waited, next_s = 0, 0.0, 0.0
    begin, cpu = time.perf_counter(), time.process_time()
    writer.start()
    while not round_.done.wait(0.01):
        if (now := time.time()) >= next_s:
            next_s, sent = now + 1.0, sent + len(LIVE)
            for pv in LIVE:
                queue.add(Sample(pv, int(now * 1e9), now, 0, "NO_ALARM"))
        waited = max(waited, now - (writer.oldest or now))
    elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu
    writer.close()
    return {
        "seconds": sum(round_.seconds),
        "elapsed": elapsed,
        "cpu": cpu,
        "steps": len(round_.seconds),
        "longest": max(round_.seconds),
        "sent": sent,
        "commit": max(store.seconds),
        "waited": waited,
    }


def _sample(number: int, second: int) -> Sample:
    return Sample(NAMES[number], END_NS + second * SECOND_NS, 1.5, 0, "NO_ALARM")


def _rows(url: str, pvs: int) -> int:
    """Return the rows of the filling."""
    end = f"FROM_UNIXTIME({END_NS // SECOND_NS})" if url.startswith("mysql") else str(END_NS)
    return _count(url, f"SELECT COUNT(*) FROM sample WHERE channel_id <= {pvs} AND smpl_time < {end}")


def _live(url: str) -> int:
    """Return the rows that came meanwhile."""
    pvs = f"(SELECT channel_id FROM channel WHERE name IN {tuple(LIVE)})"
    end = f"FROM_UNIXTIME({END_NS // SECOND_NS + 86_400})" if url.startswith("mysql") else str(END_NS + DAY_NS)
    return _count(url, f"SELECT COUNT(*) FROM sample WHERE channel_id IN {pvs} AND smpl_time >= {end}")


def _count(url: str, sql: str) -> int:
    if url.startswith("mysql"):
        with closing(connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            ((rows,),) = cursor.fetchall()
            return int(rows)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        return int(file.execute(sql).fetchone()[0])


def _size(there: SqliteFiles | MariadbDatabases, url: str) -> float:
    """Return the bytes on disk, as of an archive at rest."""
    if isinstance(there, SqliteFiles):
        return manage.existing(url).size()
    ((size,),) = there.server.execute(
        "SELECT SUM(file_size) FROM information_schema.innodb_sys_tablespaces WHERE name LIKE 'retention/%'"
    )
    return float(size)


def _read(url: str) -> float:
    """Return the seconds to read the last day of a PV, the second time."""
    for _ in range(2):
        begin = time.perf_counter()
        with closing(open_reader(url)) as reader:
            rows = sum(1 for _ in reader.samples(NAMES[:1], END_NS - DAY_NS, END_NS - 1))
        seconds = time.perf_counter() - begin
    if rows < 2:
        raise Failed("there are no rows of the last day")
    return seconds


if __name__ == "__main__":
    typer.run(main)
