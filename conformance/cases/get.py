"""Reading: every kind of record in every DBR type, before and after its first value, in every count."""

from __future__ import annotations

from conformance import libca
from conformance.client import CaChannel, CaClient
from conformance.points import ANALOG, BANK, BINARY, LONG, MULTI, TEXT, all_kinds, full, kinds, with_source
from drivers.base import Point, RecordType

FIRST = (
    dict.fromkeys(ANALOG, "12.75")
    | dict.fromkeys(LONG, "12")
    | dict.fromkeys(BINARY, "1")
    | dict.fromkeys(MULTI, "2")
    | dict.fromkeys(TEXT, "some text")
)
ALL_TYPES = range(len(libca.DBR_NAMES))

# Texts are how base sees numbers in other types: these show rounding, exponents and what does not fit
NUMBERS = (
    *("0", "-0.0", "1", "-1", "1.5", "2.5", "-2.5", "0.05", "0.5", "0.9999999", "99.95", "123456.789", "-123456.789"),
    *("255", "256", "32767", "32768", "65535", "65536", "2147483647", "2147483648", "-2147483649", "4294967296"),
    *(
        "1e-7",
        "1e7",
        "1e10",
        "99999999.5",
        "1e15",
        "1e16",
        "1.7976931348623157e308",
        "1e-40",
        "3e38",
        "4e38",
    ),
    *("nan", "inf", "-inf"),
)
PRECISIONS = range(16)
PRECISION_NUMBERS = (
    *("0", "1", "-1", "1.005", "-2.5", "0.000123456789", "123456.7890123456", "9.999999999999999", "1e7", "1e8"),
    *("123456789012", "1e15", "1e16", "1e21", "1e100", "-1e100", "1e-20", "nan", "inf", "-inf"),
)
LONGS = ("0", "1", "-1", "127", "128", "255", "256", "32767", "32768", "65535", "65536", "2147483647", "-2147483648")

POINTS: tuple[Point, ...] = (
    *all_kinds("get"),
    *(
        each
        for precision in PRECISIONS
        for each in with_source(Point(name=f"get:prec{precision}", rtyp=RecordType.ai, prec=precision))
    ),
    *(each for rtyp in (RecordType.ai, RecordType.longin) for each in with_source(full(f"get:to:{rtyp.name}", rtyp))),
)


def run(client: CaClient) -> None:
    """Run the cases."""
    for name, rtyp, _ in kinds():
        for variant in ("", ":bare"):
            point = f"get:{name}{variant}"
            _every_type(client, f"{name}{variant}", point, "undefined")
            if variant and rtyp.states and rtyp.writable:
                continue  # a setpoint without states accepts nothing
            set_value(client, point, rtyp)
            _every_type(client, f"{name}{variant}", point, "defined")
            _counts(client, f"{name}{variant}", point)
    _arrays(client)
    _numbers(client)
    _precisions(client)


def _every_type(client: CaClient, name: str, point: str, when: str) -> None:
    channel = client.channel(point)
    client.emit(
        f"get/{name}/{when}/channel", {"native": channel.native, "count": channel.count, "access": channel.access}
    )
    for dbr in ALL_TYPES:
        client.emit(f"get/{name}/{when}/{libca.DBR_NAMES[dbr]}", client.get(client.channel(point), dbr))


def set_value(client: CaClient, point: str, rtyp: RecordType) -> None:
    """Bring a record to a value for the first time."""
    if rtyp is RecordType.waveform:
        client.set(f"{point}:Src", 3)
    elif rtyp is RecordType.stringout:
        client.set_text(point, FIRST[rtyp])
    elif rtyp.writable:
        client.set(point, float(FIRST[rtyp]))
    else:
        client.drive(point, FIRST[rtyp])


def _counts(client: CaClient, name: str, point: str) -> None:
    channel = client.channel(point)
    for label, count in counts(channel).items():
        for dbr, dbr_label in (*enumerate(libca.TYPES), (libca.TIME + channel.native, "TIME_native")):
            client.emit(f"get/{name}/count {label}/{dbr_label}", client.get(channel, dbr, count))


def counts(channel: CaChannel) -> dict[str, int]:
    """Return what a client may ask for: as many as there are, a number, all, more than all."""
    return {"0": 0, "1": 1, "2": 2, "all": channel.count, "too many": channel.count + 1}


def _arrays(client: CaClient) -> None:
    """Read arrays of changing lengths, and with another first element."""
    for name in ("waveform_DOUBLE", "waveform_LONG", "waveform_STRING"):
        channel = client.channel(f"get:{name}")
        whole = len(BANK["DOUBLE"])
        for first, number in ((0, 1), (0, whole), (3, 2), (5, 3), (0, 4)):
            client.set(f"get:{name}:Off", first)
            client.set(f"get:{name}:Src", number)
            for count in (0, 1, whole):
                for dbr, label in (*enumerate(libca.TYPES), (libca.TIME + channel.native, "TIME_native")):
                    key = f"get/{name}/from {first} number {number}/count {count}/{label}"
                    client.emit(key, client.get(channel, dbr, count))


def _numbers(client: CaClient) -> None:
    """Read one number in every plain type and its limits in every CTRL type."""
    for rtyp, numbers in ((RecordType.ai, NUMBERS), (RecordType.longin, LONGS)):
        point = f"get:to:{rtyp.name}"
        for number in numbers:
            client.drive(point, number)
            for dbr in range(7):
                client.emit(
                    f"convert/{rtyp.name}/{number}/{libca.DBR_NAMES[dbr]}", client.get(client.channel(point), dbr)
                )


def _precisions(client: CaClient) -> None:
    for precision in PRECISIONS:
        point = f"get:prec{precision}"
        for number in PRECISION_NUMBERS:
            client.drive(point, number)
            for dbr in (libca.STRING, libca.TIME + libca.STRING):
                key = f"text/prec{precision}/{number}/{libca.DBR_NAMES[dbr]}"
                client.emit(key, client.get(client.channel(point), dbr))
