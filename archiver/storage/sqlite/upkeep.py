"""The deletion and thinning of old rows of one channel, some thousand at a time, and what becomes of their pages."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection

from archiver.sample import INVALID, Dated
from archiver.storage.sqlite import summaries
from archiver.storage.sqlite.metadata import history
from archiver.storage.summary import MINUTE_NS
from archiver.storage.upkeep import thinning
from archiver.storage.upkeep.pace import at_most
from archiver.storage.upkeep.thinning import ThinningRow, whole_bins

# Rows of one step of thinning.
STEP_ROWS = 5000
# Free pages that stay in a file for the rows to come, at least: what waits to be settled takes as many, again and
# again; and one for so many that are in use.
SPARE_PAGES, SPARE_PART = 16_384, 16
# Seconds of one step of giving pages back, and pages from one look at the clock to the next.
SHRINK_S, SHRINK_PAGES = 0.05, 50

_ROW = f"""
    SELECT smpl_time, CASE WHEN severity_id <> {INVALID + 1} AND typeof(num_val) <> 'text' THEN num_val END,
           CASE WHEN datatype IS NULL AND severity_id <> {INVALID + 1} AND typeof(float_val) <> 'text'
                THEN float_val END,
           severity_id || ' ' || status_id
    FROM sample_settled WHERE channel_id = ?"""


def expire(connection: Connection, channel: int, before_ns: int, rows: int) -> tuple[int, bool]:
    """Delete some rows older than a time, up to which all have settled, not the row in force then; at last the bins.

    Return up to when all rows are deleted, and whether more rows or bins are left.
    """
    newest = "SELECT max(smpl_time) FROM sample_settled WHERE channel_id = ? AND smpl_time <= ?"
    keep_ns = connection.exec_driver_sql(newest, (channel, before_ns)).scalar()
    if keep_ns is None:
        return 0, False
    old = "FROM sample_settled WHERE channel_id = ? AND smpl_time < ?"
    first = f"SELECT length(array_val) {old} ORDER BY smpl_time LIMIT 1"
    size = int(connection.exec_driver_sql(first, (channel, keep_ns)).scalar() or 0)
    step = f"SELECT smpl_time {old} ORDER BY smpl_time LIMIT 1 OFFSET ?"
    step_ns = connection.exec_driver_sql(step, (channel, keep_ns, at_most(rows, size))).scalar()
    connection.exec_driver_sql(f"DELETE {old}", (channel, step_ns or keep_ns))
    if step_ns is not None:
        return int(step_ns), True
    return int(keep_ns), _expire_bins(connection, channel, int(keep_ns), rows)


def _expire_bins(connection: Connection, channel: int, before_ns: int, bins: int) -> bool:
    """Delete some bins older than a time; return whether more are left.

    They go after all rows: SQLite looks for each free page at the end of its file in the list of free pages, from
    those on that were freed last; among all those of rows that takes it 100 times as long.
    """
    begins = (
        "SELECT min(bin_time) FROM ("
        "SELECT * FROM (SELECT bin_time FROM sample_bin WHERE channel_id = ?1 AND bin_time < ?2 "
        "ORDER BY bin_time LIMIT 1 OFFSET ?3) UNION ALL "
        "SELECT * FROM (SELECT bin_time FROM summary WHERE channel_id = ?1 AND width = ?4 AND bin_time < ?2 "
        "ORDER BY bin_time LIMIT 1 OFFSET ?3))"
    )
    step_ns = connection.exec_driver_sql(begins, (channel, before_ns, bins, MINUTE_NS)).scalar()
    delete = "DELETE FROM sample_bin WHERE channel_id = ? AND bin_time + width <= ?"
    connection.exec_driver_sql(delete, (channel, step_ns or before_ns))
    summaries.expire(connection, channel, step_ns or before_ns)
    return step_ns is not None


def thin(connection: Connection, channel: int, until_ns: int, width_ns: int) -> bool:
    """Thin the next bins that were not thinned and end before a time; return True if more are left."""
    begun = "SELECT until_time FROM thinned WHERE channel_id = ?"
    begin_ns = int(connection.exec_driver_sql(begun, (channel,)).scalar() or 0)
    end_ns = until_ns // width_ns * width_ns
    if end_ns <= begin_ns:
        return False
    metadata = history(connection, channel)
    rows, more = _next_bins(connection, channel, (begin_ns, end_ns), width_ns, metadata)
    if rows:
        _thin(connection, channel, rows, width_ns, metadata)
    if more:
        end_ns = (rows[-1].time_ns // width_ns + 1) * width_ns
    done = "INSERT INTO thinned VALUES (?, ?) ON CONFLICT (channel_id) DO UPDATE SET until_time = excluded.until_time"
    connection.exec_driver_sql(done, (channel, end_ns))
    return more


def shrink(connection: Connection) -> bool:
    """Give some free pages back to the disk; return True if more are to be given.

    The last page of the file takes the place of a free one, again and again: only for what is spare, as rows to come
    need pages, too. A file that does not allow it keeps all of them.
    """
    cursor = connection.connection.cursor()
    mode, pages, free = (
        int(cursor.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("auto_vacuum", "page_count", "freelist_count")
    )
    spare = max(SPARE_PAGES, (pages - free) // SPARE_PART)
    until = time.monotonic() + SHRINK_S
    while mode and free > spare and time.monotonic() < until:
        for _ in range(min(SHRINK_PAGES, free - spare)):
            cursor.execute("PRAGMA incremental_vacuum(1)")  # of more than one the driver would do the first alone
        free -= min(SHRINK_PAGES, free - spare)
    return bool(mode) and free > spare


def _next_bins(
    connection: Connection, channel: int, window_ns: tuple[int, int], width_ns: int, metadata: Sequence[Dated]
) -> tuple[Sequence[ThinningRow], bool]:
    """Return the rows of the first bins in the window, some thousand, and whether there are more after them."""
    window = f"{_ROW} AND smpl_time >= ? AND smpl_time < ? ORDER BY smpl_time"
    found = connection.exec_driver_sql(f"{window} LIMIT {STEP_ROWS}", (channel, *window_ns)).all()
    rows = [ThinningRow.of(tuple(row), metadata) for row in found]
    if len(rows) < STEP_ROWS:
        return rows, False
    if whole := whole_bins(rows, width_ns):
        return whole, True
    end_ns = (rows[0].time_ns // width_ns + 1) * width_ns  # a bin of more than a step: as a whole, or not at all
    found = connection.exec_driver_sql(window, (channel, rows[0].time_ns, end_ns)).all()
    return [ThinningRow.of(tuple(row), metadata) for row in found], True


def _thin(
    connection: Connection, channel: int, rows: Sequence[ThinningRow], width_ns: int, metadata: Sequence[Dated]
) -> None:
    latest = f"{_ROW} AND smpl_time < ? ORDER BY smpl_time DESC LIMIT 1"
    before = connection.exec_driver_sql(latest, (channel, rows[0].time_ns)).first()
    led_by = ThinningRow.of(tuple(before), ()) if before else None
    thinned = thinning.thin(rows, width_ns, led_by, metadata)
    if thinned.times_ns:
        delete = "DELETE FROM sample_settled WHERE channel_id = ? AND smpl_time = ?"
        connection.exec_driver_sql(delete, [(channel, each) for each in thinned.times_ns])
        insert = "INSERT INTO sample_bin VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        connection.exec_driver_sql(insert, [(channel, *each) for each in thinned.bins])
