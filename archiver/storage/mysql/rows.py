"""Rows of the tables as MySQL takes and gives them."""

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

STATEMENT_ROWS, STATEMENT_SIZE = 10_000, 2_000_000
"""Rows and characters. The servers take 16 MB, as they come; statements of more than 1 MB are no faster."""

FIRST_US, LATEST_US = 10**6, 2**31 * 10**6 - 1
"""The times that a TIMESTAMP holds, from 1970 to 2038."""

_NONE = Sample("", 10**9, 0, 0, "")

TIME_NS = "FLOOR(UNIX_TIMESTAMP(sample.smpl_time)) * 1000000000 + nanosecs"

COLUMNS = f"{TIME_NS}, severity_id, status_id, num_val, float_val, str_val, datatype, array_val"


def to_sample(pv: str, statuses: Mapping[int, str], row: Sequence[Any]) -> Sample:
    """Of a row of COLUMNS."""
    time_ns, severity, status, num_val, float_val, str_val, datatype, array_val = row
    kind = ARRAY if datatype == b"d" else None
    value = from_columns(num_val, float_val, str_val, kind, array_val)
    return Sample(pv, time_ns, value, severity - 1, statuses[status])


def unix(time_us: int) -> Decimal:
    """For FROM_UNIXTIME: seconds since 1970, exact."""
    return Decimal(min(time_us, LATEST_US)).scaleb(-6)


def samples_as_sql(
    cursor: Cursor, samples: Sequence[Sample], channels: Mapping[str, int], statuses: Mapping[str, int]
) -> Iterator[str]:
    """The rows behind VALUES, cut into statements: written by hand, for PyMySQL takes three times as long.

    They are in the order of the key, so that each page of the table is visited once.
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
    """Some servers take any other time for the present."""
    for extreme in (min, max):
        pv, time_ns, *_ = extreme(samples, key=attrgetter("time_ns"), default=_NONE)
        if not FIRST_US <= time_ns // 1000 <= LATEST_US:
            raise Rejected(f"{pv}: a time of {time_ns} ns is not between 1970 and 2038, as MySQL wants it")


def _other(cursor: Cursor, value: Value) -> str:
    """num_val, float_val, str_val, datatype, array_val of what is no common number."""
    num_val, float_val, str_val, datatype, array_val = to_columns(value)
    array = "NULL" if array_val is None else f"x'{array_val.hex()}'"
    return ",".join((*map(cursor.connection.escape, (num_val, float_val, str_val, datatype)), f"{array})"))


def _statements(rows: Sequence[str]) -> Iterator[str]:
    """Joined by commas up to a size that the server takes; a row that is longer than that is alone."""
    ends = list(accumulate(len(row) + 1 for row in rows))
    start = 0
    while start < len(rows):
        before = ends[start - 1] if start else 0
        stop = max(bisect(ends, before + STATEMENT_SIZE), start + 1)
        yield ",".join(rows[start:stop])
        start = stop


class MysqlIds:
    """The row numbers of the names in one table, given at first sight."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._known: dict[str, int] = {}

    def ensure(self, cursor: Cursor, names: Iterable[str]) -> Mapping[str, int]:
        """With numbers for all these names."""
        known = self.known(cursor)
        if new := [(name,) for name in names if name not in known]:
            cursor.executemany(f"INSERT INTO {self._table} (name) VALUES (%s)", new)
            self.reset()
        return self.known(cursor)

    def known(self, cursor: Cursor) -> Mapping[str, int]:
        if not self._known:
            cursor.execute(f"SELECT name, {self._table}_id FROM {self._table}")
            self._known = {str(name): int(number) for name, number in cursor.fetchall()}
        return self._known

    def reset(self) -> None:
        self._known = {}


def insert_absent(table: str, columns: Sequence[str], key: int) -> str:
    """A row with these values, and again those of its key, unless there is one with that key."""
    names = [_quoted(column) for column in columns]
    same = " AND ".join(f"{name} <=> %s" for name in names[:key])
    values = ", ".join(["%s"] * len(names))
    return (
        f"INSERT INTO {_quoted(table)} ({', '.join(names)}) SELECT {values} FROM DUAL "
        f"WHERE NOT EXISTS (SELECT 1 FROM {_quoted(table)} WHERE {same})"
    )


def table_value(value: Value | None) -> float | int | str | None:
    """NaN and the infinities are NULL: no column of numbers holds them."""
    if isinstance(value, tuple):
        raise Rejected("a column of a table holds no array")
    return None if isinstance(value, float) and not isfinite(value) else value


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"
