"""A real IOC (the C softIoc of epicscorelibs) and a real archiver, each a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[2]

IOC = """
import json, os, sys
from epicscorelibs.ioc import ioc, iocshRegisterCommon, start_ioc
if os.path.exists(sys.argv[2]):
    iocshRegisterCommon()
    ioc("asSetFilename " + sys.argv[2])
start_ioc(database=sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    ioc(json.loads(line))
"""

ARCHIVER = """
import json, logging, sys
from pathlib import Path
from archiver.service import main
from archiver.settings import ArchiveSettings
from pydantic import TypeAdapter
logging.basicConfig(level="INFO", stream=sys.stderr)
archive = TypeAdapter(ArchiveSettings).validate_json(sys.argv[1])
sys.exit(main(archive, Path("rack.yaml"), "T:PVS", "T:"))
"""

# Time in ns, value, severity, status
Row = tuple[int, float | str, int, str]


class Wait(Protocol):
    """The fixture ``wait``: wait until a condition holds."""

    def __call__(self, condition: Callable[[], object], seconds: float = 25.0) -> None:
        """Fail if it does not within some seconds."""


class Ioc:
    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._file = directory / "ioc.db"
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def start(self, database: str) -> None:
        self._file.write_text(database)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-c", IOC, str(self._file), str(self._file.with_suffix(".acf"))],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._read(r"ready")

    def put(self, pv: str, value: object) -> None:
        """Return when the record has been processed; a text may be as long as the record holds."""
        self._command(f'dbpf "{pv}" "{value}"')
        self._read(r"^DBF_")

    def stamp_ns(self, pv: str) -> int:
        """The record's own TIME field, printed by the IOC in its (UTC) time zone."""
        self._command(f"dbpr {pv} 2")
        day, clock, fraction = self._read(r"TIME: ?(\S+) (\S+)\.(\d{9})").groups()
        return int(datetime.fromisoformat(f"{day} {clock}").replace(tzinfo=UTC).timestamp()) * 10**9 + int(fraction)

    def freeze(self) -> None:
        """Return when it stands still; ``stop`` ends it also then."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)

    def go_on(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _command(self, line: str) -> None:
        commands = self._running().stdin
        assert commands is not None
        commands.write(json.dumps(line) + "\n")
        commands.flush()

    def _read(self, pattern: str) -> re.Match[str]:
        output = self._running().stdout
        assert output is not None
        for line in output:
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"the IOC ended without printing {pattern!r}")

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "it was not started"
        return self._process


class Archiver:
    """Started and stopped any number of times on one file."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.file = directory / "rack.sqlite"
        self._log = directory / "archiver.log"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> str:
        return f"sqlite:///{self.file}"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self, *patterns: str, **keys: object) -> None:
        """Start it; ``keys`` are further settings under ``archive:``."""
        settings = {"database": self.database, "pvs": patterns, "spool": {"floor": 0}} | keys
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", ARCHIVER, json.dumps(settings)],
                env=self._environment | {"PYTHONPATH": str(ROOT)},
                cwd=self.file.parent,
                stdout=log,
                stderr=log,
            )

    def signal(self, number: signal.Signals) -> int:
        assert self._process is not None, "it was not started"
        self._process.send_signal(number)
        return self._process.wait(10)

    def freeze(self, seconds: float) -> None:
        """Let it stand still for so long."""
        assert self._process is not None, "it was not started"
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to end, and do not wait for that."""
        assert self._process is not None, "it was not started"
        self._process.terminate()

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def rows(self, pv: str) -> list[Row]:
        """Time, value, severity and status, as another program reads them while the archiver writes."""
        if not self.file.exists():
            return []
        with closing(sqlite3.connect(self.file)) as connection:
            if connection.execute("PRAGMA user_version").fetchone() == (0,):
                return []
            return connection.execute(
                """SELECT smpl_time, coalesce(str_val, num_val, float_val), severity_id - 1, status.name
                   FROM sample JOIN channel USING (channel_id) JOIN status USING (status_id)
                   WHERE channel.name = ? ORDER BY smpl_time""",
                (pv,),
            ).fetchall()

    def values(self, pv: str) -> list[float | str]:
        return [value for _, value, _, _ in self.rows(pv)]
