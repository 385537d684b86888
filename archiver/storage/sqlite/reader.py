"""The reader of an archive in an SQLite file, also while the archiver writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from heapq import merge
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

from archiver.sample import Dated, Sample
from archiver.storage.columns import from_columns
from archiver.storage.sqlite.file import PART, connect_reader, file_name, schema_version, store_errors
from archiver.storage.sqlite.metadata import history
from archiver.storage.store import Bin, StoreError
from archiver.storage.url import DatabaseUrl

_COLUMNS = "channel_id, smpl_time, severity_id, status_id, float_val, num_val, str_val, datatype, array_val"

# Rows of the first step, of all PVs together: few, so that they come at once.
FIRST_ROWS = 100

# Rows and bytes in memory, of all PVs together, at most.
STEP_ROWS, STEP_BYTES = 100_000, 30_000_000

_SETTLED = f"""
    SELECT {_COLUMNS} FROM sample_settled
    WHERE channel_id = ? AND smpl_time >= ? AND smpl_time <= ? ORDER BY smpl_time LIMIT ?"""

# The unary plus keeps SQLite from scanning the part once for each channel.
_RECENT = f"""
    SELECT {_COLUMNS} FROM sample_recent
    WHERE part = ? AND (smpl_time, channel_id) > (?, ?) AND smpl_time <= ? AND +channel_id IN ({{}})
    ORDER BY smpl_time, channel_id LIMIT ?"""
_BOUNDARY = "SELECT coalesce(max(smpl_time), 0) FROM settled WHERE part = ?"

_BINS = """
    SELECT bin_time, width, count, min_val, max_val, mean_val FROM sample_bin
    WHERE channel_id = ?1 AND bin_time <= ?3 AND bin_time >= coalesce(
        (SELECT max(bin_time) FROM sample_bin WHERE channel_id = ?1 AND bin_time <= ?2), ?2)
    ORDER BY bin_time"""


class SqliteReader:
    """The reading side of an archive in an SQLite file (a ``Reader``).

    It reads in steps, each in a transaction of its own: one that stays open keeps SQLite from reusing its log, which
    grows with all that is written meanwhile. Rows may settle between two steps (see ``_recent``).
    """

    def __init__(self, url: DatabaseUrl) -> None:
        self._file = file_name(url)
        if not Path(self._file).is_file():  # SQLite would make one
            raise StoreError(f"{Path(self._file).absolute()}: this file does not exist")
        with store_errors(self._file), ExitStack() as undo:
            self._connection = connect_reader(url)
            undo.callback(self.close)
            self._check_version()
            undo.pop_all()
        self._channels = {name: number for number, name in self._rows("SELECT channel_id, name FROM channel")}
        self._names = {number: name for name, number in self._channels.items()}
        self._statuses: dict[int, str] = {}
        self._streams = self._parts = 1

    def names(self) -> Sequence[str]:
        """Return the names of all archived PVs, sorted."""
        return sorted(self._channels)

    def metadata(self, pv: str) -> Sequence[Dated]:
        """Return all metadata of a PV, the oldest first; the first hold from time 0 on."""
        with store_errors(self._file), self._connection.begin():
            return history(self._connection, self._channels[pv])

    def samples(self, pvs: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Sample]:
        """Return samples in order of time, both ends included, led by each PV's newest before the window.

        A PV's rows that have not settled come after those that have; they are read once for all PVs of a part.
        """
        parts: dict[int, list[int]] = {}
        for pv in pvs:
            channel = self._channels[pv]
            parts.setdefault(channel // PART, []).append(channel)
        self._streams, self._parts = len(pvs), len(parts)
        sources = [
            each for part, channels in parts.items() for each in self._part(part, channels, since_ns, until_ns)
        ]
        return chain(*sources) if len(pvs) == 1 else merge(*sources, key=attrgetter("time_ns"))

    def bins(self, pv: str, since_ns: int, until_ns: int) -> Sequence[Bin]:
        """Return the thinned bins of which a part lies in the window, the oldest first."""
        bins = (Bin(*row) for row in self._rows(_BINS, self._channels[pv], since_ns, until_ns))
        return [each for each in bins if each.end_ns > since_ns]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        self._connection.engine.dispose()

    def _check_version(self) -> None:
        with self._connection.begin():
            version = schema_version(self._connection, self._file)
        if not version:
            raise StoreError(f"{self._file} is an SQLite file, but not an archive of rackioc")

    def _part(self, part: int, channels: Sequence[int], since_ns: int, until_ns: int) -> Iterator[Iterator[Sample]]:
        (boundary_ns,) = next(self._rows(_BOUNDARY, part))
        begins = self._in_force(part, channels, since_ns)
        settled_ns = min(boundary_ns, until_ns)
        yield from (self._settled(channel, begin, settled_ns) for channel, begin in begins.items())
        begin_of = {self._names[channel]: begin for channel, begin in begins.items()}
        recent = self._recent(part, channels, max(min(begins.values()), boundary_ns + 1), until_ns)
        yield (sample for sample in recent if sample.time_ns >= begin_of[sample.pv])

    def _settled(self, channel: int, since_ns: int, until_ns: int) -> Iterator[Sample]:
        """Yield the settled rows of a channel, step by step."""
        limit = max(1, FIRST_ROWS // self._streams)
        while rows := list(self._rows(_SETTLED, channel, since_ns, until_ns, limit)):
            yield from self._samples(rows)
            if len(rows) < limit:
                return
            since_ns = rows[-1][1] + 1
            limit = _next_limit(rows, self._streams)

    def _recent(self, part: int, channels: Sequence[int], since_ns: int, until_ns: int) -> Iterator[Sample]:
        """Yield the rows that have not settled, step by step; those that settle meanwhile are read where they are."""
        sql = _RECENT.format(", ".join(map(str, channels)))
        last, limit = (since_ns, -1), FIRST_ROWS
        while True:
            with store_errors(self._file), self._connection.begin():  # both of one state
                (boundary_ns,) = next(self._rows(_BOUNDARY, part))
                rows = list(self._rows(sql, part, *last, until_ns, limit)) if boundary_ns < last[0] else None
            if rows is None:
                end_ns = min(boundary_ns, until_ns)
                moved = merge(*(self._settled(each, last[0], end_ns) for each in channels), key=attrgetter("time_ns"))
                yield from (each for each in moved if (each.time_ns, self._channels[each.pv]) > last)
                last = (boundary_ns + 1, -1)
                continue
            yield from self._samples(rows)
            if len(rows) < limit:
                return
            last = (rows[-1][1], rows[-1][0])
            limit = _next_limit(rows, 2 * self._parts)

    def _in_force(self, part: int, channels: Sequence[int], since_ns: int) -> dict[int, int]:
        """Return the time of each channel's newest row before the window, else the window's begin."""
        recent = """
            SELECT channel_id, max(smpl_time) FROM sample_recent WHERE part = ? AND smpl_time <= ?
            GROUP BY channel_id"""
        found = dict(self._pairs(recent, part, since_ns))
        settled = "SELECT max(smpl_time) FROM sample_settled WHERE channel_id = ? AND smpl_time <= ?"
        for channel in channels:
            if channel not in found:
                found[channel] = next(self._rows(settled, channel, since_ns))[0] or since_ns
        return {channel: found[channel] for channel in channels}

    def _samples(self, rows: Sequence[Sequence[Any]]) -> Iterator[Sample]:
        names, statuses = self._names, self._statuses
        if not statuses.keys() >= {row[3] for row in rows}:  # a status that came after the last step
            statuses = self._statuses = dict(self._pairs("SELECT status_id, name FROM status"))
        for channel, time_ns, severity, status, number, *others in rows:
            plain = number is not None and others[2] is None
            value = number if plain else from_columns(others[0], number, *others[1:])
            yield Sample(names[channel], time_ns, value, severity - 1, statuses[status])

    def _pairs(self, sql: str, *values: int) -> Iterator[tuple[Any, Any]]:
        return ((key, value) for key, value in self._rows(sql, *values))

    def _rows(self, sql: str, *values: str | int) -> Iterator[Sequence[Any]]:
        """Yield rows of the driver itself: those of SQLAlchemy would cost as much again."""
        with store_errors(self._file):
            yield from self._connection.connection.cursor().execute(sql, values)


def _next_limit(rows: Sequence[Sequence[Any]], streams: int) -> int:
    """Return how many rows the next step of one of several streams has, after the size of those of the last one."""
    size = sum(len(row[-1]) for row in rows if row[-1]) / len(rows) + 250
    return max(10, int(min(STEP_ROWS, STEP_BYTES / size) / streams))
