from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from archiver.keeping.backup import backup
from archiver.keeping.copy import copy
from archiver.sample import Sample
from archiver.storage.database import open_source, open_store
from archiver.storage.store import StoreError
from tests.archiver.keeping.archives import START, contents, fill
from tests.archiver.keeping.commands import RACKIOC, ROOT, run, start
from tests.archiver.keeping.conftest import New
from tests.archiver.keeping.test_copy import KINDS, quiet
from tests.system.faults.small_disk import SmallDisk


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_holds_all_and_comes_back_to_any_database(new: New, kind: str, tmp_path: Path) -> None:
    here, file = new(kind), tmp_path / "backup.sqlite"
    fill(here)
    code, text = run("backup", str(file), "--database", here, directory=tmp_path)
    assert code == 0, text
    assert contents(f"sqlite:///{file}") == contents(here)
    assert [each for each in tmp_path.iterdir() if each.name.startswith("backup")] == [file]
    for again in KINDS:
        there = new(again)
        copy(f"sqlite:///{file}", there, quiet)
        assert contents(there) == contents(here)


def test_a_backup_can_be_read_where_nothing_may_be_written(new: New, tmp_path: Path) -> None:
    here, folder = new("sqlite"), tmp_path / "safe"
    folder.mkdir()
    fill(here)
    backup(here, folder / "backup.sqlite", quiet)
    with closing(sqlite3.connect(f"file:{folder}/backup.sqlite?immutable=1", uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM sample").fetchone()[0] > 0
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_beside_an_archiver_holds_all_that_was_known_and_ends(new: New, kind: str, tmp_path: Path) -> None:
    here, file = new(kind), tmp_path / "backup.sqlite"
    stop, begun = threading.Event(), threading.Event()
    written: list[int] = []

    def archive() -> None:
        with closing(open_store(here, "LAB:one")) as store:
            while not stop.is_set():
                now_ns = time.time_ns()
                store.add([Sample(f"P{n}", now_ns, float(n), 0, "NO_ALARM") for n in range(500)])
                store.live(now_ns)
                written.append(now_ns)
                if len(written) == 20:
                    begun.set()

    thread = threading.Thread(target=archive)
    thread.start()
    try:
        assert begun.wait(30)
        known = written[-1]
        backup(here, file, quiet)
    finally:
        stop.set()
        thread.join()
    with closing(open_source(f"sqlite:///{file}")) as source:
        alive_ns = source.archivers()["LAB:one"]
        figures = source.figures()
    assert alive_ns >= known
    commits = sum(each <= alive_ns for each in written)
    assert len({each.rows for each in figures.values()}) == 1, "half a commit"
    assert next(iter(figures.values())).rows in {commits, commits + 1}, "rows come before the sign of life"


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_that_was_killed_leaves_no_file_of_its_name_and_the_next_one_is_whole(
    new: New, kind: str, tmp_path: Path
) -> None:
    here, file = new(kind), tmp_path / "backup.sqlite"
    with closing(open_store(here)) as store:
        for begin in range(0, 400, 100):
            store.add(
                [
                    Sample(f"P{pv}", START + n * 10**9, n / 7, 0, "NO_ALARM")
                    for n in range(begin, begin + 100) for pv in range(400)
                ]
            )  # fmt: skip
    part = tmp_path / "backup.sqlite.part"
    kill_in_the_middle(file, part, here)
    code, text = run("backup", str(file), "--database", here, directory=tmp_path)
    assert code == 0, text
    assert contents(f"sqlite:///{file}") == contents(here)
    assert not part.exists()


def kill_in_the_middle(file: Path, part: Path, archive: str) -> None:
    """Kill a backup of which a part is there; one that was quicker is begun anew."""
    while True:
        process = start("backup", str(file), "--database", archive, directory=file.parent)
        while process.poll() is None and not part.exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if not file.exists():
            return
        file.unlink()


def test_a_backup_does_not_take_the_place_of_a_file(new: New, tmp_path: Path) -> None:
    here, file = new("sqlite"), tmp_path / "backup.sqlite"
    fill(here)
    file.write_text("the only other copy")
    with pytest.raises(StoreError, match=r"backup.sqlite exists: name another file"):
        backup(here, file, quiet)
    assert file.read_text() == "the only other copy"


def test_without_an_archive_there_is_a_sentence(tmp_path: Path) -> None:
    code, text = run("backup", "b.sqlite", "--database", "sqlite:///no.sqlite", directory=tmp_path)
    assert code == 1
    assert "there is no archive of rackioc" in text
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_named(new: New, tmp_path: Path) -> None:
    here = new("sqlite")
    fill(here)
    with pytest.raises(StoreError, match="there is no directory"):
        backup(here, tmp_path / "none" / "b.sqlite", quiet)


def test_a_damaged_archive_gives_no_backup_that_looks_sound(new: New, tmp_path: Path) -> None:
    here = new("sqlite")
    fill(here)
    file = Path(here.removeprefix("sqlite:///"))
    damaged = bytearray(file.read_bytes())
    damaged[40 * 4096 : 41 * 4096] = os.urandom(4096)
    file.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"rackioc db check|damaged"):
        backup(here, tmp_path / "b.sqlite", quiet)
    assert not (tmp_path / "b.sqlite").exists()
    assert not (tmp_path / "b.sqlite.part").exists()


@pytest.mark.parametrize("command", ["backup", "copy", "compact"])
def test_a_disk_that_is_too_small_is_told_and_leaves_the_archive_as_it_was(
    new: New, tmp_path: Path, command: str
) -> None:
    disk = SmallDisk(tmp_path / "disk", "2500k")
    try:
        here = new("sqlite")
        with closing(open_store(here)) as store:
            store.add(
                [Sample(f"P{pv}", START + n * 10**9, n / 7, 0, "NO_ALARM") for n in range(500) for pv in range(160)]
            )
        before = contents(here)
        target = disk.path / "b.sqlite"
        if command == "compact":
            small = disk.path / "rack.sqlite"
            with closing(open_store(f"sqlite:///{tmp_path}/rack.sqlite")) as store:
                store.add(
                    [Sample(f"P{pv}", START + n, n / 7, 0, "NO_ALARM") for n in range(100) for pv in range(400)]
                )
            disk.seen(small).write_bytes((tmp_path / "rack.sqlite").read_bytes())
            arguments = ["compact", "--database", f"sqlite:///{small}"]
        elif command == "copy":
            arguments = ["copy", here.removeprefix("sqlite:///"), str(target)]
        else:
            arguments = ["backup", str(target), "--database", here]
        done = subprocess.run(
            [*disk.wrapper, *RACKIOC, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert "MB are needed" in done.stderr or "free some disk space" in done.stderr
        assert "Traceback" not in done.stderr
        assert not disk.seen(target).exists() or command == "copy"
        assert contents(here) == before
    finally:
        disk.close()
