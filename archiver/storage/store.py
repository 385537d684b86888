"""The contract between the archiver and its database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from archiver.sample import Dated, Sample, Value


class StoreError(Exception):
    """The database cannot do it now: a sentence for the operator. What was sent may be sent again."""


class Rejected(StoreError):
    """The database works, but will never take these rows as they are."""


class TableRow(NamedTuple):
    """A row of a table of its own, beside the archive's: `columns` and `values` go together.

    `key`: how many of the first columns tell one row from another; a row whose key is there already is not stored.
    """

    table: str
    columns: tuple[str, ...]
    values: tuple[Value | None, ...]
    key: int


class Bin(NamedTuple):
    """The numbers of one PV that fell into one bin of time, of which only some rows were kept."""

    time_ns: int
    width_ns: int
    count: int  # type: ignore[assignment] # of the numbers; nobody counts the fields of a tuple
    minimum: float
    maximum: float
    mean: float


class Store(Protocol):
    """Where samples go. Whatever is sent may be sent again: a sample is stored once, by PV and time."""

    def add(self, samples: Sequence[Sample]) -> None:
        """Store all the samples, or none, in one transaction."""

    def add_metadata(self, metadata: Mapping[str, Dated]) -> None:
        """Note what holds of these PVs from a time on, in one transaction. What is known already changes nothing."""

    def add_rows(self, rows: Sequence[TableRow]) -> None:
        """Store rows of tables that are there, all or none, in one transaction."""

    def newest(self) -> Sequence[Sample]:
        """The newest sample of each PV in the archive."""

    def tidy(self) -> bool:
        """One small step of the store's own house-keeping; True if more is to be done at once."""

    def expire(self, pv: str, before_ns: int) -> bool:
        """One small step: delete rows older than that, but for the newest of them, which is in force then.

        True if more of them are left.
        """

    def thin(self, pv: str, until_ns: int, width_ns: int) -> bool:
        """One small step: of each bin that ends before that keep the first, last, lowest and highest number.

        All the bin's numbers together are kept as a Bin. Changes of severity or status, gaps and what is no number
        stay. True if more bins are left.
        """

    def close(self) -> None: ...


class Reader(Protocol):
    """Where samples come from: the archive as it was when opened, also while a Store is writing."""

    def names(self) -> Sequence[str]: ...

    def metadata(self, pv: str) -> Sequence[Dated]:
        """All that was ever known of the PV, the oldest first; the first is from time 0 on."""

    def samples(self, pvs: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Sample]:
        """In order of time, both ends included, led by the newest sample of each PV before the window."""

    def bins(self, pv: str, since_ns: int, until_ns: int) -> Sequence[Bin]:
        """Of stretches that were thinned: bins that begin in the window, the oldest first."""

    def close(self) -> None: ...
