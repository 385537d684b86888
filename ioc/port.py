"""A port: one thread and one queue for one instrument's connection. The one place where thread and event loop meet.

Puts go before scans, in order of arrival; a put that makes things safe goes before all else. Scans that have waited
for more than their period take turns with the other puts, so that no storm of puts can starve the poll (the
generator's poll is its keep-alive), and no failing poll the puts. The thread keeps its own schedule: a busy event
loop delays what is shown, never what is asked.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from drivers.base import BadReply, DeviceError, Driver, LinkDown, NoReply, Point, Readings, Refused, Value
from ioc.scan import Scan, Schedule

# Seconds after a loss before the first try to connect again; each further pause is twice as long
FIRST_RETRY = 1.0
# Seconds without any good answer after which the link is shown as down, and after which it is opened anew
SILENCE = 2.0
GIVE_UP = 10.0
# A read that lasts longer than this many of the fastest periods (and a second) hangs
STALL_PERIODS = 1.5
# A put may take this many seconds: some are several commands, and are read back until the instrument agrees
PUT_TIME = 5.0
# A put that has waited for more than this many seconds is refused: who asked for it has given up
PUT_AGE = 10.0
# Seconds that a stop waits for a call that blocks inside a vendor's library
STOP_PATIENCE = 5.0

T = TypeVar("T")


class Link(IntEnum):
    """State of a connection, as the Conn record shows it."""

    Down = 0
    Connecting = 1
    Up = 2


class Listener(Protocol):
    """Who gets what happens on a port; always called in the event loop's thread, in order."""

    def link(self, state: Link, error: DeviceError | None) -> None:
        """Handle a change of the connection; ``error`` says why it is down."""

    def points(self, points: tuple[Point, ...]) -> None:
        """Handle a change of what the instrument has."""

    def readings(self, readings: Readings, moment: float) -> None:
        """Handle the readings of a transaction that ended at ``moment`` (seconds since 1970 UTC)."""

    def failed(self, group: str, read: frozenset[str], error: DeviceError) -> None:
        """Handle a scan that ended with an error; ``read`` are the points that it had read before."""

    def scanned(self, group: str, duration: float, overruns: int) -> None:
        """Handle the end of a scan, good or bad; ``duration`` in seconds, ``overruns`` of all groups so far."""


@dataclass(slots=True)
class _Put:
    point: Point
    value: Value
    urgent: bool
    done: asyncio.Future[Readings]
    asked: float


@dataclass(slots=True)
class _Reread:
    group: str
    done: asyncio.Future[None]
    asked: float
    scheduled: bool = False


