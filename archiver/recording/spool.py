"""Where samples wait on disk while the database is away: an SQLite file, a batch a row, in order of arrival."""

from __future__ import annotations

import json
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

from archiver.sample import Dated, Metadata, Sample, Value
from archiver.storage.store import TableRow

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS batch (
        id INTEGER PRIMARY KEY AUTOINCREMENT, spooled REAL NOT NULL, run INTEGER NOT NULL, count INTEGER NOT NULL,
        data BLOB NOT NULL)"""

# A journal that stays takes no room to open: an archiver can start on a full disk with a spool that is there already.
_PRAGMAS = ("auto_vacuum = FULL", "journal_mode = PERSIST", "synchronous = FULL", "busy_timeout = 5000")


class SpoolError(Exception):
    """The spool takes no more: a sentence for the operator. What was not taken stays with the caller."""


@dataclass
class Batch:
    """What is stored together: samples, rows of the seeds' tables, and metadata by PV."""

    samples: list[Sample] = field(default_factory=list)
    rows: list[TableRow] = field(default_factory=list)
    metadata: dict[str, Dated] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.samples or self.rows or self.metadata)

    def dump(self) -> bytes:
        metadata = {pv: (dated.since_ns, asdict(dated.metadata)) for pv, dated in self.metadata.items()}
        return zlib.compress(json.dumps([self.samples, self.rows, metadata]).encode(), level=1)

    @classmethod
    def load(cls, data: bytes) -> Self:
        samples, rows, metadata = json.loads(zlib.decompress(data))
        return cls(
            [Sample(pv, time_ns, _value(value), *rest) for pv, time_ns, value, *rest in samples],
            [TableRow(table, tuple(columns), tuple(values), key) for table, columns, values, key in rows],
            {pv: Dated(since, Metadata(**_tuples(about))) for pv, (since, about) in metadata.items()},
        )


class Spooled(NamedTuple):
    """A batch in the spool."""

    id: int
    batch: Batch


class Spool:
    """Used from two threads: the one that stores, and the one that sees that storing takes too long.

    `run_ns`: when this run of the archiver began, as long as the database does not know where the former one ended;
    it is noted with each batch. Else 0.
    """

    def __init__(self, path: Path, limit: float, floor: float) -> None:
        self.path = path
        self._limit = limit
        self._floor = floor
        self._lock = RLock()
        self.rows = 0
        self.run_ns = 0
        self._open()
        self._previous = int(self._value("SELECT coalesce(max(id), 0) FROM batch"))

    def append(self, batch: Batch) -> int:
        """Keep a batch; the number under which it is to be removed. SpoolError when there is no room."""
        with self._lock, self._spool_errors():
            self._check_room(0)  # before the work
            data = batch.dump()
            self._check_room(len(data))
            count = len(batch.samples) + len(batch.rows)
            row = (time.time(), self.run_ns, count, data)
            insert = "INSERT INTO batch (spooled, run, count, data) VALUES (?, ?, ?, ?)"
            cursor = self._connection.execute(insert, row)
            self.rows += count
            return int(cursor.lastrowid or 0)

    def head(self) -> Spooled | None:
        """The oldest batch."""
        with self._lock, self._spool_errors():
            row = self._connection.execute("SELECT id, data FROM batch ORDER BY id LIMIT 1").fetchone()
            return None if row is None else Spooled(row[0], Batch.load(row[1]))

    def leftover(self) -> Iterator[tuple[int, Batch]]:
        """What former runs left here, the oldest first, each with its `run_ns`."""
        with self._lock, self._spool_errors():
            previous = "SELECT run, data FROM batch WHERE id <= ? ORDER BY id"
            for run_ns, data in self._connection.execute(previous, (self._previous,)):
                yield run_ns, Batch.load(data)

    def remove(self, number: int) -> None:
        """What was stored need not be kept."""
        with self._lock, self._spool_errors():
            self._connection.execute("DELETE FROM batch WHERE id = ?", (number,))
            self.rows = int(self._value("SELECT coalesce(sum(count), 0) FROM batch"))

    @property
    def oldest(self) -> float | None:
        """When the oldest batch came (seconds since 1970)."""
        with self._lock, self._spool_errors():
            value: float | None = self._value("SELECT min(spooled) FROM batch")
            return value

    @property
    def size(self) -> int:
        """Bytes of the file."""
        with self._lock, self._spool_errors():
            return int(self._value("PRAGMA page_count")) * int(self._value("PRAGMA page_size"))

    def set_aside(self) -> None:
        """Begin with a new file; the old one is kept for whoever can mend it."""
        with self._lock, self._spool_errors():
            self._connection.close()
            self.path.rename(self.path.with_name(f"{self.path.name}.broken-{int(time.time())}"))
            self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
            self._open()

    def close(self) -> None:
        self._connection.close()

    def _open(self) -> None:
        with self._spool_errors():
            self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            for pragma in _PRAGMAS:
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.execute(_SCHEMA)
            self.rows = int(self._value("SELECT coalesce(sum(count), 0) FROM batch"))

    def _check_room(self, wanted: int) -> None:
        if self.size + wanted > self._limit:
            raise SpoolError(f"{self.path}: the spool is at its limit of {self._limit / 1e6:g} MB (spool.limit)")
        free = shutil.disk_usage(self.path.parent).free
        if free - wanted < self._floor:
            raise SpoolError(
                f"{self.path}: {free / 1e6:.0f} MB are free on its disk, and {self._floor / 1e6:g} are to stay free "
                "(spool.floor): free some space"
            )

    def _value(self, sql: str) -> Any:
        return self._connection.execute(sql).fetchone()[0]

    @contextmanager
    def _spool_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, zlib.error, ValueError, OSError) as error:
            raise SpoolError(f"{os.fspath(self.path)}: the spool cannot be used: {error}") from error


def _value(value: Any) -> Value:
    """JSON knows no tuples."""
    return tuple(value) if isinstance(value, list) else value


def _tuples(about: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in about.items()}
