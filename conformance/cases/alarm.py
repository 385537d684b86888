"""Alarms: values against limits with hysteresis up and down, severities of states, a change of state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conformance import libca
from conformance.cases.monitor import step
from conformance.client import CaClient
from conformance.points import ANALOG, BINARY, LONG, MULTI, with_source
from drivers.base import Point, RecordType, Severity

NONE, MINOR, MAJOR, INVALID = Severity

HYSTERESES = (0.0, 1.0, 5.0)
LIMITS: dict[str, dict[str, Any]] = {
    "usual": {"lolo": -20.0, "low": -10.0, "high": 10.0, "hihi": 20.0},
    "inner only": {"lolo": -20.0, "low": -10.0, "high": 10.0, "hihi": 20.0, "hhsv": NONE, "llsv": NONE},
    "outer only": {"lolo": -20.0, "low": -10.0, "high": 10.0, "hihi": 20.0, "hsv": NONE, "lsv": NONE},
    "upper only": {"high": 10.0, "hihi": 20.0, "hhsv": INVALID, "hsv": MAJOR},
    "worse inside": {"lolo": -20.0, "low": -10.0, "high": 10.0, "hihi": 20.0, "hhsv": MINOR, "hsv": MAJOR},
    "close": {"lolo": -20.0, "low": -18.0, "high": 18.0, "hihi": 20.0},
    "crossed": {"lolo": -10.0, "low": -20.0, "high": 20.0, "hihi": 10.0},
    "overlapping": {"lolo": 5.0, "low": 8.0, "high": -8.0, "hihi": -5.0},
    "equal": {"lolo": -10.0, "low": -10.0, "high": 10.0, "hihi": 10.0},
}
UP = (
    -25,
    -21,
    -20,
    -19,
    -18,
    -16,
    -15,
    -14,
    -11,
    -10,
    -9,
    -6,
    -5,
    -4,
    0,
    4,
    5,
    8,
    9,
    10,
    11,
    14,
    15,
    16,
    18,
    19,
    20,
    21,
    25,
)
RAMPS: dict[str, tuple[float, ...]] = {
    "up": UP,
    "down": UP[::-1],
    "jumps": (0, 15, 9, 5, 4, 25, 19, 16, 14, 9.5, 4.5, 0, -25, 25, -15, 15, 19.5, 9.5, 15, 9.5, -9.5, 0),
}

STATE_SEVERITIES = {
    "none": (NONE, NONE, NONE),
    "mixed": (NONE, MINOR, MAJOR),
    "all": (MINOR, MAJOR, INVALID),
}
STATE_STEPS = ("0", "1", "1", "0", "2", "0", "2", "1", "1", "2", "2", "0")


def _numbers() -> Iterator[tuple[str, Point]]:
    for rtyp in (*ANALOG, *LONG):
        for name, limits in LIMITS.items():
            for hyst in HYSTERESES:
                yield (
                    name,
                    Point(
                        name=f"alarm:{rtyp.name}:{name.replace(' ', '_')}:{hyst:g}", rtyp=rtyp, hyst=hyst, **limits
                    ),
                )


def _states() -> Iterator[tuple[str, Point]]:
    for rtyp in (*BINARY, *MULTI):
        words = ("A", "B", "C")[: 2 if rtyp in BINARY else 3]
        for name, severities in STATE_SEVERITIES.items():
            for cosv in Severity:
                yield (
                    f"{name}-cosv {cosv.name}",
                    Point(
                        name=f"alarm:{rtyp.name}:{name}:{cosv.name}",
                        rtyp=rtyp,
                        states=words,
                        severities=severities[: len(words)],
                        cosv=cosv,
                    ),
                )


NUMBERS = tuple(_numbers())
STATES = tuple(_states())
POINTS: tuple[Point, ...] = tuple(each for _, point in (*NUMBERS, *STATES) for each in with_source(point))


def run(client: CaClient) -> None:
    """Run the cases."""
    for name, point in NUMBERS:
        for ramp, values in RAMPS.items():
            key = f"alarm/{point.rtyp.name}/{name}/hyst {point.hyst:g}/{ramp}"
            _steps(
                client, key, point, [f"{value:g}" for value in values if point.rtyp in ANALOG or value == int(value)]
            )
    for name, point in STATES:
        allowed = STATE_STEPS if point.rtyp in MULTI else tuple(value for value in STATE_STEPS if value != "2")
        _steps(client, f"alarm/{point.rtyp.name}/{name}", point, allowed)
        if not point.rtyp.writable:
            _beyond(client, f"alarm/{point.rtyp.name}/{name}", point)
    _told(client)


def _told(client: CaClient) -> None:
    """Watch the fields that tell of an alarm, each with the alarm with which it is shown."""
    point = "alarm:ao:usual:0"
    for field in ("STAT", "SEVR", "AMSG"):
        channel = client.channel(f"{point}.{field}")
        for mask in (libca.VALUE, libca.ALARM):
            step(client, point, RecordType.ao, "0")
            with client.monitor(channel, libca.STS + libca.STRING, mask) as monitor:
                client.fence()
                for value in ("15", "25", "26", "-25", "-15", "0"):
                    step(client, point, RecordType.ao, value)
                client.fence()
                client.emit(f"alarm/{field}/{libca.mask_name(mask)}", {"events": monitor.drain()})


def _steps(client: CaClient, key: str, point: Point, values: list[str] | tuple[str, ...]) -> None:
    """Set values, and observe the alarm after each and all events of a subscription to alarms alone."""
    channel = client.channel(point.name)
    before = client.get(channel, libca.STS + channel.native)
    client.emit(f"{key}/before", before)
    with client.monitor(channel, libca.STS + channel.native, libca.ALARM) as monitor:
        client.fence()
        for number, value in enumerate(values):
            step(client, point.name, point.rtyp, value)
            client.emit(f"{key}/{number:02}:{value}", client.get(channel, libca.STS + channel.native))
        client.fence()
        client.emit(f"{key}/events", {"events": monitor.drain()})


def _beyond(client: CaClient, key: str, point: Point) -> None:
    """Set a state for which there is no word: an instrument may report one."""
    channel = client.channel(point.name)
    for value in ("5", "15", "16", "0"):
        step(client, point.name, point.rtyp, value)
        for dbr in (libca.STS + libca.ENUM, libca.STS + libca.STRING):
            client.emit(f"{key}/beyond/{value}/{libca.DBR_NAMES[dbr]}", client.get(channel, dbr))
