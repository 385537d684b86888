"""Real processes and a real Channel Access client (libca, by aioca) on loopback, away from any other IOC."""

from __future__ import annotations

import itertools
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim import control


@dataclass
class Ioc:
    """A running ``rackioc``."""

    prefix: str
    folder: Path
    process: subprocess.Popen[bytes]
    log: Path
    control: Path
    started: float = field(default_factory=time.time)

    def __call__(self, name: str) -> str:
        return self.prefix + name

    def fault(self, line: str) -> str:
        """Ask a fake instrument for something."""
        return control.send(str(self.control), line)

    def logged(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def archived(self, name: str) -> list[tuple[Any, ...]]:
        """The rows of a PV in its archive so far: pv, time, value, unit, severity, status."""
        try:
            with closing(sqlite3.connect(f"file:{self.folder / 'rack.sqlite'}?mode=ro", uri=True)) as archive:
                return archive.execute("SELECT * FROM history WHERE name = ?", [self(name)]).fetchall()
        except sqlite3.OperationalError:  # there is no file yet, or no table
            return []

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Stop it; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)


_numbers = itertools.count(1)

# The two ways in which the command is started
MODULE = (sys.executable, "-P", "-m", "rackioc")
SCRIPT = (str(Path(sys.executable).with_name("rackioc")),)

GENERATOR = {
    "driver": "technix",
    "full_scale": {"voltage_kv": 100, "current_ma": 50},
    "limits": {"voltage_kv": 60, "current_ma": 20},
    "polarity": "negative",
}
LOGGER = {"driver": "se521", "serial": "A1234"}
CRATE = {
    "driver": "caen",
    "system": "SY4527",
    "link": "TCPIP",
    "host": "crate",
    "username": "admin",
    "password": "${TEST_PASSWORD}",
}


# ways in which a serial line or a USB device is lost, what ends each, and the alarm status that it may show
losses = pytest.mark.parametrize(
    ("fault", "cure", "statuses"),
    [
        ("mute", "unmute", {"TIMEOUT"}),
        ("garbage 1000", "garbage 0", {"READ", "TIMEOUT"}),
        ("unplug", "plug", {"COMM"}),
    ],
)


class Racks:
    """Starts simulated racks, each in its own folder and with its own prefix.

    The folders are where simulations have their files: what is configured there is served as it stands.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / f"rackioc-{os.getuid()}"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._environment = {**os.environ, "TEST_PASSWORD": "geheim42", "TMPDIR": str(folder)}
        self.running: list[Ioc] = []

    def start(self, instruments: dict[str, dict[str, Any]], command: str = "sim run", **sections: Any) -> Ioc:
        """Serve instruments (by name: their keys) and wait until clients can connect."""
        return self.launch(*self.prepare(instruments, **sections), command)

    def prepare(self, instruments: dict[str, dict[str, Any]], **sections: Any) -> tuple[Path, str]:
        """Make a folder with a rack.yaml; returns it and the prefix of the PVs."""
        number = next(_numbers)
        prefix = f"T{os.getpid()}x{number}:"
        folder = self._folder / f"rack{number}"
        folder.mkdir()
        keys = {name: dict(own) for name, own in instruments.items()}
        for name, own in keys.items():
            if own["driver"] == "technix":
                own.setdefault("port", str(folder / name))
        config = {"prefix": prefix, "instruments": keys, **sections}
        text = yaml.safe_dump(config, sort_keys=False).replace("PREFIX:", prefix)
        (folder / "rack.yaml").write_text(text)
        return folder, prefix

    def launch(self, folder: Path, prefix: str, command: str = "sim run", program: Sequence[str] = MODULE) -> Ioc:
        """Start ``rackioc`` in a folder with a rack.yaml (again)."""
        log = folder / f"log{len(self.running)}"
        arguments = [*program, *command.split(), "rack.yaml"]
        if command.startswith("sim"):
            arguments += ["--control-path", "control"]
        with log.open("wb") as out:
            process = subprocess.Popen(arguments, cwd=folder, env=self._environment, stdout=out, stderr=out)
        ioc = Ioc(prefix, folder, process, log, folder / "control")
        self.running.append(ioc)
        deadline = time.monotonic() + 20
        while not re.search(r"serving \d+ records", ioc.logged()):
            assert process.poll() is None, ioc.logged()
            assert time.monotonic() < deadline, ioc.logged()
            time.sleep(0.02)
        return ioc


@pytest.fixture(scope="module")
def racks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Racks]:
    """Starts racks; what still runs at the end of the module is stopped and must stop in order."""
    racks = Racks(tmp_path_factory.mktemp("racks"))
    yield racks
    codes = {ioc.folder.name: ioc.stop() for ioc in racks.running if ioc.process.poll() is None}
    assert not [name for name, code in codes.items() if code], codes
    for ioc in racks.running:
        assert "Traceback" not in ioc.logged(), ioc.logged()
        assert "geheim42" not in ioc.logged()


@pytest.fixture
def one_at_a_time(racks: Racks) -> Iterator[None]:
    """Stops what the test started, in order: two IOCs would share a port."""
    yield
    for ioc in racks.running:
        assert ioc.stop() == 0
