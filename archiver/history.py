"""Reading the archive: the rows of some PVs between two times."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from difflib import get_close_matches
from fnmatch import fnmatchcase
from heapq import merge
from operator import attrgetter
from typing import TextIO

from archiver.database import open_reader
from archiver.row import Row, to_row
from archiver.show import FORMATS
from archiver.store import Reader, StoreError
from archiver.when import parse_time

END_OF_TIME_NS = 2**63 - 1


class HistoryError(Exception):
    """What was asked for cannot be answered: a sentence for the user."""


def command(
    pvs: Sequence[str], database: str, *, since: str | None, until: str | None, form: str, out: TextIO
) -> None:
    """Print the history of PVs (names or globs) as a table, csv or json."""
    if form not in FORMATS:
        raise HistoryError(f"{form!r} is no format: choose one of {', '.join(FORMATS)}")
    now_ns = time.time_ns()
    FORMATS[form](read(database, pvs, _time(since, now_ns), _time(until, now_ns)), out)


def read(
    database: str, pvs: Sequence[str], since_ns: int | None = None, until_ns: int | None = None
) -> Iterator[Row]:
    """The rows of PVs (names or globs) in order of time, also while the archiver writes.

    The last value before the window leads, for it is the one in force when the window opens.
    """
    start, end = since_ns or 0, END_OF_TIME_NS if until_ns is None else until_ns
    if end < start:
        raise HistoryError("the window ends before it begins: give an --until that is later than --since")
    try:
        with closing(open_reader(database)) as reader:
            names = _matching(pvs, reader.names())
            yield from merge(*(_rows(reader, pv, start, end) for pv in names), key=attrgetter("time_ns"))
    except StoreError as error:
        raise HistoryError(str(error)) from error


def _rows(reader: Reader, pv: str, since_ns: int, until_ns: int) -> Iterator[Row]:
    metadata = reader.metadata(pv)
    return (to_row(sample, metadata) for sample in reader.samples(pv, since_ns, until_ns))


def _matching(pvs: Sequence[str], names: Sequence[str]) -> list[str]:
    """The archived names that are asked for, each once however often it is named."""
    found: dict[str, None] = {}
    for pv in pvs:
        matches = [name for name in names if name == pv or fnmatchcase(name, pv)]
        if not matches:
            similar = get_close_matches(pv, names)
            hint = f"; did you mean {' or '.join(similar)}?" if similar else ""
            raise HistoryError(f"{pv} is not in the archive{hint}")
        found.update(dict.fromkeys(matches))
    return list(found)


def _time(text: str | None, now_ns: int) -> int | None:
    try:
        return None if text is None else parse_time(text, now_ns)
    except ValueError as error:
        raise HistoryError(str(error)) from None
