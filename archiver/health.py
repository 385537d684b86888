"""How the archiver does: it tells once a second through a small file, which the IOC and `rackioc status` read."""

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

SIZE = 8192
"""Bytes of the file, always: what is there already can be written again when the disk is full."""
STALE = 5.0
"""Seconds after which what the archiver told is not true any more."""

_LONGEST_TEXT = 500
_TRIES = 5
_PAUSE = 0.02

log = logging.getLogger(__name__)


class Cause(StrEnum):
    """Why a sample was rejected."""

    BACKWARDS = "time stamps going backwards"
    EPOCH_1990 = "time stamps of 1990 (record never processed, or no clock)"
    FUTURE = "time stamps more than 5 min in the future"
    DATABASE = "by the database"


@dataclass(frozen=True, slots=True)
class Health:
    """The archiver at one moment; what counts up does so since its start.

    time            seconds since 1970, UTC
    connected       PVs, of `total`
    queue           samples in memory
    spool_rows, spool_bytes   samples that wait on disk, and the size of that file
    lag             age in seconds of the oldest sample that is not committed yet
    rejected        samples by Cause
    lost            samples for which there was no room (marked Overrun)
    disk_free       bytes, where spool and database lie
    database        "ok", or its state in a few words
    stored          rows
    """

    time: float
    pid: int
    connected: int = 0
    total: int = 0
    samples_per_second: float = 0.0
    queue: int = 0
    spool_rows: int = 0
    spool_bytes: int = 0
    lag: float = 0.0
    rejected: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    disk_free: float = 0.0
    database: str = "starting"
    last_error: str = ""
    stored: int = 0

    @property
    def age(self) -> float:
        """Seconds since it was told; after a step of the clock that may be the time since or until."""
        return abs(time.time() - self.time)


class StatusFile:
    """The writer's side. Who holds it is the one archiver of its configuration, until it ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Take it; StoreError if another archiver has it, or the file cannot be made."""
        self._path = path
        self._failed = False
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(f"{path}, the archiver's status file, cannot be opened: {error.strerror}") from None
        if not _lock(self._file):
            os.close(self._file)
            other = read(path)
            pid = f" (pid {other.pid})" if other else ""
            raise StoreError(f"another archiver already runs for this configuration{pid}; {path} is locked")
        self.write(Health(time.time(), os.getpid(), disk_free=disk_free(path)))

    def write(self, health: Health) -> None:
        """Replace what is told. A disk that does not take it is told in the log and stops nothing."""
        try:
            os.pwrite(self._file, _page(health), 0)
        except OSError as error:
            if not self._failed:
                log.error("%s cannot be written: %s; the archiver's PVs are not true", self._path, error.strerror)
            self._failed = True
        else:
            self._failed = False

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> Health | None:
    """What was told last; None if nothing was, or nothing whole after some tries."""
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
    """True while an archiver has the board, whether or not it still does its work."""
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


def disk_free(path: Path) -> float:
    """Bytes that are free where a file lies, or is to lie: none where there is no directory."""
    try:
        return float(shutil.disk_usage(path.absolute().parent).free)
    except OSError:
        return 0.0


def _lock(file: int) -> bool:
    for _ in range(_TRIES):  # whoever asks if one is running holds it for a moment
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _page(health: Health) -> bytes:
    """A check sum, and JSON: a reader can meet a page that is half this one and half the one before."""
    short = replace(health, database=health.database[:_LONGEST_TEXT], last_error=health.last_error[:_LONGEST_TEXT])
    text = json.dumps(asdict(short), ensure_ascii=False).encode(errors="replace").ljust(SIZE - 9)
    return b"%08x " % zlib.crc32(text) + text


def _health(page: bytes) -> Health | None:
    if page[:8] != b"%08x" % zlib.crc32(page[9:]):
        return None
    return Health(**json.loads(page[9:]))
