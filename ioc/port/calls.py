"""Calls of a driver, one at a time, from the thread of its port: what they raise, and how long they take."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from drivers.base import BadReply, DeviceError, Driver, NoReply, Step, Wait
from ioc.port.errorlog import ErrorLog
from ioc.port.outbox import Outbox

T = TypeVar("T")


class Calls:
    """The calls of one driver. Before each, what was found out so far is sent: a call may take its time.

    ``deadline``: when the step in progress should be over (monotonic seconds); None between steps. One that is not
    hangs, and nothing can be done about it but say so.
    ``since``: when the call in progress began; None between calls.
    ``silence``: seconds without a good answer after which the instrument counts as silent.
    """

    def __init__(self, name: str, driver: Driver, outbox: Outbox, errors: ErrorLog, silence: float) -> None:
        self.deadline: float | None = None
        self.since: float | None = None
        self._name = name
        self._driver = driver
        self._outbox = outbox
        self._errors = errors
        self._silence = silence
        self._log = logging.getLogger(f"rackioc.{name}")

    def guarded(self, action: Callable[[], T]) -> T:
        """Call the driver; whatever it raises comes out as a DeviceError."""
        self._outbox.send()
        self.since = time.monotonic()
        try:
            return action()
        except DeviceError:
            raise
        except Exception as error:
            if self._errors.clean:  # the first of many
                self._log.exception("%s: internal error in the driver", self._name)
            raise BadReply(f"{self._name}: internal error, {type(error).__name__}: {error}") from error
        finally:
            self.since = None

    def next(self, steps: Iterator[Step]) -> Step | None:
        """Return the next step; None when there is none.

        What comes from a call that has hung, for ``silence`` at least, may be as old as the call: NoReply.
        """
        longest = self._driver.longest_call
        began = time.monotonic()
        self.deadline = began + longest
        try:
            step = self.guarded(lambda: next(steps, None))
        finally:
            self.deadline = None
        took = time.monotonic() - began
        if isinstance(step, Wait | None) or not step or took <= max(longest, self._silence):
            return step
        _close(steps)
        raise NoReply(f"{self._name}: a call took {took:.1f} s; what it returned may be as old and is not shown")

    def give_up(self, steps: Iterator[Step]) -> None:
        """Give up steps while the line is open: the driver may have to leave something whole."""
        try:
            self.guarded(lambda: _close(steps))
        except DeviceError as error:
            self._errors.report("", error)

    def close(self) -> None:
        """Close the driver."""
        self._outbox.send()
        self.since = time.monotonic()
        try:
            self._driver.close()
        except Exception:
            self._log.exception("%s: internal error while closing", self._name)
        finally:
            self.since = None


def _close(steps: Iterator[Step]) -> None:
    if isinstance(steps, Generator):
        steps.close()
