"""Where the archives of a bench are: SQLite files in a folder, or a private MariaDB server with its data there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Protocol

import pymysql
import typer
from pymysql.cursors import Cursor
from sqlalchemy.engine import make_url

from bench.rig import contest
from bench.rig.mariadb import Server

BUFFER_POOL = "1G"
# Of the server, besides what the Debian package sets; it starts with nothing in memory.
OPTIONS = (f"--innodb-buffer-pool-size={BUFFER_POOL}", "--innodb-buffer-pool-load-at-startup=OFF")


class Backend(StrEnum):
    """A database that rackioc can write to."""

    sqlite = "sqlite"
    mariadb = "mariadb"


Database = Annotated[Backend, typer.Option(help="Which database.")]
Directory = Annotated[
    Path | None, typer.Option(help="Keep the filled archives here, for the next run; made when it is not there.")
]


class Databases(Protocol):
    """The databases of a bench; ``title`` is what a table says about them."""

    kind: Backend
    title: str

    def create(self, name: str) -> str:
        """Create an empty database in the place of one of that name; returns its URL."""

    def url(self, name: str) -> str:
        """Return the URL of a database that may exist."""

    def drop_caches(self, name: str) -> None:
        """Drop what is in memory of a database, here and in the kernel."""


class SqliteFiles:
    """A file for each name, in one folder."""

    kind = Backend.sqlite
    title = "SQLite"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create(self, name: str) -> str:
        """Create an empty archive; returns its URL."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._file(name)}{suffix}").unlink(missing_ok=True)
        return self.url(name)

    def url(self, name: str) -> str:
        """Return the URL of an archive that may exist."""
        return f"sqlite:///{self._file(name)}"

    def drop_caches(self, name: str) -> None:
        """Drop what the kernel has of the files."""
        _forget(self._file(name))

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.sqlite"


class MariadbDatabases:
    """The databases of one server."""

    kind = Backend.mariadb
    title = f"MariaDB, buffer pool {BUFFER_POOL}"

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self._directory = directory

    def create(self, name: str) -> str:
        """Create an empty archive; returns its URL."""
        self.server.execute(f"DROP DATABASE IF EXISTS {name}")
        return self.server.create(name)

    def url(self, name: str) -> str:
        """Return the URL of an archive that may exist."""
        return self.server.url(name)

    def drop_caches(self, name: str) -> None:
        """Stop the server, drop what the kernel has of its files, and start it."""
        self.server.stop()
        for file in (self._directory / "data" / name).iterdir():
            _forget(file)
        self.server.start()


@contextmanager
def databases(kind: Backend, directory: Path | None) -> Iterator[SqliteFiles | MariadbDatabases]:
    """Yield databases in a directory that is kept, or in one that is removed afterwards."""
    contest.clean_up_when_terminated()
    with tempfile.TemporaryDirectory(prefix="rackioc-bench-") as temporary:
        Path(temporary).chmod(0o755)  # the server is no root
        place = (directory or Path(temporary)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        if kind is Backend.sqlite:
            yield SqliteFiles(place)
            return
        server = Server(place / "mariadb", OPTIONS)
        try:
            server.start()
            yield MariadbDatabases(server, place / "mariadb")
        finally:
            server.stop()


def connect(url: str) -> pymysql.Connection[Cursor]:
    """Open a connection of PyMySQL on its own, in UTC."""
    node = make_url(url)
    return pymysql.connect(
        host=node.host,
        port=node.port or 0,
        user=node.username,
        password=node.password or "",
        database=node.database,
        charset="utf8mb4",
        local_infile=True,
        init_command="SET time_zone = '+00:00'",
    )


def _forget(file: Path) -> None:
    """Let the kernel drop a file's pages."""
    number = os.open(file, os.O_RDONLY)
    try:
        os.fsync(number)  # what is not yet written stays
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(number)
