"""The commands while an archiver runs, a process of its own against a real IOC: nothing is lost by them."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import pytest

from archiver.sample import Gap, is_gap
from archiver.storage.database import open_reader
from tests.archiver.keeping.commands import run
from tests.archiver.processes import Archiver, Ioc, Wait

RECORDS = """
record(calc, "T:Ticks") { field(CALC, "VAL+1") field(SCAN, ".1 second") field(PINI, "YES") }
record(ai, "T:Still") { field(VAL, "1.5") field(PINI, "YES") field(EGU, "kV") }
"""
# As in archiver.processes
NAME = "T:rack"


def ticks(database: str) -> list[int]:
    """The numbers of the ticks that are stored; a gap is no number."""
    with closing(open_reader(database)) as reader:
        if "T:Ticks" not in reader.names():
            return []
        return [int(each.value) for each in reader.samples(["T:Ticks"], 0, 2**62) if not is_gap(each)]  # type: ignore[arg-type]


@pytest.mark.slow
def test_each_command_leaves_the_archiver_at_work(
    ioc: Ioc, archiver: Archiver, wait: Wait, tmp_path: Path, mysql_database: str
) -> None:
    ioc.start(RECORDS)
    archiver.start("T:Ticks", "T:Still")
    wait(lambda: len(archiver.values("T:Ticks")) > 20)
    here = archiver.database
    for command in (
        ("backup", str(tmp_path / "backup.sqlite"), "--database", here),
        ("check", "--database", here),
        ("copy", here, mysql_database),
        ("export", "T:*", "--format", "csv", "-o", str(tmp_path / "rows.csv"), "--database", here),
        ("rename", "T:Still", "T:Other", "--undo", "--database", here),
        ("compact", "--database", here),
    ):
        before = len(archiver.values("T:Ticks"))
        code, text = run(*command, directory=tmp_path)
        assert code == ("--undo" in command), text
        assert "Traceback" not in text
        wait(lambda: len(archiver.values("T:Ticks")) > before + 5)  # noqa: B023
    assert archiver.signal(signal.SIGTERM) == 0
    found = ticks(here)
    assert found == list(range(found[0], found[-1] + 1)), "none is missing, none is there twice"
    for copied in (f"sqlite:///{tmp_path}/backup.sqlite", mysql_database):
        part = ticks(copied)
        assert len(part) > 15
        assert part == found[: len(part)]


def test_an_archive_moves_to_a_server_without_losing_a_row(
    ioc: Ioc, archiver: Archiver, wait: Wait, tmp_path: Path, mysql_database: str
) -> None:
    ioc.start(RECORDS)
    archiver.start("T:Ticks", "T:Still", name=NAME)
    wait(lambda: len(archiver.values("T:Ticks")) > 20)
    assert run("copy", archiver.database, mysql_database, directory=tmp_path)[0] == 0
    assert archiver.signal(signal.SIGTERM) == 0
    assert run("copy", archiver.database, mysql_database, directory=tmp_path)[0] == 0
    moved = ticks(archiver.database)
    assert ticks(mysql_database) == moved
    archiver.start("T:Ticks", "T:Still", name=NAME, database=mysql_database)
    wait(lambda: len(ticks(mysql_database)) > len(moved) + 20)
    after = ticks(mysql_database)
    assert after[: len(moved)] == moved
    assert after[len(moved) :] == list(range(after[len(moved)], after[-1] + 1))
    with closing(open_reader(mysql_database)) as reader:
        assert [each.metadata.unit for each in reader.metadata("T:Still")][-1] == "kV"
        causes = {each.status for each in reader.samples(["T:Ticks"], 0, 2**62) if is_gap(each)}
    assert causes == {Gap.ARCHIVE_OFF}


def test_a_backup_that_is_moved_to_the_path_is_gone_on_with(
    ioc: Ioc, archiver: Archiver, wait: Wait, tmp_path: Path
) -> None:
    ioc.start(RECORDS)
    archiver.start("T:Ticks", name=NAME)
    wait(lambda: len(archiver.values("T:Ticks")) > 20)
    backup = tmp_path / "backup.sqlite"
    assert run("backup", str(backup), "--database", archiver.database, directory=tmp_path)[0] == 0
    saved = ticks(f"sqlite:///{backup}")
    assert archiver.signal(signal.SIGKILL) == -signal.SIGKILL
    for suffix in ("", "-wal", "-shm"):
        Path(f"{archiver.file}{suffix}").unlink(missing_ok=True)
    backup.rename(archiver.file)
    archiver.start("T:Ticks", name=NAME)
    wait(lambda: len(ticks(archiver.database)) > len(saved) + 20)
    assert ticks(archiver.database)[: len(saved)] == saved
