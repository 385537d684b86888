"""What is special about the SQLite file."""

from __future__ import annotations

import math
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from importlib.resources import files
from pathlib import Path

import pytest

from archiver.sample import Dated, Gap, Metadata, Sample, Value, gap_marker
from archiver.storage import manage
from archiver.storage.database import open_reader, open_store
from archiver.storage.migrations import Migration, migrations
from archiver.storage.sqlite.reader import SqliteReader
from archiver.storage.sqlite.salvage import DamagedFile
from archiver.storage.sqlite.store import SqliteStore
from archiver.storage.store import Reader, Store, StoreError
from archiver.storage.url import DatabaseUrl, url_of

ALL = (0, 2**63 - 1)
VOLTS = Metadata("V", 3, (0.0, 100.0), (None, 80.0), (None, 90.0))
SWITCH = Metadata(words=("Off", "On", ""))

OpenReader = Callable[[], Reader]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rack.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{file}")) as store:
        yield store


@pytest.fixture
def reader(file: Path) -> Iterator[OpenReader]:
    """Opens a reader: it sees the archive as it is when opened."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(open_reader(f"sqlite:///{file}")))


def sample(
    pv: str = "A",
    time_ns: int = 1_800_000_000_000_000_001,
    value: Value = 1.5,
    severity: int = 0,
    status: str = "NO_ALARM",
) -> Sample:
    return Sample(pv, time_ns, value, severity, status)


@pytest.mark.parametrize(("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_what_is_no_number_is_text(store: Store, file: Path, value: Value, text: str) -> None:
    store.add([sample(value=value)])
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT num_val, float_val, str_val FROM sample").fetchall() == [(None, None, text)]


def test_a_person_can_read_the_history_view(store: Store, file: Path) -> None:
    store.add_metadata({"A": Dated(0, VOLTS), "B": Dated(0, SWITCH)})
    store.add([sample(value=85.5, severity=1, status="HIGH"), sample("B", value=1)])
    store.add([sample("B", value=2, time_ns=1_800_000_000_500_000_000)])
    store.add([gap_marker("A", 1_800_000_001_000_000_000, Gap.DISCONNECTED)])
    with closing(sqlite3.connect(file)) as connection:
        cursor = connection.execute("SELECT * FROM history ORDER BY time, name")
        columns = [column for column, *_ in cursor.description]
        assert columns == ["name", "time", "value", "unit", "severity", "status"]
        assert cursor.fetchall() == [
            ("A", "2027-01-15T08:00:00.000000001Z", 85.5, "V", "MINOR", "HIGH"),
            ("B", "2027-01-15T08:00:00.000000001Z", "On", "", "NO_ALARM", "NO_ALARM"),
            ("B", "2027-01-15T08:00:00.500000000Z", 2, "", "NO_ALARM", "NO_ALARM"),
            ("A", "2027-01-15T08:00:01.000000000Z", "Disconnected", "", "INVALID", "Disconnected"),
        ]


def test_a_locked_file_is_a_sentence_and_the_batch_can_be_sent_again(
    store: Store, file: Path, reader: OpenReader
) -> None:
    assert isinstance(store, SqliteStore)
    store._connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    store._connection.rollback()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"rack\.sqlite: database is locked \(another program"):
            store.add([sample()])
    store.add([sample()])
    assert list(reader().samples(["A"], *ALL)) == [sample()]


def test_the_newest_rows_of_many_pvs_are_found_without_reading_all_rows_for_each(store: Store) -> None:
    names, begin_ns = [f"PV{number}" for number in range(1000)], sample().time_ns
    for second in range(100):
        store.add([sample(name, begin_ns + second * 10**9, float(second)) for name in names])
    began = time.monotonic()
    newest = store.newest()
    assert time.monotonic() - began < 2.0  # 0.05 s; where all rows are read for each, 10 s
    assert {each.pv: each.value for each in newest} == dict.fromkeys(names, 99.0)


def test_the_file_is_opened_again_with_what_it_holds(file: Path) -> None:
    for time_ns in (1, 2):
        with closing(open_store(f"sqlite:///{file}")) as store:
            store.add([sample(time_ns=time_ns)])
            assert store.newest() == [sample(time_ns=time_ns)]


def test_a_schema_from_the_future_is_refused(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")
    for opening in (open_store, open_reader):
        with pytest.raises(StoreError, match=r"rack\.sqlite: its schema is version 99, .* supports \d+: update"):
            opening(f"sqlite:///{file}")


def test_a_migration_that_fails_leaves_the_version_and_the_tables(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = migrations("sqlite")[-1].number
    broken = Migration(newest + 1, "CREATE TABLE extra (a);\nCREATE TABLE channel (b);\n")
    monkeypatch.setattr("archiver.storage.sqlite.file.migrations", lambda dialect: [*migrations(dialect), broken])
    with pytest.raises(StoreError, match="table channel already exists"):
        open_store(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (newest,)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)


def test_what_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    text, empty = tmp_path / "notes.txt", tmp_path / "empty.sqlite"
    text.write_text("not a database" * 100)
    sqlite3.connect(empty).close()
    empty.touch()
    with pytest.raises(StoreError, match="file is not a database"):
        open_store(f"sqlite:///{text}")
    with pytest.raises(StoreError, match="an SQLite file, but not an archive"):
        open_reader(f"sqlite:///{empty}")


@pytest.mark.parametrize("word", [b"\xf0ABLE", b"TABBE"])
def test_a_damaged_list_of_tables_is_told_with_what_to_do(file: Path, word: bytes) -> None:
    """Also where SQLite's own message about it is no text."""
    url = f"sqlite:///{file}"
    open_store(url).close()
    file.write_bytes(file.read_bytes().replace(b"CREATE TABLE status", b"CREATE " + word + b" status"))
    for action in (open_reader, open_store, manage.status):
        with pytest.raises(StoreError, match="rackioc db salvage"):
            action(url)


