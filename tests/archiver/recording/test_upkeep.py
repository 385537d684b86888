"""Retention and thinning, as the writer drives them, on real databases."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from archiver.recording.batch import Batch
from archiver.recording.queue import Queue
from archiver.recording.spool import Spool
from archiver.recording.upkeep import clock, rounds
from archiver.recording.upkeep.rounds import Upkeep
from archiver.recording.writer import Writer
from archiver.sample import Sample, is_gap
from archiver.settings import Policy, ThinSettings
from archiver.storage import summarizer
from archiver.storage.database import open_reader, open_store
from archiver.storage.sqlite import store as sqlite
from archiver.storage.store import Bin, Store, StoreError
from bench.rig.databases import connect

S = 10**9
ALL = (0, 2**63 - 1)


@pytest.fixture
def filled(database: str) -> str:
    fill(database)
    return database


def fill(database: str) -> None:
    """Two PVs, each with a row a minute over the last 100 hours."""
    now_ns = time.time_ns()
    with closing(open_store(database)) as store:
        for pv in "AB":
            times_ns = [now_ns - minute * 60 * S for minute in range(6000)]
            store.add([Sample(pv, time_ns, float(time_ns // S % 977), 0, "NO_ALARM") for time_ns in times_ns])


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


def test_rows_that_are_too_old_go_but_for_the_one_in_force(filled: str) -> None:
    run(filled, lambda pv: Policy(keep="10h") if pv == "A" else Policy())
    kept, _ = rows(filled, "A")
    assert len(kept) in {600, 601, 602}
    assert kept[0].time_ns <= time.time_ns() - 36_000 * S
    assert len(rows(filled, "B")[0]) == 6000


def test_rows_that_waited_until_they_were_not_kept_any_more_go_at_once(filled: str, tmp_path: Path) -> None:
    """They would be in force up to the first row that is kept until the next round, an hour later."""
    old = Sample("A", time.time_ns() - 50 * 3600 * S, -1.0, 0, "NO_ALARM")
    queue, upkeep = Queue(), Upkeep(lambda pv: Policy(keep="10h"))
    with closing(Spool(tmp_path / "rack.spool", 1e9, 0)) as spool:
        writer = Writer(queue, spool, upkeep, lambda: open_store(filled))
        for _ in range(2):
            for _ in range(10):
                writer.cycle(time.monotonic() + 0.5)
            kept, _ = rows(filled, "A")
            assert kept[0].time_ns > time.time_ns() - 11 * 3600 * S
            spool.append(Batch([old], [], []))
        writer.close()


@pytest.mark.parametrize("after", [False, True])
def test_what_waited_until_it_was_not_kept_any_more_is_not_in_force_over_rows_that_have_gone(
    filled: str, tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows of before and ``after`` what the archive has left of that time; no upkeep has come yet."""
    now = time.time_ns()
    with closing(open_store(filled)) as store:
        take_steps(Upkeep(lambda pv: Policy(keep="10h")), store)
        lead_ns = store.latest("A", now - 36_000 * S, 1)[0].time_ns
        if after:
            store.add([Sample("W", now - 50 * 3600 * S, -7.0, 0, "NO_ALARM")])
    pv, first_ns = ("W", now - 40 * 3600 * S) if after else ("A", lead_ns - 3600 * S)
    old = [Sample(pv, first_ns + n * 60 * S, float(n), 0, "NO_ALARM") for n in range(10)]
    monkeypatch.setattr(Upkeep, "step", lambda *_: False)
    queue, upkeep = Queue(), Upkeep(lambda pv: Policy(keep="10h"))
    with closing(Spool(tmp_path / "rack.spool", 1e9, 0)) as spool:
        spool.append(Batch(old, [], []))
        writer = Writer(queue, spool, upkeep, lambda: open_store(filled))
        caplog.set_level("INFO")
        writer.cycle(time.monotonic())
        writer.cycle(time.monotonic())
        assert spool.rows == 0
        found, _ = rows(filled, pv)
        assert [line for line in caplog.messages if "not stored" in line] == [
            f"{9 if after else 10} samples that waited longer than keep keeps them are not stored"
        ]
        writer.close()
    if after:
        left = [(each.time_ns // 1000, is_gap(each)) for each in found[-2:]]
        assert left == [(old[0].time_ns // 1000, True), (old[-1].time_ns // 1000, False)]
    else:
        assert found[0].time_ns == lead_ns


def test_rows_that_came_late_go_at_once_also_after_an_error_of_the_database(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Sample("A", time.time_ns() - 50 * 3600 * S, -1.0, 0, "NO_ALARM")
    upkeep = Upkeep(lambda pv: Policy(keep="10h"))
    with closing(open_store(filled)) as store:
        take_steps(upkeep, store)
        store.add([old])
        upkeep.late(old.time_ns)
        with monkeypatch.context() as patch:
            patch.setattr(store, "expire", fail)
            with pytest.raises(StoreError):
                take_steps(upkeep, store)
        take_steps(upkeep, store)  # the end of that round
        take_steps(upkeep, store)
    kept, _ = rows(filled, "A")
    assert kept[0].time_ns > time.time_ns() - 11 * 3600 * S


def take_steps(upkeep: Upkeep, store: Store) -> None:
    while upkeep.step(store):
        pass


def fail(*_: object) -> bool:
    raise StoreError("the database is away")


def test_rows_that_are_old_are_thinned_and_counted(filled: str) -> None:
    steps = run(filled, lambda pv: Policy(thin=ThinSettings(after="50h", to="1h")))
    kept, bins = rows(filled, "A")
    assert 3000 + 50 * 2 <= len(kept) <= 3060 + 52 * 4
    thinned = {each.time_ns for each in bins}  # a first bin of one or two rows loses none
    rest = [sample for sample in kept if sample.time_ns // (3600 * S) * 3600 * S not in thinned]
    assert sum(each.count for each in bins) + len(rest) == 6000
    assert steps >= 2


def test_without_a_policy_nothing_is_touched(filled: str) -> None:
    run(filled, lambda pv: Policy())
    assert len(rows(filled, "A")[0]) == 6000


@pytest.mark.parametrize("fault", ["rejected", "unforeseen", "error"])
def test_a_pv_whose_rows_cannot_be_thinned_takes_no_other_along(
    filled: str, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if fault != "unforeseen":
        refuse(filled, "A", "1366" if fault == "rejected" else "1644")
    monkeypatch.setattr(rounds, "PERIOD", 0.0)
    round_ = Upkeep(
        lambda pv: Policy(thin=ThinSettings(after="50h", to=1e-10 if (pv, fault) == ("A", "unforeseen") else "1h"))
    )
    errors = 0
    with closing(open_store(filled)) as store:
        for _ in range(3):  # rounds
            try:
                while round_.step(store):
                    pass
            except StoreError:
                errors += 1
    assert len(rows(filled, "A")[0]) == 6000
    assert len(rows(filled, "B")[0]) < 3300
    if fault != "error" or filled.startswith("sqlite"):  # there no error of a trigger is one of the database
        assert errors == 0
        assert [record.message.split(":")[0] for record in caplog.records if record.levelname == "ERROR"] == ["A"]


def test_a_pv_of_which_no_summaries_can_be_made_takes_no_other_along(
    filled: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite, "SETTLE_ROWS", 1)
    refuse(filled, "A", "1366", "INSERT", "summary")
    round_ = Upkeep(lambda pv: Policy())
    with closing(open_store(filled)) as store:
        store.live(time.time_ns())
        for pause in ("PAUSE", "PERIOD"):
            monkeypatch.setattr(summarizer, pause, 0.0)
        for _ in range(50):
            round_.tidy(store)
    with closing(open_reader(filled)) as reader:
        assert reader.summarized("B")
        assert not reader.summarized("A")
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


def test_a_clock_that_jumps_ahead_makes_no_rows_old_before_a_day_has_passed(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_ns, day_ns = time.time_ns(), 86_400 * S
    with closing(open_store(filled)) as store:
        store.live(began_ns)
    clocks = Jumping(began_ns)
    for module in (clock, rounds):
        monkeypatch.setattr(module, "time", clocks)
    with closing(open_store(filled)) as store:
        round_ = Upkeep(lambda pv: Policy(keep="200h"))

        def kept(ahead_ns: int, later_ns: int) -> int:
            clocks.ahead_ns, clocks.later_ns = ahead_ns, later_ns
            while round_.step(store):
                pass
            return len(rows(filled, "A")[0])

        assert kept(ahead_ns=10 * 365 * day_ns, later_ns=0) == 6000  # the computer begins with a wrong clock
        assert kept(ahead_ns=10 * 365 * day_ns, later_ns=day_ns // 2) == 6000
        assert kept(ahead_ns=0, later_ns=day_ns) == 6000  # it was set right
        assert kept(ahead_ns=300 * 3600 * S, later_ns=2 * day_ns) == 6000
        assert kept(ahead_ns=300 * 3600 * S, later_ns=3 * day_ns + 3600 * S) == 1  # it stays


class Jumping:
    """The clocks of a computer: ``ahead_ns`` is its error, ``later_ns`` what has passed."""

    def __init__(self, began_ns: int) -> None:
        self._began_ns = began_ns
        self.ahead_ns = self.later_ns = 0

    def time_ns(self) -> int:
        return self._began_ns + self.later_ns + self.ahead_ns

    def monotonic_ns(self) -> int:
        return S + self.later_ns

    def monotonic(self) -> float:
        return self.monotonic_ns() / S


def refuse(database: str, pv: str, code: str, event: str = "DELETE", table: str = "") -> None:
    """Let the database refuse to delete or insert rows of a PV, with an error."""
    row = "OLD" if event == "DELETE" else "NEW"
    if database.startswith("sqlite"):
        with closing(sqlite3.connect(str(make_url(database).database))) as file:
            file.execute(
                f"CREATE TRIGGER refuse BEFORE {event} ON {table or 'sample_settled'} WHEN {row}.channel_id = "
                f"(SELECT channel_id FROM channel WHERE name = '{pv}') BEGIN SELECT RAISE(ABORT, 'not that one'); END"
            )
        return
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT channel_id FROM channel WHERE name = '{pv}'")
        ((channel,),) = cursor.fetchall()
        cursor.execute(
            f"CREATE TRIGGER refuse BEFORE {event} ON {table or 'sample'} FOR EACH ROW "
            f"IF {row}.channel_id = {channel} THEN SIGNAL SQLSTATE '45000' "
            f"SET MESSAGE_TEXT = 'not that one', MYSQL_ERRNO = {code}; END IF"
        )
