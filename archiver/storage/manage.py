"""The commands ``rackioc db``: create an archive, migrate it, describe it."""

from __future__ import annotations

from typing import Protocol

from archiver.storage.store import StoreError
from archiver.storage.transfer.tables import others
from archiver.storage.url import url_of

# Names and values for users.
Lines = list[tuple[str, str]]


class Manager(Protocol):
    """An archive on one kind of database."""

    def version(self) -> int | None:
        """Return the version of its schema, 0 if there are no tables; None if there is no database."""

    def migrate(self) -> None:
        """Create the database if it does not exist, and migrate its tables to the newest version."""

    def compact(self) -> None:
        """Write all anew, without the free space within it."""

    def size(self) -> float:
        """Return the bytes on disk."""

    def tables(self) -> list[str]:
        """Return the names of all tables of the database."""

    def status(self) -> Lines:
        """Return what describes the archive: place, server, version, size, rows, times."""


def init(database: str) -> None:
    """Create the archive; one that exists is migrated. Raises StoreError."""
    _manager(database).migrate()


def migrate(database: str) -> None:
    """Migrate an archive to the newest version. Raises StoreError, also if there is none."""
    manager = existing(database)
    manager.migrate()


def status(database: str) -> Lines:
    """Return what describes the archive. Raises StoreError, also if there is none."""
    return existing(database).status()


def exists(database: str) -> bool:
    """Return whether there is an archive, of whatever version. Raises StoreError."""
    return bool(_manager(database).version())


def other_tables(database: str) -> list[str]:
    """Return the tables beside an archive's own, which only the backup of a file has. Raises StoreError."""
    return others(existing(database).tables())


def compact(database: str) -> tuple[float, float]:
    """Give free space within the archive back to the disk; return its bytes before and after. Raises StoreError."""
    manager = existing(database)
    before = manager.size()
    manager.compact()
    return before, manager.size()


def existing(database: str) -> Manager:
    """Return an archive, of whatever version. Raises StoreError if there is none."""
    manager = _manager(database)
    if not manager.version():
        raise StoreError(f"{url_of(database).shown}: there is no archive of rackioc; create it with rackioc db init")
    return manager


def _manager(database: str) -> Manager:
    url = url_of(database)
    if url.backend == "mysql":
        from archiver.storage.mysql.manage import MysqlManager  # noqa: PLC0415 - an archive in a file needs no PyMySQL

        return MysqlManager(url)
    from archiver.storage.sqlite.manage import SqliteManager  # noqa: PLC0415

    return SqliteManager(url)
