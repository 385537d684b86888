from __future__ import annotations

import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from archiver.sample import Sample
from archiver.storage import manage
from archiver.storage.database import open_store
from archiver.storage.store import StoreError
from tests.archiver.keeping.archives import START, contents
from tests.archiver.keeping.commands import run, start
from tests.archiver.keeping.conftest import New
from tests.archiver.keeping.test_copy import KINDS


def emptied(database: str, pvs: int = 200, count: int = 500) -> None:
    """An archive of which most rows were deleted."""
    with closing(open_store(database)) as store:
        store.add(
            [Sample(f"P{pv}", START + n * 10**9, n / 7, 0, "NO_ALARM") for n in range(count) for pv in range(pvs)]
        )
        for pv in range(pvs):
            while store.expire(f"P{pv}", START + count * 10**9):
                pass


def test_a_file_gives_its_free_space_back(new: New, tmp_path: Path) -> None:
    here = new("sqlite")
    emptied(here)
    before, size = contents(here), Path(here.removeprefix("sqlite:///")).stat().st_size
    code, text = run("compact", "--database", here, directory=tmp_path)
    assert code == 0, text
    assert Path(here.removeprefix("sqlite:///")).stat().st_size < size / 4
    assert contents(here) == before


@pytest.mark.parametrize("kind", KINDS)
def test_an_archiver_beside_it_loses_nothing(new: New, kind: str) -> None:
    here = new(kind)
    emptied(here)
    stop, stored, failed = threading.Event(), [], []

    def archive() -> None:
        with closing(open_store(here)) as store:
            number = 0
            while not stop.is_set():
                sample = Sample("LIVE", time.time_ns(), float(number), 0, "NO_ALARM")
                try:
                    store.add([sample])
                except StoreError as error:
                    failed.append(error)  # an archiver spools, and sends it again
                else:
                    stored.append(sample.value)
                    number += 1

    thread = threading.Thread(target=archive)
    thread.start()
    try:
        while len(stored) < 20:
            time.sleep(0.01)
        manage.compact(here)
        count = len(stored)
        while len(stored) < count + 20:
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join()
    live = [row[5] for row in contents(here)["rows"] if row[0][1] == "LIVE"]
    assert live == stored


def test_a_compaction_that_is_killed_changes_nothing(new: New, tmp_path: Path) -> None:
    here = new("sqlite")
    emptied(here, 300, 600)
    before = contents(here)
    for pause in (0.0, 0.02, 0.1, 0.3):
        process = start("compact", "--database", here, directory=tmp_path)
        time.sleep(0.7 + pause)  # wherever it is then
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert contents(here) == before
    manage.compact(here)
    assert contents(here) == before
