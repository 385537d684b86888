"""Files that are removed, moved or replaced while the archiver runs: told, and nothing that came later is lost."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path

import pytest

from archiver import health, service
from archiver.history.query import MetadataHistory
from archiver.recording.batch import Batch
from archiver.recording.spool import Spool
from archiver.sample import Sample
from archiver.settings import ArchiveSettings
from archiver.storage.database import open_reader
from tests.archiver.processes import Archiver, Ioc, Wait

BEGIN_NS = 1_790_000_000 * 10**9

RECORDS = """
record(calc, "T:Ticks") { field(CALC, "VAL+1") field(SCAN, ".1 second") field(PINI, "YES") }
record(ai, "T:VMon") { field(VAL, "1.5") field(PINI, "YES") field(EGU, "kV") }
"""


def remove(file: Path, _: Path) -> None:
    file.unlink()


def move(file: Path, _: Path) -> None:
    file.rename(file.with_name("moved.sqlite"))


def restore(file: Path, backup: Path) -> None:
    backup.replace(file)


@pytest.mark.parametrize("change", [remove, move, restore])
def test_an_archive_that_is_another_one_is_told_and_gone_on_with(
    ioc: Ioc, archiver: Archiver, wait: Wait, tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    """Also with what has not changed since."""
    ioc.start(RECORDS)
    archiver.start("T:Ticks", "T:VMon")
    wait(lambda: len(archiver.rows("T:Ticks")) > 5 and archiver.values("T:VMon") == [1.5])
    assert archiver.signal(signal.SIGTERM) == 0
    backup = tmp_path / "backup.sqlite"
    shutil.copy(archiver.file, backup)
    archiver.start("T:Ticks", "T:VMon")
    wait(lambda: archiver.values("T:VMon") == [1.5, "Archive_Off", 1.5])
    change(archiver.file, backup)
    wait(lambda: "samples wait in rack.spool" in archiver.log)
    assert "the file was removed or moved" in archiver.log or "another file has taken its place" in archiver.log
    kept = [1.5, "Archive_Off"] if change is restore else []
    wait(lambda: archiver.file.exists() and archiver.values("T:VMon") == [*kept, 1.5])
    assert "the database stores samples again" in archiver.log
    ticks = archiver.values("T:Ticks")
    wait(lambda: len(archiver.values("T:Ticks")) > len(ticks) + 5)
    assert archiver.signal(signal.SIGTERM) == 0
    numbers = [value for value in archiver.values("T:Ticks") if isinstance(value, float)]
    later = [value for value in numbers if value > numbers[-1] - 30]
    steps = [after - before for before, after in pairwise(later)]
    assert set(steps) <= {0.0, 1.0}
    assert steps.count(0.0) <= 1  # what was known when it was opened is stored again
    with closing(open_reader(archiver.database)) as reader:
        about = MetadataHistory({"T:VMon": reader.metadata("T:VMon")})
        *_, shown = [each for each in reader.samples(["T:VMon"], 0, 2**63 - 1) if each.value == 1.5]
        assert about.at("T:VMon", shown.time_ns).unit == "kV"


def remove_beside(suffix: str) -> Callable[[Path], None]:
    return lambda file: file.with_name(f"{file.name}{suffix}").unlink()


def move_and_put_back(file: Path) -> None:
    moved = file.rename(file.with_name("moved.sqlite"))
    time.sleep(1.5)  # a commit finds it
    moved.rename(file)


@pytest.mark.parametrize(
    "change", [remove_beside("-wal"), remove_beside("-shm"), remove_beside(".lock"), move_and_put_back]
)
def test_in_an_archive_that_is_the_same_one_again_nothing_is_missing_and_no_gap_is_marked(
    ioc: Ioc, archiver: Archiver, wait: Wait, change: Callable[[Path], None]
) -> None:
    ioc.start(RECORDS)
    archiver.start("T:Ticks", "T:VMon")
    wait(lambda: len(archiver.rows("T:Ticks")) > 15 and archiver.values("T:VMon") == [1.5])
    change(archiver.file)
    wait(lambda: "the database stores samples again" in archiver.log)
    ticks = len(archiver.rows("T:Ticks"))
    wait(lambda: len(archiver.rows("T:Ticks")) > ticks + 15)
    assert archiver.signal(signal.SIGTERM) == 0
    assert archiver.values("T:VMon") == [1.5, "Archive_Off"]
    *numbers, end = archiver.values("T:Ticks")
    assert end == "Archive_Off"
    assert {float(after) - float(before) for before, after in pairwise(numbers)} == {1.0}
    assert "runs already" not in archiver.log


@pytest.mark.parametrize("name", ["rack.spool", "rack.spool.status"])
def test_spool_and_status_are_begun_anew_where_they_were_removed(
    ioc: Ioc, archiver: Archiver, wait: Wait, tmp_path: Path, name: str
) -> None:
    ioc.start(RECORDS)
    archiver.start("T:VMon")
    wait(lambda: archiver.values("T:VMon") == [1.5])
    (tmp_path / name).unlink()
    wait(lambda: "removed or replaced" in archiver.log)
    assert (tmp_path / name).exists()
    status = tmp_path / "rack.spool.status"
    wait(lambda: health.running(status) and (read := health.read(status)) is not None and read.age < 2)


def test_what_another_archive_got_meanwhile_is_a_gap_in_the_one_that_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when that came before a sign of life was given there: the sign of the first one is the last then."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "rack.sqlite"
    recorder = service.Archiver(ArchiveSettings(database=f"sqlite:///{file}", pvs=()), Path("rack.yaml"), "T:")
    with ExitStack() as undo:
        for each in (recorder._status_file, recorder._spool, recorder._client, recorder._overflow):
            undo.callback(each.close)
        with closing(recorder._open_store()) as store:
            store.add([Sample("T:A", BEGIN_NS, 1.0, 0, "NO_ALARM")])
            store.live(BEGIN_NS)
            recorder._writer.alive_ns = BEGIN_NS
        moved = file.rename(tmp_path / "moved.sqlite")
        with closing(recorder._open_store()) as store:
            store.add([Sample("T:A", BEGIN_NS + 10**9, 2.0, 0, "NO_ALARM")])
        moved.rename(file)
        with closing(recorder._open_store()) as store:
            assert [row.value for row in store.newest()] == ["Archive_Off"]


def test_what_waits_in_the_spool_is_told_before_the_database_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may take seconds; until then nothing waited, by status and PVs."""
    monkeypatch.chdir(tmp_path)
    settings = ArchiveSettings(database=f"sqlite:///{tmp_path / 'rack.sqlite'}", pvs=())
    with closing(Spool(settings.spool_file(Path("rack.yaml")), 1e9, 0)) as spool:
        spool.append(Batch([Sample("T:A", BEGIN_NS, 1.0, 0, "NO_ALARM")]))
    recorder = service.Archiver(settings, Path("rack.yaml"), "T:")
    with ExitStack() as undo:
        for each in (recorder._status_file, recorder._spool, recorder._client, recorder._overflow):
            undo.callback(each.close)
        monkeypatch.setattr(recorder._writer, "start", lambda: None)
        recorder.start("T:PVS")
        state = health.read(settings.status_file(Path("rack.yaml")))
    assert state is not None
    assert (state.spool_rows, state.database) == (1, "starting")
    assert state.lag > 0
