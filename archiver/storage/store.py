"""The contract between the archiver and its database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from archiver.sample import Dated, Sample, Value
from archiver.storage.summary import Summary

if TYPE_CHECKING:  # its numpy takes long to load, and every command loads this
    from archiver.blocks import Block, SummaryColumns


class StoreError(Exception):
    """The database cannot do it now: a sentence for the operator. The same call may be made again."""


def deleted_meanwhile(pv: str) -> StoreError:
    """Return the error of a reading that came to rows after they were thinned or deleted."""
    return StoreError(f"{pv} was thinned, or its old rows deleted, while it was read: ask again")


class WrongUrl(StoreError):
    """What was given is not the URL of a database: no database can be meant, and the same call fails again."""


class Gone(StoreError):
    """What was opened is not the archive any more, or not this archiver's: a store has to be opened anew."""


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


# The renames of an archive, in order of time
RENAMES = "SELECT old_pv, new_pv, since_time FROM renamed ORDER BY since_time, old_pv"


class Rename(NamedTuple):
    """A name that a PV has no longer: from ``since_ns`` on it is ``new``."""

    old: str
    new: str
    since_ns: int


class Space(NamedTuple):
    """Bytes that the rows of an archive use, and that are free for more of them."""

    used: float
    free: float


class Store(Protocol):
    """The writing side of an archive. A sample may be added again: it is stored once, by PV and time.

    It is one archiver's: of a PV that another one keeps, too, it has rows of its own, and touches no others.

    alive_ns    the sign of life of this archiver's run before

    All methods raise StoreError; those that add raise Rejected for rows that are never accepted.
    """

    def add(self, samples: Sequence[Sample]) -> None:
        """Store all the samples, or none, in one transaction."""

    def add_metadata(self, metadata: Mapping[str, Dated], *, keep_equal: bool = False) -> None:
        """Store the metadata of PVs that hold from the time of a row on, in one transaction, in any order.

        Those that equal the ones before change nothing. With ``keep_equal`` they are stored: others that hold between
        the two may come later.
        """

    def add_rows(self, rows: Sequence[TableRow]) -> None:
        """Store rows of tables that exist, all or none, in one transaction."""

    alive_ns: int

    def newest(self) -> Sequence[Sample]:
        """Return the newest sample of each PV of this archiver."""

    def unowned(self) -> Sequence[Sample]:
        """Return the newest sample of each PV that belongs to nobody yet: of an archive that had no owners."""

    def live(self, time_ns: int) -> None:
        """Store the sign of life: all that was known until then is stored. Raises Gone if another has the name."""

    def latest(self, pv: str, since_ns: int, most: int) -> Sequence[Sample]:
        """Return this archiver's sample of a PV in force at a time, if there is one, and later ones, in order.

        ``most``: how many at most.
        """

    def newest_values(self, until_ns: int) -> Mapping[str, int]:
        """Return the time (ns) of the newest row of each PV, up to a time, that marks no gap."""

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

    def expire_months(self, before_ns: Mapping[str, int]) -> bool:
        """Drop a month in which nobody keeps more than the row in force then; return True if more may follow.

        ``before_ns``: of each PV of this archiver that keeps not all, the time before which it keeps nothing. Where
        rows do not lie apart by month, or not all in a month are to go, ``expire`` deletes them.
        """

    def shrink(self) -> bool:
        """Give some of the free space within the archive back to the disk; return True if more is to be given."""

    def space(self) -> Space | None:
        """Return what the archive uses and what is free; None where that cannot be known."""

    def close(self) -> None:
        """Close the connection."""


class Reader(Protocol):
    """The reading side of an archive, also while a ``Store`` writes: what was there when it was opened, or more.

    What several archivers keep of a PV is read as one; of what one kept that is dead, nothing is known since then.

    A reader that stands still holds up nobody. All methods raise StoreError.
    """

    def names(self) -> Sequence[str]:
        """Return the names of all archived PVs, sorted."""

    def metadata(self, pv: str) -> Sequence[Dated]:
        """Return all metadata of a PV, the oldest first."""

    def samples(self, pvs: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Sample]:
        """Yield samples in order of time, both ends included, led by each PV's newest before the window."""

    def blocks(self, pv: str, since_ns: int, until_ns: int) -> Iterator[Block]:
        """Yield the samples of one PV, as ``samples`` does, in columns."""

    def bins(self, pv: str, since_ns: int, until_ns: int) -> Sequence[Bin]:
        """Return the thinned bins of which a part lies in the window, the oldest first."""

    def renames(self) -> Sequence[Rename]:
        """Return the renames of PVs, each old name once."""

    def summarized(self, pv: str) -> Sequence[tuple[int, int]]:
        """Return from when until when summaries were made of what lies between (ns), the oldest first."""

    def summaries(self, pv: str, width_ns: int, since_ns: int, until_ns: int) -> Iterator[Summary]:
        """Yield the summaries of one width that begin in the window, its end not included; none where no row is.

        The window lies in what is summarized.
        """

    def summary_columns(self, pv: str, width_ns: int, since_ns: int, until_ns: int) -> Iterator[SummaryColumns]:
        """Yield the same in columns."""

    def close(self) -> None:
        """Close the connection."""
