"""The rows of MySQL's tables: samples and ids, to and from SQL."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate
from math import isfinite
from operator import attrgetter
from typing import Any

from pymysql.cursors import Cursor

from archiver.sample import Sample, Value
from archiver.storage.columns import ARRAY, from_columns, to_columns
from archiver.storage.store import Rejected

# Rows and characters. The servers accept 16 MB by default; statements of more than 1 MB are no faster.
STATEMENT_ROWS, STATEMENT_SIZE = 10_000, 2_000_000

# The times that a TIMESTAMP holds, from 1970 to 2038.
FIRST_US, LATEST_US = 10**6, 2**31 * 10**6 - 1

_NONE = Sample("", 10**9, 0, 0, "")

TIME_NS = "FLOOR(UNIX_TIMESTAMP(sample.smpl_time)) * 1000000000 + nanosecs"

COLUMNS = f"{TIME_NS}, severity_id, status_id, num_val, float_val, str_val, datatype, array_val"


def to_sample(pv: str, statuses: Mapping[int, str], row: Sequence[Any]) -> Sample:
    """Return the sample of a row of COLUMNS."""
    time_ns, severity, status, num_val, float_val, str_val, datatype, array_val = row
    kind = ARRAY if datatype == b"d" else None
    value = from_columns(num_val, float_val, str_val, kind, array_val)
    return Sample(pv, time_ns, value, severity - 1, statuses[status])


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
        yield from _statements(rows)


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


def _statements(rows: Sequence[str]) -> Iterator[str]:
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
