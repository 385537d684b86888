"""The checkpoints of SQLite: what was committed moves from the log into the file, in a thread beside the writer."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from archiver.storage.sqlite.file import store_errors
from archiver.storage.sqlite.place import Place
from archiver.storage.store import StoreError

# Seconds from one checkpoint to the next.
PERIOD = 5.0

log = logging.getLogger(__name__)


class Checkpoints:
    """A thread with a connection of its own. Its errors are logged for debugging: the writer reports them, too."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD):
            try:
                self._move()
            except StoreError as error:
                log.debug("%s", error)

    def _move(self) -> None:
        file = self._place.file
        self._place.check()
        only_if_there = f"file:{quote(str(Path(file).absolute()))}?mode=rw"
        with store_errors(file), closing(sqlite3.connect(only_if_there, timeout=1.0, uri=True)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
