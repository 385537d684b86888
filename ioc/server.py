"""The Channel Access server: caproto's, with its defects mended where they would show.

What is overridden and why (caproto 1.3.0; tests/ioc/test_server.py holds each):
search answers echo the client's sequence number (libca throttles its search otherwise); accepted sockets get
TCP_NODELAY; ClearChannel removes the channel's subscriptions; a failed put answers with the sentence alone and no
traceback; a client that does not read is dropped instead of holding up all others.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any

import caproto as ca
from caproto.asyncio import server as caproto_server
from caproto.server.common import DisconnectedCircuit

from drivers.base import DeviceError
from ioc.channel import record_channel
from ioc.instrument import Instrument
from ioc.record import Record

log = logging.getLogger("rackioc.server")

# Updates that may wait for a client: this many, or this many for each of its subscriptions
BACKLOG = 20_000
BACKLOG_EACH = 10


class Server:
    """Shows records to Channel Access clients; a ``Publisher`` for the instruments."""

    def __init__(self) -> None:
        self._unsendable: set[str] = set()
        self._database = _Database()
        self._context = _Context(self._database)

    def add(self, record: Record, instrument: Instrument) -> None:
        """Serve a record from now on; one of the same name is replaced, and its clients come back to the new one."""
        if record.name in self._database.records:
            self._database.forget(record.name)
            self._context.drop_clients_of(record.name)
        self._database.records[record.name] = (record, instrument)

    def post(self, record: Record, mask: int) -> None:
        """Send what changed in a record to the clients that subscribed to it."""
        channel = self._database.get(record.name)
        if channel is None:
            return
        try:
            channel.post(mask)
        except Exception:  # one value that cannot be sent must not keep the others back
            if record.name not in self._unsendable:
                self._unsendable.add(record.name)
                log.exception("%s cannot be sent", record.name)

    async def run(self) -> None:
        """Serve until cancelled. OSError when no port can be had."""
        try:
            await self._context.run()
        except ca.CaprotoRuntimeError as error:
            raise OSError(f"the Channel Access server cannot start: {error}") from error
        finally:
            for circuit in tuple(self._context.circuits):  # caproto leaves them to the end of the process
                circuit.drop()

    @property
    def names(self) -> list[str]:
        """The names of all records, in the order in which they came."""
        return list(self._database.records)

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
    def clients(self) -> tuple[int, int]:
        """(clients, channels) connected."""
        circuits = tuple(self._context.circuits)
        return len(circuits), sum(len(circuit.circuit.channels_sid) for circuit in circuits)


class _Database(dict[str, Any]):
    """Record name -> channel, made when the first client asks."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, tuple[Record, Instrument]] = {}

    def forget(self, record: str) -> None:
        """Drop the channels of a record and of its fields."""
        for name in [name for name in self if name == record or name.startswith(f"{record}.")]:
            del self[name]

    def __missing__(self, name: str) -> Any:
        record, instrument = self.records[name]
        channel = self[name] = record_channel(record, instrument.put)
        return channel


class _Circuit(caproto_server.VirtualCircuit):  # type: ignore[misc]
    """One client."""

    _sub_task: asyncio.Task[None] | None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.subscription_queue: asyncio.Queue[Any] = asyncio.Queue()  # without caproto's bound: see behind()
        self.dropped = False

    def behind(self) -> bool:
        """True if more waits for the client than one that reads would leave."""
        return bool(self.subscription_queue.qsize() > max(BACKLOG, BACKLOG_EACH * len(self.subscriptions)))

    async def get_from_sub_queue(self, timeout: float | None = None) -> Any:
        """The next update; what is about to be sent is not kept (caproto keeps the last 1000 of each)."""
        reference = await super().get_from_sub_queue(timeout)
        command = reference() if reference is not None else None
        if command is None:
            return reference
        if held := self.unexpired_updates.get(command.subscriptionid):
            held.popleft()
        return lambda: command

    async def _on_disconnect(self) -> None:
        if self._sub_task is asyncio.current_task():
            self._sub_task = None  # it ends by itself; caproto would wait for it from within
        await super()._on_disconnect()

    async def _command_queue_iteration(self, command: Any) -> Any:
        if isinstance(command, ca.VersionRequest) and self.circuit.priority is not None:
            return []  # libca puts one before each search that it sends over TCP; it is no new priority
        return await super()._command_queue_iteration(command)

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
                self.client_hostname,
                self.client_username,
                command.data,
                command.data_type,
                command.metadata,
                user_address=self.circuit.address,
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
        except DisconnectedCircuit:
            self.log.debug("the client left before its put was answered")

    def drop(self) -> None:
        """Cut the connection; the client finds its way back when it reads again."""
        self.dropped = True
        self.client.writer.transport.abort()


