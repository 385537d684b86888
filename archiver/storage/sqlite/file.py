"""Opening the SQLite file of an archive: how, in which version, and what to say when it cannot be done."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError

from archiver.storage.migrations import migrations
from archiver.storage.store import Rejected, StoreError
from archiver.storage.url import DatabaseUrl

PART = 512
"""Channels that settle together, by their numbers (db/sqlite/0002_large_archives.sql)."""

_HINTS = {
    "unable to open database file": "is its directory there and writable?",
    "database is locked": "another program has been writing to it for more than 5 s",
    "database or disk is full": "free some disk space",
    "attempt to write a readonly database": "give this user the right to write to it and to its directory",
    "file is not a database": "the configuration names a file that is something else",
}

_WRITER = (
    "PRAGMA journal_mode = WAL",  # readers and the writer do not wait for each other
    "PRAGMA synchronous = NORMAL",  # a power cut may take the last commits; a crash of the archiver none
    "PRAGMA journal_size_limit = 67108864",  # what a long reader made grow shrinks again
    "PRAGMA cache_size = -32000",  # kB: the pages of one step of settling
    "PRAGMA wal_autocheckpoint = 0",  # see checkpoints.py
)
_READER = ("PRAGMA query_only = ON",)


def file_name(url: DatabaseUrl) -> str:
    return str(url.nodes[0].database)


def connect_writer(url: DatabaseUrl) -> Connection:
    return _connect(url, _WRITER, "BEGIN IMMEDIATE")


@contextmanager
def writer(url: DatabaseUrl) -> Iterator[Connection]:
    """A connection for a short while."""
    with store_errors(file_name(url)):
        connection = connect_writer(url)
        try:
            yield connection
        finally:
            connection.close()
            connection.engine.dispose()


def connect_reader(url: DatabaseUrl) -> Connection:
    return _connect(url, _READER, "BEGIN")


def _connect(url: DatabaseUrl, pragmas: tuple[str, ...], begin: str) -> Connection:
    engine = create_engine(url.nodes[0])

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
    """0 for a file without our tables; a version from the future is refused, for nobody knows what it means."""
    version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    newest = migrations("sqlite")[-1].number
    if version > newest:
        raise StoreError(f"{file}: its schema is version {version}, this rackioc knows {newest}: update rackioc")
    return version


def migrate(connection: Connection, file: str) -> None:
    for step in migrations("sqlite"):
        with connection.begin():
            if step.number > schema_version(connection, file):
                for statement in step.statements():
                    connection.exec_driver_sql(statement)
                connection.exec_driver_sql(f"PRAGMA user_version = {step.number}")


@contextmanager
def store_errors(file: str) -> Iterator[None]:
    """Errors of the database as one sentence for the operator."""
    try:
        yield
    except (OverflowError, UnicodeEncodeError, sqlite3.IntegrityError) as error:
        raise Rejected(f"{file}: {error}") from error
    except DBAPIError as error:
        kind = Rejected if isinstance(error.orig, sqlite3.IntegrityError | sqlite3.DataError) else StoreError
        raise kind(_message(file, str(error.orig))) from error
    except sqlite3.Error as error:
        raise StoreError(_message(file, str(error))) from error


def _message(file: str, reason: str) -> str:
    hint = f" ({_HINTS[reason]})" if reason in _HINTS else ""
    return f"{file}: {reason}{hint}"
