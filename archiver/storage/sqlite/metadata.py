"""The metadata of a channel in the tables of SQLite: the present ones, and all with their times."""

from __future__ import annotations

from operator import itemgetter

from sqlalchemy import Connection

from archiver.sample import Dated, Metadata
from archiver.storage.metadata import NUMERIC, from_numeric, from_words, to_numeric

_KEY = ("channel_id", "since_time")


def add_metadata(connection: Connection, channel: int, dated: Dated, *, keep_equal: bool) -> None:
    """Store metadata that hold from a time on; those that equal the ones before only with ``keep_equal``."""
    known = history(connection, channel)
    latest = known[-1] if known else None
    newest = latest is None or latest.since_ns <= dated.since_ns
    if newest and latest and latest.metadata == dated.metadata and not keep_equal:
        return
    keys = {"_history": (channel, dated.since_ns)} | ({"": (channel,)} if newest else {})
    for suffix, key in keys.items():
        where = " AND ".join(f"{name} = ?" for name in _KEY[: len(key)])
        for table in ("num_metadata", "enum_metadata"):
            connection.exec_driver_sql(f"DELETE FROM {table}{suffix} WHERE {where}", key)
        _write(connection, suffix, key, dated.metadata)


def history(connection: Connection, channel: int) -> list[Dated]:
    """Return all metadata of a channel, the oldest first."""
    numbers = f"SELECT since_time, {NUMERIC} FROM num_metadata_history WHERE channel_id = ?"
    found = {since: from_numeric(row) for since, *row in connection.exec_driver_sql(numbers, (channel,))}
    words = "SELECT since_time, enum_val FROM enum_metadata_history WHERE channel_id = ? ORDER BY enum_nbr"
    found |= from_words(connection.exec_driver_sql(words, (channel,)))
    return [Dated(*each) for each in sorted(found.items(), key=itemgetter(0))]


def _write(connection: Connection, suffix: str, key: tuple[int, ...], about: Metadata) -> None:
    names = _KEY[: len(key)]
    if about.words:
        marks = ", ".join("?" * (len(key) + 2))
        insert = f"INSERT INTO enum_metadata{suffix} ({', '.join(names)}, enum_nbr, enum_val) VALUES ({marks})"
        connection.exec_driver_sql(insert, [(*key, *word) for word in enumerate(about.words)])
        return
    marks = ", ".join("?" * (len(key) + 8))
    insert = f"INSERT INTO num_metadata{suffix} ({', '.join(names)}, {NUMERIC}) VALUES ({marks})"
    connection.exec_driver_sql(insert, (*key, *to_numeric(about)))
