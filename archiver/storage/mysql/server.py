"""Connections to MySQL and MariaDB servers: the choice of the node, and the settings of the session."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Protocol, cast

import pymysql
from pymysql.cursors import Cursor
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from archiver.storage.mysql.errors import is_unfit, store_errors
from archiver.storage.store import Space, StoreError
from archiver.storage.url import DatabaseUrl

# How long a connection may take, and an answer: of a single server, and of a node of a cluster, where another one is
# to be in use within 5 s.
CONNECT_S = 2
ALONE_S, CLUSTER_S = 30, 3

# Characters of a text that a query puts together of rows, at most.
TEXT_SIZE = 1_000_000
# Of a server with a smaller max_allowed_packet such a text would be cut off, without an error.
_SMALLEST_PACKET = 2**20
# Whatever a site has made the server's defaults: rows that would be left out without an error, statements refused.
_SESSION = (
    "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE', "
    f"group_concat_max_len = {TEXT_SIZE}, default_storage_engine = InnoDB, sql_big_selects = 1, "
    "sql_select_limit = 18446744073709551615"
)


log = logging.getLogger(__name__)


class Cache(Protocol):
    """What was read or stored in a transaction, and is kept after it."""

    def reset(self) -> None:
        """Empty it: a transaction has failed, and what was stored in it is not in the database."""


class MysqlSession:
    """The connection to the first node that can be used; after a failure a new one, to the next node.

    ``caches`` are emptied when a transaction fails.
    """

    def __init__(
        self, url: DatabaseUrl, *, writing: bool, patience_s: int | None = None, caches: Sequence[Cache] = ()
    ) -> None:
        self._caches = caches
        self._nodes = url.nodes
        self._writing = writing
        self._patience_s = patience_s or (CLUSTER_S if len(url.nodes) > 1 else ALONE_S)
        self._node = 0
        self._used: int | None = None
        self._connection: pymysql.Connection[Cursor] | None = None

    @property
    def where(self) -> str:
        """Return host, port and database of the node in use."""
        return where(self._nodes[self._node])

    @contextmanager
    def transaction(self, begin: str = "START TRANSACTION") -> Iterator[Cursor]:
        """Commit all that is done with the cursor, or nothing. Raises StoreError."""
        try:
            connection = self._begin(begin)
            try:
                with store_errors(self.where):
                    with connection.cursor() as cursor:
                        yield cursor
                    connection.commit()
            except BaseException as error:
                self._roll_back(connection, error)
                raise
        except BaseException:
            for cache in self._caches:
                cache.reset()
            raise

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection:
            with suppress(pymysql.MySQLError):
                connection.close()

    def _begin(self, begin: str) -> pymysql.Connection[Cursor]:
        """Begin a transaction; on a new connection if the server has ended the old one since its last use."""
        if self._connection:
            try:
                self._connection.query(begin)
                return self._connection
            except pymysql.MySQLError:
                self._leave()
        self._connection = self._connect()
        with store_errors(self.where):
            self._connection.query(begin)
        return self._connection

    def _connect(self) -> pymysql.Connection[Cursor]:
        errors = []
        for step in range(len(self._nodes)):
            number = (self._node + step) % len(self._nodes)
            try:
                connection = connect(self._nodes[number], writing=self._writing, patience_s=self._patience_s)
            except StoreError as error:
                errors.append(str(error))
            else:
                self._use(number)
                return connection
        raise StoreError("; ".join(errors))

    def _use(self, number: int) -> None:
        if self._used not in {None, number}:
            log.warning("the archive's database is now used at %s", where(self._nodes[number]))
        self._node = self._used = number

    def _roll_back(self, connection: pymysql.Connection[Cursor], error: BaseException) -> None:
        try:
            connection.rollback()
        except pymysql.MySQLError:
            self._leave()
        else:
            if is_unfit(error.__cause__):
                self._leave()

    def _leave(self) -> None:
        """Close the connection; the next one is to the next node."""
        self.close()
        self._node = (self._node + 1) % len(self._nodes)


def connect(node: URL, *, writing: bool, patience_s: int = ALONE_S) -> pymysql.Connection[Cursor]:
    """Return a connection in UTC, strict about data, to a node that is ready. Raises StoreError."""
    with store_errors(where(node)):
        connection = _open(node, patience_s)
        try:
            with connection.cursor() as cursor:
                # whatever the server's default is: a reader goes on with the archive as it was when it began
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                _check_ready(cursor, where(node), writing=writing)
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def connection(url: DatabaseUrl) -> Iterator[Connection]:
    """Return a connection of SQLAlchemy to the first node that answers, for a short while. Raises StoreError."""
    errors = []
    for node in url.nodes:
        try:
            with store_errors(where(node)):
                opened = _engine(node, ALONE_S).connect()
        except StoreError as error:
            errors.append(str(error))
            continue
        with store_errors(where(node)), opened:
            yield opened
        return
    raise StoreError("; ".join(errors))


def where(node: URL) -> str:
    """Return host, port and database of a node, for messages."""
    return f"{node.host or 'localhost'}:{node.port or 3306}/{node.database}".rstrip("/")


def space(cursor: Cursor) -> Space | None:
    """Return what the tables take on the disk, and what is free there.

    None if the server is on another computer, or if the user may not see the sizes of its files (PROCESS): the sizes
    that every user may see are estimates, which stand still for weeks in a large archive.
    """
    cursor.execute("SELECT @@hostname, @@datadir")
    ((host, directory),) = _rows(cursor)
    if host != socket.gethostname() or not os.path.isdir(directory):
        return None
    for table in ("INNODB_SYS_TABLESPACES", "INNODB_TABLESPACES"):  # of MariaDB, of MySQL
        with suppress(pymysql.MySQLError):
            cursor.execute(
                f"SELECT SUM(file_size), 0 FROM information_schema.{table} WHERE name LIKE CONCAT(DATABASE(), '/%')"
            )
            ((used, _),) = _rows(cursor)
            return None if used is None else Space(float(used), float(shutil.disk_usage(directory).free))
    return None


def without_database(url: DatabaseUrl) -> DatabaseUrl:
    """Return the URL of the servers alone, for what can be done before there is a database."""
    return DatabaseUrl(tuple(node.set(database="") for node in url.nodes))


class _Connection(pymysql.Connection):
    """A connection that reads no certificates of authorities where none is checked.

    PyMySQL reads all of the system's for each, which takes 20 ms of the processor: more than to read a plot.
    """

    def _create_ssl_ctx(self, options: Any) -> ssl.SSLContext:
        return cast(ssl.SSLContext, super()._create_ssl_ctx(options)) if options else _unchecked()  # type: ignore[misc]


@cache
def _unchecked() -> ssl.SSLContext:
    """Return what PyMySQL takes where no certificate is given: encrypted if the server can, whoever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _open(node: URL, patience_s: int) -> pymysql.Connection[Cursor]:
    # an engine of SQLAlchemy would ask the server five things more
    _, options = MySQLDialect_pymysql(dbapi=pymysql).create_connect_args(node)
    return _Connection(**{**options, **_options(node, patience_s)})


