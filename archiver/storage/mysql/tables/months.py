"""The months of an archive on a server: rows and summaries lie apart by month, so that a month can go as a whole.

A divided table has a part for each month, one before them for all that is older, and one after them, which stays
empty as the next months are made in time. A change of the parts waits for readers for a second, as everybody waits
for it meanwhile; then it is left to the next time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pymysql
from pymysql.cursors import Cursor

from archiver.storage.mysql.ends import end_of
from archiver.storage.summary import WIDTHS

# Months that are made ahead of the present one.
AHEAD = 2
# No month is made that began more seconds ago: one row of 1970 would make hundreds.
LONGEST_S = 30 * 366 * 86_400
# Rows that one step may move from one part to another.
MOVED_ROWS = 100_000
_OLDER, _NEWER = "older", "newer"

# Errors of a change of the parts -> not now: a reader has the table, or another archiver was quicker.
_NOT_NOW = {1205, 1213, 1493, 1507, 1517, 1735}
# Not at all: the right is missing, or the server cannot divide by such an expression.
_NEVER = {1142, 1486, 1491}

log = logging.getLogger(__name__)


class Divided(NamedTuple):
    """A table that is divided.

    by       the expression by which it is
    second   a second of it
    newest   when the newest row of a channel is in ``{0}``, as ``by`` tells it; NULL or 0 if there is none
    """

    name: str
    by: str
    second: int
    newest: str


_NEWEST_BINS = ", ".join(
    f"COALESCE({end_of('bin_time', 'channel', '{0}', where=f'width = {width_ns}')}, 0)" for width_ns in WIDTHS
)

NEWEST_ROW = end_of("smpl_time", "channel", "{0}")
SAMPLE = Divided("sample", "UNIX_TIMESTAMP(smpl_time)", 1, f"UNIX_TIMESTAMP({NEWEST_ROW})")
TABLES = (SAMPLE, Divided("summary", "bin_time", 10**9, f"GREATEST({_NEWEST_BINS})"))


class Part(NamedTuple):
    """A part of a table, and its end: seconds since 1970, which are endless for the last one."""

    name: str
    end_s: float


_LAST = Part(_NEWER, float("inf"))


def month_s(time_s: float, later: int = 0) -> int:
    """Return when the month of a time begins, or one so many months later (seconds since 1970, UTC)."""
    moment = datetime.fromtimestamp(time_s, UTC)
    years, month = divmod(moment.month - 1 + later, 12)
    return int(datetime(moment.year + years, month + 1, 1, tzinfo=UTC).timestamp())


def parts(cursor: Cursor, table: Divided) -> Sequence[Part]:
    """Return the parts of a table in order of time, none if it is not divided."""
    cursor.execute(
        "SELECT partition_name, partition_description FROM information_schema.partitions WHERE table_name = %s "
        "AND table_schema = DATABASE() AND partition_name IS NOT NULL ORDER BY partition_ordinal_position",
        (table.name,),
    )
    rows: Any = cursor.fetchall()
    return [Part(name, float("inf") if end == "MAXVALUE" else int(end) // table.second) for name, end in rows]


def prepare(cursor: Cursor, place: str) -> None:
    """Divide the tables if they are empty; tell of an archive that is not divided."""
    for table in TABLES:
        if not parts(cursor, table):
            with altering(cursor, place):
                if not count(cursor, table.name, 1):
                    divide(cursor, table, month_s(time.time(), -1))
                elif table is SAMPLE and not _divides(cursor):
                    _tell_undivided(place, "MySQL does not divide by a time with microseconds")
                elif table is SAMPLE:
                    log.info(
                        "%s: its rows are not divided by month, as it is older than that: those that are not kept go "
                        "one by one, and their space is used again; rackioc db compact divides them",
                        place,
                    )


def cover(cursor: Cursor, place: str, first_s: float) -> None:
    """Make the next months, and those from a time on if there is nothing before the first one."""
    for table in TABLES:
        found = parts(cursor, table)
        if not found:
            continue
        with altering(cursor, place):
            if found[-1].end_s != float("inf"):  # somebody has dropped the last part: later rows would have no place
                cursor.execute(f"ALTER TABLE {table.name} ADD PARTITION ({_as_sql(table, [_LAST])})")
                found = [*found, _LAST]
            first, last = found[0].name, found[-1].name
            ends_s = [each.end_s for each in found[:-1]] or [month_s(time.time())]
            begin_s, end_s = ends_s[0], ends_s[-1]
            if (ahead := _months(end_s, _next())) and count(cursor, f"{table.name} PARTITION ({last})") <= MOVED_ROWS:
                _reorganize(cursor, table, [last], [*ahead, _LAST])
            first_s = max(first_s, time.time() - LONGEST_S)
            older = first_s < begin_s and first != last
            if older and count(cursor, f"{table.name} PARTITION ({first})") <= MOVED_ROWS:
                _reorganize(cursor, table, [first], [Part(_OLDER, month_s(first_s)), *_months(first_s, begin_s)])


def divide(cursor: Cursor, table: Divided, first_s: float) -> None:
    """Divide a table into months from a time on."""
    first_s = max(first_s, time.time() - LONGEST_S)
    whole = [Part(_OLDER, month_s(first_s)), *_months(first_s, _next()), _LAST]
    cursor.execute(f"ALTER TABLE {table.name} PARTITION BY RANGE ({table.by}) ({_as_sql(table, whole)})")


def divide_all(cursor: Cursor) -> Collection[str]:
    """Divide the tables that are not, from their first row on; return their names."""
    whole = [table for table in TABLES if not parts(cursor, table)]
    for table in whole:
        cursor.execute(f"SELECT MIN({table.by}) / {table.second} FROM {table.name}")
        ((first_s,),) = cursor.fetchall()
        divide(cursor, table, time.time() if first_s is None else min(float(first_s), time.time()))
    return {table.name for table in whole}


def merge(cursor: Cursor, table: Divided, older: Part, month: Part) -> None:
    """Make the first month a part of what is older."""
    _reorganize(cursor, table, [older.name, month.name], [older._replace(end_s=month.end_s)])


def count(cursor: Cursor, source: str, most: int = MOVED_ROWS + 1) -> int:
    """Return the number of rows, ``most`` at most, of a table, a part of it or what follows FROM."""
    cursor.execute(f"SELECT COUNT(*) FROM (SELECT 1 FROM {source} LIMIT {most}) AS found")
    ((rows,),) = cursor.fetchall()
    return int(rows)


def newest_s(cursor: Cursor, table: Divided, source: str, channels: Collection[int]) -> float:
    """Return when the newest row is (s) of some channels that have rows in a table, or in a part of it."""
    newest = f"SELECT {table.newest.format(source)} AS newest FROM channel WHERE channel_id IN %s"
    cursor.execute(f"SELECT COALESCE(MAX(newest), 0) FROM ({newest}) AS found", (tuple(channels),))
    ((found,),) = cursor.fetchall()
    return float(found) / table.second


@contextmanager
def altering(cursor: Cursor, place: str) -> Iterator[None]:
    """Change parts of tables, each statement by itself, if that can be now."""
    # In a transaction MariaDB would wait for itself: for the rows that it reads before it exchanges a part.
    cursor.execute("SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1, autocommit = 1")
    try:
        yield
    except pymysql.MySQLError as error:
        if error.args[0] in _NEVER:
            _tell_undivided(place, error.args[1])
        elif error.args[0] not in _NOT_NOW:
            raise
    cursor.execute("SET SESSION lock_wait_timeout = DEFAULT, innodb_lock_wait_timeout = DEFAULT, autocommit = 0")


def _tell_undivided(place: str, reason: str) -> None:
    log.info(
        "%s: its rows cannot be divided by month: %s; those that are not kept go one by one, and their space is used "
        "again",
        place,
        reason,
    )


def _divides(cursor: Cursor) -> bool:
    """Return whether the server divides by UNIX_TIMESTAMP of a time with microseconds: MariaDB does."""
    cursor.execute("SELECT VERSION()")
    ((version,),) = cursor.fetchall()
    return "MariaDB" in str(version)


def _next() -> int:
    """Return up to when months are to be there."""
    return month_s(time.time(), AHEAD + 1)


def _months(begin_s: float, end_s: float) -> Sequence[Part]:
    """Return the months from that of a time until one begins."""
    found = []
    while (begin := month_s(begin_s)) < end_s:
        begin_s = month_s(begin, 1)
        found.append(Part(f"m{datetime.fromtimestamp(begin, UTC):%Y_%m}", begin_s))
    return found


def _reorganize(cursor: Cursor, table: Divided, before: Sequence[str], after: Sequence[Part]) -> None:
    names = ", ".join(before)
    cursor.execute(f"ALTER TABLE {table.name} REORGANIZE PARTITION {names} INTO ({_as_sql(table, after)})")


def _as_sql(table: Divided, made: Sequence[Part]) -> str:
    ends = ("MAXVALUE" if each.end_s == float("inf") else f"({int(each.end_s) * table.second})" for each in made)
    return ", ".join(f"PARTITION {each.name} VALUES LESS THAN {end}" for each, end in zip(made, ends, strict=True))
