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

Values = tuple[object, ...]


class BulkWriter(Protocol):
    """A way to store scans: ``prepare`` makes the rows ready, ``store`` stores and commits them."""

    title: str

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Make the rows of a scan."""

    def store(self) -> None:
        """Store the rows and commit."""

    def close(self) -> None:
        """Close the connection."""


@dataclass(frozen=True)
class Target:
    """A table to fill; ``row`` makes a row of the PV's number (from 1 on) and its sample."""

    name: str
    columns: str
    row: Callable[[int, Sample], Values]

    def rows(self, samples: Iterable[Sample]) -> list[Values]:
        """Return the rows of a scan."""
        return [self.row(number, sample) for number, sample in enumerate(samples, 1)]


def integer_time(number: int, sample: Sample) -> Values:
    """Return a row as SQLite stores it: the time as one integer."""
    return (number, sample.time_ns, 1, 1, sample.value)


def two_times(number: int, sample: Sample) -> Values:
    """Return a row as MariaDB stores it: a time stamp, and its fraction once more."""
    seconds, fraction = divmod(sample.time_ns, 10**9)
    stamp = datetime.fromtimestamp(seconds, UTC).replace(microsecond=fraction // 1000, tzinfo=None)
    return (number, stamp.isoformat(" ", "microseconds"), fraction, 1, 1, sample.value)


def whole_seconds(number: int, sample: Sample) -> Values:
    """Return a row as the engine of Phoebus writes it: the fraction is in nanosecs alone."""
    stamp = datetime.fromtimestamp(sample.time_ns // 10**9, UTC).replace(tzinfo=None)
    return (number, stamp.isoformat(" "), sample.time_ns % 10**9, 1, 1, sample.value)


def parted(number: int, sample: Sample) -> Values:
    """Return a row as rackioc inserts it, with the part of its channel."""
    return (number // PART, *integer_time(number, sample))


def bare(number: int, sample: Sample) -> Values:
    """Return the least that a history can do with."""
    return (number, sample.time_ns, sample.value)


_COLUMNS = "channel_id, smpl_time, {}severity_id, status_id, float_val"
ARRIVING = Target("sample_recent", "part, " + _COLUMNS.format(""), parted)
CLUSTERED = Target("sample_settled", _COLUMNS.format(""), integer_time)
MARIADB = Target("sample", _COLUMNS.format("nanosecs, "), two_times)
PHOEBUS = Target("sample", _COLUMNS.format("nanosecs, "), whole_seconds)
BARE = Target("bare", "channel, time, value", bare)


class SqliteMany:
    """``executemany`` of the sqlite3 module, with the pragmas of rackioc."""

    def __init__(self, url: str, table: Target) -> None:
        self.title = f"sqlite3, executemany into {table.name}"
        self._opened = connect_writer(DatabaseUrl.parse(url))
        self._cursor = self._opened.connection.cursor()
        self._cursor.execute("PRAGMA wal_autocheckpoint = 1000")  # SQLite's default: nobody else does it here
        self._table = table
        marks = ", ".join("?" * (table.columns.count(",") + 1))
        self._insert = f"INSERT INTO {table.name} ({table.columns}) VALUES ({marks})"
        self._rows: list[Values] = []

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Make the rows of a scan."""
        self._rows = self._table.rows(samples)

    def store(self) -> None:
        """Insert the rows in one transaction."""
        self._cursor.execute("BEGIN IMMEDIATE")
        self._cursor.executemany(self._insert, self._rows)
        self._cursor.execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self._opened.close()
        self._opened.engine.dispose()


class MariadbMany:
    """``executemany`` of PyMySQL, which makes inserts of many rows of it."""

    title = "PyMySQL, executemany"

    def __init__(self, url: str, table: Target) -> None:
        self._connection = connect(url)
        self._cursor = self._connection.cursor()
        self._table = table
        self._into = f"INTO {table.name} ({table.columns})"
        self._rows: list[Values] = []

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Make the rows of a scan."""
        self._rows = self._table.rows(samples)

    def store(self) -> None:
        """Insert the rows and commit."""
        marks = ", ".join(["%s"] * len(self._rows[0]))
        self._cursor.executemany(f"INSERT {self._into} VALUES ({marks})", self._rows)
        self._connection.commit()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class MariadbStatement(MariadbMany):
    """One insert of all rows, with a text that is made here."""

    title = "PyMySQL, one INSERT put together by hand"

    def store(self) -> None:
        """Insert the rows and commit."""
        # A tuple of numbers and plain texts is written in Python as it is in SQL.
        self._cursor.execute(f"INSERT {self._into} VALUES {','.join(map(repr, self._rows))}")
        self._connection.commit()


class MariadbFile(MariadbMany):
    """A file that the server reads, written before the clock runs."""

    title = "PyMySQL, LOAD DATA LOCAL INFILE"

    def __init__(self, url: str, table: Target, folder: Path) -> None:
        super().__init__(url, table)
        self._file = folder / "rows"

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Write the rows of a scan to the file."""
        lines = ("\t".join(map(str, row)) for row in self._table.rows(samples))
        self._file.write_text("\n".join(lines) + "\n")

    def store(self) -> None:
        """Let the server read the file, and commit."""
        self._cursor.execute(f"LOAD DATA LOCAL INFILE '{self._file}' {self._into}".replace("INTO", "INTO TABLE", 1))
        self._connection.commit()
