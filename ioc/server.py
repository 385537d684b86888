"""The Channel Access server: which records there are, and who is told what changed in them.

caproto opens the ports, reads the environment, sends the beacons and serves names with a filter; conversations with
clients are in ``client.py``. Private parts of caproto 1.3 overridden here (tests/ioc/test_filters.py and
test_server.py hold each): ``Context.server_accept_loop``, ``_create_broadcaster_transport``,
``broadcast_beacon_loop``, ``_subscription_queue_iteration``, ``_subscription_queue_send``,
``VirtualCircuit._process_command``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any

import caproto as ca
import psutil
from caproto.asyncio import server as caproto_server
from caproto.asyncio.utils import _create_udp_socket
from caproto.server.common import DisconnectedCircuit, LoopExit

from drivers.base import DeviceError
from ioc import dbr, environment, search
from ioc.channel import channel_of
from ioc.client import Client, Filtered, Subscription
from ioc.record import ALARM, LOG, PROPERTY, VALUE, Changes, Record
from ioc.view import Owner, View, view_of

log = logging.getLogger("rackioc.server")

_SEARCHES_AT_ONCE = 64
_SEARCH_BUFFER = 1 << 22
_LARGEST_DATAGRAM = 1 << 16
_FILTER_MARKS = (b"{", b"[")
# Fields that change with an alarm, and the masks that this concerns
_ALARM_FIELDS = {"SEVR": VALUE, "ACKS": VALUE, "STAT": VALUE | ALARM, "AMSG": VALUE | ALARM}


class Server:
    """Shows records to Channel Access clients; a ``Publisher`` for the instruments, ``Names`` for the clients."""

    def __init__(self) -> None:
        environment.fill()
        self.clients: set[Client] = set()
        self._values: dict[bytes, View] = {}
        self._field_watchers: dict[Record, dict[Subscription, None]] = {}
        self._context = _Context(self)

    # ---- for the instruments ----

    def add(self, record: Record, owner: Owner) -> None:
        """Serve a record from now on; one of the same name is replaced, and its clients come back to the new one."""
        name = record.name.encode("ascii")
        before = self._values.get(name)
        self._values[name] = View(record, owner)
        if before is not None:
            self._context.forget(before.record)
            for client in tuple(self.clients):
                client.disconnect(before.record)

    def post(self, changes: Changes) -> None:
        """Send what changed to the clients that subscribed to it: each is written to once."""
        fields, filters = self._field_watchers, self._context.shown
        moment = seconds = nanoseconds = -1.0
        for record, mask in changes:
            payload = None
            for subscription in record.watchers:
                if not subscription.mask & mask:
                    continue
                client = subscription.client
                if client.blocked:
                    client.dirty[subscription] = None
                elif subscription.fast:
                    if payload is None:
                        if record.time != moment:
                            moment = record.time
                            seconds, nanoseconds = dbr.stamp(moment)
                        payload = dbr.time_double(record.stat, record.sevr, seconds, nanoseconds, record.val)
                    client.out.append(subscription.head + payload)
                else:
                    client.out.append(subscription.frame())
            if fields and record in fields and mask & (ALARM | PROPERTY):
                self._post_fields(record, mask)
            if filters:
                self._context.post(record, mask)
        for client in self.clients:
            client.flush()

    def post_field(self, record: Record, name: str, mask: int = VALUE | LOG) -> None:
        """Send a field that was set to the clients that subscribed to it."""
        for subscription in self._field_watchers.get(record, ()):
            if subscription.view.field_name == name:
                subscription.last = subscription.view.values()
                if subscription.mask & mask:
                    subscription.client.update(subscription)
        for client in self.clients:
            client.flush()

    # ---- for the process ----

    async def run(self) -> None:
        """Serve until cancelled. OSError when no port can be had."""
        try:
            await self._context.run()
        except ca.CaprotoRuntimeError as error:
            raise OSError(f"the Channel Access server cannot start: {error}") from error
        finally:
            for client in tuple(self.clients):
                client.transport.abort()

    @property
    def names(self) -> list[str]:
        """The names of all records, in the order in which they came."""
        return [view.record.name for view in tuple(self._values.values())]

    @property
    def search_port(self) -> int:
        """The UDP port on which searches are answered."""
        return int(self._context.ca_server_port)

    @property
    def port(self) -> int | None:
        """The TCP port; None until it is bound."""
        port: int | None = self._context.port
        return port

    @property
    def addresses(self) -> list[str]:
        """The addresses that the server is restricted to (EPICS_CAS_INTF_ADDR_LIST); empty: it listens everywhere."""
        return [address for address in self._context.interfaces if address != "0.0.0.0"]

    @property
    def load(self) -> tuple[int, int, int]:
        """(clients, channels, records) at the moment."""
        clients = tuple(self.clients)
        return len(clients), sum(len(client.channels) for client in clients), len(self._values)

    # ---- for the clients ----

    def find(self, name: bytes) -> View | None:
        """What a name stands for; None if nothing, or a name with a filter."""
        value = self._values.get(name)
        if value is not None:
            return value
        record, dot, field = name.partition(b".")
        value = self._values.get(record) if dot else None
        if value is None:
            return None
        try:
            return view_of(value, field.decode("latin-1"))
        except KeyError:
            return None

    def known(self, name: bytes) -> bool:
        """True if a name is served, with or without a filter."""
        return name in self._values or self.find(name) is not None or self._context.knows(name)

    def search_answer(self, cid: int) -> bytes:
        """The answer to a search for a name that is served."""
        return search.found(self._context.port, cid)

    def filtered(self, client: Client, name: bytes) -> Filtered | None:
        """caproto's side of a conversation, for a name with a filter; None if there is no such name."""
        return self._context.conversation(client) if self._context.knows(name) else None

    def watch(self, subscription: Subscription) -> None:
        """Updates go to this subscription from now on."""
        record = subscription.view.record
        if subscription.view.field_name:
            subscription.last = subscription.view.values()
            self._field_watchers.setdefault(record, {})[subscription] = None
        else:
            subscription.place = len(record.watchers)
            record.watchers.append(subscription)

    def unwatch(self, subscription: Subscription) -> None:
        """They do not any more."""
        record = subscription.view.record
        if subscription.view.field_name:
            watchers = self._field_watchers[record]
            del watchers[subscription]
            if not watchers:
                del self._field_watchers[record]
        else:
            last = record.watchers.pop()  # takes the place of the one that goes: thousands may watch one record
            if last is not subscription:
                record.watchers[subscription.place] = last
                last.place = subscription.place

    def gone(self, client: Client) -> None:
        """The client has left."""
        self.clients.discard(client)

    def _post_fields(self, record: Record, mask: int) -> None:
        """DBE_PROPERTY concerns all fields; an alarm those that tell it, as they change (recGblResetAlarms)."""
        for subscription in self._field_watchers[record]:
            wanted = mask & PROPERTY
            field = subscription.view.field_name
            if mask & ALARM and field in _ALARM_FIELDS:
                values = subscription.view.values()
                wanted |= _ALARM_FIELDS[field] if values != subscription.last else 0
                subscription.last = values
            if subscription.mask & wanted:
                subscription.client.update(subscription)


