"""The thread that stores: from the queue into the database, in batches, through the spool while it is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from archiver.recording.batch import Batch
from archiver.recording.commit import commit
from archiver.recording.database import PATIENCE, DatabaseLink
from archiver.recording.growth import Growth
from archiver.recording.queue import Queue
from archiver.recording.spool import Spool, SpoolError
from archiver.recording.upkeep.rounds import Upkeep
from archiver.storage.owner import LIFE_PERIOD, ON_ITS_WAY_NS
from archiver.storage.store import Gone, Store, StoreError
from archiver.units import counted

# Seconds from one commit to the next.
COMMIT_PERIOD = 1.0
# Seconds from one look of the guard at memory to the next.
GUARD_PERIOD = 0.1
# Seconds of the last cycle: what waits in the spool is older than what is stored, and would be missing before that.
LAST_CYCLE = 3.0
# Seconds after which a batch that is being stored is spooled, too: its commit may never return.
SLOW = 1.0

log = logging.getLogger(__name__)


@dataclass
class _Current:
    """The batch that is being stored.

    since      when its storing began, seconds since 1970
    oldest     when its oldest sample came, seconds since 1970
    spooled    its number in the spool, None if it is not there
    """

    batch: Batch
    since: float
    oldest: float
    spooled: int | None = None


class Writer:
    """A thread that stores what the queue holds; ``open_store`` is tried until it succeeds, from the start on.

    ``not_queued`` returns when the oldest sample came that is not in the queue yet (seconds since 1970), or None.

    database     the store and its state
    stored       samples and rows that were committed or rejected since the start
    rejected     those of them that the database rejected
    spool_error  the present error of the spool, "" if it has none
    last_error   the last error of database or spool
    growth       how long the disk lasts
    alive_ns     the last sign of life that was given (ns since 1970), 0 before the first: all that was
                 stamped until then is stored

    Threads: the writer's own runs ``_run`` and alone calls the store. A second one, the guard (``_watch``), spools
    what waits too long. The thread of Channel Access fills the queue, calls ``check`` once a second, and ``close`` at
    the end; it waits for no disk. ``_lock`` is held while a batch leaves queue or current.

    A batch is in one or two of these places until it is in the database; the writer moves it unless guard is named:

    from       to                   when
    queue      current              each cycle (COMMIT_PERIOD), batch by batch until the queue is empty
    queue      spool, by guard      the database is away, or the oldest sample has waited over SLOW + COMMIT_PERIOD
    queue      spool, by guard      memory is half full, or the commit of current has lasted over SLOW
    current    database             its commit has returned; its copy in the spool, if any, is removed
    current    and spool, by guard  its commit has lasted over SLOW
    current    spool                its commit failed, or was not tried (see away), and it has no copy there
    current    queue                so, and the spool has no room: it is the oldest of the queue again
    spool      database             a cycle has time left: the oldest batch first; the current one is stored before it
    spool      set aside            it cannot be read: the batch alone, or the whole file

    A batch is sent again after an error, or if it was stored but cannot be removed from the spool before the archiver
    ends: the store adds a sample once, by PV and time. One that is in ``_removable`` is stored; it is only removed.

    State of the database (``DatabaseLink.state``), and what a cycle does then:

    ok         the last call succeeded: commit the current batch, replay the spool, upkeep
    slow       a call has lasted over PATIENCE: the writer waits for it, guard spools what comes
    away       the last call failed, or none was made: open the store if it is not; spool the current batch untried
               while others wait in the spool or the store is not open, else commit it; replay the spool's oldest
               batch. The first call that succeeds makes it ok

    What an error does (it is logged when it begins or changes; that the database is back is logged, too):

    StoreError    of a call: the database is away; the batch goes to the spool
    Gone          the same; the store is opened anew
    Rejected      of some rows: they are counted in ``rejected``, the others are stored (see ``commit``)
    SpoolError    samples wait in the queue, which drops the newest when it is full; guard spools nothing of the queue
                  until the spool has stored or removed a batch
    others        end the thread: ``check`` raises StoreError, and the archiver ends
    """

    def __init__(
        self,
        queue: Queue,
        spool: Spool,
        upkeep: Upkeep,
        open_store: Callable[[], Store],
        not_queued: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._not_queued = not_queued
        self._spool = spool
        self._upkeep = upkeep
        self._removable: set[int] = set()  # numbers of batches that are stored and still in the spool
        self._current: _Current | None = None
        self._lock = threading.Lock()
        self._open_tried = threading.Event()
        self._stop = threading.Event()
        self._live_at = 0.0
        self._replayed_ns = 0  # before the oldest row of the batch that was replayed last: all until then is stored
        self._outdated = 0  # samples that waited too long, and were not told yet
        self._thread = threading.Thread(target=self._run, name="writer")
        self._guard = threading.Thread(target=self._watch, name="guard")
        self.database = DatabaseLink(open_store)
        self.spool_error = ""
        self.last_error = ""
        self.growth = Growth()
        self.alive_ns = 0
        self.stored = 0
        self.rejected = 0

    def start(self) -> None:
        """Start the thread; return when the store is open, or cannot be opened, or takes over PATIENCE."""
        self._thread.start()
        self._guard.start()
        self._open_tried.wait(PATIENCE)

    @property
    def has_room(self) -> bool:
        """Return whether more may come; True also if the spool fails: the queue then drops what has no room."""
        return not self._queue.crowded or bool(self.spool_error) or not self._guard.is_alive()

    def check(self) -> None:
        """Raise StoreError if a thread has ended."""
        if not self._thread.is_alive() or not self._guard.is_alive():
            raise StoreError("the archiver's writer thread has ended by an internal error, logged above")

    def close(self) -> None:
        """Store or spool what is left. Raises StoreError if neither can be done."""
        self._stop.set()
        for thread in (self._thread, self._guard):
            if thread.ident is not None:
                thread.join()  # the guard goes on until then: a supervisor may kill us while a commit does not return
        self.database.close()
        while (rest := self._queue.drain()) and self._keep(rest, time.time()):
            pass
        if len(self._queue):
            lost = counted(len(self._queue), "sample")
            raise StoreError(f"{self.database.error or self.spool_error}; lost with it: {lost}")

    @property
    def oldest(self) -> float | None:
        """Return when the oldest sample came that is not committed (seconds since 1970), None if there is none."""
        current = self._current
        spooled = self._spool.oldest if self._spool.rows else None
        times = (self._queue.oldest, current.oldest if current else None, spooled)
        return min((each for each in times if each is not None), default=None)

    def cycle(self, until: float) -> None:
        """Store what came; then, until a time of the monotonic clock, what waits in the spool, and upkeep."""
        if self.database.may_open:
            self._call(self._open)
        known_ns = self._known_ns()
        stored = self.stored
        while current := self._begin():
            if not self._store_or_keep(current) or current.batch.size < self._queue.batch_size:
                break  # nobody takes it, or the queue was empty
        while self.database.is_open and self._spool.rows and self._call(self._replay) and time.monotonic() < until:
            pass
        due = self.stored != stored or time.monotonic() >= self._live_at
        on_its_way_ns = 0 if self._stop.is_set() else ON_ITS_WAY_NS  # after the end nothing is expected
        stored_ns = self._replayed() if self._waits(known_ns) else known_ns - on_its_way_ns
        if due and self.database.healthy and stored_ns:
            self._call(lambda: self._live(stored_ns))
        upkeep_until = 0.0 if self._stop.is_set() else until
        while self.database.healthy and self._call(self._step) and time.monotonic() < upkeep_until:
            pass

    def _run(self) -> None:
        self._call(self._open)
        self._open_tried.set()
        while not self._stop.is_set():
            began = time.monotonic()
            self.cycle(began + COMMIT_PERIOD)
            self._stop.wait(max(0.0, began + COMMIT_PERIOD - time.monotonic()))
        self.cycle(time.monotonic() + LAST_CYCLE)  # what came meanwhile

    def _watch(self) -> None:
        """Spool what waits too long, as long as the writer's thread runs."""
        next_time = 0.0
        while self._thread.is_alive():
            if self._queue.crowded or time.monotonic() >= next_time:
                next_time = time.monotonic() + SLOW
                while self._spool_waiting():
                    pass
                with suppress(SpoolError):  # it is told when the spool is used
                    self._spool.refresh()
            self._thread.join(GUARD_PERIOD)

    def _spool_waiting(self) -> bool:
        """Spool one batch of what has waited too long; True if there was one."""
        slow = time.time() - SLOW
        with self._lock:
            current = self._current
            if current is not None and current.spooled is None and current.since < slow:
                current.spooled = self._append_to_spool(current.batch)
            since = self._queue.oldest
            stuck = current is not None and current.spooled is not None
            late = stuck or not self.database.healthy or self._queue.crowded
            if since is None or self.spool_error or not (late or since < slow - COMMIT_PERIOD):
                return False
            return self._keep(self._queue.drain(), since)

    def _begin(self) -> _Current | None:
        """Make what the queue holds the current batch; None if it is empty."""
        with self._lock:
            now = time.time()
            oldest = self._queue.oldest or now
            batch = self._queue.drain()
            self._current = _Current(batch, now, oldest) if batch else None
            return self._current

    def _store_or_keep(self, current: _Current) -> bool:
        """Commit the current batch, else keep it; False if it is in the queue again.

        See ``away`` above for when it is not tried.
        """
        batch = current.batch
        may_work = self.database.healthy or (self.database.is_open and not self._spool.rows)
        stored = may_work and self._call(lambda: self._commit(batch))
        with self._lock:
            self._current = None
            if current.spooled is None and not stored:
                return self._keep(batch, current.oldest)
            self._queue.done(batch)
            if current.spooled is not None and stored:
                self._remove(current.spooled)
            return True

    def _keep(self, batch: Batch, oldest: float) -> bool:
        """Keep a batch until it can be stored: on disk (True), else in memory."""
        if self._append_to_spool(batch) is None:
            self._queue.put_back(batch, oldest)
            return False
        self._queue.done(batch)
        return True

    def _call(self, action: Callable[[], bool]) -> bool:
        """Return what the action returns, False if the database cannot do it; record which of both it was."""
        with self.database.call():
            try:
                more = action()
            except StoreError as error:
                if isinstance(error, Gone):
                    self.database.leave()
                self._record_database(str(error))
                return False
        self._record_database("")
        return more

    def _open(self) -> bool:
        self.database.open()
        self._replayed_ns = 0
        return True

    def _known_ns(self) -> int:
        """Return until when all that came is in the queue, or was."""
        now_ns, waits = time.time_ns(), self._not_queued()
        return now_ns if waits is None else min(now_ns, int(waits * 1e9))

    def _waits(self, known_ns: int) -> bool:
        """Return whether something that came until a time is not stored."""
        oldest = self._queue.oldest
        return self._spool.rows > 0 or (oldest is not None and oldest * 1e9 < known_ns)

    def _replayed(self) -> int:
        """Return until when all is stored although the spool is not empty; 0 if it is no news."""
        given_ns = max(self.alive_ns, self.database.store.alive_ns) if self.database.is_open else 0
        return self._replayed_ns if self._replayed_ns > given_ns else 0

    def _live(self, stored_ns: int) -> bool:
        """Give a sign of life: all that was stamped until a time is stored."""
        self.database.store.live(stored_ns)
        self.alive_ns = stored_ns
        self._live_at = time.monotonic() + LIFE_PERIOD
        return True

    def _step(self) -> bool:
        store = self.database.store
        self.growth.look(store)
        return self._upkeep.tidy(store) or self._upkeep.step(store)

    def _replay(self) -> bool:
        """Store the oldest batch of the spool; True if there was one, and it is gone."""
        try:
            head = self._spool.head()
        except SpoolError as error:
            self._record_spool(f"{error}; what waits in it is stored later")
            return False
        if head is None:
            return False
        oldest_ns = min((sample.time_ns for sample in head.batch.samples), default=None)
        if oldest_ns is not None and self._spool.oldest is not None:  # clocks of IOCs may be ahead
            self._replayed_ns = min(oldest_ns, int(self._spool.oldest * 1e9)) - ON_ITS_WAY_NS
        if head.id not in self._removable:
            samples = head.batch.samples
            if (kept := self._upkeep.kept(samples, self.database.store)) is not samples:
                self._outdated += len(set(samples) - set(kept))
            else:
                self._tell_outdated()
            self._commit(replace(head.batch, samples=kept))
            if kept:
                self._upkeep.late(min(sample.time_ns for sample in kept))
        gone = self._remove(head.id)
        if not self._spool.rows:
            self._tell_outdated()
        return gone

    def _tell_outdated(self) -> None:
        if self._outdated:
            missing = counted(self._outdated, "sample")
            log.info("%s that waited longer than keep keeps them are not stored", missing)
        self._outdated = 0

    def _remove(self, number: int) -> bool:
        """Remove a stored batch from the spool; False if it must stay: on a full disk it cannot be deleted either."""
        self._removable.add(number)
        try:
            self._spool.remove(number)
        except SpoolError as error:
            self._record_spool(f"{error}; what waits in it is stored later")
            return False
        self._removable.discard(number)
        self._record_spool("")
        return True

    def _commit(self, batch: Batch) -> bool:
        began, count = time.monotonic(), len(batch.samples) + len(batch.rows)
        self.rejected += commit(batch, self.database.store, earlier_wait=self._spool.rows > 0)
        self.stored += count
        took, waiting = time.monotonic() - began, (len(self._queue), self._spool.rows)
        log.debug(
            "%s committed in %.3f s; waiting in memory: %d, in the spool: %d", counted(count, "row"), took, *waiting
        )
        return True

    def _append_to_spool(self, batch: Batch) -> int | None:
        """Return the batch's number in the spool; None if that takes no more."""
        try:
            number = self._spool.append(batch)
        except SpoolError as error:
            self._record_spool(f"{error}; samples wait in memory")
            return None
        self._record_spool("")
        log.debug("%s put into the spool", counted(len(batch.samples) + len(batch.rows), "row"))
        return number

    def _record_database(self, error: str) -> None:
        """Record the outcome of a call; an error that goes on is logged once, and so is its end."""
        database = self.database
        database.healthy = not error
        self.last_error = error or self.last_error
        if error and error != database.error:
            log.error("%s; samples wait in %s", error, self._spool.path)
        elif database.error and not error:
            log.info("the database stores samples again; %d wait in %s", self._spool.rows, self._spool.path)
        database.error = error

    def _record_spool(self, error: str) -> None:
        self.last_error = error or self.last_error
        if error and error != self.spool_error:
            log.error("%s", error)
        self.spool_error = error