class _Context(caproto_server.Context):  # type: ignore[misc]
    CircuitClass = _Circuit

    def __init__(self, database: _Database) -> None:
        super().__init__(database)
        self.log = log
        self.log.setLevel(logging.WARNING)  # caproto tells every client that comes and goes
        brief = _briefly()
        self.log.addFilter(brief)
        logging.getLogger("caproto.circ").addFilter(brief)

    async def server_accept_loop(self, sock: socket.socket) -> None:
        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            client = caproto_server._TransportWrapper(reader, writer)
            self.server_tasks.create(self.tcp_handler(client, client.getpeername()))

        await asyncio.start_server(accepted, sock=sock)

    async def _broadcaster_queue_iteration(self, address: Any, commands: Any) -> None:
        self.broadcaster.process_commands(commands)
        if address[0] in self.ignore_addresses:
            return
        version = None
        found = []
        for command in commands:
            if isinstance(command, ca.VersionRequest):
                version = command
            elif isinstance(command, ca.SearchRequest) and self._known(command.name):
                found.append(ca.SearchResponse(self.port, None, command.cid, ca.DEFAULT_PROTOCOL_VERSION))
        if found:
            head = [] if version is None else [_echo(version)]
            datagram = self.broadcaster.send(*head, *found)
            for transport in self.udp_socks.values():
                await transport.sendto(datagram, address)

    def drop_clients_of(self, name: str) -> None:
        """A record of another type has taken the name: its clients have to connect anew."""
        for circuit in tuple(self.circuits):
            names = {channel.name.partition(".")[0] for channel in circuit.circuit.channels_sid.values()}
            if name in names:
                circuit.drop()

    def _known(self, name: str) -> bool:
        try:
            return self[name] is not None
        except KeyError:
            return False

    async def _subscription_queue_iteration(
        self, sub_specs: Any, metadata: Any, values: Any, flags: int, sub: Any
    ) -> None:
        if sub is not None:
            await super()._subscription_queue_iteration(sub_specs, metadata, values, flags, sub)
            return
        for spec in sub_specs:
            for each in tuple(self.subscriptions[spec]):  # a copy: clients come and go between the sends
                await self._subscription_queue_send(spec, each, metadata=metadata, values=values, flags=flags)

    async def _subscription_queue_send(self, sub_spec: Any, sub: Any, **update: Any) -> None:
        circuit = sub.circuit
        if circuit.dropped:
            return
        if circuit.behind():
            self.log.warning("%s:%d does not read what it subscribed to; disconnected", *circuit.circuit.address)
            circuit.drop()
            return
        await super()._subscription_queue_send(sub_spec, sub, **update)


def _echo(request: Any) -> Any:
    """The version answer to a search datagram, with the client's own sequence number."""
    response = ca.VersionResponse(ca.DEFAULT_PROTOCOL_VERSION)
    response.header.data_type = request.header.data_type
    response.header.parameter1 = request.header.parameter1
    return response


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
        if isinstance(error, ca.CaprotoError | ValueError | struct.error):
            record.msg, record.args, record.exc_info = f"{record.getMessage()} ({error})", (), None
        return True

    return keep
