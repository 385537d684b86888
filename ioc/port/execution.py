"""The puts of one port, carried out step by step in its thread.

One that makes things safe is repeated until the instrument shows it, is sent even where nothing answers, and follows
by itself what may have let voltage out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from drivers.base import (
    DeviceError,
    Driver,
    Energizes,
    LinkDown,
    Look,
    NoReply,
    NotShown,
    Point,
    Readings,
    Refused,
    SafePut,
    Step,
    Wait,
)
from ioc.port.calls import Calls
from ioc.port.ended import end_all
from ioc.port.errorlog import ErrorLog
from ioc.port.listener import Listener
from ioc.port.putqueue import REPEAT, Put, PutQueue, refusal_of

# Seconds for what makes things safe and was not sent yet, over a connection that is given up
_LAST_SENDS = 5.0


class Execution:
    """Carries out the puts that its queue says are next.

    puts      the queue
    listener  who is told, in the event loop, through ``notify``
    deliver   publishes readings
    """

    def __init__(
        self,
        name: str,
        driver: Driver,
        puts: PutQueue,
        calls: Calls,
        errors: ErrorLog,
        listener: Listener,
        notify: Callable[..., None],
        deliver: Callable[[Readings], None],
    ) -> None:
        self._name = name
        self._driver = driver
        self._puts = puts
        self._calls = calls
        self._errors = errors
        self._listener = listener
        self._notify = notify
        self._deliver = deliver
        self._log = logging.getLogger(f"rackioc.{name}")

    def step(self, put: Put) -> None:
        """Carry out a put to its next pause. Raises the LinkDown that it failed with: the connection is gone."""
        if put.steps is None and not put.safe and (refusal := refusal_of(put.point, put.asked)):
            self._puts.end(put)
            self.complete(put, refusal)
            return
        put.tried, put.looks = True, False
        if put.steps is None:
            self._log.debug("%s: %s is put", self._name, put.words)
        put.began = put.began if put.steps else time.monotonic()
        steps = put.steps = put.steps or self._steps(put)
        try:
            while (step := self._calls.next(steps)) is not None:
                put.changes |= isinstance(step, Energizes)
                if isinstance(step, Wait):
                    put.looks = isinstance(step, Look)
                    put.resume = time.monotonic() + step.seconds
                    return
                put.readings.update(step)
                self._deliver(step)
        except DeviceError as error:
            self.fail(put, error)
            if isinstance(error, LinkDown):
                raise
            return
        self._done(put)

    def _steps(self, put: Put) -> Iterator[Step]:
        yield from self._driver.write(put.point, put.value)

    def _done(self, put: Put) -> None:
        if put.safe and put.point.command and not put.sent:  # put once more: what showed it may be of before that
            self._puts.repeat(put, put.asked)
            return
        self._notify(self._listener.done, put.point, put.value, put.readings, put.asked)
        if replaced := self._puts.replaced_by(put):
            sentence = f"{replaced.words}: given up, because {put.words} came later"
            self._end(replaced, Refused(sentence))
        self._end(put, None)

    def fail(self, put: Put, error: DeviceError) -> None:
        """Tell who waits, and do what must follow: a safe put is repeated, and follows one that let voltage out."""
        if not isinstance(error, Refused):
            self._notify(self._listener.unknown, put.point, error)
        if put.safe:
            put.error, put.broke = error, isinstance(error, LinkDown)
            self._errors.report(put.point.name, error)
            self._puts.repeat(put, put.began + REPEAT)
            if isinstance(error, Refused) and not isinstance(error, NotShown):
                self.complete(put, error)
            return
        self._puts.end(put)
        self.complete(put, error)
        if not isinstance(error, Refused) and put.changes and self._driver.energizes(put.point, put.value):
            self._follow(put.point, f"{put.words} has failed", str(error))

    def give_up(self, put: Put) -> None:
        """End a switch under way that a put which makes things safe has undone: its outcome is not known."""
        put.steps = None
        reason = f"{put.words}: given up under way, because a put that makes it safe came later"
        error = NoReply(reason)
        if not self._puts.is_pending(put.point):
            self.fail(put, error)
            return
        self._log.info("%s: %s", self._name, reason)
        self._notify(self._listener.unknown, put.point, error)
        self._puts.end(put)
        self.complete(put, error)

    def make_safe(self, wish: SafePut) -> None:
        """Put the safe value of a point for a driver, unless that is pending."""
        point = next(each for each in self._driver.points if each.name == wish.name)
        if not self._puts.is_pending(point):
            self._follow(point, wish.what, wish.why)

    def _follow(self, point: Point, what: str, why: str) -> None:
        """Put the safe value of a point: ``what`` has happened."""
        assert point.safe is not None
        safe = Put(point, point.safe, time.monotonic())
        self._log.warning("%s: %s; %s follows by itself (%s)", self._name, what, safe.words, why)
        for other in self._puts.add(safe):
            self.complete(other, Refused(f"{other.point.name}: not sent, because {what}"))
        self._notify(self._listener.pending, point)

    def _end(self, put: Put, error: DeviceError | None) -> None:
        self._puts.end(put)
        if put.safe:
            self._errors.clear(put.point.name)
            self._notify(self._listener.pending, put.point)
        self.complete(put, error)

    def end_shown(self, readings: Readings) -> None:
        """End the safe puts which the instrument shows now, before they are looked at (again) on their own."""
        for put in self._puts.pending:
            if put.sent and put.looks and self._driver.shown(put.point, put.value, readings):
                if put.steps is not None:
                    self._calls.give_up(put.steps)
                else:
                    self._log.info("%s: shows %s now", self._name, put.words)
                self._notify(self._listener.done, put.point, put.value, readings, put.asked)
                self._end(put, None)

    def write_blind(self) -> None:
        """Send what makes things safe and is pending: it may arrive where nothing answers.

        The steps of several go in turns, with those of what comes meanwhile: none waits for the end of another.
        """
        begun: list[Put] = []
        sending: list[tuple[Put, Iterator[Step]]] = []
        while True:
            for put in sorted(self._puts.pending, key=lambda put: put.tried):
                if put not in begun:
                    put.tried, put.began = True, time.monotonic()
                    begun.append(put)
                    sending.append((put, self._driver.write_blind(put.point, put.value)))
            if not sending:
                return
            sending = [(put, steps) for put, steps in sending if self._step_blind(put, steps)]

    def _step_blind(self, put: Put, steps: Iterator[Step]) -> bool:
        """Do the next step of a put that is sent blind; return False when there is none."""
        try:
            if self._calls.guarded(lambda: next(steps, None)) is not None:
                return True
        except DeviceError as error:
            self._errors.report(f"{put.point.name} blind", error)
        else:
            self._log.warning("%s: %s was sent, though there is no connection", self._name, put.words)
        return False

    def send_unsent(self) -> None:
        """Send what makes things safe and was not sent yet over a connection that is given up: it may be heard.

        It counts as not sent all the same, and goes first over the next one.
        """
        until = time.monotonic() + _LAST_SENDS
        for put in self._puts.pending:
            if put.tried or time.monotonic() > until:
                continue
            steps = self._driver.write(put.point, put.value)
            with suppress(DeviceError):
                self._calls.next(steps)
            self._calls.give_up(steps)

    def complete(self, put: Put, error: DeviceError | None) -> None:
        """Tell who waits how a put has ended; may be called from any thread."""
        self._log.debug("%s: %s: %s", self._name, put.words, error or "carried out")
        waiting, put.waiting = put.waiting, []
        if waiting:
            self._notify(end_all, waiting, error)
