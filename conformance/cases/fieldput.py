"""Changing fields at run time: the put itself, the field, the record's alarm and properties, and all events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from conformance import libca
from conformance.cases.monitor import step
from conformance.client import Aspects, CaChannel, CaClient, Monitor
from conformance.libca import ALARM, LOG, PROPERTY, VALUE
from conformance.points import ANALOG, BINARY, LONG, MULTI, TEXT, all_kinds, full, kinds, pv, with_source
from drivers.base import Point, RecordType

Put = tuple[str, int, list[Any]]

D, S, E, C, L = libca.DOUBLE, libca.STRING, libca.ENUM, libca.CHAR, libca.LONG

ALL: tuple[Put, ...] = (
    *(("DESC", S, [text]) for text in ("new text", "", "z" * 39, "caf\xe9")),
    ("DESC", D, [1.5]),
    ("DESC$", C, [*b"by characters", 0]),
    ("DESC$", C, [*(b"w" * 40), 0]),
    ("DESC$", S, ["as a string"]),
    *(("UDF", E, [value]) for value in (1, 0)),
    *(("UDFS", S, [word]) for word in ("MINOR", "garbage", "INVALID")),
    *((name, S, ["MAJOR"]) for name in ("SEVR", "NSEV", "ACKS")),
    *((name, S, ["READ"]) for name in ("STAT", "NSTA")),
    *((name, S, ["text"]) for name in ("NAME", "RTYP", "AMSG", "ASG", "EVNT", "DTYP", "SDIS")),
    ("ACKT", S, ["NO"]),
    ("ACKT", S, ["YES"]),
    *(("SCAN", S, [word]) for word in ("garbage", "Passive")),
    *((name, L, [value]) for name in ("PHAS", "TSE", "DISV", "LCNT", "PACT") for value in (2, 0)),
    ("DISV", L, [1]),
    *(("PINI", S, [word]) for word in ("YES", "NO")),
    *(("PRIO", S, [word]) for word in ("HIGH", "LOW")),
    *(("DISS", S, [word]) for word in ("MAJOR", "NO_ALARM")),
)
SEVERITY: tuple[tuple[int, list[Any]], ...] = (
    *((S, [word]) for word in ("MAJOR", "INVALID", "garbage", "2", "7", "")),
    *((E, [index]) for index in (1, 0, 3, 4, 65535)),
    *((D, [number]) for number in (2.0, 1.7, -1.0, 9.0)),
)
NUMBER: tuple[tuple[int, list[Any]], ...] = (
    *((D, [number]) for number in (11.0, 30.5, -30.0, 12.0, float("nan"), float("inf"))),
    *((S, [text]) for text in ("13", "garbage", "1.5 V", "")),
    (L, [14]),
)


def _numeric(rtyp: RecordType) -> Iterator[Put]:
    for name in ("HIHI", "HIGH", "LOW", "LOLO", "HOPR", "LOPR"):
        yield from ((name, dbr, values) for dbr, values in NUMBER)
    for name in ("HHSV", "HSV", "LSV", "LLSV"):
        yield from ((name, dbr, values) for dbr, values in SEVERITY)
    for name in ("HYST", "MDEL", "ADEL"):
        yield from ((name, D, [number]) for number in (3.0, -1.0, float("nan"), 1.5, 0.0))
    yield from (("EGU", S, [unit]) for unit in ("mA", "", "u" * 15, "v" * 16, "kV/min"))
    yield from (("EGU$", C, [*b"by$", 0]), ("EGU", S, ["kV/min"]))
    if rtyp in ANALOG:
        yield from (("PREC", L, [number]) for number in (5, 0, 15, 16, -1, 99, 3))
    if rtyp.writable:
        yield from ((name, D, [number]) for name in ("DRVH", "DRVL") for number in (30.0, 5.0, float("nan")))


def _states(rtyp: RecordType) -> Iterator[Put]:
    words = ("ZNAM", "ONAM") if rtyp in BINARY else ("ZRST", "ONST", "FRST", "FFST")
    severities = ("ZSV", "OSV", "COSV") if rtyp in BINARY else ("ZRSV", "ONSV", "FFSV", "UNSV", "COSV")
    for name in words:
        yield from ((name, S, [word]) for word in ("changed", "", "s" * 25, "t" * 26))
    for name in severities:
        yield from ((name, dbr, values) for dbr, values in SEVERITY)
    if rtyp in MULTI:
        yield from ((name, L, [number]) for name in ("ZRVL", "ONVL") for number in (5, 0))


def puts(rtyp: RecordType) -> list[Put]:
    """Return what is put to a record's fields, one after another."""
    own: Iterator[Put] = iter(())
    if rtyp.numeric:
        own = _numeric(rtyp)
    elif rtyp.states:
        own = _states(rtyp)
    elif rtyp is RecordType.waveform:
        own = iter(
            [("EGU", S, ["mA"]), ("PREC", L, [5]), ("HOPR", D, [70.0]), ("NELM", L, [2]), ("FTVL", S, ["LONG"])]
        )
    return [*own, *ALL]