class Port:
    """A driver in a thread of its own, with its queue of puts and its scans.

    ``periods``: scan group -> seconds, in order of importance.

    ``deadline``: when the call in progress should be over (monotonic seconds); None between calls. A call that is
    not hangs, and nothing can be done about it but say so.
    """

    def __init__(self, name: str, driver: Driver, listener: Listener, periods: Mapping[str, float]) -> None:
        self.deadline: float | None = None
        self._patience = max(1.0, STALL_PERIODS * min(periods.values(), default=1.0))
        self._name = name
        self._driver = driver
        self._listener = listener
        self._log = logging.getLogger(f"rackioc.{name}")
        self._loop = asyncio.get_running_loop()
        self._wake = threading.Condition()
        self._puts: deque[_Put] = deque()
        self._schedule = Schedule(periods)
        self._read: dict[str, list[Readings]] = {}
        self._logged: dict[str, set[str]] = {}
        self._points: tuple[Point, ...] = driver.points
        self._up = False
        self._error: DeviceError = LinkDown(f"{name} is not connected yet")
        self._retry_at = 0.0
        self._retry_after = FIRST_RETRY
        self._good_at = 0.0
        self._silent = False
        self._last_put: _Put | None = None  # since the last scan
        self._stopping = False
        self._retries: deque[asyncio.Future[None]] = deque()
        self._rereads: list[_Reread] = []
        self._thread = threading.Thread(target=self._run, name=f"port {name}", daemon=True)

    def start(self) -> None:
        """Start the thread, which connects at once."""
        self._thread.start()

    async def close(self) -> None:
        """Stop after the transaction in progress, close the driver; waiting puts are refused."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, STOP_PATIENCE)
        if self._thread.is_alive():
            sentence = "%s: a call has not returned within %g s; its connection may stay open"
            self._log.warning(sentence, self._name, STOP_PATIENCE)

    async def retry(self) -> None:
        """Connect now (or anew), whatever the back-off says. Raises the DeviceError if that fails."""
        asked: asyncio.Future[None] = self._loop.create_future()
        with self._wake:
            self._retry_after = FIRST_RETRY
            self._retries.append(asked)
            self._wake.notify()
        await asked

    async def reread(self, group: str) -> None:
        """Read a scan group now instead of at its next turn; return when that is done. Raises the DeviceError."""
        reread = _Reread(group, self._loop.create_future(), time.monotonic())
        with self._wake:
            self._check_up()
            self._rereads.append(reread)
            self._wake.notify()
        await reread.done

    async def write(self, point: Point, value: Value) -> Readings:
        """Queue a put; return what the instrument says after it. Raises the DeviceError that stopped it.

        A put never waits for a connection: carried out long after it was asked, it would surprise.
        """
        put = _Put(point, value, self._driver.urgent(point, value), self._loop.create_future(), time.monotonic())
        with self._wake:
            self._check_up()
            if put.urgent:
                self._overtake(put)
            else:
                self._puts.append(put)
            self._wake.notify()
        return await put.done

    def _check_up(self) -> None:
        if self._stopping:
            raise LinkDown(f"{self._name} is being stopped")
        if not self._up:
            raise self._error

    def refuse(self, error: DeviceError) -> None:
        """Refuse the puts that wait."""
        with self._wake:
            waiting = list(self._puts)
            self._puts.clear()
        for put in waiting:
            self._complete(put.done, error)

    def _overtake(self, put: _Put) -> None:
        """Queue a put before all that are not urgent; what would undo it must not be carried out after it."""
        undone = [each for each in self._puts if not each.urgent and self._driver.undoes(put.point, each.point)]
        for other in undone:
            self._puts.remove(other)
            sentence = f"{other.point.name}: not sent, a later put to {put.point.name} that makes it safe overtook it"
            self._complete(other.done, Refused(sentence))
        self._puts.insert(sum(other.urgent for other in self._puts), put)

    # ---- in the thread from here on ----

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception as error:  # a thread that ends would leave old values standing as true
                self._log.exception("%s: internal error in the port; connecting again", self._name)
                self._disconnect(LinkDown(f"{self._name}: internal error, {error}"))
        self._close_driver()
        stopped = LinkDown(f"{self._name} is being stopped")
        self.refuse(stopped)
        self._end_rereads(None, stopped)
        while self._retries:
            self._complete(self._retries.popleft(), stopped)

    def _turn(self) -> None:
        now = time.monotonic()
        for reread in self._waiting_rereads():
            reread.scheduled = True
            self._schedule.make_due(now, reread.group)
        if self._retries:
            if self._up:
                self._disconnect(LinkDown(f"{self._name} is connecting again, as asked by a put to Retry"))
            self._connect()
            self._complete(self._retries.popleft(), None if self._up else self._error)
        elif not self._up:
            self.refuse(self._error)
            if now >= self._retry_at:
                self._connect()
            else:
                self._sleep(self._retry_at - now)
        elif put := self._next_put(now):
            self._last_put = put
            self._carry_out(put)
        elif scan := self._schedule.next(now):
            self._step(scan)
        else:
            self._sleep(self._schedule.wait(now))

    def _next_put(self, now: float) -> _Put | None:
        """Return the put to carry out now. Puts take turns with an overdue scan; an urgent one only with its like."""
        scan_overdue = self._last_put is not None and self._schedule.overdue(now) is not None
        with self._wake:
            if not self._puts:
                return None
            overtakes = self._puts[0].urgent and not (self._last_put and self._last_put.urgent)
            return self._puts.popleft() if overtakes or not scan_overdue else None

    def _sleep(self, seconds: float) -> None:
        with self._wake:
            if not (self._puts or self._stopping or self._retries or self._waiting_rereads()):
                self._wake.wait(seconds)

    def _connect(self) -> None:
        self._notify(self._listener.link, Link.Connecting, None)
        try:
            self._driver.connect()
        except DeviceError as error:
            self._disconnect(error)
        except Exception as error:
            self._log.exception("%s: internal error while connecting", self._name)
            self._disconnect(LinkDown(f"{self._name}: internal error, {error}"))
        else:
            self._log.info("%s: connected", self._name)
            with self._wake:
                self._up = True
            self._good_at = time.monotonic()
            self._schedule.restart(self._good_at)
            self._check_points()
            self._notify(self._listener.link, Link.Up, None)

    def _disconnect(self, error: DeviceError) -> None:
        self._log_error("", error)
        with self._wake:
            self._up, self._silent, self._error = False, False, error
        self._notify(self._listener.link, Link.Down, error)  # before anything that may take its time
        self.refuse(error)
        self._end_rereads(None, error)
        self._close_driver()
        self._retry_at = time.monotonic() + self._retry_after
        self._retry_after = min(2 * self._retry_after, self._driver.longest_retry)

    def _close_driver(self) -> None:
        try:
            self._driver.close()
        except Exception:
            self._log.exception("%s: internal error while closing", self._name)

    def _step(self, scan: Scan) -> None:
        """Read the next block of a scan, or begin it."""
        self._last_put = None
        try:
            if scan.blocks is None:
                self._read[scan.group] = []
                scan.begin(self._blocks(scan.group), time.monotonic())
            blocks = scan.blocks
            assert blocks is not None
            block = self._call(lambda: next(blocks, None), self._patience)
        except DeviceError as error:
            self._scan_failed(scan, error)
            return
        scan.moved = time.monotonic()
        self._mark_alive()
        if block is None:
            self._end(scan)
            self._clear_errors(scan.group)
        else:
            self._read[scan.group].append(block)
            self._deliver(block)

    def _blocks(self, group: str) -> Iterator[Readings]:
        """Yield the driver's blocks; a ``read`` that is no generator, too, is called when the first is asked for."""
        yield from self._driver.read(group)

    def _call(self, action: Callable[[], T], patience: float) -> T:
        """Call the driver; whatever it raises comes out as a DeviceError."""
        self.deadline = time.monotonic() + patience
        try:
            return action()
        except DeviceError:
            raise
        except Exception as error:
            if not any(self._logged.values()):  # the first of many
                self._log.exception("%s: internal error in the driver", self._name)
            raise BadReply(f"{self._name}: internal error, {error}") from error
        finally:
            self.deadline = None

    def _scan_failed(self, scan: Scan, error: DeviceError) -> None:
        self._end(scan, error)
        silent = time.monotonic() - self._good_at > GIVE_UP and isinstance(error, NoReply)
        if isinstance(error, LinkDown) or silent:
            self._disconnect(error)
            return
        self._log_error(scan.group, error)
        read = frozenset(name for block in self._read[scan.group] for name in block)
        self._notify(self._listener.failed, scan.group, read, error)
        if not self._silent and time.monotonic() - self._good_at > SILENCE:
            self._silent = True
            self._notify(self._listener.link, Link.Down, error)

    def _mark_alive(self) -> None:
        """Note that the instrument answered; after a silence everything is read anew."""
        self._good_at = time.monotonic()
        if self._silent:
            self._silent = False
            self._notify(self._listener.link, Link.Up, None)
            self._schedule.make_due(self._good_at)

    def _log_error(self, where: str, error: DeviceError) -> None:
        """Log an error of a group, or of the link (""), once until that is well again; of rewordings the first."""
        key = str(error) if isinstance(error, LinkDown) else type(error).__name__
        logged = self._logged.setdefault(where, set())
        if key not in logged:
            logged.add(key)
            self._log.warning("%s: %s", self._name, error)

    def _clear_errors(self, group: str) -> None:
        """Forget the errors after a good scan: the next one is logged, and after the next loss it is tried soon."""
        self._retry_after = FIRST_RETRY
        self._logged.pop("", None)
        if self._logged.pop(group, None):
            self._log.info("%s: %s is read again without errors", self._name, group)

    def _end(self, scan: Scan, error: DeviceError | None = None) -> None:
        scan.end()
        self._end_rereads(scan, error)
        overruns = sum(each.overruns for each in self._schedule.scans)
        self._notify(self._listener.scanned, scan.group, time.monotonic() - scan.began, overruns)

    def _waiting_rereads(self) -> list[_Reread]:
        return [reread for reread in self._rereads if not reread.scheduled]

    def _end_rereads(self, scan: Scan | None, error: DeviceError | None) -> None:
        """Complete the requests for this scan that came before it began, or all (None)."""
        for reread in tuple(self._rereads):
            if scan is None or (scan.group == reread.group and scan.began >= reread.asked):
                self._rereads.remove(reread)
                self._complete(reread.done, error)

    def _carry_out(self, put: _Put) -> None:
        if time.monotonic() - put.asked > PUT_AGE and not put.urgent:
            self._complete(put.done, Refused(f"{put.point.name}: not sent, it waited for more than {PUT_AGE:g} s"))
            return
        try:
            readings = self._call(lambda: self._driver.write(put.point, put.value), PUT_TIME)
        except DeviceError as error:
            self._complete(put.done, error)
            if isinstance(error, LinkDown):
                self._disconnect(error)
            return
        self._deliver(readings)
        self._complete(put.done, readings)

    def _complete(self, done: asyncio.Future[Any], outcome: Readings | DeviceError | None) -> None:
        def answer() -> None:
            if done.done():  # the client has gone
                return
            if isinstance(outcome, DeviceError):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)

        self._notify(answer)

    def _deliver(self, readings: Readings) -> None:
        self._check_points()
        self._notify(self._listener.readings, readings, time.time())

    def _check_points(self) -> None:
        if self._driver.points is not self._points:
            self._points = self._driver.points
            self._notify(self._listener.points, self._points)

    def _notify(self, listener: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(listener, *args)
