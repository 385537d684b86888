"""The creation, migration and description of an archive on MySQL and MariaDB servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from pymysql.constants import ER
from pymysql.cursors import Cursor
from sqlalchemy.engine import URL

from archiver.storage.migrations import migrations
from archiver.storage.mysql.ends import end_of
from archiver.storage.mysql.server import ALONE_S, MysqlSession, connect, where, without_database
from archiver.storage.mysql.tables import months, schema
from archiver.storage.owner import ARCHIVERS, alive
from archiver.storage.store import StoreError
from archiver.storage.url import DatabaseUrl
from archiver.times import format_time

_END = "SELECT FLOOR(UNIX_TIMESTAMP({0}(at_end)) * 1000000) FROM (SELECT {1} AS at_end FROM channel) AS ends"

_SIZE = "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()"

_ESTIMATE = """
    SELECT COALESCE(SUM(table_rows), 0) FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name = 'sample'"""

# How long a table may take that is written anew.
_COMPACT_S = 86_400


class MysqlManager:
    """An archive on MySQL or MariaDB servers, as a ``Manager``."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        self._name = str(url.nodes[0].database)

    def version(self) -> int | None:
        """Return the version of its schema, 0 if there are no tables; None if there is no database."""
        if not self._exists():
            return None
        with self._cursor(self._url) as (cursor, place):
            return schema.schema_version(cursor, place)

    def migrate(self) -> None:
        """Create the database if it does not exist, and migrate its tables to the newest version."""
        if not self._exists():
            self._create()
        schema.migrate(self._url)

    def tables(self) -> list[str]:
        """Return the names of all tables of the database."""
        with self._cursor(self._url) as (cursor, _):
            return _tables(cursor)

    def status(self) -> list[tuple[str, str]]:
        """Return what describes the archive, and the state of each node of a cluster."""
        newest = migrations("mysql")[-1].number
        with self._cursor(self._url) as (cursor, place):
            version = schema.schema_version(cursor, place)
            lines = [
                ("database", place),
                ("server", _server(cursor)),
                ("schema", f"version {version}, newest {newest}"),
                ("size on disk", f"{_one(cursor, _SIZE) / 1_000_000:,.1f} MB"),
                ("channels", f"{_one(cursor, 'SELECT COUNT(*) FROM channel'):,}"),
                ("rows", f"about {_one(cursor, _ESTIMATE):,}"),
                *_times(cursor),
                ("months", _months(cursor)),
            ]
            if version == newest:
                cursor.execute(ARCHIVERS)
                lines += [(f"archiver {name}", alive(alive_ns)) for name, alive_ns in cursor.fetchall()]
        if len(self._url.nodes) > 1:
            lines += [(f"node {where(node)}", _state(node)) for node in self._url.nodes]
        return lines

    def compact(self) -> None:
        """Write all tables anew, without the free space within them; divide by month those that are not.

        Others may read meanwhile, and write but to a table that is divided.
        """
        with self._cursor(self._url, _COMPACT_S) as (cursor, place):
            tables = _tables(cursor)
            divided = months.divide_all(cursor)
            for table in [each for each in tables if each not in divided]:
                cursor.execute(f"OPTIMIZE TABLE `{table}`")
                for _, _, kind, told in cursor.fetchall():
                    if kind == "error":
                        raise StoreError(f"{place}: {table} was not compacted: {told}")

    def size(self) -> float:
        """Return the bytes on disk, as the server estimates them."""
        with self._cursor(self._url) as (cursor, _):
            return float(_one(cursor, _SIZE))

    def _exists(self) -> bool:
        with self._cursor(without_database(self._url)) as (cursor, _):
            return cursor.execute("SHOW DATABASES WHERE `Database` = %s", (self._name,)) > 0

    def _create(self) -> None:
        quoted = "`" + self._name.replace("`", "``") + "`"
        statement = f"CREATE DATABASE {quoted} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        try:
            with self._cursor(without_database(self._url)) as (cursor, _):
                cursor.execute(statement)
        except StoreError as error:
            if error.__cause__ and error.__cause__.args[0] == ER.DBACCESS_DENIED_ERROR:
                user = self._url.nodes[0].username
                raise StoreError(
                    f"{where(self._url.nodes[0])}: the user {user} may neither use nor create this database: as "
                    f"administrator execute {statement}; GRANT ALL ON {quoted}.* TO '{user}'@'%';"
                ) from error
            raise

    @contextmanager
    def _cursor(self, url: DatabaseUrl, patience_s: int = ALONE_S) -> Iterator[tuple[Cursor, str]]:
        with (
            closing(MysqlSession(url, writing=False, patience_s=patience_s)) as session,
            session.transaction() as cursor,
        ):
            yield cursor, session.where


def _tables(cursor: Cursor) -> list[str]:
    cursor.execute("SHOW FULL TABLES WHERE table_type = 'BASE TABLE'")
    return [table for table, _ in cursor.fetchall()]


def _times(cursor: Cursor) -> list[tuple[str, str]]:
    parts = [f"sample PARTITION ({part.name})" for part in months.parts(cursor, months.SAMPLE)] or ["sample"]
    used = [part for part in parts if months.count(cursor, part, 1)]
    ends = {"oldest row": (used[:1], "MIN", "ASC"), "newest row": (used[-1:], "MAX", "DESC")}
    lines = []
    for title, (found, *end) in ends.items():
        time_us = next((_one(cursor, _end(part, *end)) for part in found), None)
        lines.append((title, "none" if time_us is None else format_time(int(time_us) * 1000)))
    return lines


def _end(part: str, least: str, order: str) -> str:
    return _END.format(least, end_of("smpl_time", "channel", part, order=order))


def _months(cursor: Cursor) -> str:
    found = months.parts(cursor, months.SAMPLE)
    if not found:
        return "not divided: space that becomes free is used again; rackioc db compact divides it"
    return f"since {format_time(int(found[0].end_s) * 10**9)[:7]}"


def _server(cursor: Cursor) -> str:
    version = str(_one(cursor, "SELECT VERSION()"))
    return f"MariaDB {version.partition('-')[0]}" if "MariaDB" in version else f"MySQL {version}"


def _state(node: URL) -> str:
    """Return ``ready``, or why a node cannot be used."""
    try:
        connect(node, writing=True).close()
    except StoreError as error:
        return str(error)
    return "ready"


def _one(cursor: Cursor, sql: str) -> Any:
    cursor.execute(sql)
    row: Any = cursor.fetchone()
    return row[0]
