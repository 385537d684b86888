"""``kill -9`` of the archiver: the last commit period may be missing, and is marked."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from archiver.sample import Gap
from tests.archiver.processes import Ioc
from tests.system.faults.archiver import Archiver
from tests.system.faults.counting import NAMES, STEPPING, period_ns
from tests.system.faults.rows import GAPS, SqliteFile, gaps, locked, rows_of, stretches
from tests.system.faults.small_disk import SmallDisk

SLACK_NS = 5 * 10**8
COMMIT_NS = 10**9


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(400)])])
def test_kill_9_costs_the_last_commit_period_and_is_marked(ioc: Ioc, archiver: Archiver, kills: int) -> None:
    killed_ns = []
    for number in range(kills):
        archiver.start()
        archiver.wait_samples(2)
        time.sleep(number / kills)  # at any moment between two commits
        killed_ns.append(archiver.kill())
    archiver.start()
    archiver.wait_samples(2)
    archiver.stop()
    for name, parts in stretches(SqliteFile(archiver.file)).items():
        assert gaps(parts) == [Gap.ARCHIVE_OFF] * (kills + 1)
        for part, end_ns in zip(parts, killed_ns, strict=False):
            assert end_ns - part.times_ns[-1] < COMMIT_NS + period_ns(name) + SLACK_NS
            assert part.gap_ns <= end_ns


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("kills", [1, 3])
def test_kill_9_while_the_database_is_away_is_marked_where_it_was(ioc: Ioc, archiver: Archiver, kills: int) -> None:
    def wait_spooled(count: int) -> None:
        archiver.wait(lambda: archiver.health.spool_rows >= count)

    archiver.start()
    archiver.wait_samples(2)
    killed_ns = []
    with locked(archiver.file):
        for number in range(kills):
            wait_spooled(6 * len(NAMES))
            time.sleep(0.9 + number / kills)  # at any moment between two of its waits for the database
            killed_ns.append(archiver.kill())
            archiver.start()
            wait_spooled(archiver.spooled + 3 * len(NAMES))
    archiver.wait_stored()
    archiver.stop()
    for name, parts in stretches(SqliteFile(archiver.file)).items():
        assert gaps(parts) == [Gap.ARCHIVE_OFF] * (kills + 1)
        for part, end_ns in zip(parts, killed_ns, strict=False):
            assert end_ns - part.times_ns[-1] < COMMIT_NS + period_ns(name) + SLACK_NS
            assert part.gap_ns <= end_ns


@pytest.mark.slow
def test_kill_9_on_a_full_disk(disk: SmallDisk, ioc: Ioc, archiver: Archiver) -> None:
    archiver.disk, archiver.file, archiver.spool = disk, disk.path / "rack.sqlite", disk.path / "rack.spool"
    archiver.start()
    archiver.wait_samples(2)
    disk.fill()
    archiver.wait(lambda: archiver.health.database == "away")
    archiver.kill()
    archiver.start()
    archiver.wait(lambda: archiver.health.queue + archiver.health.spool_rows >= 3 * len(NAMES))
    disk.free()
    archiver.wait_stored()
    archiver.stop()
    for parts in stretches(SqliteFile(archiver.copy())).values():
        assert gaps(parts) == [Gap.ARCHIVE_OFF] * 2


@pytest.mark.slow
def test_kill_9_is_marked_also_where_an_iocs_clock_is_ahead(
    step: Callable[[float], None], archiver: Archiver
) -> None:
    step(200)
    archiver.start(STEPPING)
    archiver.wait_samples(3)
    archiver.kill()
    archiver.start(STEPPING)
    archiver.wait_samples(3)
    archiver.stop()
    for own in rows_of(SqliteFile(archiver.file), STEPPING).values():
        assert [value for _, value in own if value in GAPS] == [Gap.ARCHIVE_OFF] * 2
