"""The archiver's status file: one writer, whole readings, and no more of the disk than it has already."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver import health
from archiver.health import Cause, Health, StatusFile
from archiver.storage.store import StoreError

BASE = 1_800_000_000  # seconds since 1970
HOLDER = """
import sys, time
from pathlib import Path
from archiver.health import StatusFile
status_file = StatusFile(Path(sys.argv[1]))
print("mine", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rack.spool.status"


@pytest.fixture
def other(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another archiver's process, that has the status_file."""
    holder = subprocess.Popen([sys.executable, "-P", "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "mine\n"
    yield holder
    holder.kill()
    holder.communicate()


def state(**fields: Any) -> Health:
    return replace(Health(time.time(), os.getpid()), **fields)


def test_what_was_written_is_read(path: Path) -> None:
    written = state(connected=3, lag=0.25, rejected={Cause.FUTURE: 2}, last_error="Platte »voll«", database="ok")
    with closing(StatusFile(path)) as status_file:
        status_file.write(written)
        assert health.read(path) == written


def test_the_status_file_names_its_process_from_the_beginning(path: Path) -> None:
    with closing(StatusFile(path)):
        first = health.read(path)
    assert first is not None
    assert (first.pid, first.database) == (os.getpid(), "starting")
    assert first.age < 5
    assert first.disk_free > 0


def test_the_file_has_one_size_whatever_is_written(path: Path) -> None:
    with closing(StatusFile(path)) as status_file:
        for text in ("", "x" * 100_000, "\0" * 100_000, "\U0001f525" * 100_000, "\ud800"):
            status_file.write(state(last_error=text, database=text))
            assert path.stat().st_size == health.SIZE
            short = health.read(path)
            assert short is not None
            assert len(short.last_error) <= len(text)


def test_there_is_nothing_to_read_where_no_archiver_was(path: Path) -> None:
    assert health.read(path) is None
    assert not health.running(path)
    path.write_text("something else")
    assert health.read(path) is None


def test_a_torn_page_is_no_state(path: Path) -> None:
    with closing(StatusFile(path)) as status_file:
        status_file.write(state(stored=1111))
        old = path.read_bytes()
        status_file.write(state(stored=2222))
        new = path.read_bytes()
    middle = new.index(b"2222") + 2
    path.write_bytes(new[:middle] + old[middle:])
    assert health.read(path) is None


def test_a_reader_never_sees_half_of_two_states(path: Path) -> None:
    """The two ends of the file agree in each reading, however often it is written meanwhile."""
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            status_file.write(state(connected=number, stored=number, last_error="x" * (number % 400)))

    with closing(StatusFile(path)) as status_file:
        status_file.write(state())
        writer = threading.Thread(target=write)
        writer.start()
        states = [health.read(path) for _ in range(500)]
        done.set()
        writer.join()
    whole = [each for each in states if each is not None]
    assert len(whole) > 250
    assert all(each.connected == each.stored for each in whole)


def test_a_second_archiver_is_refused_with_the_pid_of_the_first(path: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(StoreError, match="another archiver already runs for this configuration") as refused:
        StatusFile(path)
    assert f"(pid {other.pid})" in str(refused.value)
    assert health.running(path)


def test_a_killed_archiver_leaves_its_place(path: Path, other: subprocess.Popen[str]) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert not health.running(path)
    with closing(StatusFile(path)):
        assert health.running(path)
    assert not health.running(path)


def test_asking_whether_one_runs_keeps_none_from_starting(path: Path) -> None:
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            health.running(path)
            time.sleep(0.0005)

    path.touch()
    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(200):
            StatusFile(path).close()
    finally:
        done.set()
        asker.join()


def test_a_full_disk_does_not_stop_what_is_there_already(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A limit on the size of files stands for the disk: past it there is no room, below it all goes on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with closing(StatusFile(path)) as status_file:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (health.SIZE, hard))
            status_file.write(state(stored=5))
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
            status_file.write(state(stored=6))
            status_file.write(state(stored=7))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        last = health.read(path)
        assert last is not None
        assert last.stored == 5
        assert [record.message for record in caplog.records if str(path) in record.message] == [
            f"the status file {path} cannot be written: File too large; ARCH:* and rackioc status are out of date"
        ]
        status_file.write(state(stored=8))
        last = health.read(path)
        assert last is not None
        assert last.stored == 8


def test_a_directory_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened: No such file or directory"):
        StatusFile(tmp_path / "nowhere" / "x.status")
