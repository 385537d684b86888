"""The SQLite file of an archive: its connections, its version, and its errors as sentences for the operator."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from archiver.storage.migrations import migrations
from archiver.storage.store import Rejected, Space, StoreError
from archiver.storage.url import DatabaseUrl

# Channels that settle together, by their ids (db/sqlite/0002_large_archives.sql).
PART = 512

_MALFORMED = "database disk image is malformed"
# An error of SQLite -> what to do, or what it means.
_HINTS = {
    "unable to open database file": "is its directory there and writable?",
    "database is locked": "another program has been writing to it for more than 5 s",
    "database or disk is full": "free some disk space",
    "attempt to write a readonly database": (
        "this user needs the right to write to it, to its directory, and to its -wal and -shm if they are there"
    ),
    "file is not a database": "archive.database names a file of another kind, or it is damaged: restore a backup",
    _MALFORMED: "it is damaged: rackioc db salvage brings what can be read to a new one",
    "disk I/O error": "look at the disk: the system's log says more",
}

_WRITER = (
    "PRAGMA auto_vacuum = INCREMENTAL",  # of a new file, or one that is compacted: see upkeep.shrink
    "PRAGMA journal_mode = WAL",  # readers and the writer do not wait for each other
    "PRAGMA synchronous = NORMAL",  # a power cut may cost the last commits; a crash of the archiver none
    "PRAGMA journal_size_limit = 67108864",  # the log that grew during a long read shrinks again
    "PRAGMA cache_size = -32000",  # kB: the pages of one step of settling
    "PRAGMA wal_autocheckpoint = 0",  # see checkpoints.py
)
_READER = ("PRAGMA query_only = ON",)

# The bytes at _MODE_AT of a file that SQLite reads by a log beside it.
_MODE_AT, _BY_LOG = 18, b"\2\2"


def file_name(url: DatabaseUrl) -> str:
    """Return the path of the file."""
    return str(url.nodes[0].database)


def connect_writer(url: DatabaseUrl) -> Connection:
    """Return a connection for writing; the file is created if it does not exist."""
    return _connect(create_engine(url.nodes[0]), _WRITER, "BEGIN IMMEDIATE")


@contextmanager
def writer(url: DatabaseUrl) -> Iterator[Connection]:
    """Return a connection for writing, for a short while. Raises StoreError."""
    with store_errors(file_name(url)):
        connection = connect_writer(url)
        try:
            yield connection
        finally:
            connection.close()
            connection.engine.dispose()


def connect_reader(url: DatabaseUrl) -> Connection:
    """Return a connection for reading, which changes no file.

    The last connection that may write to a file writes its log into it when it closes. Another file may have been
    moved to this path, and the log be that of the one before still: it would be written over the pages of the other.

    Raises StoreError also where SQLite would make a log to which the file's owner, the archiver, may not write.
    """
    file = os.path.realpath(file_name(url))  # beside which the log is, whatever links lead there
    has_log, has_index = (Path(f"{file}{suffix}").exists() for suffix in ("-wal", "-shm"))
    if not (has_log and has_index) and _is_of_another(file):
        raise StoreError(
            f"{file_name(url)}: no archiver has it open, and to read it SQLite would make files beside it to which "
            "the archiver could not write: read it as the archiver's user, or a copy made with rackioc db backup"
        )
    if not has_log:  # there is none to be written; SQLite has to make one, and removes it again
        return _connect(create_engine(url.nodes[0]), _READER, "BEGIN")
    return _connect(
        create_engine(url.nodes[0], creator=lambda: read_only(file, check_same_thread=False)), _READER, "BEGIN"
    )


def read_only(file: str, *, check_same_thread: bool = True) -> sqlite3.Connection:
    """Return a connection that cannot write to the file, nor its log into it."""
    return sqlite3.connect(f"file:{quote(file)}?mode=ro", uri=True, check_same_thread=check_same_thread)


def is_there(file: str) -> bool:
    """Return whether there is a file; SQLite would make one. Raises StoreError if that cannot be seen."""
    try:
        return Path(file).is_file()
    except OSError as error:
        raise StoreError(f"{Path(file).absolute()} cannot be read: {error.strerror}") from None


def require(file: str) -> None:
    """Raise StoreError if there is no file."""
    if not is_there(file):
        raise StoreError(f"{Path(file).absolute()}: this file does not exist")


def _is_of_another(file: str) -> bool:
    """Return whether a file that is read by a log belongs to another user, and this one may not write to it.

    SQLite does not remove what it made to read it, for it removes a log only when all of it is in the file.
    """
    try:
        with Path(file).open("rb") as opened:
            opened.seek(_MODE_AT)
            by_log = opened.read(len(_BY_LOG)) == _BY_LOG
            of_another = os.fstat(opened.fileno()).st_uid != os.geteuid()
    except OSError:
        return False  # SQLite says what is wrong
    return by_log and of_another and not os.access(file, os.W_OK)


def _connect(engine: Engine, pragmas: tuple[str, ...], begin: str) -> Connection:
    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # sqlite3 would begin no transaction before a CREATE TABLE
        for pragma in ("PRAGMA busy_timeout = 5000", *pragmas):
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine.connect()


def schema_version(connection: Connection, file: str) -> int:
    """Return the version of the schema, 0 for a file without our tables. Raises StoreError if it is newer."""
    version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    newest = migrations("sqlite")[-1].number
    if version > newest:
        raise StoreError(f"{file}: its schema is version {version}, this rackioc supports {newest}: update rackioc")
    return version


def migrate(connection: Connection, file: str) -> None:
    """Migrate the tables to the newest version, each step in a transaction."""
    for step in migrations("sqlite"):
        with connection.begin():
            if step.number > schema_version(connection, file):
                for statement in step.statements():
                    connection.exec_driver_sql(statement)
                connection.exec_driver_sql(f"PRAGMA user_version = {step.number}")


def space(connection: Connection, file: str) -> Space:
    """Return what the pages in use take, and what is free on the disk and in pages that rows may use again."""
    pages, unused, size = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_count", "freelist_count", "page_size")
    )
    free = shutil.disk_usage(Path(file).absolute().parent).free
    return Space(float((pages - unused) * size), float(free + unused * size))


@contextmanager
def store_errors(file: str) -> Iterator[None]:
    """Raise errors of the database as StoreError with one sentence; as Rejected for rows that are never accepted."""
    try:
        yield
    except (OverflowError, UnicodeEncodeError, sqlite3.IntegrityError) as error:
        raise Rejected(f"{file}: {error}") from error
    except DBAPIError as error:
        kind = Rejected if isinstance(error.orig, sqlite3.IntegrityError | sqlite3.DataError) else StoreError
        raise kind(_message(file, str(error.orig))) from error
    except sqlite3.Error as error:
        raise StoreError(_message(file, str(error))) from error
    except UnicodeDecodeError as error:  # a text, or SQLite's own message with one
        raise StoreError(_message(file, _MALFORMED)) from error


def _message(file: str, reason: str) -> str:
    known = _MALFORMED if reason.startswith("malformed database schema") else reason
    hint = f" ({_HINTS[known]})" if known in _HINTS else ""
    return f"{file}: {reason}{hint}"
