"""A reader of an SQLite file that stands still: it holds up nobody, and misses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from archiver.sample import Sample
from archiver.storage.database import open_reader
from archiver.storage.owner import Owner
from archiver.storage.sqlite import reader as reader_module
from archiver.storage.sqlite.store import SqliteStore
from archiver.storage.store import Store, StoreError
from archiver.storage.summary import MINUTE_NS
from archiver.storage.url import DatabaseUrl

S, START = 10**9, 1_700_000_000 * 10**9
PVS = [f"P{number}" for number in range(40)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rack.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(DatabaseUrl.parse(f"sqlite:///{file}"), Owner.of("test"))) as store:
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


def test_rows_of_several_archivers_that_settle_while_they_are_read_are_read_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a channel of its own for the PV."""
    monkeypatch.setattr(reader_module, "FIRST_ROWS", 7)
    monkeypatch.setattr(reader_module, "STEP_ROWS", 7)
    for name in ("one", "two"):
        with closing(SqliteStore(DatabaseUrl.parse(f"sqlite:///{file}"), Owner.of(name))) as store:
            store.add(rows(range(400), ["P0"]))
    with (
        closing(SqliteStore(DatabaseUrl.parse(f"sqlite:///{file}"), Owner.of("two"))) as store,
        closing(open_reader(f"sqlite:///{file}")) as reader,
    ):
        found = []
        for number, each in enumerate(reader.samples(["P0"], 0, START + 399 * S)):
            found.append(each)
            if number % 7 == 0:
                store._settle(0, START + min(399, number + 20) * S)
    assert found == rows(range(400), ["P0"])


def test_a_status_that_is_new_is_read_by_a_reader_that_is_open(store: Store, file: Path) -> None:
    store.add(rows(range(3)))
    with closing(open_reader(f"sqlite:///{file}")) as reader:
        found = reader.samples(["P0"], 0, START + 10 * S)
        next(found)
        store.add([Sample("P0", START + 5 * S, 1.0, 2, "NEVER_SEEN")])
        store.add([Sample("P0", START + 6 * S, 1.0, 2, "LATER")])
        rest = list(reader.samples(["P0"], 0, START + 10 * S))
        assert [each.status for each in rest][-2:] == ["NEVER_SEEN", "LATER"]


@pytest.mark.parametrize("settled", [0, 100, 390])
def test_rows_that_are_deleted_while_they_are_read_are_no_time_for_which_the_one_before_held(
    file: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, settled: int
) -> None:
    monkeypatch.setattr(reader_module, "FIRST_ROWS", 7)
    monkeypatch.setattr(reader_module, "STEP_ROWS", 7)
    store.add(rows(range(400), PVS[:2]))
    store._settle(0, START + settled * S)
    with closing(open_reader(f"sqlite:///{file}")) as reader:
        found, of_both = reader.blocks("P0", 0, START + 399 * S), reader.samples(PVS[:2], 0, START + 399 * S)
        ahead = reader.samples(["P1"], 0, START + 399 * S)
        next(found), next(of_both)
        read = len(list(islice(ahead, 350)))
        while store.expire("P0", START + 300 * S) or store.expire("P1", START + 300 * S):
            pass
        for each in (found, of_both):
            with pytest.raises(StoreError, match="old rows deleted"):
                list(each)
        assert read + len(list(ahead)) == 400  # it was past them
        assert len(list(reader.samples(["P0"], 0, START + 399 * S))) == 100


def test_summaries_that_are_deleted_while_they_are_read_are_no_time_for_which_the_one_before_held(
    file: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "STEP_ROWS", 7)
    store.add(rows(range(0, 40_000, 100), PVS[:1]))
    store._settle(0, START + 40_000 * S)
    store.live(START + 40_000 * S)
    assert not store.tidy()
    with closing(open_reader(f"sqlite:///{file}")) as reader:
        ((begin_ns, until_ns),) = reader.summarized("P0")
        found = reader.summaries("P0", MINUTE_NS, begin_ns, until_ns)
        in_columns = reader.summary_columns("P0", MINUTE_NS, begin_ns, until_ns)
        next(found), next(in_columns)
        while store.expire("P0", START + 30_000 * S):
            pass
        for each in (found, in_columns):
            with pytest.raises(StoreError, match="old rows deleted"):
                list(each)
