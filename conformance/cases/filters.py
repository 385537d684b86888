"""Channel filters: what a channel announces, what a get and a subscription of it bring, element by element."""

from __future__ import annotations

from conformance import libca
from conformance.cases.get import counts, set_value
from conformance.cases.monitor import STEPS, step
from conformance.client import Aspects, CaClient, Monitor
from conformance.libca import ALARM, VALUE
from conformance.points import BANK, all_kinds, kinds, pv
from drivers.base import Point, RecordType

POINTS: tuple[Point, ...] = all_kinds("filters")

# The short form of a part of an array, and the long one
SLICES = (
    *(
        "[0]",
        "[1]",
        "[-1]",
        "[7]",
        "[8]",
        "[99]",
        "[0:2]",
        "[1:3]",
        "[3:]",
        "[:3]",
        "[:]",
        "[::2]",
        "[1::3]",
        "[0:7:2]",
    ),
    *(
        "[-3:-1]",
        "[-3:]",
        "[:-2]",
        "[5:2]",
        "[8:9]",
        "[2:99]",
        "[-99:1]",
        "[::0]",
        "[::-1]",
        "[a]",
        "[1",
        "[]",
        "[1:2:3:4]",
    ),
    *(
        '{"arr":{"s":1,"e":3}}',
        '{"arr":{"s":1,"i":2,"e":6}}',
        '{"arr":{"i":3}}',
        '{"arr":{"s":-2}}',
        '{"arr":{"e":-3}}',
    ),
    *('{"arr":{}}', '{"arr":{"s":"1"}}', '{"arr":{"x":1}}', '{"arr":{"s":1.5}}', "{arr:{s:1,e:2}}", '{"arr":[1,2]}'),
)
OTHERS = (
    *(
        '{"dbnd":{"abs":2}}',
        '{"dbnd":{"abs":0}}',
        '{"dbnd":{"rel":50}}',
        '{"dbnd":{"abs":-1}}',
        '{"dbnd":{"m":"abs","d":2}}',
    ),
    *(
        '{"dbnd":{"m":"rel","d":50}}',
        '{"dbnd":{"m":"none","d":1}}',
        '{"dbnd":{"d":2}}',
        '{"dbnd":{}}',
        '{"dbnd":{"abs":"x"}}',
    ),
    *('{"dec":{"n":2}}', '{"dec":{"n":3}}', '{"dec":{"n":1}}', '{"dec":{"n":0}}', '{"dec":{"n":-1}}', '{"dec":{}}'),
    *('{"sync":{"m":"while","s":"none such"}}', '{"sync":{"m":"while"}}', '{"sync":{"m":"nonsense","s":"red"}}'),
    *('{"ts":{"str":"iso"}}', '{"ts":{"num":"nonsense"}}', '{"ts":{"x":1}}', '{"utag":{"M":1,"V":1}}', '{"none":{}}'),
    *("{}", "{", '{"dbnd":{"abs":2}', '{"dbnd":{"abs":2}}x', '{"dbnd":{"abs":2},"dec":{"n":2}}', "{dbnd:{abs:2}}"),
    *(
        '{"dbnd":{"abs":2}, }',
        "{'dbnd':{'abs':2}}",
        '{"dbnd":{"abs":2,}}',
        '{"dbnd":{"abs":+2}}',
        '{"dbnd":{"abs":.5}}',
    ),
)
STEPPED = {RecordType.ai, RecordType.longin, RecordType.mbbi, RecordType.stringin}
NUMBERS = (3, 0, 1, 8, 2)


def run(client: CaClient) -> None:
    """Run the cases."""
    client.connect(f"{pv(f'filters:{name}')}.{text}" for name, rtyp, _ in kinds() for text in _texts(name, rtyp))
    for name, rtyp, _ in kinds():
        set_value(client, f"filters:{name}", rtyp)
        if rtyp is RecordType.waveform:
            for text in SLICES:
                _array(client, name, text)
        for text in _others(name, rtyp):
            _events(client, name, rtyp, text)


def _others(name: str, rtyp: RecordType) -> tuple[str, ...]:
    return OTHERS if rtyp in STEPPED or name == "waveform_DOUBLE" else ()


def _texts(name: str, rtyp: RecordType) -> tuple[str, ...]:
    return (SLICES if rtyp is RecordType.waveform else ()) + _others(name, rtyp)


def _channel(client: CaClient, name: str, text: str) -> tuple[str, Aspects]:
    """Return the name of a filtered channel, and what it announces."""
    full = f"{pv(f'filters:{name}')}.{text}"
    channel = client.connect([full]).get(full)
    if channel is None:
        return full, {"connects": False}
    return full, {"connects": True, "native": channel.native, "count": channel.count, "access": channel.access}


def _array(client: CaClient, name: str, text: str) -> None:
    """Read a part of an array of changing length, all, one and two of it, in the own type and as texts."""
    full, announced = _channel(client, name, text)
    client.emit(f"filters/{name}/{text}/announced", announced)
    if not announced["connects"]:
        return
    channel = client.connect([full])[full]
    for number in NUMBERS:
        client.set(f"filters:{name}:Src", number)
        for label, count in counts(channel).items():
            for dbr in (libca.TIME + channel.native, libca.STRING):
                key = f"filters/{name}/{text}/of {number}/count {label}/{libca.DBR_NAMES[dbr]}"
                client.emit(key, client.get(channel, dbr, count))
    with client.monitor(channel, libca.TIME + channel.native, VALUE, 0) as monitor:
        client.fence()
        monitor.drain()
        for turn, number in enumerate((*NUMBERS, len(BANK["DOUBLE"]))):
            client.set(f"filters:{name}:Src", number)
            client.fence()
            client.emit(f"filters/{name}/{text}/{turn}: of {number}", {"events": monitor.drain()})


def _events(client: CaClient, name: str, rtyp: RecordType, text: str) -> None:
    """Step a record through its values under a filter: which of them come."""
    full, announced = _channel(client, name, text)
    client.emit(f"filters/{name}/{text}/announced", announced)
    if not announced["connects"]:
        return
    channel = client.connect([full])[full]
    plain = libca.STS + channel.native  # without the stamp, of which filters make texts and numbers
    with client.monitor(channel, plain, VALUE | ALARM, 0) as monitor:
        client.fence()
        told = '"ts"' in text
        client.emit(f"filters/{name}/{text}/first", {"status": monitor.status, "events": _seen(monitor, told)})
        for number, value in enumerate(STEPS[rtyp]):
            step(client, f"filters:{name}", rtyp, value)
            client.fence()
            client.emit(f"filters/{name}/{text}/{number}:{value}", {"events": _seen(monitor, told)})


def _seen(monitor: Monitor, told: bool) -> list[Aspects]:
    """Return the events that came; of times in place of values (``told``) no more than how long they are."""
    events = monitor.drain()
    return [event | {"value": len(str(event["value"]))} for event in events] if told else events
