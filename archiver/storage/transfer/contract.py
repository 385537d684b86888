"""The contract of what carries an archive from one database to another: rows as they are, and nothing added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from archiver.storage.transfer.tables import Table

# Rows and bytes that are read, and committed, together.
CHUNK_ROWS, CHUNK_BYTES = 50_000, 30_000_000
# Rows of the first step of a channel, before it is known how large they are.
FIRST_ROWS = 2_000

# The sign of life of an archiver that is not copied as a whole yet: nothing is known from it after its newest row.
UNFINISHED_NS = 1

# The number of rows that belong to no channel
STRANGERS = "SELECT COUNT(*) FROM sample WHERE channel_id NOT IN (SELECT channel_id FROM channel)"


class Row(NamedTuple):
    """A row of ``sample``, in the columns that all databases have; ``array_val`` is set for an array alone."""

    channel: int
    time_ns: int
    severity: int
    status: int
    num_val: int | None
    float_val: float | None
    str_val: str | None
    array_val: bytes | None


class Channel(NamedTuple):
    """A series of rows: of a PV, by an archiver; None if it belongs to nobody yet."""

    number: int
    name: str
    pv: str
    archiver: str | None


class Figures(NamedTuple):
    """What tells whether two databases have the same rows of a channel.

    fractions  the sum of the microseconds within the second of all rows
    """

    rows: int
    fractions: int
    first_ns: int
    last_ns: int

    def same(self, other: Figures) -> bool:
        """Return whether both are of the same rows; finer times than a microsecond do not count."""
        return (self.rows, self.fractions) == (other.rows, other.fractions)


class Source(Protocol):
    """An archive that is read; its archiver may write meanwhile. All methods raise StoreError.

    where  place and name, for messages
    """

    where: str

    def channels(self) -> Sequence[Channel]:
        """Return all channels in order of their ids."""

    def statuses(self) -> Mapping[int, str]:
        """Return the names of the alarm statuses by id."""

    def archivers(self) -> Mapping[str, int]:
        """Return the sign of life (ns) of each archiver, as it was when the source was opened."""

    def figures(self, until_ns: Mapping[int, int] | None = None) -> Mapping[int, Figures]:
        """Return the figures of each channel that has rows; only of those up to a time each where it is given."""

    def chunks(self, channels: Sequence[int], after_ns: Mapping[int, int]) -> Iterator[Sequence[Row]]:
        """Yield the rows of some channels later than a time each (left out: all), each channel's in order of time."""

    def table(self, table: Table) -> Iterator[Sequence[Any]]:
        """Yield the rows of a table."""

    def faults(self) -> Iterator[str]:
        """Yield what the database itself finds wrong with its tables; all of them are read."""

    def close(self) -> None:
        """Close the connection."""


class Target(Protocol):
    """An archive to which rows of another one are added; a row that is there is not stored again.

    All methods raise StoreError. ``first_ns``, ``last_ns``: the times that it can hold.
    """

    where: str
    first_ns: int
    last_ns: int

    def begin(self, source: str) -> None:
        """Make ready to take rows from a source, whose name is to be the same when the copy goes on."""

    def channels(self, channels: Sequence[Channel]) -> Mapping[int, int]:
        """Return the id here of each channel of a source: of the same PV and archiver; new ones are made."""

    def statuses(self, names: Iterable[str]) -> Mapping[str, int]:
        """Return the ids of alarm statuses; new ones are made."""

    def copied(self) -> Mapping[int, int]:
        """Return up to which time (ns) each channel here has been copied from the source."""

    def add(self, rows: Sequence[Row], marks: Sequence[Row] = (), former: Sequence[Row] = ()) -> None:
        """Store rows, delete what is rebuilt of their channels, note how far they were copied: in one transaction.

        Before that gaps are deleted (``former``), and with the rows others are stored (``marks``), not copied ones.
        """

    def figures(self, channel: int, first_ns: int, last_ns: int) -> Figures:
        """Return the figures of a channel's rows from one time to another, in full microseconds."""

    def add_table(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Store rows of a table in one transaction."""

    def refresh_metadata(self, channels: Sequence[int]) -> None:
        """Make the present metadata of channels those that were dated last."""

    def finish(self, archivers: Mapping[str, int]) -> None:
        """Store the signs of life of the archivers, now that all is there that they knew until then."""

    def close(self) -> None:
        """Close the connection."""


def next_limit(rows: Sequence[Row]) -> int:
    """Return how many rows the next step of a channel has, after the size of those of the last one."""
    size = sum(len(row.array_val) for row in rows if row.array_val) / len(rows) + 200
    return int(max(10, min(CHUNK_ROWS, CHUNK_BYTES / size)))


def gathered(steps: Iterable[Sequence[Row]]) -> Iterator[Sequence[Row]]:
    """Yield the rows of small steps together, up to CHUNK_ROWS and CHUNK_BYTES."""
    chunk: list[Row] = []
    size = 0
    for rows in steps:
        chunk += rows
        size += sum(len(row.array_val) for row in rows if row.array_val)
        if len(chunk) >= CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
