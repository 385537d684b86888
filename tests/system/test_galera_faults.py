"""Nodes of a Galera cluster that are killed: another one is used at once, and no row is lost or doubled."""

from __future__ import annotations

import time

import pytest

from bench.rig.mariadb import USER, Server
from tests.archiver.mariadb import Cluster
from tests.system.counters import Rig, Table, check_complete

DATABASE = "archive"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_nodes_that_are_killed_one_after_the_other(rig: Rig, cluster: Cluster) -> None:
    """Each comes back before the next one goes: two of three are needed."""
    first, _, third = cluster.nodes
    first.create(DATABASE)
    rig.start(cluster.url(DATABASE))
    rig.wait_stored()
    first.kill9()
    assert until_newer(rig, Table(third, DATABASE)) < 5
    first.start()
    cluster.wait()
    used = next(node for node in cluster.nodes if in_use(node))
    other = next(node for node in cluster.nodes if node is not used)
    used.kill9()
    assert until_newer(rig, Table(other, DATABASE)) < 5
    used.start()
    cluster.wait()
    rig.wait_stored()
    check_complete(Table(first, DATABASE), rig.stop())


def until_newer(rig: Rig, table: Table) -> float:
    """Seconds from now to the first newer number that is readable there."""
    killed = time.time()
    rig.wait(lambda: table.newest() > killed)
    return time.time() - killed


def in_use(node: Server) -> bool:
    found = node.execute(f"SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{USER}'")
    return found != [(0,)]
