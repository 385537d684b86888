"""The Channel Access server: which records there are, and which clients get what changed in them.

caproto opens the ports and reads the environment; what clients send and get is read and written in
``connection.py`` and ``conversation.py``. Private parts of caproto 1.3 overridden here (tests/ioc/ca/test_server.py
holds each): ``Context.server_accept_loop``,
``_bind_tcp_sockets_with_consistent_port_number``, ``_create_broadcaster_transport``, ``broadcast_beacon_loop``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic

import caproto as ca
import numpy as np
from caproto.asyncio import server as caproto_server
from caproto.asyncio.utils import _create_udp_socket

from ioc import faults
from ioc.block import Block, Masks
from ioc.ca import dbr, garbage
from ioc.ca.connection import Connection
from ioc.ca.conversation import Conversation
from ioc.ca.filters import FilteredView
from ioc.ca.filterspec import has_filter, split
from ioc.ca.lateness import Standstill
from ioc.ca.message import HEADER, SEARCH
from ioc.ca.network import environment, search
from ioc.ca.network.accept import Door
from ioc.ca.network.beacons import Beacons
from ioc.ca.network.seldom import Seldom
from ioc.ca.puts.puts import Together
from ioc.ca.subscription import Subscription
from ioc.ca.turns import Budget, Turns
from ioc.ca.updates import crowd, frames
from ioc.ca.updates.fields import FieldMonitors
from ioc.ca.view import Owner, View, view_of
from ioc.record import ALARM, LOG, PROPERTY, VALUE, Changes, Record

log = logging.getLogger("rackioc.server")

# Lines of the log about clients of one computer that are cut off, in a minute
_LINES = 10


class Server:
    """The records as clients see them; a ``Publisher`` for the instruments, ``ChannelSource`` for the clients."""

    def __init__(self) -> None:
        environment.fill()
        self.clients: dict[Connection, Conversation] = {}
        self._values: dict[bytes, View] = {}
        self._replaced: set[Record] = set()
        self.turns = Turns()
        self.told = Seldom(_LINES)
        self.standstill = Standstill(self._stood_still)
        self.puts = Together()
        self.field_monitors = FieldMonitors()
        try:
            self._context = _Context(self)
        except ca.CaprotoError as error:  # a variable that it cannot read
            raise environment.EnvironmentFault(str(error)) from error

    # ---- for the instruments ----

    def add(self, record: Record, owner: Owner) -> None:
        """Serve a record from now on; the owner's former one of that name is replaced, whose clients come back to it.

        One of another owner is not: a crate tells only later what it has, and no put must go to another instrument.
        """
        try:
            name, view = record.name.encode("ascii"), View(record, owner)
        except Exception as error:  # a name or a type that Channel Access does not have
            faults.log_once("the serving", record.name, error)
            return
        before = self._values.get(name)
        if before is not None and before.owner is not owner:
            sentence = "%s: another instrument has a record of this name, which is served; this one is not"
            log.error(sentence, record.name)
            return
        self._values[name] = view
        if before is not None:
            if not self._replaced:
                asyncio.get_running_loop().call_soon(self.settle)
            self._replaced.add(before.record)

    def settle(self) -> None:
        """Disconnect the channels of records that others replaced, hundreds perhaps, in one go for each client."""
        if self._replaced:
            replaced, self._replaced = self._replaced, set()
            for conversation in tuple(self.clients.values()):
                conversation.disconnect(replaced)

    def post(self, changes: Changes) -> None:
        """Send what changed to the clients that subscribed to it: each is written to once."""
        try:
            self._send(changes)
        finally:
            self._flush()

    def post_block(self, block: Block, masks: Masks) -> None:
        """Send what changed in a block; ``masks``: one for each of its records."""
        if block.monitors is None:
            block.monitors = frames.arrange(block)
        together, others = block.monitors
        for each in together:
            try:
                each.send(block, masks)
            except Exception as error:
                faults.log_once("the updates of the block", block.records[0].name, error)
                each.send_alone(masks)
        for row, subscription in others:
            if subscription.mask & masks[row]:
                mask = int(masks[row])
                subscription.tell(mask, mask)
        fields = self.field_monitors
        if fields:
            for row in np.flatnonzero(masks & ALARM):
                fields.post_changed(block.records[row], int(masks[row]))
        for record in fields.following:
            if record.block is block and masks[record.row]:
                fields.post_changed(record, int(masks[record.row]) & ~ALARM)
        self._flush()

    def post_field(self, record: Record, name: str, mask: int = VALUE | LOG) -> None:
        """Send a field that was set to the clients that subscribed to it."""
        self.field_monitors.post(record, name, mask)
        self._flush()

    def post_alarm(self, record: Record) -> None:
        """Send the alarm, which was acknowledged, to those who want alarms, of the value and of any field."""
        for subscription in record.monitors:
            if subscription.mask & ALARM:
                subscription.tell(ALARM, ALARM)
        self.field_monitors.post_alarm(record)
        self._flush()

    # ---- for the process ----

    async def run(self) -> None:
        """Serve until cancelled. OSError when no port can be had."""
        tasks = [asyncio.create_task(garbage.keep()), asyncio.create_task(self.standstill.watch())]
        try:
            await self._context.run()
        except ca.CaprotoRuntimeError as error:
            raise OSError(f"the Channel Access server cannot start: {error}") from error
        finally:
            for task in tasks:
                task.cancel()
            for connection in tuple(self.clients):
                connection.transport.abort()

    @property
    def names(self) -> list[str]:
        """Return the names of all records, in the order in which they came."""
        return [view.record.name for view in tuple(self._values.values())]

    @property
    def safe(self) -> list[tuple[str, int, str]]:
        """Return the names of the records with a state that makes things safe, and its number and word."""
        points = ((view.record.name, view.record.point) for view in tuple(self._values.values()))
        return [(name, point.safe, point.states[point.safe]) for name, point in points if point.safe is not None]

    @property
    def search_port(self) -> int:
        """Return the UDP port on which searches are answered."""
        return int(self._context.ca_server_port)

    @property
    def port(self) -> int | None:
        """Return the TCP port; None until it is bound."""
        port: int | None = self._context.port
        return port

    @property
    def addresses(self) -> list[str]:
        """Return the addresses that the server is restricted to (EPICS_CAS_INTF_ADDR_LIST); empty: none."""
        return [address for address in self._context.interfaces if address != "0.0.0.0"]

    @property
    def load(self) -> tuple[int, int, int]:
        """Return how many clients, channels and records there are at the moment."""
        clients = tuple(self.clients.values())
        return len(clients), sum(len(conversation.channels) for conversation in clients), len(self._values)

    # ---- for the clients ----

    def find(self, name: bytes) -> View | None:
        """Return what a name stands for; None if it is not served, or a fault lets nobody know."""
        value = self._values.get(name)
        if value is not None:
            return value
        try:
            return self._find(name)
        except Exception as error:
            record = name.partition(b".")[0]
            faults.log_once("the search", record.decode("latin-1") if record in self._values else "a name", error)
            return None

    def _find(self, name: bytes) -> View | None:
        if has_filter(name):
            return self._find_filtered(name)
        record, dot, field = name.partition(b".")
        value = self._values.get(record) if dot else None
        if value is None:
            return None
        try:
            return view_of(value, field.decode("latin-1"))
        except KeyError:
            return None

    def serves(self, name: bytes) -> bool:
        """Return True if a name is served."""
        return name in self._values or self.find(name) is not None

    def search_answer(self, cid: int) -> bytes:
        """Return the answer to a search over TCP for a name that is served: without the version, as base's."""
        return HEADER.pack(SEARCH, 0, self._context.port, 0, search.ANYWHERE, cid)

    def subscribe(self, subscription: Subscription) -> None:
        """Send updates to this subscription from now on."""
        view = subscription.view
        if view.remembers:
            subscription.passes(VALUE)  # the first value
        if view.field_name:
            self.field_monitors.add(subscription)
            return
        record = view.record
        if record.monitors:
            crowd.join(record.monitors, subscription)
        else:
            record.monitors = [subscription]
            subscription.place = 0
        if record.block is not None:
            _rearrange(record)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Send no updates to it any more."""
        record = subscription.view.record
        if subscription.view.field_name:
            self.field_monitors.remove(subscription)
            return
        if subscription.place >= 0:
            crowd.leave(record.monitors, subscription)
            _rearrange(record)

    def enter(self, connection: Connection, conversation: Conversation) -> None:
        """Note a client that is connected."""
        self.clients[connection] = conversation

    def remove(self, connection: Connection) -> None:
        """Forget a client that has left."""
        self.clients.pop(connection, None)

    def overtake(self, connection: Connection) -> None:
        """Note that this client makes something safe: what has come of others was asked for before that.

        Nothing that goes wrong with one of them stops that.
        """
        now = monotonic()
        for other in self.clients:
            if other is not connection:
                try:
                    other.overtake(now)
                except Exception as error:
                    faults.log_once("what waits", "a client", error)

    def _stood_still(self) -> None:
        """Take no put that was sent while the process stood still, or before: who sent it was told that it failed."""
        for connection in self.clients:
            connection.stood_still()

    def _find_filtered(self, name: bytes) -> View | None:
        try:
            plain, filters = split(name.decode("latin-1"))
        except (ValueError, OverflowError):
            return None
        whole = self.find(plain.encode("latin-1"))
        return None if whole is None else FilteredView(whole, filters)

    def _send(self, changes: Changes) -> None:
        fields, pack = self.field_monitors, dbr.time_double
        following = fields.following
        moment = seconds = nanoseconds = -1.0
        for record, mask in changes:
            payload = None
            for subscription in record.monitors:
                if not subscription.mask & mask:
                    continue
                connection = subscription.connection
                if subscription.fast and not connection.behind:
                    if payload is None:
                        try:
                            if record.time != moment:
                                seconds, nanoseconds = dbr.stamp(record.time)
                                moment = record.time
                            payload = pack(record.stat, record.sevr, seconds, nanoseconds, record.val)
                        except Exception:  # it is no number: each of its subscribers is told so
                            connection.update(subscription)
                            continue
                    connection.out.append(subscription.head + payload)
                else:
                    subscription.tell(mask, mask)
            if record in following or (mask & (ALARM | PROPERTY) and record in fields):
                fields.post_changed(record, mask)

    def _flush(self) -> None:
        budget = Budget([])
        for connection in self.clients:
            if connection.out or connection.due:
                connection.flush(room=not budget.spent())


class _Context(caproto_server.Context):  # type: ignore[misc]
    """caproto's server: its ports, and what it has read of the environment."""

    def __init__(self, server: Server) -> None:
        super().__init__({})
        self.log = log
        self.log.setLevel(logging.WARNING)  # caproto logs every client that comes and goes
        self.log.addFilter(_not_of_beacons)
        self.ca_server_port = environment.server_port()
        self._server = server

    async def server_accept_loop(self, sock: socket.socket) -> None:
        def accepted(address: tuple[str, int]) -> Connection:
            server = self._server
            connection = Connection(server.turns, address, server.told, server.standstill.look)
            connection.receiver = Conversation(connection, server)
            return connection

        await Door(sock, accepted, lambda: len(self._server.clients)).run()

    async def _bind_tcp_sockets_with_consistent_port_number(self, _: object) -> tuple[int, dict[str, socket.socket]]:
        # caproto's own sockets stay open where the port is taken
        ports: tuple[int, dict[str, socket.socket]]
        ports = await super()._bind_tcp_sockets_with_consistent_port_number(_listen_at)
        return ports

    async def broadcast_beacon_loop(self) -> None:
        """Send beacons of our own: caproto's go to 255.255.255.255, or nowhere."""
        await Beacons(self.port).send()

    async def _create_broadcaster_transport(self, interface: str) -> None:
        # a socket that is bound to one address does not hear the broadcasts to it
        broadcasts = [broadcast for address, broadcast in environment.broadcasts() if address == interface]
        for address in (interface, *broadcasts):
            self.udp_socks[address] = search.Searches(
                _create_udp_socket(), address, self.ca_server_port, self._answers
            )

    def _answers(self, datagram: bytes, sender: tuple[str, int]) -> Iterator[bytes]:
        if sender[0] in self.ignore_addresses:
            return iter(())
        return search.answers(datagram, self._server.serves, self.port)


async def _listen_at(address: str, port: int) -> socket.socket:
    """Return a TCP socket that is bound to a port of an address of this computer. Raises OSError."""
    with ExitStack() as unless_bound:
        sock = unless_bound.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((address, port))
        unless_bound.pop_all()
    return sock


def _rearrange(record: Record) -> None:
    """Let the block of a record find its subscriptions anew."""
    if record.block is not None:
        record.block.monitors = None


def _not_of_beacons(record: logging.LogRecord) -> bool:
    """Return True for a line that is not of caproto's sockets for beacons, which nothing is sent on."""
    return not str(record.msg).startswith("Beacon (")
