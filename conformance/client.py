"""A client of one server: connect, get, put, monitor, and a fence after which all events have come.

Every answer is a dict of named aspects, so that two servers can be compared aspect by aspect. What a case observes
goes to ``emit`` under a key that says what was done.
"""

from __future__ import annotations

import ctypes as c
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from conformance import libca
from conformance.libca import lib
from conformance.points import FENCE, pv

Aspects = dict[str, Any]

# Seconds to wait for an answer on the loopback; one that needs longer is recorded as silent
PATIENCE = 5.0
# Channels of names that a server does not have are given up when nothing has connected for this long
QUIET = 2.0


@dataclass(eq=False)
class CaChannel:
    """A channel of libca; ``rights`` are the access rights in the order in which they were announced."""

    name: str
    chid: c.c_void_p
    connected: bool = False
    drops: int = 0
    rights: list[str] = field(default_factory=list)

    @property
    def native(self) -> int:
        """Return the number of its own DBR type."""
        return int(lib.ca_field_type(self.chid))

    @property
    def count(self) -> int:
        """Return the number of its elements."""
        return int(lib.ca_element_count(self.chid))

    @property
    def access(self) -> str:
        """Return what may be done now: "rw", "r", "w" or ""."""
        return "r" * bool(lib.ca_read_access(self.chid)) + "w" * bool(lib.ca_write_access(self.chid))


@dataclass(eq=False)
class Monitor:
    """A subscription; ``drain`` returns what came since the last time."""

    status: str
    evid: c.c_void_p
    events: list[Aspects]

    def drain(self) -> list[Aspects]:
        """Return and remove the events that have come."""
        taken, self.events[:] = list(self.events), []
        return taken


