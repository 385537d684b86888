"""Archives that are filled beforehand, with generated rows over 12,000 PVs, in the order of the PVs."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from random import Random

import typer

from archiver.sample import Sample
from archiver.storage import summarizer
from archiver.storage.database import open_reader, open_store
from archiver.storage.sqlite.file import PART
from archiver.storage.sqlite.store import SETTLE_ROWS
from archiver.storage.store import StoreError
from bench.rig.databases import Backend, MariadbDatabases, SqliteFiles, connect
from bench.rig.load import Load, LoadKind

NAMES = Load(LoadKind.ramp, 12_000).names
SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
# Where the rows in order end; those that have just been inserted follow
END_NS = 1_760_000_000 * SECOND_NS

# Scans until SQLite settles for the first time, and nearly to the next time
ARRIVING = SETTLE_ROWS // len(NAMES) * 15 // 8

# The number of a PV (from 1 on) that has so many rows in the last 24 h; of the others each has one a second
FAST, FAST_ROWS = 6_000, 100_000

_SQLITE = """
    INSERT INTO sample_settled (channel_id, smpl_time, severity_id, status_id, float_val)
    WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < :count - 1)
    SELECT :channel, :begin + i * :spacing, 1, 1, random() / 1e15 FROM numbers"""

_MARIADB = """
    INSERT INTO sample (channel_id, smpl_time, nanosecs, severity_id, status_id, float_val)
    SELECT {channel}, TIMESTAMPADD(MICROSECOND, seq * {spacing}, FROM_UNIXTIME({begin} / 1000000)),
        ({begin} + seq * {spacing}) % 1000000 * 1000, 1, 1, RAND() * 1000
    FROM seq_0_to_{last}"""
# Rows in one transaction
_TOGETHER = 1_000_000


@dataclass(frozen=True)
class Series:
    """Rows of one PV.

    begin    time of the first one (ns since 1970 UTC)
    spacing  from each to the next (ns)
    """

    channel: int
    begin: int
    spacing: int
    count: int


def sizes(text: str) -> list[int]:
    """Return the numbers of an option such as 1e7,1e8."""
    try:
        return [int(float(each)) for each in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text} is not a list of numbers of rows, such as 1e7,1e8") from None


def filled_archive(databases: SqliteFiles | MariadbDatabases, rows: int) -> str:
    """Return the URL of an archive with so many rows, filled now unless that was done before."""
    name = f"rows_{rows}"
    url = databases.url(name)
    if not _is_filled(url):
        typer.echo(f"filling {rows:,} rows", err=True)
        databases.create(name)
        open_store(url).close()
        fill(databases, url, _series(rows))
        _add_recent(url)
    return url


def fill(databases: SqliteFiles | MariadbDatabases, url: str, series: Iterator[Series]) -> None:
    """Fill an empty archive with generated rows, in the order of the channels."""
    (_fill_sqlite if databases.kind is Backend.sqlite else _fill_mariadb)(url, series)


def summarize(url: str) -> float:
    """Make the summaries of the first PV of an archive that has none; return the seconds."""
    summarizer.PAUSE = 0.0
    with closing(open_store(url)) as store:
        store.add([Sample(NAMES[0], END_NS + DAY_NS // 24, 1.0, 0, "NO_ALARM")])  # the PV is this archiver's now
        store.live(END_NS + DAY_NS)
        begin = time.perf_counter()
        while store.tidy():
            pass
        return time.perf_counter() - begin


def scan(time_ns: int, numbers: Random) -> list[Sample]:
    """Return a value of each PV, all at one time."""
    number = numbers.random
    return [Sample(name, time_ns, number(), 0, "NO_ALARM") for name in NAMES]


def _series(rows: int) -> Iterator[Series]:
    if rows < FAST_ROWS + len(NAMES):
        raise typer.BadParameter(f"{rows:,} rows are too few; at least {FAST_ROWS + len(NAMES):,}")
    count, more = divmod(rows - FAST_ROWS, len(NAMES) - 1)
    others = iter([count + 1] * more + [count] * (len(NAMES) - 1 - more))
    for channel in range(1, len(NAMES) + 1):
        if channel == FAST:
            yield Series(channel, END_NS - DAY_NS, DAY_NS // FAST_ROWS, FAST_ROWS)
        else:
            count = next(others)
            yield Series(channel, END_NS - count * SECOND_NS, SECOND_NS, count)


def _is_filled(url: str) -> bool:
    """Return True if the rows that are added last are there."""
    last_ns = END_NS + (ARRIVING - 1) * SECOND_NS
    try:
        with closing(open_reader(url)) as reader:
            names = reader.names()[:1]
            return any(sample.time_ns == last_ns for sample in reader.samples(names, last_ns, last_ns))
    except StoreError:
        return False


def _fill_sqlite(url: str, series: Iterator[Series]) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF"):  # if it fails it is begun anew
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        for each in series:
            connection.execute(_SQLITE, vars(each))
        connection.execute("INSERT INTO status VALUES (1, 'NO_ALARM')")
        connection.executemany("INSERT INTO channel VALUES (?, ?)", list(enumerate(NAMES, 1)))
        settled = f"INSERT INTO settled SELECT DISTINCT channel_id / {PART}, ? FROM channel"
        connection.execute(settled, (END_NS - 1,))
        connection.execute("COMMIT")


def _fill_mariadb(url: str, series: Iterator[Series]) -> None:
    """Let the server generate the rows from its own sequences."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        rows = 0
        for each in series:
            micro = {"begin": each.begin // 1000, "spacing": each.spacing // 1000}
            cursor.execute(_MARIADB.format(channel=each.channel, last=each.count - 1, **micro))
            rows += each.count
            if rows >= _TOGETHER:
                connection.commit()
                rows = 0
        cursor.execute("INSERT INTO status (status_id, name) VALUES (1, 'NO_ALARM')")
        cursor.executemany("INSERT INTO channel (channel_id, name) VALUES (%s, %s)", list(enumerate(NAMES, 1)))
        connection.commit()


def _add_recent(url: str) -> None:
    """Add rows scan by scan: first as many as are settled, for that splits the full pages of the filling.

    Then nearly as many again as may wait: readers find them where they were inserted.
    """
    numbers = Random(1)
    with closing(open_store(url)) as store:
        for second in range(ARRIVING):
            store.add(scan(END_NS + second * SECOND_NS, numbers))
            store.tidy()