START = dict.fromkeys((*ANALOG, *LONG), "12") | dict.fromkeys((*BINARY, *MULTI), "1") | dict.fromkeys(TEXT, "text")

ACK = {
    rtyp: Point(name=f"fieldput:ack:{rtyp.name}", rtyp=rtyp, lolo=-20.0, low=-10.0, high=10.0, hihi=20.0)
    for rtyp in ANALOG
}
HELD = {rtyp: full(f"fieldput:held:{rtyp.name}", rtyp) for rtyp in RecordType if rtyp.writable}
POINTS: tuple[Point, ...] = (
    *all_kinds("fieldput"),
    *(each for point in ACK.values() for each in with_source(point)),
    *HELD.values(),
)


def run(client: CaClient) -> None:
    """Run the cases."""
    client.connect(
        f"{pv(f'fieldput:{name}')}.{field}"
        for name, rtyp, _ in kinds()
        for field in dict.fromkeys(put[0] for put in puts(rtyp))
    )
    for name, rtyp, _ in kinds():
        for number, put in enumerate(puts(rtyp)):
            _put(client, name, rtyp, number, put)
    _process(client)
    _disabled(client)
    for point in ACK.values():
        _acknowledge(client, point)


def _put(client: CaClient, name: str, rtyp: RecordType, number: int, put: Put) -> None:
    """Put to a field of a record in its first state, observe all that follows, and put the field back."""
    field, dbr, values = put
    text = values[0] if len(values) == 1 else bytes(values).decode("latin-1")
    key = f"fieldput/{name}/{field}/{number:03} {libca.TYPES[dbr]} {text!r}"
    record = client.channel(f"fieldput:{name}")
    channel = client.connect([f"{record.name}.{field}"]).get(f"{record.name}.{field}")
    if channel is None:
        client.emit(key, {"connects": False})
    elif "w" not in channel.access:
        client.emit(key, {"connects": True, "put": client.put_wait(channel, dbr, values)})
    else:
        step(client, f"fieldput:{name}", rtyp, START.get(rtyp, "3"))
        before = client.get(channel, channel.native, 0)
        client.emit(key, {"connects": True, **_effects(client, record, channel, dbr, values)})
        client.put_wait(channel, channel.native, before.get("value", []))


def _effects(client: CaClient, record: CaChannel, channel: CaChannel, dbr: int, values: list[Any]) -> Aspects:
    with ExitStack() as stack:
        monitors = _watch(client, stack, record, channel)
        outcome = client.put_wait(channel, dbr, values)
        client.fence()
        events = {name: monitor.drain() for name, monitor in monitors.items()}
    return {
        "put": outcome,
        "field": client.get(channel, channel.native, 0),
        "record": client.get(record, libca.CTRL + record.native),
        "text": client.get(record, libca.STRING),
        **events,
    }


def _watch(client: CaClient, stack: ExitStack, record: CaChannel, field: CaChannel) -> dict[str, Monitor]:
    """Subscribe to the record and to the field, once for each mask, and remove the first events."""
    masks = {"value": VALUE, "log": LOG, "alarm": ALARM, "property": PROPERTY}
    monitors = {
        f"{whose}'s {name}": stack.enter_context(client.monitor(channel, libca.STS + channel.native, mask, 1))
        for whose, channel in (("record", record), ("field", field))
        for name, mask in masks.items()
    }
    client.fence()
    for monitor in monitors.values():
        monitor.drain()
    return monitors


