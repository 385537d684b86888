"""Which rights on its database the archiver's user lacks."""

import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

from pymysql.cursors import Cursor

from archiver.mysql_server import Session, without_database
from archiver.schema import migrations
from archiver.url import DatabaseUrl

NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "INDEX", "CREATE VIEW")
"""DROP: a view that is replaced is dropped first; INDEX: of the tables that the seeds' users have."""

_GRANT = re.compile(r"GRANT (?P<rights>.+?) ON (?P<database>\*|`(?:[^`]|``)*`)\.(?P<table>\*|`(?:[^`]|``)*`) TO ")


def missing_grants(url: DatabaseUrl) -> list[str]:
    """A sentence with the statement that gives them; none for an archive in a file.

    StoreError if the server cannot be reached, or does not let the user in.
    """
    if url.backend != "mysql":
        return []
    database = str(url.nodes[0].database)
    with closing(Session(without_database(url), writing=False)) as session, session.transaction() as cursor:
        missing = _missing(_shown(cursor), database)
        cursor.execute("SELECT CURRENT_USER()")
        user = _account(cursor)
    if not missing:
        return []
    rights = ", ".join(missing)
    statement = f"GRANT {rights} ON {_pattern(database)}.* TO {user}"
    return [f"{session.where}: the user {user} lacks {rights} on {database}: {statement};"]


def _missing(grants: Iterable[str], database: str) -> list[str]:
    """A right is there if it is given on the whole database, or on each of the archive's tables."""
    tables = _tables()
    given: dict[str, set[str]] = {table: set() for table in tables}
    for grant in grants:
        if (match := _GRANT.match(grant)) and _covers(match["database"], database):
            for table in tables if match["table"] == "*" else [_name(match["table"])]:
                given.setdefault(table, set()).update(_rights(match["rights"]))
    return [right for right in NEEDED if not all(right in given[table] for table in tables)]


def _rights(text: str) -> Sequence[str]:
    """Rights on some columns alone, like SELECT (name), are not enough."""
    rights = [right.strip() for right in re.split(r",(?![^(]*\))", text)]
    return NEEDED if any(right in {"ALL", "ALL PRIVILEGES"} for right in rights) else rights


def _covers(pattern: str, database: str) -> bool:
    r"""`%` and `_` are wildcards here, `\_` is an underscore."""
    if pattern == "*":
        return True
    parts = re.findall(r"\\.|.", _name(pattern))
    regex = "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)
    return re.fullmatch(regex, database) is not None


def _shown(cursor: Cursor) -> list[str]:
    """Of the user, and of the role that is active after logging in."""
    cursor.execute("SHOW GRANTS FOR CURRENT_USER()")
    grants = [str(grant) for (grant,) in cursor.fetchall()]
    cursor.execute("SELECT CURRENT_ROLE()")
    row: Any = cursor.fetchone()
    if row[0] not in {None, "NONE"}:
        mysql = row[0].startswith("`")  # MySQL names its roles like users, MariaDB does not
        cursor.execute(f"SHOW GRANTS FOR CURRENT_USER() USING {row[0]}" if mysql else "SHOW GRANTS FOR CURRENT_ROLE")
        grants += [str(grant) for (grant,) in cursor.fetchall()]
    return grants


def _tables() -> list[str]:
    """Those of the archive, and its view."""
    sql = "".join(step.sql for step in migrations("mysql"))
    return re.findall(r"CREATE (?:TABLE IF NOT EXISTS|OR REPLACE VIEW) (\w+)", sql)


def _account(cursor: Cursor) -> str:
    row: Any = cursor.fetchone()
    name, _, host = str(row[0]).rpartition("@")
    return f"'{name}'@'{host}'"


def _name(quoted: str) -> str:
    return quoted[1:-1].replace("``", "`")


def _pattern(database: str) -> str:
    escaped = re.sub(r"[\\_%]", r"\\\g<0>", database).replace("`", "``")
    return f"`{escaped}`"
