"""The archiver: a Channel Access client that writes samples to a database.

For notebooks: `archiver.history(database, pvs, since, until)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def history(
    database: str, pvs: str | Sequence[str], since: str | datetime | None = None, until: str | datetime | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """A table for each PV (names or globs): a structured array of time, value, severity and status.

    Times are as in `rackioc history` ("1h", "2026-11-20 14:00"), or a datetime: UTC where not said. The first row is
    the newest before `since`, the value in force then. `pandas.DataFrame(table)` takes a table as it is.
    """
    from archiver.tables import tables  # noqa: PLC0415 - numpy and the database, which the IOC's process does not need

    return tables(database, [pvs] if isinstance(pvs, str) else pvs, since, until)
