"""What other archives are to keep: a list for the Archiver Appliance, and one for Phoebus' archive engine.

Formats: Archiver Appliance, ArchivePVAction.java (all values are texts, other keys are not looked at); Phoebus,
archive_config.xsd and XMLConfig.java.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from drivers.base import RecordType
from exports.crate import boards, of_the_crate
from exports.markup import add, document
from exports.rack import Instrument, Pv, Rack

# Seconds: the shortest that the appliance takes, and what is good for a PV that no scan reads
_SHORTEST, _DEFAULT = 0.1, 1.0


def appliance(rack: Rack) -> str:
    """Return the body of a request ``archivePV``. JSON has no comments: the first entry has the header."""
    entries = [
        {"pv": pv.name, "samplingmethod": _method(pv), "samplingperiod": _period(pv)}
        for instrument in rack.instruments
        for pv in kept(rack, instrument.pvs)
    ]
    for first in entries[:1]:
        first["comment"] = " ".join(rack.header("appliance"))
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    return f"[\n{lines}\n]\n"


def engine(rack: Rack) -> str:
    """Return the configuration of an archive engine: a group for each instrument and each board."""
    root = Element("engineconfig")
    for instrument in rack.instruments:
        for name, pvs in _groups(instrument):
            group = add(root, "group")
            add(group, "name", name)
            for pv in kept(rack, pvs):
                channel = add(group, "channel")
                add(channel, "name", pv.name)
                add(channel, "period", _period(pv))
                add(channel, _method(pv).lower())
    return document(root, rack.header("engine"))


def kept(rack: Rack, pvs: tuple[Pv, ...]) -> Iterator[Pv]:
    """Yield the PVs that are to be archived: those that the configuration's archiver keeps; all if it has none.

    Left out is what these archives cannot show (long texts, arrays of texts), what is archived channel by channel
    (arrays of a board), and what has no value (commands).
    """
    configured = any(pv.archived for pv in rack.pvs)
    for pv in pvs:
        point = pv.point
        texts = point.rtyp is RecordType.lsi or point.ftvl == "STRING"
        if not (texts or point.command or point.name.endswith(":Array")) and (pv.archived or not configured):
            yield pv


def _groups(instrument: Instrument) -> Iterator[tuple[str, tuple[Pv, ...]]]:
    name = instrument.prefix.removesuffix(":")
    yield name, tuple(of_the_crate(instrument))
    for board in boards(instrument):
        channels = (pv for channel in board.channels.values() for pv in channel.pvs.values())
        yield board.name, (*board.pvs.values(), *channels)


def _method(pv: Pv) -> str:
    return "MONITOR" if pv.sampled is None else "SCAN"


def _period(pv: Pv) -> str:
    """Return seconds without an exponent: of the samples, or of the updates that a buffer is to have room for.

    That is half of the scan period, for a put is followed by readings between two scans.
    """
    if pv.sampled is not None:
        seconds = pv.sampled
    elif pv.period is None:
        seconds = _DEFAULT
    else:
        seconds = min(pv.period / 2, _DEFAULT)
    return f"{max(seconds, _SHORTEST):.3f}".rstrip("0").rstrip(".")
