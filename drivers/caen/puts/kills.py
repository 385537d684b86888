"""Kills that were sent and are not known to be carried out: what shows them, and what they forbid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from drivers.base import Reading, Readings, Severity
from drivers.caen.board.section import Section
from drivers.caen.items import Item, Variable
from drivers.caen.retry import Backoff


@dataclass(slots=True)
class _Kill:
    """A kill; ``off``: labels of the status words that have shown their channel off since it was last sent."""

    item: Item
    off: set[str] = field(default_factory=set)


class Kills:
    """The kills that are repeated, for nothing has shown them yet.

    A kill has no readback. It is shown when each channel in its reach has been seen off since it was last sent,
    whatever others have switched on later. What was off before that proves nothing: somebody may have put the kill
    once more for a channel that was on again.

    map_question  when to ask whether boards are there for which a kill waits: it costs all their types
    """

    def __init__(self) -> None:
        self.map_question = Backoff()
        self._open: dict[str, _Kill] = {}

    def begin(self, item: Item) -> None:
        """Note a kill that is being sent, also once more: nothing has shown it yet."""
        self._open[item.label] = _Kill(item)

    def end(self, item: Item) -> None:
        """Forget a kill that was carried out, or given up."""
        if self._open.pop(item.label, None) is not None and not self._open:
            self.map_question = Backoff()

    def over(self, switch: Item) -> Item | None:
        """Return a kill that would switch a channel off again."""
        return next((kill.item for kill in self._open.values() if reaches(kill.item, switch)), None)

    def is_shown(self, item: Item, sections: Iterable[Section], readings: Readings, *, complete: bool) -> bool:
        """Take what was read; return True if all channels in reach were seen off since the kill was sent.

        ``complete`` is False while a board in reach cannot be seen: its channels may be on.
        """
        kill = self._open.get(item.label)
        if kill is None:
            return False
        labels = set()
        for section in sections:
            for word in status_words(section, item):
                labels.add(word.label)
                if _is_off(word, readings) and not section.may_come_on(word.channel):
                    kill.off.add(word.label)
        if not (complete and labels and kill.off >= labels):
            return False
        self.end(item)
        return True


def reaches(kill: Item, other: Item) -> bool:
    """Return True if a kill acts on the channel of another item."""
    return kill.slot in (None, other.slot) and kill.channel in (None, other.channel)


def status_words(section: Section, kill: Item) -> list[Variable]:
    """Return the status words of the channels in the reach of a kill, which one call reads."""
    return [
        item
        for item in (section.table.variables() if section.present else ())
        if item.readable and reaches(kill, item) and any(name == "ON" for _, name in item.format.bits)
    ]


def _is_off(word: Variable, readings: Readings) -> bool:
    reading = readings.get(word.readback)
    if isinstance(reading, Reading):
        if reading.severity is Severity.INVALID:
            return False
        reading = reading.value
    return isinstance(reading, int) and not any(reading >> bit & 1 for bit, name in word.format.bits if name == "ON")
