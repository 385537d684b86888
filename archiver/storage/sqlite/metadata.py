"""The metadata of a channel in the tables of SQLite: the present ones, and all with their times."""

from __future__ import annotations

from operator import itemgetter

from sqlalchemy import Connection

from archiver.sample import Dated, Metadata
from archiver.storage.metadata import NUMERIC, from_numeric, from_words, to_numeric


def add_metadata(connection: Connection, channel: int, dated: Dated) -> None:
    """Store metadata that hold from a time on, if they are new; the first ones hold from time 0 on."""
    known = history(connection, channel)
    if known and known[-1].metadata == dated.metadata:
        return
    since_ns = dated.since_ns if known else 0
    for table in ("num_metadata", "enum_metadata"):
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE channel_id = ?", (channel,))
    for suffix, key in (("", (channel,)), ("_history", (channel, since_ns))):
        _write(connection, suffix, key, dated.metadata)


def history(connection: Connection, channel: int) -> list[Dated]:
    """Return all metadata of a channel, the oldest first."""
    numbers = f"SELECT since_time, {NUMERIC} FROM num_metadata_history WHERE channel_id = ?"
    found = {since: from_numeric(row) for since, *row in connection.exec_driver_sql(numbers, (channel,))}
    words = "SELECT since_time, enum_val FROM enum_metadata_history WHERE channel_id = ? ORDER BY enum_nbr"
    found |= from_words(connection.exec_driver_sql(words, (channel,)))
    return [Dated(*each) for each in sorted(found.items(), key=itemgetter(0))]


def _write(connection: Connection, suffix: str, key: tuple[int, ...], about: Metadata) -> None:
    names = ("channel_id", "since_time")[: len(key)]
    if about.words:
        marks = ", ".join("?" * (len(key) + 2))
        insert = f"INSERT INTO enum_metadata{suffix} ({', '.join(names)}, enum_nbr, enum_val) VALUES ({marks})"
        connection.exec_driver_sql(insert, [(*key, *word) for word in enumerate(about.words)])
        return
    marks = ", ".join("?" * (len(key) + 8))
    insert = f"INSERT INTO num_metadata{suffix} ({', '.join(names)}, {NUMERIC}) VALUES ({marks})"
    connection.exec_driver_sql(insert, (*key, *to_numeric(about)))
