"""An archive in an SQLite file to which the rows of another one are added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from typing import Any

from sqlalchemy import Connection

from archiver.storage.columns import ARRAY
from archiver.storage.owner import Owner, names
from archiver.storage.sqlite.file import PART, connect_writer, file_name, migrate, store_errors
from archiver.storage.sqlite.place import Place
from archiver.storage.sqlite.rows import SqliteIds
from archiver.storage.transfer.contract import UNFINISHED_NS, Channel, Figures, Row
from archiver.storage.transfer.tables import PRESENT, REBUILT, Table
from archiver.storage.url import DatabaseUrl

# Who has the file meanwhile, as an archiver is told
NAME = "rackioc db"

# A row is the same if its microsecond is: on a server there are no finer times.
_ADD = """
    INSERT INTO sample_settled (channel_id, smpl_time, severity_id, status_id, num_val, float_val, str_val,
        datatype, array_val)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?9, ?8 WHERE NOT EXISTS (
        SELECT 1 FROM sample_settled
        WHERE channel_id = ?1 AND smpl_time BETWEEN ?2 / 1000 * 1000 AND ?2 / 1000 * 1000 + 999)"""
_REMOVE = "DELETE FROM sample_settled WHERE channel_id = ? AND smpl_time = ? AND severity_id = ? AND str_val = ?"
_SETTLED = """
    INSERT INTO settled VALUES (?, ?)
    ON CONFLICT (part) DO UPDATE SET smpl_time = max(smpl_time, excluded.smpl_time)"""
_COPIED = """
    INSERT INTO copied VALUES (?, ?, ?)
    ON CONFLICT (source, channel_id) DO UPDATE SET until_time = max(until_time, excluded.until_time)"""
# All that waits settles: what is added may be older or newer than it.
_SETTLE = (
    "INSERT INTO sample_settled SELECT channel_id, smpl_time, severity_id, status_id, num_val, float_val, str_val, "
    "datatype, array_val FROM sample_recent ORDER BY channel_id, smpl_time",
    "INSERT INTO settled SELECT part, max(smpl_time) FROM sample_recent WHERE true GROUP BY part "
    "ON CONFLICT (part) DO UPDATE SET smpl_time = max(smpl_time, excluded.smpl_time)",
    "DELETE FROM sample_recent",
)
_PROGRESS = """
    CREATE TABLE IF NOT EXISTS copied (
        source TEXT NOT NULL, channel_id INTEGER NOT NULL, until_time INTEGER NOT NULL,
        PRIMARY KEY (source, channel_id)) WITHOUT ROWID"""
_FIGURES = """
    SELECT count(*), coalesce(sum(smpl_time / 1000 % 1000000), 0), min(smpl_time), max(smpl_time)
    FROM sample_settled WHERE channel_id = ? AND smpl_time BETWEEN ? AND ?"""


class SqliteTarget:
    """An archive in an SQLite file (a ``Target``); no archiver can open the file meanwhile."""

    first_ns, last_ns = -(2**63), 2**63 - 1

    def __init__(self, url: DatabaseUrl) -> None:
        self.where = file_name(url)
        with store_errors(self.where), ExitStack() as undo:
            self._place = Place(self.where, Owner.of(NAME))
            undo.callback(self._place.release)
            self._connection = connect_writer(url)
            undo.callback(self._connection.engine.dispose)
            undo.callback(self._connection.close)
            self._connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 10000")
            self._connection.rollback()
            migrate(self._connection, self.where)
            self._undo = undo.pop_all()
        self._source = ""

    def begin(self, source: str) -> None:
        """Make ready to take rows from a source, whose name is to be the same when the copy goes on."""
        self._source = source
        with self._transaction() as connection:
            for statement in (_PROGRESS, *_SETTLE):
                connection.exec_driver_sql(statement)

    def channels(self, channels: Sequence[Channel]) -> Mapping[int, int]:
        """Return the id here of each channel of a source: of the same PV and archiver; new ones are made."""
        with self._transaction() as connection:
            archivers = self._archivers(connection, {each.archiver for each in channels if each.archiver})
            return {each.number: _channel(connection, each, archivers) for each in channels}

    def statuses(self, names: Iterable[str]) -> Mapping[str, int]:
        """Return the ids of alarm statuses; new ones are made."""
        with self._transaction() as connection:
            return SqliteIds("status").ensure(connection, names)

    def copied(self) -> Mapping[int, int]:
        """Return up to which time (ns) each channel here has been copied from the source."""
        with self._transaction() as connection:
            rows = connection.exec_driver_sql(
                "SELECT channel_id, until_time FROM copied WHERE source = ?", (self._source,)
            )
            return {int(channel): int(until_ns) for channel, until_ns in rows}

    def add(self, rows: Sequence[Row], marks: Sequence[Row] = (), former: Sequence[Row] = ()) -> None:
        """Store rows, delete what is rebuilt of their channels, note how far they were copied: in one transaction.

        Before that gaps are deleted (``former``), and with the rows others are stored (``marks``), not copied ones.
        """
        newest = {row.channel: row.time_ns for row in rows}
        ends = newest | {row.channel: row.time_ns for row in marks}
        parts = {channel // PART: 0 for channel in ends}
        for channel, time_ns in ends.items():
            parts[channel // PART] = max(parts[channel // PART], time_ns)
        with self._transaction() as connection:
            cursor = connection.connection.cursor()
            cursor.executemany(_REMOVE, [(row.channel, row.time_ns, row.severity, row.str_val) for row in former])
            cursor.executemany(_ADD, [(*row, ARRAY if row.array_val else None) for row in (*rows, *marks)])
            cursor.executemany(_SETTLED, list(parts.items()))
            for name in REBUILT:
                cursor.executemany(f"DELETE FROM {name} WHERE channel_id = ?", [(channel,) for channel in ends])
            cursor.executemany(_COPIED, [(self._source, *each) for each in newest.items()])

    def figures(self, channel: int, first_ns: int, last_ns: int) -> Figures:
        """Return the figures of a channel's rows from one time to another, in full microseconds."""
        window = (first_ns // 1000 * 1000, last_ns // 1000 * 1000 + 999)
        with self._transaction() as connection:
            return Figures(*connection.exec_driver_sql(_FIGURES, (channel, *window)).one())

    def add_table(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Store rows of a table in one transaction."""
        keys, marks = ", ".join(table.columns[: table.key]), ", ".join("?" * len(table.columns))
        insert = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks}) ON CONFLICT ({keys}) DO "
        if table.greatest:
            insert += f"UPDATE SET {table.greatest} = max({table.greatest}, excluded.{table.greatest})"
        else:
            insert += "NOTHING"
        with self._transaction() as connection:
            connection.connection.cursor().executemany(insert, rows)

    def refresh_metadata(self, channels: Sequence[int]) -> None:
        """Make the present metadata of channels those that were dated last."""
        with self._transaction() as connection:
            cursor = connection.connection.cursor()
            keys = [(channel,) for channel in channels]
            for table, columns in PRESENT.items():
                names = ", ".join(columns)
                cursor.executemany(f"DELETE FROM {table} WHERE channel_id = ?", keys)
                cursor.executemany(
                    f"INSERT INTO {table} (channel_id, {names}) SELECT channel_id, {names} FROM {table}_history "
                    "WHERE channel_id = ?1 AND since_time = max("
                    "coalesce((SELECT max(since_time) FROM num_metadata_history WHERE channel_id = ?1), -1), "
                    "coalesce((SELECT max(since_time) FROM enum_metadata_history WHERE channel_id = ?1), -1))",
                    keys,
                )

    def finish(self, archivers: Mapping[str, int]) -> None:
        """Store the signs of life of the archivers, now that all is there that they knew until then."""
        update = "UPDATE archiver SET alive_time = ?1 WHERE name = ?2 AND (alive_time = ?3 OR alive_time < ?1)"
        with self._transaction() as connection:
            for name, alive_ns in archivers.items():
                connection.exec_driver_sql(update, (alive_ns, name, UNFINISHED_NS))

    def close(self) -> None:
        """Close the file and release its lock."""
        self._undo.close()

    @staticmethod
    def _archivers(connection: Connection, names: Iterable[str]) -> Mapping[str, int]:
        for name in sorted(names):
            connection.exec_driver_sql(
                f"INSERT INTO archiver (name, run, alive_time) VALUES (?, '', {UNFINISHED_NS}) "
                "ON CONFLICT (name) DO NOTHING",
                (name,),
            )
        rows = connection.exec_driver_sql("SELECT name, archiver_id FROM archiver")
        return {str(name): int(number) for name, number in rows}

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with store_errors(self.where), self._connection.begin():
            yield self._connection


def _channel(connection: Connection, channel: Channel, archivers: Mapping[str, int]) -> int:
    """Return the id of a channel, which is made if it is new.

    One that belongs to nobody, there or here, is that of its name: it belongs to whom adds the next row.
    """
    name, archiver = channel.name, None
    if channel.archiver is not None:
        archiver = archivers[channel.archiver]
        owned = "SELECT channel_id FROM channel_owner WHERE pv = ? AND archiver_id = ?"
        found = connection.exec_driver_sql(owned, (channel.pv, archiver)).scalar()
        if found is not None:
            return int(found)
        wanted = chain([name], islice(names(channel.pv, channel.archiver), 1, None))
        taken = "SELECT 1 FROM channel JOIN channel_owner USING (channel_id) WHERE name = ?"
        name = next(each for each in wanted if not connection.exec_driver_sql(taken, (each,)).scalar())
    number = connection.exec_driver_sql("SELECT channel_id FROM channel WHERE name = ?", (name,)).scalar()
    if number is None:
        insert = "INSERT INTO channel (name) VALUES (?) RETURNING channel_id"
        number = connection.exec_driver_sql(insert, (name,)).scalar_one()
    if archiver is not None:
        insert = "INSERT INTO channel_owner (channel_id, archiver_id, pv) VALUES (?, ?, ?)"
        connection.exec_driver_sql(insert, (number, archiver, channel.pv))
    return int(number)
