"""The rows of MySQL's tables: samples and ids, to and from SQL."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate
from math import isfinite
from operator import attrgetter
from typing import Any, Protocol, cast

import numpy as np
from pymysql.cursors import Cursor

from archiver.blocks import Block, Integers
from archiver.sample import Sample, Value
from archiver.storage.columns import ARRAY, sample_of, stored_of, to_columns
from archiver.storage.owner import Owner, names
from archiver.storage.store import Rejected

# Rows and characters. The servers accept 16 MB by default; statements of more than 1 MB are no faster.
STATEMENT_ROWS, STATEMENT_SIZE = 10_000, 2_000_000

# Rows that the server packs as a text, for PyMySQL takes 6 us for a row, and a tenth of that for its part of a text;
# and the characters of such a text, at most
PACKED_ROWS = 20_000
_PACKED_SIZE = 40 * PACKED_ROWS

_PACKED = """
    SELECT COUNT(*), SUM(float_val IS NOT NULL AND COALESCE(datatype, ' ') <> 'd'), COUNT(num_val),
           GROUP_CONCAT(UNIX_TIMESTAMP(smpl_time)), GROUP_CONCAT(severity_id), GROUP_CONCAT(status_id),
           GROUP_CONCAT(float_val), GROUP_CONCAT(num_val), SUM(severity_id BETWEEN 1 AND 4)
    FROM (SELECT smpl_time, severity_id, status_id, float_val, num_val, datatype FROM sample
          WHERE channel_id = %s AND smpl_time >= FROM_UNIXTIME(%s) AND smpl_time <= FROM_UNIXTIME(%s)
          ORDER BY smpl_time, nanosecs LIMIT %s) AS found"""

# The times that a TIMESTAMP holds, from 1970 to 2038.
FIRST_US, LATEST_US = 10**6, 2**31 * 10**6 - 1

_DAY_US = 86_400 * 10**6

_NAMED = """
    SELECT name, channel.channel_id, archiver_id FROM channel
    LEFT JOIN channel_owner ON channel_owner.channel_id = channel.channel_id WHERE name IN %s"""
# Channels of nobody whose names tell an archiver
_NOBODYS = """
    SELECT channel.channel_id, name FROM channel
    LEFT JOIN channel_owner ON channel_owner.channel_id = channel.channel_id
    WHERE archiver_id IS NULL AND name LIKE '% (%)'"""

_NONE = Sample("", 10**9, 0, 0, "")

TIME_NS = "FLOOR(UNIX_TIMESTAMP(sample.smpl_time)) * 1000000000 + nanosecs"

COLUMNS = f"{TIME_NS}, severity_id, status_id, num_val, float_val, str_val, datatype, array_val"


class Execute(Protocol):
    """What executes a statement and returns its rows."""

    def __call__(self, sql: str, *values: object) -> Sequence[Any]:
        """Return the rows."""


def to_sample(pv: str, statuses: Mapping[int, str], row: Sequence[Any]) -> Sample:
    """Return the sample of a row of COLUMNS."""
    time_ns, severity, status, num_val, float_val, str_val, datatype, array_val = row
    kind = ARRAY if datatype == b"d" else None
    stored = stored_of(num_val, float_val, str_val, kind, array_val)
    return sample_of(pv, time_ns, stored, severity, statuses[status])


def unix(time_us: int) -> Decimal:
    """Return the seconds since 1970, exact, for FROM_UNIXTIME."""
    return Decimal(min(time_us, LATEST_US)).scaleb(-6)


def samples_as_sql(
    cursor: Cursor, samples: Sequence[Sample], channels: Mapping[str, int], statuses: Mapping[str, int]
) -> Iterator[str]:
    """Yield the rows behind VALUES, cut into statements: written by hand, for PyMySQL takes three times as long.

    They are in the order of the key, so that each page of the table is visited once. Raises Rejected.
    """
    _check_times(samples)
    order = sorted((channels[s.pv], s.time_ns // 1000, number) for number, s in enumerate(samples))
    for start in range(0, len(order), STATEMENT_ROWS):
        rows = [
            f"({channel},FROM_UNIXTIME({time_us // 1_000_000}.{time_us % 1_000_000:06d}),{time_us % 1_000_000}000,"
            f"{severity + 1},{statuses[status]},"
            + (
                f"NULL,{value!r},NULL,NULL,NULL)"
                if type(value) is float and isfinite(value)
                else _other(cursor, value)
            )
            for channel, time_us, number in order[start : start + STATEMENT_ROWS]
            for _, _, value, severity, status in (samples[number],)
        ]
        yield from statements(rows)


def _check_times(samples: Sequence[Sample]) -> None:
    """Raise Rejected for times that a TIMESTAMP cannot hold: some servers store the present time instead."""
    for extreme in (min, max):
        pv, time_ns, *_ = extreme(samples, key=attrgetter("time_ns"), default=_NONE)
        if not FIRST_US <= time_ns // 1000 <= LATEST_US:
            raise Rejected(f"{pv}: a time of {time_ns} ns is not between 1970 and 2038, as MySQL requires")


def _other(cursor: Cursor, value: Value) -> str:
    """Return num_val, float_val, str_val, datatype, array_val of a value that is not a finite float."""
    num_val, float_val, str_val, datatype, array_val = to_columns(value)
    array = "NULL" if array_val is None else f"x'{array_val.hex()}'"
    return ",".join((*map(cursor.connection.escape, (num_val, float_val, str_val, datatype)), f"{array})"))


def statements(rows: Sequence[str]) -> Iterator[str]:
    """Yield rows joined by commas, up to STATEMENT_SIZE; a row that is longer is alone."""
    ends = list(accumulate(len(row) + 1 for row in rows))
    start = 0
    while start < len(rows):
        before = ends[start - 1] if start else 0
        stop = max(bisect(ends, before + STATEMENT_SIZE), start + 1)
        yield ",".join(rows[start:stop])
        start = stop


class MysqlIds:
    """The ids of the names in one table, cached; a new name gets one."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._ids: dict[str, int] = {}

    def ensure(self, cursor: Cursor, names: Iterable[str]) -> Mapping[str, int]:
        """Return the ids of all names, of which those given are added if they are new."""
        ids = self.ids(cursor)
        if new := [(name,) for name in names if name not in ids]:
            cursor.executemany(f"INSERT INTO {self._table} (name) VALUES (%s)", new)
            self.reset()
        return self.ids(cursor)

    def ids(self, cursor: Cursor) -> Mapping[str, int]:
        """Return the ids of all names that have one."""
        if not self._ids:
            cursor.execute(f"SELECT name, {self._table}_id FROM {self._table}")
            self._ids = {str(name): int(number) for name, number in cursor.fetchall()}
        return self._ids

    def reset(self) -> None:
        """Empty the cache: a transaction has failed."""
        self._ids = {}


