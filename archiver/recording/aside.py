"""What was set aside of a spool because it could not be read: it is listed, and brought in again.

Both may be done while the archiver runs, which then finds the batches in its spool.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from archiver.recording.batch import UNREADABLE, Batch
from archiver.recording.spool import COUNT, RUN, SPOOLED, SQLITE_ERRORS, SpoolError, transaction

_BRING_IN = "INSERT INTO batch (spooled, run, count, data) VALUES (?, ?, ?, ?)"

# What waits in a file, and what was set aside within it before the file was.
_COLUMNS = f"id, {SPOOLED}, {RUN}, {COUNT}, CAST(data AS BLOB)"
_BATCHES = f"SELECT {_COLUMNS} FROM batch ORDER BY id"
_ASIDE = f"SELECT {_COLUMNS} FROM aside WHERE data IS NOT NULL ORDER BY id"


# When it was spooled, the begin of its run, how many samples it holds, and the batch.
_Row = tuple[float, int, int, bytes]


class _Read(NamedTuple):
    """What is brought in of a file, how many samples that are, and whether all of it could be read."""

    rows: list[_Row]
    samples: int
    whole: bool


class Aside(NamedTuple):
    """A batch or a file that was set aside, when (seconds since 1970), and how many samples it holds, if known."""

    name: str
    since: float | None
    samples: int | None
    reason: str


def look(spool: Path) -> list[Aside]:
    """Return what was set aside and is still there; from now on it is known to somebody. Raises SpoolError."""
    with _opened(spool) as connection:
        batches = connection.execute("SELECT id, since, count, reason FROM aside WHERE data IS NOT NULL ORDER BY id")
        found = [Aside(f"batch {number}", since, samples, reason) for number, since, samples, reason in batches]
        files = dict(_told_files(connection))
        lost = "SELECT since, reason, count FROM aside WHERE data IS NULL AND NOT seen AND reason LIKE ? ORDER BY id"
        for since, text, samples in connection.execute(lost, (f"{spool.name}: %",)):
            found.append(Aside(f"lost with {spool.name}", since, samples, text.partition(": ")[2]))
        connection.execute("UPDATE aside SET seen = 1")
    for file in _files(spool):
        since, reason = files.get(file.name, (None, ""))
        found.append(Aside(file.name, since, None, reason))
    return found


def bring_in(spool: Path) -> int:
    """Move what can be read now to the end of the spool: batches that were set aside, and those of files that were.

    What cannot be read stays, a file with all that is in it: another version may read it. Returns how many samples
    are brought in. The database takes each once, so it does no harm to bring them in again. Raises SpoolError.
    """
    with _opened(spool) as connection, transaction(connection):
        rows = connection.execute(_ASIDE).fetchall()
        read: dict[int, _Row] = {number: (*row, data) for number, *row, data in rows if _is_readable(data)}
        connection.executemany("DELETE FROM aside WHERE id = ?", [(number,) for number in read])
        found = {file: _read(file) for file in _files(spool)}
        connection.executemany(
            _BRING_IN, [*read.values(), *chain.from_iterable(each.rows for each in found.values())]
        )
    for file in (file for file, each in found.items() if each.whole):
        file.with_name(f"{file.name}-journal").unlink(missing_ok=True)
        file.unlink()
    return sum(count for _, _, count, _ in read.values()) + sum(each.samples for each in found.values())


def _is_readable(data: bytes) -> bool:
    try:
        Batch.load(data)
    except UNREADABLE:
        return False
    return True


def _read(file: Path) -> _Read:
    """Return the batches of a file that was set aside, as far as they can be read.

    Where a page is damaged, those behind it are read from the other end. In the place of a batch that cannot be read
    is what is lost with it, so that those before it are not taken for known until those behind.
    """
    rows: list[_Row] = []
    count, whole = 0, True
    with closing(sqlite3.connect(file)) as connection:
        for sql in (_BATCHES, _ASIDE) if _has_aside(connection) else (_BATCHES,):
            found: dict[int, _Row] = {}
            for order in ("ASC", "DESC"):
                whole &= _scan(connection, f"{sql} {order}", found)
            for _, (spooled, run, samples, data) in sorted(found.items()):
                if _is_readable(data):
                    rows.append((spooled, run, samples, data))
                    count += samples
                else:
                    lost, whole = Batch.lost(data, int(spooled * 1e9)), False
                    rows.append((spooled, run, max(1, len(lost.samples)), lost.dump()))
    return _Read(rows, count, whole)


def _has_aside(connection: sqlite3.Connection) -> bool:
    """Return whether a file has batches set aside; one from before there were any, or that is damaged, has none."""
    try:
        connection.execute(f"{_ASIDE} LIMIT 0")
    except SQLITE_ERRORS:
        return False
    return True


def _scan(connection: sqlite3.Connection, sql: str, found: dict[int, _Row]) -> bool:
    """Add the batches of a query up to the first error; return whether there was none, and each was whole."""
    whole = True
    try:
        for number, *row in connection.execute(sql):
            if None in row:
                whole = False
            else:
                found[number] = (row[0], row[1], row[2], row[3])
    except SQLITE_ERRORS:
        return False
    return whole


def _told_files(connection: sqlite3.Connection) -> Iterator[tuple[str, tuple[float, str]]]:
    for since, text in connection.execute("SELECT since, reason FROM aside WHERE data IS NULL ORDER BY id"):
        name, _, reason = text.partition(": ")
        yield name, (since, reason)


def _files(spool: Path) -> list[Path]:
    return sorted(each for each in spool.parent.glob(f"{spool.name}.broken-*") if not each.name.endswith("-journal"))


@contextmanager
def _opened(spool: Path) -> Iterator[sqlite3.Connection]:
    if not spool.is_file():
        raise SpoolError(f"{spool}: there is no spool: has the archiver run, with this state_directory?")
    try:
        with closing(sqlite3.connect(spool, isolation_level=None, timeout=5)) as connection:
            yield connection
    except SQLITE_ERRORS as error:
        raise SpoolError(f"{spool}: what was set aside cannot be listed: {error}") from error
