"""The backup of an archive in one SQLite file, while its archiver writes."""

from __future__ import annotations

import os
from pathlib import Path

from archiver.keeping.copy import Report, copy
from archiver.storage import manage
from archiver.storage.sqlite import backup as sqlite
from archiver.storage.store import StoreError
from archiver.storage.url import of_file, url_of


def backup(database: str, file: Path, report: Report) -> None:
    """Write the state of now into a new file, and read all of that once. Raises StoreError.

    It gets its name when it is whole. ``rackioc db copy`` brings it back, to any kind of database.
    """
    if file.exists():
        raise StoreError(f"{file} exists: name another file, or remove it")
    part = file.with_name(f"{file.name}.part")
    manage.existing(database)
    remove(part)
    try:
        _write(database, part, report)
        if found := next(sqlite.faults(str(part)), None):
            raise StoreError(
                f"the backup is damaged ({found}), so the archive is, or the disk: look with rackioc db check"
            )
        _sync(part)
        part.rename(file)
        _sync(file.absolute().parent)
    finally:
        remove(part)


def remove(part: Path) -> None:
    """Remove a file that is not whole, and what SQLite and its lock leave beside it."""
    for suffix in ("", "-wal", "-shm", "-journal", ".lock"):
        part.with_name(f"{part.name}{suffix}").unlink(missing_ok=True)


def _write(database: str, part: Path, report: Report) -> None:
    url = url_of(database)
    if url.backend == "sqlite":
        sqlite.save(url, part, report)
    else:
        copy(database, of_file(part), report)
        sqlite.in_one_file(part)


def _sync(path: Path) -> None:
    """Wait until a file, or a directory, is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
