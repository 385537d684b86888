"""Retention and thinning, as the writer drives them, on a real file."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from archiver.recording.upkeep import Upkeep
from archiver.sample import Sample
from archiver.settings import Policy, Thin
from archiver.storage.database import open_reader, open_store

S = 10**9
ALL = (0, 2**63 - 1)


@pytest.fixture
def database(tmp_path):
    """Two PVs, each with a row a minute over the last 100 hours."""
    url = f"sqlite:///{tmp_path}/rack.sqlite"
    now_ns = time.time_ns()
    with closing(open_store(url)) as store:
        for pv in "AB":
            times_ns = [now_ns - minute * 60 * S for minute in range(6000)]
            store.add([Sample(pv, time_ns, float(time_ns // S % 977), 0, "NO_ALARM") for time_ns in times_ns])
    return url


def run(database, policy):
    steps = 0
    upkeep = Upkeep(policy)
    with closing(open_store(database)) as store:
        while upkeep.step(store):
            steps += 1
        assert not upkeep.step(store)  # until the next round
    return steps


def rows(database, pv):
    with closing(open_reader(database)) as reader:
        return list(reader.samples([pv], *ALL)), reader.bins(pv, *ALL)


def test_rows_that_are_too_old_go_but_for_the_one_in_force(database):
    run(database, lambda pv: Policy(keep="10h") if pv == "A" else Policy())
    kept, _ = rows(database, "A")
    assert len(kept) in {600, 601, 602}
    assert kept[0].time_ns <= time.time_ns() - 36_000 * S
    assert len(rows(database, "B")[0]) == 6000


def test_rows_that_are_old_are_thinned_and_counted(database):
    steps = run(database, lambda pv: Policy(thin=Thin(after="50h", to="1h")))
    kept, bins = rows(database, "A")
    assert 3000 + 50 * 2 <= len(kept) <= 3060 + 52 * 4
    begins_ns = {each.time_ns for each in bins}
    outside = [sample for sample in kept if sample.time_ns - sample.time_ns % (3600 * S) not in begins_ns]
    assert sum(each.count for each in bins) + len(outside) == 6000
    assert steps >= 2


def test_without_a_policy_nothing_is_touched(database):
    run(database, lambda pv: Policy())
    assert len(rows(database, "A")[0]) == 6000
