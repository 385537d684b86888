from __future__ import annotations

import signal
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from archiver.keeping.copy import copy
from archiver.sample import Dated, Gap, Metadata, Sample
from archiver.storage import manage
from archiver.storage.database import connect, open_reader, open_source, open_store, open_target
from archiver.storage.mysql.target import LONGEST_TEXT
from archiver.storage.store import StoreError
from archiver.storage.transfer.tables import BY_NAME, CARRIED, FIXED, PRESENT, REBUILT
from archiver.storage.url import url_of
from bench.rig.mariadb import Server
from tests.archiver.keeping.archives import ROWS, SECOND, START, contents, fill
from tests.archiver.keeping.commands import run, start
from tests.archiver.keeping.conftest import New
from tests.archiver.processes import Wait

KINDS = ("sqlite", "mysql")
BOTH = [(one, other) for one in KINDS for other in KINDS]
# The two that take another way each; the others of BOTH are of the same parts.
CROSSED = [
    pytest.param(one, other, marks=() if one != other else pytest.mark.slow) for one in KINDS for other in KINDS
]


def quiet(_done: int, _total: int) -> None:
    pass


def rows(database: str) -> int:
    with suppress(StoreError), closing(open_source(database)) as source:
        return sum(each.rows for each in source.figures().values())
    return 0


@pytest.mark.parametrize(("origin", "destination"), BOTH)
def test_a_copy_holds_all_that_the_archive_holds(new: New, origin: str, destination: str) -> None:
    here, there = new(origin), new(destination)
    fill(here)
    copied = copy(here, there, quiet)
    assert contents(there) == contents(here)
    assert copied.rows == rows(here)
    assert copy(here, there, quiet) == (0, copied.rows, 0)
    assert contents(there) == contents(here)


@pytest.mark.parametrize(("origin", "destination"), BOTH)
def test_a_later_copy_brings_what_is_new(new: New, origin: str, destination: str) -> None:
    here, there = new(origin), new(destination)
    fill(here)
    copy(here, there, quiet)
    with closing(open_store(here, "LAB:one")) as store:
        store.add([Sample("R", START + (ROWS + n) * SECOND, 1.5, 0, "NO_ALARM") for n in range(10)])
        store.add([Sample("NEW", START, "text", 0, "NO_ALARM")])
        store.add_metadata({"R": Dated(START + ROWS * SECOND, Metadata("MV", 1))})
        store.live(START + 2 * ROWS * SECOND)
    assert copy(here, there, quiet).rows == 11
    assert contents(there) == contents(here)


@pytest.mark.parametrize(("origin", "destination"), CROSSED)
def test_a_copy_that_was_killed_goes_on(new: New, origin: str, destination: str, tmp_path: Path, wait: Wait) -> None:
    here, there = new(origin), new(destination)
    with closing(open_store(here, "LAB:one")) as store:
        for second in range(0, 2000, 500):
            samples = [
                Sample(f"P{pv}", START + (second + n) * SECOND, n / 7, 0, "NO_ALARM")
                for n in range(500) for pv in range(80)
            ]  # fmt: skip
            store.add(samples)
        store.live(START + 2000 * SECOND)
    total, killed = rows(here), []
    manage.init(there)
    for _ in range(2):
        before = rows(there)
        process = start("copy", here, there, directory=tmp_path)
        wait(lambda: rows(there) > before or process.poll() is not None)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed.append(rows(there))
        if rows(there) < total:  # nothing is shown as known that may have gone on
            with closing(open_reader(there)) as reader:
                last = {each.pv: each.status for each in reader.samples(reader.names(), 0, 2**62)}
            assert set(last.values()) <= {Gap.ARCHIVE_OFF}
    assert killed[0] < total, "it was not killed in the middle"
    code, text = run("copy", here, there, directory=tmp_path)
    assert code == 0, text
    assert f"{total - killed[-1]:,} rows copied" in text
    assert contents(there) == contents(here)


