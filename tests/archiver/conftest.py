"""A real IOC and a real archiver on private ports, and real databases."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archiver.recording import spool, track
from archiver.storage import owner
from archiver.storage.mysql import reader as mysql_reader
from archiver.storage.sqlite import reader as sqlite_reader
from bench.rig import loopback
from tests.archiver.mariadb import (  # noqa: F401 - fixtures
    cluster,
    mysql_database,
    own_server,
    server_directory,
    shared_server,
)
from tests.archiver.processes import Archiver, Ioc, Wait
from tests.archiver.streams import Clocks


@pytest.fixture(params=["sqlite", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty archive, on each kind of database."""
    if request.param == "mysql":
        return str(request.getfixturevalue("mysql_database"))
    return f"sqlite:///{tmp_path}/rack.sqlite"


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """The clocks of a track, which the test sets; whoever reads has another one, and takes no archiver for dead."""
    clocks = Clocks()
    monkeypatch.setattr(track, "time", clocks)
    monkeypatch.setattr(spool, "time", clocks)
    long_ago = Clocks()
    long_ago.now_ns = 0
    for reader in (mysql_reader, sqlite_reader):
        monkeypatch.setattr(reader, "time", long_ago)
    monkeypatch.setattr(owner, "LIFE_FUTURE_NS", 2**62)
    return clocks


@pytest.fixture
def environment() -> dict[str, str]:
    return os.environ | loopback.environment() | {"TZ": "UTC"}


@pytest.fixture
def ioc(tmp_path: Path, environment: dict[str, str]) -> Iterator[Ioc]:
    ioc = Ioc(tmp_path, environment)
    yield ioc
    ioc.stop()


@pytest.fixture
def archiver(tmp_path: Path, environment: dict[str, str]) -> Iterator[Archiver]:
    archiver = Archiver(tmp_path, environment)
    yield archiver
    archiver.stop()


@pytest.fixture
def wait() -> Wait:
    def wait_until(condition: Callable[[], object], seconds: float = 25.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)

    return wait_until
