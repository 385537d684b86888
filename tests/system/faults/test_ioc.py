"""What may happen to an IOC: it is frozen, started again, its clock steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.health import Cause
from archiver.sample import Gap
from tests.archiver.processes import Ioc
from tests.system.faults.archiver import Archiver
from tests.system.faults.counting import STEPPING, counters, period_ns
from tests.system.faults.rows import SqliteFile, gaps, rows_of, stretches

SLACK_NS = 5 * 10**8
CONNECT_NS = 3 * 10**9


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """A silent IOC counts as lost after 2 s instead of 30 s."""
    return environment | {"EPICS_CA_CONN_TMO": "2"}


def test_a_frozen_ioc_is_a_gap_that_heals(ioc: Ioc, archiver: Archiver) -> None:
    freeze(ioc, archiver, seconds=2)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_an_ioc_frozen_for_40_s_is_a_gap_that_heals_with_the_defaults_of_channel_access(
    environment: dict[str, str], ioc: Ioc, tmp_path: Path
) -> None:
    del environment["EPICS_CA_CONN_TMO"]
    archiver = Archiver(tmp_path, environment)
    try:
        freeze(ioc, archiver, seconds=40)
    finally:
        archiver.abandon()


def freeze(ioc: Ioc, archiver: Archiver, seconds: float) -> None:
    archiver.start()
    archiver.wait_samples(2)
    ioc.freeze()
    frozen_ns = time.time_ns()
    time.sleep(seconds)
    archiver.wait(lambda: archiver.health.connected == 0)
    ioc.go_on()
    archiver.wait_connected()
    archiver.wait_samples(2)
    archiver.stop()
    for name, parts in stretches(SqliteFile(archiver.file)).items():
        assert gaps(parts) == [Gap.DISCONNECTED, Gap.ARCHIVE_OFF]
        assert parts[0].times_ns[-1] < frozen_ns + SLACK_NS < parts[0].gap_ns
        assert parts[1].numbers[0] - parts[0].numbers[-1] <= CONNECT_NS // period_ns(name)


@pytest.mark.slow
def test_an_ioc_that_is_started_again_is_a_gap_that_heals(ioc: Ioc, archiver: Archiver) -> None:
    archiver.start()
    archiver.wait_samples(2)
    ioc.stop()
    archiver.wait(lambda: archiver.health.connected == 0)
    ioc.start(counters(first=1000))
    archiver.wait_connected()
    archiver.wait_samples(2)
    archiver.stop()
    for parts in stretches(SqliteFile(archiver.file)).values():
        assert gaps(parts) == [Gap.DISCONNECTED, Gap.ARCHIVE_OFF]
        assert parts[1].numbers[0] >= 1000


@pytest.mark.slow
def test_steps_of_the_iocs_clock_are_counted_sample_by_sample(
    step: Callable[[float], None], archiver: Archiver
) -> None:
    def wait_rejected(cause: Cause) -> None:
        archiver.wait(lambda: archiver.health.rejected.get(cause, 0) >= 3 * len(STEPPING))

    archiver.start(STEPPING)
    archiver.wait_samples(3)
    for seconds, cause in ((3600, Cause.FUTURE), (-3600, Cause.BACKWARDS)):
        step(seconds)
        wait_rejected(cause)
        step(0)
        archiver.wait_samples(3)
    rejected = archiver.health.rejected
    archiver.stop()
    missing = 0
    for own in rows_of(SqliteFile(archiver.file), STEPPING).values():
        values = [value for _, value in own]
        numbers = [value for value in values if not isinstance(value, str)]
        marks = [value for value in values if isinstance(value, str)]
        assert marks == [Gap.REJECTED_FUTURE, Gap.REJECTED_BACKWARDS, Gap.ARCHIVE_OFF]
        assert numbers == sorted(set(numbers))
        missing += int(numbers[-1] - numbers[0]) + 1 - len(numbers)
    assert missing == sum(rejected.values())
