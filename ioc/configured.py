"""What is configured of an instrument and is not there, or cannot be applied any more: told by name, once."""

from __future__ import annotations

from collections.abc import Iterator

from drivers.base import Driver
from ioc import faults, units
from ioc.site import Applied, Site

# Names in one sentence: a crate has a thousand channels
_NAMED = 3


class Configured:
    """What is to be told of the configuration of the records whose names begin with ``start``."""

    def __init__(self, start: str, driver: Driver, site: Site) -> None:
        self._start = start
        self._driver = driver
        self._site = site
        self._told: set[str] = set()
        self._unapplied: dict[str, list[str]] = {}  # sentence -> names of the records of which it is to be told
        self._known: dict[str, list[str]] = {}  # record -> sentences that hold for it
        self._missing: list[str] = []  # what is not there, as last looked for
        self._changed = True
        self._explored = False
        site.expect(start)

    def note(self, name: str, applied: Applied) -> None:
        """Note what of the site's fields cannot be applied to a record."""
        sentences = list(_sentences(applied))
        for sentence in sentences:
            if sentence not in self._known.get(name, ()):
                self._unapplied.setdefault(sentence, []).append(name)
        self._known[name] = sentences

    def changed(self) -> None:
        """Look again for what is not there: the instrument has other points."""
        self._changed = True

    def news(self, up: bool) -> list[str]:
        """Return what was not told yet; ``up``: the connection stands, so that the instrument can be explored.

        That nothing is left to be explored must be seen twice in a row: a connection that is being lost looks so too.
        """
        found = [f"{sentence}: {_names(names)}" for sentence, names in self._unapplied.items()]
        self._unapplied.clear()
        explored = up and not self._driver.exploring
        if explored and self._explored and self._changed:
            self._changed = False
            self._missing = [*self._site.unused(self._start), *self._unserved()]
            fresh = [sentence for sentence in self._missing if sentence not in self._told]
            self._told.update(fresh)
            found += fresh
        self._explored = explored
        return found

    def standing(self) -> list[str]:
        """Return all that holds now, whether it was told or not."""
        names: dict[str, list[str]] = {}
        for name, sentences in self._known.items():
            for sentence in sentences:
                names.setdefault(sentence, []).append(name)
        return [*(f"{sentence}: {_names(found)}" for sentence, found in names.items()), *self._missing]

    def _unserved(self) -> list[str]:
        try:
            return list(self._driver.unserved)
        except Exception as error:
            faults.log_once("the list of what is not served", self._start, error)
            return []


def _sentences(applied: Applied) -> Iterator[str]:
    """Yield what cannot be applied to a record; its name is to follow."""
    egu = units.word(applied.point.egu)
    if applied.unapplied:
        given = ", ".join(f"{field} {number}" for field, number in applied.unapplied.items())
        yield f"not applied: {given}, for the value is in {egu}; give numbers in {egu} to"
    if applied.untrue:
        yield f"EGU {applied.untrue} is not shown, for the value is in {egu}; correct it under records for"


def _names(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