class MysqlChannels:
    """The ids of an archiver's own channels by PV, cached; a new PV gets one, or one that belongs to nobody yet."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._ids: dict[str, int] = {}
        self.archiver = 0

    def begin(self, cursor: Cursor, place: str) -> int:
        """Take the owner's name for this process; return its sign of life before. Raises Gone if another has it."""
        cursor.execute("SELECT run, alive_time FROM archiver WHERE name = %s FOR UPDATE", (self._owner.name,))
        run, alive_ns = cursor.fetchone() or ("", 0)
        self._owner.check(run, alive_ns, place)
        cursor.execute(
            "INSERT INTO archiver (name, run, alive_time) VALUES (%s, %s, 0) ON DUPLICATE KEY UPDATE run = %s",
            (*self._owner, self._owner.run),
        )
        cursor.execute("SELECT archiver_id FROM archiver WHERE name = %s", (self._owner.name,))
        ((self.archiver,),) = cursor.fetchall()
        cursor.execute(_NOBODYS)
        if claimed := self._owner.claims(cursor.fetchall(), self.ids(cursor), alone=False):
            self._own(cursor, claimed)
        return int(alive_ns)

    def ensure(self, cursor: Cursor, pvs: Iterable[str]) -> Mapping[str, int]:
        """Return the ids of all PVs of this archiver, of which those given are added if they are new."""
        ids = self.ids(cursor)
        if new := [pv for pv in pvs if pv not in ids]:
            found = self._found(cursor, new)
            made = [(name,) for name, channel in found.values() if channel is None]
            cursor.executemany("INSERT INTO channel (name) VALUES (%s)", made)
            made_ids = self._named(cursor, [name for (name,) in made])
            self._own(cursor, [(channel or made_ids[name][0], pv) for pv, (name, channel) in found.items()])
        return self.ids(cursor)

    def ids(self, cursor: Cursor) -> Mapping[str, int]:
        """Return the ids of all PVs of this archiver."""
        if not self._ids:
            cursor.execute("SELECT pv, channel_id FROM channel_owner WHERE archiver_id = %s", (self.archiver,))
            self._ids = {str(pv): int(number) for pv, number in cursor.fetchall()}
        return self._ids

    def shared(self, cursor: Cursor, pvs: Iterable[str]) -> set[str]:
        """Return those of some PVs that other archivers keep, too."""
        names = tuple(pvs)
        cursor.execute("SELECT pv FROM channel_owner WHERE pv IN %s AND archiver_id <> %s", (names, self.archiver))
        return {pv for (pv,) in cursor.fetchall()}

    def live(self, cursor: Cursor, time_ns: int, place: str) -> None:
        """Store the sign of life. Raises Gone if another process has the owner's name."""
        update = "UPDATE archiver SET alive_time = %s WHERE name = %s AND run = %s"
        if cursor.execute(update, (time_ns, *self._owner)) == 0:
            raise self._owner.lost(place)

    def end(self, cursor: Cursor) -> None:
        """Give the owner's name free."""
        cursor.execute("UPDATE archiver SET run = '' WHERE name = %s AND run = %s", self._owner)

    def reset(self) -> None:
        """Empty the cache: a transaction has failed."""
        self._ids = {}

    def _own(self, cursor: Cursor, channels: Sequence[tuple[int, str]]) -> None:
        """Make channels those of this archiver, each of a PV."""
        insert = f"INSERT INTO channel_owner (channel_id, archiver_id, pv) VALUES (%s, {self.archiver}, %s)"
        cursor.executemany(insert, channels)
        self.reset()

    def _found(self, cursor: Cursor, pvs: Iterable[str]) -> dict[str, tuple[str, int | None]]:
        """Return the name for the channel of each PV, and its id if it is there and belongs to nobody."""
        found = {}
        names_of = {pv: names(pv, self._owner.name) for pv in pvs}
        while names_of:
            next_of = {pv: next(each) for pv, each in names_of.items()}
            named = self._named(cursor, next_of.values())
            for pv, name in next_of.items():
                channel, archiver = named.get(name, (None, None))
                if archiver is None:
                    found[pv] = name, channel
                    del names_of[pv]
        return found

    @staticmethod
    def _named(cursor: Cursor, names: Iterable[str]) -> dict[str, tuple[int, int | None]]:
        """Return the id and the owner of each channel of some names, None if it has none."""
        if wanted := tuple(names):
            cursor.execute(_NAMED, (wanted,))
            return {name: (channel, archiver) for name, channel, archiver in cursor.fetchall()}
        return {}


