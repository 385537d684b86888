"""Fields: all that base's record definitions name, and whether, as what and with which value they are served."""

from __future__ import annotations

import re
from pathlib import Path

from epicscorelibs.path import base_path

from conformance import libca
from conformance.cases.get import set_value
from conformance.client import Aspects, CaChannel, CaClient
from conformance.database import WORDS
from conformance.points import all_kinds, kinds, pv
from drivers.base import Point, RecordType

POINTS: tuple[Point, ...] = all_kinds("fields")

# dbCommon has some fields that no client sees: pointers and locks
_FIELD = re.compile(r"^\s*field\((\w+),\s*DBF_(\w+)\)", re.MULTILINE)
_TEXTS = {"STRING", "INLINK", "OUTLINK", "FWDLINK"}

# What archivers, screens and operators ask for; the others are listed together
IMPORTANT = frozenset(
    (
        *("DESC", "EGU", "PREC", "HOPR", "LOPR", "DRVH", "DRVL", "HIHI", "HIGH", "LOW", "LOLO", "HHSV", "HSV", "LSV"),
        *("LLSV", "HYST", "MDEL", "ADEL", "ZNAM", "ONAM", "ZSV", "OSV", "COSV", "UNSV", "STAT", "SEVR", "AMSG"),
        *("NAMSG", "NSTA", "NSEV", "ACKS", "ACKT", "UDF", "UDFS", "TIME", "UTAG", "SCAN", "PROC", "DISP", "DISA"),
        *("DISV", "DISS", "SDIS", "ASG", "VAL", "VAL$", "DESC$", "NAME", "NAME$", "RTYP", "DTYP", "INP", "INP$"),
        *("OUT", "OUT$", "NELM", "FTVL", "NORD"),
        *(f"{word}{tail}" for word in WORDS for tail in ("ST", "VL", "SV")),
    )
)


def names(rtyp: RecordType) -> list[str]:
    """Return the fields of a record type, those that are texts also as long strings, and what is no field."""
    directory = Path(base_path) / "dbd"
    text = "".join((directory / file).read_text() for file in ("dbCommon.dbd", f"{rtyp.name}Record.dbd"))
    fields = _FIELD.findall(text)
    long = [f"{name}$" for name, kind in fields if kind in _TEXTS]
    return [*dict.fromkeys([*(name for name, _ in fields), "RTYP", *long, "VAL$", "RTYP$", "TIME$", "NOSUCH"])]


def run(client: CaClient) -> None:
    """Run the cases."""
    for name, rtyp, _ in kinds():
        set_value(client, f"fields:{name}", rtyp)
    wanted = {
        (f"{name}{variant}", field): f"{pv(f'fields:{name}{variant}')}.{field}"
        for name, rtyp, _ in kinds()
        for variant in ("", ":bare")
        for field in names(rtyp)
    }
    channels = client.connect(wanted.values())
    for (name, field), full in wanted.items():
        channel = channels.get(full)
        client.emit(f"fields/{name}/{field}", {"served": False} if channel is None else _read(client, channel))


def _read(client: CaClient, channel: CaChannel) -> Aspects:
    """Read a field as its own type, as text, with its properties and with its time."""
    native = channel.native
    return {
        "served": True,
        "native": libca.TYPES[native],
        "elements": channel.count,
        "access": channel.access,
        "plain": client.get(channel, native, 0),
        "STRING": client.get(channel, libca.STRING),
        "CTRL": client.get(channel, libca.CTRL + native),
        "TIME_STRING": client.get(channel, libca.TIME + libca.STRING),
    }
