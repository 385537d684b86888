"""What another program finds in an archive of the counting IOC, and whether that is complete."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pymysql

from archiver.sample import Gap
from bench.rig.mariadb import Server
from tests.system.faults.counting import NAMES

# Time in ns, and a number or the word of a gap
Row = tuple[int, float | str]

GAPS = frozenset(Gap)

_SQLITE = "SELECT name, smpl_time, coalesce(str_val, float_val) FROM sample JOIN channel USING (channel_id)"

_MARIADB = """
    SELECT name, FLOOR(UNIX_TIMESTAMP(smpl_time)) * 1000000000 + nanosecs, str_val, float_val
    FROM sample JOIN channel USING (channel_id)"""

_NEWEST = "SELECT UNIX_TIMESTAMP(MAX(smpl_time)) FROM sample WHERE float_val IS NOT NULL"


class SqliteFile:
    """An archive in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def rows(self) -> Iterable[tuple[str, int, float | str]]:
        """Return PV, time and value of each row. The file must be sound."""
        with closing(sqlite3.connect(self._file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return connection.execute(_SQLITE).fetchall()


class MariadbDatabase:
    """An archive in a database of a server."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._name = name

    def rows(self) -> Iterable[tuple[str, int, float | str]]:
        """Return PV, time and value of each row."""
        found = self._execute(_MARIADB)
        return [(name, int(time_ns), number if text is None else text) for name, time_ns, text, number in found]

    def newest(self) -> float:
        """Return the time of the newest number of all (s); 0 while the server does not answer, or there is none."""
        try:
            ((newest,),) = self._execute(_NEWEST)
        except pymysql.Error:
            return 0.0
        return float(newest or 0)

    def _execute(self, sql: str) -> list[tuple[Any, ...]]:
        return self._server.execute("SET time_zone = '+00:00'", sql, database=self._name)


@dataclass(frozen=True)
class Stretch:
    """Rows of a PV between two gaps: times in ns, and numbers; and the gap that ends it."""

    times_ns: list[int]
    numbers: list[int]
    gap: str = ""
    gap_ns: int = 0


def rows_of(archive: SqliteFile | MariadbDatabase, names: Sequence[str] = NAMES) -> dict[str, list[Row]]:
    """Return the rows of each PV in order of time; no two may have the same time."""
    of: dict[str, list[Row]] = {name: [] for name in names}
    for name, time_ns, value in archive.rows():
        of[name].append((time_ns, value))
    for name, own in of.items():
        own.sort(key=lambda row: row[0])
        assert all(before[0] < after[0] for before, after in pairwise(own)), f"{name}: twice at the same time"
    return of


def stretches(archive: SqliteFile | MariadbDatabase, names: Sequence[str] = NAMES) -> dict[str, list[Stretch]]:
    """Return the same from gap to gap. There must be nothing twice, and of each stretch all."""
    found = {name: list(_split(rows)) for name, rows in rows_of(archive, names).items()}
    for name, parts in found.items():
        _check(name, parts)
    return found


def gaps(parts: Sequence[Stretch]) -> list[str]:
    """Return the gap after each stretch; an empty text where there is none."""
    return [part.gap for part in parts]


def check_complete(archive: SqliteFile | MariadbDatabase, stopped_ns: int, names: Sequence[str] = NAMES) -> None:
    """Check that nothing is missing and nothing is twice, from the beginning to the archiver's stop."""
    for parts in stretches(archive, names).values():
        assert gaps(parts) == [Gap.ARCHIVE_OFF]
        assert stopped_ns - 3 * 10**9 < parts[0].times_ns[-1] < parts[0].gap_ns


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep everybody else from writing to the database meanwhile."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def _split(rows: Sequence[Row]) -> Iterator[Stretch]:
    times_ns: list[int] = []
    numbers: list[int] = []
    for time_ns, value in rows:
        if value in GAPS:
            yield Stretch(times_ns, numbers, str(value), time_ns)
            times_ns, numbers = [], []
        else:
            times_ns.append(time_ns)
            numbers.append(int(value))
    if numbers:
        yield Stretch(times_ns, numbers)


def _check(name: str, parts: Sequence[Stretch]) -> None:
    for part in parts:
        assert part.numbers, f"{name}: a gap right after a gap: {parts}"
        whole = list(range(part.numbers[0], part.numbers[-1] + 1))
        assert part.numbers == whole, f"{name}: missing or twice: {_faults(part.numbers)}"
    for before, after in pairwise(parts):
        assert before.numbers[-1] <= after.numbers[0], f"{name}: twice, before and after {before.gap}"


def _faults(numbers: Sequence[int]) -> list[tuple[int, int]]:
    return [(before, after) for before, after in pairwise(numbers) if after != before + 1]
