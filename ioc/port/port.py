"""A port: one thread and one queue for one instrument's connection. The one place where thread and event loop meet.

What goes first is said in ``putqueue`` and ``scan``: puts before scans, a put that makes things safe before all
else, and scans that are behind in turns with the puts, so that no storm of puts can starve the poll (the generator's
poll is its keep-alive), and no failing poll the puts. The thread keeps its own schedule: a busy event loop delays
what is shown, never what is asked.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from drivers.base import (
    DeviceError,
    Driver,
    LinkDown,
    NoReply,
    Point,
    Reading,
    Readings,
    Refused,
    SafePut,
    Severity,
    Step,
    Value,
    Wait,
)
from ioc.port.beat import beat
from ioc.port.calls import Calls
from ioc.port.ended import Ended, end_all, fail
from ioc.port.errorlog import ErrorLog
from ioc.port.execution import Execution
from ioc.port.listener import Link, Listener
from ioc.port.outbox import Outbox
from ioc.port.putqueue import PATIENCE, REPEAT, Put, PutQueue
from ioc.port.rereads import Reread, Rereads
from ioc.port.scan import Scan, Schedule

# Seconds after a loss before the first try to connect again; each further pause is twice as long
FIRST_RETRY = 1.0
# Seconds that a connection must have lasted before the pauses are short again
STEADY = 10.0
# Seconds without any good answer after which the connection is opened anew
GIVE_UP = 10.0
# Seconds of a stop for what makes things safe and is pending; each such put is sent once at least
LAST_TRY = 10.0
# Seconds that a stop waits for a call that blocks inside a vendor's library
STOP_PATIENCE = 9.0
# Seconds between two looks whether a stop may go on
_LOOK = 0.02
# Why a pending put is not shown yet where nothing has failed
_IN_TURN = "it is sent, and looked at, in its turn"
# Seconds to sleep where nothing is to be done until somebody asks for it
_IDLE = 60.0


class Port:
    """A driver in a thread of its own, with its queue of puts and its scans.

    ``periods``: scan group -> seconds, in order of importance.

    ``heard``: when the instrument gave its last good answer (monotonic seconds); ``scans``: its scan groups.
    ``silence``: seconds without a good answer after which it counts as silent.
    """

    def __init__(self, name: str, driver: Driver, listener: Listener, periods: Mapping[str, float]) -> None:
        self.heard = 0.0
        self._name = name
        self._driver = driver
        self._listener = listener
        self._log = logging.getLogger(f"rackioc.{name}")
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(self._loop)
        self._wake = threading.Condition()
        self._puts = PutQueue(self._wake, driver.undoes)
        driver.urgent = self._puts.is_urgent
        self._schedule = Schedule(periods, driver.longest_reply)
        self.scans = tuple(self._schedule.scans)
        self._read: dict[str, list[Readings]] = {}
        self._errors = ErrorLog(name)
        self.silence = max(2.0, 2 * min((scan.period for scan in self.scans), default=0.0))
        self._calls = Calls(name, driver, self._outbox, self._errors, self.silence)
        self._execution = Execution(
            name, driver, self._puts, self._calls, self._errors, listener, self._notify, self._deliver
        )
        self._points: tuple[Point, ...] = driver.points
        self._up = False
        self._error: DeviceError = LinkDown(f"{name} is not connected yet")
        self._retry_at = 0.0
        self._retry_after = FIRST_RETRY
        self._tried_at = self._connected_at = 0.0
        self._stopping: float | None = None  # since when (monotonic seconds)
        self._closing = False
        self._ordinary_over = False  # in a stop: no put is under way but those that make things safe
        self._over = False
        self._woken = False
        self._retries: deque[Ended] = deque()
        self._rereads = Rereads()
        self._beat = beat()
        self._thread = threading.Thread(target=self._run, name=f"port {name}", daemon=True)

    @property
    def deadline(self) -> float | None:
        """Return when the call in progress should be over (monotonic seconds); None between calls."""
        return self._calls.deadline

    def start(self) -> None:
        """Start the thread, which connects at once."""
        self._thread.start()

    async def stop(self) -> None:
        """Refuse ordinary puts from now on, and end those under way; scans go on.

        Return when nothing that makes things safe is pending any more, or can still be done. What is put then is
        accepted, and tried, until ``close``.
        """
        self._begin_stop()
        while self._thread.is_alive() and not self._hangs() and not (self._ordinary_over and self._is_done()):
            await asyncio.sleep(_LOOK)
        for put in self._puts.pending:
            error = self._not_shown(put)
            if self._hangs():  # the thread may never come to say so
                self._log.warning("%s", error)
            self._execution.complete(put, error)
        await self._outbox.made()

    async def close(self) -> None:
        """Stop, after what makes things safe and is pending; close the driver."""
        self._begin_stop()
        with self._wake:
            self._closing = True
            self._notice()
        while self._thread.is_alive():
            if self._hangs():
                sentence = "%s: a call has not returned within %g s; its connection may stay open"
                self._log.warning(sentence, self._name, STOP_PATIENCE)
                break
            await asyncio.sleep(_LOOK)
        await self._outbox.made()

    def _begin_stop(self) -> None:
        with self._wake:
            self._stopping = self._stopping or time.monotonic()
            self._notice()

    def _notice(self) -> None:
        """Have the thread look what is to be done, even if it sleeps or is about to."""
        self._woken = True
        self._wake.notify()

    def _hangs(self) -> bool:
        since = self._calls.since
        if since is None or self._stopping is None:
            return False
        return time.monotonic() - max(since, self._stopping) > STOP_PATIENCE

    def _is_done(self) -> bool:
        """Return True if nothing is pending, or all of it was sent and the time of the stop is over."""
        late = time.monotonic() - (self._stopping or 0.0) > LAST_TRY
        return all(late and put.tried for put in self._puts.pending)

    def retry(self) -> Ended:
        """Connect now (or anew), whatever the back-off says; return the end of that, with the DeviceError."""
        asked = Ended()
        with self._wake:
            if self._stopping:
                fail(asked, self._stopped())
                return asked
            self._retry_after = FIRST_RETRY
            self._retries.append(asked)
            self._notice()
        return asked

    async def reread(self, group: str) -> None:
        """Read a scan group now instead of at its next turn; return when that is done. Raises the DeviceError."""
        reread = Reread(group, Ended(), time.monotonic())
        with self._wake:
            if self._stopping:
                raise self._stopped()
            if not self._up:
                raise self._error
            self._rereads.add(reread)
            self._notice()
        await reread.done

    def write(self, point: Point, value: Value, asked: float, ended: Ended, changes: bool = True) -> None:
        """Queue a put, and end ``ended`` with it, or with the DeviceError that stopped it; raise that of a port down.

        ``asked`` is when it was asked for (monotonic s), ``changes`` False if the instrument is known to have the
        value already. An ordinary put never waits for a connection: carried out long after it was asked, it would
        surprise. One that makes things safe does; when it takes too long NoReply says that it is still pending.
        """
        put = Put(point, value, asked, changes, [ended])
        with self._wake:
            if self._over if put.safe else self._stopping:
                raise self._stopped()
            if not (self._up or put.safe):
                raise self._error
            undone = self._puts.add(put)
            self._notice()
        for other in undone:
            sentence = f"{other.point.name}: not sent, a later put to {point.name} that makes it safe overtook it"
            self._execution.complete(other, Refused(sentence))
        if put.safe:
            self._listener.pending(point)
            timer = self._loop.call_later(PATIENCE, self._still_pending, put, ended)
            ended.add_done_callback(lambda _: timer.cancel())

    def _still_pending(self, put: Put, ended: Ended) -> None:
        reason = self._why(put)
        sentence = f"{put.words} is pending, not shown by {self._name} within {PATIENCE:g} s: {reason}"
        fail(ended, NoReply(sentence))

    def is_pending(self, point: Point) -> bool:
        """Return True while a put that makes the point safe is not shown by the instrument yet."""
        return self._puts.is_pending(point)

    def _stopped(self) -> LinkDown:
        return LinkDown(f"{self._name} is being stopped")

    def _not_shown(self, put: Put) -> LinkDown:
        reason = self._why(put)
        return LinkDown(f"{put.words} is not shown by {self._name}, which is being stopped: {reason}")

    def _why(self, put: Put) -> str:
        """Return why a pending put is not shown yet."""
        return str(self._puts.error_of(put.point) or (_IN_TURN if self._up else self._error))

    def refuse(self, error: DeviceError) -> None:
        """Refuse the ordinary puts that wait."""
        for put in self._puts.take_waiting():
            self._execution.complete(put, error)

    # ---- in the thread from here on ----

    def _run(self) -> None:
        while not self._is_over():
            try:
                if self._stopping and not self._ordinary_over:
                    self._end_ordinary()
                self._turn()
            except Exception as error:  # a thread that ends would leave old values standing as true
                self._log.exception("%s: internal error in the port; connecting again", self._name)
                self._disconnect(LinkDown(f"{self._name}: internal error, {type(error).__name__}: {error}"))
            self._outbox.send()
        self._end_pending()
        self._calls.close()
        self._answer(self._rereads.take(), self._stopped())
        self._outbox.send()

    def _is_over(self) -> bool:
        with self._wake:
            self._woken = False
            self._over = self._closing and self._ordinary_over and self._is_done()
            return self._over

    def _end_ordinary(self) -> None:
        """End what is not to be carried out any more; an Off follows a put that may have let voltage out."""
        stopped = self._stopped()
        self.refuse(stopped)
        for put in self._puts.take_begun():
            if put.steps is not None:
                self._calls.give_up(put.steps)
            self._execution.fail(put, stopped)
        while self._retries:
            self._answer([self._retries.popleft()], stopped)
        for put in self._puts.pending:
            self._log.warning("%s: stopping, while %s is pending: it is tried on", self._name, put.words)
        self._ordinary_over = True

    def _end_pending(self) -> None:
        """Tell who waits, and the log, what could not be carried out."""
        for put in self._puts.pending:
            if put.steps is not None:
                self._calls.give_up(put.steps)
            error = self._not_shown(put)
            self._log.warning("%s", error)
            self._execution.complete(put, error)

    def _turn(self) -> None:
        now = time.monotonic()
        self._errors.sum_up()
        for reread in self._rereads.unscheduled:
            reread.scheduled = True
            self._schedule.make_due(now, reread.group)
        for undone in self._puts.take_undone():
            self._execution.give_up(undone)
        if self._retries:
            if self._up:
                self._disconnect(LinkDown(f"{self._name} is connecting again, as asked by a put to Retry"))
            self._connect()
            self._answer([self._retries.popleft()], None if self._up else self._error)
        elif not self._up:
            self.refuse(self._error)
            if now >= self._next_try():
                self._connect()
            else:
                self._sleep(self._next_try())
        elif put := self._puts.next(now, self._schedule.ready(now)):
            self._step_put(put)
        elif scan := self._schedule.next(now):
            self._step_scan(scan)
        else:
            self._sleep(now + min(self._schedule.wait(now), self._puts.wait(now)))

    def _sleep(self, until: float) -> None:
        self._outbox.send()
        with self._wake:
            if not self._woken:  # else something has come since this turn began
                seconds = until - time.monotonic()
                self._wake.wait(min(seconds, _LOOK) if self._closing else seconds)

    # ---- the connection ----

    def _next_try(self) -> float:
        """Return when to connect next: at once for a put that makes things safe and was not tried yet.

        In a stop only for such puts: a login may take long.
        """
        pending = self._puts.pending
        if any(not put.tried for put in pending):
            return 0.0
        return time.monotonic() + _IDLE if self._stopping and not pending else self._retry_at

    def _connect(self) -> None:
        self._tried_at = time.monotonic()
        self._notify(self._listener.link, Link.Connecting, None)
        self._execution.write_blind()
        try:
            readings = self._calls.guarded(self._driver.connect)
        except DeviceError as error:
            self._disconnect(error)
            return
        if not self._errors.comes_and_goes(""):
            self._log.info("%s: connected", self._name)
        with self._wake:
            self._up = True
        self.heard = self._connected_at = time.monotonic()
        for put in self._puts.pending:  # at once, unless that is what ends each connection: then look first
            self._puts.repeat(put, self.heard + (REPEAT if put.broke else 0.0))
        self._schedule.restart(self.heard)
        self._check_points()
        self._notify(self._listener.link, Link.Up, None)
        self._deliver(readings)

    def _disconnect(self, error: DeviceError) -> None:
        self._errors.report("", error)
        # From one try to the next, however long it takes to open the connection
        was_up = self._up
        began = time.monotonic() if was_up else self._tried_at
        with self._wake:
            self._up, self._error = False, error
        self._notify(self._listener.link, Link.Down, error)  # before anything that may take its time
        self._refuse_all(error)
        if was_up:
            self._execution.send_unsent()
        self._answer(self._rereads.take(), error)
        self._calls.close()
        pause = FIRST_RETRY if self._puts.pending else min(self._retry_after, self._driver.longest_retry)
        self._retry_at = max(began + pause, time.monotonic() + min(FIRST_RETRY, pause))
        self._retry_after = min(2 * self._retry_after, self._driver.longest_retry)
        self._log.debug("%s: to be connected again in %.1f s", self._name, self._retry_at - time.monotonic())

    def _refuse_all(self, error: DeviceError) -> None:
        """End the ordinary puts; of those that were begun it is not known what they did.

        Steps under way are given up here: left to Python, they would be at any time, over any connection.
        """
        self.refuse(error)
        for steps in (*self._puts.under_way, *(scan.steps for scan in self.scans)):
            if steps is not None:
                self._calls.give_up(steps)
        for put in self._puts.interrupt(time.monotonic()):
            self._execution.fail(put, error)

    # ---- scans ----

    def _step_scan(self, scan: Scan) -> None:
        """Do the next step of a scan, or begin it."""
        self._puts.scan_stepped()
        began = time.monotonic()
        still = self._beat.stood_still(began)
        try:
            if scan.steps is None:
                self._read[scan.group] = []
                scan.begin(self._steps(scan.group), began)
            steps = scan.steps
            assert steps is not None
            step = self._calls.next(steps)
        except DeviceError as error:
            self._scan_failed(scan, error)
            return
        now = time.monotonic()
        seconds = max(0.0, now - began - (self._beat.stood_still(now) - still))
        if step is None:
            self._scan_done(scan, now)
        elif isinstance(step, Wait):
            scan.stepped(now, seconds, step.seconds, heard=False)
            if isinstance(step, SafePut):
                self._execution.make_safe(step)
        else:
            scan.stepped(now, seconds, heard=_heard(step))
            self._read[scan.group].append(step)
            self._deliver(step)

    def _steps(self, group: str) -> Iterator[Step]:
        """Yield the driver's steps; a ``read`` that is no generator, too, is called when the first is asked for."""
        yield from self._driver.read(group)

    def _scan_done(self, scan: Scan, now: float) -> None:
        if self._given_up():
            self._scan_failed(scan, LinkDown(f"{self._name}: no good answer for {GIVE_UP:g} s"))
            return
        self._end(scan, None)
        if now - self._connected_at > STEADY:
            self._retry_after = FIRST_RETRY
        self._errors.clear("")
        if self._errors.clear(scan.group):
            self._log.info("%s: %s is read again without errors", self._name, scan.group)

    def _scan_failed(self, scan: Scan, error: DeviceError) -> None:
        self._end(scan, error)
        if isinstance(error, LinkDown) or self._given_up():
            self._disconnect(error)
            return
        self._errors.report(scan.group, error)
        read = frozenset(name for block in self._read[scan.group] for name in block)
        self._notify(self._listener.failed, scan.group, read, error)

    def _given_up(self) -> bool:
        """Return True if nothing good was heard for so long that the connection is to be opened anew."""
        return self._driver.reopens and time.monotonic() - self.heard > max(GIVE_UP, 2 * self.silence)

    def _end(self, scan: Scan, error: DeviceError | None) -> None:
        scan.end(time.monotonic(), complete=error is None)
        self._log.debug("%s: %s: %s in %.3f s", self._name, scan.group, error or "read", scan.took)
        self._answer(self._rereads.take(scan), error)
        self._notify(self._listener.scanned, scan.group)

    # ---- puts ----

    def _step_put(self, put: Put) -> None:
        try:
            self._execution.step(put)
        except LinkDown as error:
            self._disconnect(error)

    # ---- both ----

    def _deliver(self, readings: Readings) -> None:
        """Publish what was read; after a silence everything is read anew."""
        self._check_points()
        if readings:
            self._notify(self._listener.readings, readings, time.time(), time.monotonic())
            self._puts.note_readings(readings)
            self._execution.end_shown(readings)
        if _heard(readings):
            now = time.monotonic()
            if now - self.heard > self.silence:
                self._schedule.make_due(now)
            self.heard = now

    def _check_points(self) -> None:
        if self._driver.points is not self._points:
            self._points = self._driver.points
            self._notify(self._listener.points, self._points)

    def _answer(self, waiting: Sequence[Ended], error: DeviceError | None) -> None:
        if waiting:
            self._notify(end_all, waiting, error)

    def _notify(self, listener: Callable[..., None], *args: object) -> None:
        if threading.current_thread() is self._thread:
            self._outbox.add(listener, *args)
        else:
            self._loop.call_soon(listener, *args)


def _heard(readings: Readings) -> bool:
    """Return True for a good answer: a value that is not INVALID, or one without a reading."""
    return not readings or any(_good(value) for value in readings.values())


def _good(value: object) -> bool:
    return not isinstance(value, Reading) or value.severity is not Severity.INVALID
