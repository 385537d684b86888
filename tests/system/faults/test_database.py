"""What may happen to the file: it is not there, locked, held by a reader, its disk is full. Nothing is lost."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from itertools import pairwise

import pytest

from archiver.recording import queue
from archiver.sample import Gap
from tests.archiver.processes import Ioc
from tests.system.faults.archiver import Archiver
from tests.system.faults.counting import NAMES, counters
from tests.system.faults.rows import SqliteFile, gaps, locked, stretches
from tests.system.faults.small_disk import SmallDisk

WAL_LIMIT = 64 * 2**20


def test_a_database_whose_directory_is_missing_at_the_start_gets_all(ioc: Ioc, archiver: Archiver) -> None:
    archiver.file.parent.rmdir()
    archiver.start()
    archiver.wait(lambda: archiver.health.spool_rows >= 3 * len(NAMES))
    assert archiver.health.database == "away"
    assert "is its directory there" in archiver.health.last_error
    archiver.file.parent.mkdir()
    archiver.wait_stored()
    archiver.stop()
    for parts in stretches(SqliteFile(archiver.file)).values():
        assert gaps(parts) == [Gap.ARCHIVE_OFF]


@pytest.mark.slow
def test_a_database_that_is_locked_at_the_start_gets_all(ioc: Ioc, archiver: Archiver) -> None:
    with locked(archiver.file):
        archiver.start()
        archiver.wait(lambda: archiver.health.spool_rows >= 8 * len(NAMES))
        assert "another program has been writing" in archiver.health.last_error
    archiver.wait_stored()
    archiver.stop()
    for parts in stretches(SqliteFile(archiver.file)).values():
        assert gaps(parts) == [Gap.ARCHIVE_OFF]


def test_a_full_disk_costs_nothing_while_there_is_memory(disk: SmallDisk, ioc: Ioc, archiver: Archiver) -> None:
    archiver.disk, archiver.file, archiver.spool = disk, disk.path / "rack.sqlite", disk.path / "rack.spool"
    archiver.start()
    archiver.wait_samples(2)
    disk.fill()
    archiver.wait(lambda: archiver.health.queue + archiver.health.spool_rows >= 5 * len(NAMES))
    told = archiver.health
    assert (told.database, told.connected, told.lost) == ("away", len(NAMES), 0)
    assert told.age < 5
    assert told.disk_free < 4096
    assert "full" in told.last_error
    disk.free()
    archiver.wait_stored()
    archiver.wait_samples(1)
    archiver.stop()
    for parts in stretches(SqliteFile(archiver.copy())).values():
        assert gaps(parts) == [Gap.ARCHIVE_OFF]


@pytest.mark.slow
def test_a_full_disk_of_the_spool_costs_nothing_either(disk: SmallDisk, ioc: Ioc, archiver: Archiver) -> None:
    """What was spooled can be read but not deleted there, when the database is back."""
    archiver.disk, archiver.spool = disk, disk.path / "rack.spool"
    archiver.start()
    archiver.wait_samples(2)
    with locked(archiver.file):
        archiver.wait(lambda: archiver.health.spool_rows >= len(NAMES))
        disk.fill()
        archiver.wait(lambda: archiver.health.queue >= 3 * len(NAMES))
    archiver.wait_samples(2)
    assert "what waits in it is stored later" in archiver.log
    disk.free()
    archiver.wait(lambda: not archiver.health.spool_rows)
    archiver.stop()
    for parts in stretches(SqliteFile(archiver.file)).values():
        assert gaps(parts) == [Gap.ARCHIVE_OFF]


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_reader_that_holds_a_transaction_harms_no_one(ioc: Ioc, archiver: Archiver) -> None:
    """20,000 samples a second, until what the reader holds would be more than may stay."""
    ioc.stop()
    ioc.start(counters(scan=".1 second"))
    archiver.start()
    archiver.wait_samples(20)
    wal = archiver.file.with_name("rack.sqlite-wal")
    lags = []
    with closing(sqlite3.connect(archiver.file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        (before,) = reader.execute("SELECT count(*) FROM sample").fetchone()
        while wal.stat().st_size < 1.5 * WAL_LIMIT:
            time.sleep(0.5)
            lags.append(archiver.health.lag)
        assert reader.execute("SELECT count(*) FROM sample").fetchone() == (before,)
        reader.execute("ROLLBACK")
    archiver.wait(lambda: wal.stat().st_size < 1.1 * WAL_LIMIT)
    archiver.wait_samples(20)
    lags.append(archiver.health.lag)
    assert max(lags) < 2
    archiver.stop()
    for parts in stretches(SqliteFile(archiver.file)).values():
        assert gaps(parts) == [Gap.ARCHIVE_OFF]


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_without_room_in_memory_the_loss_is_counted_and_marked(ioc: Ioc, archiver: Archiver) -> None:
    """20,000 samples a second: a full memory is not waited for so long."""
    ioc.stop()
    ioc.start(counters(scan=".1 second"))
    archiver.start(limit="1B")
    archiver.wait_samples(20)
    held = []
    with locked(archiver.file):
        while archiver.health.lost < 10 * len(NAMES):
            time.sleep(0.5)
            held.append(archiver.health.queue)
    archiver.wait(lambda: archiver.health.database == "ok")
    archiver.wait_samples(20)
    lost = archiver.health.lost
    archiver.stop()
    assert max(held) <= queue.LIMIT
    missing = 0
    for parts in stretches(SqliteFile(archiver.file)).values():
        assert set(gaps(parts)) == {Gap.OVERRUN, Gap.ARCHIVE_OFF}
        missing += sum(after.numbers[0] - before.numbers[-1] - 1 for before, after in pairwise(parts))
    assert missing == lost
