"""Deadbands: base's own table (modules/database/test/std/rec/analogMonitorTest.c) and some more."""

from __future__ import annotations

from conformance import libca
from conformance.cases.monitor import step
from conformance.client import CaClient
from conformance.points import ANALOG, LONG, with_source
from drivers.base import Point

DEADBANDS = (-1.0, 0.0, 1.5, 2.0)
PATTERNS: tuple[tuple[str, ...], ...] = (
    *(("1", "2"), ("0", "2"), ("0", "0"), ("-0.0", "0.0")),
    *(("nan", "1"), ("nan", "nan"), ("nan", "inf"), ("nan", "-inf")),
    *(("inf", "1"), ("inf", "nan"), ("inf", "inf"), ("inf", "-inf")),
    *(("-inf", "1"), ("-inf", "nan"), ("-inf", "inf"), ("-inf", "-inf")),
    *(("1", "2", "3", "4", "5"), ("1.5", "1.51", "3.02"), ("-1", "1", "-1", "1"), ("2", "4", "5", "6", "8")),
)

RECORDS = {
    (rtyp, deadband): Point(name=f"deadband:{rtyp.name}:{deadband * 10:g}", rtyp=rtyp, mdel=deadband, adel=deadband)
    for rtyp in (*ANALOG, *LONG)
    for deadband in (DEADBANDS if rtyp in ANALOG else (-1.0, 0.0, 2.0))
}
POINTS: tuple[Point, ...] = tuple(each for point in RECORDS.values() for each in with_source(point))
MASKS = (libca.VALUE, libca.LOG, libca.VALUE | libca.LOG, libca.ALARM)


def run(client: CaClient) -> None:
    """Run the cases."""
    for (rtyp, deadband), point in RECORDS.items():
        channel = client.channel(point.name)
        for number, pattern in enumerate(PATTERNS):
            if rtyp in LONG and not all(value.removeprefix("-").isdigit() for value in pattern):
                continue
            step(client, point.name, rtyp, "0")
            key = f"deadband/{rtyp.name}/{deadband:g}/{number:02}:{','.join(pattern)}"
            _pattern(client, key, point, channel.native, pattern)


def _pattern(client: CaClient, key: str, point: Point, native: int, pattern: tuple[str, ...]) -> None:
    """Observe the values and alarms that each mask brings, step by step, without the first event."""
    channel = client.channel(point.name)
    with (
        client.monitor(channel, libca.STS + native, MASKS[0]) as value,
        client.monitor(channel, libca.STS + native, MASKS[1]) as log,
        client.monitor(channel, libca.STS + native, MASKS[2]) as both,
        client.monitor(channel, libca.STS + native, MASKS[3]) as alarm,
    ):
        client.fence()
        for monitor in (value, log, both, alarm):
            monitor.drain()
        for number, number_text in enumerate(pattern):
            step(client, point.name, point.rtyp, number_text)
            client.fence()
            events = {"V": value.drain(), "L": log.drain(), "VL": both.drain(), "A": alarm.drain()}
            client.emit(f"{key}/{number}", dict(events))
