"""`rackioc db`: make an archive, bring it up to date, say what it is like."""

from __future__ import annotations

from typing import Protocol

from archiver.storage.store import StoreError
from archiver.storage.url import url_of

Lines = list[tuple[str, str]]
"""Names and values for people."""


class Manager(Protocol):
    """An archive on one kind of database."""

    def version(self) -> int | None:
        """Of its schema, 0 if there are no tables; None if there is no database."""

    def migrate(self) -> None:
        """Make the database where it is missing, and bring its tables to the newest version."""

    def status(self) -> Lines: ...


def init(database: str) -> None:
    """Make the archive; harmless where there is one."""
    _manager(database).migrate()


def migrate(database: str) -> None:
    """Bring an archive up to date; StoreError where there is none."""
    manager = _existing(database)
    manager.migrate()


def status(database: str) -> Lines:
    """What the archive is like; StoreError where there is none."""
    return _existing(database).status()


def _existing(database: str) -> Manager:
    manager = _manager(database)
    if not manager.version():
        raise StoreError(f"{url_of(database).shown}: there is no archive of rackioc: `rackioc db init` makes it")
    return manager


def _manager(database: str) -> Manager:
    url = url_of(database)
    if url.backend == "mysql":
        from archiver.storage.mysql.manage import MysqlManager  # noqa: PLC0415 - an archive in a file needs no PyMySQL

        return MysqlManager(url)
    from archiver.storage.sqlite.manage import SqliteManager  # noqa: PLC0415

    return SqliteManager(url)
