"""From the queue to the database: in batches, through the spool while the database is away, and nothing twice."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from archiver.recording.commit import commit
from archiver.recording.queue import Queue
from archiver.recording.spool import Batch, Spool, SpoolError
from archiver.recording.upkeep import Upkeep
from archiver.storage.store import Store, StoreError

COMMIT_PERIOD = 1.0
SLOW = 1.0
"""Seconds after which what is being stored is spooled, too: the commit may never return."""

PATIENCE = 3.0
"""Seconds after which the database is called slow; at the start PVs are followed then, without it."""

log = logging.getLogger(__name__)


@dataclass
class _Current:
    """The batch that is being stored: since when, when its oldest sample came, and its number in the spool if any."""

    batch: Batch
    since: float
    oldest: float
    spooled: int | None = None


class Writer:
    """A thread that stores; `guard` is called by another, to see that nothing waits for a slow database in memory.

    A batch is kept, here or in the spool, until its commit has returned, and is sent again after an error: the store
    takes a sample once. `open_store` is tried until it succeeds, from the start on.
    """

    def __init__(
        self,
        queue: Queue,
        spool: Spool,
        upkeep: Upkeep,
        open_store: Callable[[], Store],
    ) -> None:
        self._queue = queue
        self._spool = spool
        self._upkeep = upkeep
        self._open_store = open_store
        self._store: Store | None = None
        self._removable: set[int] = set()  # what is stored and still in the spool
        self._current: _Current | None = None
        self._lock = threading.Lock()  # over _current and its place in the spool
        self._asked: float | None = None  # since when (monotonic) the database is to answer
        self._tried = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer")
        self.healthy = False
        self.error = ""
        self.spool_error = ""
        self.last_error = ""
        self.stored = 0
        self.rejected = 0

    def start(self) -> None:
        """Return when the store is open, or cannot be opened, or takes too long."""
        self._thread.start()
        self._tried.wait(PATIENCE)

    def guard(self) -> None:
        """About once a second: when the database is away or takes long, see to it that all is on disk."""
        if not self._thread.is_alive():
            raise StoreError("the thread that stores has ended by a fault, see above")
        self._spool_what_waits()

    def close(self) -> None:
        """Store or spool what is left; StoreError if neither can be done."""
        self._stop.set()
        while self._thread.is_alive():  # whoever waits for us may lose patience
            self._thread.join(SLOW)
            self._spool_what_waits()
        if self._store is not None:
            self._store.close()
        if rest := self._queue.drain():
            self._keep(rest, time.time())
        if len(self._queue):
            raise StoreError(f"{self.error or self.spool_error}; {len(self._queue)} samples are lost")

    @property
    def state(self) -> str:
        """Of the database: ok, slow or away."""
        asked = self._asked
        if asked is not None and time.monotonic() > asked + PATIENCE:
            return "slow"
        return "ok" if self.healthy else "away"

    @property
    def oldest(self) -> float | None:
        """When the oldest came of what is not yet committed (seconds since 1970)."""
        current = self._current
        spooled = self._spool.oldest if self._spool.rows else None
        times = (self._queue.oldest, current.oldest if current else None, spooled)
        return min((each for each in times if each is not None), default=None)

    def _spool_what_waits(self) -> None:
        slow = time.time() - SLOW
        with self._lock:
            current = self._current
            if current is not None and current.spooled is None and current.since < slow:
                current.spooled = self._try_spool(current.batch)
            since = self._queue.oldest
            if since is not None and not self.spool_error and (not self.healthy or since < slow - COMMIT_PERIOD):
                waiting = self._queue.drain()
                self._keep(waiting, since)

    def _run(self) -> None:
        self._try(self._open)
        self._tried.set()
        while not self._stop.is_set():
            began = time.monotonic()
            self.cycle(began + COMMIT_PERIOD)
            self._stop.wait(max(0.0, began + COMMIT_PERIOD - time.monotonic()))
        self.cycle(time.monotonic())  # the last: what came meanwhile

    def cycle(self, until: float) -> None:
        """What came since the last time; then, as long as there is time, what waits in the spool, and upkeep."""
        if self._store is None:
            self._try(self._open)
        if current := self._take():
            self._place(current)
        while self._store and self._spool.rows and self._try(self._replay) and time.monotonic() < until:
            pass
        while self.healthy and self._try(self._step) and time.monotonic() < until:
            pass

    def _take(self) -> _Current | None:
        with self._lock:
            now = time.time()
            oldest = self._queue.oldest or now
            batch = self._queue.drain()
            self._current = _Current(batch, now, oldest) if batch else None
            return self._current

    def _place(self, current: _Current) -> None:
        """Store it, else spool it, else keep it. While batches wait in the spool, they tell whether it is back."""
        batch = current.batch
        may_work = self.healthy or (self._store is not None and not self._spool.rows)
        stored = may_work and self._try(lambda: self._commit(batch))
        with self._lock:
            self._current = None
            if current.spooled is None and not stored:
                self._keep(batch, current.oldest)
                return
            self._queue.done(batch)
            if current.spooled is not None and stored:
                self._remove(current.spooled)

    def _keep(self, batch: Batch, oldest: float) -> None:
        """Until it can be stored: on disk, else in memory."""
        if self._try_spool(batch) is None:
            self._queue.put_back(batch, oldest)
        else:
            self._queue.done(batch)

    def _try(self, action: Callable[[], bool]) -> bool:
        """What the action returns, False if the database cannot do it; both is noticed."""
        self._asked = time.monotonic()
        try:
            more = action()
        except StoreError as error:
            self._note(str(error))
            return False
        finally:
            self._asked = None
        self._note("")
        return more

    def _open(self) -> bool:
        self._store = self._open_store()
        return True

    def _step(self) -> bool:
        store = self._opened_store()
        return store.tidy() or self._upkeep.step(store)

    def _replay(self) -> bool:
        """Store the oldest batch of the spool; True if there was one, and it is gone."""
        try:
            head = self._spool.head()
        except SpoolError as error:
            log.error("%s; it is put aside, what was in it is not stored", error)
            self._spool.set_aside()
            return False
        if head is None:
            return False
        if head.id not in self._removable:
            self._commit(head.batch)
        return self._remove(head.id)

    def _remove(self, number: int) -> bool:
        """From the spool, what is stored; False if it must stay there: on a full disk nothing can be deleted, too."""
        self._removable.add(number)
        try:
            self._spool.remove(number)
        except SpoolError as error:
            self._note_spool(f"{error}; what waits in it is stored later")
            return False
        self._removable.discard(number)
        self._note_spool("")
        return True

    def _commit(self, batch: Batch) -> bool:
        self.rejected += commit(batch, self._opened_store())
        self.stored += len(batch.samples) + len(batch.rows)
        return True

    def _opened_store(self) -> Store:
        if self._store is None:
            raise StoreError("the database is not open")
        return self._store

    def _try_spool(self, batch: Batch) -> int | None:
        """Its number in the spool; None if that takes no more."""
        try:
            number = self._spool.append(batch)
        except SpoolError as error:
            self._note_spool(f"{error}; samples wait in memory")
            return None
        self._note_spool("")
        return number

    def _note(self, error: str) -> None:
        """An error that goes on is said once, and so is its end."""
        self.healthy = not error
        self.last_error = error or self.last_error
        if error and error != self.error:
            log.error("%s; samples wait in %s", error, self._spool.path)
        elif self.error and not error:
            log.info("the database takes samples again; %d wait in %s", self._spool.rows, self._spool.path)
        self.error = error

    def _note_spool(self, error: str) -> None:
        self.last_error = error or self.last_error
        if error and error != self.spool_error:
            log.error("%s", error)
        self.spool_error = error
