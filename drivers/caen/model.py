"""What boards of one model told of their parameters, so that the next one has to be asked less."""

from __future__ import annotations

from dataclasses import dataclass, field

from drivers.caen.items import Item

# (of a channel, list of its parameters, parameter)
Key = tuple[bool, tuple[str, ...], str]


@dataclass(slots=True)
class Model:
    """Boards of the same model, firmware and number of channels that are asked together.

    lists  channel (None: the board) -> the names of its parameters
    items  parameter -> what it is
    """

    lists: dict[int | None, tuple[str, ...]] = field(default_factory=dict)
    items: dict[Key, Item] = field(default_factory=dict)
