"""The reader of an archive on a MySQL or MariaDB server, also while the archiver writes."""

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

# Rows of the first step, of all PVs together: few, so that they come at once.
FIRST_ROWS = 100

# Rows and bytes in memory, of all PVs together, at most.
STEP_ROWS, STEP_BYTES = 10_000, 20_000_000

_SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

_IN_FORCE = """
    SELECT UNIX_TIMESTAMP(MAX(smpl_time)) FROM sample WHERE channel_id = %s AND smpl_time <= FROM_UNIXTIME(%s)"""

_WINDOW = f"""
    SELECT {COLUMNS}, COALESCE(LENGTH(array_val), 0) FROM sample
    WHERE channel_id = %s AND smpl_time >= FROM_UNIXTIME(%s) AND smpl_time <= FROM_UNIXTIME(%s)
    ORDER BY smpl_time, nanosecs LIMIT %s"""

_BINS = """
    SELECT bin_time, width, count, min_val, max_val, mean_val FROM sample_bin
    WHERE channel_id = %s AND bin_time <= %s AND bin_time >= COALESCE(
        (SELECT MAX(bin_time) FROM sample_bin WHERE channel_id = %s AND bin_time <= %s), %s)
    ORDER BY bin_time"""


class MysqlReader:
    """The archive as it was when opened (a ``Reader``); it fails with its server, as no other has this very state."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._session = MysqlSession(url, writing=False)
        with ExitStack() as stack:
            stack.callback(self._session.close)
            self._cursor = stack.enter_context(self._session.transaction(_SNAPSHOT))
            if not schema_version(self._cursor, self._session.where):
                raise StoreError(f"{self._session.where}: this database is not an archive of rackioc")
            self._channels: dict[str, int | None] = {}  # those of queries so far: an archive may have very many
            self._statuses = dict(self._rows("SELECT status_id, name FROM status"))
            self._stack = stack.pop_all()

    def names(self) -> Sequence[str]:
        """Return the names of all archived PVs, sorted."""
        return [name for (name,) in self._rows("SELECT name FROM channel ORDER BY name")]

    def metadata(self, pv: str) -> Sequence[Dated]:
        """Return all metadata of a PV, the oldest first; the first hold from time 0 on."""
        with store_errors(self._session.where):
            return history(self._cursor, pv)

    def samples(self, pvs: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Sample]:
        """Return samples in order of time, both ends included, led by each PV's newest before the window."""
        streams = [self._samples(pv, since_ns // 1000, until_ns // 1000, len(pvs)) for pv in pvs]
        return merge(*streams, key=attrgetter("time_ns"))

    def bins(self, pv: str, since_ns: int, until_ns: int) -> Sequence[Bin]:
        """Return the thinned bins of which a part lies in the window, the oldest first."""
        channel = self._channel(pv)
        bins = (Bin(*row) for row in self._rows(_BINS, channel, until_ns, channel, since_ns, since_ns))
        return [each for each in bins if each.end_ns > since_ns]

    def close(self) -> None:
        """Close the connection."""
        with suppress(StoreError):
            self._stack.close()

    def _samples(self, pv: str, since_us: int, until_us: int, streams: int) -> Iterator[Sample]:
        """Yield samples, read in steps: a connection streams one result only, and ends if that is not fetched."""
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
        """Return the time of the newest row before the window, else the window's begin."""
        ((time,),) = self._rows(_IN_FORCE, channel, unix(since_us))
        return since_us if time is None else int(time * 1_000_000)

    def _rows(self, sql: str, *values: object) -> Sequence[Any]:
        with store_errors(self._session.where):
            self._cursor.execute(sql, values)
            return self._cursor.fetchall()
