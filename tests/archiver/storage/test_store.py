"""What holds of a store and its reader whatever the database is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from archiver.history.query import MetadataHistory
from archiver.sample import Dated, Gap, Metadata, Sample, Value, gap_marker
from archiver.storage.database import open_reader, open_store
from archiver.storage.store import Bin, Reader, Rejected, Store, StoreError, TableRow

START = 1_800_000_000_000_000_000
MS, SECOND = 10**6, 10**9
ALL = (0, 2**63 - 1)
VOLTS = Metadata("V", 3, (0.0, 100.0), (None, 80.0), (None, 90.0))
SWITCH = Metadata(words=("Off", "On", ""))

OpenReader = Callable[[], Reader]


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    with closing(open_store(database)) as store:
        yield store


@pytest.fixture
def reader(database: str) -> Iterator[OpenReader]:
    """Opens a reader: it sees the archive as it is when opened."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(open_reader(database)))


def sample(pv: str = "A", ms: int = 0, value: Value = 1.5, severity: int = 0, status: str = "NO_ALARM") -> Sample:
    return Sample(pv, START + ms * MS, value, severity, status)


def numbers(count: int, pv: str = "A") -> list[Sample]:
    return [sample(pv, ms, float(ms * 7 % 13)) for ms in range(count)]


def test_what_is_added_is_read(store: Store, reader: OpenReader) -> None:
    samples = [
        sample(ms=1),
        sample(ms=2, value=3, severity=2, status="HIHI"),
        sample(ms=3, value='it\'s 100% \\ "ü" 电压\n'),
        sample(ms=4, value=""),
        sample(ms=5, value=(1.5, -2.5)),
        sample(ms=6, value=()),
        sample(ms=7, value=-(2**31)),
    ]
    store.add(samples)
    found = list(reader().samples(["A"], *ALL))
    assert found == samples
    assert [type(each.value) for each in found] == [type(each.value) for each in samples]


@pytest.mark.parametrize("value", [1.7976931348623157e308, 5e-324, 0.1, 1 / 3, 1e22, 123456789.123456789])
def test_a_double_keeps_all_its_bits(store: Store, reader: OpenReader, value: float) -> None:
    store.add([sample(value=value)])
    (found,) = reader().samples(["A"], *ALL)
    assert isinstance(found.value, float)
    assert found.value.hex() == value.hex()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_comes_back_as_it_was(store: Store, reader: OpenReader, value: float) -> None:
    store.add([sample(value=value), sample("B", value=(value, 1.0))])
    (one,), (many,) = (reader().samples([pv], *ALL) for pv in "AB")
    assert str(one.value) == str(value)
    assert str(many.value) == str((value, 1.0))


@pytest.mark.parametrize("us", [0, 1, 123_456, 999_999, 500_000])
def test_a_time_is_kept_to_the_microsecond(store: Store, reader: OpenReader, us: int) -> None:
    exact = Sample("A", START + us * 1000, 1.0, 0, "NO_ALARM")
    store.add([exact])
    assert list(reader().samples(["A"], *ALL)) == [exact]


def test_sending_again_is_harmless(store: Store, reader: OpenReader) -> None:
    batch = [sample(pv, ms) for pv in "AB" for ms in range(1, 50)]
    store.add(batch)
    store.add([*batch, sample("A", 50), sample("A", 50)])
    assert list(reader().samples(["A"], *ALL)) == [*batch[:49], sample("A", 50)]
    assert len(list(reader().samples(["B"], *ALL))) == 49
    store.add([])


def test_names_that_differ_in_case_only_are_different(store: Store, reader: OpenReader) -> None:
    store.add([sample("PV", 1, status="disconnected"), sample("pv", 2, status="Disconnected")])
    assert reader().names() == ["PV", "pv"]
    assert [each.status for each in reader().samples(["PV", "pv"], *ALL)] == ["disconnected", "Disconnected"]


def test_pvs_are_merged_in_order_of_time(store: Store, reader: OpenReader) -> None:
    store.add([sample(pv, ms + offset) for offset, pv in enumerate("ABC") for ms in range(0, 3000, 3)])
    found = [(each.pv, each.time_ns) for each in reader().samples(["A", "B", "C"], *ALL)]
    assert found == [("ABC"[ms % 3], START + ms * MS) for ms in range(3000)]


def test_the_newest_row_before_the_window_leads(store: Store, reader: OpenReader) -> None:
    store.add([sample(ms=ms) for ms in (10, 20, 30)] + [sample("B", 5)])
    window = (START + 25 * MS, START + 40 * MS)
    assert list(reader().samples(["A", "B"], *window)) == [sample("B", 5), sample(ms=20), sample(ms=30)]
    window = (START + 20 * MS, START + 30 * MS)
    assert list(reader().samples(["A"], *window)) == [sample(ms=20), sample(ms=30)]
    assert list(reader().samples(["A"], START, START + 5 * MS)) == []


