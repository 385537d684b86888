"""The stores, readers and connections for the URL of a database."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import Connection

from archiver.storage.owner import Owner
from archiver.storage.store import Reader, Store
from archiver.storage.url import DatabaseUrl, url_of


def open_store(database: str, name: str = "rackioc") -> Store:
    """Return what writes the archive for an archiver of that name; its tables are created or migrated first.

    Raises StoreError; Gone, if another archiver has the name or the file.
    """
    url, owner = url_of(database), Owner.of(name)
    if url.backend == "mysql":
        from archiver.storage.mysql.store import MysqlStore  # noqa: PLC0415 - an archive in a file needs no PyMySQL

        return MysqlStore(url, owner)
    from archiver.storage.sqlite.store import SqliteStore  # noqa: PLC0415

    return SqliteStore(url, owner)


def open_reader(database: str) -> Reader:
    """Return what reads the archive. Raises StoreError."""
    url = url_of(database)
    if url.backend == "mysql":
        from archiver.storage.mysql.reader import MysqlReader  # noqa: PLC0415

        return MysqlReader(url)
    from archiver.storage.sqlite.reader import SqliteReader  # noqa: PLC0415

    return SqliteReader(url)


def connect(url: DatabaseUrl) -> AbstractContextManager[Connection]:
    """Return a connection for a short while, for tables beside the archive's. Raises StoreError."""
    if url.backend == "mysql":
        from archiver.storage.mysql.server import connection  # noqa: PLC0415

        return connection(url)
    from archiver.storage.sqlite.file import writer  # noqa: PLC0415

    return writer(url)
