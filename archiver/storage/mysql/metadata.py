"""The metadata of PVs in the tables of MySQL: the present ones, as Phoebus reads them, and all with their times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pymysql.cursors import Cursor

from archiver.sample import Dated, Metadata, Range
from archiver.storage.metadata import NUMERIC, from_numeric, from_words, to_numeric

_CURRENT = ("num_metadata", "enum_metadata")
_DATED = ("num_metadata_history", "enum_metadata_history")


class MetadataTables:
    """The writing side of the tables; it caches the present metadata."""

    def __init__(self) -> None:
        self._cached: dict[int, Metadata] = {}

    def add(self, cursor: Cursor, metadata: Mapping[int, Dated]) -> None:
        """Store metadata by channel id; known ones change nothing."""
        if not self._cached:
            self._cached = _current(cursor)
        new = {}
        for channel, dated in metadata.items():
            about = _storable(dated.metadata)
            if about != self._cached.get(channel):
                new[channel] = Dated(dated.since_ns if channel in self._cached else 0, about)
        if new:
            _replace(cursor, new)
            _add_dated(cursor, new)
            self._cached |= {channel: dated.metadata for channel, dated in new.items()}

    def reset(self) -> None:
        """Empty the cache: a transaction has failed."""
        self._cached = {}


def history(cursor: Cursor, pv: str) -> Sequence[Dated]:
    """Return all metadata of a PV, the oldest first."""
    cursor.execute(
        f"""SELECT since_time, {NUMERIC} FROM num_metadata_history
            JOIN channel ON channel.channel_id = num_metadata_history.channel_id WHERE name = %s""",
        (pv,),
    )
    found = {since_ns: from_numeric(row) for since_ns, *row in cursor.fetchall()}
    cursor.execute(
        """SELECT since_time, enum_val FROM enum_metadata_history
            JOIN channel ON channel.channel_id = enum_metadata_history.channel_id WHERE name = %s
            ORDER BY since_time, enum_nbr""",
        (pv,),
    )
    found |= from_words(cursor.fetchall())
    return [Dated(*each) for each in sorted(found.items(), key=lambda each: each[0])]


def _current(cursor: Cursor) -> dict[int, Metadata]:
    cursor.execute(f"SELECT channel_id, {NUMERIC} FROM num_metadata")
    numeric = {channel: from_numeric(row) for channel, *row in cursor.fetchall()}
    cursor.execute("SELECT channel_id, enum_val FROM enum_metadata ORDER BY channel_id, enum_nbr")
    return numeric | from_words(cursor.fetchall())


def _replace(cursor: Cursor, metadata: Mapping[int, Dated]) -> None:
    """Replace the present metadata. One of the tables has rows of a PV: Phoebus prefers words to numbers."""
    for table in _CURRENT:
        cursor.execute(f"DELETE FROM {table} WHERE channel_id IN %s", (tuple(metadata),))
    _insert(cursor, _CURRENT, {(channel,): dated.metadata for channel, dated in metadata.items()})


def _add_dated(cursor: Cursor, metadata: Mapping[int, Dated]) -> None:
    keys: dict[tuple[int, ...], Metadata] = {
        (channel, dated.since_ns): dated.metadata for channel, dated in metadata.items()
    }
    for table in _DATED:
        cursor.execute(f"DELETE FROM {table} WHERE (channel_id, since_time) IN %s", (tuple(keys),))
    _insert(cursor, _DATED, keys)


def _insert(cursor: Cursor, tables: tuple[str, str], metadata: Mapping[tuple[int, ...], Metadata]) -> None:
    numeric = [(*key, *to_numeric(about)) for key, about in metadata.items() if not about.words]
    words = [(*key, *word) for key, about in metadata.items() for word in enumerate(about.words)]
    _insert_all(cursor, tables[0], numeric)
    _insert_all(cursor, tables[1], words)


def _insert_all(cursor: Cursor, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(rows[0]))})", rows)


def _storable(metadata: Metadata) -> Metadata:
    """Return metadata as they are read back: a limit that is not finite is None, words exclude all else."""
    if metadata.words:
        return Metadata(words=metadata.words)
    return replace(
        metadata,
        display=_finite(metadata.display),
        warning=_finite(metadata.warning),
        alarm=_finite(metadata.alarm),
    )


def _finite(limits: Range) -> Range:
    low, high = (limit if limit is not None and math.isfinite(limit) else None for limit in limits)
    return low, high
