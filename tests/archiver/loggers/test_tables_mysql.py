"""The tables of the two former loggers on a MariaDB server, where one of them was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from archiver.loggers.tables import MEASUREMENTS, make_tables
from archiver.settings import ArchiveSettings, MeasurementSettings, TemperatureSettings
from archiver.storage.database import open_store
from archiver.storage.store import StoreError, TableRow
from bench.rig.mariadb import Server

NAMES = ("When", "north", "east", "south", "west")
OLD = """
    CREATE TABLE roof (`When` DATETIME NOT NULL PRIMARY KEY, north FLOAT, east FLOAT, south FLOAT, west FLOAT,
                       remark TEXT) ENGINE = MyISAM"""

# Execute statements as administrator of the server; return the rows of the last one
Execute = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def archive(mysql_database: str) -> ArchiveSettings:
    return ArchiveSettings(
        database=mysql_database,
        pvs=("LAB:*",),
        measurements=MeasurementSettings(instrument="HV1", channels={4: "ALL"}),
        temperatures=TemperatureSettings(instrument="TC1", table="roof", columns=NAMES),
    )


@pytest.fixture
def execute(shared_server: Server, mysql_database: str) -> Execute:
    return lambda *sql: shared_server.execute(*sql, database=mysql_database.rsplit("/", 1)[1])


def test_an_old_table_goes_on_growing_and_the_other_is_made(archive: ArchiveSettings, execute: Execute) -> None:
    execute(OLD, "INSERT INTO roof VALUES ('2026-10-25 02:30:00', 1, 2, 3, 4, 'sunny')")
    for _ in range(2):
        make_tables(archive)
    rows = [
        TableRow("roof", NAMES, ("2026-10-25 02:30:00", 9.0, 9.0, 9.0, 9.0), 1),  # there already
        TableRow("roof", NAMES, ("2026-10-25 02:30:01", 21.5, None, float("nan"), -3.25), 1),
        TableRow("measurements", MEASUREMENTS, ("2026-10-25T02:30:00", 401, 500.0, 499.5, 1.25, 1, 9, 1, 0), 2),
    ]
    with closing(open_store(archive.database)) as store:
        for _ in range(2):
            store.add_rows(rows)
    assert [row[1:] for row in execute("SELECT * FROM roof ORDER BY `When`")] == [
        (1.0, 2.0, 3.0, 4.0, "sunny"),
        (21.5, None, None, -3.25, None),
    ]
    assert execute("SELECT port_id, voltage_mon, is_hv_on, status_raw FROM measurements") == [(401, 499.5, 1, 9)]
    assert execute("SELECT engine FROM information_schema.tables WHERE table_name = 'roof'") == [("MyISAM",)]


def test_a_table_that_lacks_a_column_is_a_sentence(archive: ArchiveSettings, execute: Execute) -> None:
    execute("CREATE TABLE roof (`When` DATETIME NOT NULL PRIMARY KEY, north FLOAT)")
    with pytest.raises(StoreError, match="the table roof has no column east, south, west"):
        make_tables(archive)
