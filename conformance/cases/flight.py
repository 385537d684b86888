"""Several puts on their way at once: how each ends, how many updates there are, in which order, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conformance import libca
from conformance.cases.monitor import step
from conformance.cases.put import START
from conformance.client import Aspects, CaClient
from conformance.libca import ALARM, LOG, VALUE
from conformance.points import all_kinds, kinds
from drivers.base import Point, RecordType

POINTS: tuple[Point, ...] = all_kinds("flight")

# What is put without waiting: rising, the same again and again, back and forth, with some that are refused
SERIES: dict[str, tuple[Any, ...]] = {
    "rising": (1, 2, 3, 4, 5, 6),
    "equal": (2, 2, 2, 2),
    "back and forth": (1, 2, 1, 2, 1),
    "one": (3,),
}
# Records of which base keeps no value with an update (dbEvent.c: texts, and fields with SPC_DBADDR): where it is slow
# to send them it sends the value of then, once for each that was put
OF_NOW = {RecordType.mbbo, RecordType.stringout}
STATES: dict[str, tuple[Any, ...]] = {"back and forth": (1, 0, 1, 0, 1), "equal": (1, 1, 1), "one": (1,)}


def run(client: CaClient) -> None:
    """Run the cases."""
    for name, rtyp, _ in kinds():
        if rtyp.writable:
            for label, values in (STATES if rtyp.states else SERIES).items():
                for wait in (False, True):
                    _series(client, name, rtyp, label, values, wait=wait)


def _series(
    client: CaClient, name: str, rtyp: RecordType, label: str, values: tuple[Any, ...], *, wait: bool
) -> None:
    """Put values one behind the other without waiting; observe endings, updates of each mask, and the value then."""
    point = f"flight:{name}"
    step(client, point, rtyp, START[name])
    channel = client.channel(point)
    dbr = libca.STRING if rtyp is RecordType.stringout else libca.DOUBLE
    native = channel.native  # while values follow each other, base may send one with the alarm of another
    with client.monitor(channel, native, VALUE | ALARM) as monitor, client.monitor(channel, native, LOG) as log:
        client.fence()
        monitor.drain()
        log.drain()
        put = [str(value) if dbr == libca.STRING else float(value) for value in values]
        endings = client.put_in_flight(channel, dbr, put, wait=wait)
        behind = client.get(channel, native)
        client.fence()
        seen, logged = monitor.drain(), log.drain()
    client.emit(
        f"flight/{name}/{label}/{'callback' if wait else 'plain'}",
        {
            "puts": endings,
            "get behind": behind,
            "last": [seen[-1:], logged[-1:]],
            "only what was put": [_put(seen, put), _put(logged, put)],
            **({} if rtyp in OF_NOW else {"in order": [_in_order(seen, put), _in_order(logged, put)]}),
        },
    )


def _put(events: Sequence[Aspects], values: Sequence[Any]) -> bool:
    """Return True if the events show nothing but values that were put, and are no more than those."""
    shown = [str(_number(event["value"])) for event in events]
    return len(shown) <= len(values) and {str(value) for value in values}.issuperset(shown)


def _in_order(events: Sequence[Aspects], values: Sequence[Any]) -> bool:
    """Return True if the events show some of the values, or all, in the order in which they were put.

    How many are left out is a matter of speed with every server.
    """
    rest = iter([str(value) for value in values])
    return all(str(_number(event["value"])) in rest for event in events)


def _number(value: Any) -> Any:
    (one,) = value
    return float(one) if isinstance(one, int) else one
