"""The months of which nobody keeps anything: they go as a whole, but for the rows in force when they end.

Each archiver says in the table ``expired`` before when it keeps nothing of its channels. A month goes when that is so
of all its channels, but for a few rows of others, which are carried over. In its place comes a table that has these
rows already, in one moment; so no row that is to stay is ever missing, wherever this ends.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pymysql.cursors import Cursor

from archiver.storage.mysql.tables import months
from archiver.storage.mysql.tables.months import MOVED_ROWS, NEWEST_ROW, SAMPLE, TABLES, Divided, Part, altering

# Channels of which one step notes that they expired.
STEP_CHANNELS = 1_000

# Where the parts begin in what SHOW CREATE TABLE shows, as MariaDB and as MySQL writes it.
_PARTITIONS = re.compile(r"\s(?:/\*!\d+ )?PARTITION BY")


def note(cursor: Cursor, archiver: int, until_s: Mapping[int, int]) -> Sequence[tuple[int, int]]:
    """Store before which month (s) nothing is kept of an archiver's channels; those left out keep all.

    Return some of those of which that is new, with the time in ns; if there are some there may be more.
    """
    own = "FROM expired WHERE channel_id IN (SELECT channel_id FROM channel_owner WHERE archiver_id = %s)"
    cursor.execute(f"SELECT channel_id, until_time {own}", (archiver,))
    known = dict(_rows(cursor))
    kept = [(channel,) for channel in known if channel not in until_s]
    cursor.executemany("DELETE FROM expired WHERE channel_id = %s", kept)
    new = [(channel, each * 10**9) for channel, each in until_s.items() if known.get(channel) != each * 10**9]
    cursor.executemany("REPLACE INTO expired VALUES (%s, %s)", new[:STEP_CHANNELS])
    return new[:STEP_CHANNELS]


def step(cursor: Cursor, place: str, archiver: int) -> bool:
    """Let the first month of a table go, if it may; return True if another one may, too."""
    for table in TABLES:
        with altering(cursor, place):
            if _drop_first(cursor, table, f"gone_{table.name}_{archiver}"):
                return True
    return False


def _drop_first(cursor: Cursor, table: Divided, aside: str) -> bool:
    cursor.execute("SELECT channel_id, until_time FROM expired")
    until_ns: dict[int, int] = dict(_rows(cursor))
    _finish(cursor, table, aside, until_ns)
    found = months.parts(cursor, table)
    if len(found) < 3:  # of these, one of a month
        return False
    older, month, *_ = found
    crowded = months.count(cursor, _part(table, older)) > MOVED_ROWS
    part = older if crowded else month
    end_ns = int(part.end_s) * 10**9
    if max(until_ns.values(), default=0) < end_ns or time.time_ns() < end_ns:
        return False  # one that goes on, by which clock ever, would be made again
    there = _channels(cursor, _part(table, part))
    staying = {channel for channel in there if until_ns.get(channel, 0) < end_ns}
    if _rows_of(cursor, _part(table, part), staying) > MOVED_ROWS:
        return False
    if table is SAMPLE and not crowded:
        # Of what is older the newest row of a channel was in force; it would be again over the month's rows that go.
        _delete(cursor, _part(table, older), set(there) - staying)
    if there:
        _replace(cursor, table, part, aside, there, staying)
        _finish(cursor, table, aside, until_ns, end_ns)
    if crowded:
        return months.count(cursor, _part(table, older)) <= MOVED_ROWS
    months.merge(cursor, table, older, part)
    return True


def _replace(
    cursor: Cursor, table: Divided, part: Part, aside: str, there: Collection[int], staying: Collection[int]
) -> None:
    """Put a table with the rows that stay in the place of a part, which is ``aside`` then.

    ``there``: the channels that have rows in it; ``staying``: those of them of which all rows stay.
    """
    cursor.execute(f"SHOW CREATE TABLE {table.name}")
    ((_, sql),) = _rows(cursor)
    cursor.execute(_PARTITIONS.split(sql)[0].replace(f"`{table.name}`", aside, 1))
    source = _part(table, part)
    if table is SAMPLE:
        newest = f"SELECT channel_id, {NEWEST_ROW.format(source)} AS smpl_time FROM channel WHERE channel_id IN %s"
        cursor.execute(
            f"INSERT INTO {aside} SELECT kept.* FROM ({newest}) AS newest "
            f"JOIN {source} AS kept FORCE INDEX (PRIMARY) "
            "ON kept.channel_id = newest.channel_id AND kept.smpl_time = newest.smpl_time",
            (tuple(there),),
        )
    _copy(cursor, source, aside, staying)
    cursor.execute(f"ALTER TABLE {table.name} EXCHANGE PARTITION {part.name} WITH TABLE {aside}")


def _finish(cursor: Cursor, table: Divided, aside: str, until_ns: Mapping[int, int], end_ns: int = 0) -> None:
    """Delete the table that a part was exchanged for, or was to be; what came into it last stays.

    ``end_ns``: when its month ends; 0 if a run before left it there.
    """
    cursor.execute("SHOW TABLES LIKE %s", (aside.replace("_", r"\_"),))
    if not cursor.fetchall():
        return
    there = _channels(cursor, aside)
    if there and not end_ns:
        end_ns = months.month_s(months.newest_s(cursor, table, aside, there), 1) * 10**9
    _copy(cursor, aside, table.name, [channel for channel in there if until_ns.get(channel, 0) < end_ns])
    cursor.execute(f"DROP TABLE {aside}")


def _copy(cursor: Cursor, source: str, target: str, channels: Collection[int]) -> None:
    if channels:
        cursor.execute(
            f"INSERT INTO {target} SELECT * FROM {source} AS kept FORCE INDEX (PRIMARY) WHERE channel_id IN %s "
            f"ON DUPLICATE KEY UPDATE channel_id = kept.channel_id",
            (tuple(channels),),
        )


def _delete(cursor: Cursor, source: str, channels: Collection[int]) -> None:
    if channels:
        cursor.execute(f"DELETE FROM {source} WHERE channel_id IN %s", (tuple(channels),))


def _channels(cursor: Cursor, source: str) -> Sequence[int]:
    cursor.execute(f"SELECT DISTINCT channel_id FROM {source}")
    return [int(channel) for (channel,) in _rows(cursor)]


def _rows_of(cursor: Cursor, source: str, channels: Collection[int]) -> int:
    """Return the number of rows of some channels, little more than MOVED_ROWS at most."""
    if not channels:
        return 0
    numbers = ", ".join(map(str, channels))
    return months.count(cursor, f"{source} FORCE INDEX (PRIMARY) WHERE channel_id IN ({numbers})")


def _part(table: Divided, part: Part) -> str:
    return f"{table.name} PARTITION ({part.name})"


def _rows(cursor: Cursor) -> Sequence[Any]:
    return cursor.fetchall()
