"""A computer whose clock was ahead and is set right while IOC and archiver run: what is known is stored on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from archiver import service
from archiver.sample import Sample, is_gap
from archiver.settings import ArchiveSettings
from archiver.storage.database import open_reader
from archiver.storage.store import StoreError
from bench.rig import loopback
from tests.archiver.processes import Wait
from tests.small_ioc import SmallIoc


class Computer:
    """Its clock, which is ``ahead`` (s)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0
        self.time, self.time_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: self.time() + self.ahead)
        monkeypatch.setattr(time, "time_ns", lambda: self.time_ns() + self.ahead * 10**9)


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    for name, value in loopback.environment().items():
        monkeypatch.setenv(name, value)
    return Computer(monkeypatch)


@pytest.fixture
def ioc(computer: Computer) -> Iterator[SmallIoc]:
    ioc = SmallIoc()
    yield ioc
    ioc.close()


def test_a_clock_that_is_set_right_costs_a_marked_moment_and_no_hour(
    computer: Computer, ioc: SmallIoc, database: str, wait: Wait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    pv, changing, stop = f"{ioc.prefix}ai", threading.Event(), threading.Event()

    def change() -> None:
        value = 0.0
        while not changing.wait(0.1):
            value += 1
            ioc.read("ai", value)

    def rows(since_ns: int, until_ns: int) -> list[Sample]:
        with suppress(StoreError), closing(open_reader(database)) as reader:  # there is none at first
            return list(reader.samples([pv], since_ns, until_ns)) if pv in reader.names() else []
        return []

    def values() -> list[Sample]:
        """What came since the clock was set right."""
        found = rows(right_ns, computer.time_ns())
        return [row for row in found if row.time_ns >= right_ns and not is_gap(row)]

    monkeypatch.chdir(tmp_path)
    later_ns, right_ns = computer.time_ns() + 1800 * 10**9, 0
    settings = ArchiveSettings(database=database, pvs=(pv,))
    threads = [
        threading.Thread(
            target=service.run, args=(settings, Path("rack.yaml"), f"{ioc.prefix}none", ioc.prefix, stop)
        ),
        threading.Thread(target=change),
    ]
    for thread in threads:
        thread.start()
    try:
        wait(lambda: len(rows(0, 2**63 - 1)) > 10)
        computer.ahead = 3600
        wait(lambda: len(rows(later_ns, 2**63 - 1)) > 30)
        ahead = [row for row in rows(later_ns, 2**63 - 1) if row.time_ns >= later_ns]
        right_ns, computer.ahead = computer.time_ns(), 0
        wait(lambda: len(values()) > 30)
    finally:
        changing.set()
        stop.set()
        for thread in threads:
            thread.join()
    assert "was killed" not in caplog.text
    assert "the clock was set back by 3600 s: the archive is gone on with as after a restart" in caplog.text
    first_ns = values()[0].time_ns
    assert first_ns < right_ns + 10 * 10**9
    numbers = [float(str(row.value)) for row in values()]
    assert numbers == [numbers[0] + place for place in range(len(numbers))]
    assert rows(first_ns - 1000, first_ns - 1000)[0].status == "Archive_Off"
    assert set(ahead) <= set(rows(later_ns, 2**63 - 1))


@pytest.mark.parametrize("between_runs", [False, True])
def test_behind_a_clock_that_was_ahead_by_minutes_each_value_is_known_when_it_comes(
    computer: Computer, ioc: SmallIoc, database: str, wait: Wait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    between_runs: bool,
) -> None:  # fmt: skip
    """A setting was put last while the clock was ahead, by less than stamps may be: it is put now and then."""
    pv, stop = f"{ioc.prefix}ao", threading.Event()
    settings = ArchiveSettings(database=database, pvs=(pv,))

    def start() -> threading.Thread:
        stop.clear()
        prefix = ioc.prefix
        run = threading.Thread(target=service.run, args=(settings, Path("rack.yaml"), f"{prefix}none", prefix, stop))
        run.start()
        return run

    def known() -> object:
        with suppress(StoreError), closing(open_reader(database)) as reader:  # there is none at first
            now_ns = computer.time_ns() + computer.ahead * 10**9
            rows = list(reader.samples([pv], now_ns, now_ns)) if pv in reader.names() else []
            return rows[0].value if rows else None
        return None

    def is_known(value: float) -> bool:
        return known() == value

    monkeypatch.chdir(tmp_path)
    computer.ahead = 200
    ioc.read("ao", 1.0)
    archiver = start()
    try:
        wait(partial(is_known, 1.0))
        ioc.read("ao", 2.0)
        wait(partial(is_known, 2.0))
        if between_runs:
            stop.set()
            archiver.join()
        computer.ahead = 0
        if between_runs:
            archiver = start()
        wait(partial(is_known, 2.0))
        for value in (3.0, 4.0):
            ioc.read("ao", value)
            wait(partial(is_known, value))
    finally:
        stop.set()
        archiver.join()
