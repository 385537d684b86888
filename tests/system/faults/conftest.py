"""The IOC that counts, the archiver, and what may happen to them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.rig import loopback
from tests.archiver.mariadb import cluster, own_server, server_directory  # noqa: F401 - fixtures
from tests.archiver.processes import ROOT, Ioc
from tests.system.faults.archiver import Archiver
from tests.system.faults.counting import STEPPING, counters
from tests.system.faults.small_disk import SmallDisk


@pytest.fixture
def environment() -> dict[str, str]:
    return os.environ | loopback.environment() | {"TZ": "UTC"}


@pytest.fixture
def ioc(tmp_path: Path, environment: dict[str, str]) -> Iterator[Ioc]:
    ioc = Ioc(tmp_path, environment)
    ioc.start(counters())
    yield ioc
    ioc.stop()


@pytest.fixture
def archiver(tmp_path: Path, environment: dict[str, str]) -> Iterator[Archiver]:
    archiver = Archiver(tmp_path, environment)
    yield archiver
    archiver.abandon()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk", "12m")
    yield disk
    disk.close()


@pytest.fixture
def step(environment: dict[str, str]) -> Iterator[Callable[[float], None]]:
    """Step the clock of an IOC so many seconds away from the true time."""
    command = [sys.executable, "-P", "-m", "tests.system.faults.stepping_server", "T:", str(len(STEPPING))]
    own = environment | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=own, stdin=subprocess.PIPE, text=True, bufsize=1) as process:
        yield lambda seconds: print(seconds, file=process.stdin)
        process.kill()
