"""libca, the Channel Access library of EPICS base, by ctypes: its callbacks become calls in the thread that polls.

libca calls back from threads of its own, one for each server. There a callback only puts what came into a queue,
which ``Context.poll`` empties in slices: nothing is missed or merged while that thread is busy for some seconds.
"""

from __future__ import annotations

import ctypes
import heapq
import logging
import os
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from epicscorelibs.ca import cadef

from archiver.ca.calls import CallQueue, Dropped, Overflow
from archiver.ca.dbr import LAYOUT
from archiver.ca.error import SessionError
from archiver.ca.standstill import Standstill

NORMAL, DISCONNECTED = cadef.ECA_NORMAL, cadef.ECA_DISCONN
VALUE, LOG, ALARM, PROPERTY = cadef.DBE_VALUE, cadef.DBE_LOG, cadef.DBE_ALARM, cadef.DBE_PROPERTY
NOT_CONNECTED = cadef.TYPENOTCONN
# Seconds, at most, from a callback to the call that it becomes.
LATENCY = 0.05
# Seconds, at most, of one slice of the calls that wait, and how many are taken from the queue at once.
SLICE = 0.05
AT_ONCE = 500
# Of ca_pend_event: as short as it can be; 0 would be for ever.
NO_WAIT = 1e-12
# The number of the handler of libca's exceptions.
EXCEPTION = 0

log = logging.getLogger(__name__)
message = cadef.ca_message

# Called for a subscription or a get with an ECA status, and if that is NORMAL with a structure (see dbr.py); for a
# subscription also with LOST and Dropped (see calls.py).
Handler = Callable[[int, Any], None]

# Called with a channel's state: the type of its field, or NOT_CONNECTED, and for how many values there is room.
ConnectionHandler = Callable[[int, int], None]

# Called with whether the server lets us read a PV, and write to it.
AccessHandler = Callable[[int, int], None]


class _Event(ctypes.Structure):
    """The structure event_handler_args of cadef.h, with a number for its user pointer: cheaper, and cannot dangle."""

    _fields_ = (
        ("number", ctypes.c_size_t),
        ("chid", ctypes.c_void_p),
        ("type", ctypes.c_long),
        ("count", ctypes.c_long),
        ("dbr", ctypes.c_void_p),
        ("status", ctypes.c_int),
    )


_event_handler = ctypes.CFUNCTYPE(None, _Event)


class _Access(ctypes.Structure):
    """The structure access_rights_handler_args of cadef.h: bit 0 of the rights is to read, bit 1 to write."""

    _fields_ = (("chid", ctypes.c_void_p), ("rights", ctypes.c_uint))


_access_handler = ctypes.CFUNCTYPE(None, _Access)


def _function(name: str, returns: Any, *arguments: Any) -> Any:
    """Return a function of libca with types of our own: those of cadef keep the types that others use them with."""
    function = cadef.libca[name]
    function.restype, function.argtypes = returns, arguments
    return function


_int, _long, _number, _pointer = ctypes.c_int, ctypes.c_long, ctypes.c_size_t, ctypes.c_void_p
_create_channel = _function(
    "ca_create_channel", _int, ctypes.c_char_p, cadef.connection_handler, _number, ctypes.c_uint, _pointer
)
_create_channel.errcheck = cadef.expect_ECA_NORMAL
_create_subscription = _function(
    "ca_create_subscription", _int, _long, _number, _pointer, _long, _event_handler, _number, _pointer
)
_get = _function("ca_array_get_callback", _int, _long, _number, _pointer, _event_handler, _number)
_put = _function("ca_array_put_callback", _int, _long, _number, _pointer, ctypes.c_char_p, _event_handler, _number)
_host_name = _function("ca_host_name", ctypes.c_char_p, _pointer)
_read_access = _function("ca_read_access", ctypes.c_uint, _pointer)
_write_access = _function("ca_write_access", ctypes.c_uint, _pointer)
_replace_access_handler = _function("ca_replace_access_rights_event", _int, _pointer, _access_handler)
_user = _function("ca_puser", _number, _pointer)
_field_type = _function("ca_field_type", ctypes.c_short, _pointer)
_element_count = _function("ca_element_count", ctypes.c_ulong, _pointer)


