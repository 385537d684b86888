"""Rows that are not kept any longer go by months, and space comes back."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pymysql.cursors import Cursor
from sqlalchemy.engine import make_url

from archiver.keeping.copy import copy
from archiver.recording.upkeep.rounds import Upkeep
from archiver.sample import Dated, Metadata, Sample
from archiver.settings import Policy
from archiver.storage import manage, summarizer
from archiver.storage.database import open_reader, open_store
from archiver.storage.mysql import ends
from archiver.storage.mysql.rows import newest_row
from archiver.storage.mysql.tables import months
from archiver.storage.sqlite import upkeep
from archiver.storage.store import Store, StoreError
from archiver.times import format_time
from bench.rig.databases import connect
from bench.rig.mariadb import Server

S = 10**9
HOUR, DAY = 3600 * S, 86_400 * S
NOW = time.time_ns() // S * S
ALL = (0, 2**62)
# Of a PV a row each so many hours, back from now; "SILENT" has changed last ten months ago, "LATE" began then.
DAYS = 400
PERIODS = {"A": 24, "B": 100, "SILENT": 31, "LATE": 50}


def begin(later: int) -> int:
    """The begin of a month, from the present one on."""
    return months.month_s(NOW / 1e9, later) * S


def history(pv: str) -> list[Sample]:
    times = range(NOW - DAYS * DAY, NOW, PERIODS[pv] * HOUR)
    if pv == "SILENT":
        times = range(NOW - DAYS * DAY, NOW - 300 * DAY, PERIODS[pv] * HOUR)
    if pv == "LATE":
        times = range(NOW - 300 * DAY, NOW, PERIODS[pv] * HOUR)
    return [Sample(pv, each, float(number), 0, "NO_ALARM") for number, each in enumerate(times)]


HISTORY = {pv: history(pv) for pv in PERIODS}


def fill(database: str, name: str = "one", pvs: Sequence[str] = tuple(PERIODS)) -> None:
    with closing(open_store(database, name)) as store:
        divide(database)
        for pv in pvs:
            store.add(HISTORY[pv])
        store.live(NOW)


def divide(database: str) -> None:
    """Make the months of the history, as a copy does."""
    if database.startswith("mysql"):
        with closing(connect(database)) as connection, connection.cursor() as cursor:
            months.cover(cursor, "", (NOW - DAYS * DAY) / 1e9)


def parts(database: str, table: str = "sample") -> list[str]:
    (divided,) = (each for each in months.TABLES if each.name == table)
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        return [part.name for part in months.parts(cursor, divided)]


def read(database: str, pv: str) -> list[Sample]:
    with closing(open_reader(database)) as reader:
        return [each for each in reader.samples([pv], *ALL) if each.value != "Archive_Off"]


def check_truth(database: str, kept_ns: Mapping[str, int]) -> None:
    """What is kept is there; and whatever is shown as in force at a time was in force then."""
    with closing(open_reader(database)) as reader:
        for pv, samples in HISTORY.items():
            found = set(reader.samples([pv], *ALL))
            in_force = max((each.time_ns for each in samples if each.time_ns <= kept_ns.get(pv, 0)), default=0)
            assert {each for each in samples if each.time_ns >= in_force} <= found, pv
            for moment in range(NOW - DAYS * DAY, NOW, 23 * DAY):
                shown = [each for each in reader.samples([pv], moment, moment) if each.value != "Archive_Off"]
                true = [each for each in samples if each.time_ns <= moment][-1:]
                assert shown in ([], true), (pv, moment)


def keep_all_of(pv: str, days: int) -> Callable[[str], Policy]:
    return lambda each: Policy() if each == pv else Policy(keep=f"{days}d")


def expire(store: Store, kept_ns: Mapping[str, int]) -> int:
    """One round for some PVs; the number of steps."""
    steps = 0
    while store.expire_months(kept_ns):
        steps += 1
    for pv, time_ns in kept_ns.items():
        while store.expire(pv, time_ns):
            steps += 1
    return steps


@pytest.fixture(autouse=True)
def _clock_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """No month ends while tests run."""
    monkeypatch.setattr("time.time", lambda: NOW / 1e9)
    monkeypatch.setattr("time.time_ns", lambda: NOW)


@pytest.fixture
def mysql_archive(mysql_database: str) -> str:
    fill(mysql_database)
    return mysql_database


def test_of_old_months_the_rows_in_force_are_left(database: str) -> None:
    fill(database)
    kept = dict.fromkeys(PERIODS, NOW - 100 * DAY)
    with closing(open_store(database, "one")) as store:
        expire(store, kept)
        check_truth(database, kept)
    for pv, samples in HISTORY.items():
        in_force = [each.time_ns for each in samples if each.time_ns <= kept[pv]][-1]
        assert [each.time_ns for each in read(database, pv)][:1] == [in_force]


def test_a_round_of_upkeep_keeps_what_the_policies_say(database: str) -> None:
    fill(database)
    round_ = Upkeep(keep_all_of("B", 100))
    with closing(open_store(database, "one")) as store:
        while round_.step(store):
            pass
    check_truth(database, dict.fromkeys(set(PERIODS) - {"B"}, NOW - 100 * DAY))
    assert [each.time_ns for each in read(database, "B")] == [each.time_ns for each in HISTORY["B"]]
    assert len(read(database, "A")) in {100, 101, 102}


def test_a_month_goes_as_a_whole_and_with_it_its_file(mysql_archive: str) -> None:
    before = parts(mysql_archive)
    assert len(before) >= 15
    kept = dict.fromkeys(PERIODS, begin(-3))
    with closing(open_store(mysql_archive, "one")) as store:
        expire(store, kept)
    for table in ("sample", "summary"):
        assert parts(mysql_archive, table) == [before[0], *before[-7:]], (
            table
        )  # three, this one, two to come, the rest
    check_truth(mysql_archive, kept)


def test_a_month_that_goes_is_not_read(mysql_database: str) -> None:
    """The rows in force are looked up: a month of a row a second has 2.6 million others."""
    fill(mysql_database, "one", ["A"])
    with closing(open_store(mysql_database, "one")) as store:
        times = range(begin(-5), begin(-3), 1800 * S)
        store.add([Sample("A", each + S, 1.5, 0, "NO_ALARM") for each in times])
        while store.expire_months({"A": begin(-5)}):
            pass
        before, steps = reads(store), 0
        while store.expire_months({"A": begin(-3)}):
            steps += 1
        assert reads(store) - before < len(times) / 4
    assert steps >= 2


def reads(store: Store) -> int:
    """The rows that the server has read for a store."""
    return status(store, "Handler_read_%")


def status(store: Store, pattern: str) -> int:
    with store._session.transaction() as cursor:  # type: ignore[attr-defined]
        cursor.execute("SHOW SESSION STATUS LIKE %s", (pattern,))
        return sum(int(count) for name, count in cursor.fetchall() if name != "Handler_read_rnd_deleted")


@pytest.mark.slow
def test_wherever_it_is_interrupted_nothing_is_missing_and_nothing_wrong_is_shown(
    mysql_archive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault before each statement in turn, until one attempt has none; and so for each month."""
    kept = dict.fromkeys(PERIODS, begin(-2))
    execute = Cursor.execute
    left, faults = 0, 0

    def failing(cursor: Cursor, query: str, args: Any = None) -> int:
        nonlocal left, faults
        left -= 1
        if left == 0:
            faults += 1
            cursor.connection.close()
        return execute(cursor, query, args)

    for first in (1, 2):  # every second one, so that each is met in more than one month
        for number in range(first, 80, 2):
            with closing(open_store(mysql_archive, "one")) as store, monkeypatch.context() as broken:
                left = number
                broken.setattr(Cursor, "execute", failing)
                try:
                    more = store.expire_months(kept)
                except StoreError:
                    more = True
            check_truth(mysql_archive, kept)
            if not more:
                break
    assert faults >= 15
    with closing(open_store(mysql_archive, "one")) as store:
        expire(store, kept)
    check_truth(mysql_archive, kept)
    with closing(connect(mysql_archive)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES LIKE 'gone%'")
        assert cursor.fetchall() == ()
    assert len(parts(mysql_archive)) == 7


def test_what_another_archiver_keeps_stays(mysql_database: str) -> None:
    fill(mysql_database, "one", ["A", "SILENT"])
    fill(mysql_database, "two", ["B", "LATE"])
    kept = dict.fromkeys(["A", "SILENT"], begin(-2))
    with closing(open_store(mysql_database, "one")) as store:
        expire(store, kept)
    assert len(parts(mysql_database)) == 7  # the few rows of the other one were carried over
    check_truth(mysql_database, kept)
    assert [each.time_ns for each in read(mysql_database, "B")] == [each.time_ns for each in HISTORY["B"]]


def test_a_month_of_which_another_archiver_keeps_much_stays(
    mysql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(months, "MOVED_ROWS", 5)
    monkeypatch.setattr("archiver.storage.mysql.tables.expired.MOVED_ROWS", 5)
    fill(mysql_database, "one", ["B", "SILENT"])
    fill(mysql_database, "two", ["A", "LATE"])
    before = parts(mysql_database)
    kept = dict.fromkeys(["B", "SILENT"], begin(-2))
    with closing(open_store(mysql_database, "one")) as store:
        expire(store, kept)
        assert parts(mysql_database) == before
        check_truth(mysql_database, kept)
        with closing(open_store(mysql_database, "two")) as other:
            expire(other, dict.fromkeys(["A", "LATE"], begin(-2)))
        expire(store, kept)
    assert len(parts(mysql_database)) == 7
    check_truth(mysql_database, dict.fromkeys(PERIODS, begin(-2)))


def test_a_month_that_goes_on_stays_although_the_clock_of_another_archiver_is_far_ahead(mysql_archive: str) -> None:
    before = parts(mysql_archive)
    with closing(open_store(mysql_archive, "one")) as store:
        store.expire_months(dict.fromkeys(PERIODS, begin(1)))  # it is noted
        steps = 0
        while store.expire_months(dict.fromkeys(PERIODS, begin(1))) and steps < 100:
            steps += 1
    assert steps < 50
    assert parts(mysql_archive) == [before[0], *before[-4:]]


def test_a_policy_that_is_taken_back_is(mysql_archive: str) -> None:
    kept = dict.fromkeys(PERIODS, begin(-2))
    with closing(open_store(mysql_archive, "one")) as store:
        assert store.expire_months(kept)  # it is noted
        assert not store.expire_months({})
    assert len(parts(mysql_archive)) >= 15
    for pv, samples in HISTORY.items():
        assert len(read(mysql_archive, pv)) == len(samples)


def test_a_reader_that_stands_still_holds_up_a_month_and_nobody_else(mysql_archive: str) -> None:
    kept = dict.fromkeys(PERIODS, begin(-2))
    with closing(open_store(mysql_archive, "one")) as store:
        while store.expire_months({}):
            pass
        with closing(open_reader(mysql_archive)) as reader:
            rows = reader.samples(["A"], *ALL)
            next(rows)
            expire(store, kept)
            store.add([Sample("A", NOW, 1.0, 0, "NO_ALARM")])
            assert len(parts(mysql_archive)) >= 15
        expire(store, kept)
        assert len(parts(mysql_archive)) == 7


def test_a_reader_that_comes_to_a_month_when_it_has_gone_says_what_to_do(mysql_archive: str) -> None:
    with closing(open_store(mysql_archive, "one")) as store, closing(open_reader(mysql_archive)) as reader:
        expire(store, dict.fromkeys(PERIODS, begin(-2)))
        with pytest.raises(StoreError, match="dropped while they were read: ask again"):
            list(reader.samples(["A"], *ALL))


def test_the_next_months_are_made_in_time(mysql_archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = parts(mysql_archive)
    with closing(open_store(mysql_archive, "one")) as store:
        monkeypatch.setattr("archiver.storage.mysql.tables.months.time.time", lambda: begin(2) / 1e9)
        store.expire_months({})
    assert len(parts(mysql_archive)) == len(before) + 2
    assert parts(mysql_archive)[-1] == "newer"
    assert parts(mysql_archive, "summary") == parts(mysql_archive)


@pytest.mark.parametrize("dropped", [["newer"], ["older"], ["newer", "older"], ["all but newer"], ["all but older"]])
def test_the_next_months_are_made_whichever_parts_somebody_has_dropped(
    mysql_database: str, monkeypatch: pytest.MonkeyPatch, dropped: list[str]
) -> None:
    with closing(open_store(mysql_database, "one")):
        before = parts(mysql_database)
    if dropped[0].startswith("all but "):
        dropped = [each for each in before if each != dropped[0].removeprefix("all but ")]
    with closing(connect(mysql_database)) as connection, connection.cursor() as cursor:
        for each in months.TABLES:
            cursor.execute(f"ALTER TABLE {each.name} DROP PARTITION {', '.join(dropped)}")
    later = NOW + 200 * DAY
    monkeypatch.setattr("time.time", lambda: later / 1e9)
    monkeypatch.setattr("time.time_ns", lambda: later)
    rows = [Sample("A", each, 1.0, 0, "NO_ALARM") for each in (NOW - 300 * DAY, NOW, later, later + 365 * DAY)]
    with closing(open_store(mysql_database, "one")) as store:
        store.add(rows)
    for each in months.TABLES:
        assert f"m{time.strftime('%Y_%m', time.gmtime(later / 1e9))}" in parts(mysql_database, each.name)
        assert parts(mysql_database, each.name)[-1] == "newer"
    assert read(mysql_database, "A") == rows


def test_rows_of_a_time_without_months_are_in_force_too(mysql_database: str) -> None:
    """Before the first and after the last month: of an IOC's clock that is wrong."""
    with closing(open_store(mysql_database)) as store:
        odd = [Sample("A", each, 1.0, 0, "NO_ALARM") for each in (S, NOW - 900 * DAY, NOW, NOW + 900 * DAY)]
        store.add(odd)
        while store.expire_months({"A": NOW - 10 * DAY}):
            pass
        assert {each.time_ns for each in read(mysql_database, "A")} >= {each.time_ns for each in odd[1:]}
        while store.expire("A", NOW - 10 * DAY):
            pass
        assert [each.time_ns for each in read(mysql_database, "A")] == [each.time_ns for each in odd[1:]]


def test_a_query_of_phoebus_looks_into_the_months_of_its_window_alone(mysql_archive: str) -> None:
    with closing(connect(mysql_archive)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "EXPLAIN PARTITIONS SELECT smpl_time, severity_id, status_id, num_val, float_val, str_val, nanosecs "
            "FROM sample WHERE channel_id = 1 AND smpl_time >= FROM_UNIXTIME(%s) AND smpl_time <= FROM_UNIXTIME(%s) "
            "ORDER BY smpl_time, nanosecs",
            (begin(-3) / 1e9, begin(-2) / 1e9 - 1),
        )
        ((_, _, _, used, *_),) = cursor.fetchall()
    assert used == parts(mysql_archive)[-7]


@pytest.mark.parametrize(("pv", "lookups"), [("A", 3), ("SILENT", 20)])
def test_the_row_in_force_is_looked_for_in_a_day_before_in_all_months(
    mysql_archive: str, pv: str, lookups: int
) -> None:
    with closing(connect(mysql_archive)) as connection, connection.cursor() as cursor:

        def rows(sql: str, *values: object) -> Sequence[Any]:
            cursor.execute(sql, values)
            return cursor.fetchall()

        ((channel,),) = rows("SELECT channel_id FROM channel WHERE name = %s", pv)
        ((_, before),) = rows("SHOW SESSION STATUS LIKE 'Handler_read_key'")
        found = newest_row(rows, "UNIX_TIMESTAMP(smpl_time)", channel, (NOW - HOUR) // 1000)
        ((_, after),) = rows("SHOW SESSION STATUS LIKE 'Handler_read_key'")
    assert found == (HISTORY[pv][-1].time_ns / S,)
    assert int(after) - int(before) <= lookups


def test_for_the_newest_row_of_pvs_that_are_quiet_few_months_are_looked_into(mysql_database: str) -> None:
    """At the start, and in each round: an archive of ten years has 120 of them, and most of its PVs are settings."""
    pvs = [f"QUIET{number}" for number in range(50)]
    with closing(open_store(mysql_database)) as store:
        with closing(connect(mysql_database)) as connection, connection.cursor() as cursor:
            months.cover(cursor, "", NOW / 1e9 - 3600 * 86_400)
        old = [Sample(pv, NOW - days * DAY, 1.5, 0, "NO_ALARM") for pv in pvs for days in (3000, 20)]
        store.add(old)
        before = reads(store)
        assert sorted(store.newest()) == sorted(old[1::2])
        assert reads(store) - before < 20 * len(pvs)
    assert dict(manage.status(mysql_database))["oldest row"] == format_time(NOW - 3000 * DAY)
    assert dict(manage.status(mysql_database))["newest row"] == format_time(NOW - 20 * DAY)


def test_of_pvs_without_a_row_few_are_looked_up_at_once(mysql_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each of them a server looks into all months, and what comes meanwhile waits for it."""
    monkeypatch.setattr(ends, "SLICE", 10)
    monkeypatch.setattr(summarizer, "LOOKED_UP", 10)
    monkeypatch.setattr(summarizer, "STEP_S", 0.0)
    pvs = [f"EMPTY{number}" for number in range(50)]
    with closing(open_store(mysql_database)) as store:
        with closing(connect(mysql_database)) as connection, connection.cursor() as cursor:
            months.cover(cursor, "", NOW / 1e9 - 3600 * 86_400)
        store.add_metadata({pv: Dated(0, Metadata("V")) for pv in pvs})
        one = [Sample("A", NOW - DAY, 1.5, 0, "NO_ALARM"), Sample("Z", NOW - 2 * DAY, 1.5, 0, "NO_ALARM")]
        store.add(one)
        for look in (lambda: sorted(store.newest()), lambda: sorted(store.newest_values(NOW))):
            before = status(store, "Com_select")
            assert look() in (one, ["A", "Z"])
            assert status(store, "Com_select") - before > len(pvs) / 10
        before = reads(store)
        store.tidy()
        assert 0 < reads(store) - before < 20 * 150


@pytest.fixture
def undivided(mysql_archive: str) -> str:
    """An archive from before there were months."""
    with closing(connect(mysql_archive)) as connection, connection.cursor() as cursor:
        for table in months.TABLES:
            cursor.execute(f"ALTER TABLE {table.name} REMOVE PARTITIONING")
    return mysql_archive


def test_an_archive_from_before_goes_on_and_says_so(undivided: str, caplog: pytest.LogCaptureFixture) -> None:
    kept = dict.fromkeys(PERIODS, begin(-2))
    with caplog.at_level(logging.INFO), closing(open_store(undivided, "one")) as store:
        expire(store, kept)
    assert "its rows are not divided by month" in caplog.text
    assert parts(undivided) == []
    check_truth(undivided, kept)


def test_compaction_divides_an_archive_from_before(undivided: str) -> None:
    manage.compact(undivided)
    assert len(parts(undivided)) >= 15
    for pv, samples in HISTORY.items():
        assert read(undivided, pv) == samples
    assert "since" in dict(manage.status(undivided))["months"]


def test_without_the_right_an_archive_is_not_divided_and_says_so(
    shared_server: Server, mysql_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = make_url(mysql_database).database
    rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, CREATE VIEW"
    shared_server.execute("CREATE USER poor@'%' IDENTIFIED BY 'x'", f"GRANT {rights} ON {name}.* TO poor@'%'")
    try:
        database = shared_server.url(str(name), user="poor", password="x")
        with caplog.at_level(logging.INFO), closing(open_store(database, "one")) as store:
            store.add(HISTORY["A"])
            expire(store, {"A": begin(-2)})
        assert "its rows cannot be divided by month: ALTER command denied" in caplog.text
        assert parts(mysql_database) == []
        with pytest.raises(StoreError, match="only dividing by month needs this right"):
            manage.compact(database)
        check_truth_of_a = [each.time_ns for each in read(mysql_database, "A")]
        assert check_truth_of_a[1:] == [each.time_ns for each in HISTORY["A"] if each.time_ns > begin(-2)]
    finally:
        shared_server.execute("DROP USER poor@'%'")


def test_a_copy_has_the_months_of_its_rows(tmp_path: Path, mysql_database: str) -> None:
    here = f"sqlite:///{tmp_path}/rack.sqlite"
    fill(here)
    copy(here, mysql_database, lambda *_: None)
    assert len(parts(mysql_database)) >= 15
    with closing(connect(mysql_database)) as connection, connection.cursor() as cursor:
        assert months.count(cursor, "sample PARTITION (older)") == 0
        assert months.count(cursor, "sample PARTITION (newer)") == 0


# The file of an SQLite archive


def pages(database: str, name: str = "page_count") -> int:
    with closing(open_store(database)) as store, store._transaction() as connection:  # type: ignore[attr-defined]
        return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


@pytest.fixture
def emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A file of which most rows were deleted."""
    monkeypatch.setattr(upkeep, "SPARE_PAGES", 20)
    yield from _emptied(f"sqlite:///{tmp_path}/rack.sqlite")


def _emptied(database: str) -> Iterator[str]:
    with closing(open_store(database)) as store:
        for block in range(20):
            times = range(NOW - (20 - block) * DAY, NOW - (19 - block) * DAY, 60 * S)
            store.add([Sample(pv, each, 1.5, 0, "NO_ALARM") for each in times for pv in "AB"])
        for pv in "AB":
            while store.expire(pv, NOW - 2 * DAY):
                pass
    yield database


def test_a_file_shrinks_in_small_steps_and_keeps_some_pages_for_rows_to_come(emptied: str) -> None:
    rows = {pv: read(emptied, pv) for pv in "AB"}
    before, steps = pages(emptied), 0
    with closing(open_store(emptied)) as store:
        began = time.monotonic()
        while store.shrink():
            steps += 1
            assert time.monotonic() - began < 10
    assert pages(emptied) < before / 3
    assert pages(emptied, "freelist_count") in {20, 21}
    assert {pv: read(emptied, pv) for pv in "AB"} == rows
    file = Path(emptied.removeprefix("sqlite:///"))
    assert file.stat().st_size == pages(emptied) * 4096
    with closing(open_store(emptied)) as store:
        assert not store.shrink()


def test_a_step_of_expiring_costs_what_it_deletes_and_not_what_there_is(tmp_path: Path) -> None:
    work = {}
    for rows in (20_000, 80_000):
        with closing(open_store(f"sqlite:///{tmp_path}/{rows}.sqlite")) as store:
            store.add([Sample("A", NOW - each * S, 1.5, 0, "NO_ALARM") for each in range(rows)])
            store.expire("A", NOW - 10 * S)  # all settle
            count = 0

            def look() -> None:
                nonlocal count
                count += 1

            store._connection.connection.set_progress_handler(look, 100)  # type: ignore[attr-defined]
            store.expire("A", NOW - 10 * S)
            work[rows] = count
    assert work[80_000] < 1.2 * work[20_000]


def test_a_round_of_upkeep_ends_with_a_smaller_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "SPARE_PAGES", 20)
    database = f"sqlite:///{tmp_path}/rack.sqlite"
    with closing(open_store(database)) as store:
        times = range(NOW - 20 * DAY, NOW, 60 * S)
        store.add([Sample(pv, each, 1.5, 0, "NO_ALARM") for each in times for pv in "AB"])
    round_, before = Upkeep(lambda _: Policy(keep="48h")), pages(database)
    with closing(open_store(database)) as store:
        while round_.step(store):
            pass
    assert pages(database) < before / 3


def test_a_file_from_before_keeps_its_pages_until_it_is_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SPARE_PAGES", 20)
    database = f"sqlite:///{tmp_path}/rack.sqlite"
    import sqlite3

    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as older:
        older.execute("PRAGMA journal_mode = WAL")
    (database,) = _emptied(database)
    with closing(open_store(database)) as store:
        assert not store.shrink()
    assert "rackioc db compact" in dict(manage.status(database))["free in the file"]
    manage.compact(database)
    assert pages(database, "auto_vacuum") == 2
    assert "rackioc db compact" not in dict(manage.status(database))["free in the file"]


UNDIVIDED = [("10.11.6-MariaDB", "compact divides them"), ("5.7.19", "cannot be divided by month: MySQL")]


@pytest.mark.parametrize(("version", "told"), UNDIVIDED)
def test_an_archive_that_is_not_divided_is_told_with_what_helps(
    caplog: pytest.LogCaptureFixture, version: str, told: str
) -> None:
    """On MySQL nothing does; what it is, a server says by its version (later ones are asked what MariaDB lacks)."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the server is no root
        server = Server(Path(folder) / "server", (f"--version={version}",))
        server.start()
        try:
            database = server.create("undivided")
            with closing(open_store(database)) as store:
                store.add([Sample("A", NOW, 1.0, 0, "NO_ALARM")])
            with closing(connect(database)) as connection, connection.cursor() as cursor:
                cursor.execute("ALTER TABLE sample REMOVE PARTITIONING")
            with caplog.at_level(logging.INFO), closing(open_store(database)):
                assert told in caplog.text
        finally:
            server.stop()