def test_a_word_in_the_list_of_tables_that_is_no_text_keeps_nothing_from_being_salvaged(file: Path) -> None:
    with closing(open_store(f"sqlite:///{file}")) as store:
        store.add([Sample("A", 10**18, 1.0, 0, "NO_ALARM")])
    file.write_bytes(file.read_bytes().replace(b"tablechannel", b"tabl\xe9channel"))
    with closing(DamagedFile(url_of(f"sqlite:///{file}"))) as damaged:
        assert [channel.name for channel in damaged.channels()] == ["A"]


def test_migrations_are_numbered_without_gaps() -> None:
    scripts = [file.name for file in files("db").joinpath("sqlite").iterdir() if file.name.endswith(".sql")]
    assert [step.number for step in migrations("sqlite")] == list(range(1, len(scripts) + 1))


WRITER = """
import itertools, sys
from archiver.storage.database import open_store
from archiver.sample import Sample
store = open_store(sys.argv[1])
for batch in itertools.count():
    store.add([Sample(pv, batch * 1000 + n, n, 0, "NO_ALARM") for pv in "ABCD" for n in range(1000)])
    print(batch, flush=True)
"""


def test_kill_9_of_the_writer_loses_no_batch_that_was_committed(file: Path) -> None:
    database = f"sqlite:///{file}"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", WRITER, database], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        while int(line := writer.stdout.readline()) < 20:
            pass
        writer.send_signal(signal.SIGKILL)
        committed = int((writer.stdout.read().split() or [line])[-1])
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with closing(open_reader(database)) as reader:
        for pv in "ABCD":
            times = [sample.time_ns for sample in reader.samples([pv], *ALL)]
            assert times == list(range(len(times)))
            assert len(times) in {(committed + 1) * 1000, (committed + 2) * 1000}


def test_an_archive_of_the_first_version_goes_on(file: Path) -> None:
    """With its rows, its metadata as what holds from the beginning, and its view."""
    first, *_ = migrations("sqlite")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.executescript(first.sql)
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO channel VALUES (1, 'A')")
        connection.execute("INSERT INTO status VALUES (1, 'NO_ALARM')")
        connection.execute("INSERT INTO num_metadata VALUES (1, 0, 100, NULL, 80, NULL, 90, 2, 'V')")
        connection.execute("INSERT INTO sample VALUES (1, 5, 1, 1, NULL, 1.5, NULL, NULL, NULL)")
    with closing(open_store(f"sqlite:///{file}")) as store:
        store.add([Sample("A", 5, 1.5, 0, "NO_ALARM"), Sample("A", 7, 2.5, 0, "NO_ALARM")])
    with closing(open_reader(f"sqlite:///{file}")) as reader:
        assert [sample.value for sample in reader.samples(["A"], 0, 10)] == [1.5, 2.5]
        assert [(dated.since_ns, dated.metadata.unit) for dated in reader.metadata("A")] == [(0, "V")]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT value, unit FROM history").fetchall() == [(1.5, "V"), (2.5, "V")]


def test_of_a_dead_archiver_no_statement_looks_at_all_rows_that_have_not_settled(store: Store, file: Path) -> None:
    """An hour of a rack is millions of them; they are in order of part and time."""
    begin_ns = time.time_ns() - 3600 * 10**9
    store.add([sample(pv, begin_ns + each * 10**9) for pv in "AB" for each in (0, 10, 100)])
    store.live(begin_ns + 5 * 10**9)
    statements: list[str] = []
    with closing(SqliteReader(DatabaseUrl.parse(f"sqlite:///{file}"))) as reader:
        driver = reader._connection.connection.driver_connection
        assert driver is not None
        driver.set_trace_callback(statements.append)
        found = list(reader.samples(["A", "B"], *ALL))
    off, good = Gap.ARCHIVE_OFF, "NO_ALARM"
    assert [each.status for each in found if each.pv == "A"] == [good, good, off, good, off]
    with closing(sqlite3.connect(file)) as connection:
        selects = [each for each in statements if each.lstrip().upper().startswith("SELECT")]
        plans = {each: connection.execute(f"EXPLAIN QUERY PLAN {each}").fetchall() for each in selects}
    assert [sql for sql, plan in plans.items() if any("SCAN sample" in step[3] for step in plan)] == []