def insert_absent(table: str, columns: Sequence[str], key: int) -> str:
    """Return the statement that inserts a row unless its key exists; its values are the row's, then the key's."""
    names = [_quoted(column) for column in columns]
    same = " AND ".join(f"{name} <=> %s" for name in names[:key])
    values = ", ".join(["%s"] * len(names))
    return (
        f"INSERT INTO {_quoted(table)} ({', '.join(names)}) SELECT {values} FROM DUAL "
        f"WHERE NOT EXISTS (SELECT 1 FROM {_quoted(table)} WHERE {same})"
    )


def table_value(value: Value | None) -> float | int | str | None:
    """Return a value of a table's column; NaN and infinities are NULL, for no column of numbers holds them."""
    if isinstance(value, tuple | bytes):
        raise Rejected("a column of a table cannot hold an array")
    return None if isinstance(value, float) and not isfinite(value) else value


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def newest_row(execute: Execute, columns: str, channel: int, until_us: int) -> Sequence[Any] | None:
    """Return columns of the newest row of a channel up to a time, None if there is none.

    It is looked for in a day first, as nearly all PVs have one there: without a begin, and for a MAX, the server
    looks into each month's part, which takes 0.1 s where none is in memory.
    """
    newest = f"""
        SELECT {columns} FROM sample WHERE channel_id = %s AND smpl_time <= FROM_UNIXTIME(%s)
            AND smpl_time >= FROM_UNIXTIME(%s) ORDER BY smpl_time DESC, nanosecs DESC LIMIT 1"""
    for since_us in (max(0, until_us - _DAY_US), 0):
        if rows := execute(newest, channel, unix(until_us), unix(since_us)):
            return cast("Sequence[Any]", rows[0])
    return None


def order_of(times: Integers) -> Integers | slice:
    """Return what brings rows that a server has put together into order of time: it need not have kept that."""
    return np.argsort(times, kind="stable") if (np.diff(times) <= 0).any() else slice(None)


class PackedRows:
    """The plain numbers of a channel as blocks."""

    def __init__(self, rows: Execute, statuses: Mapping[int, str]) -> None:
        self._rows = rows
        self._statuses = statuses

    def steps(self, channel: int, since_us: int, until_us: int) -> Iterator[tuple[Block | None, tuple[int, int]]]:
        """Yield blocks, each with first and last time (us); None where some rows are no plain numbers of one kind."""
        self._rows(f"SET SESSION group_concat_max_len = {_PACKED_SIZE}")
        while True:
            ((count, doubles, integers, times, *texts, severities),) = self._rows(
                _PACKED, channel, unix(since_us), unix(until_us), PACKED_ROWS
            )
            if not count:
                return
            times_us: Integers = np.fromstring(times.replace(".", ""), np.int64, sep=",")  # six digits behind it
            first_us, last_us = int(times_us.min()), int(times_us.max())
            plain = count in {doubles, integers} and count == severities
            block = self._block(times_us, texts, doubles=count == doubles) if plain else None
            yield block, (first_us, last_us)
            if count < PACKED_ROWS:
                return
            since_us = last_us + 1

    def _block(self, times_us: Integers, texts: Sequence[str], *, doubles: bool) -> Block:
        severities, statuses, floats, integers = texts
        severity: Integers = np.fromstring(severities, np.int64, sep=",")
        status: Integers = np.fromstring(statuses, np.int64, sep=",")
        text, kind = (floats, np.float64) if doubles else (integers, np.int64)
        number: Any = np.fromstring(text, kind, sep=",")
        order = order_of(times_us)
        value = number[order] if doubles else number[order].tolist()
        return Block(times_us[order] * 1000, value, severity[order] - 1, status[order], self._statuses)
