"""The metadata of PVs in the tables of MySQL: the present ones, as Phoebus reads them, and all with their times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from pymysql.cursors import Cursor

from archiver.sample import RESOLUTION_NS, Dated, Metadata, Range
from archiver.storage.metadata import NUMERIC, from_numeric, from_words, to_numeric

_CURRENT = ("num_metadata", "enum_metadata")
_DATED = ("num_metadata_history", "enum_metadata_history")


class MetadataTables:
    """The writing side of the tables; it caches the newest metadata."""

    def __init__(self) -> None:
        self._newest: dict[int, Dated] = {}

    def add(self, cursor: Cursor, metadata: Mapping[int, Dated], alike: Set[int]) -> None:
        """Store metadata by channel id; those that equal the ones before only of the channels ``alike``."""
        if not self._newest:
            self._newest = _newest(cursor)
        present: dict[int, Metadata] = {}
        new: dict[tuple[int, ...], Metadata] = {}
        for channel, (since_ns, about) in metadata.items():
            # rows have no finer times: the one that came with these metadata is not to be before them
            dated = Dated(since_ns // RESOLUTION_NS * RESOLUTION_NS, _storable(about))
            before = self._newest.get(channel)
            if before is None or before.since_ns <= dated.since_ns:
                if before is not None and before.metadata == dated.metadata and channel not in alike:
                    continue
                self._newest[channel], present[channel] = dated, dated.metadata
            new[channel, dated.since_ns] = dated.metadata
        if present:
            _replace(cursor, present)
        if new:
            _add_dated(cursor, new)

    def reset(self) -> None:
        """Empty the cache: a transaction has failed."""
        self._newest = {}


def history(cursor: Cursor, channel: int | None) -> list[Dated]:
    """Return all metadata of a channel, the oldest first."""
    cursor.execute(f"SELECT since_time, {NUMERIC} FROM num_metadata_history WHERE channel_id = %s", (channel,))
    found = {since_ns: from_numeric(row) for since_ns, *row in cursor.fetchall()}
    cursor.execute(
        "SELECT since_time, enum_val FROM enum_metadata_history WHERE channel_id = %s ORDER BY since_time, enum_nbr",
        (channel,),
    )
    found |= from_words(cursor.fetchall())
    return [Dated(*each) for each in sorted(found.items(), key=lambda each: each[0])]


def _newest(cursor: Cursor) -> dict[int, Dated]:
    cursor.execute(f"SELECT channel_id, {NUMERIC} FROM num_metadata")
    present = {channel: from_numeric(row) for channel, *row in cursor.fetchall()}
    cursor.execute("SELECT channel_id, enum_val FROM enum_metadata ORDER BY channel_id, enum_nbr")
    present |= from_words(cursor.fetchall())
    since_ns: dict[int, int] = {}
    for table in _DATED:
        cursor.execute(f"SELECT channel_id, MAX(since_time) FROM {table} GROUP BY channel_id")
        for channel, time_ns in cursor.fetchall():
            since_ns[channel] = max(time_ns, since_ns.get(channel, 0))
    return {channel: Dated(since_ns.get(channel, 0), metadata) for channel, metadata in present.items()}


def _replace(cursor: Cursor, metadata: Mapping[int, Metadata]) -> None:
    """Replace the present metadata. One of the tables has rows of a PV: Phoebus prefers words to numbers."""
    for table in _CURRENT:
        cursor.execute(f"DELETE FROM {table} WHERE channel_id IN %s", (tuple(metadata),))
    _insert(cursor, _CURRENT, {(channel,): about for channel, about in metadata.items()})


def _add_dated(cursor: Cursor, metadata: Mapping[tuple[int, ...], Metadata]) -> None:
    for table in _DATED:
        cursor.execute(f"DELETE FROM {table} WHERE (channel_id, since_time) IN %s", (tuple(metadata),))
    _insert(cursor, _DATED, metadata)


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
