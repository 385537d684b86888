"""The archiver as a process: which PVs it subscribes to, and how it starts and stops."""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Event

from archiver.allocator import give_back_large_blocks
from archiver.ca.calls import Overflow
from archiver.ca.client import Client
from archiver.health import NAMES, Cause, Health, StatusFile, disk_free
from archiver.loggers.tablelogger import table_loggers
from archiver.loggers.tables import make_tables
from archiver.recording.figures import FiguresFile, PvSink
from archiver.recording.previous_run import End, end_previous_run
from archiver.recording.queue import Queue
from archiver.recording.spool import Spool, SpoolError
from archiver.recording.timeline import STEP_NS, Timeline
from archiver.recording.track import Rule, Track
from archiver.recording.upkeep.rounds import Upkeep
from archiver.recording.wallclock import WallClock
from archiver.recording.writer import Writer
from archiver.settings import ArchiveSettings, is_glob, is_name
from archiver.storage.database import open_store
from archiver.storage.owner import LIFE_PERIOD
from archiver.storage.sqlite.file import file_name
from archiver.storage.store import Store, StoreError
from archiver.storage.url import DatabaseUrl
from archiver.units import counted, size

# Seconds of one ``Archiver.poll``, and from one check of all PVs and of the state to the next.
POLL = 0.1
TICK = 1.0

# Seconds of a search in vain after which a PV is named in the status, and after which in the log and by an alarm.
NEVER, NEVER_LONG = 10.0, 180.0

# Seconds after which an entry with brackets is taken for a name although the IOC's list of PVs has not come.
LIST_PATIENCE = 10.0

log = logging.getLogger(__name__)


def main(archive: ArchiveSettings, config: Path, pv_list: str, prefix: str) -> int:
    """Archive until SIGINT, SIGTERM or SIGHUP; return the exit code: 1 if it cannot begin, or loses samples."""
    give_back_large_blocks()
    gc.set_threshold(100_000, 50, 50)  # samples are many, and no cycles: looking for these takes as long as storing
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda *_: stop.set())
    try:
        run(archive, config, pv_list, prefix, stop)
    except (StoreError, SpoolError) as error:
        log.error("%s", error)
        return 1
    return 0


def run(archive: ArchiveSettings, config: Path, pv_list: str, prefix: str, stop: Event) -> None:
    """Archive until ``stop`` is set, anew when the clock is set back. Raises StoreError or SpoolError.

    ``archive.pvs`` are names of PVs, of any IOC, and globs over the names that the PV ``pv_list`` holds, one on each
    line; a name that appears there later is archived from then on.
    """
    ahead_ns = 0
    while not stop.is_set():
        clock, archiver = WallClock(), Archiver(archive, config, prefix, ahead_ns=ahead_ns)
        back = 0.0
        try:
            archiver.start(pv_list)
            while not stop.is_set() and not back:
                archiver.poll()
                back = clock.set_back()
        finally:
            archiver.close()
        if back:
            ahead_ns = max(ahead_ns, time.time_ns() + int(back * 1e9) + STEP_NS)
            log.warning("the clock was set back by %.0f s: the archive is gone on with as after a restart", back)


