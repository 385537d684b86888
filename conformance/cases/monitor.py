"""Subscriptions: which events come for which mask, in every type, with every count, and with which time stamp."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise, product

from conformance import libca
from conformance.cases.get import counts
from conformance.client import Aspects, CaChannel, CaClient, Monitor
from conformance.libca import ALARM, LOG, MASKS, VALUE
from conformance.points import all_kinds, kinds
from drivers.base import Point, RecordType

POINTS: tuple[Point, ...] = all_kinds("monitor")

PUT_TYPES = (libca.DBR["PUT_ACKT"], libca.DBR["PUT_ACKS"])
ALL_MASKS = range(1, 1 << len(MASKS))

# From one alarm to another and back, with steps that change nothing and steps that change only the value
STEPS: dict[RecordType, tuple[str, ...]] = {
    RecordType.ai: ("1", "1", "2", "11", "12", "21", "-11", "1"),
    RecordType.ao: ("1", "1", "2", "11", "12", "21", "-11", "1"),
    RecordType.longin: ("1", "1", "2", "11", "12", "21", "-11", "1"),
    RecordType.longout: ("1", "1", "2", "11", "12", "21", "-11", "1"),
    RecordType.bi: ("0", "0", "1", "1", "0"),
    RecordType.bo: ("0", "0", "1", "1", "0"),
    RecordType.mbbi: ("0", "0", "1", "2", "3", "3", "0"),
    RecordType.mbbo: ("0", "0", "1", "2", "3", "3", "0"),
    RecordType.stringin: ("a", "a", "b", "", "", "a"),
    RecordType.stringout: ("a", "a", "b", "", "", "a"),
    RecordType.waveform: ("3", "3", "1", "8", "8", "2"),
}


def run(client: CaClient) -> None:
    """Run the cases."""
    for name, rtyp, _ in kinds():
        _masks(client, name, f"monitor:{name}", rtyp)
        if not (rtyp.states and rtyp.writable):  # a setpoint without states accepts nothing
            _masks(client, f"{name}:bare", f"monitor:{name}:bare", rtyp)
        _types(client, name, f"monitor:{name}", rtyp)
        _counts(client, name, f"monitor:{name}", rtyp)
        _stamps(client, name, f"monitor:{name}", rtyp)
    _put_types(client)


def step(client: CaClient, point: str, rtyp: RecordType, value: str) -> None:
    """Bring a record to a value in the way that its type allows."""
    if rtyp is RecordType.waveform:
        client.set(f"{point}:Src", float(value))
    elif not rtyp.writable:
        client.drive(point, value)
    elif rtyp is RecordType.stringout:
        client.set_text(point, value)
    else:
        client.set(point, float(value))


def _masks(client: CaClient, name: str, point: str, rtyp: RecordType) -> None:
    """Subscribe with all masks at once: from the first event, before any value, through the steps."""
    channel = client.channel(point)
    with ExitStack() as stack:
        monitors = {
            libca.mask_name(mask): stack.enter_context(client.monitor(channel, libca.TIME + channel.native, mask, 0))
            for mask in ALL_MASKS
        }
        client.fence()
        _emit(client, f"monitor/{name}/mask", "begin", monitors)
        for number, value in enumerate(STEPS[rtyp]):
            step(client, point, rtyp, value)
            client.fence()
            _emit(client, f"monitor/{name}/mask", f"{number}:{value}", monitors)


def _emit(client: CaClient, key: str, when: str, monitors: dict[str, Monitor]) -> None:
    for name, monitor in monitors.items():
        client.emit(f"{key}-{name}/{when}", _events(monitor))


def _events(monitor: Monitor) -> Aspects:
    return {"status": monitor.status, "events": monitor.drain()}


def _types(client: CaClient, name: str, point: str, rtyp: RecordType) -> None:
    """Subscribe in every DBR type, some at a time: base empties one queue after another."""
    channel = client.channel(point)
    for some in (range(20), [dbr for dbr in range(20, len(libca.DBR_NAMES)) if dbr not in PUT_TYPES]):
        with ExitStack() as stack:
            monitors = {
                libca.DBR_NAMES[dbr]: stack.enter_context(client.monitor(channel, dbr, VALUE | ALARM, 1))
                for dbr in some
            }
            client.fence()
            _emit(client, f"monitor/{name}/type", "begin", monitors)
            step(client, point, rtyp, STEPS[rtyp][2])
            client.fence()
            _emit(client, f"monitor/{name}/type", "change", monitors)
            step(client, point, rtyp, STEPS[rtyp][0])


def _put_types(client: CaClient) -> None:
    """Subscribe in the types that only a put has: a server that closes the connection does so at each new try."""
    channel = client.channel("monitor:ai")
    for dbr in PUT_TYPES:
        with client.monitor(channel, dbr, VALUE | ALARM, 1) as monitor:
            client.fence()
            client.emit(f"monitor/ai/type-{libca.DBR_NAMES[dbr]}/begin", _events(monitor))


def _counts(client: CaClient, name: str, point: str, rtyp: RecordType) -> None:
    channel = client.channel(point)
    native = ("TIME_native", libca.TIME + channel.native)
    for (label, count), (dbr_label, dbr) in product(
        counts(channel).items(), (("STRING", libca.STRING), ("DOUBLE", libca.DOUBLE), native)
    ):
        with client.monitor(channel, dbr, VALUE, count) as monitor:
            client.fence()
            key = f"monitor/{name}/count {label}/{dbr_label}"
            client.emit(f"{key}/begin", _events(monitor))
            step(client, point, rtyp, STEPS[rtyp][2])
            client.fence()
            client.emit(f"{key}/change", _events(monitor))
        step(client, point, rtyp, STEPS[rtyp][0])


def _stamps(client: CaClient, name: str, point: str, rtyp: RecordType) -> None:
    """Check that a get shows the stamp of the last event, and that stamps move on."""
    channel = client.channel(point)
    dbr = libca.TIME + channel.native
    stamps = []
    with client.monitor(channel, dbr, VALUE | LOG | ALARM) as monitor:
        client.fence()
        monitor.drain()
        for value in STEPS[rtyp]:
            step(client, point, rtyp, value)
            client.fence()
            events = monitor.drain()
            stamps.append(_stamp_of(client, channel, dbr))
            if events:
                same = events[-1].get("stamp") == stamps[-1]
                client.emit(f"stamp/{name}/{len(stamps)}/get", {"same as the event's": same})
    client.emit(f"stamp/{name}/order", {"rising": all(a < b for a, b in pairwise(stamps))})


def _stamp_of(client: CaClient, channel: CaChannel, dbr: int) -> tuple[int, int]:
    stamp: tuple[int, int] = client.get(channel, dbr).get("stamp", (0, 0))
    return stamp
