"""The values of PVs for the former loggers' tables, and which of them are valid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from archiver.ca.listener import PvUpdate
from archiver.sample import INVALID
from archiver.storage.store import TableRow

Updates = Mapping[str, PvUpdate]
# Appends rows to the queue.
AddRows = Callable[[Sequence[TableRow]], None]

# Alarms of these are about a value that was read, whatever severity a site gives them.
_ABOUT_VALUES = frozenset({"HIHI", "HIGH", "LOW", "LOLO", "STATE", "COS"})


class Get(Protocol):
    """A function that reads PVs and later calls ``deliver`` once; PVs that did not answer are missing there."""

    def __call__(self, pvs: Sequence[str], deliver: Callable[[Updates], None], /) -> None:
        """Read the PVs."""


def number(update: PvUpdate | None) -> float | None:
    """Return the number of an update if it is valid, else None."""
    if update is None or not isinstance(update.value, int | float) or not math.isfinite(update.value):
        return None
    return float(update.value) if update.severity < INVALID or update.status in _ABOUT_VALUES else None


def is_open(update: PvUpdate | None) -> bool:
    """Return whether a thermocouple is open: NaN with UDF; a record that was never read is UDF, too, but 0."""
    return update is not None and update.status == "UDF" and update.value != update.value
