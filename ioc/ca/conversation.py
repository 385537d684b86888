"""The conversation with one Channel Access client: what each of its messages asks for, and the answers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

from ioc import faults
from ioc.ca import dbr
from ioc.ca.connection import BrokenProtocolError, Connection, RequestError
from ioc.ca.message import (
    ACCESS_RIGHTS,
    BAD_MONITOR,
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
    GET_FAIL,
    HEADER,
    HOST_NAME,
    INTERNAL,
    LARGE,
    NO_MEMORY,
    NORMAL,
    NOT_FOUND,
    PUT_FAIL,
    READ,
    READ_NOTIFY,
    READ_SYNC,
    SEARCH,
    SERVER_DISCONNECT,
    TOO_LARGE,
    VERSION,
    WRITE,
    WRITE_NOTIFY,
    failure,
    header,
    reply,
    report,
)
from ioc.ca.puts.putlog import PutLog
from ioc.ca.puts.puts import Answer, Puts, Together
from ioc.ca.subscription import Channel, Subscription
from ioc.ca.view import View
from ioc.record import ALARM, LOG, PROPERTY, VALUE, Record

# No client has reason to send more at once: nothing that can be set is large
LARGEST_MESSAGE = 1 << 16
# The events that a subscription can ask for (caeventmask.h), and all that base keeps of its mask
EVENTS = VALUE | LOG | ALARM | PROPERTY
KNOWN_EVENTS = 0xFF
# Channels of a client, and its subscriptions: each takes some hundred bytes, and a full rack has 12,000 PVs
MOST = 200_000
# Channels taken from a client that are remembered, with the records that they had: a whole crate's and some more
MOST_TAKEN = 20_000
# Stands in an error message for a channel that is not known (rsrv, camessage.c)
NO_CHANNEL = 0xFFFFFFFF

# The lowest minor version and the highest priority of a client, and the most bytes of the names it gives itself and
# its computer, with the NUL (caProto.h, camessage.c)
OLDEST_VERSION = 4
HIGHEST_PRIORITY = 99
LONGEST_NAME = 512
# A search over TCP that is answered in any case (caProto.h, DOREPLY)
ANSWER_ALWAYS = 10

_MASK = struct.Struct(">12xH")
# The answer to nearly all that create a channel: its access rights, its type, count and number
_CREATED = struct.Struct(">H6xIIHHHHII")
# What is told of a request that failed by a fault of the program
_FAULT = "internal error in rackioc, see its log"


class ChannelSource(Protocol):
    """Where channels come from (the server). ``puts``: those of all clients."""

    puts: Together

    def find(self, name: bytes) -> View | None:
        """Return what a name stands for; None if it is not served."""

    def search_answer(self, cid: int) -> bytes:
        """Return the answer to a search for a name that is served."""

    def subscribe(self, subscription: Subscription) -> None:
        """Send updates to this subscription from now on."""

    def unsubscribe(self, subscription: Subscription) -> None:
        """Send no updates to it any more."""

    def settle(self) -> None:
        """Disconnect the channels of records that others replaced: nothing is put to these any more."""

    def enter(self, connection: Connection, conversation: Conversation) -> None:
        """Note a client that is connected."""

    def remove(self, connection: Connection) -> None:
        """Forget a client that has left."""

    def overtake(self, connection: Connection) -> None:
        """Note that this client makes something safe: what has come of others was asked for before that."""


class _Unfinished(Exception):
    """A request is more than there is room for in this turn: it is gone on with in the next."""


class _Taken(RequestError):
    """A request was on its way to a channel that was taken from the client: it is passed over without a word.

    Who hears that a channel has ended waits for none of its answers (libca); one that comes all the same costs a
    client of caproto all its other channels.
    """

    def __init__(self) -> None:
        super().__init__("the channel was taken from the client", told=None)


class Conversation:
    """What one client is connected and subscribed to, and how its messages are answered."""

    def __init__(self, connection: Connection, names: ChannelSource) -> None:
        self.channels: dict[int, Channel] = {}
        self._connection = connection
        self._names = names
        self._next_sid = 1
        self._taken: dict[int, Channel] = {}  # by the server, and not cleared by the client yet
        self._subscribed = 0
        self._passing = 0
        self._start = 0
        self._late = False
        self._spent: Callable[[], bool] = lambda: False
        self._log = PutLog(connection.address[0], names.puts.held)
        self._puts = Puts(connection.flush, partial(names.overtake, connection), names.puts, self._log)

    def begin(self) -> None:
        """Note that the client is connected."""
        self._names.enter(self._connection, self)

    def receive(self, data: bytes, spent: Callable[[], bool], gone: bool, late: int) -> int:
        """Carry out whole messages in ``data`` until ``spent``; return how many bytes they were.

        ``gone``: the client hears no answer; only its puts are carried out. ``late``: of what begins in so many bytes
        no put is carried out but what makes things safe. Raises BrokenProtocolError.
        """
        self._names.settle()
        end, size, read, handler = len(data), HEADER.size, HEADER.unpack_from, _HANDLERS.get
        at = self._pass_by(0, end)
        self._spent = spent
        while end - at >= size:
            start = self._start = at
            self._late = start < late
            command, length, data_type, count, first, second = read(data, at)
            begin = at + size
            if length == 0xFFFF:
                if end - begin < LARGE.size:
                    break
                length, count = LARGE.unpack_from(data, begin)
                begin += LARGE.size
            try:
                handle = handler(command)
                if handle is None or length % 8:
                    raise _not_understood(command, length)
                if length > LARGEST_MESSAGE:
                    self._passing = length
                    at = self._pass_by(begin, end)
                    raise RequestError(f"message of {length} bytes, at most {LARGEST_MESSAGE} are taken", TOO_LARGE)
                if end - begin < length:
                    break
                at = begin + length
                if not gone or command in _PUTS:
                    handle(self, data_type, count, first, second, data[begin:at])
            except _Unfinished:
                return start
            except Exception as error:  # a fault of one message must not cost the client its other channels
                self._answer_error((command, length, data_type, count, first, second), error)
                if isinstance(error, BrokenProtocolError):
                    raise
            if spent():
                break
        return at

    def owes(self) -> bool:
        """Return True if answers are still to come, because they wait for the end of a put."""
        return self._puts.owes()

    def leave(self) -> None:
        """Let others come behind what the client put: it sends nothing more."""
        self._puts.leave()

    def close(self, spent: Callable[[], bool]) -> bool:
        """Give up channels and subscriptions, for the connection is gone, until ``spent``; return True when done."""
        self._names.remove(self._connection)
        while self.channels:
            sid, channel = self.channels.popitem()
            while (subscription := channel.take()) is not None:
                self._names.unsubscribe(subscription)
                if spent():
                    self.channels[sid] = channel
                    return False
            if spent():
                break
        return not self.channels

    def disconnect(self, records: Collection[Record]) -> None:
        """Disconnect the channels of records that others replaced: they have to be connected anew."""
        for channel in [each for each in self.channels.values() if each.view.record in records]:
            self._remove(channel)
            self._taken[channel.sid] = channel
            self._send(header(SERVER_DISCONNECT, 0, 0, 0, channel.cid, 0))
        for sid in list(self._taken)[:-MOST_TAKEN]:  # nothing can be on its way to those any more
            del self._taken[sid]
        self._connection.flush()

    # ---- messages ----

    def _version(self, priority: int, version: int, _first: int, _second: int, _payload: bytes) -> None:
        """Look only whether it can be: no answer depends on the version (all since 2001 get the same).

        Base tells one that is too old nothing before the cut.
        """
        if version < OLDEST_VERSION or priority > HIGHEST_PRIORITY:
            raise BrokenProtocolError(f"version {version} or priority {priority} that no client has", told=None)

    def _user(self, _type: int, _count: int, _first: int, _second: int, payload: bytes) -> None:
        self._log.user = self._name("user", "a very long user name was specified", payload)

    def _computer(self, _type: int, _count: int, _first: int, _second: int, payload: bytes) -> None:
        self._log.host = self._name("host", "bad (very long) host name", payload)

    def _name(self, whose: str, told: str, payload: bytes) -> str:
        """Return a name that is for the log: no answer depends on who asks. Raises RequestError."""
        if self.channels:
            ignored = f"attempts to use protocol to set {whose} name after creating first channel ignored by server"
            raise RequestError(f"the {whose} name came after the first channel", told=ignored)
        if b"\0" not in payload[:LONGEST_NAME]:
            raise BrokenProtocolError(f"the {whose} name is too long or has no end", told=told)
        return payload.partition(b"\0")[0].decode("utf-8", "replace")

    def _echo(self, data_type: int, count: int, first: int, second: int, payload: bytes) -> None:
        self._send(header(ECHO, len(payload), data_type, count, first, second), payload)

    def _read_sync(self, data_type: int, count: int, first: int, second: int, _payload: bytes) -> None:
        self._send(header(READ_SYNC, 0, data_type, count, first, second))

    def _search(self, data_type: int, count: int, cid: int, second: int, payload: bytes) -> None:
        if self._names.find(payload.partition(b"\0")[0]) is not None:
            self._send(self._names.search_answer(cid))
        elif data_type == ANSWER_ALWAYS:
            self._send(header(NOT_FOUND, 0, data_type, count, cid, second))

    def _create(self, _type: int, _count: int, cid: int, version: int, payload: bytes) -> None:
        view = self._names.find(payload.partition(b"\0")[0])
        if view is None:
            self._send(header(CREATE_CHAN_FAIL, 0, 0, 0, cid, 0))
            return
        if len(self.channels) >= MOST:
            raise BrokenProtocolError(f"more than {MOST} channels", NO_MEMORY, view.record.name)
        sid = self._next_sid
        rights, count = 3 if view.writable else 1, view.count
        if count < 0xFFFF:
            created = _CREATED.pack(ACCESS_RIGHTS, cid, rights, CREATE_CHAN, 0, view.native, count, cid, sid)
        else:
            created = HEADER.pack(ACCESS_RIGHTS, 0, 0, 0, cid, rights)
            created += header(CREATE_CHAN, 0, view.native, count, cid, sid)
        self._connection.out.append(created)
        self.channels[sid] = Channel(sid, cid, view)
        self._next_sid += 1

    def _clear(self, data_type: int, count: int, sid: int, cid: int, _payload: bytes) -> None:
        if self._taken.pop(sid, None) is not None:
            return
        channel = self._channel(sid)
        while (subscription := channel.take()) is not None:
            self._unsubscribe(subscription)
            if self._spent():
                raise _Unfinished
        del self.channels[sid]
        self._send(header(CLEAR_CHANNEL, 0, data_type, count, sid, cid))

    def _read_notify(self, dbr_type: int, count: int, sid: int, ioid: int, _payload: bytes) -> None:
        channel = self._usable(sid, dbr_type)

        def read() -> None:
            view, most = channel.view, 0
            try:
                most = min(count, view.most(dbr_type))
                self._send(reply(READ_NOTIFY, dbr_type, most, ioid, view))
            except Exception as error:
                self._send(failure(READ_NOTIFY, dbr_type, most, ioid, view, error))

        self._behind(channel, read)

    def _read(self, dbr_type: int, count: int, sid: int, ioid: int, payload: bytes) -> None:
        """Answer as old clients want it: with the channel's number instead of a status, or with an error."""
        channel = self._usable(sid, dbr_type)
        request = header(READ, len(payload), dbr_type, count, sid, ioid)

        def read() -> None:
            view = channel.view
            try:
                self._send(reply(READ, dbr_type, min(count, view.most(dbr_type)), ioid, view, channel.cid))
            except Exception as error:
                report(view, error)
                reason = f"no value in data type {dbr_type}: {view.record.name}"
                self._send_error(GET_FAIL, reason, channel.cid, request)

        self._behind(channel, read)

    def _event_add(self, dbr_type: int, count: int, sid: int, number: int, payload: bytes) -> None:
        channel = self._usable(sid, dbr_type)
        if len(payload) < _MASK.size:
            raise BrokenProtocolError("subscription without a mask")
        asked = _MASK.unpack_from(payload)[0]
        if not asked & KNOWN_EVENTS:
            told = f"subscription install into record {channel.view.record.name} failed"
            raise BrokenProtocolError("subscription to no event", NO_MEMORY, told)
        view = channel.view
        if self._subscribed >= MOST:
            raise BrokenProtocolError(f"more than {MOST} subscriptions", NO_MEMORY, view.record.name)
        count = min(count, view.most(dbr_type)) if count > 1 else count
        subscription = Subscription(self._connection, view, dbr_type, count, asked & EVENTS, number)
        before = channel.add(subscription)
        if before is not None:
            self._unsubscribe(before)
            channel.replaced += 1
        self._subscribed += 1
        connection = self._connection
        if connection.answers or self._puts.under_way(view.record):
            self._behind(channel, partial(self._begin_late, channel, subscription))
        else:
            self._names.subscribe(subscription)
            connection.begin(subscription, subscription.fast)

    def _begin_late(self, channel: Channel, subscription: Subscription) -> None:
        """Send updates from now on, unless the subscription was ended meanwhile."""
        if channel.subscription(subscription.id) is subscription:
            self._names.subscribe(subscription)
            self._connection.begin(subscription, subscription.fast, late=True)

    def _event_cancel(self, data_type: int, count: int, sid: int, number: int, _payload: bytes) -> None:
        channel = self._channel(sid)
        subscription = channel.subscription(number)
        if subscription is None and channel.replaced:
            channel.replaced -= 1  # as many ends as beginnings, of which the last took the place of the others
            self._send(header(EVENT_ADD, 0, data_type, count, sid, number))
            return
        if subscription is None:
            name = channel.view.record.name
            raise BrokenProtocolError("end of a subscription that the channel does not have", BAD_MONITOR, name)
        channel.remove(subscription)
        self._unsubscribe(subscription)
        # what it was begun with, whatever the end says
        self._send(header(EVENT_ADD, 0, subscription.dbr, subscription.count, sid, number))

    def _events_on(self, _type: int, _count: int, _first: int, _second: int, _payload: bytes) -> None:
        self._connection.hold(updates=False)

    def _events_off(self, _type: int, _count: int, _first: int, _second: int, _payload: bytes) -> None:
        self._connection.hold(updates=True)

    def _write_notify(self, dbr_type: int, count: int, sid: int, ioid: int, payload: bytes) -> None:
        def answer(status: int, _reason: str) -> None:
            if sid in self.channels:  # else nobody waits for it
                self._send(header(WRITE_NOTIFY, 0, dbr_type, count, status, ioid))

        if dbr_type > dbr.LAST_TYPE:
            answer(BAD_TYPE, "")  # before the cut
        channel = self._taken.get(sid) or self._usable(sid, dbr_type)
        self._put(channel, dbr_type, count, payload, answer, callback=True)

    def _write(self, dbr_type: int, count: int, sid: int, ioid: int, payload: bytes) -> None:
        channel = self._taken.get(sid) or self._usable(sid, dbr_type)

        def answer(status: int, reason: str) -> None:
            if status != NORMAL:
                self._send_error(status, reason, channel.cid, header(WRITE, len(payload), dbr_type, count, sid, ioid))

        self._put(channel, dbr_type, count, payload, answer, callback=False)

    # ---- parts ----

    def _put(
        self, channel: Channel, dbr_type: int, count: int, payload: bytes, answer: Answer, *, callback: bool
    ) -> None:
        if channel.sid in self._taken:
            self._puts.refuse(channel.view, dbr_type, count, payload, answer)
            return
        asked = self._connection.asked(self._start)
        late = self._late
        self._puts.begin(channel.view, dbr_type, count, payload, answer, callback=callback, late=late, asked=asked)

    def _behind(self, channel: Channel, action: Callable[[], None]) -> None:
        """Do what a client asks for when what it put to the same record before is done, behind what had to wait."""

        def act() -> None:
            if channel.sid in self.channels:  # else nobody waits for it
                action()

        def give() -> None:
            self._connection.answers.append(act)
            self._connection.want_turn()

        if self._puts.under_way(channel.view.record):
            self._puts.then(channel.view.record, give)
        elif self._connection.answers:
            give()
        else:
            action()

    def _send(self, *parts: bytes) -> None:
        self._connection.out += parts

    def _send_error(self, status: int, reason: str, cid: int, request: bytes) -> None:
        text = reason.encode("latin-1", "replace") + b"\0"
        text += bytes(-len(text) % 8)
        self._send(header(ERROR, len(request) + len(text), 0, 0, cid, status), request, text)

    def _answer_error(self, request: tuple[int, int, int, int, int, int], error: Exception) -> None:
        """Answer a request that failed with what the client waits for: by its own fault, or by one of the program."""
        command, _, data_type, count, first, second = request
        channel = self.channels.get(first) if command in _OF_A_CHANNEL else None
        cid = channel.cid if channel else first if command == SEARCH else NO_CHANNEL
        if isinstance(error, RequestError):
            if error.told is not None:
                self._send_error(error.status_code, error.told, cid, header(*request))
            return
        faults.log_once(f"request {command}", channel.view.record.name if channel else "a client", error)
        if command == CREATE_CHAN:
            self._send(header(CREATE_CHAN_FAIL, 0, 0, 0, first, 0))
        elif command == WRITE_NOTIFY:
            self._send(header(WRITE_NOTIFY, 0, data_type, count, PUT_FAIL, second))
        elif command in {READ_NOTIFY, EVENT_ADD}:
            blank = dbr.blank(data_type, 1)
            self._send(header(command, len(blank), data_type, 0, GET_FAIL, second), blank)
        else:
            status = {READ: GET_FAIL, WRITE: PUT_FAIL}.get(command, INTERNAL)
            self._send_error(status, _FAULT, cid, header(*request))

    def _pass_by(self, at: int, end: int) -> int:
        """Return where the next message begins, beyond what is left of one that is too large."""
        passed = min(self._passing, end - at)
        self._passing -= passed
        return at + passed

    def _channel(self, sid: int) -> Channel:
        channel = self.channels.get(sid)
        if channel is None:
            if sid in self._taken:
                raise _Taken
            raise BrokenProtocolError(f"unknown channel number {sid}", told="Bad Resource ID")
        return channel

    def _usable(self, sid: int, dbr_type: int) -> Channel:
        channel = self.channels.get(sid)
        if channel is None or dbr_type > dbr.LAST_TYPE:
            name = self._channel(sid).view.record.name
            raise BrokenProtocolError(f"data type {dbr_type} does not exist", BAD_TYPE, name)
        return channel

    def _remove(self, channel: Channel) -> None:
        while (subscription := channel.take()) is not None:
            self._unsubscribe(subscription)
        del self.channels[channel.sid]

    def _unsubscribe(self, subscription: Subscription) -> None:
        self._subscribed -= 1
        self._connection.due.pop(subscription, None)
        self._names.unsubscribe(subscription)


