"""The tables of an archive besides ``sample``, as ``copy``, ``backup`` and ``salvage`` carry them.

A further table of db/ is carried when it has a line here. What is listed as not carried is made by the migrations, or
belongs to one database alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from archiver.storage.metadata import NUMERIC


class Table(NamedTuple):
    """A table with the same columns in every database; ids of channels are those of its own database.

    key       how many of the first columns are the key; a row whose key is there stays as it is
    greatest  a column of which the greater of two numbers stays instead
    """

    name: str
    columns: tuple[str, ...]
    key: int
    greatest: str = ""


_NUMERIC = tuple(NUMERIC.split(", "))
METADATA = (
    Table("num_metadata_history", ("channel_id", "since_time", *_NUMERIC), 2),
    Table("enum_metadata_history", ("channel_id", "since_time", "enum_nbr", "enum_val"), 3),
)
# Carried after the samples: without its rows a bin would say that they were thinned.
OTHERS = (
    Table("sample_bin", ("channel_id", "bin_time", "width", "count", "min_val", "max_val", "mean_val"), 2),
    Table("thinned", ("channel_id", "until_time"), 1, greatest="until_time"),
    Table("renamed", ("old_pv", "new_pv", "since_time"), 1),
)
CARRIED = (*METADATA, *OTHERS)

# Made anew of METADATA: what holds now is the newest of it.
PRESENT = {"num_metadata": _NUMERIC, "enum_metadata": ("enum_nbr", "enum_val")}
# Of channels, and made by the archiver from their rows when they are not there: deleted of a channel that gets rows.
REBUILT: tuple[str, ...] = ("summary", "summarized", "summary_hole")
# Carried by name, for each database has its own ids: see copy.py.
BY_NAME = ("channel", "archiver", "channel_owner", "status", "sample", "sample_settled", "sample_recent", "settled")
# The same in every archive, or of no use in another one; ``copied``: how far others were copied into it; ``expired``:
# what its archivers do not keep.
FIXED = ("severity", "archive_schema", "smpl_eng", "retent", "chan_grp", "smpl_mode", "copied", "expired")


def others(tables: Iterable[str]) -> list[str]:
    """Return those tables that are not the archive's, such as a former logger's: nothing carries them."""
    own = {*(table.name for table in CARRIED), *PRESENT, *REBUILT, *BY_NAME, *FIXED}
    return sorted(name for name in tables if name not in own and not name.startswith("sqlite_"))
