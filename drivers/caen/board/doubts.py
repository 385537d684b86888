"""Settings that may not have the value that was read last: they are read in the next monitor scan.

What moves a setting of a channel, or of all channels of a board: a put to another setting, a trip, an interlock, the
front panel, the power. A status word that changes tells of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from drivers.caen.bits import ramp_end
from drivers.caen.board.points import PointTable
from drivers.caen.items import MONITOR, ChannelName, Variable
from drivers.caen.roles import importance


class Doubts:
    """The settings of a board that are to be read again.

    labels   of those that may have moved; a dict for its order
    unknown  labels of those of which it is not known what a put made of them: they are INVALID, and read before all
             else until they are read
    closed   True while they are read: one that has moved is no reason to read the others once more
    """

    def __init__(self, table: PointTable) -> None:
        self.labels: dict[str, None] = {}
        self.unknown: dict[str, None] = {}
        self.closed = False
        self._table = table
        self._sent: Counter[int | None] = Counter()  # puts by channel

    def add(self, channel: int | None) -> None:
        """Doubt the settings of a channel (None: of the whole board), but not those that each scan reads."""
        if self.closed:
            return
        for item in self._table.variables():
            setting = item.readable and item.writable and not isinstance(item, ChannelName)
            if setting and item.group != MONITOR and channel in (None, item.channel):
                self.labels[item.label] = None

    def word_changed(self, status: Variable, before: int, now: int) -> None:
        """Doubt the settings of a channel (or board) whose status word changed, but not at the end of a ramp."""
        if (before ^ now) & 0xFFFFFFFF & ~(before & ~now & ramp_end(status.format.bits)):
            self.add(status.channel)

    def setting_sent(self, setting: Variable) -> None:
        """Doubt what a put may move."""
        self._sent[setting.channel] += 1
        if setting.slot is not None:
            self.add(setting.channel)

    def sent(self, channel: int | None) -> int:
        """Return the number of puts that may have moved limits and units of a channel's settings."""
        return self._sent[channel] + self._sent[None]

    def read(self, labels: Iterable[str]) -> None:
        """Note that settings were read."""
        for label in labels if self.labels or self.unknown else ():
            self.labels.pop(label, None)
            self.unknown.pop(label, None)

    def clear(self) -> None:
        """Forget them: all is read anew."""
        self.labels.clear()
        self.unknown.clear()

    def in_calls(self) -> Iterator[list[Variable]]:
        """Yield what one call can read, setpoints first."""
        families: dict[object, list[Variable]] = {}
        for label in self.labels:
            variable = self._table.variable(label)
            families.setdefault(variable.family, []).append(variable)
        yield from sorted(families.values(), key=lambda family: importance(family[0].name))
