"""Subscriptions: which events come for which mask, in every type, with every count, and with which time stamp."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise, product

from conformance import libca
from conformance.cases.get import counts
from conformance.libca import ALARM, LOG, MASKS, VALUE
from conformance.points import all_kinds, kinds
from conformance.session import Aspects, Channel, Monitor, Session
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


def run(session: Session) -> None:
    for name, rtyp, _ in kinds():
        _masks(session, name, f"monitor:{name}", rtyp)
        if not (rtyp.states and rtyp.writable):  # a setpoint without states takes nothing
            _masks(session, f"{name}:bare", f"monitor:{name}:bare", rtyp)
        _types(session, name, f"monitor:{name}", rtyp)
        _counts(session, name, f"monitor:{name}", rtyp)
        _stamps(session, name, f"monitor:{name}", rtyp)
    _put_types(session)


def step(session: Session, point: str, rtyp: RecordType, value: str) -> None:
    """Bring a record to a value in the way that its type allows."""
    if rtyp is RecordType.waveform:
        session.set(f"{point}:Src", float(value))
    elif not rtyp.writable:
        session.drive(point, value)
    elif rtyp is RecordType.stringout:
        session.set_text(point, value)
    else:
        session.set(point, float(value))


def _masks(session: Session, name: str, point: str, rtyp: RecordType) -> None:
    """All masks at once: from the first event, before any value, through the steps."""
    channel = session.channel(point)
    with ExitStack() as stack:
        monitors = {
            libca.mask_name(mask): stack.enter_context(session.monitor(channel, libca.TIME + channel.native, mask, 0))
            for mask in ALL_MASKS
        }
        session.fence()
        _emit(session, f"monitor/{name}/mask", "begin", monitors)
        for number, value in enumerate(STEPS[rtyp]):
            step(session, point, rtyp, value)
            session.fence()
            _emit(session, f"monitor/{name}/mask", f"{number}:{value}", monitors)


def _emit(session: Session, key: str, when: str, monitors: dict[str, Monitor]) -> None:
    for name, monitor in monitors.items():
        session.emit(f"{key}-{name}/{when}", _events(monitor))


def _events(monitor: Monitor) -> Aspects:
    return {"status": monitor.status, "events": monitor.take()}


def _types(session: Session, name: str, point: str, rtyp: RecordType) -> None:
    """Every DBR type, some at a time: base empties one queue after another."""
    channel = session.channel(point)
    for some in (range(20), [dbr for dbr in range(20, len(libca.DBR_NAMES)) if dbr not in PUT_TYPES]):
        with ExitStack() as stack:
            monitors = {
                libca.DBR_NAMES[dbr]: stack.enter_context(session.monitor(channel, dbr, VALUE | ALARM, 1))
                for dbr in some
            }
            session.fence()
            _emit(session, f"monitor/{name}/type", "begin", monitors)
            step(session, point, rtyp, STEPS[rtyp][2])
            session.fence()
            _emit(session, f"monitor/{name}/type", "change", monitors)
            step(session, point, rtyp, STEPS[rtyp][0])


def _put_types(session: Session) -> None:
    """The types that only a put has, in a subscription: a server that hangs up here does so at each new try."""
    channel = session.channel("monitor:ai")
    for dbr in PUT_TYPES:
        with session.monitor(channel, dbr, VALUE | ALARM, 1) as monitor:
            session.fence()
            session.emit(f"monitor/ai/type-{libca.DBR_NAMES[dbr]}/begin", _events(monitor))


def _counts(session: Session, name: str, point: str, rtyp: RecordType) -> None:
    channel = session.channel(point)
    native = ("TIME_native", libca.TIME + channel.native)
    for (label, count), (dbr_label, dbr) in product(
        counts(channel).items(), (("STRING", libca.STRING), ("DOUBLE", libca.DOUBLE), native)
    ):
        with session.monitor(channel, dbr, VALUE, count) as monitor:
            session.fence()
            key = f"monitor/{name}/count {label}/{dbr_label}"
            session.emit(f"{key}/begin", _events(monitor))
            step(session, point, rtyp, STEPS[rtyp][2])
            session.fence()
            session.emit(f"{key}/change", _events(monitor))
        step(session, point, rtyp, STEPS[rtyp][0])


def _stamps(session: Session, name: str, point: str, rtyp: RecordType) -> None:
    """A get shows the stamp of the last event, and stamps move on."""
    channel = session.channel(point)
    dbr = libca.TIME + channel.native
    stamps = []
    with session.monitor(channel, dbr, VALUE | LOG | ALARM) as monitor:
        session.fence()
        monitor.take()
        for value in STEPS[rtyp]:
            step(session, point, rtyp, value)
            session.fence()
            events = monitor.take()
            stamps.append(_stamp_of(session, channel, dbr))
            if events:
                same = events[-1].get("stamp") == stamps[-1]
                session.emit(f"stamp/{name}/{len(stamps)}/get", {"same as the event's": same})
    session.emit(f"stamp/{name}/order", {"rising": all(a < b for a, b in pairwise(stamps))})


def _stamp_of(session: Session, channel: Channel, dbr: int) -> tuple[int, int]:
    stamp: tuple[int, int] = session.get(channel, dbr).get("stamp", (0, 0))
    return stamp
