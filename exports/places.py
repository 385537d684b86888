"""The names of the screens' files, for all that refers to them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from exports.rack import ARCHIVER, IOC, Rack

OVERVIEW = "overview.bob"
HEALTH = "health.bob"
ARCHIVE = "archiver.bob"


def stems(rack: Rack) -> Mapping[str, str]:
    """Return for each instrument what its files' names begin with: letters, digits, ``-``; no two alike.

    Some file systems hold large and small letters for the same. No stem has ``_``: what follows it is a part of the
    instrument.
    """
    taken = {"overview", "health", "archiver"}
    found = {}
    for instrument in rack.instruments:
        stem = plain = re.sub(r"[^A-Za-z0-9-]", "-", instrument.name)
        number = 2
        while stem.casefold() in taken:
            stem, number = f"{plain}-{number}", number + 1
        taken.add(stem.casefold())
        found[instrument.name] = stem
    return found


def screens(rack: Rack) -> Mapping[str, str]:
    """Return the file of each instrument's own screen."""
    fixed = {IOC: HEALTH, ARCHIVER: ARCHIVE}
    names = stems(rack)
    return {each.name: fixed.get(each.kind, f"{names[each.name]}.bob") for each in rack.instruments}


def board_screen(stem: str, slot: str) -> str:
    """Return the file of a board's screen."""
    return f"{stem}_{slot}.bob"
