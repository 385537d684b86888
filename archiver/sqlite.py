"""Writing the archive to one SQLite file; others may read it at the same time."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from archiver.sample import Metadata, Sample, Value
from archiver.sqlite_file import connect_writer, migrate, sentences

SAMPLES = """
    SELECT channel.name, smpl_time, coalesce(str_val, num_val, float_val), severity_id - 1, status.name
    FROM sample JOIN channel USING (channel_id) JOIN status USING (status_id)"""

# Both columns of the key are given, so that each channel costs one step down the tree and not all its rows.
_NEWEST = f"""{SAMPLES}
    WHERE (channel_id, smpl_time) IN (
        SELECT channel_id, (SELECT max(smpl_time) FROM sample WHERE sample.channel_id = channel.channel_id)
        FROM channel)"""

_ADD = """
    INSERT INTO sample (channel_id, smpl_time, severity_id, status_id, num_val, float_val, str_val)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (channel_id, smpl_time) DO NOTHING"""

_ADD_NUMERIC = """
    INSERT INTO num_metadata (channel_id, low_disp_rng, high_disp_rng, low_warn_lmt, high_warn_lmt,
                              low_alarm_lmt, high_alarm_lmt, prec, unit)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""


class SqliteStore:
    def __init__(self, url: URL) -> None:
        self._file = str(url.database)
        with sentences(self._file), ExitStack() as undo:
            self._connection = connect_writer(url)
            undo.callback(self.close)
            migrate(self._connection, self._file)
            undo.pop_all()
        self._channels = _Numbers("channel")
        self._statuses = _Numbers("status")

    def add(self, samples: Sequence[Sample]) -> None:
        with self._transaction() as connection:
            channels = self._channels.of(connection, {sample.pv for sample in samples})
            statuses = self._statuses.of(connection, {sample.status for sample in samples})
            rows = [
                (channels[s.pv], s.time_ns, s.severity + 1, statuses[s.status], *_columns(s.value)) for s in samples
            ]
            rows.sort(key=lambda row: row[:2])  # in the order of the key, each page of the tree is visited once
            _execute_many(connection, _ADD, rows)

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        with self._transaction() as connection:
            channels = self._channels.of(connection, metadata)
            known = {channels[pv]: about for pv, about in metadata.items()}
            for table in ("num_metadata", "enum_metadata"):
                _execute_many(connection, f"DELETE FROM {table} WHERE channel_id = ?", [(each,) for each in known])
            numeric = [
                (number, *about.display, *about.warning, *about.alarm, about.precision, about.unit)
                for number, about in known.items()
                if not about.words
            ]
            words = [(number, *word) for number, about in known.items() for word in enumerate(about.words)]
            _execute_many(connection, _ADD_NUMERIC, numeric)
            _execute_many(connection, "INSERT INTO enum_metadata VALUES (?, ?, ?)", words)

    def newest(self) -> Sequence[Sample]:
        with self._transaction() as connection:
            return [Sample(*row) for row in connection.exec_driver_sql(_NEWEST)]

    def close(self) -> None:
        self._connection.close()
        self._connection.engine.dispose()

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


class _Numbers:
    """The row numbers of the names in one table, given at first sight."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._known: dict[str, int] = {}

    def of(self, connection: Connection, names: Iterable[str]) -> Mapping[str, int]:
        if new := [(name,) for name in names if name not in self._known]:
            _execute_many(connection, f"INSERT INTO {self._table} (name) VALUES (?) ON CONFLICT DO NOTHING", new)
            rows = connection.exec_driver_sql(f"SELECT name, {self._table}_id FROM {self._table}")
            self._known = {name: int(number) for name, number in rows}
        return self._known

    def forget(self) -> None:
        self._known = {}


def _execute_many(connection: Connection, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:  # SQLAlchemy would run the statement once, without parameters
        connection.exec_driver_sql(sql, list(rows))


def _columns(value: Value) -> tuple[int | None, float | None, str | None]:
    """num_val, float_val and str_val: one is set. NaN is text, for SQLite keeps it as NULL and MySQL not at all."""
    if isinstance(value, float):
        return (None, value, None) if math.isfinite(value) else (None, None, _WORDS[str(value)])
    return (value, None, None) if isinstance(value, int) else (None, None, value)


_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
