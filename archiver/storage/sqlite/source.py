"""The rows of an archive in an SQLite file as they are, for a copy; its archiver may write meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from archiver.storage.sqlite import backup
from archiver.storage.sqlite.file import PART, connect_reader, file_name, store_errors
from archiver.storage.transfer.contract import (
    CHUNK_ROWS,
    FIRST_ROWS,
    STRANGERS,
    Figures,
    Row,
    gathered,
    next_limit,
)
from archiver.storage.transfer.named import Named
from archiver.storage.transfer.tables import Table
from archiver.storage.url import DatabaseUrl

# A Row of the transfer
_COLUMNS = "channel_id, smpl_time, severity_id, status_id, num_val, float_val, str_val, array_val"
_SETTLED = f"""
    SELECT {_COLUMNS} FROM sample_settled
    WHERE channel_id = ? AND smpl_time > ? AND smpl_time <= ? ORDER BY smpl_time LIMIT ?"""
_RECENT = f"SELECT {_COLUMNS} FROM sample_recent WHERE part = ? ORDER BY smpl_time, channel_id"
_BOUNDARY = "SELECT coalesce(max(smpl_time), 0) FROM settled WHERE part = ?"
_FIGURES = "count(*), coalesce(sum(smpl_time / 1000 % 1000000), 0), min(smpl_time), max(smpl_time)"
# What db/sqlite/0002_large_archives.sql says of its tables -> the number of rows for which it is not so
_MISPLACED = {
    "belong to no channel": STRANGERS,
    "of sample_recent are in sample_settled, too": "SELECT count(*) FROM sample_recent AS r WHERE EXISTS ("
    "SELECT 1 FROM sample_settled AS s WHERE s.channel_id = r.channel_id AND s.smpl_time = r.smpl_time)",
    "of sample_recent are older than what has settled": "SELECT count(*) FROM sample_recent AS r "
    "JOIN settled USING (part) WHERE r.smpl_time <= settled.smpl_time",
    "of sample_recent are in another part than their channel": "SELECT count(*) FROM sample_recent "
    f"WHERE part <> channel_id / {PART}",
}

# Before and after all times
FIRST_NS, LAST_NS = -(2**63), 2**63 - 1


class SqliteSource(Named):
    """An archive in an SQLite file (a ``Source``).

    It is read in steps: a transaction that stays open would keep SQLite from reusing its log. Only the rows of a part
    that have not settled, a million at most, are read in one, for they settle meanwhile.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        self.where = file_name(url)
        with store_errors(self.where):
            self._connection = connect_reader(url)
        self._open()

    def figures(self, until_ns: Mapping[int, int] | None = None) -> Mapping[int, Figures]:
        """Return the figures of each channel that has rows; only of those up to a time each where it is given."""
        found: dict[int, Figures] = {}
        settled = f"SELECT {_FIGURES} FROM sample_settled WHERE channel_id = ? AND smpl_time <= ?"
        with self._transaction():  # what settles between two queries would be in both, or in neither
            for channel in [row.number for row in self.channels()]:
                end_ns = LAST_NS if until_ns is None else until_ns.get(channel, FIRST_NS)
                found[channel] = Figures(*next(self._rows(settled, channel, end_ns)))
            for channel, time_ns in self._rows("SELECT channel_id, smpl_time FROM sample_recent"):
                if channel in found and (until_ns is None or time_ns <= until_ns.get(channel, FIRST_NS)):
                    found[channel] = _with(found[channel], time_ns)
        return {channel: each for channel, each in found.items() if each.rows}

    def chunks(self, channels: Sequence[int], after_ns: Mapping[int, int]) -> Iterator[Sequence[Row]]:
        """Yield the rows of some channels later than a time each (left out: all), each channel's in order of time."""
        return gathered(self._steps(channels, after_ns))

    def table(self, table: Table) -> Iterator[Sequence[Any]]:
        """Yield the rows of a table, read in steps."""
        keys = ", ".join(table.columns[: table.key])
        select = f"SELECT {', '.join(table.columns)} FROM {table.name}"
        order = f"ORDER BY {keys} LIMIT {CHUNK_ROWS}"
        rows = list(self._rows(f"{select} {order}"))
        while rows:
            yield from rows
            marks = ", ".join("?" * table.key)
            last = rows[-1][: table.key]
            rows = list(self._rows(f"{select} WHERE ({keys}) > ({marks}) {order}", *last))

    def faults(self) -> Iterator[str]:
        """Yield what SQLite finds wrong, and the number of rows that are not where they belong."""
        yield from backup.faults(self.where)
        for problem, sql in _MISPLACED.items():
            (rows,) = next(self._rows(sql))
            if rows:
                yield f"{rows} rows {problem}"

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        self._connection.engine.dispose()

    def _steps(self, channels: Sequence[int], after_ns: Mapping[int, int]) -> Iterator[Sequence[Row]]:
        parts = defaultdict(list)
        for channel in channels:
            parts[channel // PART].append(channel)
        for part, members in parts.items():
            (boundary_ns,) = next(self._rows(_BOUNDARY, part))
            for channel in members:
                yield from self._settled(channel, after_ns.get(channel, FIRST_NS), boundary_ns)
            with self._transaction():
                for channel in members:  # those that have settled since
                    yield from self._settled(channel, max(boundary_ns, after_ns.get(channel, FIRST_NS)), LAST_NS)
                yield from self._recent(part, set(members), after_ns)

    def _settled(self, channel: int, after_ns: int, until_ns: int) -> Iterator[Sequence[Row]]:
        limit = FIRST_ROWS
        while rows := [Row(*row) for row in self._rows(_SETTLED, channel, after_ns, until_ns, limit)]:
            yield rows
            if len(rows) < limit:
                return
            after_ns = rows[-1].time_ns
            limit = next_limit(rows)

    def _recent(self, part: int, channels: set[int], after_ns: Mapping[int, int]) -> Iterator[Sequence[Row]]:
        for row in self._rows(_RECENT, part):
            channel, time_ns, *_ = row
            if channel in channels and time_ns > after_ns.get(channel, FIRST_NS):
                yield [Row(*row)]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with store_errors(self.where), self._connection.begin():
            yield

    def _rows(self, sql: str, *values: Any) -> Iterator[Any]:
        """Yield rows of the driver itself: those of SQLAlchemy would cost as much again."""
        with store_errors(self.where):
            yield from self._connection.connection.cursor().execute(sql, values)


def _with(figures: Figures, time_ns: int) -> Figures:
    rows, fractions, first_ns, last_ns = figures
    if not rows:
        first_ns = last_ns = time_ns
    fraction = time_ns // 1000 % 1_000_000
    return Figures(rows + 1, fractions + fraction, min(first_ns, time_ns), max(last_ns, time_ns))
