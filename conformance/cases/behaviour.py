"""What libca's own test demands of a server: channels and subscriptions that end at any moment, requests in masses.

The list of behaviours is that of EPICS base's acctst. What needs a person, or says something of libca alone, is left
out; what other areas compare in more detail, too.
"""

from __future__ import annotations

import ctypes as c
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from conformance import libca
from conformance.client import PATIENCE, CaClient
from conformance.libca import ALARM, VALUE, lib
from conformance.points import pv, unlimited

POINTS = unlimited("behaviour", ("plain", "end", "flight", "monitors"))
MANY, MASSES = 100, 2000
NUMBERS: dict[int, tuple[Any, ...]] = {
    libca.DOUBLE: (2.2250738585072014e-308, 1.7976931348623157e308, -1.0, 1 + 2.220446049250313e-16, 0.0, 5e-324),
    libca.FLOAT: (1.1754943508222875e-38, 3.4028234663852886e38, -1.0, 1.0000001192092896, 0.0),
    libca.LONG: (0, 1, -1, 2**31 - 1, -(2**31), 0x55555555),
    libca.SHORT: (0, 1, -1, 32767, -32768, 0x5555),
}


# ctypes functions that libca may still call
_KEPT: list[Calls] = []


class Calls:
    """Channels beside those of the client, whose callbacks do what a case wants.

    seen  what came: (kind, number) -> how often
    """

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, int]] = Counter()
        self.act: Callable[[str, int], None] = lambda kind, number: None
        _KEPT.append(self)
        self._functions = (libca.CONNECTION_FUNC(self._connected), libca.EVENT_FUNC(self._answered))

    def create(self, name: str, number: int, priority: int = 0) -> c.c_void_p:
        """Create a channel; ("connected", number) says that it is there."""
        chid = c.c_void_p()
        lib.ca_create_channel(name.encode(), self._functions[0], number, priority, c.byref(chid))
        return chid

    def get(self, chid: c.c_void_p, number: int) -> None:
        """Ask for a value; ("answered", number) is the answer, here and below."""
        lib.ca_array_get_callback(libca.DOUBLE, 1, chid, self._functions[1], number)

    def put(self, chid: c.c_void_p, value: float, number: int) -> None:
        """Put a value with a callback."""
        lib.ca_array_put_callback(
            libca.DOUBLE, 1, chid, libca.encode(libca.DOUBLE, [value]), self._functions[1], number
        )

    def subscribe(self, chid: c.c_void_p, number: int) -> c.c_void_p:
        """Subscribe to a value."""
        evid = c.c_void_p()
        lib.ca_create_subscription(
            libca.GR + libca.FLOAT, 1, chid, VALUE | ALARM, self._functions[1], number, c.byref(evid)
        )
        return evid

    def wait(self, kind: str, numbers: Iterable[int]) -> int:
        """Return how many of these numbers came, after all did or nothing came any more."""
        wanted, end = {(kind, number) for number in numbers}, time.monotonic() + PATIENCE
        lib.ca_flush_io()
        while not wanted <= self.seen.keys() and time.monotonic() < end:
            time.sleep(0.005)
        return len(wanted & self.seen.keys())

    def _connected(self, args: libca.ConnectionArgs) -> None:
        if args.op == 6:
            self._note("connected", lib.ca_puser(args.chid) or 0)

    def _answered(self, args: libca.EventArgs) -> None:
        if args.status == 1:
            self._note("answered", args.usr or 0)

    def _note(self, kind: str, number: int) -> None:
        self.seen[kind, number] += 1
        self.act(kind, number)


def run(client: CaClient) -> None:
    """Run the cases."""
    for point in POINTS:
        client.set(point.name, 1.0)
    _late(client)
    for kind in ("get", "put", "subscription"):
        _cleared_within(client, kind)
    _subscribed_within(client)
    _channels(client)
    _numbers(client)
    _masses(client)
    _some_cleared(client)


def _late(client: CaClient) -> None:
    """Clear subscriptions at the moment of their first updates: none may come afterwards, and others go on."""
    calls, late = Calls(), 0
    chid = calls.create(pv("behaviour:end"), 0)
    calls.wait("connected", [0])
    for turn in range(20):
        numbers = range(1 + turn * MANY, 1 + (turn + 1) * MANY)
        evids = [calls.subscribe(chid, number) for number in numbers]
        calls.wait("answered", numbers[:1])
        for evid in evids:
            lib.ca_clear_subscription(evid)
        before = calls.seen.total()
        time.sleep(0.01)
        late += calls.seen.total() - before
    calls.get(chid, 1_000_000)
    client.emit("behaviour/subscriptions cleared at once", {"late": late, "get": calls.wait("answered", [1_000_000])})
    lib.ca_clear_channel(chid)


