"""The reader of an archive on a MySQL or MariaDB server, also while the archiver writes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from heapq import merge
from operator import attrgetter
from typing import Any

import numpy as np

from archiver.blocks import SUMMARY, Block, SummaryColumns, blocks_of
from archiver.sample import Dated, Gap, Sample
from archiver.storage.columns import StatusNames
from archiver.storage.migrations import migrations
from archiver.storage.mysql.errors import store_errors
from archiver.storage.mysql.metadata import history
from archiver.storage.mysql.rows import COLUMNS, PackedRows, newest_row, order_of, to_sample, unix
from archiver.storage.mysql.server import MysqlSession
from archiver.storage.mysql.summaries import BINS, BINS_IN_COLUMNS, COVERED, HOLES, PACKED_BINS, to_bin
from archiver.storage.mysql.tables.schema import schema_version
from archiver.storage.owner import FROM_ITS_ROWS, lives
from archiver.storage.series import HOLE_AFTER_NS, Hole, around, bins_of, end_row, hole_of, one_of
from archiver.storage.store import RENAMES, Bin, Rename, StoreError
from archiver.storage.summary import Summary, whole
from archiver.storage.url import DatabaseUrl

# Rows of the first step, of all PVs together: few, so that they come at once.
FIRST_ROWS = 100

# Rows and bytes in memory, of all PVs together, at most.
STEP_ROWS, STEP_BYTES = 10_000, 20_000_000

_SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

_WINDOW = f"""
    SELECT {COLUMNS}, COALESCE(LENGTH(array_val), 0) FROM sample
    WHERE channel_id = %s AND smpl_time >= FROM_UNIXTIME(%s) AND smpl_time <= FROM_UNIXTIME(%s)
    ORDER BY smpl_time, nanosecs LIMIT %s"""

# A row between two times, the next one, and whether that marks the end of a run; or it comes long after the row, and
# is later than a third time
_PAUSES = f"""
    SELECT row_us, next_us, marked FROM (
        SELECT UNIX_TIMESTAMP(smpl_time) * 1000000 AS row_us,
               UNIX_TIMESTAMP(LEAD(smpl_time) OVER (ORDER BY smpl_time)) * 1000000 AS next_us,
               COALESCE(LEAD(status_id) OVER (ORDER BY smpl_time)
                   = (SELECT status_id FROM status WHERE name = '{Gap.ARCHIVE_OFF}'), 0) AS marked
        FROM (
            (SELECT smpl_time, status_id FROM sample
             WHERE channel_id = %s AND smpl_time >= FROM_UNIXTIME(%s) AND smpl_time <= FROM_UNIXTIME(%s))
            UNION ALL (
                SELECT smpl_time, status_id FROM sample WHERE channel_id = %s AND smpl_time > FROM_UNIXTIME(%s)
                ORDER BY smpl_time LIMIT 1)) AS window_rows) AS pairs
    WHERE (marked OR (next_us - row_us > %s AND next_us > %s)) ORDER BY row_us"""
_LATER = "SELECT 1 FROM sample WHERE channel_id = %s AND smpl_time > FROM_UNIXTIME(%s) LIMIT 1"

_NAMES = """
    SELECT COALESCE(pv, name) FROM channel
    LEFT JOIN channel_owner ON channel_owner.channel_id = channel.channel_id"""

_SERIES = """
    SELECT channel_id, archiver_id FROM channel_owner WHERE pv = %s
    UNION SELECT channel.channel_id, NULL FROM channel
    LEFT JOIN channel_owner ON channel_owner.channel_id = channel.channel_id
    WHERE name = %s AND archiver_id IS NULL"""

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
            version, place = schema_version(self._cursor, self._session.where), self._session.where
            if not version:
                raise StoreError(f"{place}: this database is not an archive of rackioc")
            if version < migrations("mysql")[-1].number:
                raise StoreError(f"{place}: its schema is version {version}, too old to be read: rackioc db migrate")
            self._channels: dict[str, list[int]] = {}  # those of queries so far: an archive may have very many
            self._ends_ns: dict[int, int] = {}
            self._archivers = dict(self._rows("SELECT archiver_id, alive_time FROM archiver"))
            self._opened_ns = time.time_ns()
            self._statuses = StatusNames(self._rows("SELECT status_id, name FROM status"))
            self._stack = stack.pop_all()

    def names(self) -> Sequence[str]:
        """Return the names of all archived PVs, sorted."""
        return sorted({name for (name,) in self._rows(_NAMES)})

    def metadata(self, pv: str) -> Sequence[Dated]:
        """Return all metadata of a PV, the oldest first."""
        channels = self._series(pv)
        with store_errors(self._session.where):
            found = [dated for channel in channels for dated in history(self._cursor, channel)]
        return sorted(found, key=attrgetter("since_ns"))

    def samples(self, pvs: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Sample]:
        """Return samples in order of time, both ends included, led by each PV's newest before the window."""
        streams = [self._of(pv, since_ns // 1000, until_ns // 1000, len(pvs)) for pv in pvs]
        return merge(*streams, key=attrgetter("time_ns"))

    def blocks(self, pv: str, since_ns: int, until_ns: int) -> Iterator[Block]:
        """Yield the samples of one PV in columns."""
        channel, *others = self._series(pv)
        if others:
            yield from blocks_of(self.samples([pv], since_ns, until_ns))
            return
        since_us, until_us = since_ns // 1000, until_ns // 1000
        end = self._dead(pv, channel, until_us)
        if end is None or end.time_ns // 1000 > since_us:
            for each in self._around(pv, channel, (since_us, until_us)):
                yield from blocks_of([each]) if isinstance(each, Sample) else self._stored_blocks(pv, channel, each)
        if end is not None:
            yield from blocks_of([end])

    def bins(self, pv: str, since_ns: int, until_ns: int) -> Sequence[Bin]:
        """Return the thinned bins of which a part lies in the window, the oldest first."""
        return bins_of(self._bins(channel, since_ns, until_ns) for channel in self._series(pv))

    def renames(self) -> Sequence[Rename]:
        """Return the renames of PVs, each old name once."""
        return [Rename(*row) for row in self._rows(RENAMES)]

    def summarized(self, pv: str) -> Sequence[tuple[int, int]]:
        """Return from when until when summaries were made of what lies between (ns), the oldest first."""
        channel, *others = self._series(pv)
        if others:  # what one archiver knew is not what all knew
            return []
        holes = [(hour_ns, following and int(following)) for hour_ns, following in self._rows(HOLES, channel)]
        return whole(next(iter(self._rows(COVERED, channel)), None), holes)

    def summaries(self, pv: str, width_ns: int, since_ns: int, until_ns: int) -> Iterator[Summary]:
        """Yield the summaries of one width that begin in the window, its end not included."""
        (channel,) = self._series(pv)
        while rows := self._rows(BINS, channel, width_ns, since_ns, until_ns, STEP_ROWS):
            bins = [to_bin(text) for (text,) in rows]
            yield from (Summary.of(pv, each, self._statuses) for each in bins)
            since_ns = bins[-1].end_ns

    def summary_columns(self, pv: str, width_ns: int, since_ns: int, until_ns: int) -> Iterator[SummaryColumns]:
        """Yield the same in columns."""
        (channel,) = self._series(pv)
        while text := self._rows(BINS_IN_COLUMNS, channel, width_ns, since_ns, until_ns, PACKED_BINS)[0][0]:
            columns = np.fromstring(text, float, sep=",").reshape(-1, len(SUMMARY)).T
            columns = columns[:, order_of(columns[0])]
            seconds, count, severity = (each.astype(np.int64) for each in columns[:3])
            yield SummaryColumns(seconds * 10**9, count, severity, *columns[3:])
            since_ns = int(seconds[-1]) * 10**9 + 1

    def close(self) -> None:
        """Close the connection."""
        with suppress(StoreError):
            self._stack.close()

    def _bins(self, channel: int, since_ns: int, until_ns: int) -> Sequence[Bin]:
        bins = (Bin(*row) for row in self._rows(_BINS, channel, until_ns, channel, since_ns, since_ns))
        return [each for each in bins if each.end_ns > since_ns]

    def _of(self, pv: str, since_us: int, until_us: int, streams: int) -> Iterator[Sample]:
        """Return the samples of all series of a PV as one."""
        series = self._series(pv)
        rows = [self._samples(pv, channel, (since_us, until_us), streams * len(series)) for channel in series]
        return rows[0] if len(rows) == 1 else one_of(rows, since_us * 1000)

    def _samples(self, pv: str, channel: int, window_us: tuple[int, int], streams: int) -> Iterator[Sample]:
        """Yield the samples of a channel, and a gap where its archiver died."""
        end = self._dead(pv, channel, window_us[1])
        if end is None or end.time_ns // 1000 > window_us[0]:
            for each in self._around(pv, channel, window_us):
                yield from [each] if isinstance(each, Sample) else self._stored(pv, channel, each, streams)
        if end is not None:
            yield end

    def _dead(self, pv: str, channel: int, until_us: int) -> Sample | None:
        """Return the gap of a channel whose archiver is dead, if it begins until a time."""
        if channel not in self._ends_ns:
            return None
        newest_us = self._in_force(channel, until_us)
        for *row, _ in self._rows(_WINDOW, channel, unix(newest_us), unix(newest_us), 1):
            end = end_row(to_sample(pv, self._statuses, row), self._ends_ns[channel])
            if end is not None and end.time_ns // 1000 <= until_us:
                later = self._rows(_LATER, channel, unix(until_us))  # it lived on, until its newest row at least
                return None if later else end
        return None

    def _around(self, pv: str, channel: int, window_us: tuple[int, int]) -> Iterator[tuple[int, int] | Sample]:
        """Yield the parts of a window whose rows are read, and the gaps where rows of a channel may be missing."""
        holes = self._holes(pv, channel, *window_us)
        for each in around(holes, window_us[0] * 1000, window_us[1] * 1000):
            yield each if isinstance(each, Sample) else (each[0] // 1000, each[1] // 1000)

    def _holes(self, pv: str, channel: int, since_us: int, until_us: int) -> Iterator[Hole]:
        """Yield where rows of a channel may be missing in a window, in order of time."""
        end_ns = self._ends_ns.get(channel, FROM_ITS_ROWS)
        if end_ns == FROM_ITS_ROWS or end_ns >= until_us * 1000:
            return
        pause_us, begin_us = HOLE_AFTER_NS // 1000, self._in_force(channel, max(end_ns // 1000, since_us))
        rows = (channel, unix(begin_us), unix(until_us), channel, unix(until_us))
        later_us = end_ns // 1000 + pause_us
        for row_us, next_us, marked in self._rows(_PAUSES, *rows, pause_us, later_us):
            for *row, _ in self._rows(_WINDOW, channel, unix(int(row_us)), unix(int(row_us)), 1):
                in_force = to_sample(pv, self._statuses, row)
                if hole := hole_of(in_force, end_ns, int(next_us) * 1000, marked=bool(marked)):
                    yield hole

    def _stored_blocks(self, pv: str, channel: int, window_us: tuple[int, int]) -> Iterator[Block]:
        packed = PackedRows(self._rows, self._statuses)
        for block, part_us in packed.steps(channel, self._in_force(channel, window_us[0]), window_us[1]):
            yield from [block] if block else blocks_of(self._stored(pv, channel, part_us, 1))

    def _stored(self, pv: str, channel: int, window_us: tuple[int, int], streams: int) -> Iterator[Sample]:
        """Yield samples, read in steps: a connection streams one result only, and ends if that is not fetched."""
        since_us, until_us = window_us
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

    def _series(self, pv: str) -> list[int]:
        """Return the channels of a PV: nearly always one, or one of each archiver that keeps it."""
        if pv not in self._channels:
            owners = dict(self._rows(_SERIES, pv, pv))
            self._channels[pv] = sorted(owners)
            self._ends_ns |= lives(self._archivers, owners, self._opened_ns)
        return self._channels[pv]

    def _in_force(self, channel: int, since_us: int) -> int:
        """Return the time of the newest row before the window, else the window's begin."""
        row = newest_row(self._rows, "UNIX_TIMESTAMP(smpl_time)", channel, since_us)
        return int(row[0] * 1_000_000) if row else since_us

    def _rows(self, sql: str, *values: object) -> Sequence[Any]:
        with store_errors(self._session.where):
            self._cursor.execute(sql, values)
            return self._cursor.fetchall()