class Context:
    """A client context of libca. It belongs to the thread that makes it; close it before the interpreter ends."""

    def __init__(self, overflow: Overflow | None = None) -> None:
        # libca searches for an IOC that has long been away every 5 min only by default; 60 s is the least it allows.
        os.environ.setdefault("EPICS_CA_MAX_SEARCH_PERIOD", "60")
        # After ten times so many bytes without a pause libca asks the IOC to merge updates, which nobody is told of:
        # by default after 160 kB. What comes has room in the queue instead, where losses are counted and marked.
        os.environ.setdefault("EPICS_CA_MAX_ARRAY_BYTES", "100000000")
        self.queue = CallQueue(overflow=overflow)
        self.standstill = Standstill(self.queue)
        self._numbers = count(EXCEPTION + 1)
        self._handlers: dict[int, Callable[[int, Any], None]] = {EXCEPTION: self._exception}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._exceptions: set[int] = set()
        self._finished = False
        self._on_connection = cadef.connection_handler(_connection_callback(self.queue))
        self._on_event = _event_handler(_event_callback(self.queue))
        self._on_put = _event_handler(lambda event: self.queue.put(event.number, event.status, b""))
        self._access_numbers: dict[int, int] = {}
        self._on_access = _access_handler(_access_callback(self.queue, self._access_numbers))
        self._on_exception = cadef.exception_handler(_exception_callback(self.queue))
        cadef.ca_context_create(1)
        cadef.ca_add_exception_event(self._on_exception, None)

    def channel(self, pv: str, handler: ConnectionHandler) -> ClientChannel:
        """Create a channel, which libca searches for until ``close``.

        ``handler`` is called with each connection and disconnection. Raises SessionError for what cannot be a name:
        nothing, or more than fits into a datagram.
        """
        chid = ctypes.c_void_p()
        number = self.register(handler)
        try:
            _create_channel(pv.encode(), self._on_connection, number, 0, ctypes.byref(chid))
        except cadef.CAException as error:
            name = pv[:60]
            raise SessionError(f"{name!r} is not the name of a PV") from error
        return ClientChannel(self, chid, number)

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call a function once after so many seconds, in ``poll``."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), call))

    def poll(self, seconds: float, has_room: Callable[[], bool] = lambda: True) -> None:
        """Call the handlers and timers that are due, for so many seconds; no handlers while ``has_room`` is false."""
        end = time.monotonic() + seconds
        while (remaining := end - time.monotonic()) > 0:
            busy = len(self.queue) and has_room()
            cadef.ca_pend_event(NO_WAIT if busy else min(LATENCY, remaining))
            self._handle_some(has_room)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()

    def finish(self, has_room: Callable[[], bool] = lambda: True) -> float:
        """Handle what has come so far, as soon as there is room, and nothing any more.

        Return until when all was handled (s since 1970): what comes until the channels are disconnected is not.
        """
        end, over = time.time(), threading.Event()
        self.queue.put(self.register(lambda *_: over.set()), 0, b"")
        while len(self.queue) and not over.is_set():  # not by their times: the clock may have been set back
            if not has_room():
                time.sleep(LATENCY)
            self._handle_some(has_room)
        self._finished = True
        return end

    def close(self) -> None:
        """Handle what has come, unless that is finished, and disconnect all channels.

        libca waits until each IOC has closed its side: 30 s for one that stands still or cannot be reached any more.
        """
        if not self._finished:
            self.finish()
        cadef.ca_context_destroy()

    def register(self, handler: Callable[[int, Any], None]) -> int:
        """Return a number under which libca's callbacks find the handler."""
        number = next(self._numbers)
        self._handlers[number] = handler
        return number

    def unregister(self, number: int) -> Dropped | None:
        """Remove a handler; events that still come for it are discarded. Return what was dropped before."""
        self._handlers.pop(number, None)
        return self.queue.end(number)

    def subscribe(self, chid: ctypes.c_void_p, number: int, dbr_type: int, size: int, mask: int) -> ctypes.c_void_p:
        """Call ca_create_subscription; an error is passed to the handler. Return the event id."""
        evid = ctypes.c_void_p()
        if mask != PROPERTY:
            self.queue.droppable.add(number)
        status = _create_subscription(dbr_type, size, chid, mask, self._on_event, number, ctypes.byref(evid))
        if status != NORMAL:
            self.queue.put(number, status, b"")
        return evid

    def watch_access(self, chid: ctypes.c_void_p, handler: AccessHandler) -> int:
        """Call ca_replace_access_rights_event, once a channel. Return the handler's number."""
        number = self.register(handler)
        self._access_numbers[chid.value or 0] = number
        _replace_access_handler(chid, self._on_access)
        return number

    def unwatch_access(self, chid: ctypes.c_void_p, number: int) -> None:
        """Forget who is told of the access rights of a channel that is to be cleared."""
        self._access_numbers.pop(chid.value or 0, None)
        self.unregister(number)

    def get(self, chid: ctypes.c_void_p, number: int, dbr_type: int, size: int) -> None:
        """Call ca_array_get_callback; an error is passed to the handler."""
        status = _get(dbr_type, size, chid, self._on_event, number)
        if status != NORMAL:
            self.queue.put(number, status, b"")

    def put(self, chid: ctypes.c_void_p, number: int, dbr_type: int, size: int, data: bytes) -> None:
        """Call ca_array_put_callback; an error is passed to the handler."""
        status = _put(dbr_type, size, chid, data, self._on_put, number)
        if status != NORMAL:
            self.queue.put(number, status, b"")

    def _handle_some(self, has_room: Callable[[], bool]) -> None:
        """Handle the calls that wait, but no longer than SLICE: there is other work, such as telling the state."""
        self.standstill.look()
        handlers, end = self._handlers, time.monotonic() + SLICE
        while has_room() and time.monotonic() < end and (calls := self.queue.take(AT_ONCE)):
            for number, first, second, _ in calls:
                if handler := handlers.get(number):
                    handler(first, second)

    def _exception(self, status: int, context: str) -> None:
        if status not in self._exceptions:
            self._exceptions.add(status)
            log.warning("Channel Access: %s (%s); further ones of this kind are not logged", message(status), context)


