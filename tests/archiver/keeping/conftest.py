"""Databases of both kinds, two at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.rig.mariadb import Server

# Makes the URL of a new empty database of a kind.
New = Callable[[str], str]


@pytest.fixture
def new(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[New]:
    made: list[str] = []

    def make(kind: str) -> str:
        if kind == "sqlite":
            made.append("")
            return f"sqlite:///{tmp_path}/new{len(made)}.sqlite"
        server: Server = request.getfixturevalue("shared_server")
        made.append(f"k{len(made)}_{abs(hash(request.node.nodeid)):x}")
        return server.create(made[-1])

    yield make
    for name in filter(None, made):
        request.getfixturevalue("shared_server").execute(f"DROP DATABASE IF EXISTS {name}")
