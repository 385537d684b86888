"""Errors of an instrument in the log: each once while it lasts, and summed up while they come and go."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field

from drivers.base import DeviceError, LinkDown

# Seconds between two lines about errors that come and go; a place without one for so long is good again
SUM = 60.0


@dataclass(slots=True)
class _Place:
    """What is known of the errors of a place, until it has been good for ``SUM``. Times in monotonic seconds.

    lasting  kinds of errors since all was well there last; cleared: it was, since the first one
    told     kind -> the sentence that was logged of it
    counts   of errors that were not logged, by kind, since ``summed_at``; summed: there have been such ones
    """

    summed_at: float
    lasting: set[str] = field(default_factory=set)
    cleared: bool = False
    cleared_at: float = 0.0
    told: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    summed: bool = False


class ErrorLog:
    """What was logged of an instrument, by where it happened: a scan group, a point, the link ("")."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._log = logging.getLogger(f"rackioc.{name}")
        self._places: dict[str, _Place] = {}

    @property
    def clean(self) -> bool:
        """Return True if there is no error that lasts."""
        return not any(place.lasting for place in self._places.values())

    def report(self, where: str, error: DeviceError) -> None:
        """Log an error once; of rewordings the first. One that comes again after all was well is counted."""
        key = str(error) if isinstance(error, LinkDown) else type(error).__name__
        place = self._places.setdefault(where, _Place(time.monotonic()))
        if key in place.lasting:
            return
        place.lasting.add(key)
        if key in place.told:
            place.counts[key] += 1
            return
        place.told[key] = sentence = str(error)
        self._log.warning(sentence if sentence.startswith(self._name) else f"{self._name}: {sentence}")

    def clear(self, where: str) -> bool:
        """Note that all is well at a place. Return True at the first time after an error."""
        place = self._places.get(where)
        if place is None or not place.lasting:
            return False
        place.lasting.clear()
        place.cleared_at = time.monotonic()
        first, place.cleared = not place.cleared, True
        return first

    def comes_and_goes(self, where: str) -> bool:
        """Return True if there were errors at a place not long ago, after which all was well for a while."""
        place = self._places.get(where)
        return place is not None and place.cleared

    def sum_up(self) -> None:
        """Log what was counted, when it is time, and what has been good for long enough; to be called often."""
        now = time.monotonic()
        for where, place in tuple(self._places.items()):
            seconds = now - place.summed_at
            if place.counts and seconds >= SUM:
                counts = ", ".join(
                    f"{_times(count)} '{self._told(place, key)}'" for key, count in place.counts.items()
                )
                self._log.warning("%s: errors that come and go, in %.0f s: %s", self._name, seconds, counts)
                place.summed_at, place.summed = now, True
                place.counts.clear()
            elif not place.counts:
                if place.cleared and not place.lasting and now - place.cleared_at >= SUM:
                    del self._places[where]
                    if place.summed:
                        self._log.info("%s: no errors of %s for a minute", self._name, where or "the connection")
                elif seconds >= SUM:
                    place.summed_at = now

    def _told(self, place: _Place, key: str) -> str:
        """Return the sentence that was logged, without the name that the line begins with."""
        return place.told[key].removeprefix(f"{self._name}: ")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