def test_reading_does_not_stop_the_writer_and_shows_all_that_was_there(store: Store, reader: OpenReader) -> None:
    store.add(numbers(1000))
    rows = reader().samples(["A"], *ALL)
    next(rows)
    store.add([sample(ms=2000)])
    assert [each for each in rows if each.time_ns < START + SECOND] == numbers(1000)[1:]


def test_newest_is_the_last_row_of_each_pv(store: Store) -> None:
    assert list(store.newest()) == []
    store.add([sample("A", 1), sample("A", 3, "x"), sample("B", 2, (1.0,))])
    assert sorted(store.newest()) == [sample("A", 3, "x"), sample("B", 2, (1.0,))]


def test_what_is_known_of_a_pv_is_dated(store: Store, reader: OpenReader) -> None:
    later = START + SECOND
    store.add_metadata({"A": Dated(START, VOLTS), "B": Dated(START, SWITCH)})
    store.add_metadata({"A": Dated(later, SWITCH), "B": Dated(later, SWITCH)})
    store.add_metadata({"A": Dated(later + SECOND, VOLTS)})
    assert list(reader().metadata("A")) == [Dated(START, VOLTS), Dated(later, SWITCH), Dated(later + SECOND, VOLTS)]
    assert list(reader().metadata("B")) == [Dated(START, SWITCH)]


def test_metadata_may_come_in_any_order(store: Store, reader: OpenReader) -> None:
    """Live batches are stored before those that wait in the spool; some come twice."""
    first, second, third = (Dated(START + n * SECOND, about) for n, about in enumerate((VOLTS, SWITCH, VOLTS)))
    store.add_metadata({"A": third}, keep_equal=True)
    for dated in (first, second, first):
        store.add_metadata({"A": dated}, keep_equal=True)
    store.add_metadata({"A": Dated(START + 3 * SECOND, VOLTS)})
    assert list(reader().metadata("A")) == [first, second, third]


def test_metadata_hold_in_the_very_row_that_came_with_them(store: Store, reader: OpenReader) -> None:
    row = Sample("A", START + 123_456_789, 1, 0, "NO_ALARM")
    store.add_metadata({"A": Dated(START, VOLTS)})
    store.add_metadata({"A": Dated(row.time_ns, SWITCH)})
    store.add([row])
    opened = reader()
    (found,) = opened.samples(["A"], *ALL)
    assert MetadataHistory({"A": opened.metadata("A")}).at("A", found.time_ns) == SWITCH


def test_the_latest_rows_begin_with_the_one_in_force(store: Store) -> None:
    rows = [sample(ms=ms) for ms in (10, 20, 30)]
    store.add([*rows, sample("B", 15)])
    assert list(store.latest("A", START + 25 * MS, 10)) == rows[1:]
    assert list(store.latest("A", START + 20 * MS, 10)) == rows[1:]
    assert list(store.latest("A", START, 10)) == rows
    assert list(store.latest("A", START, 2)) == rows[:2]
    assert list(store.latest("C", START, 10)) == []


def test_what_a_row_was_does_not_change_with_its_pv(store: Store, database: str) -> None:
    """A number that is 2 is not the third word of the states that this PV had before."""
    store.add_metadata({"A": Dated(START, Metadata(words=("Off", "On", "Trip")))})
    store.add([sample(ms=ms, value=ms) for ms in (1, 2)])
    store.add_metadata({"A": Dated(START + 10 * MS, VOLTS)})
    store.add([sample(ms=ms, value=ms % 10) for ms in (11, 12)])
    store.add_metadata({"A": Dated(START + 20 * MS, Metadata(words=("Ready",)))})
    store.add([sample(ms=20, value=0), sample(ms=22, value=2)])
    shown = read_table(database, "history", "value, unit", "time")
    assert [(str(value), unit) for value, unit in shown] == [
        ("On", ""), ("Trip", ""), ("1", "V"), ("2", "V"), ("Ready", ""), ("2", ""),
    ]  # fmt: skip