class _Context(caproto_server.Context):  # type: ignore[misc]
    """caproto's server: ports, beacons, and names with a filter."""

    def __init__(self, server: Server) -> None:
        super().__init__(_Shown(server))
        self.log = log
        self.log.setLevel(logging.WARNING)  # caproto tells every client that comes and goes
        brief = _briefly()
        self.log.addFilter(brief)
        logging.getLogger("caproto.circ").addFilter(brief)
        self.ca_server_port = environment.server_port()
        self._server = server

    @property
    def shown(self) -> bool:
        """True if a client ever asked for a name with a filter."""
        return bool(self.pvdb)

    def knows(self, name: bytes) -> bool:
        """True for a name with a filter that caproto understands, of a record or field that exists."""
        if not any(mark in name for mark in _FILTER_MARKS):
            return False
        text = name.decode("latin-1")
        try:
            ca.parse_channel_filter(ca.parse_record_field(text).modifiers.filter_)
            return self[text] is not None
        except (AttributeError, KeyError, ValueError, ca.CaprotoError):
            return False  # whatever is wrong with it: a name that nobody has

    def post(self, record: Record, mask: int) -> None:
        """Tell the subscribers with a filter."""
        for channel in tuple(self.pvdb.values()):
            if channel.view.record is record:
                channel.post(mask)

    def forget(self, record: Record) -> None:
        """A record was replaced."""
        for name in [name for name, channel in self.pvdb.items() if channel.view.record is record]:
            del self.pvdb[name]

    def conversation(self, client: Client) -> _Conversation:
        """caproto's side of a client's conversation; made when the client first needs it."""
        for circuit in self.circuits:
            if circuit.rackioc_client is client:
                return circuit  # type: ignore[no-any-return]
        circuit = _Conversation(client, self)
        self.circuits.add(circuit)
        return circuit

    async def server_accept_loop(self, sock: socket.socket) -> None:
        def accepted() -> Client:
            client = Client(self._server)
            self._server.clients.add(client)
            return client

        loop = asyncio.get_running_loop()
        listener = await loop.create_server(accepted, sock=sock, backlog=512)
        try:
            await loop.create_future()  # until cancelled
        finally:
            listener.close()

    async def broadcast_beacon_loop(self) -> None:
        """Beacons that leave the address open: caproto would give that of the last interface to all."""
        for address, (_, sock) in tuple(self.beacon_socks.items()):
            self.beacon_socks[address] = ("0.0.0.0", sock)
        await super().broadcast_beacon_loop()

    async def _create_broadcaster_transport(self, interface: str) -> None:
        for address in (interface, *_broadcasts(interface)):
            self.udp_socks[address] = _Searches(address, self.ca_server_port, self._answer)

    def _answer(self, datagram: bytes, sender: tuple[str, int]) -> bytes:
        if sender[0] in self.ignore_addresses:
            return b""
        return search.answer(datagram, self._server.known, self.port)

    async def _subscription_queue_iteration(
        self, sub_specs: Any, metadata: Any, values: Any, flags: int, sub: Any
    ) -> None:
        for spec in sub_specs:
            # a copy: clients come and go between the sends
            for each in tuple(self.subscriptions[spec]) if sub is None else (sub,):
                await self._subscription_queue_send(spec, each, metadata=metadata, values=values, flags=flags)

    async def _subscription_queue_send(self, sub_spec: Any, sub: Any, **update: Any) -> None:
        if sub.circuit.rackioc_client.blocked:
            sub.circuit.held[sub] = (sub_spec, update)
        else:
            await super()._subscription_queue_send(sub_spec, sub, **update)


