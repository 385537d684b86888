"""The same records as an EPICS database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from conformance.points import ARRAYS, BANK, BINARY, pv
from drivers.base import Point, RecordType

TEXTS_AND_NUMBERS = (
    *("DESC", "EGU", "PREC", "HOPR", "LOPR", "DRVH", "DRVL"),
    *("HIHI", "HIGH", "LOW", "LOLO", "HYST", "MDEL", "ADEL"),
)
LIMITS = {"HIHI": "HHSV", "HIGH": "HSV", "LOW": "LSV", "LOLO": "LLSV"}
WORDS = ("ZR", "ON", "TW", "TH", "FR", "FV", "SX", "SV", "EI", "NI", "TE", "EL", "TV", "TT", "FT", "FF")


def database(points: Iterable[Point]) -> str:
    """Return the text of the database of these points."""
    points = list(points)
    sources = {point.addr.name: point for point in points if isinstance(point.addr, Point)}
    records = [_record(point, sources.get(point.name)) for point in points]
    return "\n".join([*_banks(points), *records, ""])


def _record(point: Point, source: Point | None) -> str:
    fields = list(_fields(point))
    if source is not None and point.rtyp is RecordType.waveform:
        fields.append(("INP", f"{pv(point.name)}:Sub"))
    elif source is not None:
        fields.append(("INP", f"{pv(source.name)} NPP NMS"))
    if isinstance(point.addr, Point):
        fields += _driving(point, point.addr)
    if point.name.endswith(":Off"):
        fields.append(("OUT", f"{pv(point.name.removesuffix(':Off'))}:Sub.INDX"))
    return _text(point.rtyp.name, pv(point.name), fields)


def _driving(source: Point, driven: Point) -> Iterator[tuple[str, str]]:
    if driven.rtyp is not RecordType.waveform:
        yield "FLNK", pv(driven.name)
        return
    yield "OUT", f"{pv(driven.name)}:Sub.NELM"
    yield "FLNK", f"{pv(driven.name)}:Sub"


def _banks(points: list[Point]) -> Iterator[str]:
    """Yield the constant arrays, parts of which become values: arrays of base are not put to here either."""
    for ftvl in ARRAYS:
        fields = [("FTVL", ftvl), ("NELM", str(len(BANK[ftvl])))]
        text = _text("waveform", pv(f"bank:{ftvl}"), fields)
        yield text.removesuffix("}") + f"  field(INP, {json.dumps(BANK[ftvl])})\n}}"
    for point in points:
        if point.rtyp is RecordType.waveform:
            size = len(BANK[point.ftvl])
            bank = pv(f"bank:{point.ftvl}")
            fields = [("FTVL", point.ftvl), ("MALM", str(size)), ("NELM", str(size)), ("INP", bank)]
            yield _text("subArray", f"{pv(point.name)}:Sub", [*fields, ("FLNK", pv(point.name))])


def _fields(point: Point) -> Iterator[tuple[str, str]]:
    """Yield what the point sets; the rest are base's defaults. A limit without a value has no severity."""
    bare = Point(name=point.name, rtyp=point.rtyp)
    for name in TEXTS_AND_NUMBERS:
        value = getattr(point, name.lower())
        if value != getattr(bare, name.lower()):
            yield name, f"{value:.17g}" if isinstance(value, float) else str(value)
    if point.cosv:
        yield "COSV", point.cosv.name
    for limit, severity in LIMITS.items():
        if getattr(point, limit.lower()) is not None:
            yield severity, getattr(point, severity.lower()).name
    if point.rtyp.states:
        yield from _states(point)
    if point.rtyp is RecordType.waveform:
        yield from (("FTVL", point.ftvl), ("NELM", str(point.nelm)), ("MPST", "On Change"), ("APST", "On Change"))


def _states(point: Point) -> Iterator[tuple[str, str]]:
    binary = point.rtyp in BINARY
    words = ("ZNAM", "ONAM") if binary else [f"{word}ST" for word in WORDS]
    severities = ("ZSV", "OSV") if binary else [f"{word}SV" for word in WORDS]
    yield from zip(words, point.states, strict=False)
    yield from ((field, severity.name) for field, severity in zip(severities, point.severities, strict=False))


def _text(rtyp: str, name: str, fields: Iterable[tuple[str, str]]) -> str:
    lines = [f'  field({field}, "{value}")' for field, value in fields]
    return "\n".join([f'record({rtyp}, "{name}") {{', *lines, "}"])
