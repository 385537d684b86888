"""Several archivers in one archive: whose rows are whose, how long each lived, and how a reader sees them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from archiver.sample import Dated, Gap, Metadata, Sample, Value, gap_marker
from archiver.storage.database import open_reader, open_store
from archiver.storage.manage import init, migrate, status
from archiver.storage.migrations import migrations
from archiver.storage.owner import LIFE_PATIENCE_NS, Owner
from archiver.storage.store import Gone, Store, StoreError

MS, SECOND = 10**6, 10**9
ALL = (0, 2**63 - 1)
START = time.time_ns() // SECOND * SECOND - 3600 * SECOND

Open = Callable[[str], Store]


@pytest.fixture
def turn(database: str) -> Iterator[Open]:
    """Opens the store of an archiver by its name; before that the one that was open is closed: a file has one."""
    with ExitStack() as stack:

        def opening(name: str) -> Store:
            stack.close()
            return stack.enter_context(closing(open_store(database, name)))

        yield opening


def sample(pv: str = "A", ms: int = 0, value: Value = 1.5, severity: int = 0, status: str = "NO_ALARM") -> Sample:
    return Sample(pv, START + ms * MS, value, severity, status)


def read(database: str, pv: str = "A", since_ns: int = 0, until_ns: int = ALL[1]) -> list[Sample]:
    with closing(open_reader(database)) as reader:
        return list(reader.samples([pv], since_ns, until_ns))


def test_each_archiver_expires_and_thins_and_marks_its_own(turn: Open, database: str) -> None:
    rows = [sample("A", ms, float(ms % 7)) for ms in range(100)]
    turn("one").add(rows)
    two = turn("two")
    assert list(two.newest()) == []
    assert not two.expire("A", START + 3600 * SECOND)
    assert not two.thin("A", START + 3600 * SECOND, SECOND)
    assert two.newest_values(START + 3600 * SECOND) == {}
    assert read(database) == rows
    two.add([sample("A", 50, 99.0), sample("B", 50)])
    assert sorted(two.newest()) == [sample("A", 50, 99.0), sample("B", 50)]
    two.expire("A", START + 3600 * SECOND)
    assert [each.pv for each in turn("one").newest()] == ["A"]


def test_an_archiver_is_found_again_by_its_name(turn: Open) -> None:
    turn("one").add([sample()])
    turn("two").add([sample("A", 1), sample("B", 2)])
    assert turn("one").newest() == [sample()]
    assert len(turn("two").newest()) == 2


def test_two_series_of_a_pv_are_read_as_one(turn: Open, database: str) -> None:
    """A value is there once, and a gap only where neither of them knew."""
    values = [sample("A", ms, float(ms)) for ms in range(0, 60, 10)]
    off = [gap_marker("A", START + ms * MS, Gap.ARCHIVE_OFF) for ms in range(60)]
    turn("one").add([*values[:3], off[25], sample("A", 45, 40.0), values[5], off[55]])
    turn("two").add([*values[1:], off[57]])
    found = read(database)
    assert [(each.time_ns - START) // MS for each in found] == [0, 10, 20, 25, 30, 40, 50, 57]
    assert [each.value for each in found] == [0.0, 10.0, 20.0, 20.0, 30.0, 40.0, 50.0, "Archive_Off"]
    with closing(open_reader(database)) as reader:
        assert reader.names() == ["A"]


@pytest.mark.parametrize("ms", range(5, 60, 10))
def test_the_value_in_force_is_that_of_the_one_that_knows(turn: Open, database: str, ms: int) -> None:
    values = [sample("A", ms, float(ms)) for ms in range(0, 60, 10)]
    turn("one").add([*values[:2], gap_marker("A", START + 12 * MS, Gap.DISCONNECTED), *values[4:]])
    turn("two").add([*values[1:4], gap_marker("A", START + 33 * MS, Gap.ARCHIVE_OFF)])
    moment = START + ms * MS
    (found,) = read(database, "A", moment, moment)
    assert found.value == ("Archive_Off" if ms == 35 else float(ms // 10 * 10))


def test_metadata_of_two_series_hold_for_both(turn: Open, database: str) -> None:
    volts, kilovolts = Metadata("V"), Metadata("kV")
    turn("one").add_metadata({"A": Dated(START, volts)})
    turn("two").add_metadata({"A": Dated(START, volts)})
    turn("one").add_metadata({"A": Dated(START + 20 * MS, kilovolts)})
    turn("two").add_metadata({"A": Dated(START + 30 * MS, volts)})  # it has seen nothing of the kilovolts
    with closing(open_reader(database)) as reader:
        found = [(dated.since_ns - START, dated.metadata.unit) for dated in reader.metadata("A")]
    assert found == [(0, "V"), (0, "V"), (20 * MS, "kV"), (30 * MS, "V")]


def test_bins_of_two_series_are_counted_once(turn: Open, database: str) -> None:
    rows = [sample("A", ms, float(ms % 7)) for ms in range(2000)]
    for name, part in (("one", rows[:1500]), ("two", rows)):
        store = turn(name)
        store.add(part)
        while store.thin("A", START + 3600 * SECOND, 500 * MS):
            pass
    with closing(open_reader(database)) as reader:
        assert [bin_.count for bin_ in reader.bins("A", *ALL)] == [500] * 4


def test_nothing_is_known_after_the_last_sign_of_life(turn: Open, database: str) -> None:
    store = turn("one")
    store.add([sample("A", 0), sample("B", 5000), gap_marker("C", START, Gap.DISCONNECTED)])
    store.live(START + SECOND)
    gap = gap_marker("A", START + SECOND + 1000, Gap.ARCHIVE_OFF)
    assert read(database) == [sample(), gap]
    assert read(database, "A", START, START + SECOND) == [sample()]
    assert read(database, "A", START + 2 * SECOND) == [gap]
    assert read(database, "B")[1:] == [gap_marker("B", START + 5 * SECOND + 1000, Gap.ARCHIVE_OFF)]
    assert len(read(database, "C")) == 1
    with closing(open_reader(database)) as reader:
        merged = list(reader.samples(["A", "B", "C"], *ALL))
        assert [each.time_ns for each in merged] == sorted(each.time_ns for each in merged)
        assert len(merged) == 5


def test_an_archiver_that_gave_a_sign_a_short_while_ago_lives(turn: Open, database: str) -> None:
    store = turn("one")
    store.add([sample()])
    store.live(time.time_ns() - LIFE_PATIENCE_NS // 2)
    assert read(database) == [sample()]


def test_the_death_of_one_of_two_is_no_gap(turn: Open, database: str) -> None:
    one = turn("one")
    one.add([sample()])
    one.live(START + SECOND)
    two = turn("two")
    two.add([sample()])
    two.live(time.time_ns())
    assert [each.value for each in read(database)] == [1.5, 1.5]
    two.live(START + 2 * SECOND)
    assert read(database)[-1] == gap_marker("A", START + 2 * SECOND + 1000, Gap.ARCHIVE_OFF)


def test_the_next_run_is_told_when_the_one_before_lived(turn: Open) -> None:
    store = turn("one")
    assert store.alive_ns == 0
    store.live(START)
    assert turn("two").alive_ns == 0
    assert turn("one").alive_ns == START


def test_a_name_has_one_archiver(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another computer nobody knows whether its process has ended: it is silent for long enough."""
    if database.startswith("sqlite"):
        pytest.skip("a file has one archiver, whatever its name")
    with closing(open_store(database, "one")) as first:
        first.live(time.time_ns())
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(socket, "gethostname", lambda: "other")
            with pytest.raises(Gone, match=r"an archiver named one runs already, pid \d+ on .*another archive\.name"):
                open_store(database, "one")
            first.live(time.time_ns() - LIFE_PATIENCE_NS - SECOND)
            with closing(open_store(database, "one")) as second:
                second.live(time.time_ns())
        with pytest.raises(Gone, match="another archiver named one has begun"):
            first.live(time.time_ns())


