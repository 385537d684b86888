"""The spool, an SQLite file in which batches wait while the database is away, in order of arrival."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple, Self

from archiver.health import same_file
from archiver.sample import Dated, Metadata, Sample, Value
from archiver.storage.store import TableRow

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS batch (
        id INTEGER PRIMARY KEY AUTOINCREMENT, spooled REAL NOT NULL, run INTEGER NOT NULL, count INTEGER NOT NULL,
        data BLOB NOT NULL)"""

# A journal that is kept needs no room to open: an archiver can start on a full disk with a spool that exists already.
_PRAGMAS = ("auto_vacuum = FULL", "journal_mode = PERSIST", "synchronous = FULL", "busy_timeout = 5000")

log = logging.getLogger(__name__)


class SpoolError(Exception):
    """The spool cannot be used, or has no room: a sentence for the operator. The batch was not stored."""


@dataclass
class Batch:
    """The samples, rows of other tables, and metadata with their PV, that are stored together."""

    samples: list[Sample] = field(default_factory=list)
    rows: list[TableRow] = field(default_factory=list)
    metadata: list[tuple[str, Dated]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.samples or self.rows or self.metadata)

    def dump(self) -> bytes:
        """Return the batch as compressed JSON."""
        metadata = [(pv, (dated.since_ns, asdict(dated.metadata))) for pv, dated in self.metadata]
        return zlib.compress(json.dumps([self.samples, self.rows, metadata]).encode(), level=1)

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Return the batch that was dumped. Raises zlib.error or ValueError."""
        samples, rows, metadata = json.loads(zlib.decompress(data))
        if isinstance(metadata, dict):  # as the archiver wrote it before, one entry a PV
            metadata = list(metadata.items())
        return cls(
            [Sample(pv, time_ns, _value(value), *rest) for pv, time_ns, value, *rest in samples],
            [TableRow(table, tuple(columns), tuple(values), key) for table, columns, values, key in rows],
            [(pv, Dated(since, Metadata(**_tuples(about)))) for pv, (since, about) in metadata],
        )


class Spooled(NamedTuple):
    """A batch in the spool, and its number there."""

    id: int
    batch: Batch


class Spool:
    """The spool, used by the writer's thread and by the one that calls its ``guard``.

    rows       how many samples and rows wait in it
    run_ns     when this run of the archiver began, until the end of the previous run is marked in the database; then
               0. It is stored with each batch.
    """

    def __init__(self, path: Path, limit: float, floor: float) -> None:
        self.path = path
        self._limit = limit
        self._floor = floor
        self._lock = RLock()
        self.rows = 0
        self.run_ns = 0
        self._last = 0
        self._open()
        self._previous = int(self._value("SELECT coalesce(max(id), 0) FROM batch"))

    def append(self, batch: Batch) -> int:
        """Store a batch; return the number under which it is removed later. Raises SpoolError if there is no room."""
        with self._lock, self._spool_errors():
            self._check_room(0)  # before the work
            data = batch.dump()
            self._check_room(len(data))
            count = max(1, len(batch.samples) + len(batch.rows))  # metadata alone wait, too
            row = (time.time(), self.run_ns, count, data)
            insert = "INSERT INTO batch (spooled, run, count, data) VALUES (?, ?, ?, ?)"
            cursor = self._connection.execute(insert, row)
            self.rows += count
            self._last = int(cursor.lastrowid or 0)
            return self._last

    def head(self) -> Spooled | None:
        """Return the oldest batch, None if the spool is empty. Raises SpoolError."""
        with self._lock, self._spool_errors():
            row = self._connection.execute("SELECT id, data FROM batch ORDER BY id LIMIT 1").fetchone()
            return None if row is None else Spooled(row[0], Batch.load(row[1]))

    def leftover(self) -> Iterator[tuple[int, Batch]]:
        """Yield the batches of previous runs, the oldest first, each with its ``run_ns``. Raises SpoolError."""
        with self._lock, self._spool_errors():
            previous = "SELECT run, data FROM batch WHERE id <= ? ORDER BY id"
            for run_ns, data in self._connection.execute(previous, (self._previous,)):
                yield run_ns, Batch.load(data)

    def remove(self, number: int) -> None:
        """Delete a batch that is in the database. Raises SpoolError."""
        with self._lock, self._spool_errors():
            self._connection.execute("DELETE FROM batch WHERE id = ?", (number,))
            self.rows = int(self._value("SELECT coalesce(sum(count), 0) FROM batch"))

    @property
    def oldest(self) -> float | None:
        """Return when the oldest batch was spooled (seconds since 1970), None if the spool is empty."""
        with self._lock, self._spool_errors():
            value: float | None = self._value("SELECT min(spooled) FROM batch")
            return value

    @property
    def size(self) -> int:
        """Return the size of the file in bytes."""
        with self._lock, self._spool_errors():
            return int(self._value("PRAGMA page_count")) * int(self._value("PRAGMA page_size"))

    def set_aside(self) -> None:
        """Begin a new file; the old one is kept as ``.broken-<seconds since 1970>``. Raises SpoolError."""
        with self._lock, self._spool_errors():
            self._connection.close()
            self.path.rename(self.path.with_name(f"{self.path.name}.broken-{int(time.time())}"))
            self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
            self._open()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> None:
        with self._errors():
            self._connect()

    def _connect(self) -> None:
        self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        for pragma in _PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute(_SCHEMA)
        self._opened = self.path.stat()
        self.rows = int(self._value("SELECT coalesce(sum(count), 0) FROM batch"))

    def _begin_anew(self) -> None:
        """Open what is at the path now: the file was removed, moved or replaced. Numbers are never given again."""
        log.error(
            "%s: the spool was removed or replaced; %d samples that waited in it are not stored", self.path, self.rows
        )
        self._connection.close()
        self._connect()
        self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'batch' AND seq < ?", (self._last,))
        self._connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'batch', ? "
            "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'batch')",
            (self._last,),
        )

    def _check_room(self, wanted: int) -> None:
        if self.size + wanted > self._limit:
            raise SpoolError(
                f"{self.path}: the spool is full, at its limit of {self._limit / 1e6:g} MB (spool.limit)"
            )
        free = shutil.disk_usage(self.path.parent).free
        if free - wanted < self._floor:
            raise SpoolError(
                f"{self.path}: {free / 1e6:.0f} MB are free on the disk of the spool, and "
                f"{self._floor / 1e6:g} MB are to stay free (spool.floor): free some disk space"
            )

    def _value(self, sql: str) -> Any:
        return self._connection.execute(sql).fetchone()[0]

    @contextmanager
    def _spool_errors(self) -> Iterator[None]:
        """Find the file at its path, and raise errors as SpoolError."""
        with self._errors():
            if not same_file(self.path, self._opened):
                self._begin_anew()
            yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise errors of SQLite, the disk and the contents as SpoolError."""
        try:
            yield
        except (sqlite3.Error, zlib.error, ValueError, OSError) as error:
            raise SpoolError(f"{os.fspath(self.path)}: the spool cannot be used: {error}") from error


def _value(value: Any) -> Value:
    """Return a value of a JSON document, in which tuples are lists."""
    return tuple(value) if isinstance(value, list) else value


def _tuples(about: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in about.items()}
