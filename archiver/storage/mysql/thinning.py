"""The thinning of rows in the tables of MySQL, in small steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymysql.cursors import Cursor

from archiver.sample import INVALID, Dated
from archiver.storage.mysql.metadata import history
from archiver.storage.mysql.rows import TIME_NS, unix
from archiver.storage.upkeep.thinning import Thinned, ThinningRow, thin, whole_bins

# Rows of one step.
STEP_ROWS = 5_000

_ROWS = f"""
    SELECT {TIME_NS}, IF(severity_id = {INVALID + 1}, NULL, num_val),
           IF(datatype = 'd' OR severity_id = {INVALID + 1}, NULL, float_val), severity_id, status_id
    FROM sample
    WHERE channel_id = %s AND smpl_time >= FROM_UNIXTIME(%s) AND smpl_time < FROM_UNIXTIME(%s)
    ORDER BY smpl_time, nanosecs LIMIT %s FOR UPDATE"""

_BEFORE = f"""
    SELECT {TIME_NS}, NULL, NULL, severity_id, status_id FROM sample
    WHERE channel_id = %s AND smpl_time < FROM_UNIXTIME(%s) ORDER BY smpl_time DESC, nanosecs DESC LIMIT 1"""

_DONE = """
    INSERT INTO thinned (channel_id, until_time) VALUES (%s, %s) ON DUPLICATE KEY UPDATE until_time = %s"""

_NO_LIMIT = 2**63 - 1


def step(cursor: Cursor, channel: int, until_ns: int, width_ns: int) -> bool:
    """Thin some thousand rows, or one bin if it has more; return True if more are left."""
    start_ns = -(-_done(cursor, channel) // width_ns) * width_ns
    end_ns = until_ns // width_ns * width_ns
    if start_ns >= end_ns:
        return False
    metadata = history(cursor, channel)
    rows = _rows(cursor, channel, (start_ns, end_ns), STEP_ROWS, metadata)
    more = len(rows) == STEP_ROWS
    if more:
        rows = whole_bins(rows, width_ns) or _first_bin(cursor, channel, rows[0], width_ns, metadata)
        end_ns = (rows[-1].time_ns // width_ns + 1) * width_ns
    _store(cursor, channel, rows, thin(rows, width_ns, _before(cursor, channel, start_ns), metadata))
    cursor.execute(_DONE, (channel, end_ns, end_ns))
    return more


def _store(cursor: Cursor, channel: int, rows: Sequence[ThinningRow], thinned: Thinned) -> None:
    if not thinned.bins:
        return
    # A range and the rows that stay in it: a list of the rows to be deleted takes MySQL twenty times as long.
    go = set(thinned.times_ns)
    stay = [row.time_ns for row in rows if row.time_ns not in go]
    first, last, *others = (f"FROM_UNIXTIME({unix(ns // 1000)})" for ns in (rows[0].time_ns, rows[-1].time_ns, *stay))
    cursor.execute(
        f"DELETE FROM sample WHERE channel_id = {channel} AND smpl_time BETWEEN {first} AND {last} "
        f"AND smpl_time NOT IN ({', '.join(others)})"
    )
    cursor.executemany(
        "INSERT INTO sample_bin (channel_id, bin_time, width, count, min_val, max_val, mean_val) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [(channel, *each) for each in thinned.bins],
    )


def _rows(
    cursor: Cursor, channel: int, window_ns: tuple[int, int], limit: int, metadata: Sequence[Dated]
) -> Sequence[ThinningRow]:
    begin, end = (unix(time_ns // 1000) for time_ns in window_ns)
    cursor.execute(_ROWS, (channel, begin, end, limit))
    return [_row(row, metadata) for row in cursor.fetchall()]


def _first_bin(
    cursor: Cursor, channel: int, first: ThinningRow, width_ns: int, metadata: Sequence[Dated]
) -> Sequence[ThinningRow]:
    begin_ns = first.time_ns // width_ns * width_ns
    return _rows(cursor, channel, (begin_ns, begin_ns + width_ns), _NO_LIMIT, metadata)


def _before(cursor: Cursor, channel: int, start_ns: int) -> ThinningRow | None:
    cursor.execute(_BEFORE, (channel, unix(start_ns // 1000)))
    row = cursor.fetchone()
    return _row(row, ()) if row else None


def _row(row: Sequence[Any], metadata: Sequence[Dated]) -> ThinningRow:
    time_ns, integer, double, *alarm = row
    return ThinningRow.of((time_ns, integer, double, tuple(alarm)), metadata)


def _done(cursor: Cursor, channel: int) -> int:
    cursor.execute("SELECT until_time FROM thinned WHERE channel_id = %s", (channel,))
    row = cursor.fetchone()
    return int(row[0]) if row else 0
