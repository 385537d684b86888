"""The contract between the archiver and its database."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from archiver.sample import Metadata, Sample


class StoreError(Exception):
    """The database cannot do it now: a sentence for the operator. What was sent may be sent again."""


class Store(Protocol):
    """Where samples go. Whatever is sent may be sent again: a sample is stored once, by PV and time."""

    def add(self, samples: Sequence[Sample]) -> None:
        """Store all the samples, or none, in one transaction."""

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        """Replace what is known about these PVs, in one transaction."""

    def newest(self) -> Sequence[Sample]:
        """The newest sample of each PV in the archive."""

    def close(self) -> None: ...


class Reader(Protocol):
    """Where samples come from: the archive as it was when opened, also while a Store is writing."""

    def names(self) -> Sequence[str]: ...

    def metadata(self, pv: str) -> Metadata: ...

    def samples(self, pv: str, since_ns: int, until_ns: int) -> Iterator[Sample]:
        """In order of time, both ends included, led by the newest sample before the window."""

    def close(self) -> None: ...
