"""The summaries of channels in the tables of SQLite; they are made of rows that have settled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from archiver.blocks import SUMMARY
from archiver.sample import Dated
from archiver.storage.binning import Rows
from archiver.storage.sqlite.metadata import history
from archiver.storage.summary import COLUMNS, DAY_NS, HOUR_NS, MINUTE_NS, WIDTHS, SummaryBin

# A severity that there is not, as somebody has changed a row, is one of which nothing is known; SQLite takes a text
# for a number, too.
_ROW = """
    SELECT smpl_time, CASE WHEN datatype IS NULL AND typeof(coalesce(float_val, num_val)) <> 'text'
                      THEN coalesce(float_val, num_val) END,
           CASE WHEN severity_id IN (1, 2, 3, 4) THEN severity_id - 1 ELSE 3 END, status_id
    FROM sample_settled WHERE channel_id = ?"""

_PUT = f"INSERT OR REPLACE INTO summary (channel_id, {COLUMNS}) VALUES ({', '.join('?' * 19)})"

# Ranges of a channel in which all bins of a kind are there, in the reader; the row after a hole is in force first in
# a bin that was made before the hole's rows came.
COVERED = "SELECT begin_time, until_time FROM summarized WHERE channel_id = ?"
HOLES = f"""
    SELECT hour_time, (SELECT min(smpl_time) FROM sample_settled AS row
                       WHERE row.channel_id = hole.channel_id AND smpl_time >= hour_time + {HOUR_NS})
    FROM summary_hole AS hole WHERE channel_id = ? ORDER BY hour_time"""
BINS = f"""
    SELECT {COLUMNS} FROM summary
    WHERE channel_id = ? AND width = ? AND bin_time >= ? AND bin_time < ? ORDER BY bin_time LIMIT ?"""
BINS_IN_COLUMNS = BINS.replace(COLUMNS, ", ".join(SUMMARY))


class SqliteSummaryTables:
    """The tables within a transaction (``SummaryTables``); ``gaps`` are the ids of the statuses of gaps."""

    def __init__(self, connection: Connection, archiver: int, gaps: Collection[int]) -> None:
        self._connection = connection
        self._archiver = archiver
        self.gaps = gaps

    def states(self) -> dict[int, tuple[int, int]]:
        """Return of each channel of this archiver from when until when its bins were made."""
        own = (
            "SELECT channel_id, begin_time, until_time FROM summarized JOIN channel_owner USING (channel_id) "
            "WHERE archiver_id = ?"
        )
        return {channel: (begin, until) for channel, begin, until in self._rows(own, self._archiver)}

    def to_do(self) -> Sequence[tuple[int, int]]:
        """Return the hours that are to be made again, each with its channel."""
        own = (
            "SELECT channel_id, hour_time FROM summary_hole JOIN channel_owner USING (channel_id) "
            "WHERE to_do = 1 AND archiver_id = ?"
        )
        return [(channel, hour) for channel, hour in self._rows(own, self._archiver)]

    def first(self, channel: int) -> int | None:
        """Return the time of the first row that was not thinned."""
        return self.following(channel, self.thinned(channel))

    def thinned(self, channel: int) -> int:
        """Return up to when the rows were thinned, 0 if they were not."""
        return self._one("SELECT until_time FROM thinned WHERE channel_id = ?", channel) or 0

    def newest(self, channels: Sequence[int]) -> dict[int, int]:
        """Return the time of the newest row that has settled of each of some channels that has one."""
        newest = "SELECT max(smpl_time) FROM sample_settled WHERE channel_id = ?"
        found = ((channel, self._one(newest, channel)) for channel in channels)
        return {channel: time_ns for channel, time_ns in found if time_ns is not None}

    def before(self, channel: int, time_ns: int) -> Sequence[Any] | None:
        """Return the newest row before a time."""
        rows = self._rows(f"{_ROW} AND smpl_time < ? ORDER BY smpl_time DESC LIMIT 1", channel, time_ns)
        return rows[0] if rows else None

    def following(self, channel: int, time_ns: int) -> int | None:
        """Return the time of the first row from a time on."""
        following = "SELECT min(smpl_time) FROM sample_settled WHERE channel_id = ? AND smpl_time >= ?"
        return self._one(following, channel, time_ns)

    def rows(self, channel: int, begin_ns: int, end_ns: int, limit: int) -> Rows:
        """Return the first rows from a time on until before another one."""
        window = f"{_ROW} AND smpl_time >= ? AND smpl_time < ? ORDER BY smpl_time LIMIT ?"
        return Rows.of(self._rows(window, channel, begin_ns, end_ns, limit))

    def metadata(self, channel: int) -> Sequence[Dated]:
        """Return all metadata, the oldest first."""
        return history(self._connection, channel)

    def hours(self, channel: int, begin_ns: int, end_ns: int) -> Sequence[SummaryBin]:
        """Return the bins of an hour."""
        return [SummaryBin._make(row) for row in self._rows(BINS, channel, HOUR_NS, begin_ns, end_ns, -1)]

    def holes(self, channel: int, begin_ns: int, end_ns: int, *, to_do: bool = False) -> Collection[int]:
        """Return the hours that are holes, or (``to_do``) those of them that are to be made again."""
        holes = (
            "SELECT hour_time FROM summary_hole WHERE channel_id = ? AND hour_time >= ? AND hour_time < ? "
            "AND to_do >= ?"
        )
        return [hour for (hour,) in self._rows(holes, channel, begin_ns, end_ns, int(to_do))]

    def put(self, channel: int, bins: Sequence[SummaryBin]) -> None:
        """Store bins."""
        self._many(_PUT, [(channel, *each) for each in bins])

    def put_state(self, channel: int, begin_ns: int, until_ns: int) -> None:
        """Store from when until when bins were made."""
        self._many("INSERT OR REPLACE INTO summarized VALUES (?, ?, ?)", [(channel, begin_ns, until_ns)])

    def put_holes(self, holes: Iterable[tuple[int, int]], *, to_do: bool) -> None:
        """Store hours as holes, each with its channel."""
        self._many("INSERT OR REPLACE INTO summary_hole VALUES (?, ?, ?)", [(*each, int(to_do)) for each in holes])

    def clear(self, channel: int, hour_ns: int) -> None:
        """Delete the bins of an hour, the hole if it is one, and the bin of its day."""
        delete = "DELETE FROM summary WHERE channel_id = ? AND width = ? AND bin_time >= ? AND bin_time < ?"
        end_ns = hour_ns + HOUR_NS
        begins = {MINUTE_NS: hour_ns, HOUR_NS: hour_ns, DAY_NS: hour_ns // DAY_NS * DAY_NS}
        self._many(delete, [(channel, width_ns, begin_ns, end_ns) for width_ns, begin_ns in begins.items()])
        self._many("DELETE FROM summary_hole WHERE channel_id = ? AND hour_time = ?", [(channel, hour_ns)])

    def _one(self, sql: str, *values: int) -> int | None:
        rows = self._rows(sql, *values)
        return rows[0][0] if rows else None

    def _rows(self, sql: str, *values: int) -> Sequence[Sequence[Any]]:
        """Return rows of the driver itself: those of SQLAlchemy would cost as much again."""
        return self._connection.connection.cursor().execute(sql, values).fetchall()  # type: ignore[no-any-return]

    def _many(self, sql: str, values: Sequence[tuple[object, ...]]) -> None:
        if values:
            self._connection.connection.cursor().executemany(sql, values)


def expire(connection: Connection, channel: int, time_ns: int) -> None:
    """Delete the bins that begin before a time, and the holes."""
    connection.exec_driver_sql(
        "DELETE FROM summary WHERE channel_id = ? AND width = ? AND bin_time < ?",
        [(channel, width_ns, time_ns) for width_ns in WIDTHS],
    )
    holes = "DELETE FROM summary_hole WHERE channel_id = ? AND hour_time < ?"
    connection.exec_driver_sql(holes, (channel, time_ns - HOUR_NS))
