"""The instruments of a rack, their boards and channels, by the names of their PVs (docs/pvs.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Slot and channel have two digits or more.
_BOARD = re.compile(r"(S\d\d+):(.+)")
_CHANNEL = re.compile(r"(C\d\d+):(.+)")


@dataclass
class Board:
    """A board of a crate.

    channels     C00 and so on
    parameters   what its channels have: VMon, Status:ON ...
    missing      what one channel lacks that others have: C00:IMon
    points       its own
    """

    name: str
    channels: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)


@dataclass
class Instrument:
    """An instrument. prefix: begins the names of its PVs; points: its own, without those of boards."""

    name: str
    kind: str
    prefix: str
    points: list[str] = field(default_factory=list)
    boards: list[Board] = field(default_factory=list)


def instruments(prefix: str, kinds: Mapping[str, str], names: Iterable[str]) -> list[Instrument]:
    """Return the instruments with what they have; ``kinds``: name -> driver, in the order of the configuration."""
    found = {name: Instrument(name, kind, f"{prefix}{name}:") for name, kind in kinds.items()}
    # the longest first: a name may begin with that of another
    ordered = sorted(found.values(), key=lambda each: -len(each.prefix))
    boards: dict[tuple[str, str], _Board] = {}
    for name in names:
        owner = next((each for each in ordered if name.startswith(each.prefix)), None)
        if owner is not None:
            _add(owner, name.removeprefix(owner.prefix), boards)
    for (owner_name, _), board in sorted(boards.items()):
        found[owner_name].boards.append(board.made())
    return list(found.values())


class _Board:
    """A board that is being put together."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.channels: dict[str, None] = {}
        self.parameters: dict[str, None] = {}
        self.there: set[str] = set()
        self.points: list[str] = []

    def made(self) -> Board:
        channels = sorted(self.channels)
        every = (f"{channel}:{parameter}" for channel in channels for parameter in self.parameters)
        missing = [each for each in every if each not in self.there]
        return Board(self._name, channels, list(self.parameters), missing, self.points)


def _add(owner: Instrument, point: str, boards: dict[tuple[str, str], _Board]) -> None:
    on_board = _BOARD.fullmatch(point) if owner.kind == "caen" else None
    if on_board is None:
        owner.points.append(point)
        return
    slot, rest = on_board.groups()
    board = boards.setdefault((owner.name, slot), _Board(slot))
    on_channel = _CHANNEL.fullmatch(rest)
    if on_channel is None:
        board.points.append(rest)
        return
    channel, parameter = on_channel.groups()
    board.channels[channel] = None
    board.parameters[parameter] = None
    board.there.add(rest)