class CaClient:
    """All that a case can do to the server that the environment names."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._wake = threading.Condition()
        self._waiting: dict[int, Callable[[Aspects], object]] = {}
        self._tokens = itertools.count(1)
        self._channels: dict[str, CaChannel] = {}
        self._by_token: dict[int, CaChannel] = {}
        self._keys: set[str] = set()
        self._refusals: list[Aspects] = []
        self._fence: Monitor | None = None
        self._fence_drops = self._lost_fences = 0
        self._fences = itertools.count(1)
        self._functions = (  # ctypes functions live as long as somebody holds them
            libca.EVENT_FUNC(self._on_event),
            libca.CONNECTION_FUNC(self._on_connection),
            libca.ACCESS_FUNC(self._on_access),
            libca.EXCEPTION_FUNC(self._on_exception),
        )
        lib.ca_context_create(1)
        lib.ca_add_exception_event(self._functions[3], None)

    def emit(self, key: str, aspects: Aspects) -> None:
        """Report what was observed. Raises ValueError for a key that was used: one of the two would be hidden."""
        if key in self._keys:
            raise ValueError(f"two cases have the key {key}")
        self._keys.add(key)
        self._out.write(json.dumps([key, _comparable(aspects)]) + "\n")

    # ---- channels ----

    def connect(self, names: Iterable[str]) -> dict[str, CaChannel]:
        """Return those channels of these names that the server has."""
        wanted = [name for name in dict.fromkeys(names) if name not in self._channels]
        for name in wanted:
            self._create(name)
        lib.ca_flush_io()
        self._settle([self._channels[name] for name in wanted])
        return {name: self._channels[name] for name in names if self._channels[name].connected}

    def channel(self, point: str) -> CaChannel:
        """Return the channel of a point that both servers must have, connected. Raises ConnectionError."""
        name = pv(point)
        if name not in self._channels:
            self._create(name)
            lib.ca_flush_io()
        channel = self._channels[name]
        self._alive(channel)
        return channel

    # ---- requests ----

    def get(self, channel: CaChannel, dbr: int, count: int = 1) -> Aspects:
        """Call ca_array_get_callback; returns its answer."""
        self._alive(channel)
        return self._request(channel, lambda token: lib.ca_array_get_callback(dbr, count, channel.chid, *token))

    def put(self, channel: CaChannel, dbr: int, values: Sequence[Any]) -> Aspects:
        """Call ca_array_put; returns what the server reported against it until a get was answered."""
        self._alive(channel)
        buffer = libca.encode(dbr, values)
        self._refusals.clear()
        status = lib.ca_array_put(dbr, len(values), channel.chid, buffer)
        if status != 1:
            return {"put": f"libca {libca.status_name(status)}"}
        self.get(channel, libca.STRING)
        return {"put": list(self._refusals)}

    def put_wait(self, channel: CaChannel, dbr: int, values: Sequence[Any]) -> str:
        """Call ca_array_put_callback; returns the status with which it is completed."""
        self._alive(channel)
        buffer = libca.encode(dbr, values)
        answer = self._request(
            channel, lambda token: lib.ca_array_put_callback(dbr, len(values), channel.chid, buffer, *token)
        )
        return str(answer["status"])

    def put_in_flight(self, channel: CaChannel, dbr: int, values: Sequence[Any], *, wait: bool) -> list[Any]:
        """Put single values one behind the other; returns the status of each, in the order in which they came.

        With ``wait`` as ca_array_put_callback, else what the server reported against them until a get was answered.
        """
        self._alive(channel)
        endings: list[Aspects] = []
        tokens = [self._register(endings.append) for _ in values] if wait else []
        self._refusals.clear()
        for number, value in enumerate(values):
            buffer = libca.encode(dbr, [value])
            if wait:
                lib.ca_array_put_callback(dbr, 1, channel.chid, buffer, self._functions[0], tokens[number])
            else:
                lib.ca_array_put(dbr, 1, channel.chid, buffer)
        lib.ca_flush_io()
        if wait:
            self._until(lambda: len(endings) == len(values))
            return [ending["status"] for ending in endings]
        self.get(channel, libca.STRING)
        return list(self._refusals)

    def drive(self, point: str, value: object) -> None:
        """Let the instrument report a value of the input ``point`` (see points.driven)."""
        self._prepare(f"{point}:Src", libca.STRING, value if isinstance(value, str) else repr(value))

    def set(self, point: str, value: float) -> None:
        """Put a number that both servers should accept, to prepare a case."""
        self._prepare(point, libca.DOUBLE, value)

    def set_text(self, point: str, value: str) -> None:
        """Put a text that both servers should accept, to prepare a case."""
        self._prepare(point, libca.STRING, value)

    def _prepare(self, point: str, dbr: int, value: Any) -> None:
        """Put what is not the case itself; a failure is an observation of its own."""
        status = self.put_wait(self.channel(point), dbr, [value])
        key = f"prepare/{point}/{value}"
        if status != "NORMAL" and key not in self._keys:
            self.emit(key, {"status": status})

    # ---- monitors ----

    @contextmanager
    def monitor(self, channel: CaChannel, dbr: int, mask: int, count: int = 1) -> Iterator[Monitor]:
        """Yield a subscription, which ends with the block."""
        monitor = self._subscribe(channel, dbr, mask, count)
        try:
            yield monitor
        finally:
            if monitor.evid:
                lib.ca_clear_subscription(monitor.evid)

    def fence(self) -> None:
        """Return when all events of what was done before have come.

        A server keeps the order of a client's events; answers to requests may overtake them.
        """
        channel = self.channel(FENCE)
        if self._fence is None or self._fence_drops != channel.drops:
            self._fence = self._subscribe(channel, libca.LONG, libca.VALUE, 1)
            self._fence_drops = channel.drops
        for _ in range(2):  # base has a queue for each 36 subscriptions and empties them in turn
            if self._fence is not None:
                self._pass_fence(channel, self._fence.events, next(self._fences))

    def _pass_fence(self, channel: CaChannel, events: list[Aspects], number: int) -> None:
        lib.ca_array_put(libca.LONG, 1, channel.chid, libca.encode(libca.LONG, [number]))
        lib.ca_flush_io()
        if not self._until(lambda: any(event.get("value") == [number] for event in events)):
            self._fence, self._lost_fences = None, self._lost_fences + 1
        events.clear()

    def close(self) -> None:
        """Report lost connections, and end libca's context."""
        drops = max((channel.drops for channel in self._channels.values()), default=0)
        self.emit("log/connections", {"lost": drops, "fences without events": self._lost_fences})
        lib.ca_context_destroy()

    # ---- parts ----

    def _create(self, name: str) -> None:
        channel = self._channels[name] = CaChannel(name, c.c_void_p())
        self._open(channel)

    def _open(self, channel: CaChannel) -> None:
        name = channel.name
        token = next(self._tokens)
        self._by_token[token] = channel
        status = lib.ca_create_channel(name.encode(), self._functions[1], token, 0, c.byref(channel.chid))
        if status != 1:
            raise ValueError(f"{name}: {libca.status_name(status)}")
        lib.ca_replace_access_rights_event(channel.chid, self._functions[2])

    def _alive(self, channel: CaChannel) -> None:
        """Wait for the channel; open one that the server dropped anew, as libca itself would let 10 s pass.

        The old one is left to libca: subscriptions hang on it.
        """
        if channel.drops and not channel.connected:
            self._by_token.pop(lib.ca_puser(channel.chid))
            channel.chid = c.c_void_p()
            self._open(channel)
            lib.ca_flush_io()
        if not self._until(lambda: channel.connected):
            raise ConnectionError(f"{channel.name} did not connect within {PATIENCE:g} s")

    def _settle(self, channels: list[CaChannel]) -> None:
        known, since = -1, time.monotonic()
        while channels and time.monotonic() - since < QUIET:
            number = sum(channel.connected for channel in channels)
            if number == len(channels):
                return
            if number != known:
                known, since = number, time.monotonic()
            time.sleep(0.02)

    def _request(self, channel: CaChannel, send: Callable[[tuple[Any, int]], int]) -> Aspects:
        answers: list[Aspects] = []
        token = self._register(answers.append)
        try:
            status = send((self._functions[0], token))
            if status != 1:
                return {"status": f"libca {libca.status_name(status)}"}
            lib.ca_flush_io()
            if not self._until(lambda: bool(answers)):
                return {"status": "silence"}
            if answers[0]["status"] == "DISCONN":
                self._until(lambda: not channel.connected)
            return answers[0]
        finally:
            self._waiting.pop(token, None)

    def _subscribe(self, channel: CaChannel, dbr: int, mask: int, count: int) -> Monitor:
        self._alive(channel)
        monitor = Monitor("", c.c_void_p(), [])
        token = self._register(monitor.events.append)
        status = lib.ca_create_subscription(
            dbr, count, channel.chid, mask, self._functions[0], token, c.byref(monitor.evid)
        )
        monitor.status = libca.status_name(status)
        lib.ca_flush_io()
        return monitor

    def _register(self, on_answer: Callable[[Aspects], object]) -> int:
        token = next(self._tokens)
        self._waiting[token] = on_answer
        return token

    def _until(self, condition: Callable[[], bool]) -> bool:
        with self._wake:
            return self._wake.wait_for(condition, PATIENCE)

    # ---- in libca's threads ----

    def _on_event(self, args: libca.EventArgs) -> None:
        answer: Aspects = {"status": libca.status_name(args.status)}
        if args.dbr and args.status == 1:
            answer |= {"type": libca.DBR_NAMES[args.type], "count": args.count}
            answer |= libca.decode(args.type, args.count, args.dbr)
        with self._wake:
            on_answer = self._waiting.get(args.usr or 0)
            if on_answer is not None:
                on_answer(answer)
            self._wake.notify_all()

    def _on_connection(self, args: libca.ConnectionArgs) -> None:
        with self._wake:
            channel = self._by_token.get(lib.ca_puser(args.chid))
            if channel is not None:
                channel.drops += channel.connected and args.op == 7  # base also refuses channels that it found
                channel.connected = args.op == 6
            self._wake.notify_all()

    def _on_access(self, args: libca.AccessArgs) -> None:
        with self._wake:
            channel = self._by_token.get(lib.ca_puser(args.chid))
            if channel is not None:
                channel.rights.append("r" * bool(args.rights & 1) + "w" * bool(args.rights & 2))

    def _on_exception(self, args: libca.ExceptionArgs) -> None:
        with self._wake:
            self._refusals.append({"status": libca.status_name(args.stat), "op": args.op})
            self._wake.notify_all()


def _comparable(observed: Any) -> Any:
    """Return the observation with time stamps replaced by what can be compared between two servers."""
    if isinstance(observed, dict):
        return {
            name: libca.comparable_stamp(value) if name == "stamp" else _comparable(value)
            for name, value in observed.items()
        }
    if isinstance(observed, list):
        return [_comparable(value) for value in observed]
    return observed