@pytest.mark.parametrize(("origin", "destination"), CROSSED)
def test_while_an_archiver_writes_all_is_copied_that_it_knew_when_the_copy_began(
    new: New, origin: str, destination: str
) -> None:
    here, there = new(origin), new(destination)
    stop, begun = threading.Event(), threading.Event()

    def archive() -> None:
        with closing(open_store(here, "LAB:one")) as store:
            number = 0
            while not stop.is_set():
                now_ns = time.time_ns()
                store.add(
                    [
                        Sample(f"P{pv}", now_ns + n * 1000, number, 0, "NO_ALARM")
                        for n in range(20)
                        for pv in range(50)
                    ]
                )
                store.live(now_ns)
                store.tidy()
                number += 1
                if number == 20:
                    begun.set()
                stop.wait(0.02)

    thread = threading.Thread(target=archive)
    thread.start()
    try:
        assert begun.wait(20)
        with closing(open_source(here)) as source:
            known_ns = source.archivers()["LAB:one"]
        copy(here, there, quiet)
    finally:
        stop.set()
        thread.join()
    one, other = contents(here), contents(there)
    until = [row for row in one["rows"] if row[1] <= known_ns // 1000]
    assert until
    assert [row for row in other["rows"] if row[1] <= known_ns // 1000] == until
    assert set(other["rows"]) <= set(one["rows"])
    assert other["archivers"]["LAB:one"] >= known_ns
    copy(here, there, quiet)
    assert contents(there) == contents(here)


@pytest.mark.parametrize("destination", KINDS)
def test_racks_come_together_in_one_archive_and_each_keeps_its_own(new: New, destination: str) -> None:
    first, second, there = new("sqlite"), new("sqlite"), new(destination)
    fill(first, "LAB:one")
    fill(second, "LAB:two")
    copy(first, there, quiet)
    copy(second, there, quiet)
    found = contents(there)
    assert ("R", "R", "LAB:one") in found["channels"]
    assert ("R (LAB:two)", "R", "LAB:two") in found["channels"]
    assert len(found["rows"]) == rows(first) + rows(second)
    for archive, archiver in ((first, "LAB:one"), (second, "LAB:two")):
        own = [row[1:] for row in found["rows"] if row[0][2] == archiver]
        assert sorted(map(repr, own)) == sorted(repr(row[1:]) for row in contents(archive)["rows"])
    with closing(open_reader(there)) as reader:
        assert [each.value for each in reader.samples(["R"], START, START + 9 * SECOND)] == [
            n * 0.1 for n in range(10)
        ]


@pytest.mark.parametrize("destination", KINDS)
def test_the_past_can_follow_an_archiver_that_has_moved_already(new: New, destination: str) -> None:
    here, there = new("sqlite"), new(destination)
    fill(here)
    later = START + 2 * ROWS * SECOND
    with closing(open_store(there, "LAB:one")) as store:
        store.add_metadata({"R": Dated(later, Metadata("mV", 3))})
        store.add([Sample("R", later, 7.0, 0, "NO_ALARM")])
        store.live(later + SECOND)
    copy(here, there, quiet)
    with closing(open_reader(there)) as reader:
        assert [each.value for each in reader.samples(["R"], 0, later)] == [
            *(n * 0.1 for n in range(ROWS)), Gap.ARCHIVE_OFF, 7.0,
        ]  # fmt: skip
        assert [each.metadata.unit for each in reader.metadata("R")] == ["V", "kV", "mV"]
    assert contents(there)["archivers"] == {"LAB:one": later + SECOND}
    with closing(open_store(there, "LAB:one")) as store:
        assert store.newest()[0].value is not None
        store.add([Sample("R", later + 2 * SECOND, 8.0, 0, "NO_ALARM")])
    assert rows(there) == rows(here) + 2 + 5  # and Archive_Off behind each PV but S, which ends with a gap


def test_to_a_file_with_finer_times_no_row_comes_back_twice(new: New) -> None:
    here, there = new("sqlite"), new("mysql")
    with closing(open_store(here, "LAB:one")) as store:
        store.add([Sample("R", START + n * 1_000_777, float(n), 0, "NO_ALARM") for n in range(100)])
    copy(here, there, quiet)
    with closing(open_store(there, "LAB:one")) as store:
        store.add([Sample("R", START + SECOND, 5.0, 0, "NO_ALARM")])
    copy(there, here, quiet)
    assert rows(here) == 101


def test_what_no_column_of_a_server_holds_is_marked_as_an_archiver_does(new: New) -> None:
    here, there = new("sqlite"), new("mysql")
    with closing(open_store(here)) as store:
        store.add(
            [
                Sample("T", START, "x" * (LONGEST_TEXT + 1), 0, "NO_ALARM"),
                Sample("T", START + 1000, 2**40, 0, "NO_ALARM"),
            ]
        )
        store.add([Sample("T", START + 2000, "y" * LONGEST_TEXT, 0, "NO_ALARM")])
    copy(here, there, quiet)
    with closing(open_reader(there)) as reader:
        found = [each.status for each in reader.samples(["T"], 0, START + 2000)]
    assert found == [Gap.WRITE_ERROR, Gap.WRITE_ERROR, "NO_ALARM"]


def test_a_file_to_which_an_archiver_writes_takes_no_copy(new: New, tmp_path: Path) -> None:
    here, there = new("sqlite"), new("sqlite")
    fill(here)
    with closing(open_store(there, "LAB:two")):
        code, text = run("copy", here, there, directory=tmp_path)
    assert code == 1
    assert "another archiver writes to this file (LAB:two, pid" in text


def test_while_a_copy_runs_no_archiver_can_open_the_file(new: New, tmp_path: Path) -> None:
    here, there = new("sqlite"), new("sqlite")
    fill(here)
    manage.init(there)
    with closing(open_target(there)):
        code, text = run("copy", here, there, directory=tmp_path)
    assert code == 1
    assert "(rackioc db, pid" in text
    open_store(there, "LAB:one").close()


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_not_copied_into_itself(new: New, kind: str) -> None:
    here = new(kind)
    fill(here)
    with pytest.raises(StoreError, match="cannot be copied into itself"):
        copy(here, here, quiet)


@pytest.mark.parametrize("destination", KINDS)
def test_what_is_no_archive_is_not_copied_and_nothing_is_made(tmp_path: Path, destination: str, new: New) -> None:
    code, text = run("copy", "nothing.sqlite", new(destination), directory=tmp_path)
    assert code == 1
    assert "nothing.sqlite: this file does not exist" in text
    assert "Traceback" not in text
    assert list(tmp_path.glob("*.sqlite")) == []


def test_a_server_that_goes_away_is_told_and_the_copy_goes_on_later(
    tmp_path: Path, own_server: Server, wait: Wait
) -> None:
    here, there = f"sqlite:///{tmp_path}/rack.sqlite", own_server.create("away")
    with closing(open_store(here)) as store:
        for begin in range(0, 400, 100):
            store.add(
                [
                    Sample(f"P{pv}", START + n * SECOND, n / 7, 0, "NO_ALARM")
                    for n in range(begin, begin + 100)
                    for pv in range(500)
                ]
            )
    process = start("copy", here, there, directory=tmp_path)
    wait(lambda: rows(there) > 0)
    own_server.kill9()
    text, _ = process.communicate(timeout=50)
    own_server.start()
    assert process.returncode == 1, text
    assert "rackioc: 127.0.0.1" in text
    assert "Traceback" not in text
    code, text = run("copy", here, there, directory=tmp_path)
    assert code == 0, text
    assert rows(there) == 200_000


def test_every_table_of_the_schema_is_carried_or_said_not_to_be(new: New, shared_server: Server) -> None:
    listed = {*(table.name for table in CARRIED), *PRESENT, *REBUILT, *BY_NAME, *FIXED}
    file, server = new("sqlite"), new("mysql")
    for database in (file, server):
        manage.init(database)
    with closing(sqlite3.connect(file.removeprefix("sqlite:///"))) as connection:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found |= {
        name
        for (name,) in shared_server.execute(
            "SELECT table_name FROM information_schema.tables "
            f"WHERE table_schema = '{server.rpartition('/')[2]}' AND table_type = 'BASE TABLE'"
        )
    }
    assert found - listed == set()


@pytest.mark.parametrize("kind", KINDS)
def test_tables_beside_an_archive_that_are_not_carried_are_named(new: New, kind: str, tmp_path: Path) -> None:
    here, told = new(kind), "other tables are left out: measurements\n"
    fill(here)
    assert "left out" not in run("copy", here, "plain.sqlite", directory=tmp_path)[1]
    with connect(url_of(here)) as connection, connection.begin():
        connection.execute(text("CREATE TABLE measurements (id INTEGER)"))
    code, shown = run("copy", here, "copy.sqlite", directory=tmp_path)
    assert (code, told in shown) == (0, True), shown
    code, shown = run("backup", "backup.sqlite", "--database", here, directory=tmp_path)
    assert (code, told in shown) == (0, kind == "mysql"), shown
    with closing(sqlite3.connect(tmp_path / "backup.sqlite")) as file:
        held = file.execute("SELECT name FROM sqlite_master WHERE name = 'measurements'").fetchall()
    assert bool(held) == (kind == "sqlite")
    if kind == "sqlite":
        code, shown = run("salvage", here.removeprefix("sqlite:///"), "new.sqlite", directory=tmp_path)
        assert (code, told in shown) == (0, True), shown


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_archiver_rebuilds_is_deleted_of_the_channels_that_get_rows(
    new: New, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = new("sqlite"), new(kind)
    fill(here)
    with closing(open_store(there, "LAB:two")) as store:
        store.add([Sample("OTHER", START, 1.0, 0, "NO_ALARM")])
    copy(here, there, quiet)
    with connect(url_of(there)) as connection, connection.begin():
        connection.execute(text("CREATE TABLE made (channel_id INTEGER)"))
        connection.execute(text("INSERT INTO made SELECT channel_id FROM channel"))
    monkeypatch.setattr(f"archiver.storage.{kind}.target.REBUILT", ("made",))
    with closing(open_store(here, "LAB:one")) as store:
        store.add([Sample("R", START + 2 * ROWS * SECOND, 1.0, 0, "NO_ALARM")])
    copy(here, there, quiet)
    with connect(url_of(there)) as connection, connection.begin():
        gone = "SELECT name FROM channel WHERE channel_id NOT IN (SELECT channel_id FROM made)"
        assert connection.execute(text(gone)).all() == [("R",)]
