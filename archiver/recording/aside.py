"""What was set aside of a spool because it could not be read: it is listed, and brought in again.

Both may be done while the archiver runs, which then finds the batches in its spool.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from archiver.recording.spool import SpoolError, transaction

_BRING_IN = "INSERT INTO batch (spooled, run, count, data) VALUES (?, ?, ?, ?)"


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
    """Move batches that were set aside to the end of the spool, and those of files that can be read now.

    Returns how many samples they hold. The database takes each once, so it does no harm to bring them in again.
    Raises SpoolError.
    """
    with _opened(spool) as connection, transaction(connection):
        batches = "SELECT spooled, run, count, data FROM aside WHERE data IS NOT NULL ORDER BY id"
        rows = connection.execute(batches).fetchall()
        connection.execute("DELETE FROM aside WHERE data IS NOT NULL")
        whole = [file for file in _files(spool) if _read(file, rows)]
        connection.executemany(_BRING_IN, rows)
    for file in whole:
        file.unlink()
    return sum(samples for _, _, samples, _ in rows)


def _read(file: Path, rows: list[tuple[float, int, int, bytes]]) -> bool:
    """Append the batches of a file that was set aside, as far as they can be read; return whether all could.

    Where a page is damaged, those behind it are read from the other end.
    """
    found: dict[int, tuple[float, int, int, bytes]] = {}
    batches = "SELECT id, spooled, run, count, CAST(data AS BLOB) FROM batch ORDER BY id"
    with closing(sqlite3.connect(file)) as connection:
        whole = [_scan(connection, f"{batches} {order}", found) for order in ("ASC", "DESC")]
    rows += [found[number] for number in sorted(found)]
    return all(whole)


def _scan(connection: sqlite3.Connection, sql: str, found: dict[int, tuple[float, int, int, bytes]]) -> bool:
    """Add the batches of a query up to the first error; return whether there was none, and each was whole."""
    whole = True
    try:
        for number, *row in connection.execute(sql):
            if None in row:
                whole = False
            else:
                found[number] = (row[0], row[1], row[2], row[3])
    except sqlite3.Error:
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
    except sqlite3.Error as error:
        raise SpoolError(f"{spool}: what was set aside cannot be listed: {error}") from error
