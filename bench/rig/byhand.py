"""Bulk inserts as one would write them by hand, without rackioc: the references of ``ingest`` and ``size``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from archiver.sample import Sample
from archiver.storage.sqlite.file import PART, connect_writer
from archiver.storage.url import DatabaseUrl
from bench.rig.databases import connect

Row = tuple[object, ...]


class Writer(Protocol):
    """What stores scans. ``take`` makes ready what is to be stored, ``store`` stores and commits it."""

    title: str

    def take(self, samples: Sequence[Sample]) -> None: ...

    def store(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Table:
    """Where to; ``row`` makes a row of the PV's number (from 1 on) and its sample."""

    name: str
    columns: str
    row: Callable[[int, Sample], Row]

    def rows(self, samples: Iterable[Sample]) -> list[Row]:
        return [self.row(number, sample) for number, sample in enumerate(samples, 1)]


def integer_time(number: int, sample: Sample) -> Row:
    """As SQLite keeps it."""
    return (number, sample.time_ns, 1, 1, sample.value)


def two_times(number: int, sample: Sample) -> Row:
    """As MariaDB keeps it: a time stamp, and its fraction once more."""
    seconds, fraction = divmod(sample.time_ns, 10**9)
    stamp = datetime.fromtimestamp(seconds, UTC).replace(microsecond=fraction // 1000, tzinfo=None)
    return (number, stamp.isoformat(" ", "microseconds"), fraction, 1, 1, sample.value)


def whole_seconds(number: int, sample: Sample) -> Row:
    """As the engine of Phoebus does: the fraction is in nanosecs alone."""
    stamp = datetime.fromtimestamp(sample.time_ns // 10**9, UTC).replace(tzinfo=None)
    return (number, stamp.isoformat(" "), sample.time_ns % 10**9, 1, 1, sample.value)


def parted(number: int, sample: Sample) -> Row:
    """As rackioc lets rows arrive."""
    return (number // PART, *integer_time(number, sample))


def bare(number: int, sample: Sample) -> Row:
    """The least that a history can do with."""
    return (number, sample.time_ns, sample.value)


_COLUMNS = "channel_id, smpl_time, {}severity_id, status_id, float_val"
ARRIVING = Table("sample_recent", "part, " + _COLUMNS.format(""), parted)
CLUSTERED = Table("sample_settled", _COLUMNS.format(""), integer_time)
MARIADB = Table("sample", _COLUMNS.format("nanosecs, "), two_times)
PHOEBUS = Table("sample", _COLUMNS.format("nanosecs, "), whole_seconds)
BARE = Table("bare", "channel, time, value", bare)


class SqliteMany:
    """``executemany`` of the sqlite3 module, with the pragmas of rackioc."""

    def __init__(self, url: str, table: Table) -> None:
        self.title = f"sqlite3, executemany into {table.name}"
        self._opened = connect_writer(DatabaseUrl.parse(url))
        self._cursor = self._opened.connection.cursor()
        self._cursor.execute("PRAGMA wal_autocheckpoint = 1000")  # SQLite's default: nobody else does it here
        self._table = table
        marks = ", ".join("?" * (table.columns.count(",") + 1))
        self._insert = f"INSERT INTO {table.name} ({table.columns}) VALUES ({marks})"
        self._rows: list[Row] = []

    def take(self, samples: Sequence[Sample]) -> None:
        self._rows = self._table.rows(samples)

    def store(self) -> None:
        self._cursor.execute("BEGIN IMMEDIATE")
        self._cursor.executemany(self._insert, self._rows)
        self._cursor.execute("COMMIT")

    def close(self) -> None:
        self._opened.close()
        self._opened.engine.dispose()


class MariadbMany:
    """``executemany`` of PyMySQL, which makes of it inserts of many rows."""

    title = "PyMySQL, executemany"

    def __init__(self, url: str, table: Table) -> None:
        self._connection = connect(url)
        self._cursor = self._connection.cursor()
        self._table = table
        self._into = f"INTO {table.name} ({table.columns})"
        self._rows: list[Row] = []

    def take(self, samples: Sequence[Sample]) -> None:
        self._rows = self._table.rows(samples)

    def store(self) -> None:
        marks = ", ".join(["%s"] * len(self._rows[0]))
        self._cursor.executemany(f"INSERT {self._into} VALUES ({marks})", self._rows)
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()


class MariadbStatement(MariadbMany):
    """One insert of all rows, whose text is put together here."""

    title = "PyMySQL, one INSERT put together by hand"

    def store(self) -> None:
        # A tuple of numbers and plain texts is written in Python as it is in SQL.
        self._cursor.execute(f"INSERT {self._into} VALUES {','.join(map(repr, self._rows))}")
        self._connection.commit()


class MariadbFile(MariadbMany):
    """The server reads a file that is ready before the clock runs."""

    title = "PyMySQL, LOAD DATA LOCAL INFILE"

    def __init__(self, url: str, table: Table, folder: Path) -> None:
        super().__init__(url, table)
        self._file = folder / "rows"

    def take(self, samples: Sequence[Sample]) -> None:
        lines = ("\t".join(map(str, row)) for row in self._table.rows(samples))
        self._file.write_text("\n".join(lines) + "\n")

    def store(self) -> None:
        self._cursor.execute(f"LOAD DATA LOCAL INFILE '{self._file}' {self._into}".replace("INTO", "INTO TABLE", 1))
        self._connection.commit()
