"""Two archivers on one server, as they run: each a process, against one IOC."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from archiver.sample import Gap, Sample, is_gap
from archiver.storage.database import open_reader
from archiver.storage.manage import init
from tests.archiver.processes import Archiver, Ioc, Wait

RECORDS = """
record(calc, "T:Ticks") { field(CALC, "VAL+1") field(SCAN, ".1 second") field(PINI, "YES") }
record(ai, "T:One") { field(VAL, "1.5") field(PINI, "YES") }
record(ai, "T:Two") { field(VAL, "2.5") field(PINI, "YES") }
"""


@pytest.fixture
def pair(tmp_path: Path, environment: dict[str, str]) -> Iterator[list[Archiver]]:
    """Two computers; both have a configuration of the same name."""
    archivers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        archivers.append(Archiver(tmp_path / name, environment))
    yield archivers
    for archiver in archivers:
        archiver.stop()


def read(database: str, pv: str) -> list[Sample]:
    with closing(open_reader(database)) as reader:
        return list(reader.samples([pv], 0, 2**63 - 1)) if pv in reader.names() else []


def values(database: str, pv: str) -> list[object]:
    return [sample.value for sample in read(database, pv)]


def test_two_that_keep_the_same_pv_leave_each_others_rows_alone_and_are_read_as_one(
    ioc: Ioc, pair: list[Archiver], mysql_database: str, wait: Wait
) -> None:
    init(mysql_database)
    ioc.start(RECORDS)
    one, two = pair

    def start(archiver: Archiver, name: str, own: str) -> None:
        archiver.start(own, "T:Ticks", database=mysql_database, name=name)

    start(one, "rack1", "T:One")
    start(two, "rack2", "T:Two")
    wait(lambda: values(mysql_database, "T:One") == [1.5] and values(mysql_database, "T:Two") == [2.5])
    wait(lambda: len(read(mysql_database, "T:Ticks")) > 20)
    one.signal(signal.SIGKILL)
    killed_ns = time.time_ns()
    time.sleep(1)
    start(one, "rack1", "T:One")
    wait(lambda: values(mysql_database, "T:One") == [1.5, Gap.ARCHIVE_OFF, 1.5])
    assert read(mysql_database, "T:One")[1].time_ns <= killed_ns
    wait(lambda: read(mysql_database, "T:Ticks")[-1].time_ns > time.time_ns() - 2 * 10**9)
    two.signal(signal.SIGTERM)
    wait(lambda: read(mysql_database, "T:Ticks")[-1].time_ns > time.time_ns() - 2 * 10**9)
    one.signal(signal.SIGTERM)
    assert values(mysql_database, "T:Two") == [2.5, Gap.ARCHIVE_OFF]
    *ticks, last = read(mysql_database, "T:Ticks")
    assert is_gap(last)
    numbers = [sample.value for sample in ticks if isinstance(sample.value, float)]
    assert len(numbers) == len(ticks)
    steps = {after - before for before, after in pairwise(numbers)}
    assert steps <= {0.0, 1.0}  # where one takes over from the other, a value may stand twice


def test_two_of_one_name_are_told_and_nothing_is_lost(
    ioc: Ioc, pair: list[Archiver], mysql_database: str, wait: Wait
) -> None:
    init(mysql_database)
    ioc.start(RECORDS)
    one, two = pair
    one.start("T:One", database=mysql_database)
    wait(lambda: values(mysql_database, "T:One") == [1.5])
    two.start("T:Two", database=mysql_database)
    wait(lambda: "an archiver named T:rack runs already" in two.log)
    assert "samples wait in rack.spool" in two.log
    one.signal(signal.SIGTERM)
    wait(lambda: values(mysql_database, "T:Two") == [2.5])