class _Shown(dict[str, Any]):
    """Record or field -> caproto's channel, made when the first client asks for it with a filter."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def __missing__(self, name: str) -> Any:
        view = self._server.find(name.encode("latin-1"))
        if view is None:
            raise KeyError(name)
        channel = self[name] = channel_of(view)
        return channel


class _Conversation(caproto_server.VirtualCircuit):  # type: ignore[misc]
    """What a client says about names with a filter, and what caproto answers. ``held``: what it does not read yet."""

    def __init__(self, client: Client, context: _Context) -> None:
        super().__init__(ca.VirtualCircuit(ca.SERVER, client.address, None), _Wire(client), context)
        self.rackioc_client = client
        self.held: dict[Any, tuple[Any, dict[str, Any]]] = {}
        self.circuit.process_command(ca.VersionRequest(priority=0, version=ca.DEFAULT_PROTOCOL_VERSION))
        self.circuit.send(ca.VersionResponse(ca.DEFAULT_PROTOCOL_VERSION))  # the client has got one
        self.client_hostname, self.client_username = client.host, client.user
        self.tasks.create(self.command_queue_loop())
        self._sub_task = self.tasks.create(self.subscription_queue_loop())

    def feed(self, message: bytes) -> None:
        """Take a message."""
        commands, _ = self.circuit.recv(message)
        for command in commands:
            self.command_queue.put_nowait(command)

    def resume(self) -> None:
        """Send the newest of what was held back."""
        held, self.held = self.held, {}
        for subscription, (spec, update) in held.items():
            self.tasks.create(self.context._subscription_queue_send(spec, subscription, **update))

    def close(self) -> None:
        """The client has left."""
        self.context.circuits.discard(self)
        self.context.server_tasks.create(self._leave())

    async def _leave(self) -> None:
        await self._on_disconnect()
        await self.tasks.cancel_all()

    async def _process_command(self, command: Any) -> Any:
        if isinstance(command, ca.WriteRequest | ca.WriteNotifyRequest):
            channel, entry = self._get_db_entry_from_command(command)  # now: the client may clear it at once
            self.write_event.clear()
            await self._start_write_task(lambda: self._write(command, channel, entry))
            return []
        if isinstance(command, ca.ClearChannelRequest):
            channel, entry = self._get_db_entry_from_command(command)
            await self._cull_subscriptions(entry, lambda sub: sub.channel is channel)
            return [channel.clear()]
        return await super()._process_command(command)

    async def _write(self, command: Any, channel: Any, entry: Any) -> None:
        try:
            await entry.auth_write(
                self.client_hostname, self.client_username, command.data, command.data_type, command.metadata
            )
        except Exception as error:
            await self._answer(self._refusal(command, channel, error))
        else:
            if isinstance(command, ca.WriteNotifyRequest):
                await self._answer(channel.write(ioid=command.ioid, status=True, data_count=entry.length))
        finally:
            self.write_event.set()

    def _refusal(self, command: Any, channel: Any, error: Exception) -> Any:
        status = ca.CAStatus.ECA_NOWTACCESS if isinstance(error, ca.Forbidden) else ca.CAStatus.ECA_PUTFAIL
        if not isinstance(error, DeviceError | ca.CaprotoError):
            self.log.error("put to %s failed", channel.name, exc_info=error)
        return ca.ErrorResponse(command, channel.cid, status=status, error_message=str(error))

    async def _answer(self, response: Any) -> None:
        try:
            await self.send(response)
        except (DisconnectedCircuit, LoopExit):
            self.log.debug("the client left before its put was answered")


class _Wire:
    """The client's connection as caproto wants to see it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def getsockname(self) -> Any:
        return self._client.transport.get_extra_info("sockname")

    async def send(self, data: bytes) -> None:
        self._client.out.append(data)
        self._client.flush()

    def close(self) -> None:
        self._client.transport.close()


