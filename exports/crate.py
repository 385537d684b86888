"""The structure of a crate, by the names of its points: boards (S02:...) with their channels (S02:C00:...)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from exports.rack import Instrument, Pv

# Slot and channel have two digits or more (docs/reference/pvs.md)
_BOARD = re.compile(r"(S\d\d+):(.+)")
_CHANNEL = re.compile(r"(C\d\d+):(.+)")


@dataclass
class Channel:
    """A channel. label: C00; name: beginning of its PVs' names; pvs: name of the parameter -> its PV."""

    label: str
    name: str
    pvs: dict[str, Pv] = field(default_factory=dict)


@dataclass
class Board:
    """A board. label: S02; name: beginning of its PVs' names; pvs: its own, without those of channels."""

    label: str
    name: str
    pvs: dict[str, Pv] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)

    @property
    def summary(self) -> Pv | None:
        """Return the PV with the worst alarm of the board."""
        return next((pv for pv in self.pvs.values() if pv.point.worst_of), None)


def boards(instrument: Instrument) -> list[Board]:
    """Return the boards of a crate in the order of their slots; none for an instrument that is no crate."""
    found: dict[str, Board] = {}
    if instrument.kind != "caen":
        return []
    for pv in instrument.pvs:
        in_board = _BOARD.fullmatch(pv.point.name)
        if in_board is None:
            continue
        slot, rest = in_board.groups()
        board = found.setdefault(slot, Board(slot, f"{instrument.prefix}{slot}"))
        in_channel = _CHANNEL.fullmatch(rest)
        if in_channel is None:
            board.pvs[rest] = pv
            continue
        number, parameter = in_channel.groups()
        channel = board.channels.setdefault(number, Channel(number, f"{board.name}:{number}"))
        channel.pvs[parameter] = pv
    return [found[slot] for slot in sorted(found)]


def of_the_crate(instrument: Instrument) -> list[Pv]:
    """Return the PVs of an instrument that belong to none of its boards."""
    if instrument.kind != "caen":
        return list(instrument.pvs)
    return [pv for pv in instrument.pvs if _BOARD.fullmatch(pv.point.name) is None]
