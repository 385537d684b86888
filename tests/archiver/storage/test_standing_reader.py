"""A reader of an SQLite file that stands still: it holds up nobody, and misses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from archiver.sample import Sample
from archiver.storage.database import open_reader, open_store
from archiver.storage.sqlite import reader as reader_module
from archiver.storage.sqlite.store import SqliteStore
from archiver.storage.store import Store
from archiver.storage.url import DatabaseUrl

S, START = 10**9, 1_700_000_000 * 10**9
PVS = [f"P{number}" for number in range(40)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rack.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(DatabaseUrl.parse(f"sqlite:///{file}"))) as store:
        yield store


def rows(seconds: range, pvs: list[str] = PVS) -> list[Sample]:
    return [Sample(pv, START + second * S, float(second), 0, "NO_ALARM") for second in seconds for pv in pvs]


def wal(file: Path) -> int:
    return file.with_name(f"{file.name}-wal").stat().st_size


@pytest.mark.parametrize("pvs", [PVS[:1], PVS])
@pytest.mark.parametrize("begun", [0, 1, 30, 3000])
def test_a_reader_that_stands_still_does_not_hold_the_log(
    file: Path, store: SqliteStore, pvs: list[str], begun: int
) -> None:
    store.add(rows(range(2000)))
    with closing(open_reader(f"sqlite:///{file}")) as reader:
        reader.metadata("P0")
        found = reader.samples(pvs, 0, START + 1999 * S)
        read = len(list(islice(found, begun)))
        sizes = []
        for number in range(6):
            store.add(rows(range(2000 + 500 * number, 2500 + 500 * number)))
            store._checkpoints._move()
            sizes.append(wal(file))
        assert max(sizes) == sizes[0]
        assert read + len(list(found)) == 2000 * len(pvs)


@pytest.mark.parametrize("pvs", [PVS[:1], PVS])
@pytest.mark.parametrize("late", [0, 1, 700])
@pytest.mark.parametrize("at_once", [7, 100])
def test_what_settles_while_it_is_read_is_read_once(
    file: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, pvs: list[str], late: int, at_once: int
) -> None:
    """Between any two steps: rows move from one table to the other under the reader's feet."""
    monkeypatch.setattr(reader_module, "FIRST_ROWS", at_once)
    monkeypatch.setattr(reader_module, "STEP_ROWS", at_once)
    expected = rows(range(400), pvs)
    store.add(rows(range(400)))
    store._settle(0, START + 99 * S)
    with closing(open_reader(f"sqlite:///{file}")) as reader:
        found = []
        for number, each in enumerate(reader.samples(pvs, 0, START + 399 * S)):
            found.append(each)
            if number >= late and number % 97 == 0:
                store._settle(0, START + (100 + min(299, number)) * S)
        assert sorted(found) == sorted(expected)
        assert [each.time_ns for each in found] == sorted(each.time_ns for each in found)


def test_a_status_that_is_new_is_read_by_a_reader_that_is_open(store: Store, file: Path) -> None:
    store.add(rows(range(3)))
    with closing(open_reader(f"sqlite:///{file}")) as reader:
        found = reader.samples(["P0"], 0, START + 10 * S)
        next(found)
        store.add([Sample("P0", START + 5 * S, 1.0, 2, "NEVER_SEEN")])
        with closing(open_store(f"sqlite:///{file}")) as other:
            other.add([Sample("P0", START + 6 * S, 1.0, 2, "LATER")])
        rest = list(reader.samples(["P0"], 0, START + 10 * S))
        assert [each.status for each in rest][-2:] == ["NEVER_SEEN", "LATER"]
