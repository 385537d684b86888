"""The tables of the two former loggers: their columns; they are created where they do not exist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Boolean, Column, Connection, DateTime, Float, Index, Integer, MetaData, Table, inspect
from sqlalchemy.types import TypeEngine

from archiver.settings import ArchiveSettings, MeasurementSettings, TemperatureSettings
from archiver.storage.database import connect
from archiver.storage.store import StoreError
from archiver.storage.url import url_of

# A double: MySQL's plain FLOAT has seven digits
_NUMBER = Float(53)
_TYPES: dict[str, TypeEngine[Any]] = {
    "timestamp": DateTime(),
    "port_id": Integer(),
    "voltage_set": _NUMBER,
    "voltage_mon": _NUMBER,
    "current": _NUMBER,
    "is_hv_on": Boolean(),
    "status_raw": Integer(),
    "is_overcurrent_protection_active": Boolean(),
    "is_current_out_of_spec": Boolean(),
}
# The columns of the table of measurements, and those that tell its rows apart.
MEASUREMENTS = tuple(_TYPES)
_KEY = MEASUREMENTS[:2]


def make_tables(archive: ArchiveSettings) -> None:
    """Create the tables of the configuration; those that exist stay as they are. Raises StoreError."""
    if wanted := tables(archive):
        with connect(url_of(archive.database)) as connection:
            prepare(connection, wanted)


def tables(archive: ArchiveSettings) -> list[Table]:
    """Return the tables of the configuration, as they are created where they do not exist."""
    found = []
    if archive.measurements is not None:
        found.append(_measurements(archive.measurements))
    if archive.temperatures is not None:
        found.append(_temperatures(archive.temperatures))
    return found


def prepare(connection: Connection, tables: Sequence[Table]) -> None:
    """Create what does not exist, in a transaction of its own. A table that exists stays as it is, whoever made it.

    Raises StoreError for one that lacks a column; errors of the database are raised as they are.
    """
    with connection.begin():
        for table in tables:
            if inspect(connection).has_table(table.name):
                _check_columns(connection, table)
        for table in tables:
            table.create(connection, checkfirst=True)
            for index in table.indexes:
                if not _is_indexed(connection, table):
                    index.create(connection)


def _measurements(settings: MeasurementSettings) -> Table:
    return Table(
        settings.table,
        MetaData(),
        Column("id", Integer, primary_key=True),
        *(Column(name, kind) for name, kind in _TYPES.items()),
        Index(f"{settings.table}_time_port", *_KEY),  # a row is stored only if its key is not there yet
    )


def _temperatures(settings: TemperatureSettings) -> Table:
    time, *thermocouples = settings.columns
    return Table(
        settings.table,
        MetaData(),
        Column(time, DateTime, primary_key=True),
        *(Column(name, Float, nullable=True) for name in thermocouples),
    )


def _check_columns(connection: Connection, table: Table) -> None:
    present = {column["name"].lower() for column in inspect(connection).get_columns(table.name)}
    filled = (column.name for column in table.columns if column is not table.autoincrement_column)
    missing = [name for name in filled if name.lower() not in present]
    if missing:
        raise StoreError(
            f"the table {table.name} has no column {', '.join(missing)}: add it, "
            "or name another table in the configuration (table)"
        )


def _is_indexed(connection: Connection, table: Table) -> bool:
    return any(set(names[: len(_KEY)]) == set(_KEY) for names in _indexes(connection, table))


def _indexes(connection: Connection, table: Table) -> Iterator[Sequence[str | None]]:
    about = inspect(connection)
    yield about.get_pk_constraint(table.name)["constrained_columns"]
    yield from (each["column_names"] for each in about.get_indexes(table.name))
    yield from (each["column_names"] for each in about.get_unique_constraints(table.name))
