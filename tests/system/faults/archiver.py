"""The archiver's own process, which may be killed and started again."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import psutil
import yaml

from archiver import health
from archiver.health import Health
from tests.archiver.processes import ROOT
from tests.system.faults.counting import NAMES, SLOW
from tests.system.faults.small_disk import SmallDisk

# What there is to read while an archiver has not reported yet
NOTHING = Health(0.0, 0)


class Archiver:
    """``rackioc archive``, started and killed any number of times on one database.

    The database is the file ``file``, in a directory of its own, unless ``database`` is another URL. What lies on
    ``disk`` is seen by the archiver alone under its path.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.file = directory / "data" / "rack.sqlite"
        self.file.parent.mkdir()
        self.database = ""
        self.spool = directory / "rack.spool"
        self.disk: SmallDisk | None = None
        self._config = directory / "rack.yaml"
        self._log = directory / "archiver.log"
        self._environment = {**environment, "PYTHONPATH": str(ROOT)}
        self._names: Sequence[str] = ()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, names: Sequence[str] = NAMES, limit: str = "1GB") -> None:
        """Start it, whether or not there is a database; ``limit`` is that of the spool."""
        self._names = names
        archive = {
            "database": self.database or f"sqlite:///{self.file}",
            "pvs": list(names),
            "spool": {"file": str(self.spool), "floor": 0, "limit": limit},
        }
        self._config.write_text(yaml.safe_dump({"prefix": "T:", "instruments": {}, "archive": archive}))
        wrapper = self.disk.wrapper if self.disk else ()
        command = [*wrapper, sys.executable, "-P", "-m", "rackioc", "archive", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._config.parent, env=self._environment, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        """All that it logged, in all of its runs."""
        return self._log.read_text()

    @property
    def health(self) -> Health:
        """What it reported last, or NOTHING. It must be running."""
        reported = health.read(self._seen(self.spool.with_name(f"{self.spool.name}.status")))
        return reported if reported and reported.pid == self._running().pid else NOTHING

    @property
    def spooled(self) -> int:
        """Samples in the spool now, which is later than its last report."""
        with closing(sqlite3.connect(self.spool)) as spool:
            return int(spool.execute("SELECT coalesce(sum(count), 0) FROM batch").fetchone()[0])

    @property
    def memory(self) -> int:
        """Its resident memory in bytes."""
        return int(psutil.Process(self._running().pid).memory_info().rss)

    def wait(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait for a condition; the archiver must run on meanwhile."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; {self.health}\n{self.log[-3000:]}"
            self._running()
            time.sleep(0.05)

    def wait_connected(self) -> None:
        """Wait until it is connected to all PVs."""
        self.wait(lambda: self.health.connected == len(self._names))

    def wait_stored(self) -> None:
        """Wait until it reports that the database is in use and that nothing waits in the spool."""
        began = time.time()

        def stored() -> bool:
            report = self.health
            return report.time > began and report.database == "ok" and report.stored > 0 and not report.spool_rows

        self.wait(stored)

    def wait_samples(self, seconds: float) -> None:
        """Wait until it has stored what comes in so many seconds."""
        begin = self.health.stored
        self.wait(lambda: self.health.stored >= begin + seconds * len(SLOW))

    def kill(self) -> int:
        """``kill -9``; returns the time in ns."""
        process = self._running()
        process.kill()
        killed_ns = time.time_ns()
        process.wait()
        return killed_ns

    def stop(self) -> int:
        """Stop it in order, which stores all that has come; returns the time in ns of the signal."""
        process = self._running()
        stopped_ns = time.time_ns()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, self.log
        assert "Traceback" not in self.log
        return stopped_ns

    def copy(self) -> Path:
        """Copy the database file out of its disk, once the archiver has stopped."""
        return Path(shutil.copy(self._seen(self.file), self._config.with_name("copy.sqlite")))

    def abandon(self) -> None:
        """End it at the end of a test, however that went."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not started"
        assert self._process.poll() is None, f"it ended by itself:\n{self.log[-3000:]}"
        return self._process

    def _seen(self, file: Path) -> Path:
        return self.disk.seen(file) if self.disk and file.is_relative_to(self.disk.path) else file