class Archiver:
    """The archiver; its methods are called by the thread of Channel Access, the writer has a thread of its own.

    ``ahead_ns``: it begins because the clock was set back, and was as far before: what it finds of the time to come
    is of the time before. 0 if it was not.
    """

    def __init__(self, archive: ArchiveSettings, config: Path, prefix: str, *, ahead_ns: int = 0) -> None:
        self._archive = archive
        self._set_back = ahead_ns > 0
        self._name = archive.identity(config, prefix)
        self._began_ns = time.time_ns()
        self._ahead_ns = ahead_ns
        url = DatabaseUrl.parse(archive.database)
        self._paths = [archive.spool_file(config)]
        if url.backend == "sqlite":
            self._paths.append(Path(file_name(url)))
        self._status_file = StatusFile(archive.status_file(config))
        limit, floor = size(archive.spool.limit), size(archive.spool.floor)
        self._spool = Spool(archive.spool_file(config), limit, floor)
        self._spool.run_ns = self._began_ns
        self._queue = Queue()
        self._overflow = Overflow(self._spool.path.absolute().parent, limit, floor)
        self._client = client = Client(self._overflow)
        self._writer = Writer(
            self._queue, self._spool, Upkeep(archive.policy), self._open_store, lambda: client.waiting.oldest
        )
        self._table_loggers = table_loggers(archive, prefix, self._client.get, self._queue.add_rows)
        self._tracks: dict[str, Track] = {}
        self._ends: dict[str, End] | None = None
        self._sinks: dict[str, PvSink] = {}
        self._figures_file = FiguresFile(archive.figures_file(config))
        self._opened = False
        self._renewed = Event()  # the database is another one than before
        self._next_tick = 0.0
        self._without_list = time.monotonic() + LIST_PATIENCE
        self._stored = Rate()
        self._reported = ""
        self._told_never = 0
        self._losses = self._spool.losses

    def start(self, pv_list: str) -> None:
        """Open the database, which knows where each PV's rows end, if it is there; then subscribe to the PVs."""
        # what waits is known before the database is
        self._status_file.write(replace(self._health(), database="starting"))
        self._writer.start()
        names = [pattern for pattern in self._archive.pvs if is_name(pattern)]
        self._subscribe(names)
        if len(names) < len(self._archive.pvs) or self._table_loggers:
            self._client.subscribe_text(pv_list, self._pv_list_changed)

    def poll(self) -> None:
        """Process events for POLL seconds, and what is due."""
        self._client.poll(POLL, lambda: self._writer.has_room)
        for table_logger in self._table_loggers:
            table_logger.tick(time.time())
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK
            self._tick(now)

    def close(self) -> None:
        """Mark every PV that was seen as not archived from now on, store what is left, and disconnect.

        That is the last: it takes 30 s where an IOC stands still, longer than a supervisor waits, and the archive has
        to be complete by then.
        """
        end_ns = self._client.finish(lambda: self._writer.has_room)
        for track in self._tracks.values():
            track.end(end_ns)
        for cause, count in self._rejected().items():
            log.warning("%s rejected; cause: %s", counted(count, "sample"), cause)
        try:
            self._writer.close()
        finally:
            self._status_file.write(self._health())
            self._status_file.close()
            self._spool.close()
            self._client.close()
            self._overflow.close()

    def _open_store(self) -> Store:
        make_tables(self._archive)
        store = open_store(self._archive.database, self._name)
        again = self._opened
        if again and 0 < store.alive_ns == self._writer.alive_ns:
            return store  # the same archive, with all that was stored there: what came since is in the spool
        try:
            began_ns = time.time_ns() if again else self._began_ns
            if store.alive_ns > began_ns:  # the clock was set back between two runs
                self._ahead_ns = max(self._ahead_ns, store.alive_ns + int(LIFE_PERIOD * 1e9))
            ends = end_previous_run(store, self._spool, began_ns, set_back=self._set_back and not again)
        except BaseException:
            store.close()
            raise
        self._ends, self._opened = ends, True
        if again:
            self._writer.alive_ns = 0  # what it gets is not in the one before, which is not the same one any more
            self._renewed.set()
        return store

    def _pv_list_changed(self, text: str) -> None:
        """Subscribe to PVs of the IOC that are new in its list of records."""
        names = text.split()
        for table_logger in self._table_loggers:
            table_logger.update_names(names)
        self._without_list = math.inf
        self._subscribe(filter(self._archive.matches, names))
        self._settle_brackets(names)

    def _settle_brackets(self, names: Sequence[str]) -> None:
        """Take each entry with brackets that fits none of the IOC's PVs for a name, and no longer if it fits one."""
        for pattern in self._archive.pvs:
            if not is_name(pattern) and not is_glob(pattern):
                fits = pattern in names or any(fnmatchcase(name, pattern) for name in names)
                if not fits:
                    self._subscribe([pattern])
                elif pattern not in names and pattern in self._client.never_connected():
                    self._client.unsubscribe(pattern)
                    del self._tracks[pattern], self._sinks[pattern]

    def _subscribe(self, pvs: Iterable[str]) -> None:
        for pv in pvs:
            if pv not in self._tracks:
                rule = Rule.of(self._archive.policy(pv))
                self._sinks[pv] = sink = PvSink(self._queue)
                self._tracks[pv] = track = Track(pv, rule, sink, sink.rejected, self._timeline(pv))
                self._client.subscribe(pv, track)

    def _timeline(self, pv: str) -> Timeline:
        """Return where a PV's rows end; without a database to ask, it is the begin of this run."""
        if self._ends is None:
            return Timeline.after(*End([self._began_ns], in_force_ns=self._began_ns), ahead_ns=self._ahead_ns)
        return Timeline.after(*self._ends.get(pv, End()), ahead_ns=self._ahead_ns)

    def _tick(self, now: float) -> None:
        if now >= self._without_list:
            self._without_list = math.inf
            self._settle_brackets([])
        if self._renewed.is_set():
            self._renewed.clear()
            for pv, track in self._tracks.items():
                track.renew(self._timeline(pv))
        if self._losses != self._spool.losses:
            self._losses = self._spool.losses
            for track in self._tracks.values():
                track.repeat_metadata()
        for track in self._tracks.values():
            track.tick(now)
        self._queue.mark_overruns()
        self._writer.check()
        self._status_file.write(self._health())
        self._figures_file.write(self._sinks, self._client.states())
        self._tell_never_connected()
        report = f"{self._client.connected} of {self._client.total} PVs connected"
        if report != self._reported:
            log.info(report)
            self._reported = report

    def _tell_never_connected(self) -> None:
        """Log the PVs that were searched for some minutes in vain, when there are more of them."""
        never = self._client.never_connected(NEVER_LONG)
        if len(never) > self._told_never:
            more = f" and {len(never) - NAMES} more" if len(never) > NAMES else ""
            log.warning(
                "%s not connected in %g s since the archiver's start: %s%s; check the spelling, and whether the IOC "
                "runs",
                counted(len(never), "PV"),
                NEVER_LONG,
                ", ".join(never[:NAMES]),
                more,
            )
        self._told_never = len(never)

    def _rejected(self) -> Counter[str]:
        """Return how many samples of all PVs were rejected, by cause."""
        total: Counter[str] = Counter()
        for sink in self._sinks.values():
            if sink.rejected:
                total.update(sink.rejected)
        return total

    def _health(self) -> Health:
        never = self._client.never_connected(NEVER)
        writer, spool, waiting = self._writer, self._spool, self._client.waiting
        oldest = min((each for each in (writer.oldest, waiting.oldest) if each is not None), default=None)
        return Health(
            time=time.time(),
            pid=os.getpid(),
            connected=self._client.connected,
            total=self._client.total,
            never=len(never),
            never_long=len(self._client.never_connected(NEVER_LONG)),
            never_names=never[:NAMES],
            samples_per_second=self._stored.of(writer.stored),
            queue=len(self._queue) + len(waiting),
            queue_bytes=self._queue.size + waiting.size,
            spool_rows=spool.rows,
            spool_bytes=spool.size,
            lag=0.0 if oldest is None else max(0.0, time.time() - oldest),
            rejected={**self._rejected(), Cause.DATABASE: writer.rejected},
            aside=spool.aside[0],
            aside_rows=spool.aside[1],
            repeated=sum(track.repeated for track in self._tracks.values()),
            lost=self._queue.lost + waiting.lost,
            disk_free=min(disk_free(path) for path in self._paths),
            days_left=writer.growth.days_left,
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