def _engine(node: URL, patience_s: int) -> Engine:
    return create_engine(
        node.set(drivername="mysql+pymysql"), poolclass=NullPool, connect_args=_options(node, patience_s)
    )


def _options(node: URL, patience_s: int) -> dict[str, Any]:
    return {
        # PyMySQL itself would encode it as Latin-1
        "password": (node.password or "").encode(),
        "charset": "utf8mb4",
        "connect_timeout": CONNECT_S,
        "read_timeout": patience_s,
        "write_timeout": patience_s,
        "init_command": _SESSION,
    }


def _check_ready(cursor: Cursor, place: str, *, writing: bool) -> None:
    cursor.execute("SHOW VARIABLES WHERE Variable_name IN ('wsrep_on', 'read_only', 'max_allowed_packet')")
    variables = dict(_rows(cursor))
    packet = int(variables.get("max_allowed_packet", _SMALLEST_PACKET))
    if packet < _SMALLEST_PACKET:
        raise StoreError(
            f"{place}: the server's max_allowed_packet is {packet} bytes, which cuts off what is read: set it to "
            f"{_SMALLEST_PACKET} or more"
        )
    if writing and variables.get("read_only", "OFF") not in {"OFF", "0"}:
        raise StoreError(f"{place}: the server is read-only")
    if variables.get("wsrep_on") == "ON":
        cursor.execute("SHOW STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_local_state_comment')")
        states = dict(_rows(cursor))
        if (state := states.get("wsrep_local_state_comment")) != "Synced" or states.get("wsrep_ready") != "ON":
            raise StoreError(f"{place}: the node is not in sync with its cluster: {state}")


def _rows(cursor: Cursor) -> Sequence[tuple[str, str]]:
    return cast(Sequence[tuple[str, str]], cursor.fetchall())
