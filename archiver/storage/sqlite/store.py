"""The store of an archive in one SQLite file; others may read it at the same time.

Samples arrive in ``sample_recent``, in the order of time, and are moved in large steps to ``sample_settled``, in the
order of their channels: there a channel's history is in one place, and a step touches each place once for many rows.
That is done for some hundred channels at a time. All that is not later than its ``settled.smpl_time`` is settled,
and what comes late is stored there at once, so that no sample is in both.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from operator import itemgetter

from sqlalchemy import Connection

from archiver.sample import Dated, Gap, Sample
from archiver.storage.columns import UNNAMED, sample_of, stored_of
from archiver.storage.owner import Owner
from archiver.storage.sqlite import upkeep
from archiver.storage.sqlite.checkpoints import Checkpoints
from archiver.storage.sqlite.file import PART, connect_writer, file_name, migrate, space, store_errors
from archiver.storage.sqlite.metadata import add_metadata
from archiver.storage.sqlite.place import Place
from archiver.storage.sqlite.rows import SqliteChannels, SqliteIds, to_rows
from archiver.storage.sqlite.summaries import SqliteSummaryTables
from archiver.storage.store import Gone, Space, StoreError, TableRow
from archiver.storage.summarizer import Summarizer
from archiver.storage.upkeep.pace import Pace
from archiver.storage.url import DatabaseUrl

# Rows that may wait to be settled: the more, the less there is to write, and the more a reader has to scan.
SETTLE_ROWS = 1_000_000
# Seconds after which rows settle, however few there are.
SETTLE_PERIOD = 600.0
# Rows that settle in one transaction, and bytes of their arrays: to move these takes 50 ns a byte.
STEP_ROWS, STEP_BYTES = 120_000, 20_000_000

# Milliseconds to wait at the end for a reader in the midst of a transaction. A lock of another program costs two long
# waits before, one for what came last and one for the owner's name; a supervisor kills after 15 s in all.
LEAVE_MS = 1000

# Connections to files in whose place is another one with a log of its own: they stay open, for closing them would
# remove that log.
_ABANDONED: list[Connection] = []

_COLUMNS = "channel_id, smpl_time, severity_id, status_id, num_val, float_val, str_val, datatype, array_val"
_RECENT = "ON CONFLICT (part, smpl_time, channel_id) DO NOTHING"
_ADD_NUMBER = f"""
    INSERT INTO sample_recent (part, channel_id, smpl_time, severity_id, status_id, float_val)
    VALUES (?1 / {PART}, ?1, ?2, ?3, ?4, ?5) {_RECENT}"""
_ADD_OTHER = f"""
    INSERT INTO sample_recent (part, {_COLUMNS}) VALUES (?1 / {PART}, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) {_RECENT}"""
_ADD_LATE = f"""
    INSERT INTO sample_settled ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (channel_id, smpl_time) DO NOTHING"""

_OF_S = ", ".join(f"s.{column}" for column in _COLUMNS.split(", "))
_STATUS = f"coalesce((SELECT name FROM status WHERE status.status_id = one.status_id), '{UNNAMED}' || one.status_id)"

# Each table by itself, in this order and with all columns of its key: each channel costs one step down the tree. Of
# the view SQLite may choose to read all rows for each channel.
_NEWEST = f"""
    WITH newest AS (
        SELECT channel_id, max(smpl_time) AS smpl_time FROM (
            SELECT channel_id,
                   (SELECT max(smpl_time) FROM sample_settled AS s WHERE s.channel_id = channel.channel_id)
                   AS smpl_time
            FROM channel
            UNION ALL SELECT channel_id, max(smpl_time) FROM sample_recent GROUP BY channel_id)
        WHERE smpl_time IS NOT NULL GROUP BY channel_id),
    found AS (
        SELECT {_OF_S} FROM newest CROSS JOIN sample_settled AS s USING (channel_id, smpl_time)
        UNION ALL
        SELECT {_OF_S} FROM newest CROSS JOIN sample_recent AS s
        ON s.part = newest.channel_id / {PART} AND s.smpl_time = newest.smpl_time
            AND s.channel_id = newest.channel_id)
    SELECT pv, smpl_time, severity_id, {_STATUS},
           num_val, float_val, str_val, datatype, array_val
    FROM found AS one JOIN channel_owner USING (channel_id) WHERE archiver_id = ?"""

_NEWEST_VALUES = """
    SELECT pv, max(smpl_time) FROM (
        SELECT channel_id,
               (SELECT smpl_time FROM sample_settled AS s
                WHERE s.channel_id = channel.channel_id AND smpl_time <= ?1 AND status_id NOT IN ({gaps})
                ORDER BY smpl_time DESC LIMIT 1) AS smpl_time
        FROM channel
        UNION ALL SELECT channel_id, max(smpl_time) FROM sample_recent
        WHERE smpl_time <= ?1 AND status_id NOT IN ({gaps}) GROUP BY channel_id)
    JOIN channel_owner USING (channel_id) WHERE smpl_time IS NOT NULL AND archiver_id = ?2 GROUP BY pv"""

# Each table by itself: of the view SQLite would read all rows of the channel.
_LATEST = f"""
    SELECT smpl_time, severity_id, {_STATUS},
           num_val, float_val, str_val, datatype, array_val
    FROM sample AS one
    WHERE channel_id = ?1 AND smpl_time >= coalesce(
        (SELECT max(newest) FROM (
            SELECT max(smpl_time) AS newest FROM sample_settled WHERE channel_id = ?1 AND smpl_time <= ?2
            UNION ALL SELECT max(smpl_time) FROM sample_recent
            WHERE part = ?1 / {PART} AND channel_id = ?1 AND smpl_time <= ?2)), 0)
    ORDER BY smpl_time LIMIT ?3"""

_SETTLE = (
    f"INSERT INTO sample_settled ({_COLUMNS}) SELECT {_COLUMNS} FROM sample_recent "
    "WHERE part = :part AND smpl_time <= :until ORDER BY channel_id, smpl_time",
    "INSERT INTO settled VALUES (:part, :until) "
    "ON CONFLICT (part) DO UPDATE SET smpl_time = max(smpl_time, excluded.smpl_time)",
    "DELETE FROM sample_recent WHERE part = :part AND smpl_time <= :until",
)


class SqliteStore:
    """The writing side of an archive in an SQLite file (a ``Store``)."""

    def __init__(self, url: DatabaseUrl, owner: Owner) -> None:
        self._file = file_name(url)
        self._owner = owner
        self._channels = SqliteChannels(owner)
        self._place = Place(self._file, owner)
        with store_errors(self._file), ExitStack() as undo:
            undo.callback(self._place.release)
            self._connection = connect_writer(url)
            undo.callback(self._connection.engine.dispose)
            undo.callback(self._connection.close)
            migrate(self._connection, self._file)
            self._place.opened()
            self._settled_ns = dict(self._pairs("SELECT part, smpl_time FROM settled"))
            rows = self._pairs("SELECT part, count(*) FROM sample_recent GROUP BY part")
            self._recent = sum(count for _, count in rows)
            with self._connection.begin():
                self.alive_ns = self._channels.begin(self._connection, self._file)
            undo.pop_all()
        self._checkpoints = Checkpoints(self._place)
        self._last_part, self._settle_at = -1, time.monotonic() + SETTLE_PERIOD
        self._settling: tuple[int, int] | None = None  # what was begun: a part, and until when
        self._statuses = SqliteIds("status")
        self._summarizer = Summarizer()
        self._pace = Pace()
        self._known_ns = self.alive_ns  # up to when all rows are stored

    def add(self, samples: Sequence[Sample]) -> None:
        """Store all the samples, or none, in one transaction."""
        with self._transaction() as connection:
            try:
                rows = to_rows(samples, self._channels, self._statuses, self._settled_ns)
            except KeyError:  # a name that is seen for the first time
                self._channels.ensure(connection, {each.pv for each in samples})
                self._statuses.ensure(connection, {each.status for each in samples})
                rows = to_rows(samples, self._channels, self._statuses, self._settled_ns)
            # by the driver itself: SQLAlchemy would cost as much again
            cursor = connection.connection.cursor()
            cursor.executemany(_ADD_NUMBER, rows.numbers)
            cursor.executemany(_ADD_OTHER, rows.others)
            cursor.executemany(_ADD_LATE, sorted(rows.late, key=itemgetter(0, 1)))
            if rows.late:  # only what has settled is summarized
                self._summarizer.mark_late(self._summary_tables(connection), (row[:2] for row in rows.late))
        self._recent += len(rows.numbers) + len(rows.others)

    def add_metadata(self, metadata: Mapping[str, Dated], *, keep_equal: bool = False) -> None:
        """Store the metadata of PVs that hold from the time of a row on, in one transaction, in any order."""
        with self._transaction() as connection:
            channels = self._channels.ensure(connection, metadata)
            shared = self._channels.shared(connection, metadata)  # what is read is what all series say
            for pv, dated in metadata.items():
                add_metadata(connection, channels[pv], dated, keep_equal=keep_equal or pv in shared)
                self._summarizer.mark_since(self._summary_tables(connection), channels[pv], dated.since_ns)

    def add_rows(self, rows: Sequence[TableRow]) -> None:
        """Store rows of tables that exist, all or none, in one transaction."""
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
        """Return the newest sample of each PV of this archiver."""
        with self._transaction() as connection:
            rows = connection.exec_driver_sql(_NEWEST, (self._channels.archiver,))
            return [
                sample_of(pv, time_ns, stored_of(*columns), severity, status)
                for pv, time_ns, severity, status, *columns in rows
            ]

    def unowned(self) -> Sequence[Sample]:
        """Return nothing: a file has one archiver at a time, to which belongs what has no owner."""
        return []

    def live(self, time_ns: int) -> None:
        """Store the sign of life: all that was known until then is stored. Raises Gone if another has the name."""
        with self._transaction() as connection:
            self._channels.live(connection, time_ns, self._file)
        self._known_ns = time_ns

    def latest(self, pv: str, since_ns: int, most: int) -> Sequence[Sample]:
        """Return this archiver's sample of a PV in force at a time, if there is one, and later ones, in order.

        ``most``: how many at most.
        """
        with self._transaction() as connection:
            channel = self._channels.ensure(connection, ()).get(pv)
            rows = connection.exec_driver_sql(_LATEST, (channel, since_ns, most))
            return [
                sample_of(pv, time_ns, stored_of(*columns), severity, status)
                for time_ns, severity, status, *columns in rows
            ]

    def newest_values(self, until_ns: int) -> Mapping[str, int]:
        """Return the time (ns) of the newest row of each PV, up to a time, that marks no gap."""
        with self._transaction() as connection:
            archiver = self._channels.archiver
            gaps = ", ".join(map(str, self._gaps(connection)))
            rows = connection.exec_driver_sql(_NEWEST_VALUES.format(gaps=gaps), (until_ns, archiver))
            return {name: int(time_ns) for name, time_ns in rows}

    def tidy(self) -> bool:
        """Settle the next part if many rows wait, and each part now and then, else make summaries.

        Return True if more is to be done at once.
        """
        if not self._settling and (self._recent >= SETTLE_ROWS or time.monotonic() >= self._settle_at):
            following = "SELECT coalesce(min(part), -1) FROM sample_recent WHERE part > ?"
            with self._transaction() as connection:
                self._last_part = int(connection.exec_driver_sql(following, (self._last_part,)).scalar_one())
            self._settling = self._most(self._last_part)
            self._settle_at = time.monotonic() + SETTLE_PERIOD / (len(self._settled_ns) + 1)
        if self._settling:
            part, until_ns = self._settling
            if (step_ns := self._step_of(part, until_ns)) == until_ns:
                self._settling = None
            self._settle(part, step_ns)
            if self._settling:
                return True
        if self._recent >= SETTLE_ROWS:
            return True
        return self._summarizer.due and self._summarize()

    def expire(self, pv: str, before_ns: int) -> bool:
        """Delete some rows and bins older than a time, not the row in force then; return True if more are left."""
        began = time.monotonic()
        with self._settled_channel(pv, before_ns) as (connection, channel):
            until_ns, more = upkeep.expire(connection, channel, before_ns, self._pace.rows)
            self._summarizer.expired(self._summary_tables(connection), channel, until_ns)
        self._pace.took(time.monotonic() - began, more=more)
        return more

    def thin(self, pv: str, until_ns: int, width_ns: int) -> bool:
        """Thin some bins that end before a time; return True if more are left."""
        with self._settled_channel(pv, until_ns) as (connection, channel):
            until_ns = self._summarizer.limit(self._summary_tables(connection), channel, until_ns)
            return upkeep.thin(connection, channel, until_ns, width_ns)

    def expire_months(self, before_ns: Mapping[str, int]) -> bool:
        """Return False: no rows of a file lie apart by month."""
        return False

    def shrink(self) -> bool:
        """Give some free pages back to the disk; return True if more are to be given."""
        with self._transaction() as connection:
            return upkeep.shrink(connection)

    def space(self) -> Space:
        """Return what the rows use, and what is free on the disk and within the file."""
        with self._transaction() as connection:
            return space(connection, self._file)

    def close(self) -> None:
        """Close the file, and give the owner's name free."""
        self._checkpoints.close()
        try:
            with suppress(StoreError), self._transaction() as connection:
                self._channels.end(connection)
            self._leave()
        finally:
            self._owner.leave()
            self._place.release()

    def _summarize(self) -> bool:
        """Make some summaries of what has settled; return True if more are to be made at once."""
        with self._transaction() as connection:
            channels = self._channels.ensure(connection, ()).values()
            return self._summarizer.step(
                self._summary_tables(connection),
                channels,
                lambda channel: min(self._known_ns, self._settled_ns.get(channel // PART, 0)),
            )

    def _summary_tables(self, connection: Connection) -> SqliteSummaryTables:
        return SqliteSummaryTables(connection, self._channels.archiver, self._gaps(connection))

    def _gaps(self, connection: Connection) -> Sequence[int]:
        """Return the ids of the statuses that mark gaps."""
        ids = self._statuses.ensure(connection, Gap)
        return [ids[gap] for gap in Gap]

    def _leave(self) -> None:
        """Close the connection. SQLite removes the log at that path then, whichever file it belongs to."""
        with suppress(sqlite3.Error):  # also beside readers, which do not: nothing is left for a file that comes here
            cursor = self._connection.connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {LEAVE_MS}")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        try:
            self._place.check()
        except Gone:
            if not self._place.remove_log():
                _ABANDONED.append(self._connection)
                return
        self._connection.close()
        self._connection.engine.dispose()

    def _most(self, part: int) -> tuple[int, int] | None:
        """Return a part, and until when its rows are to settle: all but its newest eighth, or a step of them.

        More rows of the time that these span are still to come. None if there is no row.
        """
        rows = "SELECT count(*) FROM sample_recent WHERE part = ?"
        last = "SELECT smpl_time FROM sample_recent WHERE part = ? ORDER BY smpl_time LIMIT 1 OFFSET ?"
        with self._transaction() as connection:
            count = int(connection.exec_driver_sql(rows, (part,)).scalar_one())
            step = min(STEP_ROWS, max(1, count - count // 8))
            until_ns = connection.exec_driver_sql(last, (part, step - 1)).scalar()
        return None if until_ns is None else (part, int(until_ns))

    def _step_of(self, part: int, until_ns: int) -> int:
        """Return until when rows may settle in one transaction; before a given time if there are large arrays."""
        rows = "FROM sample_recent WHERE part = ? AND smpl_time <= ?"
        with self._transaction() as connection:
            sizes = f"SELECT count(*), total(length(array_val)) {rows}"
            count, size = connection.exec_driver_sql(sizes, (part, until_ns)).one()
            if size <= STEP_BYTES:
                return until_ns
            last = f"SELECT smpl_time {rows} ORDER BY smpl_time LIMIT 1 OFFSET ?"
            return int(
                connection.exec_driver_sql(last, (part, until_ns, int(count * STEP_BYTES / size))).scalar_one()
            )

    def _settle(self, part: int, until_ns: int) -> None:
        with self._transaction() as connection:
            for statement in _SETTLE:
                result = connection.exec_driver_sql(statement, {"part": part, "until": until_ns})
        self._recent -= result.rowcount  # of the last one, which deletes
        self._settled_ns[part] = max(self._settled_ns.get(part, 0), until_ns)

    @contextmanager
    def _settled_channel(self, pv: str, until_ns: int) -> Iterator[tuple[Connection, int]]:
        """Begin a transaction, and return the channel's id; its rows up to ``until_ns`` are settled."""
        with self._transaction() as connection:
            channel = self._channels.ensure(connection, ()).get(pv, 0)
            part = channel // PART
            if not self._recent or until_ns <= self._settled_ns.get(part, 0):
                yield connection, channel
                return
        self._settle(part, until_ns)
        with self._transaction() as connection:
            yield connection, channel

    def _pairs(self, sql: str) -> list[tuple[int, int]]:
        with self._connection.begin():
            return [(int(key), int(number)) for key, number in self._connection.exec_driver_sql(sql)]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            self._place.check()
            with store_errors(self._file), self._connection.begin():
                yield self._connection
            self._place.check()  # what was committed meanwhile is stored again, in the file that is there then
        except BaseException:
            # Ids that were cached in a transaction that failed are not in the database.
            self._channels.reset()
            self._statuses.reset()
            self._summarizer.reset()
            raise
