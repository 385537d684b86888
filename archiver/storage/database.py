"""From the URL of a database to what writes and reads it."""

from contextlib import AbstractContextManager

from sqlalchemy import Connection

from archiver.seedtables import prepare, tables
from archiver.settings import Archive
from archiver.store import Reader, Store
from archiver.url import DatabaseUrl, url_of


def open_store(database: str) -> Store:
    """What writes the archive; its tables are made or brought up to date first."""
    url = url_of(database)
    if url.backend == "mysql":
        from archiver.mysql import MysqlStore  # noqa: PLC0415 - an archive in a file needs no PyMySQL

        return MysqlStore(url)
    from archiver.sqlite import SqliteStore  # noqa: PLC0415

    return SqliteStore(url)


def open_reader(database: str) -> Reader:
    url = url_of(database)
    if url.backend == "mysql":
        from archiver.mysql_reader import MysqlReader  # noqa: PLC0415

        return MysqlReader(url)
    from archiver.sqlite_reader import SqliteReader  # noqa: PLC0415

    return SqliteReader(url)


def make_seed_tables(archive: Archive) -> None:
    """The tables of the former loggers, if the configuration asks for them; those that are there stay as they are."""
    if wanted := tables(archive):
        with _connection(url_of(archive.database)) as connection:
            prepare(connection, wanted)


def _connection(url: DatabaseUrl) -> AbstractContextManager[Connection]:
    if url.backend == "mysql":
        from archiver.mysql_server import connection  # noqa: PLC0415

        return connection(url)
    from archiver.sqlite_file import writer  # noqa: PLC0415

    return writer(url)
