"""What the web server is told of the instruments: what to be careful about, and what to do in an alarm."""

from __future__ import annotations

import re
from collections.abc import Callable

from drivers.base import Point, RecordType
from drivers.caen import bits, roles
from exports import guidance
from exports.rack import Instrument, Pv
from web.live.door import LETS_OUT

_WHOLE_CRATE = "it acts on the whole crate"

# A parameter of a channel or board of a crate, a command of the crate, a property of it
_ON_BOARD = re.compile(r".+?:S\d\d+:(?:C\d\d+:)?([^:]+)")
_COMMAND = re.compile(r".+?:Cmd:.+")
_PROPERTY = re.compile(r".+?:Sys:.+")


def words() -> dict[str, str]:
    """Return the meaning of each status bit of a crate's channels."""
    return {name: text for name, (_, text) in bits.BITS.items()}


def remedy(kind: str, prefix: str, point: str) -> str:
    """Return what to do about a point that is in alarm."""
    instrument = Instrument(prefix.removesuffix(":"), kind, prefix, ())
    return guidance.remedy(instrument, Pv(f"{prefix}{point}", Point(name=point, rtyp=RecordType.ai)))


def caution(prefix: str) -> Callable[[str, int | None], str]:
    """Return what says why a put asks for a confirmation by the name of its record alone, as a crate has them.

    It is for records of which the IOC tells no value that makes things safe. A switch of a crate is among them where
    no word of it is known to be its Off.
    """

    def why(record: str, state: int | None) -> str:
        point = record.removeprefix(prefix)
        command = _COMMAND.fullmatch(point)
        if _PROPERTY.fullmatch(point) or (command and state != 0):
            return _WHOLE_CRATE
        parameter = _ON_BOARD.fullmatch(point)
        return LETS_OUT if parameter and roles.is_switch(parameter[1]) else ""

    return why
