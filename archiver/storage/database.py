"""The stores, readers and connections for the URL of a database."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import Connection

from archiver.storage.owner import Owner
from archiver.storage.store import Reader, Store
from archiver.storage.transfer.contract import Source, Target
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
    from archiver.storage.renamed import with_renames  # noqa: PLC0415 - its numpy takes long to load

    url = url_of(database)
    if url.backend == "mysql":
        from archiver.storage.mysql.reader import MysqlReader  # noqa: PLC0415

        return with_renames(MysqlReader(url))
    from archiver.storage.sqlite.reader import SqliteReader  # noqa: PLC0415

    return with_renames(SqliteReader(url))


def open_source(database: str) -> Source:
    """Return what reads the rows of an archive as they are, for a copy. Raises StoreError."""
    url = url_of(database)
    if url.backend == "mysql":
        from archiver.storage.mysql.source import MysqlSource  # noqa: PLC0415

        return MysqlSource(url)
    from archiver.storage.sqlite.source import SqliteSource  # noqa: PLC0415

    return SqliteSource(url)


def open_target(database: str) -> Target:
    """Return what takes the rows of another archive. Raises StoreError; an archiver that writes to a file is told."""
    url = url_of(database)
    if url.backend == "mysql":
        from archiver.storage.mysql.target import MysqlTarget  # noqa: PLC0415

        return MysqlTarget(url)
    from archiver.storage.sqlite.target import SqliteTarget  # noqa: PLC0415

    return SqliteTarget(url)


def connect(url: DatabaseUrl) -> AbstractContextManager[Connection]:
    """Return a connection for a short while, for tables beside the archive's. Raises StoreError."""
    if url.backend == "mysql":
        from archiver.storage.mysql.server import connection  # noqa: PLC0415

        return connection(url)
    from archiver.storage.sqlite.file import writer  # noqa: PLC0415

    return writer(url)
