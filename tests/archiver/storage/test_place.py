"""The path of an SQLite archive: what happens to the file there, and who may write to it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from archiver.sample import Sample
from archiver.storage.database import open_reader, open_store
from archiver.storage.manage import exists
from archiver.storage.migrations import migrations
from archiver.storage.sqlite import checkpoints
from archiver.storage.sqlite.backup import save
from archiver.storage.store import Gone, Store, StoreError
from archiver.storage.url import url_of
from tests.other_user import as_user

START = 1_800_000_000_000_000_000
ALL = (0, 2**63 - 1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rack.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{file}", "LAB:rack")) as store:
        store.add([sample(1)])
        yield store


def sample(number: int) -> Sample:
    return Sample("A", START + number * 10**6, float(number), 0, "NO_ALARM")


def read(file: Path) -> list[float]:
    with closing(open_reader(f"sqlite:///{file}")) as reader:
        return [each.value for each in reader.samples(["A"], *ALL) if isinstance(each.value, float)]


def remove(file: Path) -> None:
    file.unlink()


def move(file: Path) -> None:
    file.rename(file.with_name("moved.sqlite"))


def replace(file: Path) -> None:
    backup = file.with_name("backup.sqlite")
    with closing(open_store(f"sqlite:///{backup}", "LAB:rack")) as store:
        store.add([sample(100)])
    backup.replace(file)


@pytest.mark.parametrize("change", [remove, move, replace])
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.add([sample(2)]),
        lambda store: store.newest(),
        lambda store: store.live(START),
        lambda store: store.expire("A", START),
        lambda store: store.thin("A", START, 10**9),
    ],
)
def test_a_file_that_is_another_one_is_told_by_every_call(
    store: Store, file: Path, change: Callable[[Path], None], call: Callable[[Store], object]
) -> None:
    change(file)
    with pytest.raises(Gone, match=r"rack\.sqlite: (the file was removed or moved|another file has taken its place)"):
        call(store)


def test_what_was_in_the_log_goes_where_the_file_went_and_not_into_the_new_one(file: Path) -> None:
    store = open_store(f"sqlite:///{file}", "LAB:rack")
    store.add([sample(number) for number in range(1000)])
    replace_with = file.with_name("backup.sqlite")
    with closing(open_store(f"sqlite:///{replace_with}", "LAB:rack")) as backup:
        backup.add([sample(5000)])
    file.rename(file.with_name("moved.sqlite"))
    replace_with.replace(file)
    store.close()
    assert len(read(file.with_name("moved.sqlite"))) == 1000
    assert read(file) == [5000.0]
    with closing(open_store(f"sqlite:///{file}", "LAB:rack")) as again:
        again.add([sample(6000)])
    assert read(file) == [5000.0, 6000.0]


def test_a_log_that_came_with_the_new_file_is_not_removed(file: Path, tmp_path: Path) -> None:
    """A backup that was copied with its log: the log holds all that its file does not."""
    store = open_store(f"sqlite:///{file}", "LAB:rack")
    store.add([sample(1)])
    other = tmp_path / "other.sqlite"
    with closing(open_store(f"sqlite:///{other}", "LAB:rack")) as writer:
        writer.add([sample(7), sample(8)])
        for suffix in ("-wal", "-shm", ""):
            shutil.copy(f"{other}{suffix}", tmp_path / f"copy{suffix}")
    for suffix in ("-wal", "-shm", ""):
        file.with_name(f"rack.sqlite{suffix}").rename(tmp_path / f"old{suffix}")
        (tmp_path / f"copy{suffix}").rename(f"{file}{suffix}")
    store.close()
    assert read(file) == [7.0, 8.0]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_checkpoints_create_no_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PERIOD", 0.01)
    with closing(open_store(f"sqlite:///{file}", "LAB:rack")) as store:
        store.add([sample(1)])
        file.unlink()
        with pytest.raises(StoreError):
            store._checkpoints._move()  # type: ignore[attr-defined]
        monkeypatch.setattr(store._place, "check", lambda: None)  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match="unable to open database file"):
            store._checkpoints._move()  # type: ignore[attr-defined]
        assert not file.exists()


HOLDER = """
import sys
from archiver.storage.database import open_store
store = open_store(sys.argv[1], "LAB:other")
print("open", flush=True)
sys.stdin.read()
"""


def test_a_file_has_one_archiver_and_the_sentence_names_it(file: Path) -> None:
    database = f"sqlite:///{file}"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", HOLDER, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        sentence = rf"another archiver writes to this file \(LAB:other, pid {holder.pid} on .*\): give each a file"
        with pytest.raises(StoreError, match=sentence):
            open_store(database, "LAB:rack")
        open_reader(database).close()
        holder.kill()
    open_store(database, "LAB:rack").close()


def test_a_file_has_one_archiver_whatever_links_lead_to_it(file: Path, tmp_path: Path) -> None:
    link, directory = tmp_path / "link.sqlite", tmp_path / "directory"
    link.symlink_to(file)
    directory.symlink_to(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-P", "-c", HOLDER, f"sqlite:///{file}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        for path in (link, directory / "rack.sqlite"):
            with pytest.raises(StoreError, match="another archiver writes to this file"):
                open_store(f"sqlite:///{path}", "LAB:rack")
        holder.kill()


def test_behind_a_link_that_is_set_anew_the_other_file_is_told_and_the_log_stays(file: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        with closing(open_store(f"sqlite:///{tmp_path / name}", "LAB:rack")) as store:
            store.add([sample(100)])
    file.symlink_to(tmp_path / "one")
    store = open_store(f"sqlite:///{file}", "LAB:rack")
    store.add([sample(1)])
    file.unlink()
    file.symlink_to(tmp_path / "two")
    with pytest.raises(Gone, match="another file has taken its place"):
        store.add([sample(2)])
    store.close()
    assert read(tmp_path / "one") == [1.0, 100.0]
    assert read(file) == [100.0]


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
@pytest.mark.parametrize("anew", [False, True])
def test_a_log_that_was_removed_is_told_and_what_it_held_is_in_the_file(file: Path, suffix: str, anew: bool) -> None:
    """A reader makes a new one: with it the archiver's rows would never be seen, and be lost when it ends."""
    store = open_store(f"sqlite:///{file}", "LAB:rack")
    store.add([sample(number) for number in range(10)])
    file.with_name(f"rack.sqlite{suffix}").unlink()
    if anew:
        file.with_name(f"rack.sqlite{suffix}").touch()
    with pytest.raises(Gone, match=r"its -wal or -shm was removed or replaced"):
        store.add([sample(10)])
    store.close()
    assert len(read(file)) in {10, 11}
    with closing(open_store(f"sqlite:///{file}", "LAB:rack")) as again:
        again.add([sample(number) for number in range(12)])
        assert len(read(file)) == 12


