"""Retention and thinning, as the writer drives them, on a real file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from archiver.recording.upkeep import Upkeep
from archiver.sample import Sample
from archiver.settings import Policy, ThinSettings
from archiver.storage.database import open_reader, open_store
from archiver.storage.store import Bin

S = 10**9
ALL = (0, 2**63 - 1)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Two PVs, each with a row a minute over the last 100 hours."""
    url = f"sqlite:///{tmp_path}/rack.sqlite"
    now_ns = time.time_ns()
    with closing(open_store(url)) as store:
        for pv in "AB":
            times_ns = [now_ns - minute * 60 * S for minute in range(6000)]
            store.add([Sample(pv, time_ns, float(time_ns // S % 977), 0, "NO_ALARM") for time_ns in times_ns])
    return url


def run(database: str, policy: Callable[[str], Policy]) -> int:
    steps = 0
    upkeep = Upkeep(policy)
    with closing(open_store(database)) as store:
        while upkeep.step(store):
            steps += 1
        assert not upkeep.step(store)  # until the next round
    return steps


def rows(database: str, pv: str) -> tuple[list[Sample], Sequence[Bin]]:
    with closing(open_reader(database)) as reader:
        return list(reader.samples([pv], *ALL)), reader.bins(pv, *ALL)


def test_rows_that_are_too_old_go_but_for_the_one_in_force(database: str) -> None:
    run(database, lambda pv: Policy(keep="10h") if pv == "A" else Policy())
    kept, _ = rows(database, "A")
    assert len(kept) in {600, 601, 602}
    assert kept[0].time_ns <= time.time_ns() - 36_000 * S
    assert len(rows(database, "B")[0]) == 6000


def test_rows_that_are_old_are_thinned_and_counted(database: str) -> None:
    steps = run(database, lambda pv: Policy(thin=ThinSettings(after="50h", to="1h")))
    kept, bins = rows(database, "A")
    assert 3000 + 50 * 2 <= len(kept) <= 3060 + 52 * 4
    thinned = {each.time_ns for each in bins}  # a first bin of one or two rows loses none
    rest = [sample for sample in kept if sample.time_ns // (3600 * S) * 3600 * S not in thinned]
    assert sum(each.count for each in bins) + len(rest) == 6000
    assert steps >= 2


def test_without_a_policy_nothing_is_touched(database: str) -> None:
    run(database, lambda pv: Policy())
    assert len(rows(database, "A")[0]) == 6000