@pytest.mark.parametrize("states_first", [True, False])
def test_states_stay_when_a_pv_is_a_number_now(store: Store, reader: OpenReader, states_first: bool) -> None:
    """And numbers are thinned when it has states now."""
    states = Metadata(words=("Off", "On"))
    kinds = (states, VOLTS) if states_first else (VOLTS, states)
    for second, about in enumerate(kinds):
        store.add_metadata({"A": Dated(START + second * SECOND, about)})
        store.add([sample(ms=second * 1000 + ms, value=ms % 2) for ms in range(100)])
    store.add([sample(ms=5000)])
    while store.thin("A", START + 3 * SECOND, SECOND):
        pass
    left = [each.time_ns // SECOND - START // SECOND for each in reader().samples(["A"], *ALL)]
    kept = [left.count(0), left.count(1)]
    assert kept == ([100, 3] if states_first else [3, 100])


def test_another_store_knows_what_was_described(store: Store, database: str, reader: OpenReader) -> None:
    store.add_metadata({"A": Dated(START, VOLTS), "B": Dated(START, SWITCH)})
    with closing(open_store(database)) as again:
        again.add_metadata({"A": Dated(START + SECOND, VOLTS), "B": Dated(START + SECOND, SWITCH)})
    assert [len(reader().metadata(pv)) for pv in "AB"] == [1, 1]


def test_a_batch_that_is_rejected_leaves_nothing_behind(store: Store, reader: OpenReader) -> None:
    """Neither rows nor the numbers of channels and status words that were new in it."""
    with pytest.raises(Rejected):
        store.add([sample("A"), sample("B", value=2**80, status="NEW")])
    assert list(reader().names()) == []
    store.add([sample("A", 1), sample("B", 2, status="NEW")])
    assert list(reader().samples(["B"], *ALL)) == [sample("B", 2, status="NEW")]


def test_of_old_rows_the_one_in_force_stays(store: Store, reader: OpenReader) -> None:
    store.add([sample(ms=ms) for ms in range(0, 100, 10)] + [sample("B", 5), sample("LAST", 200)])
    assert not store.expire("A", START + 55 * MS)
    assert not store.expire("B", START + 55 * MS)
    assert not store.expire("C", START)
    assert [(each.time_ns - START) // MS for each in reader().samples(["A"], *ALL)] == [50, 60, 70, 80, 90]
    assert list(reader().samples(["B"], *ALL)) == [sample("B", 5)]


def test_rows_of_other_tables_are_stored_once(store: Store, database: str, logger_table: str) -> None:
    columns = ("at", "port", "volts")
    rows = [
        TableRow(logger_table, columns, ("2026-11-20 14:00:00", port, volts), 2)
        for port, volts in ((1, 1.5), (2, math.nan))
    ]
    store.add_rows(rows)
    store.add_rows([*rows, TableRow(logger_table, columns, ("2026-11-20 14:00:00", 1, 9.9), 2)])
    assert read_table(database, logger_table, "port, volts", "port") == [(1, 1.5), (2, None)]
    with pytest.raises(StoreError, match="missing"):
        store.add_rows([TableRow("missing", columns, rows[0].values, 2)])


@pytest.fixture
def logger_table(store: Store, database: str) -> str:
    from sqlalchemy import Column, Float, Integer, MetaData, String, Table, create_engine

    engine = create_engine(database)
    Table("logger", MetaData(), Column("at", String(30)), Column("port", Integer), Column("volts", Float(53))).create(
        engine
    )
    engine.dispose()
    return "logger"


def read_table(database: str, table: str, columns: str, order: str) -> list[tuple[Any, ...]]:
    from sqlalchemy import create_engine

    engine = create_engine(database)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(f"SELECT {columns} FROM {table} ORDER BY {order}")]
    engine.dispose()
    return found


def test_thinning_keeps_the_shape_and_the_sum(store: Store, reader: OpenReader) -> None:
    store.add(numbers(2500))
    store.add([gap_marker("A", START + 1_500_500_000, Gap.DISCONNECTED)])
    while store.thin("A", START + 2 * SECOND, SECOND):
        pass
    kept = list(reader().samples(["A"], *ALL))
    assert len(kept) <= 5 + 5 + 1 + 500
    assert sample(ms=0, value=0.0) in kept
    assert gap_marker("A", START + 1_500_500_000, Gap.DISCONNECTED) in kept
    assert kept[-500:] == numbers(2500)[-500:]
    bins = reader().bins("A", *ALL)
    assert [each[:5] for each in bins] == [
        (START, SECOND, 1000, 0.0, 12.0),
        (START + SECOND, SECOND, 1000, 0.0, 12.0),
    ]
    mean = sum(each.value for each in numbers(1000) if isinstance(each.value, float)) / 1000
    assert bins[0].mean == pytest.approx(mean)
    assert reader().bins("A", START + 1, START + SECOND) == [Bin(*each) for each in bins]
    assert reader().bins("A", START + SECOND, START + 3 * SECOND) == [Bin(*bins[1])]
    assert reader().bins("A", START + 2 * SECOND, START + 3 * SECOND) == []


def test_thinning_again_changes_nothing(store: Store, database: str, reader: OpenReader) -> None:
    store.add([*numbers(12_000), *numbers(12_100, "LAST")[-1:]])
    steps = 0
    while store.thin("A", START + 12 * SECOND, SECOND):
        steps += 1
    kept = list(reader().samples(["A"], *ALL))
    assert steps in range(1, 4)
    assert len(kept) <= 12 * 5
    with closing(open_store(database)) as again:
        assert not again.thin("A", START + 12 * SECOND, SECOND)
    assert list(reader().samples(["A"], *ALL)) == kept