def test_a_lock_that_was_removed_is_made_again(store: Store, file: Path) -> None:
    file.with_name("rack.sqlite.lock").unlink()
    with pytest.raises(Gone, match="the lock of the archive was removed"):
        store.add([sample(2)])


def test_a_file_that_a_link_leads_to_now_is_opened_there(file: Path) -> None:
    """SQLite has the log beside the file itself: the rows of the one beside the link would not be seen."""
    with closing(open_store(f"sqlite:///{file}", "LAB:rack")) as store:
        store.add([sample(1)])
        file.rename(file.with_name("elsewhere.sqlite"))
        file.symlink_to(file.with_name("elsewhere.sqlite"))
        with pytest.raises(Gone, match="it is a link to this file now"):
            store.add([sample(2)])
    assert read(file) == [1.0]
    with closing(open_store(f"sqlite:///{file}", "LAB:rack")) as again:
        again.add([sample(2)])
        assert read(file) == [1.0, 2.0]


def test_a_file_with_several_names_is_not_opened(file: Path, store: Store) -> None:
    """Each name would have a log of its own."""
    other = file.with_name("other.sqlite")
    other.hardlink_to(file)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"this file has 2 names \(hard links\)"):
            open_store(f"sqlite:///{other}", "LAB:other")
    store.add([sample(2)])
    other.unlink()
    store.add([sample(3)])
    assert read(file) == [1.0, 2.0, 3.0]


