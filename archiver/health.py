"""The state of the archiver in a status file, written once a second, read by the IOC and by ``rackioc status``."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
import zlib
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from archiver.storage.store import StoreError

# Bytes of the file, whatever its contents: a file of that size can be overwritten also when the disk is full.
SIZE = 16_384
# Seconds after which a written state no longer describes the archiver.
STALE = 5.0

# Characters that are kept of each text, so that a state always fits into SIZE.
_LONGEST_TEXT = 500
# Names of PVs in a state, and characters of each.
NAMES = 20
_LONGEST_NAME = 80
# How often a lock or a whole state is tried for, and the seconds between two tries.
_TRIES = 5
_PAUSE = 0.02

log = logging.getLogger(__name__)


class Cause(StrEnum):
    """The reason why a sample was rejected."""

    BACKWARDS = "time stamps going backwards"
    EPOCH_1990 = "time stamps of 1990 (record never processed, or no clock)"
    FUTURE = "time stamps more than 5 min in the future"
    DATABASE = "by the database"


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the archiver at one moment; counters count from its start.

    time            seconds since 1970, UTC
    connected       connected PVs, of ``total``
    never           PVs that were searched for some seconds and have not been connected since the archiver's start
    never_long      those of them that were searched for some minutes
    never_names     the first NAMES of ``never``
    queue, queue_bytes        samples in memory, also those that Channel Access has brought and nobody has looked at
    spool_rows, spool_bytes   samples that wait on disk, and the size of that file
    lag             age in seconds of the oldest sample that is not committed yet
    rejected        samples by ``Cause``
    aside           batches and files of the spool that could not be read and that nobody has looked at
    aside_rows      samples in these batches
    repeated        samples that said nothing new: value, alarm and time stamp of the one before
    lost            samples for which there was no room (marked Overrun)
    disk_free       free bytes on the disk of the spool and of an SQLite archive; the smaller number
    days_left       how long the disk of the database lasts if the archive grows as in the last day; None: not known
    database        "ok", "slow", "away" or "starting"
    stored          committed rows
    """

    time: float
    pid: int
    connected: int = 0
    total: int = 0
    never: int = 0
    never_long: int = 0
    never_names: list[str] = field(default_factory=list)
    samples_per_second: float = 0.0
    queue: int = 0
    queue_bytes: int = 0
    spool_rows: int = 0
    spool_bytes: int = 0
    lag: float = 0.0
    rejected: dict[str, int] = field(default_factory=dict)
    aside: int = 0
    aside_rows: int = 0
    repeated: int = 0
    lost: int = 0
    disk_free: float = 0.0
    days_left: float | None = None
    database: str = "starting"
    last_error: str = ""
    stored: int = 0

    @property
    def age(self) -> float:
        """Return the seconds since the state was written; without a sign, for the clock may have been set back."""
        return abs(time.time() - self.time)


class StatusFile:
    """The archiver's side of the status file.

    The process that holds its lock is the only archiver of a configuration; the kernel releases the lock when the
    process ends, also when it is killed.
    """

    def __init__(self, path: Path) -> None:
        """Create and lock the file. Raises StoreError if another archiver holds it, or if it cannot be opened."""
        self._path = path
        self._failed = False
        self._file = _open(path)
        self.write(Health(time.time(), os.getpid(), disk_free=disk_free(path)))

    def write(self, health: Health) -> None:
        """Write a state in the place of the one before. An error of the disk is logged once and stops nothing."""
        try:
            self._find()
            os.pwrite(self._file, _page(health), 0)
        except StoreError as error:
            if not self._failed:
                log.error("%s; ARCH:* and rackioc status are out of date", error)
            self._failed = True
        except OSError as error:
            if not self._failed:
                log.error(
                    "the status file %s cannot be written: %s; ARCH:* and rackioc status are out of date",
                    self._path,
                    error.strerror,
                )
            self._failed = True
        else:
            self._failed = False

    def _find(self) -> None:
        """Begin a new file if the one that was opened is not at its path any more. Raises StoreError."""
        if same_file(self._path, os.fstat(self._file)):
            return
        found = _open(self._path)
        os.close(self._file)
        self._file = found
        log.warning("%s, the archiver's status file, was removed or replaced: a new one is begun", self._path)

    def close(self) -> None:
        """Release the lock; the last state stays in the file."""
        os.close(self._file)


def read(path: Path) -> Health | None:
    """Return the state that was written last; None if there is none, or none whole after some tries."""
    for _ in range(_TRIES):
        try:
            health = _health(path.read_bytes())
        except OSError:
            return None
        if health is not None:
            return health
        time.sleep(_PAUSE)
    return None


def running(path: Path) -> bool:
    """Return whether a process holds the status file, whether or not it still writes to it."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def hidden(path: Path) -> str:
    """Return why it cannot be seen whether a process holds the status file; "" if that can be seen."""
    try:
        os.close(os.open(path, os.O_RDONLY))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path.absolute()}: {error.strerror}"
    return ""


def disk_free(path: Path) -> float:
    """Return the free bytes on the disk of a file that need not exist yet; 0 if its directory does not exist."""
    try:
        return float(shutil.disk_usage(path.absolute().parent).free)
    except OSError:
        return 0.0


def same_file(path: Path, opened: os.stat_result) -> bool:
    """Return whether the file at a path is the one that was opened."""
    try:
        return os.path.samestat(path.stat(), opened)
    except OSError:
        return False


def _open(path: Path) -> int:
    """Create and lock a status file. Raises StoreError if another archiver holds it, or if it cannot be opened."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"{path}, the archiver's status file, cannot be opened: {error.strerror}") from None
    if not _lock(file):
        os.close(file)
        other = read(path)
        pid = f" (pid {other.pid})" if other else ""
        raise StoreError(f"another archiver already runs for this configuration{pid}; {path} is locked")
    return file


def _lock(file: int) -> bool:
    for _ in range(_TRIES):  # ``running`` of another process holds a lock for a moment
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _page(health: Health) -> bytes:
    """Return check sum and JSON: a reader may find a page that is half the new one and half the one before."""
    short = replace(
        health,
        database=health.database[:_LONGEST_TEXT],
        last_error=health.last_error[:_LONGEST_TEXT],
        never_names=[name[:_LONGEST_NAME] for name in health.never_names[:NAMES]],
    )
    text = json.dumps(asdict(short), ensure_ascii=False).encode(errors="replace").ljust(SIZE - 9)
    return b"%08x " % zlib.crc32(text) + text


def _health(page: bytes) -> Health | None:
    if page[:8] != b"%08x" % zlib.crc32(page[9:]):
        return None
    fields = json.loads(page[9:])  # of another version there may be more
    return Health(**{name: value for name, value in fields.items() if name in Health.__dataclass_fields__})
