"""The summaries of channels in the tables of MySQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from pymysql.cursors import Cursor

from archiver.blocks import SUMMARY, Floats, Integers
from archiver.sample import Dated
from archiver.storage.binning import Rows
from archiver.storage.mysql.ends import newest_time
from archiver.storage.mysql.metadata import history
from archiver.storage.mysql.rows import TIME_NS, newest_row, order_of, statements, unix
from archiver.storage.summary import COLUMNS, DAY_NS, HOUR_NS, MINUTE_NS, WIDTHS, SummaryBin

# A severity that there is not, as somebody has changed a row, is one of which nothing is known.
_SEVERITY = "IF(severity_id BETWEEN 1 AND 4, severity_id, 4) - 1"
_ROW = f"{TIME_NS}, IF(datatype = 'd', NULL, float_val), num_val, {_SEVERITY}, status_id"

# A text of all times, and so on, for PyMySQL takes 6 us for a row: that would be more than storing it took.
_PACKED = f"""
    SELECT GROUP_CONCAT(UNIX_TIMESTAMP(smpl_time)),
           GROUP_CONCAT(COALESCE(IF(datatype = 'd', NULL, float_val), num_val, 'nan')),
           GROUP_CONCAT((status_id * 4 + {_SEVERITY}) * 2 + (num_val IS NOT NULL))
    FROM (SELECT smpl_time, severity_id, status_id, float_val, num_val, datatype FROM sample
          WHERE channel_id = %s AND smpl_time >= FROM_UNIXTIME(%s) AND smpl_time < FROM_UNIXTIME(%s)
          ORDER BY smpl_time, nanosecs LIMIT %s) AS found"""
# In steps of so many rows, for none of these texts may be longer than server.TEXT_SIZE.
PACKED_ROWS = 20_000

_PUT = f"REPLACE INTO summary (channel_id, {COLUMNS}) VALUES "

_US = "FLOOR(UNIX_TIMESTAMP({}(smpl_time)) * 1000000)"
_NEWEST_US = f"FLOOR(UNIX_TIMESTAMP({newest_time('channel')}) * 1000000)"

# See the SQL of SQLite.
COVERED = "SELECT begin_time, until_time FROM summarized WHERE channel_id = %s"
HOLES = f"""
    SELECT hour_time, (SELECT {_US.format("MIN")} FROM sample
                       WHERE sample.channel_id = hole.channel_id
                         AND smpl_time >= FROM_UNIXTIME((hour_time + {HOUR_NS}) / 1000000000)) * 1000
    FROM summary_hole AS hole WHERE channel_id = %s ORDER BY hour_time"""
# A bin is one text, for PyMySQL takes as long for each column.
_FIELDS = ", ".join(f"COALESCE({name}, '')" for name in COLUMNS.split(", "))
_TEXT = f"CONCAT_WS(',', {_FIELDS})"
BINS = f"""
    SELECT {_TEXT} FROM summary
    WHERE channel_id = %s AND width = %s AND bin_time >= %s AND bin_time < %s ORDER BY bin_time LIMIT %s"""
# The same, of some columns, all bins as one text; bin_time in seconds, which a double holds.
_NUMBERS = ", ".join(["bin_time DIV 1000000000", *(f"COALESCE({name}, 'nan')" for name in SUMMARY[1:])])
_IN_COLUMNS = BINS.replace(_TEXT, f"CONCAT_WS(',', {_NUMBERS}) AS numbers")
BINS_IN_COLUMNS = f"SELECT GROUP_CONCAT(numbers) FROM ({_IN_COLUMNS}) AS found"
# In steps of so many, as above: one has 150 characters at most
PACKED_BINS = 5_000
_ALL = 2**63 - 1


class MysqlSummaryTables:
    """The tables within a transaction (``SummaryTables``); ``gaps`` are the ids of the statuses of gaps."""

    def __init__(self, cursor: Cursor, archiver: int, gaps: Collection[int]) -> None:
        self._cursor = cursor
        self._archiver = archiver
        self.gaps = gaps

    def states(self) -> dict[int, tuple[int, int]]:
        """Return of each channel of this archiver from when until when its bins were made."""
        own = (
            "SELECT summarized.channel_id, begin_time, until_time FROM summarized "
            "JOIN channel_owner ON channel_owner.channel_id = summarized.channel_id WHERE archiver_id = %s"
        )
        return {channel: (begin, until) for channel, begin, until in self._rows(own, self._archiver)}

    def to_do(self) -> Sequence[tuple[int, int]]:
        """Return the hours that are to be made again, each with its channel."""
        own = (
            "SELECT summary_hole.channel_id, hour_time FROM summary_hole "
            "JOIN channel_owner ON channel_owner.channel_id = summary_hole.channel_id "
            "WHERE to_do = 1 AND archiver_id = %s"
        )
        return [(channel, hour) for channel, hour in self._rows(own, self._archiver)]

    def first(self, channel: int) -> int | None:
        """Return the time of the first row that was not thinned."""
        return self.following(channel, self.thinned(channel))

    def thinned(self, channel: int) -> int:
        """Return up to when the rows were thinned, 0 if they were not."""
        rows = self._rows("SELECT until_time FROM thinned WHERE channel_id = %s", channel)
        return int(rows[0][0]) if rows else 0

    def newest(self, channels: Sequence[int]) -> dict[int, int]:
        """Return the time of the newest row of each of some channels that has one."""
        newest = f"SELECT channel_id, {_NEWEST_US} FROM channel WHERE channel_id IN %s"
        rows = self._rows(newest, channels)
        return {channel: int(time_us) * 1000 for channel, time_us in rows if time_us is not None}

    def before(self, channel: int, time_ns: int) -> Sequence[Any] | None:
        """Return the newest row before a time."""
        row = newest_row(self._rows, _ROW, channel, time_ns // 1000 - 1)
        return _row(row) if row else None

    def following(self, channel: int, time_ns: int) -> int | None:
        """Return the time of the first row from a time on."""
        first = f"SELECT {_US.format('MIN')} FROM sample WHERE channel_id = %s AND smpl_time >= FROM_UNIXTIME(%s)"
        ((time_us,),) = self._rows(first, channel, unix(time_ns // 1000))
        return None if time_us is None else int(time_us) * 1000

    def rows(self, channel: int, begin_ns: int, end_ns: int, limit: int) -> Rows:
        """Return the first rows from a time on until before another one."""
        found = Rows.of([])
        while (step := min(PACKED_ROWS, limit - len(found))) > 0:
            rows = self._packed(channel, begin_ns, end_ns, step)
            found = rows.after(found) if len(found) else rows
            if len(rows) < step:
                break
            begin_ns = int(rows.time_ns[-1]) + 1000
        return found

    def _packed(self, channel: int, begin_ns: int, end_ns: int, limit: int) -> Rows:
        ((times, numbers, codes),) = self._rows(_PACKED, channel, unix(begin_ns // 1000), unix(end_ns // 1000), limit)
        if times is None:
            return Rows.of([])
        time_us: Integers = np.fromstring(times.replace(".", ""), np.int64, sep=",")  # six digits are microseconds
        number: Floats = np.fromstring(numbers, np.float64, sep=",")
        code: Integers = np.fromstring(codes, np.int64, sep=",")
        order = order_of(time_us)
        time_us, number, code = time_us[order], number[order], code[order]
        return Rows(time_us * 1000, number, code // 2 % 4, code // 8, code % 2 > 0)

    def metadata(self, channel: int) -> Sequence[Dated]:
        """Return all metadata, the oldest first."""
        return history(self._cursor, channel)

    def hours(self, channel: int, begin_ns: int, end_ns: int) -> Sequence[SummaryBin]:
        """Return the bins of an hour."""
        return [to_bin(text) for (text,) in self._rows(BINS, channel, HOUR_NS, begin_ns, end_ns, _ALL)]

    def holes(self, channel: int, begin_ns: int, end_ns: int, *, to_do: bool = False) -> Collection[int]:
        """Return the hours that are holes, or (``to_do``) those of them that are to be made again."""
        holes = (
            "SELECT hour_time FROM summary_hole WHERE channel_id = %s AND hour_time >= %s AND hour_time < %s "
            "AND to_do >= %s"
        )
        return [hour for (hour,) in self._rows(holes, channel, begin_ns, end_ns, int(to_do))]

    def put(self, channel: int, bins: Sequence[SummaryBin]) -> None:
        """Store bins."""
        rows = [f"({channel},{','.join('NULL' if each is None else repr(each) for each in bin_)})" for bin_ in bins]
        for values in statements(rows):  # by hand, as PyMySQL takes five times as long
            self._cursor.execute(f"{_PUT}{values}")

    def put_state(self, channel: int, begin_ns: int, until_ns: int) -> None:
        """Store from when until when bins were made."""
        self._cursor.execute("REPLACE INTO summarized VALUES (%s, %s, %s)", (channel, begin_ns, until_ns))

    def put_holes(self, holes: Iterable[tuple[int, int]], *, to_do: bool) -> None:
        """Store hours as holes, each with its channel."""
        self._cursor.executemany(
            "REPLACE INTO summary_hole VALUES (%s, %s, %s)", [(*each, int(to_do)) for each in holes]
        )

    def clear(self, channel: int, hour_ns: int) -> None:
        """Delete the bins of an hour, the hole if it is one, and the bin of its day."""
        begins = {MINUTE_NS: hour_ns, HOUR_NS: hour_ns, DAY_NS: hour_ns // DAY_NS * DAY_NS}
        for width_ns, begin_ns in begins.items():
            self._cursor.execute(
                "DELETE FROM summary WHERE channel_id = %s AND width = %s AND bin_time >= %s AND bin_time < %s",
                (channel, width_ns, begin_ns, hour_ns + HOUR_NS),
            )
        self._cursor.execute("DELETE FROM summary_hole WHERE channel_id = %s AND hour_time = %s", (channel, hour_ns))

    def _rows(self, sql: str, *values: object) -> Sequence[Any]:
        self._cursor.execute(sql, values)
        return self._cursor.fetchall()


def to_bin(text: str) -> SummaryBin:
    """Return the bin of a row of BINS."""
    width, begin, count, low, high, mean, deviation, mean_rows, *others, last, integer = text.split(",")
    numbers = (float(each) if each else None for each in (low, high, mean, deviation, mean_rows))
    last_number = float(last) if last else None
    return SummaryBin._make(
        (int(width), int(begin), int(count), *numbers, *map(int, others), last_number, int(integer))
    )


def expire(cursor: Cursor, channel: int, time_ns: int, bins: int) -> bool:
    """Delete some of the bins that begin before a time, and the holes; return True if more are left."""
    delete = "DELETE FROM summary WHERE channel_id = %s AND width = %s AND bin_time < %s ORDER BY bin_time LIMIT %s"
    more = [cursor.execute(delete, (channel, width_ns, time_ns, bins)) == bins for width_ns in WIDTHS]
    holes = "DELETE FROM summary_hole WHERE channel_id = %s AND hour_time < %s"
    cursor.execute(holes, (channel, time_ns - HOUR_NS))
    return any(more)


def _row(row: Sequence[Any]) -> tuple[int, float | None, int, int]:
    time_ns, double, integer, severity, status = row
    return time_ns, integer if double is None else double, int(severity), status
