"""Points that show the worst alarm of others: of all that an instrument has, or of what begins with a name."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter

from drivers.base import Point, Reading, Readings
from ioc.record import Record

_SEVERITY = attrgetter("sevr")
# Behind each character of a name
_LAST = "\U0010ffff"


class Summaries:
    """The summaries of an instrument, and the records that each of them is about."""

    def __init__(self) -> None:
        self._members: dict[str, Sequence[Record]] = {}

    def arrange(
        self, points: Sequence[Point], records: Mapping[str, Record], pending: Mapping[str, Iterable[str]]
    ) -> None:
        """Use other points; ``records`` has those that are served of them.

        ``pending``: switch -> what shows that its Off is pending, also of one that is gone: the Off stays.
        """
        names = dict.fromkeys(point.name for point in points if not point.worst_of)
        shown = ((name, *pending.get(name, ())) for name in names)
        outlived = (pending[name] for name in pending if name not in names)
        served = [name for name in chain.from_iterable(chain(shown, outlived)) if name in records]
        # A full crate has some 7,000 points and 17 summaries, arranged again with each board that is found
        places = sorted((name, place) for place, name in enumerate(served))
        self._members = {
            point.name: [records[served[place]] for place in _beginning(places, point.worst_of)]
            for point in points
            if point.worst_of
        }

    def readings(self) -> Readings:
        """Return for each the severity of the worst record as value and alarm, with the record and its cause."""
        return {name: _worst(members) for name, members in self._members.items()}


def _beginning(places: Sequence[tuple[str, int]], prefixes: Sequence[str]) -> Sequence[int]:
    """Return the places of the names that begin with one of some texts, in order; ``places``: by name."""
    found: set[int] = set()
    for prefix in prefixes:
        begin, end = (bisect_left(places, (text, -1)) for text in (prefix, prefix + _LAST))
        found.update(place for _, place in places[begin:end])
    return sorted(found)


def _worst(members: Sequence[Record]) -> Reading:
    """Return the first of the worst records as a reading."""
    if not members:
        return Reading(0)
    record = max(members, key=_SEVERITY)
    cause = f"{record.point.name}: {record.amsg or record.stat.name}" if record.sevr else ""
    return Reading(int(record.sevr), record.sevr, record.stat, message=cause)
