"""The contract between the archiver and its database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from archiver.sample import Dated, Sample, Value


class StoreError(Exception):
    """The database cannot do it now: a sentence for the operator. The same call may be made again."""


class Rejected(StoreError):
    """The database works, but will never accept these rows as they are."""


class TableRow(NamedTuple):
    """A row of a table beside the archive's: ``columns`` and ``values`` go together.

    ``key``: how many of the first columns are the key; a row whose key is there already is not stored.
    """

    table: str
    columns: tuple[str, ...]
    values: tuple[Value | None, ...]
    key: int


class Bin(NamedTuple):
    """The statistics of the numbers of one PV in one thinned bin of time (ns), of which only some rows were kept."""

    time_ns: int
    width_ns: int
    count: int  # type: ignore[assignment] # of the numbers; nobody counts the fields of a tuple
    minimum: float
    maximum: float
    mean: float

    @property
    def end_ns(self) -> int:
        """Return where the bin ends."""
        return self.time_ns + self.width_ns


class Store(Protocol):
    """The writing side of an archive. A sample may be added again: it is stored once, by PV and time.

    All methods raise StoreError; those that add raise Rejected for rows that are never accepted.
    """

    def add(self, samples: Sequence[Sample]) -> None:
        """Store all the samples, or none, in one transaction."""

    def add_metadata(self, metadata: Mapping[str, Dated]) -> None:
        """Store the metadata of PVs that hold from a time on, in one transaction; known ones change nothing."""

    def add_rows(self, rows: Sequence[TableRow]) -> None:
        """Store rows of tables that exist, all or none, in one transaction."""

    def newest(self) -> Sequence[Sample]:
        """Return the newest sample of each PV in the archive."""

    def tidy(self) -> bool:
        """Do one small step of the store's own upkeep; return True if more is to be done at once."""

    def expire(self, pv: str, before_ns: int) -> bool:
        """Delete some rows older than a time, but not the newest of them, which is in force then.

        Returns True if more are left.
        """

    def thin(self, pv: str, until_ns: int, width_ns: int) -> bool:
        """Thin some bins that end before a time: keep the first, last, lowest and highest number of each.

        The statistics of all the bin's numbers are kept as a ``Bin``. Changes of severity or status, gaps, INVALID
        values and what is not a number stay. Returns True if more bins are left.
        """

    def close(self) -> None:
        """Close the connection."""


class Reader(Protocol):
    """The reading side of an archive, also while a ``Store`` writes: what was there when it was opened, or more.

    A reader that stands still holds up nobody. All methods raise StoreError.
    """

    def names(self) -> Sequence[str]:
        """Return the names of all archived PVs, sorted."""

    def metadata(self, pv: str) -> Sequence[Dated]:
        """Return all metadata of a PV, the oldest first; the first hold from time 0 on."""

    def samples(self, pvs: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Sample]:
        """Yield samples in order of time, both ends included, led by each PV's newest before the window."""

    def bins(self, pv: str, since_ns: int, until_ns: int) -> Sequence[Bin]:
        """Return the thinned bins of which a part lies in the window, the oldest first."""

    def close(self) -> None:
        """Close the connection."""
