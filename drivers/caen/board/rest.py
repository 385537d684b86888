"""Which channels are on and at rest, by their status words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drivers.base import Array, Reading, Readings, Value
from drivers.caen.bits import RAMPS
from drivers.caen.items import Variable
from drivers.caen.roles import is_measured

# Status words that must say "on and at rest" before one that says so is believed
_GRACE = 1


class Rest:
    """What the newest status words say of the channels of a board.

    ``matters`` is False where limits hold always: then all numbers stay as they are.
    """

    def __init__(self, matters: bool) -> None:
        self._matters = matters
        self._steady: dict[int | None, int] = {}  # channel -> status words in a row that said "on and at rest"

    def reset(self) -> None:
        """Discard all that is known."""
        self._steady.clear()

    def record(self, words: Sequence[Variable], raws: Sequence[Any]) -> None:
        """Record the status words that were read in one call."""
        bits = {name: 1 << bit for bit, name in words[0].format.bits}
        on, moving = bits.get("ON", 0), sum(bits.get(name, 0) for name in RAMPS)
        for word, raw in zip(words, raws, strict=True):
            steady = on != 0 and int(raw) & (on | moving) == on
            self._steady[word.channel] = self._steady.get(word.channel, 0) + 1 if steady else 0

    def discard(self, channel: int | None) -> None:
        """Discard what is known of a channel whose status cannot be read."""
        self._steady.pop(channel, None)

    def unsettle(self, channel: int | None) -> None:
        """Wait for new status words of a channel (None: of all) whose setting moved: they may not show it yet."""
        for each in self._steady if channel is None else {channel} & self._steady.keys():
            self._steady[each] = 0

    def at_rest(self, channel: int | None) -> bool:
        """Return True for a channel that has been on and at rest for two status words."""
        return self._steady.get(channel, 0) > _GRACE

    def without_limits(self, measured: Sequence[Variable], readings: Readings) -> Readings:
        """Return readings for which the records' limits do not hold while a channel is off or ramps.

        They hold where the status is not known.
        """
        if not self._matters or not is_measured(measured[0].name) or measured[0].writable:
            return readings
        quiet: Mapping[str, Value | Array | Reading] = {
            each.label: Reading(value, limits=False)
            for each in measured
            if each.channel in self._steady and not self.at_rest(each.channel)
            if isinstance(value := readings[each.label], float)
        }
        return {**readings, **quiet} if quiet else readings
