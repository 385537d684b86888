"""The serial line of a Technix generator: commands, their replies, and how they are brought into step again."""

from __future__ import annotations

import errno
import re
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import serial

from drivers.base import BadReply, LinkDown, NoReply
from drivers.technix import tcp
from drivers.technix.points import TOP
from drivers.technix.watchdog import Watchdog

# Seconds for a whole reply, which takes 10 ms on the wire
REPLY_TIMEOUT = 0.5
# Seconds within which the system must take a command
WRITE_TIMEOUT = 0.2
# Seconds without a byte (48 characters) after which the line counts as drained; the longest wait for one byte
QUIET = 0.05
# Seconds after which draining a line that is never quiet ends
DRAIN_TIME = 0.2
# Bytes; what is longer and has no carriage return cannot be a reply
LONGEST_REPLY = 64
# Seconds after which a reply that has not come is taken for lost, unless other late ones keep coming
LATEST = 3.5
# Seconds that a question may be old whose reply still says how things are
OLDEST = 2.0
# Seconds within which the line must open, where it is to be opened anew while the generator is to be kept on
QUICK = 0.25
# Questions that may be without a reply at a time: more of them would queue up before a slow generator, whose replies
# would come later and later
MOST_LATE = 2
# Questions in a row until two answers agree
MOST_ANSWERS = 3
# The longest that a question takes, and ``read``: getting into step, and the question itself, or once more (seconds)
LONGEST_QUESTION = DRAIN_TIME + WRITE_TIMEOUT + REPLY_TIMEOUT + 2 * QUIET
LONGEST_READ = 2 * LONGEST_QUESTION

# TCP connections of which the far end may not know that they are over, at most
MOST_ENDS = 3

_QUESTIONS = ("E", "a1", "a2")
# The end of a line that echoes a setpoint
_SETPOINT = re.compile(rb"(d[12]),\d{1,4}\Z")


@dataclass(slots=True, eq=False)
class Sent:
    """A command that was sent at ``at`` (monotonic s), and the number in its reply once that is here."""

    command: str
    at: float
    number: int | None = None


# What pyserial raises: TypeError and ValueError for a port closed underneath or a URL that it cannot read,
# NotImplementedError for a setting that the port behind a URL does not have
_PORT_ERRORS = (OSError, termios.error, TypeError, ValueError, NotImplementedError)


