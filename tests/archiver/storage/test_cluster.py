"""The archive on a Galera cluster of three nodes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing

import pytest

from archiver.sample import Sample
from archiver.storage.database import open_reader, open_store
from archiver.storage.manage import status
from archiver.storage.store import Store, StoreError
from tests.archiver.mariadb import Cluster

START = 1_800_000_000_000_000_000


def send(store: Store, batch: Sequence[Sample], seconds: float) -> None:
    """As the archiver does it: again, until it is stored."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return store.add(batch)
        except StoreError:
            assert time.monotonic() < deadline, "no other node was used in time"
            time.sleep(0.2)


def batch(second: int) -> list[Sample]:
    return [Sample(f"PV{n}", START + second * 10**9, float(n), 0, "NO_ALARM") for n in range(200)]


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill9", "freeze"])
def test_another_node_is_used_when_one_dies(cluster: Cluster, fault: str) -> None:
    cluster.nodes[0].create("archive")
    database = cluster.url("archive")
    with closing(open_store(database)) as store:
        send(store, batch(0), 0)
        getattr(cluster.nodes[0], fault)()
        died = time.monotonic()
        send(store, batch(1), 5)
        assert time.monotonic() - died < 5
        send(store, batch(1), 5)
    if fault == "kill9":
        lines = dict(status(database))
        assert [value == "ready" for name, value in lines.items() if name.startswith("node ")] == [False, True, True]
    with closing(open_reader(cluster.nodes[2].url("archive"))) as reader:
        assert sum(1 for _ in reader.samples(reader.names(), 0, 2**63 - 1)) == 400
