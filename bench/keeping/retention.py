"""Retention: a policy ``keep`` that frees a year, in small steps, and what becomes of the space."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

import typer

from archiver.recording.upkeep import Upkeep
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
    Column("seconds", "s", 1),
    Column("steps", "steps", 0),
    Column("longest", "longest step, s", 3),
    Column("commit", "longest commit of a scan between, s", 3),
    Column("before", "MB before", 0),
    Column("after", "MB after", 0),
    Column("read", "a day read, s", 3),
    Column("read_after", "a day read after, s", 3),
)
GOAL = "a year within 60 s, no step of more than 1 s, the space comes back"
YEAR_NS = 365 * DAY_NS
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
    archives.fill(there, url, (Series(n, begin_ns, spacing * SECOND_NS, count) for n in range(1, pvs + 1)))
    summarizer.PAUSE = 0.0
    with closing(open_store(url)) as store:
        store.add([_sample(n, 1) for n in range(pvs)])  # the PVs are this archiver's now
        store.live(END_NS + DAY_NS)
        typer.echo("making summaries", err=True)
        while store.tidy():
            pass
    return url


def _measure(there: SqliteFiles | MariadbDatabases, url: str, pvs: int) -> Figures:
    before, rows, read = _size(there, url), _rows(url, pvs), _read(url)
    age = time.time() - (END_NS - YEAR_NS) / 1e9
    round_ = Upkeep(lambda _: Policy(keep=f"{age:.0f}s"))
    with closing(open_store(url)) as store:
        steps, commits = zip(*_steps(round_, store, pvs), strict=True)
    return {
        "rows": rows - _rows(url, pvs),
        "seconds": sum(steps),
        "steps": len(steps),
        "longest": max(steps),
        "commit": max(commits),
        "before": before / 1e6,
        "after": _size(there, url) / 1e6,
        "read": read,
        "read_after": _read(url),
    }


def _steps(round_: Upkeep, store: Store, pvs: int) -> Iterator[tuple[float, float]]:
    """Do a round; yield the seconds of each step, and of a commit of a row of each PV after it."""
    more, second = True, 1
    while more:
        begin = time.perf_counter()
        more = round_.step(store)
        step = time.perf_counter() - begin
        second += 1
        begin = time.perf_counter()
        store.add([_sample(n, second) for n in range(pvs)])
        yield step, time.perf_counter() - begin


def _sample(number: int, second: int) -> Sample:
    return Sample(NAMES[number], END_NS + second * SECOND_NS, 1.5, 0, "NO_ALARM")


def _rows(url: str, pvs: int) -> int:
    """Return the rows of the filling."""
    sql = f"SELECT COUNT(*) FROM sample WHERE channel_id <= {pvs}"
    if url.startswith("mysql"):
        with closing(connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(f"{sql} AND smpl_time < FROM_UNIXTIME({END_NS // SECOND_NS})")
            ((rows,),) = cursor.fetchall()
            return int(rows)
    import sqlite3  # noqa: PLC0415

    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        return int(file.execute(f"{sql} AND smpl_time < {END_NS}").fetchone()[0])


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
