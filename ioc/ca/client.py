"""One Channel Access client: its TCP conversation, its channels, its subscriptions.

Messages are read where they lie and answered in one write; updates are packed once and appended to one list a client.
A client that does not read gets nothing more until it does, and then the newest value of each subscription: it loses
what was in between, holds up nobody, and costs no memory.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from drivers.base import Array, DeviceError
from ioc.ca import dbr
from ioc.ca.message import (
    ACCESS_RIGHTS,
    BAD_COUNT,
    BAD_TYPE,
    CLEAR_CHANNEL,
    CLIENT_NAME,
    CREATE_CHAN,
    CREATE_CHAN_FAIL,
    ECHO,
    ERROR,
    EVENT_ADD,
    EVENT_CANCEL,
    EVENTS_OFF,
    EVENTS_ON,
    HEADER,
    HOST_NAME,
    LARGE,
    NO_WRITE_ACCESS,
    NORMAL,
    PROTOCOL_VERSION,
    PUT_FAIL,
    READ,
    READ_NOTIFY,
    READ_SYNC,
    SEARCH,
    SERVER_DISCONNECT,
    VERSION,
    WRITE,
    WRITE_NOTIFY,
    header,
    reply,
)
from ioc.ca.view import View

log = logging.getLogger("rackioc.server")

# Bytes that may wait in this process for a client to read, and bytes of answers after which it is not heard any more
WAITING = 1 << 19
ANSWERS_WAITING = 1 << 23
# Bytes of an answer after which that is looked at
LARGE_ANSWER = 1 << 12
# No client has reason to send more at once: nothing that can be set is large
LARGEST_MESSAGE = 1 << 16
# Seconds that a read waits for the put without callback before it, so that ``caput`` shows the new value
PUT_PATIENCE = 0.3

_MASK = struct.Struct(">12xH")


class BrokenProtocolError(Exception):
    """What a client sent makes no sense; it is disconnected."""


class Names(Protocol):
    """Where channels come from."""

    def find(self, name: bytes) -> View | None:
        """What a name stands for."""

    def search_answer(self, cid: int) -> bytes:
        """The answer to a search for a name that is served."""

    def watch(self, subscription: Subscription) -> None:
        """Updates go to this subscription from now on."""

    def unwatch(self, subscription: Subscription) -> None:
        """They do not any more."""

    def gone(self, client: Client) -> None:
        """The client has left."""


class Channel:
    """A name that a client is connected to."""

    __slots__ = ("cid", "putting", "sid", "subscriptions", "view")

    def __init__(self, sid: int, cid: int, view: View) -> None:
        self.sid = sid
        self.cid = cid
        self.view = view
        self.subscriptions: dict[int, Subscription] | None = None
        self.putting: asyncio.Task[None] | None = None


class Subscription:
    """A client's wish to be told. ``fast`` ones, nearly all, ask for a double with its time: ``head`` begins them."""

    __slots__ = ("client", "count", "dbr", "fast", "head", "id", "last", "mask", "view")

    def __init__(self, client: Client, view: View, dbr_type: int, count: int, mask: int, number: int) -> None:
        self.client = client
        self.view = view
        self.dbr = dbr_type
        self.count = count
        self.mask = mask
        self.id = number
        self.last: Any = ()
        self.fast = dbr_type == dbr.TIME_DOUBLE and count <= 1 and view.scalar_double
        self.head = HEADER.pack(EVENT_ADD, dbr.TIME_DOUBLE_SIZE, dbr_type, 1, NORMAL, number) if self.fast else b""

    def passes(self, mask: int) -> bool:
        """True if a change is to be told, as far as a filter of the name is concerned."""
        if not self.view.passes(self.last, mask):
            return False
        self.last = self.view.values()
        return True

    def frame(self) -> bytes:
        """The whole message with what the view shows now."""
        if self.fast:
            record = self.view.record
            return self.head + dbr.time_double(record.stat, record.sevr, *dbr.stamp(record.time), record.val)
        return reply(EVENT_ADD, self.dbr, self.count, self.id, self.view)


# Where a client's bytes are received: read at once, so one place does for all. Not larger, for others want a turn
_RECEIVED = bytearray(1 << 15)


