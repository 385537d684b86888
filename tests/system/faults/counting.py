"""An IOC whose PVs count, the archiver's own process, and what its file must hold: a lost row is a missing number.

Two thousand PVs change once a second; a few do ten times a second, and tell to a tenth of a second what is missing.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

from archiver import health
from archiver.health import Health
from archiver.sample import Gap
from tests.archiver.processes import ROOT
from tests.system.faults.small_disk import SmallDisk

SLOW = [f"T:C{number:04}" for number in range(2000)]
FAST = [f"T:F{number}" for number in range(10)]
NAMES = SLOW + FAST
STEPPING = [f"T:S{number}" for number in range(2000)]
"""Of the IOC whose clock steps."""

Row = tuple[int, float | str]
"""Time in ns, and a number or the word of a gap."""

GAPS = frozenset(Gap)


def counters(first: int = 0, scan: str = "1 second") -> str:
    """The records of a softIoc, which begin to count here."""
    scans = dict.fromkeys(SLOW, scan) | dict.fromkeys(FAST, ".1 second")
    return "\n".join(
        f'record(calc, "{name}") {{ field(CALC, "VAL+1") field(VAL, "{first}") field(SCAN, "{scan}") }}'
        for name, scan in scans.items()
    )


def period_ns(name: str) -> int:
    return 10**8 if name in FAST else 10**9


def wait(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class Archiver:
    """`rackioc archive`, started and killed any number of times; its database is in a directory of its own.

    What lies on a small disk it alone sees by its path.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.file = directory / "data" / "rack.sqlite"
        self.file.parent.mkdir()
        self.disk: SmallDisk | None = None
        self._config = directory / "rack.yaml"
        self._log = directory / "archiver.log"
        self._environment = {**environment, "PYTHONPATH": str(ROOT)}
        self._process: subprocess.Popen[bytes] | None = None
        self.spool = directory / "rack.spool"

    def start(self, names: Sequence[str] = NAMES, limit: str = "1GB") -> None:
        """Whether or not there is a database; `limit` is that of the spool."""
        archive = {
            "database": f"sqlite:///{self.file}",
            "pvs": list(names),
            "spool": {"file": str(self.spool), "floor": 0, "limit": limit},
        }
        gen = {"driver": "technix", "port": "/dev/null", "full_scale": {"voltage_kv": 1, "current_ma": 1}}
        self._config.write_text(yaml.safe_dump({"prefix": "T:", "instruments": {"GEN": gen}, "archive": archive}))
        wrapper = self.disk.wrapper if self.disk else ()
        command = [*wrapper, sys.executable, "-P", "-m", "rackioc", "archive", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._config.parent, env=self._environment, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def health(self) -> Health:
        """What it tells of itself; nothing while it begins."""
        told = health.read(self._seen(self.spool.with_name(f"{self.spool.name}.status")))
        assert self._process is not None
        assert self._process.poll() is None, self.log
        return told if told and told.pid == self._process.pid else Health(0, 0)

    def spooled(self) -> int:
        """What waits in the spool once it runs."""
        wait(lambda: self.health.total == len(NAMES))
        return self.health.spool_rows

    def stores(self, seconds: float) -> None:
        """Wait until it has stored what came in so many seconds."""
        begin = self.health.stored
        wait(lambda: self.health.stored >= begin + seconds * len(SLOW))

    def kill(self) -> int:
        """`kill -9`; the time in ns."""
        assert self._process is not None
        self._process.kill()
        killed_ns = time.time_ns()
        self._process.wait()
        return killed_ns

    def stop(self) -> None:
        """In order, which stores all that has come."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) == 0, self.log
        assert "Traceback" not in self.log

    def fetch(self) -> Path:
        """A copy of the database, when it has stopped."""
        copy = self._config.with_name("copy.sqlite")
        shutil.copy(self._seen(self.file), copy)
        return copy

    def _seen(self, file: Path) -> Path:
        return self.disk.seen(file) if self.disk and file.is_relative_to(self.disk.path) else file

    def abandon(self) -> None:
        """At the end of a test, however it went."""
        if self._process is not None and self._process.poll() is None:
            self.kill()


@dataclass(frozen=True)
class Stretch:
    """Rows of a PV between two gaps: times in ns, and numbers; and the gap that ends it."""

    times_ns: list[int]
    numbers: list[int]
    gap: str = ""
    gap_ns: int = 0


def rows_of(file: Path, names: Sequence[str] = NAMES) -> dict[str, list[Row]]:
    """What the file holds of each PV. It must be sound, and in order of time."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute(
            "SELECT name, smpl_time, coalesce(str_val, float_val) FROM sample JOIN channel USING (channel_id) "
            "ORDER BY name, smpl_time"
        ).fetchall()
    of: dict[str, list[Row]] = {name: [] for name in names}
    for name, time_ns, value in rows:
        of[name].append((time_ns, value))
    for name, own in of.items():
        assert all(before[0] < after[0] for before, after in pairwise(own)), f"{name}: twice at the same time"
    return of


def stretches(file: Path) -> dict[str, list[Stretch]]:
    """The same from gap to gap. It must hold nothing twice, and of each stretch all."""
    found = {name: list(_split(rows)) for name, rows in rows_of(file).items()}
    for name, parts in found.items():
        _check(name, parts)
    return found


def _split(rows: Sequence[Row]) -> Iterator[Stretch]:
    times_ns: list[int] = []
    numbers: list[int] = []
    for time_ns, value in rows:
        if value in GAPS:
            yield Stretch(times_ns, numbers, str(value), time_ns)
            times_ns, numbers = [], []
        else:
            times_ns.append(time_ns)
            numbers.append(int(value))
    if numbers:
        yield Stretch(times_ns, numbers)


def _check(name: str, parts: Sequence[Stretch]) -> None:
    for part in parts:
        assert part.numbers, f"{name}: a gap right after a gap: {parts}"
        whole = list(range(part.numbers[0], part.numbers[-1] + 1))
        assert part.numbers == whole, f"{name}: missing or twice: {_faults(part.numbers)}"
    for before, after in pairwise(parts):
        assert before.numbers[-1] <= after.numbers[0], f"{name}: twice, before and after {before.gap}"


def _faults(numbers: Sequence[int]) -> list[tuple[int, int]]:
    return [(before, after) for before, after in pairwise(numbers) if after != before + 1]


def gaps(parts: Sequence[Stretch]) -> list[str]:
    return [part.gap for part in parts]


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Nobody else can write to the database meanwhile."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