def test_a_directory_is_told_as_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="this is a directory; write the path of a file"):
        open_store(f"sqlite:///{tmp_path}", "LAB:rack")
    assert not Path(f"{tmp_path}.lock").exists()


def test_an_archive_on_a_full_disk_is_opened_for_what_its_lock_says_is_not_needed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with closing(open_store(f"sqlite:///{file}", "LAB:rack")) as store:
        store.add([sample(1)])
    assert read(file) == [1.0]


def test_a_reader_changes_no_file_that_has_just_taken_the_place(file: Path, store: Store) -> None:
    """Before the archiver has noticed: the log at that path is still that of the file before."""
    store.add([sample(number) for number in range(2, 3000)])
    backup = file.with_name("backup.sqlite")
    with closing(open_store(f"sqlite:///{backup}", "LAB:rack")) as other:
        other.add([Sample("B", START + number, 1.0, 0, "NO_ALARM") for number in range(1000, 10_000_000, 1000)])
    before = backup.read_bytes()
    backup.replace(file)
    with suppress(StoreError):  # whatever it sees
        read(file)
    assert file.read_bytes() == before


def test_beside_a_reader_nothing_is_left_in_the_log_of_an_archive_that_is_closed(file: Path) -> None:
    """Nor does a reader that closes later have anything to do."""
    with closing(open_store(f"sqlite:///{file}", "LAB:rack")) as store:
        store.add([sample(1)])
        reader = open_reader(f"sqlite:///{file}")
        store.add([sample(2)])
    log = file.with_name("rack.sqlite-wal")
    assert not log.exists() or not log.stat().st_size
    reader.close()
    copied = shutil.copy(file, file.with_name("copied.sqlite"))
    assert read(Path(copied)) == [1.0, 2.0]


def test_a_reader_that_stands_in_a_transaction_hardly_holds_up_the_close(file: Path) -> None:
    store = open_store(f"sqlite:///{file}", "LAB:rack")
    store.add([sample(1)])
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sample_recent").fetchone()
        store.add([sample(2)])
        began = time.monotonic()
        store.close()
        assert time.monotonic() - began < 4.0  # the patience of a commit is 5 s
    assert read(file) == [1.0, 2.0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user_leaves_no_log_to_which_the_archiver_cannot_write() -> None:
    with tempfile.TemporaryDirectory(prefix="rackioc-") as name:
        directory = Path(name)
        directory.chmod(0o777)
        file = directory / "rack.sqlite"
        assert seen_by(1001, lambda: write_and_read(file)) == "[1.0]"
        assert "the archiver could not write" in seen_by(65534, lambda: str(read(file)))
        assert sorted(each.name for each in directory.iterdir()) == ["rack.sqlite", "rack.sqlite.lock"]
        assert seen_by(1001, lambda: write_and_read(file)) == "[1.0]"
        save(url_of(f"sqlite:///{file}"), copied := directory / "copied.sqlite", lambda *_: None)
        copied.chmod(0o444)
        assert seen_by(65534, lambda: str(read(copied))) == "[1.0]"  # of one file, by whomever
        with closing(open_store(f"sqlite:///{file}", "LAB:rack")):
            assert seen_by(65534, lambda: str(read(file))) == "[1.0]"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_directory_that_may_not_be_entered_is_told() -> None:
    with tempfile.TemporaryDirectory(prefix="rackioc-") as name:  # mode 0700
        assert "cannot be read: Permission denied" in seen_by(65534, lambda: str(read(Path(name) / "rack.sqlite")))
        database = f"sqlite:///{name}/rack.sqlite"
        assert "cannot be read: Permission denied" in seen_by(65534, lambda: str(exists(database)))


def write_and_read(file: Path) -> str:
    with closing(open_store(f"sqlite:///{file}", "LAB:rack")) as store:
        store.add([sample(1)])
    return str(read(file))


def seen_by(number: int, action: Callable[[], str]) -> str:
    """Return what an action returns, or its error, where another user does it."""
    migrations("sqlite")  # imports what the other user may not read
    return as_user(number, lambda: (0, action()))[1]
