"""The rows of a damaged SQLite file: all that lies outside the damaged pages, and where something is missing."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from archiver.storage.sqlite.file import PART, file_name
from archiver.storage.store import StoreError
from archiver.storage.transfer.contract import Channel, Row, gathered
from archiver.storage.transfer.tables import Table
from archiver.storage.url import DatabaseUrl

_COLUMNS = "channel_id, smpl_time, severity_id, status_id, num_val, float_val, str_val, array_val"
FIRST, LAST = -(2**63), 2**63 - 1
# Between two readable stretches the damaged one is probed in so many places, and each part that is left once more.
PROBES, DEPTH = 16, 2


class Hole(NamedTuple):
    """A stretch of a channel that cannot be read: after one time until another (ns), both read."""

    channel: int
    after_ns: int
    until_ns: int


class _Keys(NamedTuple):
    """The rows of a table between two keys: ``select`` ends where the ORDER BY is to stand."""

    select: str
    key: str
    values: tuple[Any, ...]


class DamagedFile:
    """An archive in a damaged SQLite file.

    holes  what could not be read of the channels, known when the rows have been read
    lost   tables of which something could not be read
    """

    def __init__(self, url: DatabaseUrl) -> None:
        """Open the file for reading. Raises StoreError if SQLite cannot read its first page, which has the tables."""
        self.where = file = file_name(url)
        self.holes: list[Hole] = []
        self.lost: set[str] = set()
        self._opened_ns = time.time_ns()
        self._connection = sqlite3.connect(f"file:{quote(self.where)}?mode=ro", uri=True)
        try:
            tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        except sqlite3.Error as error:
            self._connection.close()
            raise StoreError(
                f"{self.where}: {error}: its first page is damaged, and nothing can be read: restore a backup"
            ) from error
        if "sample_settled" not in tables:
            self._connection.close()
            raise StoreError(f"{file} is an SQLite file, but not an archive of rackioc")

    def channels(self) -> Sequence[Channel]:
        """Return the channels whose name can be read."""
        names = dict(self._all("channel", "channel_id", "channel_id, name"))
        for name, number in self._all("channel", "name", "name, channel_id"):  # in the index there are names, too
            names.setdefault(number, name)
        archivers = dict(self._all("archiver", "archiver_id", "archiver_id, name"))
        owners = self._all("channel_owner", "channel_id", "channel_id, archiver_id, pv")
        owned = {channel: each for channel, *each in owners}
        found = []
        for number, name in sorted(names.items()):
            archiver, pv = owned.get(number, (None, name))
            found.append(Channel(number, name, pv, archivers.get(archiver)))
        return found

    def statuses(self) -> Mapping[int, str]:
        """Return the names of the alarm statuses by id."""
        return dict(self._all("status", "status_id", "status_id, name"))

    def archivers(self) -> Mapping[str, int]:
        """Return the sign of life (ns) of each archiver."""
        return dict(self._all("archiver", "archiver_id", "name, alive_time"))

    def table(self, table: Table) -> Iterator[Sequence[Any]]:
        """Yield the rows of a table that can be read: those before the damaged pages, and those after them."""
        yield from self._all(table.name, ", ".join(table.columns[: table.key]), ", ".join(table.columns))

    def chunks(self, named: Sequence[Channel]) -> Iterator[Sequence[Row]]:
        """Yield the rows that can be read, each channel's in order of time, also those of channels without a name."""
        known = {channel.number for channel in named}
        for table in ("sample_settled", "sample_recent"):
            known |= {channel for (channel,) in self._all(table, "channel_id", "DISTINCT channel_id")}
        parts = defaultdict(list)
        for channel in range(1, max(known, default=0) + 1):
            parts[channel // PART].append(channel)
        for part, members in parts.items():
            for channel in members:
                select = f"SELECT {_COLUMNS} FROM sample_settled WHERE channel_id = ? AND smpl_time"
                holes: list[tuple[int, int]] = []
                for rows in gathered(self._rescued(_Keys(select, "smpl_time", (channel,)), holes)):
                    known.add(channel)
                    yield rows
                self.holes += [Hole(channel, *each) for each in holes if channel in known]
            select = f"SELECT {_COLUMNS} FROM sample_recent WHERE part = ? AND smpl_time"
            holes = []
            yield from gathered(self._rescued(_Keys(select, "smpl_time", (part,)), holes))
            self.holes += [Hole(channel, *each) for each in holes for channel in members if channel in known]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _rescued(self, keys: _Keys, holes: list[tuple[int, int]]) -> Iterator[Sequence[Row]]:
        """Yield all rows that can be read, in order; ``holes`` gets the keys around what cannot."""
        yield from self._between(keys, FIRST, LAST, holes, DEPTH)

    def _between(
        self, keys: _Keys, after: int, until: int, holes: list[tuple[int, int]], depth: int
    ) -> Iterator[Sequence[Row]]:
        begin, damaged = after, False
        for row in self._read(keys, after, until, "ASC"):
            if row is None:
                damaged = True
            else:
                begin = row.time_ns
                yield [row]
        if not damaged:
            return
        end = until
        for row in self._read(keys, begin, until, "DESC"):
            end = end if row is None else row.time_ns
        if depth:
            yield from self._probed(keys, begin, end, holes, depth)
        else:
            holes.append((begin, end))
        if end < until:
            for row in self._read(keys, end - 1, until, "ASC"):
                if row is not None:
                    yield [row]

    def _probed(
        self, keys: _Keys, begin: int, end: int, holes: list[tuple[int, int]], depth: int
    ) -> Iterator[Sequence[Row]]:
        """Yield what can be read between two keys next to which nothing can."""
        found: list[tuple[int, int]] = []
        top = max(begin, min(end - 1, self._opened_ns))  # nothing is of the future
        marks = [begin + (top - begin) * number // PROBES for number in range(PROBES + 1)]
        for low, high in itertools.pairwise(marks):
            if low < high:
                yield from self._between(keys, low, high, found, depth - 1)
        if found and found[-1][1] == top:
            found[-1] = found[-1][0], end
        holes += _joined(found)

    def _read(self, keys: _Keys, after: int, until: int, order: str) -> Iterator[Row | None]:
        """Yield rows after one key up to another; None, as the last, where a damaged page is met."""
        select = f"{keys.select} > ? AND smpl_time <= ? ORDER BY {keys.key} {order}"
        try:
            for row in self._connection.execute(select, (*keys.values, after, until)):
                yield Row(*row)
        except (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError):
            yield None

    def _all(self, table: str, key: str, columns: str) -> Iterator[Any]:
        """Yield the rows of a table from both ends up to a damaged page."""
        descending = ", ".join(f"{each} DESC" for each in key.split(", "))
        seen = set()
        for order in (key, descending):
            try:
                for row in self._connection.execute(f"SELECT {columns} FROM {table} ORDER BY {order}"):
                    if row not in seen:
                        seen.add(row)
                        yield row
                return
            except (sqlite3.DatabaseError, UnicodeDecodeError):
                self.lost.add(table)


def _joined(holes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return holes that touch as one."""
    joined: list[tuple[int, int]] = []
    for low, high in holes:
        if joined and joined[-1][1] >= low:
            joined[-1] = joined[-1][0], high
        else:
            joined.append((low, high))
    return joined
