"""The archiver: a Channel Access client that writes samples to a database, and the functions that read them back.

ca         Channel Access by libca
recording  from updates to rows, and from the queue through the spool into the database
storage    the databases: SQLite, MySQL and MariaDB
history    reading: rows, statistics, plots, arrays
keeping    for years: backup, check, copy, salvage, renaming, export
loggers    the tables of the two former loggers

For notebooks: ``archiver.history(database, pvs, since, until)``.
"""

# The function takes the name of its folder. It must be imported here: a later import of a file of that folder
# would else put the folder in its place.
from __future__ import annotations

from archiver.history import history

__all__ = ["history"]