class Line:
    """The serial line: commands, their replies, and the way back when the two do not fit.

    sent_at        when the last command was sent (monotonic s); None before the first
    understood_at  when a command was last answered in time; before the first time: when the first one was sent
    quick          opening the line took no longer than ``QUICK``
    switched       the last command sent to each switch: "HV" (P5 and P6 belong together), "P7", "P8"
    overheard      kinds of setpoints ("d1") that somebody else has sent: an echo came that is not the last one's
    """

    def __init__(self, url: str, watchdog: Watchdog) -> None:
        self.sent_at: float | None = None
        self.understood_at: float | None = None
        self.quick = True
        self.switched: dict[str, str] = {}
        self.overheard: set[str] = set()
        self._url = url
        self._watchdog = watchdog
        self._port: serial.Serial | None = None
        # Commands whose replies may still be on their way, the oldest first. Kept when the line is opened again.
        self._unanswered: list[Sent] = []
        self._in_step = True
        self._opened = False  # just now: then one question more may be asked, for somebody may have mended the line
        self._replied_at = 0.0  # when the last reply came, late or not
        # Question -> its last answers: the one that was read, and those since then that were not confirmed
        self._answers: dict[str, list[int]] = {question: [] for question in _QUESTIONS}
        self._setpoints: dict[str, str] = {}  # the last command sent for each: "d1", "d2"
        self._late: set[str] = set()  # the kinds of commands ("P6") whose last reply came late
        self._asked_at = dict.fromkeys(_QUESTIONS, 0.0)
        # Question -> when it was asked, for each time that it may still be answered, though other replies came since
        self._open: dict[str, list[float]] = {question: [] for question in _QUESTIONS}
        self._received = b""  # of a reply that is not complete
        # Where the last TCP connections ended, of which the far end may not know that they are over
        self._ends: list[tcp.Ends] = []
        self._tries = 0  # to open the line since the last reply

    def open(self) -> None:
        """Open the line, unless it is open. Raises LinkDown."""
        if self._port is not None:
            return
        began = time.monotonic()
        self._tries += 1
        if self._tries % 2 == 0:  # not at each: to a far end that knows nothing of them it is one connection more
            self._ends = [ends for ends in self._ends if not tcp.knock(ends)]
        try:
            self._port = serial.serial_for_url(
                self._url,
                9600,
                timeout=QUIET,
                # pyserial's client of RFC 2217 refuses any time-out for writing; its socket has one of 5 s.
                write_timeout=None if self._url.lower().startswith("rfc2217://") else WRITE_TIMEOUT,
                exclusive=True,
                rtscts=False,
                dsrdtr=False,
            )
            here = tcp.limit_delivery(self._port)
        except _PORT_ERRORS as error:
            self.close()  # a far end that is busy may end the connection as soon as it has taken it
            raise LinkDown(f"{self._url} cannot be opened: {_reason(error)}") from error
        if here:
            self._ends = [*self._ends, here][-MOST_ENDS:]
        self._opened = True
        self._doubt_numbers()
        self.quick = time.monotonic() - began <= QUICK

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
        skip = False
        if not self._in_step:
            self.drain()
            probe = self._probe(command)
            skip = probe == command
            if not skip:
                self._exchange(probe, skip=True)
        return self._exchange(command, skip)

    @property
    def just_sent(self) -> bool:
        """Return True if something was sent within the time of a reply, and a little more."""
        return self.sent_at is not None and time.monotonic() - self.sent_at < 2 * REPLY_TIMEOUT

    def read(self, question: str) -> int:
        """Ask a question and return the number in its reply. Raises NoReply, BadReply, LinkDown.

        The line has no parity and the reply no checksum: where a byte is lost, "E65" comes for "E165", and fits. What
        the status shows is acted on (an HV off is over, a strike has happened): each change of it is asked for once
        more. A voltage or current moves with each reply, and is asked for again when it has more or fewer digits than
        the last, or when it is the first one over this connection, or behind a reply that failed: as many digits as
        long ago say nothing. A digit that is another one, with parity off, cannot be found out.

        After a silence that no late reply is known to outlast, what was read before it confirms nothing: a terminal
        server that stood still, or kept what came for nobody, delivers then what was true long ago.
        """
        answers = self._answers[question]
        if self.understood_at is None or time.monotonic() - self.understood_at > LATEST:
            answers.clear()
        latest = time.monotonic() + LONGEST_READ - LONGEST_QUESTION
        for _ in range(MOST_ANSWERS):
            try:
                number = self.ask(question)
            except (NoReply, BadReply):
                self._doubt_numbers()
                raise
            # By any of those before, for a bit that comes and goes is no noise; but not by one without the same byte
            confirmed = any(
                not _doubtful(question, each, number) and not any(_lacks(number, other) for other in answers[place:])
                for place, each in enumerate(answers)
            )
            if confirmed:
                answers[:] = [number]
                return number
            self._keep(question, number)
            if time.monotonic() > latest:
                break
        raise BadReply(f"{question} was answered with {number}, and not once more: noise, or it changes all the time")

    def send(self, command: str) -> Sent:
        """Send a command at once, whatever is on the line, and expect nothing. Raises LinkDown."""
        with self._wire() as port:
            self._in_step = False
            sent = Sent(command, time.monotonic())
            self._unanswered = [*filter(self._may_come, self._unanswered), sent]
            self.sent_at = sent.at
            if command.startswith("P"):
                self.switched["HV" if command[:2] in {"P5", "P6"} else command[:2]] = command
            elif command.startswith("d"):
                self._setpoints[command[:2]] = command
            if self.understood_at is None:
                self.understood_at = sent.at
            port.write(command.encode("ascii") + b"\r")
        return sent

    def await_reply(self, sent: Sent, seconds: float) -> bool:
        """Wait for the reply to a command that was sent, and discard all else; return True when it is here."""
        deadline = time.monotonic() + seconds
        while sent.number is None and time.monotonic() < deadline:
            with self._wire() as port:
                self._take(port.read(max(1, min(port.in_waiting, LONGEST_REPLY))))
        if sent.number is not None and not self._unanswered:
            self._understand(sent)
        return sent.number is not None

    def slow(self, *kinds: str) -> bool:
        """Return True if the last reply to one of these kinds of commands came late."""
        return not self._late.isdisjoint(kinds)

    def is_awaited(self, sent: Sent, seconds: float) -> bool:
        """Return True while a reply may come after such a silence; not if a later command was answered already."""
        return sent in self._unanswered and self.silence(sent) < seconds

    def silence(self, sent: Sent) -> float:
        """Return the seconds since a command was sent, or since a reply came after it: the generator may be slow."""
        return time.monotonic() - max(sent.at, self._replied_at)

    def drain(self) -> None:
        """Discard what comes until the line is quiet, but note which commands it answers."""
        deadline = time.monotonic() + DRAIN_TIME
        with self._wire() as port:
            while (data := port.read(max(1, min(port.in_waiting, LONGEST_REPLY)))) and time.monotonic() < deadline:
                self._take(data)
        self._received = b""

    def listen(self) -> None:
        """Discard what came since the last reply, as ``drain`` does; at once if there is nothing."""
        with self._wire() as port:
            stray = port.in_waiting
        if stray:
            self.drain()

    def _probe(self, command: str) -> str:
        """Return a question to get into step with: ``command``, or else the one asked the longest time ago.

        Its reply must not be one of those that may still come. Raises NoReply while too many may: then only time
        helps.
        """
        late = {sent.command for sent in self._unanswered if self._may_come(sent)} & {*_QUESTIONS}
        most, self._opened = MOST_LATE + self._opened, False
        if len(late) >= most:
            raise NoReply("the last questions were not answered: late replies are awaited before the next")
        self._unanswered = [sent for sent in self._unanswered if self._may_come(sent)]
        if command in {*_QUESTIONS} - late:
            return command
        return min({*_QUESTIONS} - late, key=lambda question: (self._asked_at[question], question))

    def _may_come(self, sent: Sent) -> bool:
        """Return True while the reply to a command may still be on its way."""
        return self.silence(sent) < LATEST

    def _exchange(self, command: str, skip: bool = False) -> int:
        now = time.monotonic()
        old = [at for at in self._open.get(command, ()) if OLDEST - REPLY_TIMEOUT < now - at < LATEST]
        # Each reply could be taken for that to the one before, which says how things were: so each time, without end
        if len(old) > 1:
            raise NoReply(f"{command} is not asked yet: late replies to those before may still come")
        self.listen()
        sent = self._ask_now(command)
        deadline = sent.at + REPLY_TIMEOUT
        while sent.number is None:
            line = self._receive(command, deadline)
            self._match(line)
            if sent.number is None and old and sent not in self._unanswered:
                # Taken for the reply to the old one, which it may be. That to a second question is not
                self._keep(command, int(line[len(command) :]))
                sent, old = self._ask_now(command), []
            elif sent.number is None and not skip:
                raise BadReply(f"{command} was answered with {line!r}: noise, a late reply, or a second program")
        self._understand(sent)
        return sent.number

    def _ask_now(self, question: str) -> Sent:
        """Send a command; of a question, note when it was asked."""
        sent = self.send(question)
        if question in self._open:
            self._asked_at[question] = sent.at
            self._open[question] = [*(at for at in self._open[question] if sent.at - at < LATEST), sent.at]
        return sent

    def _doubt_numbers(self) -> None:
        """Let the next voltage and current be asked for twice: they may have moved by a digit meanwhile."""
        for question in ("a1", "a2"):
            self._answers[question].clear()

    def _keep(self, question: str, number: int) -> None:
        """Keep an answer that is not confirmed, for or against those to come."""
        answers = self._answers[question]
        answers[:] = [*answers[1 - MOST_ANSWERS :], number]

    def _understand(self, sent: Sent) -> None:
        """Note that the line is in step, and what that says about the generator if the reply came in time."""
        self._in_step = True
        del self._ends[:-1]
        self._tries = 0
        now = time.monotonic()
        if now - sent.at <= REPLY_TIMEOUT + 2 * QUIET:
            self.understood_at = now
            self._watchdog.feed(now)

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

    def _take(self, data: bytes) -> None:
        """Match all complete lines in what was received."""
        *lines, rest = (self._received + data).split(b"\r")
        self._received = rest[-LONGEST_REPLY:]
        for line in lines:
            self._match(line)

    def _match(self, line: bytes) -> None:
        """Give a reply to the oldest command that it fits; those sent before that one will not be answered."""
        age = self._age(line)
        for place, sent in enumerate(self._unanswered):
            number = _number(sent.command, line)
            if number is None:
                continue
            self._replied_at = time.monotonic()
            if age > OLDEST:  # it says nothing but that replies come late
                self._late.add(sent.command[:2])
            else:
                sent.number = number
                # Of a command that was sent again meanwhile it is not known which of the two this answers.
                if all(other.command != sent.command for other in self._unanswered[place + 1 :]):
                    late = self._replied_at - sent.at > REPLY_TIMEOUT + 2 * QUIET
                    (self._late.add if late else self._late.discard)(sent.command[:2])
            del self._unanswered[: place + 1]
            return
        if echo := _SETPOINT.search(line):
            kind = echo[1].decode("ascii")
            if echo[0].decode("ascii") != self._setpoints.get(kind):  # else it may be the last one's, twice
                self.overheard.add(kind)

    def _age(self, line: bytes) -> float:
        """Return the seconds since the question of a reply was asked: the oldest of its kind, if in doubt.

        One that comes at once shows that those asked before are not to be answered any more.
        """
        now = time.monotonic()
        for question, asked in self._open.items():
            if asked and _number(question, line) is not None:
                age = now - asked.pop(0)
                if age <= OLDEST and asked and now - asked[-1] <= 2 * QUIET:
                    asked.clear()
                return age
        return 0.0

    @contextmanager
    def _wire(self) -> Iterator[serial.Serial]:
        """Yield the port, and raise LinkDown for what pyserial raises."""
        if self._port is None:
            raise LinkDown(f"{self._url} is not open")
        try:
            yield self._port
        except _PORT_ERRORS as error:
            raise LinkDown(f"{self._url} is gone: {_reason(error)}") from error


def _doubtful(question: str, before: int, number: int) -> bool:
    """Return True for an answer from which, after the one before, a byte may be missing."""
    return number != before if question == "E" else len(str(number)) != len(str(before))


def _lacks(number: int, other: int) -> bool:
    """Return True if an answer with ``number`` may be one with ``other`` of which a byte was lost."""
    digits = str(other)
    return len(digits) > 1 and number in {int(digits[:place] + digits[place + 1 :]) for place in range(len(digits))}


def _number(command: str, line: bytes) -> int | None:
    """Return the number that a reply appends to its command, 0 if it has none; None if it is another's reply."""
    if command.startswith("P") and line.endswith(command.encode("ascii")):  # noise before an echo says nothing
        return 0
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
