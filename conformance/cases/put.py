"""Writing: every plain type to every kind of record, with and without waiting, sense and nonsense."""

from __future__ import annotations

from typing import Any

from conformance import libca
from conformance.cases.monitor import step
from conformance.client import Aspects, CaClient
from conformance.points import all_kinds, full, kinds
from drivers.base import Point, RecordType

TEXTS = (
    *(
        "1",
        "0",
        "2.5",
        "-1",
        "-2.5",
        " 3 ",
        "+2",
        "1e1",
        "0x10",
        "010",
        "1,5",
        "1 V",
        "1_0",
        "1e400",
        "99",
        "300",
        "70000",
    ),
    *("3000000000", "-3000000000", "nan", "NaN", "inf", "-Infinity", "true", "0b1", ".5", "5.", "1e", "--1"),
    *("Off", "On", "on", "ON", " On", "On ", "Zero", "One", "2", "Three and as long as it g", "Three", "zero"),
    *("", " ", "garbage", "caf\xe9", "tab\there", "x" * 39, "y" * 40),
)
VALUES: dict[int, tuple[Any, ...]] = {
    libca.STRING: tuple(dict.fromkeys(TEXTS)),
    libca.SHORT: (0, 1, 2, -1, 3, 7, 300, 32767, -32768),
    libca.FLOAT: (0.0, 1.0, 1.5, -1.5, 0.1, 1e30, float("nan"), float("inf")),
    libca.ENUM: (0, 1, 2, 3, 4, 15, 16, 300, 65535),
    libca.CHAR: (0, 1, 2, 65, 200, 255),
    libca.LONG: (0, 1, -1, 3, 300, 65536, 65537, 2**31 - 1, -(2**31)),
    libca.DOUBLE: (
        *(0.0, -0.0, 1.0, 1.4, 1.5, 1.9, -0.5, -1.0, -1.9, 0.1, 3.0, 16.0, 300.7, 65536.0, 1e10, -1e10),
        *(4294967296.0, 1e300, 1e-300, float("nan"), float("inf"), float("-inf")),
    ),
}
ARRAYS: dict[int, list[Any]] = {libca.DOUBLE: [1.0, 2.0], libca.STRING: ["1", "2"], libca.CHAR: [72, 105, 0]}

LIMIT_VALUES = (-40.0, -40.5, -1e9, 45.0, 45.4, 45.6, 46.0, 1e9, float("nan"), float("inf"))
LIMITS: dict[str, dict[str, Any]] = {
    "both": {"drvl": -40.0, "drvh": 45.0},
    "crossed": {"drvl": 45.0, "drvh": -40.0},
    "equal": {"drvl": 5.0, "drvh": 5.0},
}

FREE: dict[str, Any] = {"drvl": None, "drvh": None}
LIMIT_POINTS = {
    (rtyp, name): Point(name=f"put:{rtyp.name}:{name}", rtyp=rtyp, **limits)
    for rtyp in (RecordType.ao, RecordType.longout)
    for name, limits in LIMITS.items()
}
POINTS: tuple[Point, ...] = (
    *all_kinds("put"),
    *(full(f"put:free:{rtyp.name}", rtyp, **FREE) for rtyp in (RecordType.ao, RecordType.longout)),
    *LIMIT_POINTS.values(),
)

# Where each record stands before each put, so that a put that does nothing can be told from one that does
START = {"stringout": "start", "bo": "0", "mbbo": "0", "ao": "7", "longout": "7"}


def run(client: CaClient) -> None:
    """Run the cases."""
    for name, rtyp, _ in kinds():
        if rtyp.writable:
            free = {"ao": "free:ao", "longout": "free:longout"}.get(name, name)
            _values(client, name, f"put:{free}", rtyp)
        else:
            _input(client, name, f"put:{name}")
    _limits(client)


def _values(client: CaClient, name: str, point: str, rtyp: RecordType) -> None:
    for dbr, values in VALUES.items():
        for value in values:
            for wait in (False, True):
                step(client, point, rtyp, START[name])
                _put(client, f"put/{name}/{libca.TYPES[dbr]}/{value!r}", point, dbr, [value], wait=wait)
    for dbr, values_of_array in ARRAYS.items():
        for wait in (False, True):
            step(client, point, rtyp, START[name])
            _put(client, f"put/{name}/array of {libca.TYPES[dbr]}", point, dbr, values_of_array, wait=wait)


def _input(client: CaClient, name: str, point: str) -> None:
    """Do what a client can do to an input or an array, each plain type once."""
    channel = client.channel(point)
    for dbr, values in VALUES.items():
        _put(client, f"put/{name}/{libca.TYPES[dbr]}", point, dbr, values[1:2], wait=True)
    if channel.count > 1:
        _put(client, f"put/{name}/array of DOUBLE", point, libca.DOUBLE, [1.0, 2.0], wait=True)


def _put(client: CaClient, key: str, point: str, dbr: int, values: Any, *, wait: bool) -> None:
    """Put, and observe the outcome and what the record shows afterwards."""
    channel = client.channel(point)
    native = libca.TIME + channel.native
    before = client.get(channel, native, 0)
    outcome: Aspects = {"put": client.put_wait(channel, dbr, values)} if wait else client.put(channel, dbr, values)
    after = client.get(client.channel(point), native, 0)
    if outcome["put"] not in ("NORMAL", []):
        outcome["kept"] = before.get("value") == after.get("value")
    client.emit(f"{key}/{'callback' if wait else 'plain'}", outcome | {"after": after})


def _limits(client: CaClient) -> None:
    for (rtyp, name), point in LIMIT_POINTS.items():
        for value in LIMIT_VALUES:
            step(client, point.name, rtyp, "5")
            _put(client, f"put/{rtyp.name}/limits {name}/{value!r}", point.name, libca.DOUBLE, [value], wait=True)
