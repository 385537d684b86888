"""The spool, an SQLite file in which batches wait while the database is away, in order of arrival.

What cannot be read is set aside: a batch in the table ``aside``, the whole file under another name (see ``aside``).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple, TypeVar

from archiver.health import disk_free, same_file
from archiver.recording.batch import UNREADABLE, Batch
from archiver.units import counted

# The version of the file: its tables, and what is in a batch. One of a newer program is not read.
VERSION = 1

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS batch (
        id INTEGER PRIMARY KEY AUTOINCREMENT, spooled REAL NOT NULL, run INTEGER NOT NULL, count INTEGER NOT NULL,
        data BLOB NOT NULL)""",
    # of a whole file data is NULL; seen: somebody has looked at it
    """CREATE TABLE IF NOT EXISTS aside (
        id INTEGER PRIMARY KEY AUTOINCREMENT, since REAL NOT NULL, reason TEXT NOT NULL,
        seen INTEGER NOT NULL DEFAULT 0, spooled REAL, run INTEGER, count INTEGER NOT NULL DEFAULT 0, data BLOB)""",
    "SELECT id, spooled, run, count, data FROM batch LIMIT 0",
    "SELECT id, since, reason, seen, spooled, run, count, data FROM aside LIMIT 0",
    f"PRAGMA user_version = {VERSION}",
)

# of a damaged page columns may be anything: a time that cannot be true, before 1970 or from 2100 on, or none, is now
SPOOLED = """CASE WHEN CAST(spooled AS REAL) BETWEEN 1.0 AND 4102444800.0
    THEN CAST(spooled AS REAL) ELSE strftime('%s', 'now') + 0.0 END"""
RUN = "CAST(coalesce(run, 0) AS INTEGER)"
COUNT = "max(0, min(CAST(count AS INTEGER), 1000000000))"
_BATCH = f"SELECT id, {RUN}, {SPOOLED}, CAST(data AS BLOB) FROM batch"

# A journal that is kept needs no room to open: an archiver can start on a full disk with a spool that exists already.
_PRAGMAS = ("auto_vacuum = FULL", "journal_mode = PERSIST", "synchronous = FULL", "busy_timeout = 5000")


# Bytes of the shortest SQLite file: to SQLite a file that was cut off, to nothing, is a new one.
_HEADER = 100

# Errors of SQLite that are of the file, and not of its surroundings: another error passes, these do not.
_DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_NOTADB}

# What ``sqlite3`` raises: the latter where the message is to name what is no text any more.
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)

T = TypeVar("T")

log = logging.getLogger(__name__)


class SpoolError(Exception):
    """The spool cannot be used, or has no room: a sentence for the operator. The batch was not stored."""


class SpoolDamaged(SpoolError):
    """The file is not a spool of this version, or not whole."""


class Spooled(NamedTuple):
    """A batch in the spool, and its number there."""

    id: int
    batch: Batch


class Leftover(NamedTuple):
    """A batch of a previous run: its ``run_ns``, and when it was spooled (ns since 1970)."""

    run_ns: int
    spooled_ns: int
    batch: Batch


