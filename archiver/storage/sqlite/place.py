"""The place of an archive's file: that it is still the file that was opened, and that one archiver writes to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from archiver.storage.owner import Owner, process
from archiver.storage.store import Gone, StoreError

# Device and number of a file; None if there is none.
Identity = tuple[int, int] | None


class Place:
    """The path of an archive, locked for one archiver by a file beside it.

    The archive itself cannot be locked: when a process closes another descriptor of it, the locks of SQLite are gone.
    """

    def __init__(self, file: str, owner: Owner) -> None:
        """Lock the path. Raises StoreError if another archiver has locked it."""
        self.file = file
        self._real = os.path.realpath(file)  # beside which SQLite has its log, whatever links lead there
        self._opened: Identity = None
        self._log: tuple[Identity, ...] = ()
        if os.path.isdir(self._real):
            raise StoreError(f"{file}: this is a directory; write the path of a file")
        self._lock_path = Path(f"{self._real}.lock")
        try:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(
                f"{self._lock_path} cannot be opened: {error.strerror} (is its directory there and writable?)"
            ) from None
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = os.pread(self._lock, 1000, 0).decode(errors="replace").strip()
            os.close(self._lock)
            raise StoreError(
                f"{file}: another archiver writes to this file ({other}): give each a file of its own, or a server"
            ) from None
        with suppress(OSError):  # on a full disk another archiver is told less
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{owner.name}, {process(owner.run)}\n".encode(), 0)
        with suppress(FileNotFoundError):
            if (names := os.stat(self._real).st_nlink) > 1:
                os.close(self._lock)
                raise StoreError(
                    f"{file}: this file has {names} names (hard links), and its newest rows would be beside one of "
                    "them: give it one name"
                )

    def opened(self) -> None:
        """Record the file that is there now as the one that was opened."""
        self._opened = identity(self.file)
        self._log = self._present_log()

    def check(self) -> None:
        """Raise Gone if the file that was opened is not at its path any more, or its log is not beside it."""
        present = identity(self.file)
        if present is None:
            raise Gone(
                f"{self.file}: the file was removed or moved while the archiver wrote to it: put it back now, or a "
                "new one is begun"
            )
        if present != self._opened:
            raise Gone(f"{self.file}: another file has taken its place: the archiver goes on with that one")
        if os.path.realpath(self.file) != self._real:
            raise Gone(
                f"{self.file}: it is a link to this file now, and SQLite looks for the newest rows beside that: they "
                "are written into the file now, and it is opened there"
            )
        if self._present_log() != self._log:
            raise Gone(
                f"{self.file}: its -wal or -shm was removed or replaced, which hold the newest rows: they are "
                "written into the file now, as far as they can be read"
            )
        if identity(self._lock_path) != _of(os.fstat(self._lock)):
            raise Gone(f"{self._lock_path}: the lock of the archive was removed: the archiver locks it anew")

    def remove_log(self) -> bool:
        """Remove the log of a file that has left its path; return whether SQLite may remove the one that is there.

        SQLite would take the log of the old file for that of the new one. One that came with the new one stays.
        """
        if identity(self.file) == self._opened:
            return True
        log = Path(f"{self._real}-wal")
        if identity(log) == self._log[0]:
            for path in self._log_paths():
                Path(path).unlink(missing_ok=True)
        return not log.exists()

    def release(self) -> None:
        """Release the lock; its file stays."""
        os.close(self._lock)

    def _log_paths(self) -> Sequence[str]:
        return f"{self._real}-wal", f"{self._real}-shm"

    def _present_log(self) -> tuple[Identity, ...]:
        return tuple(map(identity, self._log_paths()))


def identity(path: str | Path) -> Identity:
    """Return what tells one file from another that has the same name later."""
    try:
        return _of(os.stat(path))
    except OSError:
        return None


def _of(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino
