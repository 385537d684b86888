"""The backup of an SQLite file while an archiver writes to it, its integrity, and its compaction."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from archiver.storage.sqlite.file import connect_reader, file_name, read_only, store_errors, writer
from archiver.storage.store import StoreError
from archiver.storage.url import DatabaseUrl

# Pages of 4 kB from one report of the progress to the next.
STEP_PAGES = 5_000
# Faults that SQLite reports at most.
MOST_FAULTS = 20


def save(url: DatabaseUrl, target: Path, report: Callable[[int, int], None]) -> None:
    """Write the state of now into a new file, by SQLite's own backup. ``report``: pages done, and of how many.

    One transaction holds from the begin to the end, or each commit of the archiver would begin the backup anew;
    meanwhile the archive's log grows.
    """
    need_space(target, _size(file_name(url)), "for the backup")
    with store_errors(file_name(url)), closing(connect_reader(url)) as reader:
        source = reader.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        with store_errors(str(target)), closing(sqlite3.connect(target)) as copy:
            source.backup(copy, pages=STEP_PAGES, progress=lambda _, left, total: report(total - left, total))
        source.execute("ROLLBACK")
        reader.engine.dispose()
    in_one_file(target)


def in_one_file(target: Path) -> None:
    """End the log of a file, so that it can be read where nothing may be written."""
    with store_errors(str(target)), closing(sqlite3.connect(target)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def faults(file: str) -> Iterator[str]:
    """Yield what SQLite finds wrong in a file. All of it is read."""
    with store_errors(file), closing(read_only(file)) as connection:
        for (line,) in connection.execute(f"PRAGMA integrity_check({MOST_FAULTS})"):
            if line != "ok":
                yield str(line).replace("\n", ", ")


def compact(url: DatabaseUrl) -> None:
    """Write the file anew without its free pages. An archiver spools until that is done."""
    file = file_name(url)
    need_space(Path(file), 2 * _size(file), "for a second copy of the archive and its log")
    os.environ["SQLITE_TMPDIR"] = str(Path(file).absolute().parent)  # /tmp may be small
    with writer(url) as connection:
        cursor = connection.connection.cursor()
        cursor.execute("PRAGMA busy_timeout = 60000")
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def need_space(file: Path, size: int, purpose: str) -> None:
    """Raise StoreError if there is not so much space on the disk of a file."""
    directory = file.absolute().parent
    if not directory.is_dir():
        raise StoreError(f"{file}: there is no directory {directory}")
    free = shutil.disk_usage(directory).free
    if free < size:
        raise StoreError(
            f"{directory}: {size / 1e6:,.0f} MB are needed {purpose}, and {free / 1e6:,.0f} MB are free: free some "
            "disk space there, or name another directory"
        )


def _size(file: str) -> int:
    return sum(Path(each).stat().st_size for each in (file, f"{file}-wal") if Path(each).exists())
