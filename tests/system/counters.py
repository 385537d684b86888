"""2,000 PVs that count up by one a second, archived to a MariaDB server: a missing row is a missing number."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil
import pymysql
import pytest
import yaml

from archiver import health
from bench.rig.mariadb import Server
from tests.archiver.processes import Ioc

PVS = 2000
OFF = "Archive_Off"

_ROWS = """
    SELECT channel_id, UNIX_TIMESTAMP(smpl_time), float_val, str_val FROM sample
    ORDER BY channel_id, smpl_time, nanosecs"""

_NEWEST = "SELECT UNIX_TIMESTAMP(MAX(smpl_time)) FROM sample WHERE float_val IS NOT NULL"


class Run(NamedTuple):
    """Of one PV, what one run of the archiver stored. ended: when its Archive_Off says so (seconds since 1970)."""

    times: list[float]
    numbers: list[float]
    ended: float


class Rig:
    """The IOC with its counters, and an archiver that may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ioc = Ioc(folder, dict(os.environ))
        self._process: subprocess.Popen[bytes] | None = None

    def start_ioc(self) -> None:
        record = 'record(calc, "{}") {{ field(CALC, "VAL+1") field(SCAN, "1 second") field(PINI, "YES") }}\n'
        self._ioc.start("".join(record.format(name) for name in _names()))

    def start(self, database: str) -> None:
        """The archiver."""
        archive = {"database": database, "pvs": _names(), "spool": {"floor": 0}}
        config = {"prefix": "T:", "instruments": {}, "archive": archive}
        (self._folder / "rack.yaml").write_text(yaml.safe_dump(config))
        with (self._folder / "log").open("ab") as log:
            command = [sys.executable, "-P", "-m", "rackioc", "archive", "rack.yaml"]
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        self.wait(lambda: self.health.pid == self._process.pid and self.health.connected == PVS)

    def kill9(self) -> float:
        """When it was killed."""
        killed = time.time()
        self._end(signal.SIGKILL)
        return killed

    def stop(self) -> float:
        """In order, so that what was stored must be all that came until then; when."""
        stopped = time.time()
        assert self._end(signal.SIGTERM) == 0, self.log
        return stopped

    def close(self) -> None:
        self._end(signal.SIGKILL)
        self._ioc.stop()

    @property
    def health(self) -> health.Health:
        return health.read(self._folder / "rack.spool.status") or health.Health(0.0, 0)

    @property
    def spooled(self) -> int:
        """Samples in the spool, now and not when the archiver told last."""
        with closing(sqlite3.connect(self._folder / "rack.spool")) as spool:
            return spool.execute("SELECT coalesce(sum(count), 0) FROM batch").fetchone()[0]

    @property
    def memory(self) -> int:
        """Bytes."""
        return psutil.Process(self._process.pid).memory_info().rss

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def wait(self, condition: Callable[[], object], seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; {self.health}\n{self.log[-3000:]}"
            assert self._process is None or self._process.poll() is None, self.log[-3000:]
            time.sleep(0.05)

    def wait_stored(self) -> None:
        """Until the database is in use, with nothing left behind."""
        began = time.time()
        self.wait(lambda: self._told_since(began).database == "ok" and self.health.stored and not self.spooled)

    def _told_since(self, when: float) -> health.Health:
        return self.health if self.health.time > when else health.Health(0.0, 0)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        return self._process.wait(40)


class Table:
    """What another program sees in an archive's tables."""

    def __init__(self, server: Server, database: str) -> None:
        self._server = server
        self._database = database

    def runs(self) -> list[list[Run]]:
        """Of each PV, in the order of time. Anything but numbers and Archive_Off is wrong."""
        pvs: dict[int, list[Run]] = {}
        times, numbers = [], []
        for channel, when, number, word in self._ask(_ROWS):
            if word is None:
                times.append(float(when))
                numbers.append(number)
            else:
                assert word == OFF
                pvs.setdefault(channel, []).append(Run(times, numbers, float(when)))
                times, numbers = [], []
        assert not times, "a run has no end"
        return list(pvs.values())

    def newest(self) -> float:
        """Time of the newest number of all; 0 while the server does not answer, or there is none."""
        try:
            ((newest,),) = self._ask(_NEWEST)
        except pymysql.Error:
            return 0.0
        return float(newest or 0)

    def _ask(self, sql: str) -> list[tuple]:
        return self._server.execute("SET time_zone = '+00:00'", sql, database=self._database)


def check_complete(table: Table, stopped: float) -> None:
    """Nothing missing, nothing twice, from the beginning to the archiver's end."""
    pvs = table.runs()
    assert [len(runs) for runs in pvs] == [1] * PVS
    for (run,) in pvs:
        check_consecutive(run)
        assert stopped - 3 < run.times[-1] < run.ended


def check_consecutive(run: Run) -> None:
    first = run.numbers[0]
    assert run.numbers == [first + step for step in range(len(run.numbers))]


def _names() -> list[str]:
    return [f"T:C{number:04}" for number in range(PVS)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """The IOC runs, the archiver not yet."""
    rig = Rig(tmp_path)
    try:
        rig.start_ioc()
        yield rig
    finally:
        rig.close()