def _cleared_within(client: CaClient, kind: str) -> None:
    """Clear channels within the callbacks of what was asked of them."""
    calls, numbers = Calls(), range(1, 1 + MANY)
    chids = {number: calls.create(pv("behaviour:end"), number) for number in numbers}
    connected = calls.wait("connected", numbers)
    cleared: set[int] = set()

    def clear(what: str, number: int) -> None:
        if what == "answered" and number not in cleared:
            cleared.add(number)
            lib.ca_clear_channel(chids[number])

    calls.act = clear
    for number, chid in chids.items():
        if kind == "get":
            calls.get(chid, number)
        elif kind == "put":
            calls.put(chid, float(number), number)
        else:
            calls.subscribe(chid, number)
    answered = calls.wait("answered", numbers)
    client.emit(f"behaviour/channels cleared in the callback of a {kind}", {"connected": connected, "all": answered})


def _subscribed_within(client: CaClient) -> None:
    """Subscribe within the callback of the connection."""
    calls, numbers = Calls(), range(1, 1 + MANY)
    chids: dict[int, c.c_void_p] = {}

    def subscribe(what: str, number: int) -> None:
        if what == "connected":
            calls.subscribe(chids[number], number)

    for number in numbers:  # the connection may come before the call returns
        chids[number] = calls.create(pv("behaviour:end"), number)
    calls.act = subscribe
    connected = calls.wait("connected", numbers)
    for number in numbers:
        if ("answered", number) not in calls.seen:
            calls.act("connected", number)
    client.emit("behaviour/subscribed at once", {"connected": connected, "all": calls.wait("answered", numbers)})
    for chid in chids.values():
        lib.ca_clear_channel(chid)


def _channels(client: CaClient) -> None:
    """Connect with priorities, beside names that nobody has, and many times to one name."""
    calls, priorities = Calls(), (0, 1, 2, 50, 98, 99)
    chids = [calls.create(pv("behaviour:plain"), number, number) for number in priorities]
    connected = calls.wait("connected", priorities)
    for number, chid in zip(priorities, chids, strict=True):
        calls.get(chid, number)
    client.emit("behaviour/priorities", {"connected": connected, "get": calls.wait("answered", priorities)})
    nobody = [calls.create(pv(f"behaviour:nobody:{number}"), 1000 + number) for number in range(MANY)]
    chids += [*nobody, calls.create(pv("behaviour:plain"), 500)]
    beside = {"connected": calls.wait("connected", [500])}
    client.emit("behaviour/beside names that nobody has", beside)
    masses = range(10_000, 10_000 + MASSES)
    chids += [calls.create(pv("behaviour:plain"), number) for number in masses]
    client.emit("behaviour/many channels", {"connected": calls.wait("connected", masses)})
    for chid in chids:
        lib.ca_clear_channel(chid)
    client.emit("behaviour/after clearing them", client.get(client.channel("behaviour:plain"), libca.DOUBLE))


def _numbers(client: CaClient) -> None:
    """Put numbers at the ends of each type, and read them in the same type."""
    channel = client.channel("behaviour:plain")
    for dbr, numbers in NUMBERS.items():
        for number in numbers:
            put = client.put_wait(channel, dbr, [number])
            client.emit(
                f"behaviour/number/{libca.TYPES[dbr]}/{number!r}", {"put": put, "get": client.get(channel, dbr)}
            )


def _masses(client: CaClient) -> None:
    """Ask and put without waiting, many times."""
    calls, numbers = Calls(), range(1, 1 + MASSES)
    chid = calls.create(pv("behaviour:flight"), 0)
    calls.wait("connected", [0])
    for number in numbers:
        calls.get(chid, number)
    client.emit("behaviour/many gets", {"answered": calls.wait("answered", numbers)})
    puts = range(10_001, 10_001 + MASSES // 10)
    for number in puts:
        calls.put(chid, float(number), number)
    client.emit("behaviour/many puts with callback", {"answered": calls.wait("answered", puts)})
    channel = client.channel("behaviour:flight")
    client.emit("behaviour/after many puts with callback", client.get(channel, libca.DOUBLE))
    for number in numbers:
        lib.ca_array_put(libca.DOUBLE, 1, chid, libca.encode(libca.DOUBLE, [float(number)]))
    calls.get(chid, 99_999)
    calls.wait("answered", [99_999])
    client.emit("behaviour/after many puts", client.get(channel, libca.DOUBLE))
    lib.ca_clear_channel(chid)


def _some_cleared(client: CaClient) -> None:
    """Clear every other subscription while updates come: the others get the last one, those not."""
    calls, numbers = Calls(), range(1, 1 + MANY)
    chid = calls.create(pv("behaviour:monitors"), 0)
    calls.wait("connected", [0])
    evids = {number: calls.subscribe(chid, number) for number in numbers}
    first = calls.wait("answered", numbers)
    for number, evid in evids.items():
        calls.put(chid, float(number), 1000 + number)
        if number % 2:
            lib.ca_clear_subscription(evid)
    calls.wait("answered", [1000 + MANY])
    before = calls.seen.copy()
    client.set("behaviour:monitors", -1.0)
    calls.get(chid, 5000)
    calls.wait("answered", [5000])
    time.sleep(0.1)
    after = [number for number in numbers if calls.seen["answered", number] > before["answered", number]]
    client.emit("behaviour/some cleared", {"first": first, "last": len(after), "cleared": any(n % 2 for n in after)})
    lib.ca_clear_channel(chid)
