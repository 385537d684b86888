"""The creation, migration and description of an archive in an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from archiver.storage.migrations import migrations
from archiver.storage.owner import ARCHIVERS, alive
from archiver.storage.sqlite import backup, file
from archiver.storage.url import DatabaseUrl
from archiver.times import format_time

# Rows that are counted exactly, at most: counting more takes too long.
COUNTED = 1_000_000

_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"

_TIMES = """
    SELECT min(oldest), max(newest) FROM (
        SELECT (SELECT min(smpl_time) FROM sample_settled WHERE channel_id = channel.channel_id) AS oldest,
               (SELECT max(smpl_time) FROM sample_settled WHERE channel_id = channel.channel_id) AS newest
        FROM channel
        UNION ALL SELECT min(smpl_time), max(smpl_time) FROM sample_recent)"""


class SqliteManager:
    """An archive in an SQLite file, as a ``Manager``."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        self._file = Path(file.file_name(url))

    def version(self) -> int | None:
        """Return the version of its schema, 0 if there are no tables; None if there is no file."""
        if not file.is_there(str(self._file)):
            return None
        with self._reading() as connection:
            return file.schema_version(connection, str(self._file))

    def migrate(self) -> None:
        """Create the file if it does not exist, and migrate its tables to the newest version."""
        with file.writer(self._url) as connection:
            file.migrate(connection, str(self._file))

    def tables(self) -> list[str]:
        """Return the names of all tables of the file."""
        with self._reading() as connection:
            return [name for (name,) in connection.exec_driver_sql(_TABLES)]

    def status(self) -> list[tuple[str, str]]:
        """Return what describes the archive; without rows and times if its schema is not the newest."""
        version, newest = self.version(), migrations("sqlite")[-1].number
        lines = [
            ("database", str(self._file.absolute())),
            ("server", f"SQLite {sqlite3.sqlite_version}"),
            ("schema", f"version {version}, newest {newest}"),
            ("size on disk", f"{self.size() / 1e6:,.1f} MB"),
        ]
        if version == newest:
            with self._reading() as connection:
                lines += _contents(connection)
        return lines

    def compact(self) -> None:
        """Write all anew, without the free space within it."""
        backup.compact(self._url)

    def size(self) -> float:
        """Return the bytes on disk, with the log."""
        return sum(path.stat().st_size for path in self._files() if path.exists())

    def _files(self) -> list[Path]:
        return [self._file.with_name(f"{self._file.name}{suffix}") for suffix in ("", "-wal", "-shm")]

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with file.store_errors(str(self._file)):
            connection = file.connect_reader(self._url)
            try:
                yield connection
            finally:
                connection.close()
                connection.engine.dispose()


def _contents(connection: Connection) -> list[tuple[str, str]]:
    channels = connection.exec_driver_sql("SELECT count(*) FROM channel").scalar_one()
    limited = f"SELECT count(*) FROM (SELECT 1 FROM sample LIMIT {COUNTED + 1})"
    rows = int(connection.exec_driver_sql(limited).scalar_one())
    oldest, newest = connection.exec_driver_sql(_TIMES).one()
    free, size, gives = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("freelist_count", "page_size", "auto_vacuum")
    )
    spare = (
        "used again, and given back when there is much" if gives else "used again; rackioc db compact gives it back"
    )
    return [
        ("free in the file", f"{free * size / 1e6:,.1f} MB, {spare}"),
        ("channels", f"{channels:,}"),
        ("rows", f"{rows:,}" if rows <= COUNTED else f"more than {COUNTED:,}"),
        ("oldest row", "none" if oldest is None else format_time(oldest)),
        ("newest row", "none" if newest is None else format_time(newest)),
        *((f"archiver {name}", alive(alive_ns)) for name, alive_ns in connection.exec_driver_sql(ARCHIVERS)),
    ]
