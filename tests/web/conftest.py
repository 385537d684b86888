"""A web server for all tests of a module, on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.rig.mariadb import Server
from tests.archiver.mariadb import server_directory, shared_server
from tests.system.conftest import racks
from tests.web.served import Served, fill

__all__ = ["racks", "server_directory", "shared_server"]


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("web")
    database = f"sqlite:///{folder}/rack.sqlite"
    if request.param == "mysql":
        server: Server = request.getfixturevalue("shared_server")
        database = server.create(f"web_{abs(hash(request.node.nodeid)):x}")
    fill(database)
    served = Served(folder, database)
    yield served
    served.close()
