"""The serial line of a Technix generator: commands, their replies, and how they are brought into step again."""

from __future__ import annotations

import errno
import termios
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import serial

from drivers.base import BadReply, LinkDown, NoReply
from drivers.technix.points import TOP
from drivers.technix.watchdog import Watchdog

# Seconds for a whole reply, which takes 10 ms on the wire
REPLY_TIMEOUT = 0.5
# Seconds without a byte (48 characters) after which the line counts as drained
QUIET = 0.05
# Seconds after which draining a line that is never quiet ends
DRAIN_TIME = 1.0
# Bytes; what is longer and has no carriage return cannot be a reply
LONGEST_REPLY = 64

# What pyserial raises: TypeError and ValueError for a port closed underneath or a URL that it cannot read,
# NotImplementedError for a setting that the port behind a URL does not have
_PORT_ERRORS = (OSError, termios.error, TypeError, ValueError, NotImplementedError)


class Line:
    """The serial line: commands, their replies, and the way back when the two do not fit."""

    def __init__(self, url: str, watchdog: Watchdog) -> None:
        self._url = url
        self._watchdog = watchdog
        self._port: serial.Serial | None = None
        # The last commands whose replies may still be on their way. Kept when the line is opened again.
        self._unanswered: deque[str] = deque(maxlen=16)

    def open(self) -> None:
        """Open the line and discard what is in it. Raises LinkDown."""
        self.close()
        try:
            self._port = serial.serial_for_url(
                self._url,
                9600,
                timeout=QUIET,
                # pyserial's client of RFC 2217 refuses any time-out for writing; its socket has one of 5 s.
                write_timeout=None if self._url.lower().startswith("rfc2217://") else REPLY_TIMEOUT,
                exclusive=True,
                rtscts=False,
                dsrdtr=False,
            )
        except _PORT_ERRORS as error:
            raise LinkDown(f"{self._url} cannot be opened: {_reason(error)}") from error
        self._drain()

    def close(self) -> None:
        """Close the line and send nothing. Never raises."""
        port, self._port = self._port, None
        if port is not None:
            with suppress(OSError, termios.error):
                port.close()

    def ask(self, command: str) -> int:
        """Send a command and return the number in its reply (0 where there is none).

        Raises NoReply, BadReply, LinkDown. After one of these the next call first gets the line into step again: it
        asks something else, and all that arrives before the reply to that is late and discarded.
        """
        if self._unanswered:
            self._drain()
            self._exchange(self._probe(), skip=True)
            self._unanswered.clear()
        return self._exchange(command)

    def send_blind(self, command: str) -> None:
        """Send a command that makes things safe: at once, even when the line is out of step or answers nothing.

        Raises LinkDown.
        """
        with suppress(NoReply, BadReply):
            if self._unanswered:
                self._drain()
            self._exchange(command)

    def _probe(self) -> str:
        """Return the question asked in vain the longest time ago, or never: a reply to it is hardly on its way."""
        asked = {question: place for place, question in enumerate(self._unanswered)}
        return min(("E", "a1", "a2"), key=lambda question: asked.get(question, -1))

    def _exchange(self, command: str, skip: bool = False) -> int:
        self._send(command)
        deadline = time.monotonic() + REPLY_TIMEOUT
        while (number := _number(command, line := self._receive(command, deadline))) is None:
            if not skip:
                raise BadReply(f"{command} was answered with {line!r}: noise, a late reply, or a second program")
        self._unanswered.pop()
        self._watchdog.feed(time.monotonic())
        return number

    def _send(self, command: str) -> None:
        with self._wire() as port:
            stray = port.in_waiting
        if stray:
            self._drain()
        with self._wire() as port:
            self._unanswered.append(command)  # until the reply is here
            port.write(command.encode("ascii") + b"\r")

    def _receive(self, command: str, deadline: float) -> bytes:
        """Return one reply without its carriage return."""
        line = b""
        while time.monotonic() < deadline:
            with self._wire() as port:
                line += port.read(1)
            if line.endswith(b"\r"):
                return line[:-1]
            if len(line) > LONGEST_REPLY:
                raise BadReply(f"{command} was answered with noise that does not end")
        got = f"; only {line!r} was received" if line else ""
        raise NoReply(f"{command} was not answered within {REPLY_TIMEOUT:g} s{got}")

    def _drain(self) -> None:
        """Discard what comes until the line is quiet."""
        deadline = time.monotonic() + DRAIN_TIME
        with self._wire() as port:
            while port.read(64) and time.monotonic() < deadline:
                pass

    @contextmanager
    def _wire(self) -> Iterator[serial.Serial]:
        """Yield the port, and raise LinkDown for what pyserial raises."""
        if self._port is None:
            raise LinkDown(f"{self._url} is not open")
        try:
            yield self._port
        except _PORT_ERRORS as error:
            raise LinkDown(f"{self._url} is gone: {_reason(error)}") from error


def _number(command: str, line: bytes) -> int | None:
    """Return the number that a reply appends to its command, 0 if it has none; None if it is another's reply."""
    echo, tail = line[: len(command)], line[len(command) :]
    if echo != command.encode("ascii"):
        return None
    highest = {"E": 255, "a1": TOP, "a2": TOP}.get(command)
    if highest is None:
        return None if tail else 0
    return int(tail) if tail.isdigit() and len(tail) <= 4 and int(tail) <= highest else None


def _reason(error: BaseException) -> str:
    """Return why, in the system's words where there are some: pyserial repeats the URL before them."""
    cause = error.__context__ if isinstance(error.__context__, OSError) else error
    if getattr(cause, "errno", None) == errno.EAGAIN:  # from the lock that goes with exclusive=True
        return "another program uses it"
    return getattr(cause, "strerror", None) or str(cause)
