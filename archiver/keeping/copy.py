"""The copy of an archive into another one, on any kind of database; it goes on where it was interrupted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple, Protocol

from archiver.keeping.joints import Joints
from archiver.storage import manage
from archiver.storage.columns import StatusNames
from archiver.storage.database import open_reader, open_source, open_target
from archiver.storage.store import StoreError
from archiver.storage.transfer.contract import Channel, Figures, Row, Source, Target
from archiver.storage.transfer.tables import METADATA, OTHERS, Table
from archiver.storage.url import DatabaseUrl, url_of

# What is told, now and then, how many rows are done, and of how many.
Report = Callable[[int, int], None]

# Rows of another table in one transaction
TABLE_ROWS = 10_000
# How often a channel is copied whose rows are not all there afterwards: some may be added and deleted meanwhile.
TRIES = 2


class Copied(NamedTuple):
    """What a copy has done: rows that were copied now, that were there before, and whose times it cannot hold."""

    rows: int
    before: int
    beyond: int


def copy(origin: str, destination: str, report: Report) -> Copied:
    """Copy all of an archive into another one, which is created if it does not exist. Raises StoreError.

    What is there stays. After an interruption the same call goes on, and later it brings what is new.
    """
    here, there = _place(url_of(origin)), _place(url_of(destination))
    if here == there:
        raise StoreError(f"{here}: an archive cannot be copied into itself: name another file or database")
    open_reader(origin).close()  # an archive, and of this version
    manage.init(destination)
    with closing(open_source(destination)) as present:
        before = present.archivers()
    with closing(open_source(origin)) as source, closing(open_target(destination)) as target:
        target.begin(hashlib.sha256(here.encode()).hexdigest())
        return transfer(source, target, before, report)


def transfer(source: Source, target: Target, before: Mapping[str, int], report: Report) -> Copied:
    """Copy all of a source into a target, where archivers gave signs of life (ns) before.

    Raises StoreError if rows are missing in the end.
    """
    channels = source.channels()
    ids = target.channels(channels)
    for table in METADATA:
        carry(source, target, table, ids)
    copied = _Samples(source, target, ids, Joints(source, target, before, ids), report).copy(channels)
    for table in (*METADATA, *OTHERS):
        carry(source, target, table, ids)
    target.refresh_metadata(list(ids.values()))
    target.finish(source.archivers())
    return copied


class HasTables(Protocol):
    """What tables are read from."""

    def table(self, table: Table) -> Iterator[Sequence[Any]]:
        """Yield the rows of a table."""


class _Samples:
    """The copy of the rows of ``sample``.

    beyond  rows of each channel whose times the target cannot hold
    """

    def __init__(
        self, source: Source, target: Target, ids: Mapping[int, int], joints: Joints, report: Report
    ) -> None:
        self._source, self._target, self._ids, self._joints, self._report = source, target, ids, joints, report
        names = source.statuses()
        numbers = target.statuses(names.values())
        self._statuses = {number: numbers[name] for number, name in names.items()}
        self._total = self._done = self._rows = 0
        self._beyond: Counter[int] = Counter()

    def copy(self, channels: Sequence[Channel]) -> Copied:
        """Copy what is not there; what was copied before is compared."""
        wanted = {channel: each for channel, each in self._source.figures().items() if channel in self._ids}
        there = {channel: self._there(channel, each) for channel, each in wanted.items()}
        before = sum(min(each.rows, wanted[channel].rows) for channel, each in there.items())
        after_ns = self._copied() | {
            channel: each.last_ns for channel, each in wanted.items() if there[channel].same(each)
        }
        self._joints.begin(channels, wanted)
        self._total, self._done = sum(each.rows for each in wanted.values()), before
        todo = [channel.number for channel in channels if channel.number in wanted]
        for _ in range(TRIES):
            self._beyond.clear()
            self._copy(todo, after_ns)
            todo, after_ns = [channel for channel, here, there in self._compared(todo) if not here.same(there)], {}
        compared = self._compared(todo)
        missing = sum(max(0, here.rows - there.rows - self._beyond[number]) for number, here, there in compared)
        if missing:
            raise StoreError(
                f"{self._target.where}: {missing} rows of {self._source.where} are not there, for rows are added to "
                "it late: copy again, or stop its archiver before"
            )
        return Copied(self._rows, before, self._beyond.total())

    def _copy(self, channels: Sequence[int], after_ns: Mapping[int, int]) -> None:
        first_ns, last_ns = self._target.first_ns, self._target.last_ns
        for rows in self._source.chunks(channels, after_ns):
            held = [self._translated(row) for row in rows if first_ns <= row.time_ns <= last_ns]
            self._beyond.update(row.channel for row in rows if not first_ns <= row.time_ns <= last_ns)
            self._joints.add(held)
            self._rows += len(held)
            self._done = min(self._done + len(held), self._total)
            self._report(self._done, self._total)

    def _translated(self, row: Row) -> Row:
        if row.status not in self._statuses:
            name = StatusNames()[row.status]
            self._statuses[row.status] = self._target.statuses([name])[name]
        return row._replace(channel=self._ids[row.channel], status=self._statuses[row.status])

    def _copied(self) -> dict[int, int]:
        """Return up to which time (ns) each channel of the source was copied."""
        copied = self._target.copied()
        return {channel: copied[number] for channel, number in self._ids.items() if number in copied}

    def _compared(self, channels: Sequence[int]) -> Iterator[tuple[int, Figures, Figures]]:
        """Yield the figures of channels in the source and in the target, up to where they were copied."""
        copied = self._copied()
        found = self._source.figures({channel: copied[channel] for channel in channels if channel in copied})
        for channel, figures in found.items():
            yield channel, figures, self._there(channel, figures)

    def _there(self, channel: int, source: Figures) -> Figures:
        return self._target.figures(self._ids[channel], source.first_ns, source.last_ns)


def carry(source: HasTables, target: Target, table: Table, ids: Mapping[int, int]) -> None:
    """Copy the rows of another table, with the target's own ids of channels."""
    rows = source.table(table)
    if table.columns[0] == "channel_id":
        rows = ((ids[channel], *others) for channel, *others in rows if channel in ids)
    while step := list(islice(rows, TABLE_ROWS)):
        target.add_table(table, step)


def _place(url: DatabaseUrl) -> str:
    """Return what an archive is recognized by when it is copied again."""
    return url.shown if url.file is None else str(url.file.absolute())
