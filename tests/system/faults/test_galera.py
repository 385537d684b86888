"""Nodes of a Galera cluster that are killed: another one is used at once, and no row is lost or doubled."""

from __future__ import annotations

import time

import pytest

from bench.rig.mariadb import USER, Server
from tests.archiver.mariadb import Cluster
from tests.archiver.processes import Ioc
from tests.system.faults.archiver import Archiver
from tests.system.faults.rows import MariadbDatabase, check_complete

DATABASE = "archive"

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]


def test_nodes_that_are_killed_one_after_the_other(ioc: Ioc, archiver: Archiver, cluster: Cluster) -> None:
    """Each comes back before the next one goes: two of three are needed."""
    first, _, third = cluster.nodes
    first.create(DATABASE)
    archiver.database = cluster.url(DATABASE)
    archiver.start()
    archiver.wait_connected()
    archiver.wait_stored()
    first.kill9()
    assert until_newer(archiver, third) < 5
    first.start()
    cluster.wait()
    used = next(node for node in cluster.nodes if in_use(node))
    other = next(node for node in cluster.nodes if node is not used)
    used.kill9()
    assert until_newer(archiver, other) < 5
    used.start()
    cluster.wait()
    archiver.wait_stored()
    check_complete(MariadbDatabase(first, DATABASE), archiver.stop())


def until_newer(archiver: Archiver, node: Server) -> float:
    """Seconds from now to the first newer number that is readable there."""
    archive = MariadbDatabase(node, DATABASE)
    killed = time.time()
    archiver.wait(lambda: archive.newest() > killed)
    return time.time() - killed


def in_use(node: Server) -> bool:
    found = node.execute(f"SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{USER}'")
    return found != [(0,)]
