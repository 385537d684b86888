"""The store of an archive on a MySQL or MariaDB server, or a cluster of them; Phoebus reads the same tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from pymysql.cursors import Cursor

from archiver.sample import Dated, Gap, Sample
from archiver.storage.columns import StatusNames
from archiver.storage.migrations import migrations
from archiver.storage.mysql import summaries, thinning
from archiver.storage.mysql.ends import newest_time, slices
from archiver.storage.mysql.errors import again_if_crossed, own_table
from archiver.storage.mysql.metadata import MetadataTables
from archiver.storage.mysql.rows import (
    COLUMNS,
    MysqlChannels,
    MysqlIds,
    insert_absent,
    samples_as_sql,
    table_value,
    to_sample,
    unix,
)
from archiver.storage.mysql.server import MysqlSession, space
from archiver.storage.mysql.summaries import MysqlSummaryTables
from archiver.storage.mysql.tables import expired, months
from archiver.storage.mysql.tables.schema import migrate, schema_version
from archiver.storage.owner import Owner
from archiver.storage.store import Space, StoreError, TableRow
from archiver.storage.summarizer import Summarizer
from archiver.storage.upkeep.pace import Pace, at_most
from archiver.storage.url import DatabaseUrl

_ADD = """INSERT INTO sample (channel_id, smpl_time, nanosecs, severity_id, status_id,
    num_val, float_val, str_val, datatype, array_val) VALUES """
# IGNORE would accept values of wrong types, too.
_KNOWN = " ON DUPLICATE KEY UPDATE channel_id = sample.channel_id"

_NEWEST = f"""
    SELECT newest.name, newest.pv, {COLUMNS} FROM (
        SELECT channel.channel_id, channel.name, channel_owner.pv, {newest_time("channel")} AS smpl_time
        FROM channel LEFT JOIN channel_owner ON channel_owner.channel_id = channel.channel_id
        WHERE channel.channel_id IN %s) AS newest
    JOIN sample ON sample.channel_id = newest.channel_id AND sample.smpl_time = newest.smpl_time"""

_NEWEST_VALUES = """
    SELECT COALESCE(pv, name), (
        SELECT FLOOR(UNIX_TIMESTAMP(smpl_time) * 1000000) FROM sample
        WHERE sample.channel_id = channel.channel_id AND smpl_time <= FROM_UNIXTIME(%s)
            AND status_id NOT IN (SELECT status_id FROM status WHERE name IN %s)
        ORDER BY smpl_time DESC LIMIT 1)
    FROM channel LEFT JOIN channel_owner ON channel_owner.channel_id = channel.channel_id
    WHERE channel.channel_id IN %s"""

_CHANNELS = """
    SELECT channel.channel_id FROM channel LEFT JOIN channel_owner ON channel_owner.channel_id = channel.channel_id
    WHERE archiver_id <=> %s"""

_LATEST = f"""
    SELECT {COLUMNS} FROM sample WHERE channel_id = %s AND smpl_time >= COALESCE(
        (SELECT MAX(smpl_time) FROM sample WHERE channel_id = %s AND smpl_time <= FROM_UNIXTIME(%s)),
        FROM_UNIXTIME(0))
    ORDER BY smpl_time LIMIT %s"""

_IN_FORCE = """
    SELECT FLOOR(UNIX_TIMESTAMP(MAX(smpl_time)) * 1000000) FROM sample
    WHERE channel_id = %s AND smpl_time <= FROM_UNIXTIME(%s)"""

_SIZE = """
    SELECT COALESCE(LENGTH(array_val), 0) FROM sample WHERE channel_id = %s AND smpl_time < FROM_UNIXTIME(%s)
    ORDER BY smpl_time, nanosecs LIMIT 1"""

_EXPIRE = """
    DELETE FROM sample WHERE channel_id = %s AND smpl_time < FROM_UNIXTIME(%s)
    ORDER BY smpl_time, nanosecs LIMIT %s"""

_EXPIRE_BINS = """
    DELETE FROM sample_bin WHERE channel_id = %s AND bin_time < %s AND bin_time + width <= %s
    ORDER BY bin_time LIMIT %s"""


class MysqlStore:
    """The writing side of an archive on MySQL servers (a ``Store``)."""

    def __init__(self, url: DatabaseUrl, owner: Owner) -> None:
        self._owner = owner
        self._channels = MysqlChannels(owner)
        self._statuses = MysqlIds("status")
        self._metadata_tables = MetadataTables()
        self._summarizer = Summarizer()
        self._pace = Pace()
        caches = (self._channels, self._statuses, self._metadata_tables, self._summarizer)
        self._session = MysqlSession(url, writing=True, caches=caches)
        try:
            with self._session.transaction() as cursor:
                version = schema_version(cursor, self._session.where)
            if version < migrations("mysql")[-1].number:
                migrate(url)
            self.alive_ns = self._begin()
            with self._session.transaction() as cursor:
                months.prepare(cursor, self._session.where)
                months.cover(cursor, self._session.where, time.time())
            self._known_ns = self.alive_ns  # up to when all rows are stored
        except BaseException:
            self._session.close()
            raise

    @again_if_crossed
    def add(self, samples: Sequence[Sample]) -> None:
        """Store all the samples, or none, in one transaction."""
        with self._session.transaction() as cursor, own_table(self._session.where):
            channels = self._channels.ensure(cursor, {sample.pv for sample in samples})
            statuses = self._statuses.ensure(cursor, {sample.status for sample in samples})
            for values in samples_as_sql(cursor, samples, channels, statuses):
                cursor.execute(f"{_ADD}{values}{_KNOWN}")
            tables = self._summary_tables(cursor)
            latest_ns = self._summarizer.latest(tables)
            late = [(channels[sample.pv], sample.time_ns) for sample in samples if sample.time_ns < latest_ns]
            self._summarizer.mark_late(tables, late)

    @again_if_crossed
    def add_metadata(self, metadata: Mapping[str, Dated], *, keep_equal: bool = False) -> None:
        """Store the metadata of PVs that hold from the time of a row on, in one transaction, in any order."""
        with self._session.transaction() as cursor, own_table(self._session.where):
            channels = self._channels.ensure(cursor, metadata)
            numbered = {channels[pv]: dated for pv, dated in metadata.items()}
            shared = self._channels.shared(cursor, metadata)  # what is read is what all series say
            alike = {channels[pv] for pv in metadata if keep_equal or pv in shared}
            self._metadata_tables.add(cursor, numbered, alike)
            for channel, dated in numbered.items():
                self._summarizer.mark_since(self._summary_tables(cursor), channel, dated.since_ns)

    @again_if_crossed
    def add_rows(self, rows: Sequence[TableRow]) -> None:
        """Store rows of tables that exist, all or none, in one transaction."""
        with self._session.transaction() as cursor:
            for (table, columns, key), group in groupby(rows, lambda row: (row.table, row.columns, row.key)):
                cursor.executemany(
                    insert_absent(table, columns, key),
                    [(*values, *values[:key]) for values in (tuple(map(table_value, row.values)) for row in group)],
                )

    def newest(self) -> Sequence[Sample]:
        """Return the newest sample of each PV of this archiver."""
        return self._newest(self._channels.archiver)

    def unowned(self) -> Sequence[Sample]:
        """Return the newest sample of each PV that belongs to nobody yet: of an archive that had no owners."""
        return self._newest(None)

    @again_if_crossed
    def live(self, time_ns: int) -> None:
        """Store the sign of life: all that was known until then is stored. Raises Gone if another has the name."""
        with self._session.transaction() as cursor:
            self._channels.live(cursor, time_ns, self._session.where)
        self._known_ns = time_ns

    def latest(self, pv: str, since_ns: int, most: int) -> Sequence[Sample]:
        """Return this archiver's sample of a PV in force at a time, if there is one, and later ones, in order.

        ``most``: how many at most.
        """
        with self._session.transaction() as cursor:
            statuses = StatusNames((number, name) for name, number in self._statuses.ids(cursor).items())
            channel = self._channels.ids(cursor).get(pv)
            cursor.execute(_LATEST, (channel, channel, unix(since_ns // 1000), most))
            return [to_sample(pv, statuses, row) for row in cursor.fetchall()]

    def newest_values(self, until_ns: int) -> Mapping[str, int]:
        """Return the time (ns) of the newest row of each PV, up to a time, that marks no gap."""
        with self._session.transaction() as cursor:
            found: list[Any] = []
            for channels in self._slices(cursor, self._channels.archiver, None):
                cursor.execute(_NEWEST_VALUES, (unix(until_ns // 1000), tuple(Gap), channels))
                found += cursor.fetchall()
            return {name: int(time_us) * 1000 for name, time_us in found if time_us is not None}

    @again_if_crossed
    def tidy(self) -> bool:
        """Make some summaries; return True if more are to be made at once."""
        if not self._summarizer.due:
            return False
        with self._session.transaction() as cursor:
            channels = self._channels.ids(cursor).values()
            return self._summarizer.step(self._summary_tables(cursor), channels, lambda _: self._known_ns)

    @again_if_crossed
    def expire(self, pv: str, before_ns: int) -> bool:
        """Delete some rows older than a time, not the row in force then, at last bins; return True if more follow."""
        began = time.monotonic()
        with self._session.transaction() as cursor:
            more = self._expire(cursor, self._channels.ids(cursor).get(pv), before_ns)
        self._pace.took(time.monotonic() - began, more=more)
        return more

    @again_if_crossed
    def thin(self, pv: str, until_ns: int, width_ns: int) -> bool:
        """Thin some bins that end before a time; return True if more are left."""
        with self._session.transaction() as cursor:
            channel = self._channels.ids(cursor).get(pv)
            if channel is None:
                return False
            until_ns = self._summarizer.limit(self._summary_tables(cursor), channel, until_ns)
            return thinning.step(cursor, channel, until_ns, width_ns)

    @again_if_crossed
    def expire_months(self, before_ns: Mapping[str, int]) -> bool:
        """Drop a month in which nobody keeps more than the row in force then; return True if more may follow."""
        with self._session.transaction() as cursor:
            ids = self._channels.ids(cursor)
            until_s = {ids[pv]: months.month_s(max(time_ns, 0) / 1e9) for pv, time_ns in before_ns.items()}
            new = expired.note(cursor, self._channels.archiver, until_s)
            for channel, until_ns in new:  # nobody reads a bin of a month that goes
                self._summarizer.expired(self._summary_tables(cursor), channel, until_ns)
        with self._session.transaction() as cursor:
            months.cover(cursor, self._session.where, time.time())
            return bool(new) or expired.step(cursor, self._session.where, self._channels.archiver)

    def shrink(self) -> bool:
        """Return False: a month that went has given its space back, and other space stays the server's."""
        return False

    def space(self) -> Space | None:
        """Return what the tables take and what is free; None unless the server is here and lets its user see it."""
        with self._session.transaction() as cursor:
            return space(cursor)

    def close(self) -> None:
        """Close the connection, and give the owner's name free."""
        with suppress(StoreError), self._session.transaction() as cursor:
            self._channels.end(cursor)
        self._owner.leave()
        self._session.close()

    @again_if_crossed
    def _begin(self) -> int:
        """Take the owner's name; return its sign of life before. Raises Gone if another process has it."""
        with self._session.transaction() as cursor:
            return self._channels.begin(cursor, self._session.where)

    def _expire(self, cursor: Cursor, channel: int | None, before_ns: int) -> bool:
        cursor.execute(_IN_FORCE, (channel, unix(before_ns // 1000)))
        ((found_us,),) = cursor.fetchall()
        if channel is None or found_us is None:
            return False
        in_force_us = int(found_us)
        old = (channel, unix(in_force_us))
        cursor.execute(_SIZE, old)
        rows = at_most(self._pace.rows, max((int(size) for (size,) in cursor.fetchall()), default=0))
        self._summarizer.expired(self._summary_tables(cursor), channel, in_force_us * 1000)
        if cursor.execute(_EXPIRE, (*old, rows)) == rows:
            return True
        in_force_ns, bins = in_force_us * 1000, self._pace.rows
        thinned = cursor.execute(_EXPIRE_BINS, (channel, in_force_ns, in_force_ns, bins)) == bins
        return summaries.expire(cursor, channel, in_force_ns, bins) or thinned

    def _summary_tables(self, cursor: Cursor) -> MysqlSummaryTables:
        ids = self._statuses.ensure(cursor, Gap)
        return MysqlSummaryTables(cursor, self._channels.archiver, [ids[gap] for gap in Gap])

    def _newest(self, archiver: int | None) -> Sequence[Sample]:
        with self._session.transaction() as cursor:
            statuses = StatusNames((number, name) for name, number in self._statuses.ids(cursor).items())
            found: list[Sample] = []
            for channels in self._slices(cursor, archiver):
                cursor.execute(_NEWEST, (channels,))
                found += [to_sample(pv or name, statuses, row) for name, pv, *row in cursor.fetchall()]
            return found

    @staticmethod
    def _slices(cursor: Cursor, *archivers: int | None) -> Iterator[tuple[int, ...]]:
        """Yield the channels of archivers (None: those of nobody) in parts that one statement may look up."""
        numbers: set[int] = set()
        for archiver in archivers:
            cursor.execute(_CHANNELS, (archiver,))
            numbers |= {int(number) for (number,) in cursor.fetchall()}
        return slices(numbers)
