"""Bytes of a sample on disk, after samples of 12,000 PVs have come in scan by scan."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import typer

from bench.ingest import Rackioc, Scans
from bench.rig import byhand, table
from bench.rig.archives import END_NS, NAMES, SECOND_NS, scan
from bench.rig.databases import Backend, MariadbDatabases, SqliteFiles, databases
from bench.rig.table import Column, Figures, TableRow

COLUMNS = (
    Column("used", "bytes/sample", 1),
    Column("file", "with the file's free pages", 1),
    Column("phoebus", "x Phoebus", 2),
    Column("bare", "x bare table", 2),
)
RACKIOC, BARE, PHOEBUS = "rackioc", "bare table", "Phoebus as shipped, MariaDB"
GOAL = "shown beside the Phoebus schema as shipped, and a bare table of the same database"

# What Phoebus ships for MySQL, as far as it takes room: no primary key, an index for reading, and one for each of the
# other two foreign keys, which InnoDB makes by itself.
_PHOEBUS = (
    "CREATE TABLE channel (channel_id INT UNSIGNED NOT NULL PRIMARY KEY)",
    "CREATE TABLE severity (severity_id INT UNSIGNED NOT NULL PRIMARY KEY)",
    "CREATE TABLE status (status_id INT UNSIGNED NOT NULL PRIMARY KEY)",
    f"INSERT INTO channel SELECT seq FROM seq_1_to_{len(NAMES)}",
    "INSERT INTO severity VALUES (1)",
    "INSERT INTO status VALUES (1)",
    """CREATE TABLE sample (
        channel_id INT UNSIGNED NOT NULL, smpl_time TIMESTAMP NOT NULL, nanosecs INT UNSIGNED NOT NULL,
        severity_id INT UNSIGNED NOT NULL, status_id INT UNSIGNED NOT NULL, num_val INT, float_val DOUBLE,
        str_val VARCHAR(120), datatype CHAR(1) CHARACTER SET binary DEFAULT ' ', array_val LONGBLOB,
        FOREIGN KEY (channel_id) REFERENCES channel (channel_id) ON DELETE CASCADE,
        FOREIGN KEY (severity_id) REFERENCES severity (severity_id) ON DELETE CASCADE,
        FOREIGN KEY (status_id) REFERENCES status (status_id) ON DELETE CASCADE,
        INDEX sample_id_time (channel_id, smpl_time, nanosecs))""",
)
_BARE = {
    Backend.sqlite: "CREATE TABLE bare (channel INTEGER, time INTEGER, value REAL)",
    Backend.mariadb: "CREATE TABLE bare (channel INT UNSIGNED, time BIGINT, value DOUBLE)",
}


@dataclass(frozen=True)
class Bytes:
    """The bytes of a whole archive: in use, and of its files."""

    used: float
    file: float


def main(scans: Scans = 500) -> None:
    """Measure the bytes a sample on disk: SQLite and MariaDB, the Phoebus schema as shipped, bare tables."""
    found: dict[str, Bytes] = {}
    for kind in Backend:
        with databases(kind, None) as there, tempfile.TemporaryDirectory() as folder:
            spool = Path(folder) / "spool"
            found |= _sqlite(there, scans, spool) if isinstance(there, SqliteFiles) else _mariadb(there, scans, spool)
    rows = scans * len(NAMES)
    shown = [TableRow(title, [_figures(title, found, rows)]) for title in found]
    table.show(
        f"size: {rows:,} samples of {len(NAMES):,} PVs, scan by scan", COLUMNS, shown, None, GOAL, head="tables"
    )


def _feed(writer: byhand.BulkWriter, scans: int) -> None:
    typer.echo(f"storing: {writer.title}", err=True)
    numbers = Random(1)
    with closing(writer):
        for second in range(scans):
            writer.prepare(scan(END_NS + second * SECOND_NS, numbers))
            writer.store()


def _sqlite(there: SqliteFiles, scans: int, spool: Path) -> dict[str, Bytes]:
    ours, bare = there.create("rackioc"), there.create("bare")
    _feed(Rackioc(ours, spool, f"rackioc, {there.title}"), scans)
    with closing(sqlite3.connect(bare.removeprefix("sqlite:///"))) as connection:
        connection.execute(_BARE[Backend.sqlite])
    _feed(byhand.SqliteMany(bare, byhand.BARE), scans)
    return {f"{RACKIOC}, SQLite": _pages(ours), f"{BARE}, SQLite": _pages(bare)}


def _pages(url: str) -> Bytes:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        all_, free, size = (
            int(connection.execute(f"PRAGMA {each}").fetchone()[0])
            for each in ("page_count", "freelist_count", "page_size")
        )
    return Bytes((all_ - free) * size, all_ * size)


def _mariadb(there: MariadbDatabases, scans: int, spool: Path) -> dict[str, Bytes]:
    _feed(Rackioc(there.create("rackioc"), spool, f"rackioc, {there.title}"), scans)
    for name, statements, target in (
        ("phoebus", _PHOEBUS, byhand.PHOEBUS),
        ("bare", (_BARE[Backend.mariadb],), byhand.BARE),
    ):
        url = there.create(name)
        there.server.execute(*statements, database=name)
        _feed(byhand.MariadbStatement(url, target), scans)
    return {
        f"{RACKIOC}, MariaDB": _tablespaces(there, "rackioc"),
        PHOEBUS: _tablespaces(there, "phoebus"),
        f"{BARE}, MariaDB": _tablespaces(there, "bare"),
    }


def _tablespaces(there: MariadbDatabases, name: str) -> Bytes:
    """Return the bytes of all tables with their indexes."""
    tables = there.server.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()", database=name
    )
    there.server.execute(*(f"ANALYZE TABLE {each}" for (each,) in tables), database=name)
    ((used,),) = there.server.execute(
        "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()",
        database=name,
    )
    ((file,),) = there.server.execute(
        f"SELECT SUM(file_size) FROM information_schema.innodb_sys_tablespaces WHERE name LIKE '{name}/%'"
    )
    return Bytes(float(used), float(file))


def _figures(title: str, found: dict[str, Bytes], rows: int) -> Figures:
    """Return the figures of an archive; the bare table is the one in the same database."""
    used = found[title].used
    bare = found[f"{BARE}, {title.rpartition(', ')[2]}"].used
    return {
        "used": used / rows,
        "file": found[title].file / rows,
        "phoebus": used / found[PHOEBUS].used,
        "bare": used / bare,
    }


if __name__ == "__main__":
    typer.run(main)
