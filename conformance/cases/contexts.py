"""What clients see that come and go as a whole: contexts of libca, each in a thread of its own.

The list of behaviours is that of EPICS base's acctst, as in ``behaviour``, which asks within one context.
"""

from __future__ import annotations

import ctypes as c
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from conformance import libca
from conformance.client import PATIENCE, CaClient
from conformance.libca import DOUBLE, VALUE, lib
from conformance.points import pv, unlimited

POINTS = unlimited("contexts", ("group", "across", "priority", "masses", "leaving", "end"))
GROUPS, PUTS, SUBSCRIPTIONS, CHANNELS, LEAVING = 200, 500, 3000, 10_000, 100
# Seconds for thousands of channels on a busy computer
LONG = 60.0
_NORMAL = 1

T = TypeVar("T")


def run(client: CaClient) -> None:
    """Run the cases."""
    for point in POINTS:
        client.set(point.name, 1.0)
    for case in (_groups, _across, _priorities, _subscriptions, _channels):
        key, aspects = _apart(case)
        client.emit(f"contexts/{key}", aspects)
    _leave(client)
    _end(client)


def _apart(case: Callable[[], T]) -> T:
    """Return what a case returns in a context of its own, which ends with it."""

    def run_in_context() -> T:
        lib.ca_context_create(0)
        try:
            return case()
        finally:
            lib.ca_context_destroy()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run_in_context).result()


def _channel(name: str, priority: int = 0) -> c.c_void_p:
    """Return a channel, which is connected at the next ``_answered``."""
    chid = c.c_void_p()
    lib.ca_create_channel(pv(f"contexts:{name}").encode(), libca.CONNECTION_FUNC(), None, priority, c.byref(chid))
    return chid


def _answered(seconds: float = PATIENCE) -> bool:
    """Return whether all channels were connected, and all gets answered, in time."""
    return bool(lib.ca_pend_io(seconds) == _NORMAL)


def _groups() -> tuple[str, dict[str, Any]]:
    """Put and get in synchronous groups, without waiting between them."""
    chid = _channel("group")
    connected = _answered()
    groups = [c.c_uint() for _ in range(GROUPS)]
    values = [c.c_double(number) for number in range(GROUPS)]
    found = [c.c_double(-1.0) for _ in range(GROUPS)]
    for group, value, place in zip(groups, values, found, strict=True):
        lib.ca_sg_create(c.byref(group))
        lib.ca_sg_array_put(group, DOUBLE, 1, chid, c.byref(value))
        lib.ca_sg_array_get(group, DOUBLE, 1, chid, c.byref(place))
    ended = sum(lib.ca_sg_block(group, PATIENCE) == _NORMAL for group in groups)
    for group in groups:
        lib.ca_sg_delete(group)
    same = sum(value.value == place.value for value, place in zip(values, found, strict=True))
    return "synchronous groups", {"connected": connected, "ended": ended, "get behind put": same}


def _across() -> tuple[str, dict[str, Any]]:
    """Get over one channel behind a put over another one of the same record."""
    one, other = _channel("across"), _channel("across")
    connected, missed = _answered(), 0
    for number in range(PUTS):
        _put(one, float(number))
        missed += _get(other) != number
    return "gets behind puts over another channel", {"connected": connected, "missed": missed}


def _priorities() -> tuple[str, dict[str, Any]]:
    """Put and get over circuits of several priorities: each get shows the put of its own circuit, or a later one."""
    wrong = 0
    for priority in range(0, 99, 9):
        chids = [_channel("priority", priority), _channel("priority", priority + 1)]
        wrong += not _answered()
        for chid in chids:
            _put(chid, float(priority))
        wrong += sum(_get(chid) != priority for chid in chids)
        for chid in chids:
            lib.ca_clear_channel(chid)
    return "puts over circuits of several priorities", {"wrong": wrong}


def _subscriptions() -> tuple[str, dict[str, Any]]:
    """Begin thousands of subscriptions to as many elements as there are: each has one first update."""
    seen: Counter[int] = Counter()
    numbers = range(1, 1 + SUBSCRIPTIONS)
    note = libca.EVENT_FUNC(lambda args: seen.update([args.usr or 0]))
    chid, evids = _channel("masses"), [c.c_void_p() for _ in numbers]
    connected, end = _answered(), time.monotonic() + LONG
    for number, evid in zip(numbers, evids, strict=True):
        lib.ca_create_subscription(libca.TIME + DOUBLE, 0, chid, VALUE, note, number, c.byref(evid))
    while len(seen) < SUBSCRIPTIONS and time.monotonic() < end:
        lib.ca_pend_event(0.02)
    for evid in evids:
        lib.ca_clear_subscription(evid)
    lib.ca_flush_io()
    return "many subscriptions", {"connected": connected, "first": len(seen), "all": seen.total()}


def _channels() -> tuple[str, dict[str, Any]]:
    """End with thousands of channels, none of which was cleared."""
    for _ in range(CHANNELS):
        _channel("masses")
    return "an end with many channels", {"connected": _answered(LONG)}


def _leave(client: CaClient) -> None:
    """Put and end the context at once: who connects then gets that value."""
    found = []
    for number in range(LEAVING):
        _apart(partial(_connect_and_put, "leaving", float(number)))
        found.append(_apart(partial(_connect_and_get, "leaving")))
    missed = sum(value != number for number, value in enumerate(found))
    client.emit("contexts/gets behind a context that put", {"missed": missed})


def _end(client: CaClient) -> None:
    """End a context behind a put that was not flushed, and one whose channel was cleared: all was sent."""
    channel = client.channel("contexts:end")
    for turn in range(10):
        _apart(partial(_connect_and_put, "end", 100.0 + turn, clear=bool(turn % 2)))
        end = time.monotonic() + PATIENCE
        while client.get(channel, DOUBLE)["value"] != [100.0 + turn] and time.monotonic() < end:
            time.sleep(0.005)
        client.emit(f"contexts/end/{turn}", client.get(channel, DOUBLE))


def _connect_and_put(name: str, value: float, *, clear: bool = False) -> None:
    chid = _channel(name)
    _answered()
    _put(chid, value)
    if clear:
        lib.ca_clear_channel(chid)


def _connect_and_get(name: str) -> float:
    chid = _channel(name)
    _answered()
    return _get(chid)


def _put(chid: c.c_void_p, value: float) -> None:
    """Put a value without a callback, and without flushing it."""
    lib.ca_array_put(DOUBLE, 1, chid, libca.encode(DOUBLE, [value]))


def _get(chid: c.c_void_p) -> float:
    """Return the value; NaN if it was not told in time."""
    value = c.c_double()
    lib.ca_array_get(DOUBLE, 1, chid, c.byref(value))
    return value.value if _answered() else float("nan")
