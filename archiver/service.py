"""The archiver as a process: which PVs it subscribes to, and how it starts and stops."""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from threading import Event

from archiver.ca.client import Client
from archiver.health import Cause, Health, StatusFile, disk_free
from archiver.loggers.tablelogger import table_loggers
from archiver.loggers.tables import make_tables
from archiver.recording.previous_run import End, end_previous_run
from archiver.recording.queue import Queue
from archiver.recording.spool import Spool, SpoolError
from archiver.recording.timeline import Timeline
from archiver.recording.track import Rule, Track
from archiver.recording.upkeep import Upkeep
from archiver.recording.writer import Writer
from archiver.settings import ArchiveSettings
from archiver.storage.database import open_store
from archiver.storage.sqlite.file import file_name
from archiver.storage.store import Store, StoreError
from archiver.storage.url import DatabaseUrl
from archiver.units import size

# Seconds of one ``Archiver.poll``, and from one check of all PVs and of the state to the next.
POLL = 0.1
TICK = 1.0

log = logging.getLogger(__name__)


def main(archive: ArchiveSettings, config: Path, pv_list: str, prefix: str) -> int:
    """Archive until SIGINT or SIGTERM; return the exit code: 1 if it cannot begin, or loses samples at its end."""
    gc.set_threshold(100_000, 50, 50)  # samples are many, and no cycles: looking for these takes as long as storing
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(archive, config, pv_list, prefix, stop)
    except (StoreError, SpoolError) as error:
        log.error("%s", error)
        return 1
    return 0


def run(archive: ArchiveSettings, config: Path, pv_list: str, prefix: str, stop: Event) -> None:
    """Archive until ``stop`` is set. Raises StoreError or SpoolError.

    ``archive.pvs`` are names of PVs, of any IOC, and globs over the names that the PV ``pv_list`` holds, one on each
    line; a name that appears there later is archived from then on.
    """
    archiver = Archiver(archive, config, prefix)
    try:
        archiver.start(pv_list)
        while not stop.is_set():
            archiver.poll()
    finally:
        archiver.close()


class Archiver:
    """The archiver; its methods are called by the thread of Channel Access, the writer has a thread of its own."""

    def __init__(self, archive: ArchiveSettings, config: Path, prefix: str) -> None:
        self._archive = archive
        self._name = archive.identity(config, prefix)
        self._began_ns = time.time_ns()
        url = DatabaseUrl.parse(archive.database)
        self._paths = [archive.spool_file(config)]
        if url.backend == "sqlite":
            self._paths.append(Path(file_name(url)))
        self._status_file = StatusFile(archive.status_file(config))
        self._spool = Spool(archive.spool_file(config), size(archive.spool.limit), size(archive.spool.floor))
        self._spool.run_ns = self._began_ns
        self._queue = Queue()
        self._writer = Writer(self._queue, self._spool, Upkeep(archive.policy), self._open_store)
        self._client = Client()
        self._table_loggers = table_loggers(archive, prefix, self._client.get, self._queue.add_rows)
        self._tracks: dict[str, Track] = {}
        self._ends: dict[str, End] | None = None
        self._rejected: Counter[str] = Counter()
        self._opened = False
        self._renewed = Event()  # the database is another one than before
        self._next_tick = 0.0
        self._stored = Rate()
        self._reported = ""

    def start(self, pv_list: str) -> None:
        """Open the database, which knows where each PV's rows end, if it is there; then subscribe to the PVs."""
        self._writer.start()
        names = [pattern for pattern in self._archive.pvs if not _is_glob(pattern)]
        self._subscribe(names)
        if len(names) < len(self._archive.pvs) or self._table_loggers:
            self._client.subscribe_text(pv_list, self._pv_list_changed)

    def poll(self) -> None:
        """Process events for POLL seconds, and what is due."""
        self._client.poll(POLL)
        for table_logger in self._table_loggers:
            table_logger.tick(time.time())
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK
            self._tick(now)

    def close(self) -> None:
        """Disconnect, mark every PV that was seen as not archived from now on, and store what is left."""
        self._client.close()
        for track in self._tracks.values():
            track.end()
        for cause, count in self._rejected.items():
            log.warning("%d samples were rejected: %s", count, cause)
        try:
            self._writer.close()
        finally:
            self._status_file.write(self._health())
            self._status_file.close()
            self._spool.close()

    def _open_store(self) -> Store:
        make_tables(self._archive)
        store = open_store(self._archive.database, self._name)
        try:
            again = self._opened
            ends = end_previous_run(store, self._spool, time.time_ns() if again else self._began_ns)
        except BaseException:
            store.close()
            raise
        self._ends, self._opened = ends, True
        if again:
            self._renewed.set()
        return store

    def _pv_list_changed(self, text: str) -> None:
        """Subscribe to PVs of the IOC that are new in its list of records."""
        names = text.split()
        for table_logger in self._table_loggers:
            table_logger.update_names(names)
        self._subscribe(filter(self._archive.matches, names))

    def _subscribe(self, pvs: Iterable[str]) -> None:
        for pv in pvs:
            if pv not in self._tracks:
                rule = Rule.of(self._archive.policy(pv))
                self._tracks[pv] = track = Track(pv, rule, self._queue, self._rejected, self._timeline(pv))
                self._client.subscribe(pv, track)

    def _timeline(self, pv: str) -> Timeline:
        """Return where a PV's rows end; without a database to ask, it is the begin of this run."""
        if self._ends is None:
            return Timeline.after([self._began_ns])
        return Timeline.after(*self._ends.get(pv, End([], 0)))

    def _tick(self, now: float) -> None:
        if self._renewed.is_set():
            self._renewed.clear()
            for pv, track in self._tracks.items():
                track.renew(self._timeline(pv))
        for track in self._tracks.values():
            track.tick(now)
        self._queue.mark_overruns()
        self._writer.guard()
        self._status_file.write(self._health())
        report = f"{self._client.connected} of {self._client.total} PVs connected"
        if report != self._reported:
            log.info(report)
            self._reported = report

    def _health(self) -> Health:
        writer, spool, oldest = self._writer, self._spool, self._writer.oldest
        return Health(
            time=time.time(),
            pid=os.getpid(),
            connected=self._client.connected,
            total=self._client.total,
            samples_per_second=self._stored.of(writer.stored),
            queue=len(self._queue),
            spool_rows=spool.rows,
            spool_bytes=spool.size,
            lag=0.0 if oldest is None else max(0.0, time.time() - oldest),
            rejected={**self._rejected, Cause.DATABASE: writer.rejected},
            repeated=sum(track.repeated for track in self._tracks.values()),
            lost=self._queue.lost,
            disk_free=min(disk_free(path) for path in self._paths),
            database=writer.database.state,
            last_error=writer.last_error,
            stored=writer.stored,
        )


class Rate:
    """The rate (1/s) at which a count grows."""

    def __init__(self) -> None:
        self._count, self._at = 0, time.monotonic()

    def of(self, count: int) -> float:
        """Return the rate since the last call."""
        now = time.monotonic()
        rate = (count - self._count) / max(now - self._at, 1e-3)
        self._count, self._at = count, now
        return rate


def _is_glob(pattern: str) -> bool:
    return any(wildcard in pattern for wildcard in "*?[")