class Client(asyncio.BufferedProtocol):
    """One connection. ``blocked`` is True while nothing may be sent to it; ``dirty`` then says what it misses."""

    transport: asyncio.Transport

    def __init__(self, names: Names) -> None:
        self.names = names
        self.out: list[bytes] = []
        self.dirty: dict[Subscription, None] = {}
        self.blocked = False
        self.channels: dict[int, Channel] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._next_sid = 1
        self._rest = b""
        self._events_off = self._full = False
        self._reading = True
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- the connection (asyncio calls these) ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=WAITING)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.address = transport.get_extra_info("peername")[:2]
        self._send(header(VERSION, 0, 0, PROTOCOL_VERSION, 0, 0))
        self.flush()

    def get_buffer(self, sizehint: int) -> bytearray:
        return _RECEIVED

    def buffer_updated(self, nbytes: int) -> None:
        self._take(self._rest + memoryview(_RECEIVED)[:nbytes])

    def _take(self, data: bytes) -> None:
        try:
            self._rest = data[self._parse(data) :]
        except BrokenProtocolError as error:
            self.drop(f"does not speak Channel Access ({error})")
            return
        except Exception:
            log.exception("internal error while answering %s:%d", *self.address)
            self.transport.abort()
            return
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        for subscription in self._subscriptions.values():
            self.names.unwatch(subscription)
        self._subscriptions.clear()
        self.channels.clear()
        self.dirty.clear()
        self.out.clear()
        self.blocked = True
        self.names.gone(self)

    def pause_writing(self) -> None:
        self._full = True
        self._block()

    def resume_writing(self) -> None:
        self._full = False
        self._block()
        if not self._reading:
            self._reading = True
            self._take(self._rest)
            if self._reading and not self.transport.is_closing():
                self.transport.resume_reading()

    def flush(self) -> None:
        """Send what waits, in one write."""
        if self.out:
            data = b"".join(self.out)
            self.out.clear()
            if not self.transport.is_closing():
                self.transport.write(data)

    def drop(self, reason: str) -> None:
        """Cut the connection; the client finds its way back if it is one."""
        log.warning("%s:%d %s; disconnected", *self.address, reason)
        self.transport.abort()

    def update(self, subscription: Subscription) -> None:
        """Tell a subscriber the newest value, now or when it reads again."""
        if self.blocked:
            self.dirty[subscription] = None
        else:
            self.out.append(subscription.frame())

    def disconnect(self, record: object) -> None:
        """A record of another type has taken the name: its channels have to be connected anew."""
        for channel in [each for each in self.channels.values() if each.view.record is record]:
            self._forget(channel)
            self._send(header(SERVER_DISCONNECT, 0, 0, 0, channel.cid, 0))
        self.flush()

    def _block(self) -> None:
        blocked = self._events_off or self._full
        if blocked == self.blocked:
            return
        self.blocked = blocked
        if not blocked:
            missed, self.dirty = self.dirty, {}
            self.out += [subscription.frame() for subscription in missed]
            self.flush()

    # ---- messages ----

    def _parse(self, data: bytes) -> int:
        """Carry out the whole messages in ``data``; returns how many bytes they were."""
        at, end = 0, len(data)
        while end - at >= HEADER.size:
            command, length, data_type, count, first, second = HEADER.unpack_from(data, at)
            begin = at + HEADER.size
            if length == 0xFFFF and count == 0:
                if end - begin < LARGE.size:
                    break
                length, count = LARGE.unpack_from(data, begin)
                begin += LARGE.size
            handle = _HANDLERS.get(command)
            if handle is None:
                raise BrokenProtocolError(f"command {command}")
            if length > LARGEST_MESSAGE:
                raise BrokenProtocolError(f"a message of {length} bytes")
            if end - begin < length:
                break
            handle(self, data_type, count, first, second, data[begin : begin + length])
            at = begin + length
            if self.out and len(self.out[-1]) > LARGE_ANSWER and self._answers_wait():
                break
        return at

    def _answers_wait(self) -> bool:
        """True if the client does not take its answers: what else it asks for is not heard until it does."""
        self.flush()
        if self.transport.get_write_buffer_size() > ANSWERS_WAITING:
            self._reading = False
            self.transport.pause_reading()
        return not self._reading

    def _send(self, *parts: bytes) -> None:
        self.out += parts

    def _pass_over(self, _type: int, _count: int, _first: int, _second: int, _payload: bytes) -> None:
        """Nothing depends on the version (answers to all since 2001 are the same) or on who a client says it is."""

    def _echo(self, data_type: int, count: int, first: int, second: int, payload: bytes) -> None:
        self._send(header(ECHO, len(payload), data_type, count, first, second), payload)

    def _search(self, _type: int, _count: int, cid: int, _second: int, payload: bytes) -> None:
        if self.names.find(payload.partition(b"\0")[0]) is not None:
            self._send(self.names.search_answer(cid))

    def _create(self, _type: int, _count: int, cid: int, version: int, payload: bytes) -> None:
        name = payload.partition(b"\0")[0]
        view = self.names.find(name)
        if view is not None:
            sid, self._next_sid = self._next_sid, self._next_sid + 1
            self.channels[sid] = Channel(sid, cid, view)
            rights = HEADER.pack(ACCESS_RIGHTS, 0, 0, 0, cid, 3 if view.writable else 1)
            self._send(rights, header(CREATE_CHAN, 0, view.native, view.count, cid, sid))
            return
        self._send(header(CREATE_CHAN_FAIL, 0, 0, 0, cid, 0))

    def _clear(self, data_type: int, count: int, sid: int, cid: int, _payload: bytes) -> None:
        self._forget(self._channel(sid))
        self._send(header(CLEAR_CHANNEL, 0, data_type, count, sid, cid))

    def _read_notify(self, dbr_type: int, count: int, sid: int, ioid: int, _payload: bytes) -> None:
        channel = self._readable(sid, dbr_type)
        count = min(count, channel.view.most(dbr_type))
        self._after_put(channel, lambda: reply(READ_NOTIFY, dbr_type, count, ioid, channel.view))

    def _read(self, dbr_type: int, count: int, sid: int, ioid: int, _payload: bytes) -> None:
        """The way of old clients: the channel's number instead of a status."""
        channel = self._readable(sid, dbr_type)
        count = min(count, channel.view.most(dbr_type))
        self._after_put(channel, lambda: reply(READ, dbr_type, count, ioid, channel.view, channel.cid))

    def _event_add(self, dbr_type: int, count: int, sid: int, number: int, payload: bytes) -> None:
        channel = self._readable(sid, dbr_type)
        if number in self._subscriptions or len(payload) < _MASK.size:
            raise BrokenProtocolError("a subscription without a mask, or a second one with its number")
        (mask,) = _MASK.unpack_from(payload)
        count = min(count, channel.view.most(dbr_type))
        subscription = Subscription(self, channel.view, dbr_type, count, mask, number)
        if channel.subscriptions is None:
            channel.subscriptions = {}
        channel.subscriptions[number] = self._subscriptions[number] = subscription
        self.names.watch(subscription)
        self.update(subscription)

    def _event_cancel(self, data_type: int, count: int, sid: int, number: int, _payload: bytes) -> None:
        subscription = (self._channel(sid).subscriptions or {}).pop(number, None)
        if subscription is None:
            raise BrokenProtocolError("the end of a subscription that its channel does not have")
        del self._subscriptions[number]
        self._end(subscription)
        self._send(header(EVENT_ADD, 0, data_type, count, sid, number))

    def _events_on(self, _type: int, _count: int, _first: int, _second: int, _payload: bytes) -> None:
        self._flow(off=False)

    def _off(self, _type: int, _count: int, _first: int, _second: int, _payload: bytes) -> None:
        self._flow(off=True)

    def _flow(self, off: bool) -> None:
        self._events_off = off
        self.flush()
        self._block()

    def _write_notify(self, dbr_type: int, count: int, sid: int, ioid: int, payload: bytes) -> None:
        def answer(status: int, _reason: str) -> None:
            self._send(header(WRITE_NOTIFY, 0, dbr_type, count, status, ioid))

        self._put(self._channel(sid), dbr_type, count, payload, answer)

    def _write(self, dbr_type: int, count: int, sid: int, ioid: int, payload: bytes) -> None:
        channel = self._channel(sid)

        def answer(status: int, reason: str) -> None:
            if status != NORMAL:
                self._send_error(status, reason, channel.cid, header(WRITE, len(payload), dbr_type, count, sid, ioid))

        task = self._put(channel, dbr_type, count, payload, answer)
        if task is not None:
            channel.putting = task

    # ---- parts ----

    def _channel(self, sid: int) -> Channel:
        channel = self.channels.get(sid)
        if channel is None:
            raise BrokenProtocolError(f"channel {sid}, which does not exist")
        return channel

    def _readable(self, sid: int, dbr_type: int) -> Channel:
        if dbr_type > dbr.LAST_TYPE:
            raise BrokenProtocolError(f"data type {dbr_type}, which cannot be read")
        return self._channel(sid)

    def _forget(self, channel: Channel) -> None:
        for number, subscription in (channel.subscriptions or {}).items():
            self._subscriptions.pop(number, None)
            self._end(subscription)
        del self.channels[channel.sid]

    def _end(self, subscription: Subscription) -> None:
        self.dirty.pop(subscription, None)
        self.names.unwatch(subscription)

    def _send_error(self, status: int, reason: str, cid: int, request: bytes) -> None:
        text = reason.encode("latin-1", "replace") + b"\0"
        text += bytes(-len(text) % 8)
        self._send(header(ERROR, len(request) + len(text), 0, 0, cid, status), request, text)

    def _put(
        self, channel: Channel, dbr_type: int, count: int, payload: bytes, answer: Callable[[int, str], None]
    ) -> asyncio.Task[None] | None:
        """Begin a put; ``answer`` is called with a status and the reason when it is done."""
        view = channel.view
        try:
            waiting = _begin_put(view, dbr_type, count, payload)
        except (DeviceError, _PutError) as error:
            answer(getattr(error, "status_code", PUT_FAIL), str(error))
            return None
        if waiting is None:
            answer(NORMAL, "")
            return None
        task = asyncio.get_running_loop().create_task(self._finish(view, waiting, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _finish(self, view: View, waiting: Awaitable[None], answer: Callable[[int, str], None]) -> None:
        """Wait for the instrument; a client that has left meanwhile is not answered, but its put is carried out."""
        try:
            await waiting
        except DeviceError as error:
            answer(PUT_FAIL, str(error))
        except Exception as error:
            log.exception("put to %s failed", view.record.name)
            answer(PUT_FAIL, f"internal error, {error}")
        else:
            answer(NORMAL, "")
        self.flush()

    def _after_put(self, channel: Channel, answer: Callable[[], bytes]) -> None:
        """Answer a read; not before the client's own put without callback is done, if that is soon."""
        putting = channel.putting
        if putting is None or putting.done():
            self._send(answer())
            return

        async def wait() -> None:
            await asyncio.wait([putting], timeout=PUT_PATIENCE)
            if channel.putting is putting:
                channel.putting = None
            self._send(answer())
            self.flush()

        task = asyncio.get_running_loop().create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _PutError(Exception):
    """A put that is wrong in itself, with its status code."""

    def __init__(self, status_code: int, reason: str) -> None:
        super().__init__(reason)
        self.status_code = status_code


def _begin_put(view: View, dbr_type: int, count: int, payload: bytes) -> Awaitable[None] | None:
    name = view.record.name
    if dbr_type in {dbr.PUT_ACKT, dbr.PUT_ACKS}:
        (value,) = _decoded(name, dbr.ENUM, 1, payload)
        view.owner.acknowledge(view.record, "ACKT" if dbr_type == dbr.PUT_ACKT else "ACKS", int(value))
        return None
    if not view.writable:
        raise _PutError(NO_WRITE_ACCESS, f"{name} cannot be written")
    if dbr_type > dbr.DOUBLE:
        raise _PutError(BAD_TYPE, f"{name} cannot be written with data type {dbr_type}")
    if not 0 < count <= max(view.count, 1):
        raise _PutError(BAD_COUNT, f"{name} takes {view.count} values at most, not {count}")
    return view.put(_decoded(name, dbr_type, count, payload))


def _decoded(name: str, dbr_type: int, count: int, payload: bytes) -> Array:
    try:
        return dbr.decode(dbr_type, count, payload)
    except ValueError as error:
        raise _PutError(BAD_COUNT, f"{name}: {error}") from None


_Handler = Callable[[Client, int, int, int, int, bytes], None]
_HANDLERS: dict[int, _Handler] = {
    VERSION: Client._pass_over,
    EVENT_ADD: Client._event_add,
    EVENT_CANCEL: Client._event_cancel,
    READ: Client._read,
    WRITE: Client._write,
    SEARCH: Client._search,
    EVENTS_OFF: Client._off,
    EVENTS_ON: Client._events_on,
    READ_SYNC: Client._echo,
    CLEAR_CHANNEL: Client._clear,
    READ_NOTIFY: Client._read_notify,
    CREATE_CHAN: Client._create,
    WRITE_NOTIFY: Client._write_notify,
    CLIENT_NAME: Client._pass_over,
    HOST_NAME: Client._pass_over,
    ECHO: Client._echo,
}
