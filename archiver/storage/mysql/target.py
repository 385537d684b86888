"""An archive on a MySQL or MariaDB server to which the rows of another one are added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from pymysql.cursors import Cursor

from archiver.sample import INVALID, RESOLUTION_NS, Gap
from archiver.storage.columns import ARRAY
from archiver.storage.mysql.errors import again_if_crossed
from archiver.storage.mysql.rows import FIRST_US, LATEST_US, MysqlIds, statements, unix
from archiver.storage.mysql.server import ALONE_S, MysqlSession
from archiver.storage.mysql.source import FIGURES, figures_of
from archiver.storage.mysql.tables import months
from archiver.storage.mysql.tables.schema import migrate
from archiver.storage.owner import names
from archiver.storage.transfer.contract import UNFINISHED_NS, Channel, Figures, Row
from archiver.storage.transfer.tables import PRESENT, REBUILT, Table
from archiver.storage.url import DatabaseUrl

# Bytes of a TEXT, and the integers of an INT: values that are larger become Write_Error, as of an archiver.
LONGEST_TEXT = 65_535
INTEGERS = range(-(2**31), 2**31)

_ADD = """INSERT INTO sample (channel_id, smpl_time, nanosecs, severity_id, status_id,
    num_val, float_val, str_val, datatype, array_val) VALUES """
_REMOVE = """DELETE FROM sample
    WHERE channel_id = %s AND smpl_time = FROM_UNIXTIME(%s) AND severity_id = %s AND str_val = %s"""
_PROGRESS = """
    CREATE TABLE IF NOT EXISTS copied (
        source VARCHAR(64) NOT NULL, channel_id INT UNSIGNED NOT NULL, until_time BIGINT NOT NULL,
        PRIMARY KEY (source, channel_id)) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"""
_COPIED = """
    INSERT INTO copied VALUES (%s, %s, %s)
    ON DUPLICATE KEY UPDATE until_time = GREATEST(until_time, VALUES(until_time))"""
_FIGURES = f"""
    SELECT {FIGURES} FROM sample
    WHERE channel_id = %s AND smpl_time >= FROM_UNIXTIME(%s) AND smpl_time <= FROM_UNIXTIME(%s)"""
_NEWEST = "(SELECT COALESCE(MAX(since_time), -1) FROM {}_history AS every WHERE every.channel_id = %s)"


class MysqlTarget:
    """An archive on a MySQL or MariaDB server (a ``Target``); archivers may write to it meanwhile."""

    first_ns, last_ns = FIRST_US * 1000, LATEST_US * 1000 + 999

    def __init__(self, url: DatabaseUrl) -> None:
        self._statuses = MysqlIds("status")
        self._session = MysqlSession(url, writing=True, patience_s=ALONE_S, caches=[self._statuses])
        self._source = ""
        self._write_error = 0
        self._first_ns = LATEST_US * 1000  # from then on there are months
        migrate(url)
        with self._session.transaction() as cursor:
            self.where = self._session.where
            months.prepare(cursor, self.where)

    def begin(self, source: str) -> None:
        """Make ready to take rows from a source, whose name is to be the same when the copy goes on."""
        self._source = source
        with self._session.transaction() as cursor:
            cursor.execute("SHOW TABLES LIKE 'copied'")
            if not cursor.fetchall():  # a warning, otherwise
                cursor.execute(_PROGRESS)

    @again_if_crossed
    def channels(self, channels: Sequence[Channel]) -> Mapping[int, int]:
        """Return the id here of each channel of a source: of the same PV and archiver; new ones are made."""
        with self._session.transaction() as cursor:
            archivers = self._archivers(cursor, {each.archiver for each in channels if each.archiver})
            cursor.execute(
                "SELECT name, channel.channel_id, archiver_id FROM channel "
                "LEFT JOIN channel_owner ON channel_owner.channel_id = channel.channel_id"
            )
            named = {name: (channel, archiver) for name, channel, archiver in cursor.fetchall()}
            cursor.execute("SELECT pv, archiver_id, channel_id FROM channel_owner")
            owned = {(pv, archiver): channel for pv, archiver, channel in cursor.fetchall()}
            return {each.number: _channel(cursor, each, archivers, named, owned) for each in channels}

    @again_if_crossed
    def statuses(self, names: Iterable[str]) -> Mapping[str, int]:
        """Return the ids of alarm statuses; new ones are made."""
        with self._session.transaction() as cursor:
            found = self._statuses.ensure(cursor, {*names, Gap.WRITE_ERROR.value})
            self._write_error = found[Gap.WRITE_ERROR]
            return found

    def copied(self) -> Mapping[int, int]:
        """Return up to which time (ns) each channel here has been copied from the source."""
        with self._session.transaction() as cursor:
            cursor.execute("SELECT channel_id, until_time FROM copied WHERE source = %s", (self._source,))
            return dict(cursor.fetchall())

    @again_if_crossed
    def add(self, rows: Sequence[Row], marks: Sequence[Row] = (), former: Sequence[Row] = ()) -> None:
        """Store rows, delete what is rebuilt of their channels, note how far they were copied: in one transaction.

        Before that gaps are deleted (``former``), and with the rows others are stored (``marks``), not copied ones.
        """
        newest = {row.channel: row.time_ns for row in rows}
        first_ns = min((row.time_ns for row in (*rows, *marks)), default=self._first_ns)
        if first_ns < self._first_ns:
            with self._session.transaction() as cursor:
                months.cover(cursor, self.where, first_ns / 1e9)
            self._first_ns = months.month_s(first_ns / 1e9) * 10**9
        with self._session.transaction() as cursor:
            escape = cursor.connection.escape
            for row in former:
                cursor.execute(_REMOVE, (row.channel, unix(row.time_ns // 1000), row.severity, row.str_val))
            for values in statements([_sql(row, escape, self._write_error) for row in (*rows, *marks)]):
                cursor.execute(f"{_ADD}{values} ON DUPLICATE KEY UPDATE channel_id = sample.channel_id")
            channels = [(channel,) for channel in {row.channel for row in (*rows, *marks)}]
            for name in REBUILT:
                cursor.executemany(f"DELETE FROM {name} WHERE channel_id = %s", channels)
            cursor.executemany(_COPIED, [(self._source, *each) for each in newest.items()])

    def figures(self, channel: int, first_ns: int, last_ns: int) -> Figures:
        """Return the figures of a channel's rows from one time to another, in full microseconds."""
        with self._session.transaction() as cursor:
            cursor.execute(_FIGURES, (channel, unix(first_ns // 1000), unix(last_ns // 1000)))
            return figures_of(cursor.fetchall()[0])

    @again_if_crossed
    def add_table(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Store rows of a table in one transaction; what holds from a row on holds from its microsecond on."""
        names, marks = ", ".join(table.columns), ", ".join(["%s"] * len(table.columns))
        kept = f"GREATEST({table.greatest}, VALUES({table.greatest}))" if table.greatest else table.columns[0]
        insert = (
            f"INSERT INTO {table.name} ({names}) VALUES ({marks}) "
            f"ON DUPLICATE KEY UPDATE {table.greatest or table.columns[0]} = {kept}"
        )
        if "since_time" in table.columns:
            place = table.columns.index("since_time")
            rows = [(*row[:place], row[place] // RESOLUTION_NS * RESOLUTION_NS, *row[place + 1 :]) for row in rows]
        with self._session.transaction() as cursor:
            cursor.executemany(insert, rows)

    @again_if_crossed
    def refresh_metadata(self, channels: Sequence[int]) -> None:
        """Make the present metadata of channels those that were dated last."""
        keys = [(channel,) for channel in channels]
        newest = f"GREATEST({', '.join(_NEWEST.format(table) for table in PRESENT)})"
        with self._session.transaction() as cursor:
            for table, columns in PRESENT.items():
                names = ", ".join(columns)
                cursor.executemany(f"DELETE FROM {table} WHERE channel_id = %s", keys)
                for channel in channels:
                    cursor.execute(
                        f"INSERT INTO {table} (channel_id, {names}) SELECT channel_id, {names} FROM {table}_history "
                        f"WHERE channel_id = %s AND since_time = {newest}",
                        (channel,) * 3,
                    )

    @again_if_crossed
    def finish(self, archivers: Mapping[str, int]) -> None:
        """Store the signs of life of the archivers, now that all is there that they knew until then."""
        update = "UPDATE archiver SET alive_time = %s WHERE name = %s AND (alive_time = %s OR alive_time < %s)"
        with self._session.transaction() as cursor:
            for name, alive_ns in archivers.items():
                cursor.execute(update, (alive_ns, name, UNFINISHED_NS, alive_ns))

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    @staticmethod
    def _archivers(cursor: Cursor, names: Iterable[str]) -> Mapping[str, int]:
        for name in sorted(names):
            cursor.execute(
                "INSERT INTO archiver (name, run, alive_time) VALUES (%s, '', %s) "
                "ON DUPLICATE KEY UPDATE name = archiver.name",
                (name, UNFINISHED_NS),
            )
        cursor.execute("SELECT name, archiver_id FROM archiver")
        return dict(cursor.fetchall())


def _channel(
    cursor: Cursor,
    channel: Channel,
    archivers: Mapping[str, int],
    named: dict[str, tuple[int, int | None]],
    owned: dict[tuple[str, int], int],
) -> int:
    """Return the id of a channel, which is made if it is new, and noted in ``named`` and ``owned``.

    One that belongs to nobody, there or here, is that of its name: it belongs to whom adds the next row.
    """
    archiver = None if channel.archiver is None else archivers[channel.archiver]
    if archiver is not None and (found := owned.get((channel.pv, archiver))) is not None:
        return found
    name = channel.name
    if channel.archiver is not None:
        wanted = chain([name], islice(names(channel.pv, channel.archiver), 1, None))
        name = next(each for each in wanted if named.get(each, (None, None))[1] is None)
    number, owner = named.get(name, (None, None))
    if number is None:
        cursor.execute("INSERT INTO channel (name) VALUES (%s)", (name,))
        number = int(cursor.lastrowid)
    named[name] = number, owner if archiver is None else archiver
    if archiver is not None:
        insert = "INSERT INTO channel_owner (channel_id, archiver_id, pv) VALUES (%s, %s, %s)"
        cursor.execute(insert, (number, archiver, channel.pv))
        owned[channel.pv, archiver] = number
    return number


def _sql(row: Row, escape: Callable[[object], str], write_error: int) -> str:
    """Return a row behind VALUES; Write_Error in the place of one that no column holds."""
    channel, time_ns, severity, status, num_val, float_val, str_val, array_val = row
    if (num_val is not None and num_val not in INTEGERS) or (
        str_val is not None and len(str_val.encode()) > LONGEST_TEXT
    ):
        severity, status, num_val, float_val, str_val = INVALID + 1, write_error, None, None, Gap.WRITE_ERROR.value
    time_us = time_ns // 1000
    seconds, micro = divmod(time_us, 1_000_000)
    begin = f"({channel},FROM_UNIXTIME({seconds}.{micro:06d}),{micro}000,{severity},{status},"
    if float_val is not None and array_val is None:
        return f"{begin}NULL,{float_val!r},NULL,NULL,NULL)"
    array = "NULL,NULL" if array_val is None else f"'{ARRAY}',x'{array_val.hex()}'"
    return f"{begin}{','.join(map(escape, (num_val, float_val, str_val)))},{array})"
