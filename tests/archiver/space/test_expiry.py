"""Rows of a file that are not kept any longer go in steps of a bounded time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from archiver.sample import Sample, pack
from archiver.storage.database import open_store
from archiver.storage.sqlite import store as sqlite_store
from archiver.storage.store import Store
from archiver.storage.summary import MINUTE_NS
from archiver.storage.upkeep import pace as paces
from archiver.storage.upkeep.pace import EXPIRE_S, Pace
from bench.rig.databases import connect

ROWS = 3000
BEGIN = 1_700_000_000 * 10**9 // MINUTE_NS * MINUTE_NS
KEEP = BEGIN + 2000 * MINUTE_NS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rack.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{file}")) as opened:
        yield opened


def count(file: Path, table: str, column: str) -> int:
    with closing(sqlite3.connect(file)) as connection:
        (found,) = connection.execute(f"SELECT count(*) FROM {table} WHERE {column} < ?", (KEEP,)).fetchone()
    return int(found)


def add_summaries(file: Path) -> None:
    """Add a bin of a minute for each row: its beginning is all that matters here."""
    bins = [(1, MINUTE_NS, BEGIN + minute * MINUTE_NS, *[0] * 16) for minute in range(ROWS)]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executemany(f"INSERT INTO summary VALUES ({', '.join('?' * 19)})", bins)


def test_bins_go_after_all_rows_in_steps_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite gives their pages back 100 times as quickly if these were freed last."""
    for constant in ("STEP_ROWS", "FEWEST_ROWS", "MOST_ROWS"):
        monkeypatch.setattr(paces, constant, 500)
    left = []
    with closing(open_store(f"sqlite:///{file}")) as store:
        store.add([Sample("A", BEGIN + minute * MINUTE_NS, 1.0, 0, "NO_ALARM") for minute in range(ROWS)])
        add_summaries(file)
        while store.expire("A", KEEP):
            left.append((count(file, "sample", "smpl_time"), count(file, "summary", "bin_time")))
    assert (count(file, "sample", "smpl_time"), count(file, "summary", "bin_time")) == (0, 0)
    assert [bins for rows, bins in left if rows] == [2000] * 3
    assert [bins for rows, bins in left if not rows] == [1500, 1000, 500]


def test_a_step_takes_few_arrays(store: Store, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To free one takes as long as to free thousands of numbers."""
    array = pack([1.5] * 1000)
    store.add([Sample("A", BEGIN + minute * MINUTE_NS, array, 0, "NO_ALARM") for minute in range(100)])
    monkeypatch.setattr(paces, "MOST_BYTES", 20 * len(array))
    assert store.expire("A", KEEP)
    assert 78 <= count(file, "sample", "smpl_time") <= 81


def test_a_step_takes_as_many_rows_as_those_before_it_had_time_for() -> None:
    pace = Pace()
    begun = pace.rows
    pace.took(EXPIRE_S / 10, more=True)
    assert pace.rows == 2 * begun
    pace.took(EXPIRE_S / 10, more=False)  # it was no whole one
    assert pace.rows == 2 * begun
    pace.took(2 * EXPIRE_S, more=True)
    assert pace.rows == begun
    for _ in range(20):
        pace.took(0.0, more=True)
    assert pace.rows == paces.MOST_ROWS
    for _ in range(20):
        pace.took(1.0, more=False)
    assert pace.rows == paces.FEWEST_ROWS


def server_rows(database: str) -> int:
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM sample")
        ((found,),) = cursor.fetchall()
        return int(found)


def test_a_step_on_a_server_takes_as_many_rows_as_its_time_allows_and_few_arrays(
    mysql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = pack([1.5] * 1000)
    with closing(open_store(mysql_database)) as store:
        store.add([Sample("A", BEGIN + minute * MINUTE_NS, 1.5, 0, "NO_ALARM") for minute in range(ROWS)])
        store.add([Sample("B", BEGIN + minute * MINUTE_NS, array, 0, "NO_ALARM") for minute in range(100)])
        store._pace.rows = 200  # type: ignore[attr-defined]
        monkeypatch.setattr(paces, "EXPIRE_S", 1e3)
        left = [server_rows(mysql_database)]
        for _ in range(3):
            assert store.expire("A", KEEP)
            left.append(server_rows(mysql_database))
        assert [before - after for before, after in pairwise(left)] == [200, 400, 800]
        monkeypatch.setattr(paces, "MOST_BYTES", 20 * len(array))
        assert store.expire("B", KEEP)
        assert left[-1] - server_rows(mysql_database) <= 22
        while store.expire("A", KEEP):
            pass
        while store.expire("B", KEEP):
            pass
    assert server_rows(mysql_database) == ROWS - 2000 + 1


def test_arrays_settle_in_steps_of_their_bytes(store: Store, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """800 arrays of 100,000 doubles took 30 s in one transaction, and no commit came between."""
    array = pack([1.5] * 1000)
    store.add([Sample("A", BEGIN + minute * MINUTE_NS, array, 0, "NO_ALARM") for minute in range(160)])
    monkeypatch.setattr(sqlite_store, "STEP_BYTES", 20 * len(array))
    monkeypatch.setattr(store, "_settle_at", 0.0)
    left = []
    while store.tidy():
        left.append(count(file, "sample_recent", "smpl_time"))
    left.append(count(file, "sample_recent", "smpl_time"))
    assert left == [139, 118, 97, 76, 55, 34, 20]  # the newest eighth stays
    assert count(file, "sample", "smpl_time") == 160