def test_a_process_that_was_killed_holds_no_name(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr(os, "getpid", lambda: 2**22 + 1)  # no process has it
        killed = open_store(database, "one")
        killed.live(time.time_ns())
    monkeypatch.setattr(type(killed), "close", lambda self: None)
    open_store(database, "one").close()


def test_a_sign_of_life_of_a_clock_that_was_ahead_holds_no_name() -> None:
    run = "host 1 0 5 another-boot pid:[1]"  # nobody knows whether that process has ended
    Owner.of("rack").check(run, time.time_ns() + 3600 * SECOND, "rack.sqlite")
    with pytest.raises(Gone):
        Owner.of("rack").check(run, time.time_ns() + 60 * SECOND, "rack.sqlite")


def test_nothing_is_known_after_the_rows_of_an_archiver_whose_clock_was_ahead(turn: Open, database: str) -> None:
    store = turn("one")
    store.add([sample()])
    store.live(time.time_ns() + 3600 * SECOND)
    assert read(database) == [sample(), gap_marker("A", START + 1000, Gap.ARCHIVE_OFF)]


def test_a_number_of_a_process_that_another_one_has_now_holds_no_name() -> None:
    """As after many processes; in this test the number is our own, and the tick at which it began is another one."""
    host, pid, at, began, boot, namespace = Owner.of("one").run.split()
    assert_ended(f"{host} {pid} {at} {int(began) - 1} {boot} {namespace}", ended=True)
    assert_ended(f"{host} {pid} {int(at) - 1} {began} {boot} {namespace}", ended=False)  # another one of ours


@pytest.mark.parametrize("other", ["boot", "namespace"])
def test_of_another_boot_or_container_nobody_knows_whether_a_process_has_ended(other: str) -> None:
    host, _, at, began, boot, namespace = Owner.of("one").run.split()
    boot, namespace = ("b", namespace) if other == "boot" else (boot, "pid:[1]")
    assert_ended(f"{host} {2**22 + 1} {at} {began} {boot} {namespace}", ended=False)


def assert_ended(run: str, *, ended: bool) -> None:
    owner = Owner.of("one")
    if ended:
        owner.check(run, time.time_ns(), "here")
    else:
        with pytest.raises(Gone, match=r"runs already, pid \d+ on "):
            owner.check(run, time.time_ns(), "here")
    owner.check(run, time.time_ns() - LIFE_PATIENCE_NS - SECOND, "here")


def test_the_archivers_are_named_with_their_signs_of_life(turn: Open, database: str) -> None:
    turn("LAB:rack1").live(1_800_000_000 * SECOND)
    turn("LAB:rack2")
    lines = dict(status(database))
    assert lines["archiver LAB:rack1"] == "alive at 2027-01-15T08:00:00.000000000Z"
    assert lines["archiver LAB:rack2"] == "gave no sign of life"


def test_an_archive_without_owners_is_upgraded_and_read(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel belongs to who adds the next row to it, those of a file to who opens it."""
    kind = "sqlite" if database.startswith("sqlite") else "mysql"
    older = [step for step in migrations(kind) if step.number < migrations(kind)[-1].number]
    with monkeypatch.context() as before:
        for module in ("sqlite.file", "mysql.tables.schema"):
            before.setattr(f"archiver.storage.{module}.migrations", lambda _: older)
        init(database)
    rows = [("A", 1), ("B", 1), ("B", 2)]
    execute(database, "INSERT INTO status (status_id, name) VALUES (1, 'NO_ALARM')")
    for number, name in enumerate("AB", 1):
        execute(database, f"INSERT INTO channel (channel_id, name) VALUES ({number}, '{name}')")
    for name, second in rows:
        execute(database, insert(kind, "AB".index(name) + 1, START + second * SECOND))
    with pytest.raises(StoreError, match=r"its schema is version \d, too old to be read: rackioc db migrate"):
        open_reader(database)
    migrate(database)
    stored = [START + SECOND, START + 2 * SECOND]
    assert [each.time_ns for each in read(database, "B")] == [*stored, stored[-1] + 1000]
    assert read(database, "B")[-1] == gap_marker("B", stored[-1] + 1000, Gap.ARCHIVE_OFF)  # nobody keeps it
    with closing(open_store(database, "one")) as store:
        assert len(store.newest()) == (2 if kind == "sqlite" else 0)
        assert len(store.unowned()) == (0 if kind == "sqlite" else 2)
        assert store.newest_values(START + 3600 * SECOND) == {"A": START + SECOND, "B": START + 2 * SECOND}
        store.add([sample("B", 3000)])
        assert len(store.newest()) == (2 if kind == "sqlite" else 1)
        store.live(START + 5 * SECOND)
    assert len(read(database, "B")) == 4
    assert read(database, "B")[-1] == gap_marker("B", START + 5 * SECOND + 1000, Gap.ARCHIVE_OFF)


def execute(database: str, sql: str) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(database)
    with engine.begin() as connection:
        connection.exec_driver_sql("SET time_zone = '+00:00'") if "mysql" in database else None
        connection.exec_driver_sql(sql)
    engine.dispose()


def insert(kind: str, channel: int, time_ns: int) -> str:
    if kind == "sqlite":
        return (
            "INSERT INTO sample_recent (part, channel_id, smpl_time, severity_id, status_id, float_val) "
            f"VALUES (0, {channel}, {time_ns}, 1, 1, 1.5)"
        )
    return (
        "INSERT INTO sample (channel_id, smpl_time, nanosecs, severity_id, status_id, float_val) "
        f"VALUES ({channel}, FROM_UNIXTIME({time_ns // SECOND}), 0, 1, 1, 1.5)"
    )


@pytest.mark.parametrize("settled", [False, True])
def test_an_archiver_lived_until_its_newest_row_wherever_a_window_ends(
    turn: Open, database: str, *, settled: bool
) -> None:
    """Rows that waited in the spool are stored after its last sign of life; a part of them shows no end of it."""
    rows = [sample("A", ms, float(ms)) for ms in range(0, 50, 10)]
    store = turn("one")
    store.add(rows)
    if settled:  # in an SQLite file
        store.expire("A", rows[0].time_ns)
    store.live(rows[1].time_ns)
    end = gap_marker("A", rows[-1].time_ns + 1000, Gap.ARCHIVE_OFF)
    assert read(database) == [*rows, end]
    for number, row in enumerate(rows[:-1]):
        moment = row.time_ns + 5 * MS
        assert read(database, "A", moment, moment) == [row]
        assert read(database, "A", 0, moment) == rows[: number + 1]
        with closing(open_reader(database)) as reader:
            assert [int(each) for block in reader.blocks("A", 0, moment) for each in block.time_ns] == [
                each.time_ns for each in rows[: number + 1]
            ]
    assert read(database, "A", end.time_ns, end.time_ns) == [end]


@pytest.mark.parametrize("settled", [False, True])
def test_what_waits_since_the_last_sign_of_life_is_not_known(turn: Open, database: str, *, settled: bool) -> None:
    """After an outage of the database what comes is stored first, then what waited: until then nobody knows that."""
    before = [sample("A", 0, 0.0), sample("A", 10_000, 10.0)]
    waited = sample("A", 60_000, 60.0)
    after = [sample("A", 600_000, 600.0), sample("A", 601_000, 601.0)]
    store = turn("one")
    store.add([*before, *after])
    if settled:  # in an SQLite file
        store.expire("A", before[0].time_ns)
    steps = [
        (15_000, before, 15_000),
        (70_000, [*before, waited], 70_000),
        (59_500, [*before, waited], 60_000),  # what is stored with the oldest row of a batch is newer than that
    ]
    for sign_ms, known, gap_ms in steps:
        store.add(known)
        store.live(START + sign_ms * MS)
        gap = gap_marker("A", START + gap_ms * MS + 1000, Gap.ARCHIVE_OFF)
        end = after[-1].time_ns + 1000
        rows = [*known, gap, *after, gap_marker("A", end, Gap.ARCHIVE_OFF)]
        check_windows(database, rows)
    store.live(time.time_ns())
    assert read(database) == [*before, waited, *after]


@pytest.mark.parametrize("settled", [0, 3])
def test_what_waits_since_a_second_outage_is_not_known_either(turn: Open, database: str, settled: int) -> None:
    """The database was away again before what waited for it the first time was stored."""
    known = [sample("A", 0, 0.0), sample("A", 10_000, 10.0)]
    once, again = ([sample("A", ms, ms / 1000) for ms in (begin, begin + 1000)] for begin in (100_000, 600_000))
    disconnected = gap_marker("A", once[-1].time_ns + SECOND, Gap.DISCONNECTED)
    store = turn("one")
    store.add([*known, *once, *again])
    store.add([sample("B", ms, 1.0) for ms in (5_000, 14_000, 101_500)])
    if settled:  # in an SQLite file, up to there
        store.thin("A", [*known, *once, *again][settled].time_ns, SECOND)
    store.live(START + 15 * SECOND)
    first, second, end = (
        gap_marker("A", time_ns + 1000, Gap.ARCHIVE_OFF)
        for time_ns in (START + 15 * SECOND, once[-1].time_ns, again[-1].time_ns)
    )
    rows = [*known, first, *once, second, *again, end]
    check_windows(database, rows)
    store.add([disconnected])
    check_windows(database, [disconnected if row == second else row for row in rows])


@pytest.mark.parametrize("settled", [0, 2])
def test_what_waits_of_a_run_that_was_killed_in_an_outage_is_not_known(
    turn: Open, database: str, settled: int
) -> None:
    """The next run marks its end before what it left in the spool is stored, maybe shortly after the last sign."""
    known = [sample("A", 0, 0.0), sample("A", 10_000, 10.0), sample("A", 16_000, 16.0)]
    end_of_run = gap_marker("A", START + 40 * SECOND, Gap.ARCHIVE_OFF)
    live = [sample("A", 70_000, 70.0), sample("A", 80_000, 80.0)]
    last = gap_marker("A", live[-1].time_ns + 1000, Gap.ARCHIVE_OFF)
    store = turn("one")
    store.add([*known, end_of_run, *live])
    if settled:  # in an SQLite file, up to there
        store.thin("A", known[settled].time_ns, SECOND)
    store.live(START + 15 * SECOND)
    waiting = gap_marker("A", known[-1].time_ns + 1000, Gap.ARCHIVE_OFF)
    check_windows(database, [*known, waiting, end_of_run, *live, last])
    store.live(START + 30 * SECOND)
    waiting = gap_marker("A", START + 30 * SECOND + 1000, Gap.ARCHIVE_OFF)
    check_windows(database, [*known, waiting, end_of_run, *live, last])
    store.live(end_of_run.time_ns - 1000)
    check_windows(database, [*known, end_of_run, *live, last])


def check_windows(database: str, rows: list[Sample]) -> None:
    """Compare what is read in each window that begins and ends at a row, or between two, with all rows of A."""
    edges = [rows[0].time_ns]
    edges += [row.time_ns + shift for row in rows for shift in (0, 500_000)]
    for since_ns in edges:
        for until_ns in (each for each in edges if each >= since_ns):
            expected = [row for row in rows if since_ns < row.time_ns <= until_ns]
            expected.insert(0, [row for row in rows if row.time_ns <= since_ns][-1])
            assert read(database, "A", since_ns, until_ns) == expected
            with closing(open_reader(database)) as reader:
                found = [int(each) for block in reader.blocks("A", since_ns, until_ns) for each in block.time_ns]
            assert found == [row.time_ns for row in expected]


def test_a_gap_before_the_last_sign_of_life_goes_on_until_the_next_row(turn: Open, database: str) -> None:
    rows = [sample("A"), gap_marker("A", START + SECOND, Gap.DISCONNECTED), sample("A", 600_000)]
    store = turn("one")
    store.add(rows)
    store.live(START + 15 * SECOND)
    assert read(database) == [*rows, gap_marker("A", rows[-1].time_ns + 1000, Gap.ARCHIVE_OFF)]


def test_one_of_two_knows_what_waits_at_the_other(turn: Open, database: str) -> None:
    one = turn("one")
    one.add([sample("A", 0, 0.0), sample("A", 600_000, 600.0)])
    one.live(START + 15 * SECOND)
    two = turn("two")
    two.add([sample("A", 0, 0.0), sample("A", 300_000, 300.0), sample("A", 600_000, 600.0)])
    two.live(time.time_ns())
    assert [each.value for each in read(database, "A", START + 301 * SECOND, START + 301 * SECOND)] == [300.0]
