"""Queries of the archive: the rows of some PVs between two times."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher, get_close_matches
from fnmatch import fnmatchcase
from itertools import pairwise
from operator import attrgetter

from archiver.sample import END_OF_TIME_NS, Dated, Metadata, Sample
from archiver.storage.database import open_reader
from archiver.storage.store import Bin, Reader, StoreError
from archiver.storage.url import DatabaseUrl
from archiver.times import parse_time, to_ns

_UNKNOWN = (Dated(0, Metadata()),)
# Of 1: a name whose likeness to a mistyped one is so much less than the best is not proposed beside it
_MUCH_LESS = 0.02


class HistoryError(Exception):
    """The query cannot be answered: a sentence for the user."""


class HistoryUsageError(HistoryError):
    """The query was not asked in a way that has an answer: wrong times, or options that exclude each other."""


@dataclass(frozen=True)
class Window:
    """A window of time, both ends included; ``since_ns`` None is open: from the first row on.

    Raises HistoryUsageError if it ends before it begins.
    """

    since_ns: int | None
    until_ns: int

    def __post_init__(self) -> None:
        if self.until_ns < self.begin_ns:
            raise HistoryUsageError("the window ends before it begins: give an --until that is later than --since")

    @property
    def begin_ns(self) -> int:
        """Return the begin, 0 if it is open."""
        return self.since_ns or 0


class MetadataHistory:
    """The metadata of PVs, as they were at any time."""

    def __init__(self, metadata: Mapping[str, Sequence[Dated]]) -> None:
        self._entries = {pv: dated or _UNKNOWN for pv, dated in metadata.items()}

    def at(self, pv: str, time_ns: int) -> Metadata:
        """Return the metadata of a PV that hold at a time; before the first there are texts, which have none."""
        entries = self._entries[pv]
        if len(entries) == 1:  # nearly always; this is done for each row
            return entries[0].metadata
        return entries[max(1, bisect_right(entries, time_ns, key=attrgetter("since_ns"))) - 1].metadata

    def changes(self, pv: str) -> list[int]:
        """Return the times at which numbers of a PV begin to have another unit, or other words."""
        return [
            after.since_ns
            for before, after in pairwise(self._entries[pv])
            if (before.metadata.unit, before.metadata.words) != (after.metadata.unit, after.metadata.words)
        ]


@dataclass(frozen=True)
class Query:
    """An open archive, the PVs and the window of a query, and the PVs' metadata.

    names      PVs that are in the archive
    missing    a sentence for each name or glob that is not
    """

    reader: Reader
    names: Sequence[str]
    missing: Sequence[str]
    window: Window
    metadata: MetadataHistory

    def samples(self) -> Iterator[Sample]:
        """Yield the samples in order of time, led by each PV's newest before the window, in force at its begin."""
        return self.reader.samples(self.names, self.window.begin_ns, self.window.until_ns)

    def bins(self, pv: str) -> Sequence[Bin]:
        """Return the bins of thinned stretches of which a part lies in the window."""
        return self.reader.bins(pv, self.window.begin_ns, self.window.until_ns)


@contextmanager
def open_query(database: str, pvs: Sequence[str], window: Window) -> Iterator[Query]:
    """Open an archive for a query of PVs (names or globs), also while the archiver writes.

    Raises HistoryError, also if none of the PVs is in the archive.
    """
    for error in DatabaseUrl.faults(database):
        raise HistoryUsageError(f"the archive's database {error}")
    try:
        with closing(open_reader(database)) as reader:
            names, missing = _matching(pvs, reader.names())
            if missing and not names:
                raise HistoryError("; ".join(missing))
            metadata = MetadataHistory({pv: reader.metadata(pv) for pv in names})
            yield Query(reader, names, missing, window, metadata)
    except StoreError as error:
        raise HistoryError(str(error)) from error


def time_of(time: str | datetime | None, now_ns: int, *, local: bool = False) -> int | None:
    """Return the nanoseconds since 1970 UTC of a time, the nearest that an archive can have.

    A text without an offset may be local time. Raises HistoryUsageError if a text is not a time.
    """
    if time is None:
        return None
    try:
        time_ns = to_ns(time) if isinstance(time, datetime) else parse_time(time, now_ns, local=local)
    except ValueError as error:
        raise HistoryUsageError(str(error)) from None
    return min(max(0, time_ns), END_OF_TIME_NS)


def _matching(pvs: Sequence[str], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the archived names that names or globs stand for, each once, and a sentence for each without any."""
    found: dict[str, None] = {}
    missing = []
    known = set(names)
    for pv in pvs:
        # with brackets it may be both, a name and a glob
        matches = [pv] if pv in known else [name for name in names if fnmatchcase(name, pv)]
        if not matches:
            similar = _similar(pv, names)
            hint = f"; did you mean {' or '.join(similar)}?" if similar else ""
            missing.append(f"{pv} is not in the archive{hint}")
        found.update(dict.fromkeys(matches))
    return list(found), missing


def _similar(pv: str, names: Sequence[str]) -> list[str]:
    """Return the archived names that are most like one that is not archived, three at most; none for a pattern.

    What differs in the case of letters or in leading zeros alone is the only one then: S4 is S04, not S14.
    """
    if any(each in pv for each in "*?"):
        return []
    spelled: dict[str, list[str]] = {}
    for name in names:
        spelled.setdefault(_spelling(name), []).append(name)
    wanted = _spelling(pv)
    close = [wanted] if wanted in spelled else get_close_matches(wanted, spelled, n=20)
    likeness = {each: SequenceMatcher(None, each, wanted).ratio() for each in close}
    # one that is less like it would look as likely as the first
    alike = [each for each in close if likeness[each] > likeness[close[0]] - _MUCH_LESS]
    alike.sort(key=lambda each: (-likeness[each], each))
    return [name for each in alike for name in sorted(spelled[each])][:3]


def _spelling(name: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", name.lower())
