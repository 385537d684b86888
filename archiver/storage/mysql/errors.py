"""The errors of MySQL and MariaDB as sentences for the operator; which reject rows, and which nodes are unfit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar, cast

import pymysql
from pymysql.constants import ER
from sqlalchemy.exc import DBAPIError

from archiver.storage.store import Rejected, StoreError

# Code of an error -> what to do, or what it means.
_HINTS = {
    1021: "free some disk space on the server",
    1040: "raise its max_connections",
    1044: "rackioc check lists the missing rights",
    1045: "check user and password in archive.database",
    1047: "the node is not in step with its cluster",
    1049: "create it with rackioc db init",
    1114: "free some disk space on the server",
    1142: "rackioc check lists the missing rights",
    1146: "create the archive's tables with rackioc db init",
    1205: "another program has locked the rows",
    1213: "another program has changed the rows at the same time",
    1290: "the server is read-only now",
    1412: "old rows were dropped while they were read: ask again",
    1698: "check user and password in archive.database",
    1836: "the server is read-only now",
    2003: "is the server running, and is its host right in archive.database?",
    2006: "the server was restarted, or has ended the connection",
    2013: "the server was restarted, or does not answer in time",
}
# The same of 1142 for ALTER, which is not among those rights: only months need it.
_ALTER = "only dividing by month needs this right: grant it, or leave the rows as they are"
# Errors of a node that answers but cannot be used, or not by this connection: rights are read when it is opened.
_UNFIT = {1047, 1142, 1290, 1836}

# Errors of rows that are never accepted.
_BAD_DATA = {1048, 1153, 1264, 1265, 1292, 1300, 1364, 1366, 1406, 1411, 1441}

# Of these the errors that no row can cause in the archive's own tables, of which each column is given: the table is
# not as it was made.
_ALTERED = {1048, 1364}

# Errors of a transaction that another writer crossed: both gave a name its id (1062), waited for each other's rows
# (1213; 1180 and 1213 also at a commit in a cluster), or one changed what the other had read (1020). Done anew, it
# sees what the other one stored.
_CROSSED = {1020, 1062, 1180, 1213}
# How often it is done before that is taken for an error.
TRIES = 10

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def store_errors(place: str) -> Iterator[None]:
    """Raise errors of the server as StoreError with one sentence; as Rejected for rows that are never accepted."""
    try:
        yield
    except DBAPIError as error:
        raise _message(place, cast(pymysql.MySQLError, error.orig)) from error.orig
    except pymysql.MySQLError as error:
        raise _message(place, error) from error
    except UnicodeEncodeError as error:
        raise Rejected(f"{place}: {error}") from error


@contextmanager
def own_table(place: str) -> Iterator[None]:
    """Raise StoreError, not Rejected, if a table of the archive was changed so that it takes no rows at all."""
    try:
        yield
    except pymysql.MySQLError as error:
        if _code(error) in _ALTERED:
            raise StoreError(
                f"{place}: {error.args[1]}: a table of the archive was changed, and takes no rows until that is "
                "undone"
            ) from error
        raise


def again_if_crossed(transaction: Callable[P, T]) -> Callable[P, T]:
    """Return a function of whole transactions that is called again when another writer crossed one."""

    @wraps(transaction)
    def call(*args: P.args, **keywords: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            try:
                return transaction(*args, **keywords)
            except StoreError as error:
                if not _is_crossed(error.__cause__):
                    raise
        return transaction(*args, **keywords)

    return call


def is_unfit(error: BaseException | None) -> bool:
    """Return whether another node, or else a new connection, should be tried, though this one answers."""
    return isinstance(error, pymysql.MySQLError) and _code(error) in _UNFIT


def _is_crossed(error: BaseException | None) -> bool:
    return isinstance(error, pymysql.MySQLError) and _code(error) in _CROSSED


def _message(place: str, error: pymysql.MySQLError) -> StoreError:
    code = _code(error)
    reason = str(error.args[1]) if len(error.args) > 1 and error.args[1] else "the connection is closed"
    if code in _BAD_DATA or (isinstance(error, pymysql.DataError | pymysql.IntegrityError) and code != ER.DUP_ENTRY):
        return Rejected(f"{place}: {reason}")
    alter = code == ER.TABLEACCESS_DENIED_ERROR and reason.startswith("ALTER ")
    hint = _ALTER if alter else _HINTS.get(code, "")
    hint = f" ({hint})" if hint else ""
    return StoreError(f"{place}: {reason}{hint}")


def _code(error: pymysql.MySQLError) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0
