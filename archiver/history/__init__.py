"""Reading the archive: the output of ``rackioc history``, and arrays for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def history(
    database: str, pvs: str | Sequence[str], since: str | datetime | None = None, until: str | datetime | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Return a table for each PV (names or globs): a structured array of time, value, severity and status.

    Times are written as for ``rackioc history`` ("1h", "2026-11-20 14:00"), or a datetime; UTC without an offset. The
    first row is the newest before ``since``, the value in force then; without ``until`` the window ends now.
    ``pandas.DataFrame(table)`` accepts a table. Warns of PVs that are not in the archive.

    Raises HistoryError (archiver.history.query) if none of the PVs is in the archive, a text is not a time, or the
    database cannot be read.
    """
    # numpy and the database, which the IOC's process does not need
    from archiver.history.arrays import tables  # noqa: PLC0415

    return tables(database, [pvs] if isinstance(pvs, str) else pvs, since, until)
