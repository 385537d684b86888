"""The rows of SQLite's tables: samples as rows, and ids of names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from archiver.sample import Sample
from archiver.storage.columns import to_columns
from archiver.storage.owner import Owner, names
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


class SqliteChannels:
    """The ids of an archiver's own channels by PV, cached; a new PV gets one."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.archiver = 0
        self.ids: dict[str, int] = {}

    def begin(self, connection: Connection, place: str) -> int:
        """Take the owner's name for this process; return its sign of life before. Raises Gone if another has it.

        A file has one archiver at a time: channels without an owner belong to this one, but those of a PV of which it
        has a series already, and those that name another one.
        """
        known = "SELECT run, alive_time FROM archiver WHERE name = ?"
        run, alive_ns = connection.exec_driver_sql(known, (self._owner.name,)).first() or ("", 0)
        self._owner.check(run, alive_ns, place)
        connection.exec_driver_sql(
            "INSERT INTO archiver (name, run, alive_time) VALUES (?, ?, 0) "
            "ON CONFLICT (name) DO UPDATE SET run = excluded.run",
            self._owner,
        )
        number = "SELECT archiver_id FROM archiver WHERE name = ?"
        self.archiver = int(connection.exec_driver_sql(number, (self._owner.name,)).scalar_one())
        nobodys = connection.exec_driver_sql(
            "SELECT channel_id, name FROM channel WHERE channel_id NOT IN (SELECT channel_id FROM channel_owner)"
        )
        self._read(connection)
        if claimed := self._owner.claims(((number, name) for number, name in nobodys), self.ids, alone=True):
            insert = f"INSERT INTO channel_owner (channel_id, archiver_id, pv) VALUES (?, {self.archiver}, ?)"
            connection.exec_driver_sql(insert, claimed)
            self._read(connection)
        return int(alive_ns)

    def ensure(self, connection: Connection, pvs: Iterable[str]) -> Mapping[str, int]:
        """Return the ids of PVs, of which those given are added if they are new."""
        if not self.ids:
            self._read(connection)
        if new := [pv for pv in sorted(pvs) if pv not in self.ids]:  # neighbours by name lie together
            named = [(pv, self._name(connection, pv)) for pv in new]
            insert = "INSERT INTO channel (name) VALUES (?) ON CONFLICT DO NOTHING"
            connection.exec_driver_sql(insert, [(name,) for _, name in named])
            connection.exec_driver_sql(
                "INSERT INTO channel_owner (channel_id, archiver_id, pv) SELECT channel_id, ?, ? FROM channel "
                "WHERE name = ?",
                [(self.archiver, *each) for each in named],
            )
            self._read(connection)
        return self.ids

    def shared(self, connection: Connection, pvs: Iterable[str]) -> set[str]:
        """Return those of some PVs that other archivers keep, too."""
        others = "SELECT 1 FROM channel_owner WHERE pv = ? AND archiver_id <> ?"
        return {pv for pv in pvs if connection.exec_driver_sql(others, (pv, self.archiver)).scalar()}

    def live(self, connection: Connection, time_ns: int, place: str) -> None:
        """Store the sign of life. Raises Gone if another process has the owner's name."""
        update = "UPDATE archiver SET alive_time = ? WHERE name = ? AND run = ?"
        if connection.exec_driver_sql(update, (time_ns, *self._owner)).rowcount == 0:
            raise self._owner.lost(place)

    def end(self, connection: Connection) -> None:
        """Give the owner's name free."""
        connection.exec_driver_sql("UPDATE archiver SET run = '' WHERE name = ? AND run = ?", self._owner)

    def reset(self) -> None:
        """Empty the cache: a transaction has failed."""
        self.ids = {}

    def _name(self, connection: Connection, pv: str) -> str:
        """Return the name of a PV's channel, which is new or belongs to nobody."""
        owned = "SELECT 1 FROM channel JOIN channel_owner USING (channel_id) WHERE name = ?"
        found = names(pv, self._owner.name)
        return next(name for name in found if not connection.exec_driver_sql(owned, (name,)).scalar())

    def _read(self, connection: Connection) -> None:
        own = "SELECT pv, channel_id FROM channel_owner WHERE archiver_id = ?"
        rows = connection.exec_driver_sql(own, (self.archiver,))
        self.ids = {pv: int(number) for pv, number in rows}


def to_rows(
    samples: Sequence[Sample], channel_ids: SqliteChannels, status_ids: SqliteIds, settled_ns: Mapping[int, int]
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
