"""Thinning in the tables of MySQL, in small steps."""

from __future__ import annotations

from collections.abc import Sequence

from pymysql.cursors import Cursor

from archiver.storage.mysql.rows import TIME_NS, unix
from archiver.storage.thinning import Thinned, ThinningRow, thin, whole_bins

STEP_ROWS = 5_000

_POINTS = f"""
    SELECT {TIME_NS}, IF(datatype = 'd', NULL, COALESCE(float_val, num_val)), severity_id, status_id FROM sample
    WHERE channel_id = %s AND smpl_time >= FROM_UNIXTIME(%s) AND smpl_time < FROM_UNIXTIME(%s)
    ORDER BY smpl_time, nanosecs LIMIT %s FOR UPDATE"""

_BEFORE = f"""
    SELECT {TIME_NS}, NULL, severity_id, status_id FROM sample
    WHERE channel_id = %s AND smpl_time < FROM_UNIXTIME(%s) ORDER BY smpl_time DESC, nanosecs DESC LIMIT 1"""

_DONE = """
    INSERT INTO thinned (channel_id, until_time) VALUES (%s, %s) ON DUPLICATE KEY UPDATE until_time = %s"""

_NO_LIMIT = 2**63 - 1


def step(cursor: Cursor, channel: int, until_ns: int, width_ns: int) -> bool:
    """Thin some thousand rows, or one bin if it has more; True if more are left."""
    start_ns = -(-_done(cursor, channel) // width_ns) * width_ns
    end_ns = until_ns // width_ns * width_ns
    if start_ns >= end_ns or _has_words(cursor, channel):
        return False
    points = _points(cursor, channel, start_ns, end_ns, STEP_ROWS)
    more = len(points) == STEP_ROWS
    if more:
        points = whole_bins(points, width_ns) or _first_bin(cursor, channel, points[0], width_ns)
        end_ns = (points[-1].time_ns // width_ns + 1) * width_ns
    _store(cursor, channel, points, thin(points, width_ns, _before(cursor, channel, start_ns)))
    cursor.execute(_DONE, (channel, end_ns, end_ns))
    return more


def _store(cursor: Cursor, channel: int, points: Sequence[ThinningRow], thinned: Thinned) -> None:
    if not thinned.bins:
        return
    # A range and what stays in it: a list of what goes takes MySQL twenty times as long.
    go = set(thinned.times_ns)
    stay = [point.time_ns for point in points if point.time_ns not in go]
    first, last, *others = (
        f"FROM_UNIXTIME({unix(ns // 1000)})" for ns in (points[0].time_ns, points[-1].time_ns, *stay)
    )
    cursor.execute(
        f"DELETE FROM sample WHERE channel_id = {channel} AND smpl_time BETWEEN {first} AND {last} "
        f"AND smpl_time NOT IN ({', '.join(others)})"
    )
    cursor.executemany(
        "INSERT INTO sample_bin (channel_id, bin_time, width, count, min_val, max_val, mean_val) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [(channel, *each) for each in thinned.bins],
    )


def _points(cursor: Cursor, channel: int, start_ns: int, end_ns: int, limit: int) -> Sequence[ThinningRow]:
    cursor.execute(_POINTS, (channel, unix(start_ns // 1000), unix(end_ns // 1000), limit))
    return [_point(*row) for row in cursor.fetchall()]


def _first_bin(cursor: Cursor, channel: int, first: ThinningRow, width_ns: int) -> Sequence[ThinningRow]:
    begin_ns = first.time_ns // width_ns * width_ns
    return _points(cursor, channel, begin_ns, begin_ns + width_ns, _NO_LIMIT)


def _before(cursor: Cursor, channel: int, start_ns: int) -> ThinningRow | None:
    cursor.execute(_BEFORE, (channel, unix(start_ns // 1000)))
    row = cursor.fetchone()
    return _point(*row) if row else None


def _point(time_ns: int, number: float | None, severity: int, status: int) -> ThinningRow:
    return ThinningRow(time_ns, number, (severity, status))


def _done(cursor: Cursor, channel: int) -> int:
    cursor.execute("SELECT until_time FROM thinned WHERE channel_id = %s", (channel,))
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def _has_words(cursor: Cursor, channel: int) -> bool:
    """The index of a state is no number: none is lower than another."""
    return cursor.execute("SELECT 1 FROM enum_metadata WHERE channel_id = %s LIMIT 1", (channel,)) > 0
