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
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

from drivers.base import (
    BadReply,
    DeviceError,
    Driver,
    LinkDown,
    NoReply,
    NotShown,
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
from ioc.port.errorlog import ErrorLog
from ioc.port.listener import Link, Listener
from ioc.port.putqueue import PATIENCE, REPEAT, Put, PutQueue, refusal_of
from ioc.port.rereads import Reread, Rereads
from ioc.port.scan import Scan, Schedule

# Seconds after a loss before the first try to connect again; each further pause is twice as long
FIRST_RETRY = 1.0
# Seconds that a connection must have lasted before the pauses are short again
STEADY = 10.0
# Seconds without any good answer after which the connection is opened anew
GIVE_UP = 10.0
# Seconds that a stop waits for a call that blocks inside a vendor's library
STOP_PATIENCE = 5.0
# Seconds that a stop gives the pending puts that make things safe
LAST_TRY = 2.0

T = TypeVar("T")
# Who waits for something, and gets the error that stopped it
Waiting = asyncio.Future[None]


class Port:
    """A driver in a thread of its own, with its queue of puts and its scans.

    ``periods``: scan group -> seconds, in order of importance.

    ``deadline``: when the call in progress should be over (monotonic seconds); None between calls. A call that is
    not hangs, and nothing can be done about it but say so.
    ``heard``: when the instrument gave its last good answer (monotonic seconds); ``scans``: its scan groups.
    """

    def __init__(self, name: str, driver: Driver, listener: Listener, periods: Mapping[str, float]) -> None:
        self.deadline: float | None = None
        self.heard = 0.0
        self._name = name
        self._driver = driver
        self._listener = listener
        self._log = logging.getLogger(f"rackioc.{name}")
        self._loop = asyncio.get_running_loop()
        self._wake = threading.Condition()
        self._puts = PutQueue(self._wake, driver.undoes)
        self._schedule = Schedule(periods, driver.longest_reply)
        self.scans = tuple(self._schedule.scans)
        self._read: dict[str, list[Readings]] = {}
        self._errors = ErrorLog(name)
        self._points: tuple[Point, ...] = driver.points
        self._up = False
        self._error: DeviceError = LinkDown(f"{name} is not connected yet")
        self._retry_at = 0.0
        self._retry_after = FIRST_RETRY
        self._tried_at = self._connected_at = 0.0
        self._stopping = False
        self._retries: deque[Waiting] = deque()
        self._rereads = Rereads()
        self._thread = threading.Thread(target=self._run, name=f"port {name}", daemon=True)

    @property
    def silence(self) -> float:
        """Return the seconds without a good answer after which an instrument counts as silent."""
        return max(2.0, 2 * min((scan.period for scan in self.scans), default=0.0))

    def start(self) -> None:
        """Start the thread, which connects at once."""
        self._thread.start()

    async def close(self) -> None:
        """Stop after the transaction in progress, close the driver; waiting puts are refused.

        A put that makes things safe and is pending is tried once more.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, STOP_PATIENCE)
        if self._thread.is_alive():
            sentence = "%s: a call has not returned within %g s; its connection may stay open"
            self._log.warning(sentence, self._name, STOP_PATIENCE)

    async def retry(self) -> None:
        """Connect now (or anew), whatever the back-off says. Raises the DeviceError if that fails."""
        asked: Waiting = self._loop.create_future()
        with self._wake:
            self._retry_after = FIRST_RETRY
            self._retries.append(asked)
            self._wake.notify()
        await asked

    async def reread(self, group: str) -> None:
        """Read a scan group now instead of at its next turn; return when that is done. Raises the DeviceError."""
        reread = Reread(group, self._loop.create_future(), time.monotonic())
        with self._wake:
            self._check_up()
            self._rereads.add(reread)
            self._wake.notify()
        await reread.done

    async def write(self, point: Point, value: Value, changes: bool = True) -> None:
        """Queue a put; return when it was carried out. Raises the DeviceError that stopped it.

        ``changes`` is False if the instrument is known to have the value already. An ordinary put never waits for a
        connection: carried out long after it was asked, it would surprise. One that makes things safe does; when it
        takes too long NoReply says that it is still pending.
        """
        asked: Waiting = self._loop.create_future()
        put = Put(point, value, time.monotonic(), changes, [asked])
        with self._wake:
            if self._stopping or not put.safe:
                self._check_up()
            undone = self._puts.add(put)
        for other in undone:
            sentence = f"{other.point.name}: not sent, a later put to {point.name} that makes it safe overtook it"
            self._complete(other, Refused(sentence))
        if put.safe:
            self._listener.pending(point)
        await asyncio.wait({asked}, timeout=PATIENCE if put.safe else None)
        if not asked.done():
            asked.cancel()  # nobody waits for it any more
            reason = self._puts.error_of(point) or self._error
            raise NoReply(f"{put.words} is pending, not shown by {self._name} within {PATIENCE:g} s: {reason}")
        asked.result()

    def is_pending(self, point: Point) -> bool:
        """Return True while a put that makes the point safe is not shown by the instrument yet."""
        return any(put.point.name == point.name for put in self._puts.pending)

    def _check_up(self) -> None:
        if self._stopping:
            raise LinkDown(f"{self._name} is being stopped")
        if not self._up:
            raise self._error

    def refuse(self, error: DeviceError) -> None:
        """Refuse the ordinary puts that wait."""
        for put in self._puts.take_waiting():
            self._complete(put, error)

    # ---- in the thread from here on ----

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception as error:  # a thread that ends would leave old values standing as true
                self._log.exception("%s: internal error in the port; connecting again", self._name)
                self._disconnect(LinkDown(f"{self._name}: internal error, {error}"))
        self._last_tries()
        self._close_driver()
        stopped = LinkDown(f"{self._name} is being stopped")
        self._refuse_all(stopped)
        for put in self._puts.pending:
            self._complete(put, stopped)
        self._answer(self._rereads.take(), stopped)
        while self._retries:
            self._answer([self._retries.popleft()], stopped)

    def _turn(self) -> None:
        now = time.monotonic()
        self._errors.sum_up()
        for reread in self._rereads.unscheduled:
            reread.scheduled = True
            self._schedule.make_due(now, reread.group)
        for undone in self._puts.take_undone():
            self._give_up(undone)
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
                self._sleep(self._next_try() - now)
        elif put := self._puts.next(now, self._schedule.ready(now)):
            self._step_put(put)
        elif scan := self._schedule.next(now):
            self._step_scan(scan)
        else:
            self._sleep(min(self._schedule.wait(now), self._puts.wait(now)))

    def _sleep(self, seconds: float) -> None:
        with self._wake:
            if not (self._stopping or self._retries or self._rereads.unscheduled) and not self._put_came():
                self._wake.wait(seconds)

    def _put_came(self) -> bool:
        """Return True if a put has come that has to be dealt with at once."""
        if self._up:
            return self._puts.wait(time.monotonic()) <= 0
        return self._next_try() <= time.monotonic()

    # ---- the connection ----

    def _next_try(self) -> float:
        """Return when to connect next: at once for a put that makes things safe and was not tried yet."""
        return 0.0 if any(not put.tried for put in self._puts.pending) else self._retry_at

    def _connect(self) -> None:
        self._tried_at = time.monotonic()
        self._notify(self._listener.link, Link.Connecting, None)
        self._write_blind()
        try:
            readings = self._guarded(self._driver.connect)
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

    def _write_blind(self) -> None:
        """Send what makes things safe and is pending: it may arrive where nothing answers."""
        for put in self._puts.pending:
            put.tried = True
            try:
                self._guarded(partial(self._driver.write_blind, put.point, put.value))
            except DeviceError as error:
                self._errors.report(f"{put.point.name} blind", error)
            else:
                self._log.warning("%s: %s was sent, though nothing answers", self._name, put.words)

    def _disconnect(self, error: DeviceError) -> None:
        self._errors.report("", error)
        # From one try to the next, however long it takes to open the connection
        began = time.monotonic() if self._up else self._tried_at
        with self._wake:
            self._up, self._error = False, error
        self._notify(self._listener.link, Link.Down, error)  # before anything that may take its time
        self._refuse_all(error)
        self._answer(self._rereads.take(), error)
        self._close_driver()
        pause = FIRST_RETRY if self._puts.pending else min(self._retry_after, self._driver.longest_retry)
        self._retry_at = max(began + pause, time.monotonic() + min(FIRST_RETRY, pause))
        self._retry_after = min(2 * self._retry_after, self._driver.longest_retry)

    def _refuse_all(self, error: DeviceError) -> None:
        """End the ordinary puts; of those that were begun it is not known what they did."""
        self.refuse(error)
        for put in self._puts.interrupt(time.monotonic()):
            self._put_failed(put, error)

    def _last_tries(self) -> None:
        """Carry out what makes things safe before the connection is closed, if it can be done soon."""
        until = time.monotonic() + LAST_TRY
        for put in self._puts.pending:
            self._log.warning("%s: stopping, while %s is pending: it is sent once more", self._name, put.words)
            try:
                if not self._up:
                    self._guarded(partial(self._driver.write_blind, put.point, put.value))
                    continue
                for step in self._driver.write(put.point, put.value):
                    if time.monotonic() > until:
                        break
                    if isinstance(step, Wait):
                        time.sleep(step.seconds)
            except Exception as error:
                self._log.warning("%s: %s", self._name, error)

    def _close_driver(self) -> None:
        try:
            self._driver.close()
        except Exception:
            self._log.exception("%s: internal error while closing", self._name)

    # ---- scans ----

    def _step_scan(self, scan: Scan) -> None:
        """Do the next step of a scan, or begin it."""
        self._puts.scan_stepped()
        began = time.monotonic()
        try:
            if scan.steps is None:
                self._read[scan.group] = []
                scan.begin(self._steps(scan.group), began)
            steps = scan.steps
            assert steps is not None
            step = self._call(lambda: next(steps, None))
        except DeviceError as error:
            self._scan_failed(scan, error)
            return
        now = time.monotonic()
        if step is None:
            self._scan_done(scan, now)
        elif isinstance(step, Wait):
            scan.stepped(now, now - began, step.seconds, heard=False)
            if isinstance(step, SafePut):
                self._make_safe(step)
        else:
            scan.stepped(now, now - began, heard=_heard(step))
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
        self._answer(self._rereads.take(scan), error)
        self._notify(self._listener.scanned, scan.group)

    # ---- puts ----

    def _step_put(self, put: Put) -> None:
        """Carry out a put to its next pause."""
        if put.steps is None and not put.safe and (refusal := refusal_of(put.point, put.asked)):
            self._puts.end(put)
            self._complete(put, refusal)
            return
        put.tried = True
        put.began = put.began if put.steps else time.monotonic()
        steps = put.steps = put.steps or self._put_steps(put)
        try:
            while (step := self._call(lambda: next(steps, None))) is not None:
                if isinstance(step, Wait):
                    put.resume = time.monotonic() + step.seconds
                    return
                put.readings.update(step)
                self._deliver(step)
        except DeviceError as error:
            self._put_failed(put, error)
            if isinstance(error, LinkDown):
                self._disconnect(error)
            return
        self._put_done(put)

    def _put_steps(self, put: Put) -> Iterator[Step]:
        yield from self._driver.write(put.point, put.value)

    def _put_done(self, put: Put) -> None:
        self._notify(self._listener.done, put.point, put.value, put.readings)
        if replaced := self._puts.replaced_by(put):
            sentence = f"{replaced.words}: given up, because {put.words} came later"
            self._end_put(replaced, Refused(sentence))
        self._end_put(put, None)

    def _put_failed(self, put: Put, error: DeviceError) -> None:
        """Tell who waits, and do what must follow: a safe put is repeated, and follows one that let voltage out."""
        if not isinstance(error, Refused):
            self._notify(self._listener.unknown, put.point, error)
        if put.safe:
            put.error, put.broke = error, isinstance(error, LinkDown)
            self._errors.report(put.point.name, error)
            self._puts.repeat(put, put.began + REPEAT)
            if isinstance(error, Refused) and not isinstance(error, NotShown):
                self._complete(put, error)
            return
        self._puts.end(put)
        self._complete(put, error)
        if not isinstance(error, Refused) and put.changes and self._driver.energizes(put.point, put.value):
            self._follow(put.point, f"{put.words} has failed", str(error))

    def _give_up(self, put: Put) -> None:
        """End a switch under way that a put which makes things safe has undone: its outcome is not known."""
        put.steps = None
        reason = f"{put.words}: given up under way, because a put that makes it safe came later"
        error = NoReply(reason)
        if not self.is_pending(put.point):
            self._put_failed(put, error)
            return
        self._log.info("%s: %s", self._name, reason)
        self._notify(self._listener.unknown, put.point, error)
        self._puts.end(put)
        self._complete(put, error)

    def _make_safe(self, wish: SafePut) -> None:
        """Put the safe value of a point for a driver, unless that is pending."""
        point = next(each for each in self._driver.points if each.name == wish.name)
        if not self.is_pending(point):
            self._follow(point, wish.what, wish.why)

    def _follow(self, point: Point, what: str, why: str) -> None:
        """Put the safe value of a point: ``what`` has happened."""
        assert point.safe is not None
        safe = Put(point, point.safe, time.monotonic())
        self._log.warning("%s: %s; %s follows by itself (%s)", self._name, what, safe.words, why)
        for other in self._puts.add(safe):
            self._complete(other, Refused(f"{other.point.name}: not sent, because {what}"))
        self._notify(self._listener.pending, point)

    def _end_put(self, put: Put, error: DeviceError | None) -> None:
        self._puts.end(put)
        if put.safe:
            self._errors.clear(put.point.name)
            self._notify(self._listener.pending, put.point)
        self._complete(put, error)

    def _end_shown(self, readings: Readings) -> None:
        """End the safe puts which the instrument shows now, though it did not confirm them when they were sent."""
        for put in self._puts.pending:
            if put.tried and put.steps is None and self._driver.shown(put.point, put.value, readings):
                self._log.info("%s: shows %s now", self._name, put.words)
                self._end_put(put, None)

    # ---- both ----

    def _call(self, action: Callable[[], T]) -> T:
        """Call the driver for one step, which hangs when it is not over by ``deadline``."""
        self.deadline = time.monotonic() + self._driver.longest_call
        try:
            return self._guarded(action)
        finally:
            self.deadline = None

    def _guarded(self, action: Callable[[], T]) -> T:
        """Call the driver; whatever it raises comes out as a DeviceError."""
        try:
            return action()
        except DeviceError:
            raise
        except Exception as error:
            if self._errors.clean:  # the first of many
                self._log.exception("%s: internal error in the driver", self._name)
            raise BadReply(f"{self._name}: internal error, {error}") from error

    def _deliver(self, readings: Readings) -> None:
        """Publish what was read; after a silence everything is read anew."""
        self._check_points()
        if readings:
            self._notify(self._listener.readings, readings, time.time())
            self._puts.note_readings(readings)
            self._end_shown(readings)
        if _heard(readings):
            now = time.monotonic()
            if now - self.heard > self.silence:
                self._schedule.make_due(now)
            self.heard = now

    def _check_points(self) -> None:
        if self._driver.points is not self._points:
            self._points = self._driver.points
            self._notify(self._listener.points, self._points)

    def _complete(self, put: Put, error: DeviceError | None) -> None:
        waiting, put.waiting = put.waiting, []
        self._answer(waiting, error)

    def _answer(self, waiting: list[Waiting], error: DeviceError | None) -> None:
        def answer() -> None:
            for each in waiting:
                if each.done():  # the client has gone
                    continue
                if error is None:
                    each.set_result(None)
                else:
                    each.set_exception(error)

        self._notify(answer)

    def _notify(self, listener: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(listener, *args)


def _heard(readings: Readings) -> bool:
    """Return True for a good answer: a value that is not INVALID, or one without a reading."""
    return not readings or any(_good(value) for value in readings.values())


def _good(value: object) -> bool:
    return not isinstance(value, Reading) or value.severity is not Severity.INVALID
