"""What the configuration of a crate names and no board serves."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from drivers.caen.board.section import Section
from drivers.caen.config import Config
from drivers.caen.formats import Number
from drivers.caen.items import ChannelParameter
from drivers.caen.roles import settings_of

# Key under ``relative_alarms`` -> what is measured
_COMPARED = {"voltage_v": "VMon", "current_ratio": "IMon"}


def unserved(config: Config, sections: Collection[Section]) -> Iterator[str]:
    """Yield a sentence for each slot, channel and relative alarm that the boards do not have."""
    boards = {section.slot: section.board for section in sections if section.board is not None}
    for slot in config.channels or ():
        board = boards.get(slot)
        if board is None:
            yield f"no board in slot {slot}, which is configured under channels"
        elif missing := config.missing(slot, board.n_channel):
            channels = ", ".join(map(str, missing))
            yield f"no channels {channels} in slot {slot}: they are configured, the {board.model} there lacks them"
    for key, measured in _COMPARED.items():
        if getattr(config.relative_alarms, key).any and not any(_serves(section, measured) for section in sections):
            yield f"relative_alarms.{key} acts on no channel: none has {measured}, its setting and a status to read"


def _serves(section: Section, measured: str) -> bool:
    """Return True if a channel of the board has all that the alarm needs."""
    names: dict[int, set[str]] = {}
    for item in section.table.variables():
        if isinstance(item, ChannelParameter) and item.readable and (item.status or isinstance(item.format, Number)):
            names.setdefault(item.channel, set()).add("status" if item.status else item.name)
    settings = set(settings_of(measured))
    return any({measured, "status"} <= each and settings & {*map(str.upper, each)} for each in names.values())
