"""The conversation with one Channel Access client: what each of its messages asks for, and the answers."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import Protocol

from ioc.ca import dbr
from ioc.ca.connection import BrokenProtocolError, Connection
from ioc.ca.message import (
    ACCESS_RIGHTS,
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
    GET_FAIL,
    HEADER,
    HOST_NAME,
    LARGE,
    NORMAL,
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
from ioc.ca.puts import Puts
from ioc.ca.subscription import Channel, Subscription
from ioc.ca.view import View
from ioc.record import ALARM, LOG, PROPERTY, VALUE

log = logging.getLogger("rackioc.server")

# No client has reason to send more at once: nothing that can be set is large
LARGEST_MESSAGE = 1 << 16
# The events that a subscription can ask for (caeventmask.h): what else is set in its mask means nothing
EVENTS = VALUE | LOG | ALARM | PROPERTY
# Stands in an error message for a channel that is not known (rsrv, camessage.c)
NO_CHANNEL = 0xFFFFFFFF
# Bytes of an answer after which it is looked at whether the client takes its answers
LARGE_ANSWER = 1 << 12

_MASK = struct.Struct(">12xH")


class ChannelSource(Protocol):
    """Where channels come from (the server)."""

    def find(self, name: bytes) -> View | None:
        """Return what a name stands for; None if it is not served."""

    def search_answer(self, cid: int) -> bytes:
        """Return the answer to a search for a name that is served."""

    def subscribe(self, subscription: Subscription) -> None:
        """Send updates to this subscription from now on."""

    def unsubscribe(self, subscription: Subscription) -> None:
        """Send no updates to it any more."""

    def remove(self, connection: Connection) -> None:
        """Forget a client that has left."""


class Conversation:
    """What one client is connected and subscribed to, and how its messages are answered."""

    def __init__(self, connection: Connection, names: ChannelSource) -> None:
        self.channels: dict[int, Channel] = {}
        self._connection = connection
        self._names = names
        self._subscriptions: dict[int, Subscription] = {}
        self._next_sid = 1
        self._puts = Puts(connection.flush)

    def receive(self, data: bytes) -> int:
        """Carry out the whole messages in ``data``; return how many bytes they were. Raises BrokenProtocolError."""
        at, end, out = 0, len(data), self._connection.out
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
                raise BrokenProtocolError(f"unknown command {command}")
            if length > LARGEST_MESSAGE:
                raise BrokenProtocolError(f"message of {length} bytes, at most {LARGEST_MESSAGE} are allowed")
            if end - begin < length:
                break
            payload = data[begin : begin + length]
            try:
                handle(self, data_type, count, first, second, payload)
            except BrokenProtocolError:
                raise
            except Exception as error:  # a fault of one message must not cost the client its other channels
                log.exception("internal error in the answer to a request of client %s:%d", *self._connection.address)
                request = header(command, len(payload), data_type, count, first, second)
                self._send_error(GET_FAIL, f"internal error, {error}", self._cid(first), request)
            at = begin + length
            if out and len(out[-1]) > LARGE_ANSWER and self._connection.answers_wait():
                break
        return at

    def close(self) -> None:
        """Give up the channels and subscriptions: the connection is gone."""
        for subscription in self._subscriptions.values():
            self._names.unsubscribe(subscription)
        self._subscriptions.clear()
        self.channels.clear()
        self._names.remove(self._connection)

    def disconnect(self, record: object) -> None:
        """Disconnect the channels of a record that another one replaced: they have to be connected anew."""
        for channel in [each for each in self.channels.values() if each.view.record is record]:
            self._remove(channel)
            self._send(header(SERVER_DISCONNECT, 0, 0, 0, channel.cid, 0))
        self._connection.flush()

    # ---- messages ----

    def _pass_over(self, _type: int, _count: int, _first: int, _second: int, _payload: bytes) -> None:
        """Do nothing: no answer depends on the version (all since 2001 get the same) or on who asks."""

    def _echo(self, data_type: int, count: int, first: int, second: int, payload: bytes) -> None:
        self._send(header(ECHO, len(payload), data_type, count, first, second), payload)

    def _search(self, _type: int, _count: int, cid: int, _second: int, payload: bytes) -> None:
        if self._names.find(payload.partition(b"\0")[0]) is not None:
            self._send(self._names.search_answer(cid))

    def _create(self, _type: int, _count: int, cid: int, version: int, payload: bytes) -> None:
        view = self._names.find(payload.partition(b"\0")[0])
        if view is None:
            self._send(header(CREATE_CHAN_FAIL, 0, 0, 0, cid, 0))
            return
        sid, self._next_sid = self._next_sid, self._next_sid + 1
        self.channels[sid] = Channel(sid, cid, view)
        rights = HEADER.pack(ACCESS_RIGHTS, 0, 0, 0, cid, 3 if view.writable else 1)
        self._send(rights, header(CREATE_CHAN, 0, view.native, view.count, cid, sid))

    def _clear(self, data_type: int, count: int, sid: int, cid: int, _payload: bytes) -> None:
        self._remove(self._channel(sid))
        self._send(header(CLEAR_CHANNEL, 0, data_type, count, sid, cid))

    def _read_notify(self, dbr_type: int, count: int, sid: int, ioid: int, _payload: bytes) -> None:
        channel = self._readable(sid, dbr_type)
        count = min(count, channel.view.most(dbr_type))
        self._puts.then(channel, lambda: self._send(reply(READ_NOTIFY, dbr_type, count, ioid, channel.view)))

    def _read(self, dbr_type: int, count: int, sid: int, ioid: int, _payload: bytes) -> None:
        """Answer as old clients want it: the channel's number instead of a status."""
        channel = self._readable(sid, dbr_type)
        count = min(count, channel.view.most(dbr_type))
        self._puts.then(channel, lambda: self._send(reply(READ, dbr_type, count, ioid, channel.view, channel.cid)))

    def _event_add(self, dbr_type: int, count: int, sid: int, number: int, payload: bytes) -> None:
        channel = self._readable(sid, dbr_type)
        if number in self._subscriptions or len(payload) < _MASK.size:
            raise BrokenProtocolError("subscription without a mask, or with a number that is in use")
        mask = _MASK.unpack_from(payload)[0] & EVENTS
        count = min(count, channel.view.most(dbr_type))
        subscription = Subscription(self._connection, channel.view, dbr_type, count, mask, number)
        if channel.subscriptions is None:
            channel.subscriptions = {}
        channel.subscriptions[number] = self._subscriptions[number] = subscription
        self._names.subscribe(subscription)
        self._connection.update(subscription)

    def _event_cancel(self, data_type: int, count: int, sid: int, number: int, _payload: bytes) -> None:
        subscription = (self._channel(sid).subscriptions or {}).pop(number, None)
        if subscription is None:
            raise BrokenProtocolError("end of a subscription that the channel does not have")
        del self._subscriptions[number]
        self._unsubscribe(subscription)
        self._send(header(EVENT_ADD, 0, data_type, count, sid, number))

    def _events_on(self, _type: int, _count: int, _first: int, _second: int, _payload: bytes) -> None:
        self._connection.hold(updates=False)

    def _events_off(self, _type: int, _count: int, _first: int, _second: int, _payload: bytes) -> None:
        self._connection.hold(updates=True)

    def _write_notify(self, dbr_type: int, count: int, sid: int, ioid: int, payload: bytes) -> None:
        def answer(status: int, _reason: str) -> None:
            self._send(header(WRITE_NOTIFY, 0, dbr_type, count, status, ioid))

        self._puts.begin(self._channel(sid).view, dbr_type, count, payload, answer)

    def _write(self, dbr_type: int, count: int, sid: int, ioid: int, payload: bytes) -> None:
        channel = self._channel(sid)

        def answer(status: int, reason: str) -> None:
            if status != NORMAL:
                self._send_error(status, reason, channel.cid, header(WRITE, len(payload), dbr_type, count, sid, ioid))

        task = self._puts.begin(channel.view, dbr_type, count, payload, answer)
        if task is not None:
            channel.putting = task

    # ---- parts ----

    def _send(self, *parts: bytes) -> None:
        self._connection.out += parts

    def _send_error(self, status: int, reason: str, cid: int, request: bytes) -> None:
        text = reason.encode("latin-1", "replace") + b"\0"
        text += bytes(-len(text) % 8)
        self._send(header(ERROR, len(request) + len(text), 0, 0, cid, status), request, text)

    def _cid(self, sid: int) -> int:
        channel = self.channels.get(sid)
        return NO_CHANNEL if channel is None else channel.cid

    def _channel(self, sid: int) -> Channel:
        channel = self.channels.get(sid)
        if channel is None:
            raise BrokenProtocolError(f"unknown channel number {sid}")
        return channel

    def _readable(self, sid: int, dbr_type: int) -> Channel:
        if dbr_type > dbr.LAST_TYPE:
            raise BrokenProtocolError(f"data type {dbr_type} cannot be read")
        return self._channel(sid)

    def _remove(self, channel: Channel) -> None:
        for number, subscription in (channel.subscriptions or {}).items():
            self._subscriptions.pop(number, None)
            self._unsubscribe(subscription)
        del self.channels[channel.sid]

    def _unsubscribe(self, subscription: Subscription) -> None:
        self._connection.missed.pop(subscription, None)
        self._names.unsubscribe(subscription)


_Handler = Callable[[Conversation, int, int, int, int, bytes], None]
_HANDLERS: dict[int, _Handler] = {
    VERSION: Conversation._pass_over,
    EVENT_ADD: Conversation._event_add,
    EVENT_CANCEL: Conversation._event_cancel,
    READ: Conversation._read,
    WRITE: Conversation._write,
    SEARCH: Conversation._search,
    EVENTS_OFF: Conversation._events_off,
    EVENTS_ON: Conversation._events_on,
    READ_SYNC: Conversation._echo,
    CLEAR_CHANNEL: Conversation._clear,
    READ_NOTIFY: Conversation._read_notify,
    CREATE_CHAN: Conversation._create,
    WRITE_NOTIFY: Conversation._write_notify,
    CLIENT_NAME: Conversation._pass_over,
    HOST_NAME: Conversation._pass_over,
    ECHO: Conversation._echo,
}