class Spool:
    """The spool, used by the writer's thread and by the one that calls its ``guard``.

    rows       how many samples and rows wait in it
    run_ns     when this run of the archiver began, until the end of the previous run is marked in the database; then
               0. It is stored with each batch.
    oldest     when the oldest batch was spooled (seconds since 1970), None if the spool is empty
    size       the size of the file in bytes
    aside      how many batches and files were set aside and not looked at, and how many samples at least are in them
    losses     how often a batch or a file was set aside or lost since the spool was opened
    """

    def __init__(self, path: Path, limit: float, floor: float) -> None:
        self.path = path
        self._limit = limit
        self._floor = floor
        self._lock = RLock()
        self.rows = 0
        self.run_ns = 0
        self.oldest: float | None = None
        self.size = 0
        self.aside = (0, 0)
        self.losses = 0
        self._data_version = 0
        self._last = 0
        self._open()
        self._previous = int(self._use(lambda: self._value("SELECT coalesce(max(id), 0) FROM batch")))

    def append(self, batch: Batch) -> int:
        """Store a batch; return the number under which it is removed later. Raises SpoolError if there is no room."""
        with self._lock:
            self._check_room(0)  # before the work
            data = batch.dump()
            self._check_room(len(data))
            count = max(1, len(batch.samples) + len(batch.rows))  # metadata alone wait, too
            number = self._use(lambda: self._insert(data, time.time(), count))
            self._use(self._count)
            return number

    def head(self) -> Spooled | None:
        """Return the oldest batch, None if there is none; one that cannot be read is set aside for the gap it leaves.

        Raises SpoolError.
        """
        with self._lock:
            oldest = f"{_BATCH} ORDER BY id LIMIT 1"
            row = self._use(lambda: self._connection.execute(oldest).fetchone())
            return Spooled(row[0], self._load(row)) if row else None

    def leftover(self) -> Iterator[Leftover]:
        """Yield the batches of previous runs, the oldest first. Raises SpoolError."""
        with self._lock:
            row: tuple[Any, ...] = (0,)
            following = f"{_BATCH} WHERE id > ? AND id <= ? ORDER BY id LIMIT 1"
            while row := self._use(lambda: self._connection.execute(following, (row[0], self._previous)).fetchone()):
                yield Leftover(row[1], int(row[2] * 1e9), self._load(row))

    def remove(self, number: int) -> None:
        """Delete a batch that is in the database. Raises SpoolError."""
        with self._lock:
            self._use(lambda: self._delete(number))
            self._use(self._count)

    def refresh(self) -> None:
        """Count again what waits, if another program has changed the file. Raises SpoolError."""
        with self._lock:
            if self._use(lambda: self._value("PRAGMA data_version")) != self._data_version:
                self._use(self._count)

    def set_aside(self, reason: str = "it cannot be read") -> None:
        """Begin a new file; the old one is kept as ``.broken-<seconds since 1970>``. Raises SpoolError."""
        with self._lock, self._spool_errors():
            self._connection.close()
            waited, since = self.rows, self.oldest
            kept = next(each for each in self._broken_names() if not each.exists())
            journal = self.path.with_name(f"{self.path.name}-journal")
            if journal.exists():  # it belongs to the file, and may be what it takes to read it
                journal.rename(kept.with_name(f"{kept.name}-journal"))
            self.path.rename(kept)
            self._prepare()
            self._note(f"{kept.name}: {reason}", waited, since)
            self._count()
            log.error("%s is damaged, or of another version: %s; it is set aside as %s", self.path, reason, kept.name)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> None:
        new = not self.path.exists()
        try:
            with self._spool_errors():
                self._prepare()
        except SpoolDamaged as error:
            self.set_aside(str(error.__cause__))
        except SpoolError:
            if new:  # an empty file would be taken for one that was emptied
                self.path.unlink(missing_ok=True)
            raise

    def _prepare(self) -> None:
        emptied = self.path.exists() and self.path.stat().st_size < _HEADER
        self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        if emptied:
            raise sqlite3.NotSupportedError("it is empty: what waited in it, if anything did, is lost")
        for pragma in _PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}")
        version = self._value("PRAGMA user_version")
        if version > VERSION:
            raise sqlite3.NotSupportedError(f"it is version {version} of a spool, this rackioc reads {VERSION}")
        for statement in _SCHEMA:
            self._connection.execute(statement)
        if self._last:  # a new file: numbers are never given again
            self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'batch' AND seq < ?", (self._last,))
            self._connection.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT 'batch', ? "
                "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'batch')",
                (self._last,),
            )
        self._opened = self.path.stat()
        self._count()

    def _find(self) -> None:
        """Open what is at the path now, if the file was removed, moved or replaced."""
        if same_file(self.path, self._opened):
            return
        log.error(
            "%s: the spool was removed or replaced; not stored of what waited in it: %s",
            self.path,
            counted(self.rows, "sample"),
        )
        self._connection.close()
        waited, since = self.rows, self.oldest
        self._prepare()
        if waited:
            self._note(f"{self.path.name}: it was removed or replaced while it was in use", waited, since)
            self._count()

    def _note(self, reason: str, waited: int, since: float | None) -> None:
        """Record in the new file how many samples waited, and since when, in one that is not used any more."""
        self.losses += 1
        insert = "INSERT INTO aside (since, reason, count) VALUES (?, ?, ?)"
        self._connection.execute(insert, (time.time(), reason, waited))
        if since is not None:
            self._insert(Batch(lost_ns=int(since * 1e9)).dump(), since, 1)

    def _insert(self, data: bytes, spooled: float, count: int) -> int:
        insert = "INSERT INTO batch (spooled, run, count, data) VALUES (?, ?, ?, ?)"
        self._last = self._connection.execute(insert, (spooled, self.run_ns, count, data)).lastrowid or 0
        return self._last

    def _use(self, action: Callable[[], T]) -> T:
        """Return what an action on the file at the path returns; a damaged one is set aside for a new one."""
        try:
            with self._spool_errors():
                self._find()
                return action()
        except SpoolDamaged as error:
            self.set_aside(str(error.__cause__))
        with self._spool_errors():
            return action()

    def _load(self, row: tuple[int, int, float, bytes]) -> Batch:
        """Return the batch of a row; one that cannot be read is set aside, alone, and the gap it leaves returned."""
        number, _, spooled, data = row
        try:
            return Batch.load(data)
        except UNREADABLE as error:
            reason = f"{type(error).__name__}: {error}"
        lost = Batch.lost(data, int(spooled * 1e9))
        self._use(lambda: self._move_aside(number, reason, lost))
        return lost

    def _delete(self, number: int) -> None:
        if not self._connection.execute("DELETE FROM batch WHERE id = ?", (number,)).rowcount:
            self._check_gone(number)

    def _check_gone(self, number: int) -> None:
        """Raise an error of the file if a batch that is not found by its number is there: its pages are in disorder.

        It would stay the oldest one for ever, and no other would be stored.
        """
        if self._connection.execute("SELECT 1 FROM batch WHERE +id = ?", (number,)).fetchone():  # read one by one
            raise sqlite3.NotSupportedError(f"batch {number} is there and is not found by its number")

    def _move_aside(self, number: int, reason: str, lost: Batch) -> None:
        """Move a batch to those set aside; in its place is what is lost with it, until that is marked."""
        move = f"""INSERT INTO aside (since, reason, spooled, run, count, data)
            SELECT ?, ?, spooled, run, {COUNT}, data FROM batch WHERE id = ?"""
        with transaction(self._connection):
            found = self._connection.execute(f"SELECT {COUNT} FROM batch WHERE id = ?", (number,)).fetchone()
            if found in {None, (None,)}:
                self._check_gone(number)
                return
            self._connection.execute(move, (time.time(), reason, number))
            replace = "UPDATE batch SET count = ?, data = ? WHERE id = ?"
            self._connection.execute(replace, (max(1, len(lost.samples)), lost.dump(), number))
        self.losses += 1
        self._count()
        (count,) = found
        log.error(
            "%s: a batch of %s cannot be read: %s; it is set aside there", self.path, counted(count, "sample"), reason
        )

    def _count(self) -> None:
        self._data_version = self._value("PRAGMA data_version")
        waiting = f"SELECT coalesce(sum({COUNT}), 0), min({SPOOLED}) FROM batch"
        self.rows, self.oldest = self._connection.execute(waiting).fetchone()
        aside = f"SELECT count(*), coalesce(sum({COUNT}), 0) FROM aside WHERE NOT seen"
        self.aside = self._connection.execute(aside).fetchone()
        self.size = int(self._value("PRAGMA page_count")) * int(self._value("PRAGMA page_size"))

    def _check_room(self, wanted: int) -> None:
        if self.size + wanted > self._limit:
            raise SpoolError(
                f"{self.path}: the spool is full, at its limit of {self._limit / 1e6:g} MB (spool.limit)"
            )
        free = disk_free(self.path)
        if free - wanted < self._floor:
            raise SpoolError(
                f"{self.path}: {free / 1e6:.0f} MB are free on the disk of the spool, and "
                f"{self._floor / 1e6:g} MB are to stay free (spool.floor): free some disk space"
            )

    def _broken_names(self) -> Iterator[Path]:
        name = f"{self.path.name}.broken-{int(time.time())}"
        return (self.path.with_name(f"{name}{suffix}") for suffix in chain([""], (f".{n}" for n in count(1))))

    def _value(self, sql: str) -> Any:
        return self._connection.execute(sql).fetchone()[0]

    @contextmanager
    def _spool_errors(self) -> Iterator[None]:
        """Raise errors of SQLite and the disk as SpoolError, those of the file as SpoolDamaged."""
        try:
            yield
        except (*SQLITE_ERRORS, OSError) as error:
            code = getattr(error, "sqlite_errorcode", None)
            damaged = isinstance(error, (sqlite3.NotSupportedError, UnicodeDecodeError)) or (
                code is not None and code & 0xFF in _DAMAGE
            )
            kind = SpoolDamaged if damaged else SpoolError
            raise kind(f"{os.fspath(self.path)}: the spool cannot be used: {error}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit all that is done within, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
