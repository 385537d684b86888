"""The settings for Phoebus' save-and-restore, as the CSV from which it makes a configuration.

Format: Phoebus, CSVParser.java and CSVCommon.java (columns, comments; no quotation mark within a text).
"""

from __future__ import annotations

from collections.abc import Iterator

from exports.rack import Pv, Rack


def snapshot(rack: Rack) -> str:
    """Return the settings with their readbacks."""
    lines = ["# SaveSet name:", f"# {rack.prefix.rstrip(':') or 'rackioc'} settings", "# Description:"]
    lines += [f"# {line}" for line in rack.header("snapshot")]
    lines.append("PV,READBACK,READ_ONLY")
    for instrument in rack.instruments:
        for pv in _settings(instrument.pvs):
            readback = f"{instrument.prefix}{pv.point.follows}" if pv.point.follows else ""
            lines.append(f"{_cell(pv.name)},{_cell(readback)},{int(_shown_only(pv))}")
    return "\n".join([*lines, ""])


def _settings(pvs: tuple[Pv, ...]) -> Iterator[Pv]:
    """Yield what keeps what is put to it: no command, nothing that no scan reads back."""
    for pv in pvs:
        point = pv.point
        if point.rtyp.writable and not point.command and (point.follows or point.group):
            yield pv


def _shown_only(pv: Pv) -> bool:
    """Return True for what a restore must not put: what switches, and what makes up the crate's network.

    A restore puts everything at once and in any order: it would switch high voltage on before it is set.
    """
    name = pv.point.name
    # a switch of a channel whose words are odd has no safe value
    return pv.point.safe is not None or name.endswith(":Pw") or name.startswith("Sys:")


def _cell(text: str) -> str:
    # a line that begins with # is a comment
    return f'"{text}"' if "," in text or text.startswith("#") else text
