"""How long the disk lasts, told from what is really written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from archiver.recording import growth
from archiver.recording.growth import LONGEST_DAYS, PERIOD, SHORTEST, SPAN, Growth
from archiver.sample import Sample
from archiver.storage.database import open_store
from archiver.storage.store import Space, Store
from bench.rig.mariadb import Server

DAY = 86_400.0
GB = 1e9


class Sizes:
    """A store that only has a size."""

    def __init__(self, sizes: Sequence[Space | None]) -> None:
        self._sizes = list(sizes)

    def space(self) -> Space | None:
        return self._sizes.pop(0)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(growth, "time", clock)
    return clock


def looked(clock: Clock, sizes: Sequence[Space | None], period: float = PERIOD) -> Growth:
    found, store = Growth(), cast(Store, Sizes(sizes))
    for _ in sizes:
        found.look(store)
        found.look(store)  # too early: nothing is asked
        clock.now += period
    return found


def test_the_days_are_those_of_the_free_bytes_at_the_pace_of_what_was_written(clock: Clock) -> None:
    sizes = [Space(n * 5 * GB * PERIOD / DAY, 100 * GB) for n in range(61)]
    assert looked(clock, sizes).days_left == pytest.approx(20.0)


def test_nothing_is_told_before_there_is_something_to_tell(clock: Clock) -> None:
    sizes = [Space(n * GB, 100 * GB) for n in range(int(SHORTEST / PERIOD))]
    assert looked(clock, sizes).days_left is None


@pytest.mark.parametrize("grown", [0.0, -GB, 1.0])
def test_an_archive_that_does_not_grow_lasts_a_hundred_years(clock: Clock, grown: float) -> None:
    sizes = [Space(10 * GB + n * grown, 1000 * GB) for n in range(30)]
    assert looked(clock, sizes).days_left == LONGEST_DAYS


def test_only_the_last_day_counts(clock: Clock) -> None:
    hours = [Space(100 * n * GB, 10 * GB) for n in range(30)]
    slow = [Space(3000 * GB + n * GB / 24, 10 * GB) for n in range(int(SPAN / 3600) + 2)]
    assert looked(clock, hours + slow, 3600.0).days_left == pytest.approx(10.0)


def test_what_is_not_known_is_not_told(clock: Clock) -> None:
    assert looked(clock, [None] * 100).days_left is None


def test_another_file_is_not_taken_for_growth(clock: Clock) -> None:
    found = looked(clock, [Space(n * GB, 100 * GB) for n in range(30)])
    assert found.days_left is not None
    found.look(cast(Store, Sizes([Space(1.0, 100 * GB)])))
    assert found.days_left is None


def test_a_file_tells_what_its_rows_use_and_its_free_pages_are_free(tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:///{tmp_path}/rack.sqlite")) as store:
        empty = store.space()
        store.add([Sample("A", n * 1000, float(n), 0, "NO_ALARM") for n in range(100_000)])
        full = store.space()
        while store.expire("A", 10**18):
            pass
        after = store.space()
        assert empty is not None
        assert full is not None
        assert after is not None
        assert full.used > empty.used + 2e6
        assert after.used < full.used / 2
        assert after.free - full.free == pytest.approx(full.used - after.used, rel=0.5, abs=50e6)


def test_a_server_tells_it_where_it_is_here_and_its_user_may_see_it(
    shared_server: Server, mysql_database: str
) -> None:
    with closing(open_store(mysql_database)) as store:
        assert store.space() is None, "without PROCESS"
    shared_server.execute("GRANT PROCESS ON *.* TO archive@'%'")
    try:
        with closing(open_store(mysql_database)) as store:
            space = store.space()
        assert space is not None
        assert space.used > 100_000
        assert space.free > 0
    finally:
        shared_server.execute("REVOKE PROCESS ON *.* FROM archive@'%'")
