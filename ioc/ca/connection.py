"""The connection of one Channel Access client: bytes received, bytes to be sent, and clients that do not read.

Messages are read where they lie and answered in one write; updates are packed once and appended to one list a
connection. What one client asks for in one go is done in turns (``turns.py``), between which the others have theirs.
A client that does not read gets nothing more until it does, and then the newest value of each subscription: it loses
what was in between, holds up nobody, and costs no memory.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct
import termios
from collections import OrderedDict, deque
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Any, Protocol

from ioc import faults
from ioc.ca.lateness import Lateness
from ioc.ca.message import INTERNAL, PROTOCOL_VERSION, VERSION, header
from ioc.ca.network.seldom import Seldom
from ioc.ca.overtaken import Overtaken
from ioc.ca.turns import AT_ONCE, LATELY, Budget, Turns

log = logging.getLogger("rackioc.server")
# Who comes and goes, which RACKIOC_LOG=DEBUG shows
clients = logging.getLogger("rackioc.clients")

# Bytes that may wait in this process for a client to read, and bytes of answers after which it is not heard any more
WAITING = 1 << 19
ANSWERS_WAITING = 1 << 21
# Bytes that may wait for all clients together: where there are many each has its share of that
TOGETHER = 1 << 26

# Seconds that a client which is cut has to take what was said to it before
FAREWELL = 1.0

# Where a client's bytes are received: read at once, so one place does for all
_RECEIVED = bytearray(1 << 15)


class RequestError(Exception):
    """What a client sent is wrong: it is answered with an error, which has a status code (caerr.h).

    ``told``: what EPICS base tells the client in words; "": the reason; None: nothing.
    """

    def __init__(self, reason: str, status_code: int = INTERNAL, told: str | None = "") -> None:
        super().__init__(reason)
        self.status_code = status_code
        self.told = reason if told == "" else told


class BrokenProtocolError(RequestError):
    """What a client sent makes no sense; it is told so and disconnected, where EPICS base does it (camessage.c)."""


class Receiver(Protocol):
    """Who answers what a client sends."""

    def begin(self) -> None:
        """Note that the client is connected."""

    def receive(self, data: bytes, spent: Callable[[], bool], gone: bool, late: int) -> int:
        """Carry out whole messages in ``data`` until ``spent``; return how many bytes they were.

        ``gone``: the client hears no answer; only its puts are carried out. ``late``: how many bytes of ``data`` have
        waited too long. Raises BrokenProtocolError.
        """

    def owes(self) -> bool:
        """Return True if answers are still to come, because they wait for the end of a put."""

    def leave(self) -> None:
        """Let others come behind what the client put: it sends nothing more."""

    def close(self, spent: Callable[[], bool]) -> bool:
        """Forget the client, whose connection is gone, until ``spent``; return True when that is done."""


class Framed(Protocol):
    """What a client subscribed to."""

    def frame(self, packed: dict[Any, bytes]) -> bytes:
        """Return the whole message with the value of now; ``packed``: what others of this moment have in common."""

    def failed(self, error: Exception) -> bytes:
        """Return the whole message that tells the client that the value of now cannot be had."""


class Connection(asyncio.BufferedProtocol):
    """One TCP connection of a client; ``look`` is called before it is heard (``Standstill.look``).

    address   where the client is: host and port
    receiver  who answers what arrives; set before the connection is made
    out       messages that are sent with the next ``flush``
    answers   what gives further answers, which had to wait for something
    due       subscriptions of which the newest value has still to be sent
    blocked   True while nothing may be sent, because the client does not read or asked for it
    behind    True while updates must not overtake what is due: they become due themselves
    """

    transport: asyncio.Transport
    receiver: Receiver

    def __init__(self, turns: Turns, address: tuple[str, int], told: Seldom, look: Callable[[], None]) -> None:
        self.address = address
        self._log = told
        self._look = look
        self.out: list[bytes] = []
        self.answers: deque[Callable[[], None]] = deque()
        self.due: OrderedDict[Framed, None] = OrderedDict()
        self.blocked = self.behind = False
        self._turns = turns
        self._rest = b""
        self._held = self._full = False
        self._unread = self._lost = self._cut = self._waits_for_turn = self._owes = self._ended = False
        self._in_turns_until = 0.0
        self._heard = 0
        self._lateness = Lateness()
        self._overtaken = Overtaken()

    # ---- asyncio calls these ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client with the version of the protocol."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._turns.clients += 1
        self.receiver.begin()
        self._limit_waiting()
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        clients.debug("client %s:%d has connected", *self.address)
        self.out.append(header(VERSION, 0, 0, PROTOCOL_VERSION, 0, 0))
        self.flush()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return the place for what is received next."""
        return _RECEIVED

    def buffer_updated(self, nbytes: int) -> None:
        """Read what was received: at once, or in a turn if the client sent much lately."""
        if self._cut:
            return
        self._overtaken.comes(nbytes)
        data = self._rest + memoryview(_RECEIVED)[:nbytes]
        if perf_counter() < self._in_turns_until:
            self._rest, self._unread = data, True
            self._listen()
        else:
            self._receive(data, AT_ONCE)

    def eof_received(self) -> bool:
        """Let a client that sends nothing more have the answers to its puts first (True), or close the connection."""
        self._ended = True
        self.receiver.leave()
        return self._answers_come()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client, once the puts that it sent before it left are carried out."""
        self._lost = True
        self._turns.clients -= 1
        clients.debug("client %s:%d has left: %s", *self.address, exc or "it closed the connection")
        self.answers.clear()
        self.due.clear()
        self.out.clear()
        self.blocked = self.behind = True
        self.receiver.leave()
        if self._unread:
            self.want_turn()  # it had none to come if its answers waited
        else:
            self._turns.add(self._forget)  # hundreds may leave in the same turn

    def pause_writing(self) -> None:
        """Send nothing more: the client does not read."""
        self._full = True
        self._block()

    def resume_writing(self) -> None:
        """Send what became due meanwhile, and go on with what the client had sent."""
        self._full = False
        self._block()
        self.want_turn()

    # ---- the server and the conversation call these ----

    def flush(self, room: bool = True) -> None:
        """Send what is due, as much as one turn has room for, and what waits, in one write.

        What is more than that waits for the client's own turn: it must not take that of who tells of a change.
        ``room``: False if other clients have taken all of that already.
        """
        if self.answers and room:
            self._give_answers()
        if self.due and not self.blocked and not self._owes:
            self._frame_due(Budget(self.out, share=float(room)))
        if self.out:
            data = b"".join(self.out)
            self.out.clear()
            if self._cut or self.transport.is_closing():
                return
            try:
                self.transport.write(data)
            except Exception as error:  # no other client has a part in it
                faults.log_once("the sending", "the server", error)
                self.transport.abort()
        if self._ended and not self._answers_come():
            self.transport.close()

    def update(self, update: Framed) -> None:
        """Send a subscriber the newest value: with the next ``flush``, or as soon as the client takes it."""
        self.due[update] = None

    def begin(self, update: Framed, fast: bool, late: bool = False) -> None:
        """Send a subscriber its first value: at once if it is ``fast`` to frame, else behind the answers of now.

        Behind these it stands among what is due, from where it goes if the subscription is ended before. One that
        is ``late``, for it had to wait, is such an answer itself: what is put next must not come before it.
        """
        if (late and not self.blocked) or (fast and not self.behind):
            try:
                message = update.frame({})
            except Exception as error:
                message = update.failed(error)
            self.out.append(message)
        else:
            self.due[update] = None
            self.behind = True

    def hold(self, updates: bool) -> None:
        """Hold updates back (True), or send again the newest of those that were held back (False)."""
        self._held = updates
        self._block()

    def overtake(self, at: float) -> None:
        """Note that what was sent until now was asked for before what somebody else asks for ``at`` (monotonic s)."""
        self._overtaken.note(self._heard, len(self._rest), self._received(), at)

    def stood_still(self) -> None:
        """Note that the process stood still: what this client has sent until now may have waited all the time."""
        self._lateness.stood_still(self._arrived(self._rest))

    def asked(self, start: int) -> float | None:
        """Return when a message was asked for at the latest (monotonic s), None for now.

        ``start``: where it begins in what the receiver was given.
        """
        return self._overtaken.asked(self._heard + start)

    def want_turn(self) -> None:
        """Go on in a turn to come."""
        if not self._waits_for_turn:
            self._waits_for_turn = True
            self._turns.add(self.take_turn)

    def take_turn(self) -> None:
        """Go on with what the client sent, and with what is due to it."""
        self._waits_for_turn = self._owes = False
        if self._unread and not self._answers_wait():
            self._receive(self._rest)
        elif not self._lost:
            self.flush()
            self._listen()

    def drop(self, reason: str) -> None:
        """Cut the connection, once the client has what was said before; it finds its way back if it is one."""
        host, port = self.address
        self._log.warning("client %s:%d is disconnected: %s", host, port, reason, kind=f"clients at {host}")
        self.answers.clear()
        self.due.clear()
        self.flush()  # what it did wrong
        self._cut = True
        self._block()
        if self.transport.can_write_eof():
            self.transport.write_eof()  # what it still sends is not heard: with it unread, all would be lost
        asyncio.get_running_loop().call_later(FAREWELL, self.transport.abort)

    # ---- parts ----

    def _receive(self, data: bytes, share: float = 1.0) -> None:
        """Carry out what the client sent, as much as one turn has room for, and answer it."""
        self._rest = data
        self._look()
        self._rest, self._unread = b"", False
        gone = self.transport.is_closing()
        budget, began = Budget(self.out, share), thread_time()
        if self._lateness.paused:
            self._lateness.resume(self._arrived(data))
        try:
            heard = self.receiver.receive(data, budget.spent, gone, self._lateness.late(self._heard))
            self._rest = data[heard:]
            self._heard += heard
            self._unread = budget.spent() if self._rest else budget.used(began)
            if self._unread and self._rest:
                self._in_turns_until = perf_counter() + LATELY
        except BrokenProtocolError as error:
            if not gone:
                self.drop(f"it violated the Channel Access protocol ({error})")
        except Exception:
            log.exception("internal error while answering client %s:%d; it is disconnected", *self.address)
            self.transport.abort()
        self.flush()
        self._listen()

    def _give_answers(self) -> None:
        budget = Budget(self.out)
        while self.answers:  # one in any case, however busy the computer is
            try:
                self.answers.popleft()()
            except Exception as error:
                faults.log_once("a late answer", "a client", error)
            if budget.spent():
                break
        if self.answers and not self._answers_lie():
            self.want_turn()

    def _frame_due(self, budget: Budget) -> None:
        due, out = self.due, self.out
        packed: dict[Any, bytes] = {}
        while due and not budget.spent():
            update, _ = due.popitem(last=False)
            try:
                out.append(update.frame(packed))
            except Exception as error:  # a fault of one value must not cost anybody the others
                out.append(update.failed(error))
        self._owes = bool(due)
        self._block()

    def _listen(self) -> None:
        """Hear the client while what it sent is carried out and it takes the answers."""
        waits = self._answers_wait()
        if waits is not self._lateness.paused:
            change = self._lateness.pause if waits else self._lateness.resume
            change(self._arrived(self._rest))
        if waits:
            self._limit_waiting()
        if self._unread or waits:
            self.transport.pause_reading()
        else:
            self._overtaken.hears()
            self.transport.resume_reading()
        if self._unread and not waits:
            self.want_turn()
        if self._lost and not self._unread:
            self._forget()

    def _limit_waiting(self) -> None:
        """Have ``pause_writing`` called, and so ``resume_writing``, at this client's share of now.

        The share is smaller the more others have come: who has to take its answers first must be told of room for it.
        """
        self.transport.set_write_buffer_limits(high=min(WAITING, self._share()))

    def _share(self) -> int:
        return TOGETHER // max(self._turns.clients, 1)

    def _arrived(self, unheard: bytes) -> int:
        """Return how many bytes of the client have come, with those that were read and are ``unheard``."""
        return self._heard + len(unheard) + self._received()

    def _received(self) -> int:
        """Return how many bytes of the client wait in the kernel."""
        if self._lost or self.transport.is_closing():
            return 0
        number = self.transport.get_extra_info("socket").fileno()
        waiting: int = struct.unpack("i", fcntl.ioctl(number, termios.FIONREAD, bytes(4)))[0]
        return waiting

    def _forget(self) -> None:
        if self.receiver.close(Budget(self.out).spent):
            del self.receiver  # they hold each other
        else:
            self._turns.add(self._forget)

    def _answers_come(self) -> bool:
        """Return True if a client that sends nothing more has answers to come."""
        return not self._lost and not self._cut and (bool(self.answers) or self.receiver.owes())

    def _answers_wait(self) -> bool:
        """Return True if answers are to be given or taken first: what else the client sent is not read before."""
        return not self.transport.is_closing() and (bool(self.answers) or self._answers_lie())

    def _answers_lie(self) -> bool:
        """Return True if the client does not take its answers."""
        most = min(ANSWERS_WAITING, self._share())
        return not self.transport.is_closing() and self.transport.get_write_buffer_size() > most

    def _block(self) -> None:
        self.blocked = self._held or self._full or self._lost or self._cut
        self.behind = self.blocked or bool(self.due)
        if self.due and not self.blocked:
            self.want_turn()
