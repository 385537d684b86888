"""Reading the archive from a MySQL or MariaDB server, also while the archiver writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from heapq import merge
from operator import attrgetter
from typing import Any

from archiver.sample import Dated, Sample
from archiver.storage.mysql.errors import store_errors
from archiver.storage.mysql.metadata import history
from archiver.storage.mysql.rows import COLUMNS, to_sample, unix
from archiver.storage.mysql.schema import schema_version
from archiver.storage.mysql.server import MysqlSession
from archiver.storage.store import Bin, StoreError
from archiver.storage.url import DatabaseUrl

FIRST_ROWS = 100
"""In the first step, so that it comes at once."""

STEP_ROWS, STEP_BYTES = 10_000, 20_000_000
"""At most in memory, of all PVs together."""

_SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

_IN_FORCE = """
    SELECT UNIX_TIMESTAMP(MAX(smpl_time)) FROM sample WHERE channel_id = %s AND smpl_time <= FROM_UNIXTIME(%s)"""

_WINDOW = f"""
    SELECT {COLUMNS}, COALESCE(LENGTH(array_val), 0) FROM sample
    WHERE channel_id = %s AND smpl_time >= FROM_UNIXTIME(%s) AND smpl_time <= FROM_UNIXTIME(%s)
    ORDER BY smpl_time, nanosecs LIMIT %s"""

_BINS = """
    SELECT bin_time, width, count, min_val, max_val, mean_val FROM sample_bin
    WHERE channel_id = %s AND bin_time BETWEEN %s AND %s ORDER BY bin_time"""


class MysqlReader:
    """Sees the archive as it is when opened; fails if that server does, for no other has just this state."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._session = MysqlSession(url, writing=False)
        with ExitStack() as stack:
            stack.callback(self._session.close)
            self._cursor = stack.enter_context(self._session.transaction(_SNAPSHOT))
            if not schema_version(self._cursor, self._session.where):
                raise StoreError(f"{self._session.where}: a database, but not an archive of rackioc")
            self._channels: dict[str, int | None] = {}  # those that were asked for: all of them may be many
            self._statuses = dict(self._rows("SELECT status_id, name FROM status"))
            self._stack = stack.pop_all()

    def names(self) -> Sequence[str]:
        return [name for (name,) in self._rows("SELECT name FROM channel ORDER BY name")]

    def metadata(self, pv: str) -> Sequence[Dated]:
        with store_errors(self._session.where):
            return history(self._cursor, pv)

    def samples(self, pvs: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Sample]:
        streams = [self._samples(pv, since_ns // 1000, until_ns // 1000, len(pvs)) for pv in pvs]
        return merge(*streams, key=attrgetter("time_ns"))

    def bins(self, pv: str, since_ns: int, until_ns: int) -> Sequence[Bin]:
        return [Bin(*row) for row in self._rows(_BINS, self._channel(pv), since_ns, until_ns)]

    def close(self) -> None:
        with suppress(StoreError):
            self._stack.close()

    def _samples(self, pv: str, since_us: int, until_us: int, streams: int) -> Iterator[Sample]:
        """In steps, because a connection can stream one result at a time only, and ends when it is not fetched."""
        channel = self._channel(pv)
        start_us = self._in_force(channel, since_us)
        limit = max(1, FIRST_ROWS // streams)
        while rows := self._rows(_WINDOW, channel, unix(start_us), unix(until_us), limit):
            for *row, _ in rows:
                yield to_sample(pv, self._statuses, row)
            if len(rows) < limit:
                return
            start_us = int(rows[-1][0]) // 1000 + 1
            size = sum(row[-1] for row in rows) / len(rows)
            limit = int(max(10, min(STEP_ROWS, STEP_BYTES / (size + 1)) / streams))

    def _channel(self, pv: str) -> int | None:
        if pv not in self._channels:
            rows = self._rows("SELECT channel_id FROM channel WHERE name = %s", pv)
            self._channels[pv] = rows[0][0] if rows else None
        return self._channels[pv]

    def _in_force(self, channel: int | None, since_us: int) -> int:
        """When the newest row before the window was stored."""
        ((time,),) = self._rows(_IN_FORCE, channel, unix(since_us))
        return since_us if time is None else int(time * 1_000_000)

    def _rows(self, sql: str, *values: object) -> Sequence[Any]:
        with store_errors(self._session.where):
            self._cursor.execute(sql, values)
            return self._cursor.fetchall()
