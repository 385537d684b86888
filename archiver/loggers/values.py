"""What Channel Access says for the seed tables, and which of it is true."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from archiver.ca.listener import PvUpdate
from archiver.sample import INVALID
from archiver.storage.store import TableRow

Updates = Mapping[str, PvUpdate]
AddRows = Callable[[Sequence[TableRow]], None]

# An alarm of these is about a value that was read, however severe a site calls it.
_ABOUT_VALUES = frozenset({"HIHI", "HIGH", "LOW", "LOLO", "STATE", "COS"})


class Get(Protocol):
    """Gets PVs, and later calls `deliver` once; PVs that did not answer are missing there."""

    def __call__(self, pvs: Sequence[str], deliver: Callable[[Updates], None], /) -> None: ...


def number(update: PvUpdate | None) -> float | None:
    """A number that is true now, else None."""
    if update is None or not isinstance(update.value, int | float) or not math.isfinite(update.value):
        return None
    return float(update.value) if update.severity < INVALID or update.status in _ABOUT_VALUES else None


def is_open(update: PvUpdate | None) -> bool:
    """The instrument is there and says that no thermocouple is: NaN. (What was never read is UDF, too, but 0.)"""
    return update is not None and update.status == "UDF" and update.value != update.value
