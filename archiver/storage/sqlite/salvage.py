"""The rows of a damaged SQLite file: all that lies outside the damaged pages, and where something is missing."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from archiver.storage.sqlite.file import PART, file_name, read_only, require
from archiver.storage.store import StoreError
from archiver.storage.transfer.contract import Channel, Row, gathered
from archiver.storage.transfer.tables import Table, others
from archiver.storage.url import DatabaseUrl

_COLUMNS = "channel_id, smpl_time, severity_id, status_id, num_val, float_val, str_val, array_val"
FIRST, LAST = -(2**63), 2**63 - 1
# Between two readable stretches the damaged one is probed in so many places, and each part that is left once more.
PROBES, DEPTH = 16, 2
# Ids of channels are given one after the other: a higher one is damaged.
MOST_CHANNELS = 10_000_000


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

    others  tables that are not the archive's
    holes   what could not be read of the channels, known when the rows have been read
    lost    tables of which something could not be read
    """

    def __init__(self, url: DatabaseUrl) -> None:
        """Open the file for reading. Raises StoreError if SQLite cannot read its first page, which has the tables."""
        self.where = file = file_name(url)
        require(file)
        self.holes: list[Hole] = []
        self.lost: set[str] = set()
        self._opened_ns = time.time_ns()
        self._connection = read_only(self.where)
        try:
            # Without it SQLite reads nothing of a file that ends too early, or whose list of tables has one fault
            self._connection.execute("PRAGMA writable_schema = ON")
            self._connection.text_factory = lambda text: text.decode(errors="replace")
            found = self._connection.execute("SELECT type, name FROM sqlite_master").fetchall()
            self._connection.text_factory = str
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._connection.close()
            raise StoreError(
                f"{self.where}: {error}: its first page is damaged, and nothing can be read: restore a backup"
            ) from error
        if "sample_settled" not in {name for _, name in found}:
            self._connection.close()
            raise StoreError(f"{file} is an SQLite file, but not an archive of rackioc")
        self.others = others(name for kind, name in found if kind == "table" and isinstance(name, str))

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
            found = self._all(table, "channel_id", "DISTINCT channel_id")
            known |= {channel for (channel,) in found if type(channel) is int and 0 < channel < MOST_CHANNELS}
        parts = defaultdict(list)
        for channel in range(1, max(known, default=0) + 1):
            parts[channel // PART].append(channel)
        for part, members in parts.items():
            settled_ns = dict.fromkeys(members, FIRST)
            for channel in members:
                select = f"SELECT {_COLUMNS} FROM sample_settled WHERE channel_id = ? AND smpl_time"
                holes: list[tuple[int, int]] = []
                for rows in gathered(self._rescued(_Keys(select, "smpl_time", (channel,)), holes)):
                    known.add(channel)
                    settled_ns[channel] = rows[-1].time_ns
                    yield rows
                self.holes += [Hole(channel, *each) for each in holes if channel in known]
            select = f"SELECT {_COLUMNS} FROM sample_recent WHERE part = ? AND smpl_time"
            holes = []
            yield from gathered(self._rescued(_Keys(select, "smpl_time", (part,)), holes))
            self.holes += [
                Hole(channel, max(after_ns, settled_ns[channel]), until_ns)
                for after_ns, until_ns in holes
                for channel in members
                if channel in known
            ]

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
        if not damaged and self._newest(keys, after, until) == begin:
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

    def _newest(self, keys: _Keys, after: int, until: int) -> int | None:
        """Return the key of the newest row up to one key, ``after`` if there is none; None on a damaged page.

        A row whose key is damaged may end a reading from the other end without an error.
        """
        row = next(self._read(keys, after, until, "DESC"), Row(0, after, 0, 0, None, None, None, None))
        return row and row.time_ns

    def _probed(
        self, keys: _Keys, begin: int, end: int, holes: list[tuple[int, int]], depth: int
    ) -> Iterator[Sequence[Row]]:
        """Yield what can be read between two keys; right after the first and before the second nothing can."""
        found = [(begin, begin)]
        top = max(begin, min(end - 1, self._opened_ns))  # nothing is of the future
        marks = [begin + (top - begin) * number // PROBES for number in range(PROBES + 1)]
        last = begin
        for low, high in itertools.pairwise(marks):
            if low < high:
                before = len(found), last
                for rows in self._between(keys, low, high, found, depth - 1):
                    last = rows[-1].time_ns
                    yield rows
                if before == (len(found), last):  # a damaged page may lead past rows that are there
                    found.append((last, high))
        holes += _joined([*found, (last, end)])

    def _read(self, keys: _Keys, after: int, until: int, order: str) -> Iterator[Row | None]:
        """Yield rows after one key up to another; None, as the last, where a damaged page is met."""
        select = f"{keys.select} > ? AND smpl_time <= ? ORDER BY {keys.key} {order}"
        before = after if order == "ASC" else until
        try:
            for row in self._connection.execute(select, (*keys.values, after, until)):
                found = Row(*row)
                if not all(type(each) is int for each in found[:4]) or not _follows(found.time_ns, before, order):
                    yield None  # SQLite reads zeros as rows without a time, and others out of order
                    return
                before = found.time_ns
                yield found
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


def _follows(time_ns: int, before_ns: int, order: str) -> bool:
    """Return whether a time may come after another one in an order; rows of several channels may have the same."""
    return before_ns <= time_ns if order == "ASC" else time_ns <= before_ns


def _joined(holes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return holes that touch as one."""
    joined: list[tuple[int, int]] = []
    for low, high in holes:
        if joined and joined[-1][1] >= low:
            joined[-1] = joined[-1][0], high
        else:
            joined.append((low, high))
    return joined
