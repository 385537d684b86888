"""Channel filters: what a channel announces, what a get and a subscription of it bring, element by element."""

from __future__ import annotations

from itertools import product

from conformance import libca
from conformance.cases.get import counts, set_value
from conformance.cases.monitor import STEPS, step
from conformance.client import Aspects, CaChannel, CaClient, Monitor
from conformance.libca import ALARM, VALUE
from conformance.points import BANK, GROUP, all_kinds, array, kinds, pv
from drivers.base import Point, RecordType

# An array that never has more than one element
ONE = "waveform_DOUBLE:one"
POINTS: tuple[Point, ...] = (
    *all_kinds("filters"),
    *array(Point(name=f"filters:{ONE}", rtyp=RecordType.waveform, nelm=1, group=GROUP)),
)

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
# Pieces of the seconds and nanoseconds of a time: two of them, one, and none
PIECES = (
    *("{}", '{"e":9}', '{"s":0,"e":0}', '{"s":1}', '{"s":-1}', '{"i":2}'),
    *('{"s":1,"e":0}', '{"s":5}', '{"s":2,"e":3}', '{"e":-3}'),
)
TIMES = (
    *(f'{{"ts":{{"num":"ts"}},"arr":{piece}}}' for piece in PIECES),
    *(f'{{"arr":{piece},"ts":{{"num":"ts"}}}}' for piece in PIECES),
    *(
        '[1]{"ts":{"num":"ts"}}',
        '{"ts":{"num":"sec"},"arr":{"s":1}}',
        '{"dec":{"n":1},"ts":{"num":"ts"},"arr":{"s":1}}',
    ),
)
TIMED = ("ai", "waveform_DOUBLE")
# Up and down, through 0 and the alarms of a full record
SERIES = (
    *("0", "-10", "-10.5", "-11.5", "-5", "-4.9", "-4", "0", "0.1", "0.2", "-0.1", "-0.1", "-100", "-104", "-111"),
    *("-99", "-100", "5", "5.2", "6", "7", "9", "11", "13", "14", "17", "19", "21", "23", "25", "26", "20", "19"),
    *("15", "16", "14", "10", "9", "6", "5", "-1", "-9", "-11", "-13", "-15", "-16", "-6", "-6.1", "-7", "0"),
)
ENDLESS = ("5", "inf", "7", "8", "100", "-inf", "3")
BANDS = ("0", "5", "10", "-10", "150")
BANDED = ("ai", "ai:bare", "longin", "longin:bare")
# Elements of BANK: the first, and how many
SINGLES = ((0, 1), (1, 1), (1, 1), (2, 1), (3, 2), (4, 1), (0, 0), (5, 1), (6, 1), (0, 3), (3, 1))
SHORT = ("waveform_DOUBLE", "waveform_DOUBLE:bare", "waveform_LONG", "waveform_STRING", ONE)
WIDE = (
    *('{"dbnd":{"abs":1e30}}', '{"dbnd":{"rel":1e30}}', '{"dbnd":{"abs":Infinity}}'),
    *('[0]{"dbnd":{"abs":1e30}}', '{"dbnd":{"abs":1e30},"arr":{"e":0}}'),
)


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
    for name in TIMED:
        for text in TIMES:
            _time(client, name, text)
    for name in BANDED:
        for mode, band in product(("abs", "rel"), BANDS):
            _series(client, name, f'{{"dbnd":{{"{mode}":{band} }}}}', SERIES)
    for text in ('{"dbnd":{"abs":5}}', '{"dbnd":{"rel":10}}', '{"dbnd":{"abs":Infinity}}'):
        _series(client, "ai:bare", text, ENDLESS)
    for name in SHORT:
        for text in WIDE:
            _singles(client, name, f"{text} ")


def _others(name: str, rtyp: RecordType) -> tuple[str, ...]:
    return OTHERS if rtyp in STEPPED or name == "waveform_DOUBLE" else ()


def _texts(name: str, rtyp: RecordType) -> tuple[str, ...]:
    return (SLICES if rtyp is RecordType.waveform else ()) + _others(name, rtyp)


def _channel(client: CaClient, name: str, text: str) -> CaChannel | None:
    """Return a filtered channel, None if it is not found; emit what it announces."""
    full = f"{pv(f'filters:{name}')}.{text}"
    channel = client.connect([full]).get(full)
    announced: Aspects = {"connects": False}
    if channel is not None:
        announced = {"connects": True, "native": channel.native, "count": channel.count, "access": channel.access}
    client.emit(f"filters/{name}/{text}/announced", announced)
    return channel


def _array(client: CaClient, name: str, text: str) -> None:
    """Read a part of an array of changing length, all, one and two of it, in the own type and as texts."""
    channel = _channel(client, name, text)
    if channel is None:
        return
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
    channel = _channel(client, name, text)
    if channel is None:
        return
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


def _time(client: CaClient, name: str, text: str) -> None:
    """Read, and subscribe to, a piece of a time in place of the value: which parts of the stamp it has."""
    channel, dbr = _channel(client, name, text), libca.TIME + libca.DOUBLE
    if channel is None:
        return
    for label, count in counts(channel).items():
        client.emit(f"filters/{name}/{text}/count {label}", _parts(client.get(channel, dbr, count)))
        with client.monitor(channel, dbr, VALUE | ALARM, count) as monitor:
            client.fence()
            for value in ("2", "1"):
                step(client, f"filters:{name}", RecordType.waveform if "waveform" in name else RecordType.ai, value)
                client.fence()
            events = [_parts(event) for event in monitor.drain()]
            client.emit(f"filters/{name}/{text}/updates, count {label}", {"status": monitor.status, "events": events})


def _parts(answer: Aspects) -> Aspects:
    """Return an answer with the names of the parts of its stamp in place of their numbers."""
    if "stamp" not in answer:
        return answer
    names = dict(zip(answer["stamp"], ("seconds", "nanoseconds"), strict=True))
    return answer | {"value": [names.get(value, value) for value in answer["value"]]}


def _series(client: CaClient, name: str, text: str, series: tuple[str, ...]) -> None:
    """Lead a number through many values: which of them leave a deadband."""
    client.drive(f"filters:{name}", "1")
    channel = _channel(client, name, text)
    if channel is None:
        return
    with client.monitor(channel, libca.STS + libca.DOUBLE, VALUE | ALARM) as monitor:
        client.fence()
        client.emit(f"filters/{name}/{text}/first", {"events": monitor.drain()})
        for number, value in enumerate(series):
            client.drive(f"filters:{name}", value if "ai" in name else str(int(float(value))))
            client.fence()
            client.emit(f"filters/{name}/{text}/{number}: {value}", {"events": monitor.drain()})


def _singles(client: CaClient, name: str, text: str) -> None:
    """Let an array have one element, and other numbers of them, behind a deadband that no number would leave."""
    channel = _channel(client, name, text)
    if channel is None:
        return
    with client.monitor(channel, libca.STS + channel.native, VALUE | ALARM, 0) as monitor:
        client.fence()
        monitor.drain()
        for number, (first, size) in enumerate(SINGLES):
            client.set(f"filters:{name}:Off", first)
            client.set(f"filters:{name}:Src", size)
            client.fence()
            client.emit(f"filters/{name}/{text}/{number}: {size} from {first}", {"events": monitor.drain()})
    client.set(f"filters:{name}:Off", 0)