class _Searches:
    """A UDP socket on which searches arrive, many in a row: they are read and answered until there are none."""

    def __init__(self, address: str, port: int, answer: Callable[[bytes, tuple[str, int]], bytes]) -> None:
        self._answer = answer
        self._socket = _create_udp_socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SEARCH_BUFFER)
        self._socket.bind((address, port))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        for _ in range(_SEARCHES_AT_ONCE):
            try:
                datagram, sender = self._socket.recvfrom(_LARGEST_DATAGRAM)
                if answer := self._answer(datagram, sender):
                    self._socket.sendto(answer, sender)
            except BlockingIOError:
                return
            except OSError as error:  # an unreachable client's ICMP answer, for one: the next one is another's
                log.debug("search: %s", error)


def _broadcasts(interface: str) -> Iterable[str]:
    """The broadcast address of an interface: a socket bound to one address does not hear the broadcasts to it."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and each.address == interface and each.broadcast:
                yield each.broadcast


def _briefly() -> Callable[[logging.LogRecord], bool]:
    """A log filter: what a network or a client does wrong is worth one line and no traceback."""
    told = set()

    def keep(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if str(record.msg).startswith("Failed to send beacon"):
            record.exc_info = None
            nobody_listens = error is not None and isinstance(error.__cause__, ConnectionRefusedError)
            first = record.args not in told
            told.add(record.args)
            return first and not nobody_listens  # a computer without a repeater has no client either
        if isinstance(error, ca.CaprotoError | ValueError):
            record.msg, record.args, record.exc_info = f"{record.getMessage()} ({error})", (), None
        return True

    return keep
