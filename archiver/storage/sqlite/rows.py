"""The rows of SQLite's tables: samples as rows, and ids of names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from archiver.sample import Sample
from archiver.storage.columns import to_columns
from archiver.storage.sqlite.file import PART


class Rows(NamedTuple):
    """Samples as rows: finite numbers, all other values, and what comes late."""

    numbers: list[tuple[int, int, int, int, float]]
    others: list[tuple[Any, ...]]
    late: list[tuple[Any, ...]]


class SqliteIds:
    """The ids of the names in one table, cached; a new name gets one."""

    def __init__(self, table: str) -> None:
        self._table = table
        self.ids: dict[str, int] = {}

    def ensure(self, connection: Connection, names: Iterable[str]) -> Mapping[str, int]:
        """Return the ids of names, of which those given are added if they are new."""
        if new := [(name,) for name in sorted(names) if name not in self.ids]:  # neighbours by name lie together
            insert = f"INSERT INTO {self._table} (name) VALUES (?) ON CONFLICT DO NOTHING"
            connection.exec_driver_sql(insert, new)
            rows = connection.exec_driver_sql(f"SELECT name, {self._table}_id FROM {self._table}")
            self.ids = {name: int(number) for name, number in rows}
        return self.ids

    def reset(self) -> None:
        """Empty the cache: a transaction has failed."""
        self.ids = {}


def to_rows(
    samples: Sequence[Sample], channel_ids: SqliteIds, status_ids: SqliteIds, settled_ns: Mapping[int, int]
) -> Rows:
    """Return samples as rows; ``settled_ns``: up to when each part has settled, earlier rows are late.

    Raises KeyError for a name without an id. Finite numbers, nearly all there is, have a path of their own, as short
    as it can be.
    """
    channels, statuses = channel_ids.ids, status_ids.ids
    latest_ns = max(settled_ns.values(), default=0)
    numbers = [
        (channels[pv], time_ns, severity + 1, statuses[status], value)
        for pv, time_ns, value, severity, status in samples
        if time_ns > latest_ns and type(value) is float and value - value == 0.0
    ]
    rows = Rows(numbers, [], [])
    if len(numbers) < len(samples):
        for pv, time_ns, value, severity, status in samples:
            if time_ns <= latest_ns or type(value) is not float or value - value != 0.0:
                channel = channels[pv]
                late = time_ns <= settled_ns.get(channel // PART, 0)
                row = (channel, time_ns, severity + 1, statuses[status], *to_columns(value))
                (rows.late if late else rows.others).append(row)
    return rows
