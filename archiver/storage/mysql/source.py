"""The rows of an archive on a MySQL or MariaDB server as they are, for a copy; its archiver may write meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from pymysql.cursors import SSCursor

from archiver.storage.mysql.errors import store_errors
from archiver.storage.mysql.rows import TIME_NS, unix
from archiver.storage.mysql.server import MysqlSession
from archiver.storage.store import StoreError
from archiver.storage.transfer.contract import FIRST_ROWS, STRANGERS, Figures, Row, gathered, next_limit
from archiver.storage.transfer.named import Named
from archiver.storage.transfer.tables import Table
from archiver.storage.url import DatabaseUrl

# How long one statement may take: one that counts all rows of a large archive.
PATIENCE_S = 3600

_SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
_ROWS = f"""
    SELECT channel_id, {TIME_NS}, severity_id, status_id, num_val, float_val, str_val,
        CASE WHEN datatype = 'd' THEN array_val END
    FROM sample WHERE channel_id = %s AND smpl_time > FROM_UNIXTIME(%s) ORDER BY smpl_time, nanosecs LIMIT %s"""
_MICROSECONDS = "FLOOR(UNIX_TIMESTAMP({}(smpl_time)) * 1000000)"
FIGURES = (
    f"COUNT(*), COALESCE(SUM(nanosecs DIV 1000), 0), {_MICROSECONDS.format('MIN')}, {_MICROSECONDS.format('MAX')}"
)


class MysqlSource(Named):
    """An archive on a MySQL or MariaDB server, as it was when it was opened (a ``Source``)."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._session = MysqlSession(url, writing=False, patience_s=PATIENCE_S)
        with ExitStack() as stack:
            stack.callback(self._session.close)
            self._cursor = stack.enter_context(self._session.transaction(_SNAPSHOT))
            self._open()
            self._stack = stack.pop_all()
        self.where = self._session.where

    def figures(self, until_ns: Mapping[int, int] | None = None) -> Mapping[int, Figures]:
        """Return the figures of each channel that has rows; only of those up to a time each where it is given."""
        if until_ns is None:
            rows = self._rows(f"SELECT channel_id, {FIGURES} FROM sample GROUP BY channel_id")
            return {int(channel): figures_of(row) for channel, *row in rows}
        up_to = f"SELECT {FIGURES} FROM sample WHERE channel_id = %s AND smpl_time <= FROM_UNIXTIME(%s)"
        found = {
            channel: figures_of(self._rows(up_to, channel, unix(end_ns // 1000))[0])
            for channel, end_ns in until_ns.items()
        }
        return {channel: each for channel, each in found.items() if each.rows}

    def chunks(self, channels: Sequence[int], after_ns: Mapping[int, int]) -> Iterator[Sequence[Row]]:
        """Yield the rows of some channels later than a time each (left out: all), each channel's in order of time."""
        return gathered(step for channel in channels for step in self._steps(channel, after_ns.get(channel, 0)))

    def table(self, table: Table) -> Iterator[Sequence[Any]]:
        """Yield the rows of a table as the server sends them."""
        keys = ", ".join(table.columns[: table.key])
        with store_errors(self.where), self._cursor.connection.cursor(SSCursor) as cursor:
            cursor.execute(f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {keys}")
            yield from cursor

    def faults(self) -> Iterator[str]:
        """Yield what the server finds wrong with its tables."""
        for table, _ in self._rows("SHOW FULL TABLES WHERE table_type = 'BASE TABLE'"):
            for _, _, kind, told in self._rows(f"CHECK TABLE `{table}`"):
                if kind != "status" or told != "OK":
                    yield f"{table}: {told}"
        ((rows,),) = self._rows(STRANGERS)
        if rows:
            yield f"{rows} rows belong to no channel"

    def close(self) -> None:
        """Close the connection."""
        with suppress(StoreError):
            self._stack.close()

    def _steps(self, channel: int, after_ns: int) -> Iterator[Sequence[Row]]:
        limit = FIRST_ROWS
        while found := self._rows(_ROWS, channel, unix(after_ns // 1000), limit):
            rows = [Row(number, int(time_ns), *others) for number, time_ns, *others in found]
            yield rows
            if len(rows) < limit:
                return
            after_ns = rows[-1].time_ns
            limit = next_limit(rows)

    def _rows(self, sql: str, *values: object) -> Sequence[Any]:
        with store_errors(self._session.where):
            self._cursor.execute(sql, values)
            return self._cursor.fetchall()


def figures_of(row: Sequence[Any]) -> Figures:
    """Return the figures of a row of FIGURES."""
    rows, fractions, first_us, last_us = row
    return Figures(int(rows), int(fractions), int(first_us or 0) * 1000, int(last_us or 0) * 1000)
