"""Writing the archive to one SQLite file; others may read it at the same time.

Samples arrive in `sample_recent`, in the order of time, and are moved in large steps to `sample_settled`, in the
order of their channels: there a channel's history is in one place, and a step touches each place once for many rows.
All that is not later than `settled.smpl_time` is settled, and what comes late goes there straight, so that no sample
is in both.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import Connection

from archiver import sqlite_upkeep
from archiver.columns import from_columns, to_columns
from archiver.sample import Dated, Sample
from archiver.sqlite_file import connect_writer, file_name, migrate, sentences
from archiver.sqlite_metadata import describe
from archiver.store import SeedRow
from archiver.url import DatabaseUrl

SETTLE_ROWS = 300_000
SETTLE_PERIOD = 600.0

_COLUMNS = "channel_id, smpl_time, severity_id, status_id, num_val, float_val, str_val, datatype, array_val"
_CONFLICT = "ON CONFLICT (channel_id, smpl_time) DO NOTHING"
_ADD = f"INSERT INTO {{}} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) {_CONFLICT}"
_ADD_NUMBER = f"""
    INSERT INTO sample_recent (channel_id, smpl_time, severity_id, status_id, float_val) VALUES (?, ?, ?, ?, ?)
    {_CONFLICT}"""

# Both columns of the key are given, so that each channel costs one step down the tree and not all its rows.
_NEWEST = """
    WITH newest AS (
        SELECT channel_id, max(smpl_time) AS smpl_time FROM (
            SELECT channel_id,
                   (SELECT max(smpl_time) FROM sample_settled AS s WHERE s.channel_id = channel.channel_id)
                   AS smpl_time
            FROM channel
            UNION ALL SELECT channel_id, max(smpl_time) FROM sample_recent GROUP BY channel_id)
        WHERE smpl_time IS NOT NULL GROUP BY channel_id)
    SELECT channel.name, smpl_time, severity_id - 1, status.name, num_val, float_val, str_val, datatype, array_val
    FROM sample JOIN newest USING (channel_id, smpl_time)
    JOIN channel USING (channel_id) JOIN status USING (status_id)"""

_SETTLE = (
    f"INSERT INTO sample_settled ({_COLUMNS}) SELECT {_COLUMNS} FROM sample_recent WHERE smpl_time <= :until "
    "ORDER BY channel_id, smpl_time",
    "DELETE FROM sample_recent WHERE smpl_time <= :until",
    "UPDATE settled SET smpl_time = max(smpl_time, :until)",
)


class SqliteStore:
    def __init__(self, url: DatabaseUrl) -> None:
        self._file = file_name(url)
        with sentences(self._file), ExitStack() as undo:
            self._connection = connect_writer(url)
            undo.callback(self.close)
            migrate(self._connection, self._file)
            self._settled_ns = self._number("SELECT smpl_time FROM settled")
            self._recent = self._number("SELECT count(*) FROM sample_recent")
            undo.pop_all()
        self._settle_at = time.monotonic() + SETTLE_PERIOD
        self._channels = _Numbers("channel")
        self._statuses = _Numbers("status")

    def add(self, samples: Sequence[Sample]) -> None:
        with self._transaction() as connection:
            try:
                rows = self._rows(samples)
            except KeyError:  # a name that is seen for the first time
                self._channels.learn(connection, {each.pv for each in samples})
                self._statuses.learn(connection, {each.status for each in samples})
                rows = self._rows(samples)
            # by the driver itself: SQLAlchemy's way to it would cost as much again
            cursor = connection.connection.cursor()
            cursor.executemany(_ADD_NUMBER, rows.numbers)
            cursor.executemany(_ADD.format("sample_recent"), rows.others)
            cursor.executemany(_ADD.format("sample_settled"), sorted(rows.late, key=itemgetter(0, 1)))
        self._recent += len(rows.numbers) + len(rows.others)

    def describe(self, metadata: Mapping[str, Dated]) -> None:
        with self._transaction() as connection:
            channels = self._channels.learn(connection, metadata)
            for pv, dated in metadata.items():
                describe(connection, channels[pv], dated)

    def add_rows(self, rows: Sequence[SeedRow]) -> None:
        with self._transaction() as connection:
            for row in rows:
                keys = row.columns[: row.key]
                known = " AND ".join(f'"{key}" IS ?' for key in keys)
                names = ", ".join(f'"{name}"' for name in row.columns)
                marks = ", ".join("?" * len(row.columns))
                connection.exec_driver_sql(
                    f'INSERT INTO "{row.table}" ({names}) SELECT {marks} '
                    f'WHERE NOT EXISTS (SELECT 1 FROM "{row.table}" WHERE {known})',
                    (*row.values, *row.values[: row.key]),
                )

    def newest(self) -> Sequence[Sample]:
        with self._transaction() as connection:
            rows = connection.exec_driver_sql(_NEWEST)
            return [
                Sample(pv, time_ns, from_columns(*columns), severity, status)
                for pv, time_ns, severity, status, *columns in rows
            ]

    def tidy(self) -> bool:
        """Settle what has arrived, when it is much or has lain there for some time.

        All but the newest eighth: of the time that this spans, more rows are still to come.
        """
        due = self._recent and time.monotonic() >= self._settle_at
        if self._recent >= SETTLE_ROWS or due:
            newest = f"SELECT smpl_time FROM sample_recent ORDER BY smpl_time DESC LIMIT 1 OFFSET {self._recent // 8}"
            self._settle(self._number(newest))
            self._settle_at = time.monotonic() + SETTLE_PERIOD
        return False

    def expire(self, pv: str, before_ns: int) -> bool:
        with self._transaction_on_settled(before_ns) as connection:
            return sqlite_upkeep.expire(connection, self._channels.learn(connection, [pv])[pv], before_ns)

    def thin(self, pv: str, until_ns: int, width_ns: int) -> bool:
        with self._transaction_on_settled(until_ns) as connection:
            return sqlite_upkeep.thin(connection, self._channels.learn(connection, [pv])[pv], until_ns, width_ns)

    def close(self) -> None:
        self._connection.close()
        self._connection.engine.dispose()

    def _rows(self, samples: Sequence[Sample]) -> "_Rows":
        channels, statuses, settled_ns = self._channels.known, self._statuses.known, self._settled_ns
        rows = _Rows([], [], [])
        add_number = rows.numbers.append
        for pv, time_ns, value, severity, status in samples:
            if time_ns > settled_ns and type(value) is float and value - value == 0.0:  # finite: nearly all there is
                add_number((channels[pv], time_ns, severity + 1, statuses[status], value))
            else:
                some = rows.others if time_ns > settled_ns else rows.late
                some.append((channels[pv], time_ns, severity + 1, statuses[status], *to_columns(value)))
        return rows

    def _settle(self, until_ns: int) -> None:
        with self._transaction() as connection:
            for statement in _SETTLE:
                connection.exec_driver_sql(statement, {"until": until_ns})
            self._recent = int(connection.exec_driver_sql("SELECT count(*) FROM sample_recent").scalar_one())
        self._settled_ns = max(self._settled_ns, until_ns)

    @contextmanager
    def _transaction_on_settled(self, until_ns: int) -> Iterator[Connection]:
        """Old rows are dealt with where they are in the order of their channels."""
        if self._recent and until_ns > self._settled_ns:
            self._settle(until_ns)
        with self._transaction() as connection:
            yield connection

    def _number(self, sql: str) -> int:
        with self._connection.begin():
            return int(self._connection.exec_driver_sql(sql).scalar_one())

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with sentences(self._file), self._connection.begin():
                yield self._connection
        except BaseException:
            # What was numbered in a transaction that failed was never numbered.
            self._channels.forget()
            self._statuses.forget()
            raise


class _Rows(NamedTuple):
    """Samples as rows: plain numbers, anything else, and whatever comes late."""

    numbers: list[tuple[int, int, int, int, float]]
    others: list[tuple[object, ...]]
    late: list[tuple[object, ...]]


class _Numbers:
    """The row numbers of the names in one table, given at first sight."""

    def __init__(self, table: str) -> None:
        self._table = table
        self.known: dict[str, int] = {}

    def learn(self, connection: Connection, names: Iterable[str]) -> Mapping[str, int]:
        """The numbers of these names and others, new ones made where needed."""
        if new := [(name,) for name in names if name not in self.known]:
            insert = f"INSERT INTO {self._table} (name) VALUES (?) ON CONFLICT DO NOTHING"
            connection.exec_driver_sql(insert, new)
            rows = connection.exec_driver_sql(f"SELECT name, {self._table}_id FROM {self._table}")
            self.known = {name: int(number) for name, number in rows}
        return self.known

    def forget(self) -> None:
        self.known = {}