def _process(client: CaClient) -> None:
    """Put to PROC: base reads an input anew, and writes an output again."""
    for name, rtyp, _ in kinds():
        variant = "" if rtyp.states else ":bare"  # a setpoint without states accepts nothing
        record = client.channel(f"fieldput:{name}{variant}")
        proc = client.connect([f"{record.name}.PROC"]).get(f"{record.name}.PROC")
        key = f"fieldput/{name}/PROC"
        if proc is None:
            client.emit(f"{key}/undefined", {"connects": False})
            client.emit(f"{key}/defined", {"connects": False})
            continue
        for when in ("undefined", "defined"):
            with client.monitor(record, libca.TIME + record.native, VALUE | ALARM) as monitor:
                client.fence()
                monitor.drain()
                outcome = client.put_wait(proc, L, [1])
                client.fence()
                effects = {"put": outcome, "events": monitor.drain(), "field": client.get(proc, L)}
                client.emit(f"{key}/{when}", {"connects": True, **effects})
            step(client, f"fieldput:{name}{variant}", rtyp, START.get(rtyp, "3"))


def _disabled(client: CaClient) -> None:
    """Disable records: DISP refuses puts to all fields but itself; DISA equal to DISV stops the processing."""
    for rtyp, point in HELD.items():
        record = client.channel(point.name)
        names = [f"{record.name}.{field}" for field in ("DISP", "DESC", "DISA", "PROC")]
        channels = client.connect(names)
        key = f"fieldput/{rtyp.name}/disabled"
        step(client, point.name, rtyp, START[rtyp])
        for field, value in (("DISP", 1), ("DISP", 0), ("DISA", 1), ("DISA", 0)):
            switch = channels.get(f"{record.name}.{field}")
            outcome = client.put_wait(switch, L, [value]) if switch else "not served"
            client.emit(f"{key}/{field}={value}/switch", {"put": outcome})
            by_callback = {"put": client.put_wait(record, S, ["0"])}
            client.emit(f"{key}/{field}={value}/callback", by_callback | {"after": client.get(record, libca.STS + S)})
            plain = client.put(record, S, ["1"])
            client.emit(f"{key}/{field}={value}/plain", plain | {"after": client.get(record, libca.STS + S)})
            if desc := channels.get(f"{record.name}.DESC"):
                client.emit(f"{key}/{field}={value}/DESC", {"put": client.put_wait(desc, S, [f"{field} {value}"])})


def _acknowledge(client: CaClient, point: Point) -> None:
    """Acknowledge alarms as an alarm handler does, with DBR_PUT_ACKT and DBR_PUT_ACKS."""
    record = client.channel(point.name)
    ackt, acks, both = libca.DBR["PUT_ACKT"], libca.DBR["PUT_ACKS"], libca.DBR["STSACK_STRING"]
    names = [f"{record.name}.{field}" for field in ("ACKS", "ACKT")]
    channels = client.connect(names)
    steps: list[tuple[str, int, Any]] = [
        *(("drive", 0, value) for value in ("0", "15", "25", "15", "0")),
        *(("put", acks, value) for value in (0, 1, 2)),
        *(("drive", 0, value) for value in ("25", "15")),
        *(("put", acks, value) for value in (3, 5)),
        *(("drive", 0, value) for value in ("0", "25")),
        *(("put", ackt, value) for value in (0, 0)),
        *(("drive", 0, value) for value in ("15", "0", "25")),
        *(("put", acks, 1), ("put", acks, 2), ("put", ackt, 1)),
        *(("drive", 0, value) for value in ("0", "15", "0")),
        *(("put", ackt, value) for value in (2, 65535, 1)),
        *(("plain", acks, 1), ("plain", ackt, 0), ("plain", ackt, 1)),
    ]
    with ExitStack() as stack:
        monitors = {
            "record": stack.enter_context(client.monitor(record, both, ALARM)),
            **{name[-4:]: stack.enter_context(client.monitor(each, E, VALUE)) for name, each in channels.items()},
        }
        client.fence()
        for number, (what, dbr, value) in enumerate(steps):
            key = f"ack/{point.rtyp.name}/{number:02} {what} {libca.DBR_NAMES[dbr] if dbr else 'to'} {value}"
            outcome: Aspects = {}
            if what == "drive":
                step(client, point.name, point.rtyp, value)
            elif what == "put":
                outcome = {"put": client.put_wait(record, dbr, [value])}
            else:
                outcome = client.put(record, dbr, [value])
            client.fence()
            events = {name: monitor.drain() for name, monitor in monitors.items()}
            client.emit(key, {**outcome, "after": client.get(record, both), **events})