class ClientChannel:
    """The channel of one PV (chid), with its subscriptions."""

    def __init__(self, context: Context, chid: ctypes.c_void_p, number: int) -> None:
        self._context = context
        self._number = number
        self._chid = chid
        self._subscriptions: list[tuple[int, ctypes.c_void_p]] = []
        self._access_number: int | None = None

    @property
    def host(self) -> str:
        """Return the address and port of the server that the channel is connected to."""
        return bytes(_host_name(self._chid)).decode(errors="replace")

    @property
    def access(self) -> tuple[bool, bool]:
        """Return whether the server lets us read the PV, and write to it."""
        return bool(_read_access(self._chid)), bool(_write_access(self._chid))

    def watch_access(self, handler: AccessHandler) -> None:
        """Call a handler with the access rights, now if they are known, and when they change."""
        self._access_number = self._context.watch_access(self._chid, handler)

    def get(self, dbr_type: int, size: int, handler: Handler) -> None:
        """Read the PV; the handler is called once. ``size``: how many values, 0 for all that there are."""
        self._context.get(self._chid, self._once(handler), dbr_type, size)

    def put(self, dbr_type: int, size: int, data: bytes, handler: Handler) -> None:
        """Write ``size`` values to the PV; the handler is called once, when the server has processed the put."""
        self._context.put(self._chid, self._once(handler), dbr_type, size, data)

    def _once(self, handler: Handler) -> int:
        """Return the number of a handler that is called once."""

        def receive(status: int, data: bytes) -> None:
            self._context.unregister(number)
            handler(status, data)

        number = self._context.register(receive)
        return number

    def subscribe(self, dbr_type: int, size: int, mask: int, handler: Handler) -> None:
        """Subscribe to the PV with an event mask; the handler is called with each update."""
        number = self._context.register(handler)
        evid = self._context.subscribe(self._chid, number, dbr_type, size, mask)
        self._subscriptions.append((number, evid))

    def close(self) -> None:
        """Clear the channel with its subscriptions; no handler is called any more."""
        self.unregister_handlers()
        self._context.unregister(self._number)
        if self._access_number is not None:
            self._context.unwatch_access(self._chid, self._access_number)
        cadef.ca_clear_channel(self._chid)

    def unregister_handlers(self) -> list[Dropped]:
        """Discard the events of all subscriptions that there are; return what was dropped of them before."""
        ended = [self._context.unregister(number) for number, _ in self._subscriptions]
        return [dropped for dropped in ended if dropped]

    def unsubscribe(self) -> None:
        """Clear all subscriptions. On a connected channel only: else libca could wait until the IOC comes back."""
        self.unregister_handlers()
        for _, evid in self._subscriptions:
            if evid:
                cadef.ca_clear_subscription(evid)
        self._subscriptions.clear()


def _event_callback(queue: CallQueue) -> Callable[[_Event], None]:
    put, layout, string_at = queue.put, LAYOUT, ctypes.string_at

    def callback(event: _Event) -> None:
        if event.status == NORMAL:
            head, width = layout[event.type]
            put(event.number, NORMAL, string_at(event.dbr, head + event.count * width))
        else:
            put(event.number, event.status, b"")

    return callback


def _access_callback(queue: CallQueue, numbers: dict[int, int]) -> Callable[[_Access], None]:
    def callback(access: _Access) -> None:
        if number := numbers.get(access.chid):
            queue.put(number, access.rights & 1, access.rights >> 1 & 1)

    return callback


def _connection_callback(queue: CallQueue) -> Callable[[Any], None]:
    """Return the callback, which also keeps Python's state of libca's thread from connection to disconnection.

    By itself ctypes makes a state for each callback and drops it afterwards: five times the cost of an update.
    """
    thread = threading.local()

    def callback(connection: Any) -> None:
        chid, number = connection.chid, _user(connection.chid)
        if connection.op == cadef.CA_OP_CONN_UP:
            if not hasattr(thread, "state"):
                thread.state = ctypes.pythonapi.PyGILState_Ensure()
            queue.put(number, _field_type(chid), _element_count(chid))
        else:
            if hasattr(thread, "state"):
                ctypes.pythonapi.PyGILState_Release(thread.state)
                del thread.state
            queue.put(number, NOT_CONNECTED, 0)

    return callback


def _exception_callback(queue: CallQueue) -> Callable[[Any], None]:
    def callback(exception: Any) -> None:
        queue.put(EXCEPTION, exception.stat, (exception.ctx or b"").decode(errors="replace"))

    return callback
