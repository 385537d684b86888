"""The reader of an archive in an SQLite file, also while the archiver writes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from heapq import merge
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np

from archiver.blocks import Block, SummaryColumns, block_of, blocks_of
from archiver.sample import END_OF_TIME_NS, SEVERITIES, Dated, Gap, Sample
from archiver.storage.columns import StatusNames, of_stored, sample_of
from archiver.storage.migrations import migrations
from archiver.storage.owner import FROM_ITS_ROWS, lives
from archiver.storage.series import HOLE_AFTER_NS, Hole, around, bins_of, end_row, hole_of, one_of
from archiver.storage.sqlite.file import PART, connect_reader, file_name, require, schema_version, store_errors
from archiver.storage.sqlite.metadata import history
from archiver.storage.sqlite.summaries import BINS, BINS_IN_COLUMNS, COVERED, HOLES
from archiver.storage.store import RENAMES, Bin, Rename, StoreError, deleted_meanwhile
from archiver.storage.summary import Summary, whole
from archiver.storage.url import DatabaseUrl

# One of the last four is set; of an array also float_val.
_COLUMNS = "channel_id, smpl_time, severity_id, status_id, coalesce(array_val, float_val, num_val, str_val)"

_SEVERITIES = set(range(1, len(SEVERITIES) + 1))

# Rows of the first step, of all PVs together: few, so that they come at once.
FIRST_ROWS = 100

# Rows and bytes in memory, of all PVs together, at most.
STEP_ROWS, STEP_BYTES = 100_000, 30_000_000
# Rows of a step of those that have settled meanwhile.
MOVED_ROWS = 1000

_SETTLED = f"""
    SELECT {_COLUMNS} FROM sample_settled
    WHERE channel_id = ? AND smpl_time >= ? AND smpl_time <= ? ORDER BY smpl_time LIMIT ?"""

# The unary plus keeps SQLite from scanning the part once for each channel.
_RECENT = f"""
    SELECT {_COLUMNS} FROM sample_recent
    WHERE part = ? AND (smpl_time, channel_id) > (?, ?) AND smpl_time <= ? AND +channel_id IN ({{}})
    ORDER BY smpl_time, channel_id LIMIT ?"""
_BOUNDARY = "SELECT coalesce(max(smpl_time), 0) FROM settled WHERE part = ?"

# Without its part SQLite would look at all rows that have not settled.
_ONE = f"""
    SELECT {_COLUMNS} FROM sample_settled WHERE channel_id = ?1 AND smpl_time = ?2
    UNION ALL SELECT {_COLUMNS} FROM sample_recent
    WHERE part = ?1 / {PART} AND smpl_time = ?2 AND channel_id = ?1"""

# Rows after a time, up to the first one after another time, that come long after the one before them, or mark the end
# of a run, and whether they do; of the first of all ``before`` is NULL.
_MARKED = f"status_id = (SELECT status_id FROM status WHERE name = '{Gap.ARCHIVE_OFF}')"
_SETTLED_PAUSES = f"""
    SELECT smpl_time, before, marked FROM (
        SELECT smpl_time, lag(smpl_time) OVER (ORDER BY smpl_time) AS before, {_MARKED} AS marked
        FROM (
            SELECT smpl_time, status_id FROM sample_settled
            WHERE channel_id = ?1 AND smpl_time > ?2 AND smpl_time <= ?3
            UNION ALL SELECT * FROM (
                SELECT smpl_time, status_id FROM sample_settled
                WHERE channel_id = ?1 AND smpl_time > ?3 ORDER BY smpl_time LIMIT 1)))
    WHERE before IS NULL OR marked OR smpl_time - before > ?4 ORDER BY smpl_time"""
_RECENT_PAUSES = f"""
    SELECT channel_id, smpl_time, before, marked FROM (
        SELECT channel_id, smpl_time, {_MARKED} AS marked,
               lag(smpl_time) OVER (PARTITION BY channel_id ORDER BY smpl_time) AS before
        FROM (
            SELECT channel_id, smpl_time, status_id FROM sample_recent
            WHERE part = ?1 AND smpl_time > ?2 AND smpl_time <= ?3
            UNION ALL SELECT channel_id, min(smpl_time), status_id FROM sample_recent
            WHERE part = ?1 AND smpl_time > ?3 GROUP BY channel_id))
    WHERE before IS NULL OR marked OR smpl_time - before > ?4 ORDER BY smpl_time"""
_LAST_SETTLED = "SELECT coalesce(max(smpl_time), 0) FROM sample_settled WHERE channel_id = ?"

_EARLIER = "SELECT 1 FROM sample_settled WHERE channel_id = ? AND smpl_time < ? LIMIT 1"

_CHANNELS = """
    SELECT channel.channel_id, coalesce(pv, name), archiver_id FROM channel
    LEFT JOIN channel_owner ON channel_owner.channel_id = channel.channel_id ORDER BY channel.channel_id"""

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
        require(self._file)
        with store_errors(self._file), ExitStack() as undo:
            self._connection = connect_reader(url)
            undo.callback(self.close)
            self._check_version()
            undo.pop_all()
        self._names: dict[int, str] = {}
        self._channels: dict[str, list[int]] = {}
        owners: dict[int, int | None] = {}
        for number, pv, archiver in self._rows(_CHANNELS):
            self._names[number] = pv
            self._channels.setdefault(pv, []).append(number)
            owners[number] = archiver
        archivers = dict(self._pairs("SELECT archiver_id, alive_time FROM archiver"))
        self._ends_ns = lives(archivers, owners, time.time_ns())
        self._statuses = StatusNames()
        self._streams = self._parts = 1

    def names(self) -> Sequence[str]:
        """Return the names of all archived PVs, sorted."""
        return sorted(self._channels)

    def metadata(self, pv: str) -> Sequence[Dated]:
        """Return all metadata of a PV, the oldest first."""
        with store_errors(self._file), self._connection.begin():
            found = [dated for channel in self._channels[pv] for dated in history(self._connection, channel)]
        return sorted(found, key=attrgetter("since_ns"))

    def samples(self, pvs: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Sample]:
        """Return samples in order of time, both ends included, led by each PV's newest before the window.

        A PV's rows that have not settled come after those that have; they are read once for all PVs of a part.
        """
        parts: dict[int, list[int]] = {}
        several = [self._channels[pv] for pv in pvs if len(self._channels[pv]) > 1]
        for pv in pvs:
            channel, *others = self._channels[pv]
            if not others:
                parts.setdefault(channel // PART, []).append(channel)
        self._streams = sum(len(self._channels[pv]) for pv in pvs)
        self._parts = len(parts) + sum(map(len, several))
        sources = [
            each for part, channels in parts.items() for each in self._part(part, channels, since_ns, until_ns)
        ]
        sources += [
            one_of([self._one(channel, since_ns, until_ns) for channel in channels], since_ns) for channels in several
        ]
        # an archiver that is dead may be started while this is read: its rows come after the gap
        alone = len(pvs) == 1 and not self._ends_ns
        return chain(*sources) if alone else merge(*sources, key=attrgetter("time_ns"))

    def blocks(self, pv: str, since_ns: int, until_ns: int) -> Iterator[Block]:
        """Yield the samples of one PV in columns."""
        channel, *others = self._channels[pv]
        if others:
            yield from blocks_of(self.samples([pv], since_ns, until_ns))
            return
        part = channel // PART
        self._streams = self._parts = 1
        end = self._dead(part, [channel], until_ns).get(channel)
        if end is None or end.time_ns > since_ns:
            holes = self._holes(part, [channel], since_ns, until_ns).get(channel, [])
            for each in around(holes, since_ns, until_ns):
                yield from blocks_of([each]) if isinstance(each, Sample) else self._stored_blocks(channel, *each)
        if end is not None:
            yield from blocks_of([end])

    def bins(self, pv: str, since_ns: int, until_ns: int) -> Sequence[Bin]:
        """Return the thinned bins of which a part lies in the window, the oldest first."""
        return bins_of(self._bins(channel, since_ns, until_ns) for channel in self._channels[pv])

    def _bins(self, channel: int, since_ns: int, until_ns: int) -> Sequence[Bin]:
        bins = (Bin(*row) for row in self._rows(_BINS, channel, since_ns, until_ns))
        return [each for each in bins if each.end_ns > since_ns]

    def renames(self) -> Sequence[Rename]:
        """Return the renames of PVs, each old name once."""
        return [Rename(*row) for row in self._rows(RENAMES)]

    def summarized(self, pv: str) -> Sequence[tuple[int, int]]:
        """Return from when until when summaries were made of what lies between (ns), the oldest first."""
        channel, *others = self._channels[pv]
        if others:  # what one archiver knew is not what all knew
            return []
        with store_errors(self._file), self._connection.begin():
            return whole(next(self._rows(COVERED, channel), None), [(a, b) for a, b in self._rows(HOLES, channel)])

    def summaries(self, pv: str, width_ns: int, since_ns: int, until_ns: int) -> Iterator[Summary]:
        """Yield the summaries of one width that begin in the window, its end not included."""
        for rows in self._summary_steps(BINS, pv, width_ns, since_ns, until_ns, 1):
            statuses = self._statuses_of({row[15] for row in rows})
            yield from (Summary.of(pv, row, statuses) for row in rows)

    def summary_columns(self, pv: str, width_ns: int, since_ns: int, until_ns: int) -> Iterator[SummaryColumns]:
        """Yield the same in columns."""
        for rows in self._summary_steps(BINS_IN_COLUMNS, pv, width_ns, since_ns, until_ns, 0):
            whole, numbers = np.array([row[:3] for row in rows], np.int64), np.array([row[3:] for row in rows], float)
            yield SummaryColumns(*whole.T, *numbers.T)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        self._connection.engine.dispose()

    def _check_version(self) -> None:
        with self._connection.begin():
            version = schema_version(self._connection, self._file)
        if not version:
            raise StoreError(
                f"{self._file} is an SQLite file, but not an archive of rackioc yet: rackioc run makes one in it"
            )
        if version < migrations("sqlite")[-1].number:
            raise StoreError(f"{self._file}: its schema is version {version}, too old to be read: rackioc db migrate")

    def _part(self, part: int, channels: Sequence[int], since_ns: int, until_ns: int) -> Iterator[Iterator[Sample]]:
        ends = self._dead(part, channels, until_ns)
        alive = [channel for channel in channels if channel not in ends or ends[channel].time_ns > since_ns]
        holes = self._holes(part, alive, since_ns, until_ns)
        missing = [hole for of_one in holes.values() for hole in of_one if hole.touches(since_ns, until_ns)]
        begun = {hole.gap.pv: hole.until_ns for hole in missing if hole.gap.time_ns <= since_ns}
        led = {channel: begun[self._names[channel]] for channel in holes if self._names[channel] in begun}
        begins = self._in_force(part, [channel for channel in alive if channel not in led], since_ns)
        begins |= {channel: begin_ns for channel, begin_ns in led.items() if begin_ns <= until_ns}
        yield from self._stored(part, begins, until_ns)
        gaps = [*ends.values(), *(hole.gap for hole in missing)]
        yield iter(sorted(gaps, key=attrgetter("time_ns")))

    def _stored(self, part: int, begins: Mapping[int, int], until_ns: int) -> Iterator[Iterator[Sample]]:
        """Yield the samples of channels of one part, each from a time on."""
        if begins:
            (boundary_ns,) = next(self._rows(_BOUNDARY, part))
            settled_ns = min(boundary_ns, until_ns)
            begun: set[int] = set()
            yield from (self._settled(channel, begin, settled_ns, begun) for channel, begin in begins.items())
            begin_of = {self._names[channel]: begin for channel, begin in begins.items()}
            recent = self._recent(part, list(begins), max(min(begins.values()), boundary_ns + 1), until_ns, begun)
            yield (sample for sample in recent if sample.time_ns >= begin_of[sample.pv])

    def _stored_blocks(self, channel: int, since_ns: int, until_ns: int) -> Iterator[Block]:
        part = channel // PART
        (boundary_ns,) = next(self._rows(_BOUNDARY, part))
        begin_ns = self._in_force(part, [channel], since_ns)[channel]
        begun: set[int] = set()
        settled = self._settled_steps(channel, begin_ns, min(boundary_ns, until_ns), begun)
        recent = self._recent_steps(part, [channel], max(begin_ns, boundary_ns + 1), until_ns, begun)
        return chain.from_iterable(map(self._blocks, chain(settled, recent)))

    def _one(self, channel: int, since_ns: int, until_ns: int) -> Iterator[Sample]:
        """Return the samples of one channel, which is one of several of its PV."""
        sources = self._part(channel // PART, [channel], since_ns, until_ns)
        return merge(*sources, key=attrgetter("time_ns"))

    def _dead(self, part: int, channels: Sequence[int], until_ns: int) -> dict[int, Sample]:
        """Return a gap for each channel whose archiver is dead, from where it died, if that is in the window."""
        dead = [channel for channel in channels if channel in self._ends_ns]
        found = {}
        for channel, newest_ns in self._in_force(part, dead, END_OF_TIME_NS).items():
            for newest in self._samples(list(self._rows(_ONE, channel, newest_ns))):
                row = end_row(newest, self._ends_ns[channel])
                if row is not None and row.time_ns <= until_ns:
                    found[channel] = row
        return found

    def _holes(self, part: int, channels: Sequence[int], since_ns: int, until_ns: int) -> dict[int, list[Hole]]:
        """Return where rows of channels may be missing in a window, in order of time."""
        by_end: dict[int, list[int]] = {}
        for channel in channels:
            end_ns = self._ends_ns.get(channel, FROM_ITS_ROWS)
            if FROM_ITS_ROWS != end_ns < until_ns:
                by_end.setdefault(end_ns, []).append(channel)
        found: dict[int, list[Hole]] = {}
        for end_ns, dead in by_end.items():
            for channel, row_ns, next_ns, marked in self._pauses(part, dead, max(end_ns, since_ns), until_ns):
                if row_ns < until_ns and (marked or next_ns - max(row_ns, end_ns) > HOLE_AFTER_NS):
                    row = next(self._samples(list(self._rows(_ONE, channel, row_ns))), None)
                    if hole := hole_of(row, end_ns, next_ns, marked=marked):
                        found.setdefault(channel, []).append(hole)
        return found

    def _pauses(
        self, part: int, channels: Sequence[int], since_ns: int, until_ns: int
    ) -> Sequence[tuple[int, int, int, bool]]:
        """Return channels, each with a row in a window, the next, and whether that marks the end of a run.

        The next one does, or comes long after the row, or is the first in the window.
        """
        found, before_ns = [], self._in_force(part, channels, since_ns)
        window = (since_ns, until_ns, HOLE_AFTER_NS)
        with store_errors(self._file), self._connection.begin():  # all of one state
            for channel in channels:
                for next_ns, row_ns, marked in self._rows(_SETTLED_PAUSES, channel, *window):
                    found.append((channel, row_ns or before_ns[channel], next_ns, bool(marked)))
            for channel, next_ns, row_ns, marked in self._rows(_RECENT_PAUSES, part, *window):
                if channel in before_ns:
                    ((settled_ns,),) = self._rows(_LAST_SETTLED, channel)
                    found.append((channel, row_ns or max(before_ns[channel], settled_ns), next_ns, bool(marked)))
        return found

    def _settled(self, channel: int, since_ns: int, until_ns: int, begun: set[int]) -> Iterator[Sample]:
        """Yield the settled samples of a channel."""
        return chain.from_iterable(map(self._samples, self._settled_steps(channel, since_ns, until_ns, begun)))

    def _settled_steps(self, channel: int, since_ns: int, until_ns: int, begun: set[int]) -> Iterator[list[Any]]:
        """Yield the settled rows of a channel, step by step; it is added to ``begun`` if there are some."""
        limit = max(1, FIRST_ROWS // self._streams)
        rows = self._fetch(_SETTLED, channel, since_ns, until_ns, limit)
        while rows:
            begun.add(channel)
            yield rows
            if len(rows) < limit:
                return
            since_ns = rows[-1][1] + 1
            limit = _next_limit(rows, self._streams)
            rows = self._fetch(_SETTLED, channel, since_ns, until_ns, limit)
            self._require_row(channel, since_ns)

    def _recent(
        self, part: int, channels: Sequence[int], since_ns: int, until_ns: int, begun: set[int]
    ) -> Iterator[Sample]:
        """Yield the samples that have not settled."""
        return chain.from_iterable(map(self._samples, self._recent_steps(part, channels, since_ns, until_ns, begun)))

    def _recent_steps(
        self, part: int, channels: Sequence[int], since_ns: int, until_ns: int, begun: set[int]
    ) -> Iterator[Sequence[Sequence[Any]]]:
        """Yield the rows that have not settled, step by step; those that settle meanwhile are read where they are.

        ``begun``: the channels of which earlier rows were read.
        """
        sql = _RECENT.format(", ".join(map(str, channels)))
        last, limit = (since_ns, -1), FIRST_ROWS
        while True:
            with store_errors(self._file), self._connection.begin():  # both of one state
                (boundary_ns,) = next(self._rows(_BOUNDARY, part))
                rows = self._fetch(sql, part, *last, until_ns, limit) if boundary_ns < last[0] else None
            if rows is None:
                end_ns, earlier = min(boundary_ns, until_ns), list(begun)
                steps = (chain.from_iterable(self._settled_steps(each, last[0], end_ns, begun)) for each in channels)
                moved = (row for row in merge(*steps, key=itemgetter(1)) if (row[1], row[0]) > last)
                while rows := list(islice(moved, MOVED_ROWS)):
                    yield rows
                for channel in earlier:
                    self._require_row(channel, last[0] + 1)
                last = (boundary_ns + 1, -1)
                continue
            if rows:
                begun.update(row[0] for row in rows)
                yield rows
            if len(rows) < limit:
                return
            last = (rows[-1][1], rows[-1][0])
            limit = _next_limit(rows, 2 * self._parts)

    def _require_row(self, channel: int, before_ns: int) -> None:
        """Raise StoreError if none is left of a channel's rows before a time, up to which they were read.

        Old rows go, but for the newest of them: the last one that was read would be taken for what was in force until
        the first one that is left.
        """
        if next(self._rows(_EARLIER, channel, before_ns), None) is None:
            raise deleted_meanwhile(self._names[channel])

    def _summary_steps(
        self, sql: str, pv: str, width_ns: int, since_ns: int, until_ns: int, at: int
    ) -> Iterator[list[Any]]:
        """Yield summaries step by step; ``at``: where in a row its time is. Raises StoreError if they are deleted."""
        (channel,) = self._channels[pv]
        while True:
            rows = self._fetch(sql, channel, width_ns, since_ns, until_ns, STEP_ROWS)
            begin_ns, _ = next(self._rows(COVERED, channel), (until_ns, 0))
            if since_ns < begin_ns:  # one that is not there is that of a stretch without rows
                raise deleted_meanwhile(pv)
            if not rows:
                return
            yield rows
            since_ns = rows[-1][at] + 1

    def _in_force(self, part: int, channels: Sequence[int], since_ns: int) -> dict[int, int]:
        """Return the time of each channel's newest row before the window, else the window's begin."""
        recent = """
            SELECT channel_id, max(smpl_time) FROM sample_recent WHERE part = ? AND smpl_time <= ?
            GROUP BY channel_id"""
        found = dict(self._pairs(recent, part, since_ns)) if channels else {}
        settled = "SELECT max(smpl_time) FROM sample_settled WHERE channel_id = ? AND smpl_time <= ?"
        for channel in channels:
            if channel not in found:
                found[channel] = next(self._rows(settled, channel, since_ns))[0] or since_ns
        return {channel: found[channel] for channel in channels}

    def _samples(self, rows: Sequence[Sequence[Any]]) -> Iterator[Sample]:
        names, statuses = self._names, self._statuses_of({row[3] for row in rows})
        for channel, time_ns, severity, status, stored in rows:
            yield sample_of(names[channel], time_ns, stored, severity, statuses[status])

    def _blocks(self, rows: Sequence[Sequence[Any]]) -> Iterator[Block]:
        """Yield rows as a block, or as more if some hold what no archiver writes."""
        _, times_ns, severities, statuses, stored = zip(*rows, strict=True)
        sound = set(severities) <= _SEVERITIES
        try:
            values = stored if set(map(type, stored)) == {float} else [of_stored(each) for each in stored]
        except (ValueError, TypeError):
            sound = False
        if not sound:
            yield from blocks_of(self._samples(rows))
            return
        block = block_of(times_ns, values, severities, statuses, self._statuses_of(set(statuses)))
        yield block._replace(severity=block.severity - 1)

    def _statuses_of(self, numbers: set[int]) -> StatusNames:
        if not self._statuses.keys() >= numbers:  # a status that came after the last step
            self._statuses = StatusNames(self._pairs("SELECT status_id, name FROM status"))
        return self._statuses

    def _pairs(self, sql: str, *values: int) -> Iterator[tuple[Any, Any]]:
        return ((key, value) for key, value in self._rows(sql, *values))

    def _fetch(self, sql: str, *values: str | int) -> list[Any]:
        """Return rows as ``_rows`` yields them: many at once."""
        with store_errors(self._file):
            rows: list[Any] = self._connection.connection.cursor().execute(sql, values).fetchall()
        return rows

    def _rows(self, sql: str, *values: str | int) -> Iterator[Sequence[Any]]:
        """Yield rows of the driver itself: those of SQLAlchemy would cost as much again."""
        with store_errors(self._file):
            yield from self._connection.connection.cursor().execute(sql, values)


def _next_limit(rows: Sequence[Sequence[Any]], streams: int) -> int:
    """Return how many rows the next step of one of several streams has, after the size of those of the last one."""
    size = sum(len(row[-1]) for row in rows if isinstance(row[-1], bytes | str)) / len(rows) + 250
    return max(10, int(min(STEP_ROWS, STEP_BYTES / size) / streams))
