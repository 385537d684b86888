"""The rights on its database that the archiver's user lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import Any

from pymysql.cursors import Cursor

from archiver.storage.migrations import migrations
from archiver.storage.mysql.server import MysqlSession, without_database
from archiver.storage.url import DatabaseUrl

# DROP: a view that is replaced is dropped first; INDEX: of the former loggers' tables.
NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "INDEX", "CREATE VIEW")

_NAME = r"\*|`(?:[^`]|``)*`"
_GRANT = re.compile(rf"GRANT (?P<rights>.+?) ON (?P<database>{_NAME})\.(?P<table>{_NAME}) TO (?P<who>\S+)")
_WILDCARD = re.compile(r"(?<!\\)[%_]")


def missing_grants(url: DatabaseUrl) -> list[str]:
    """Return a sentence with the statement that grants what is missing; none for an archive in a file.

    Raises StoreError if the server cannot be reached, or does not accept the user.
    """
    if url.backend != "mysql":
        return []
    database = str(url.nodes[0].database)
    with closing(MysqlSession(without_database(url), writing=False)) as session, session.transaction() as cursor:
        grants = _shown(cursor)
        cursor.execute("SELECT CURRENT_USER()")
        user = _account(cursor)
    granted = [_granted(list(each), database) for each in _by_grantee(grants)]
    missing = [right for right in NEEDED if not any(right in rights for rights in granted)]
    if not missing:
        return []
    rights = ", ".join(missing)
    pattern = _in_force(grants, database) or f"`{_escaped(database)}`"
    return [
        f"{session.where}: the user {user} lacks {rights} on {database}: GRANT {rights} ON {pattern}.* TO {user};"
    ]


def _by_grantee(grants: Sequence[re.Match[str]]) -> Iterator[Iterator[re.Match[str]]]:
    """Yield the grants of the user, and those of each role: what one of them has is allowed."""
    for _, each in groupby(sorted(grants, key=itemgetter("who")), key=itemgetter("who")):
        yield each


def _granted(grants: Sequence[re.Match[str]], database: str) -> set[str]:
    """Return the rights on everything, on the whole database, or on each of the archive's tables."""
    pattern = _in_force(grants, database)
    whole, tables = set[str](), {table: set[str]() for table in _tables()}
    for grant in grants:
        if grant["table"] == "*":
            if grant["database"] in {"*", pattern}:
                whole |= _rights(grant["rights"])
        elif _name(grant["database"]) == database:
            tables.setdefault(_name(grant["table"]), set()).update(_rights(grant["rights"]))
    return whole | set.intersection(*(tables[table] for table in _tables()))


def _in_force(grants: Sequence[re.Match[str]], database: str) -> str | None:
    """Return the one pattern of several that the server applies: where the first wildcard is farthest right."""
    patterns = {grant["database"] for grant in grants if grant["table"] == "*" and grant["database"] != "*"}
    return max((each for each in patterns if _covers(each, database)), key=_exactness, default=None)


def _exactness(pattern: str) -> tuple[int, int]:
    wildcard = _WILDCARD.search(pattern)
    return wildcard.start() if wildcard else len(pattern), len(pattern)


def _rights(text: str) -> set[str]:
    """Return the rights of a grant; those on some columns alone, like SELECT (name), are not enough."""
    rights = {right.strip() for right in re.split(r",(?![^(]*\))", text)}
    return set(NEEDED) if rights & {"ALL", "ALL PRIVILEGES"} else rights


def _covers(pattern: str, database: str) -> bool:
    r"""Return whether a pattern covers a database; ``%`` and ``_`` are wildcards, ``\_`` is an underscore."""
    parts = re.findall(r"\\.|.", _name(pattern))
    regex = "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)
    return re.fullmatch(regex, database) is not None


def _shown(cursor: Cursor) -> list[re.Match[str]]:
    """Return the grants of the user, and of the role that is active after logging in."""
    cursor.execute("SHOW GRANTS FOR CURRENT_USER()")
    grants = [str(grant) for (grant,) in cursor.fetchall()]
    cursor.execute("SELECT CURRENT_ROLE()")
    row: Any = cursor.fetchone()
    if row[0] not in {None, "NONE"}:
        mysql = row[0].startswith("`")  # MySQL names its roles like users, MariaDB does not
        cursor.execute(f"SHOW GRANTS FOR CURRENT_USER() USING {row[0]}" if mysql else "SHOW GRANTS FOR CURRENT_ROLE")
        grants += [str(grant) for (grant,) in cursor.fetchall()]
    return [match for grant in grants if (match := _GRANT.match(grant))]


def _tables() -> list[str]:
    """Return the tables of the archive, and its view."""
    sql = "".join(step.sql for step in migrations("mysql"))
    return re.findall(r"CREATE (?:TABLE IF NOT EXISTS|OR REPLACE VIEW) (\w+)", sql)


def _account(cursor: Cursor) -> str:
    row: Any = cursor.fetchone()
    name, _, host = str(row[0]).rpartition("@")
    return f"'{name}'@'{host}'"


def _name(quoted: str) -> str:
    return quoted[1:-1].replace("``", "`")


def _escaped(database: str) -> str:
    return re.sub(r"[\\_%]", r"\\\g<0>", database).replace("`", "``")