_Handler = Callable[[Conversation, int, int, int, int, bytes], None]
# Requests whose first parameter is the number of a channel here, as far as an error names it
_OF_A_CHANNEL = {EVENT_ADD, EVENT_CANCEL, READ, READ_NOTIFY, WRITE, WRITE_NOTIFY}
# What is carried out also for a client that has left
_PUTS = {WRITE, WRITE_NOTIFY}
_HANDLERS: dict[int, _Handler] = {
    VERSION: Conversation._version,
    EVENT_ADD: Conversation._event_add,
    EVENT_CANCEL: Conversation._event_cancel,
    READ: Conversation._read,
    WRITE: Conversation._write,
    SEARCH: Conversation._search,
    EVENTS_OFF: Conversation._events_off,
    EVENTS_ON: Conversation._events_on,
    READ_SYNC: Conversation._read_sync,
    CLEAR_CHANNEL: Conversation._clear,
    READ_NOTIFY: Conversation._read_notify,
    CREATE_CHAN: Conversation._create,
    WRITE_NOTIFY: Conversation._write_notify,
    CLIENT_NAME: Conversation._user,
    HOST_NAME: Conversation._computer,
    ECHO: Conversation._echo,
}


def _not_understood(command: int, length: int) -> BrokenProtocolError:
    """Return the error of a message that is none: of an unknown command, or not of whole words."""
    if command not in _HANDLERS:
        told = "invalid (damaged?) request code from TCP"
        return BrokenProtocolError(f"unknown command {command}", told=told)
    told = "CAS: Missaligned protocol rejected"
    return BrokenProtocolError(f"message of {length} bytes, which is no multiple of 8", told=told)
