"""Connections to MySQL and MariaDB servers: to which node, with which session, and what to say when it fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import cast

import pymysql
from pymysql.cursors import Cursor
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from archiver.storage.mysql.errors import is_unfit, store_errors
from archiver.storage.store import StoreError
from archiver.storage.url import DatabaseUrl

CONNECT_S = 2
ALONE_S, CLUSTER_S = 30, 3
"""How long an answer may take: with other nodes to go to, so short that one of them is in use within 5 s."""

_SESSION = "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE'"


log = logging.getLogger(__name__)


class MysqlSession:
    """A connection to the first node that can be used, made again, to the next node, after a failure."""

    def __init__(self, url: DatabaseUrl, *, writing: bool, patience_s: int | None = None) -> None:
        self._nodes = url.nodes
        self._writing = writing
        self._patience_s = patience_s or (CLUSTER_S if len(url.nodes) > 1 else ALONE_S)
        self._node = 0
        self._used: int | None = None
        self._connection: pymysql.Connection[Cursor] | None = None

    @property
    def where(self) -> str:
        """The node in use."""
        return where(self._nodes[self._node])

    @contextmanager
    def transaction(self, begin: str = "START TRANSACTION") -> Iterator[Cursor]:
        """All that is done with the cursor, or nothing; StoreError if it cannot be."""
        connection = self._begin(begin)
        try:
            with store_errors(self.where):
                with connection.cursor() as cursor:
                    yield cursor
                connection.commit()
        except BaseException as error:
            self._roll_back(connection, error)
            raise

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with suppress(pymysql.MySQLError):
                connection.close()

    def _begin(self, begin: str) -> pymysql.Connection[Cursor]:
        """On a new connection if the server has ended the old one since its last use: nothing is lost by that."""
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
            log.warning("the database is at %s now", where(self._nodes[number]))
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
        """The next connection is to the next node."""
        self.close()
        self._node = (self._node + 1) % len(self._nodes)


def connect(node: URL, *, writing: bool, patience_s: int = ALONE_S) -> pymysql.Connection[Cursor]:
    """A connection in UTC, strict about data, to a node that is ready."""
    with store_errors(where(node)):
        connection = _open(node, patience_s)
        try:
            with connection.cursor() as cursor:
                _check_ready(cursor, where(node), writing=writing)
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def connection(url: DatabaseUrl) -> Iterator[Connection]:
    """SQLAlchemy's connection to the first node that answers, for a short while."""
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
    return f"{node.host or 'localhost'}:{node.port or 3306}/{node.database}".rstrip("/")


def without_database(url: DatabaseUrl) -> DatabaseUrl:
    """The servers alone, for what can be asked or done before there is a database."""
    return DatabaseUrl(tuple(node.set(database="") for node in url.nodes))


def _open(node: URL, patience_s: int) -> pymysql.Connection[Cursor]:
    pooled = _engine(node, patience_s).raw_connection()
    connection = cast("pymysql.Connection[Cursor]", pooled.driver_connection)
    pooled.detach()
    return connection


def _engine(node: URL, patience_s: int) -> Engine:
    return create_engine(
        node.set(drivername="mysql+pymysql"),
        poolclass=NullPool,
        connect_args={
            "charset": "utf8mb4",
            "connect_timeout": CONNECT_S,
            "read_timeout": patience_s,
            "write_timeout": patience_s,
            "init_command": _SESSION,
        },
    )


def _check_ready(cursor: Cursor, place: str, *, writing: bool) -> None:
    cursor.execute("SHOW VARIABLES WHERE Variable_name IN ('wsrep_on', 'read_only')")
    variables = dict(_rows(cursor))
    if writing and variables.get("read_only", "OFF") not in {"OFF", "0"}:
        raise StoreError(f"{place}: the server is read-only")
    if variables.get("wsrep_on") == "ON":
        cursor.execute("SHOW STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_local_state_comment')")
        states = dict(_rows(cursor))
        if (state := states.get("wsrep_local_state_comment")) != "Synced" or states.get("wsrep_ready") != "ON":
            raise StoreError(f"{place}: the node is not in step with its cluster: {state}")


def _rows(cursor: Cursor) -> Sequence[tuple[str, str]]:
    return cast(Sequence[tuple[str, str]], cursor.fetchall())
