"""From the queue to a store that fails on request, with a real spool."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from archiver.recording.queue import Queue
from archiver.recording.spool import Spool
from archiver.recording.upkeep.rounds import Upkeep
from archiver.recording.writer import Writer
from archiver.sample import Dated, Gap, Metadata, Sample, Value, gap_marker
from archiver.settings import Policy
from archiver.storage.owner import ON_ITS_WAY_NS
from archiver.storage.store import Gone, Rejected, Space, Store, StoreError, TableRow

TEMPERATURES = ("temperatures", ("DateTm", "tc1"))


class FlakyStore:
    """A store that keeps what is added, but fails while ``error`` is set: after the commit, the worst time."""

    def __init__(self) -> None:
        self.error = ""
        self.alive_ns = 0
        self.gone = False
        self.added: list[Sample] = []
        self.rows: list[TableRow] = []
        self.described: dict[str, Dated] = {}
        self.blocked = threading.Event()
        self.blocked.set()

    def add(self, samples: Sequence[Sample]) -> None:
        self.blocked.wait()
        if any(sample.value == "poison" for sample in samples):
            raise Rejected("Data too long")
        self.added.extend(samples)
        self._fail()

    def add_rows(self, rows: Sequence[TableRow]) -> None:
        self.rows.extend(rows)
        self._fail()

    def add_metadata(self, metadata: Mapping[str, Dated], *, keep_equal: bool = False) -> None:
        if any(dated.metadata.unit == "poison" for dated in metadata.values()):
            raise Rejected("Data too long")
        self.described.update(metadata)
        self._fail()

    def newest(self) -> list[Sample]:
        return []

    def unowned(self) -> list[Sample]:
        return []

    def space(self) -> Space | None:
        return None

    def live(self, time_ns: int) -> None:
        self._fail()
        self.alive_ns = time_ns

    def newest_values(self, until_ns: int) -> dict[str, int]:
        return {}

    def latest(self, pv: str, since_ns: int, most: int) -> list[Sample]:
        return []

    def tidy(self) -> bool:
        return False

    def expire(self, pv: str, before_ns: int) -> bool:
        return False

    def thin(self, pv: str, until_ns: int, width_ns: int) -> bool:
        return False

    def expire_months(self, before_ns: Mapping[str, int]) -> bool:
        return False

    def shrink(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def _fail(self) -> None:
        if self.gone:
            raise Gone("the file was removed")
        if self.error:
            raise StoreError(self.error)


@pytest.fixture
def store() -> FlakyStore:
    return FlakyStore()


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool(tmp_path / "rack.spool", 1e9, 0)) as spool:
        yield spool


@pytest.fixture
def writer(queue: Queue, spool: Spool, store: FlakyStore) -> Writer:
    """Not started: the tests call its cycles."""

    def opening() -> Store:
        if store.error:
            raise StoreError(store.error)
        return store

    return Writer(queue, spool, Upkeep(lambda pv: Policy()), opening)


def sample(number: int, value: Value = 1.0) -> Sample:
    return Sample("A", number, value, 0, "NO_ALARM")


def cycle(writer: Writer, seconds: float = 0.2) -> None:
    writer.cycle(time.monotonic() + seconds)


def test_what_came_is_stored_and_not_spooled(writer: Writer, queue: Queue, store: FlakyStore, spool: Spool) -> None:
    queue.add(sample(1))
    queue.add_rows([TableRow(*TEMPERATURES, ("12:00", 20.5), 1)])
    queue.add_metadata("A", Dated(0, Metadata("V")))
    cycle(writer)
    assert (store.added, len(store.rows), list(store.described)) == ([sample(1)], 1, ["A"])
    assert (spool.rows, writer.stored, writer.oldest) == (0, 2, None)


def test_a_doubtful_commit_is_sent_again_and_nothing_is_lost_behind_it(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool
) -> None:
    queue.add(sample(1))
    cycle(writer)
    store.error = "gone away"
    for number in (2, 3, 4):
        queue.add(sample(number))
        cycle(writer)
    assert spool.rows == 3
    assert writer.database.error == "gone away"
    store.error = ""
    store.added.clear()
    queue.add(sample(5))
    cycle(writer)
    queue.add(sample(6))
    cycle(writer)
    assert sorted(store.added) == [sample(number) for number in (2, 3, 4, 5, 6)]
    assert (spool.rows, writer.database.error) == (0, "")


def test_a_database_that_is_not_there_at_the_start_is_waited_for(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool
) -> None:
    store.error = "cannot be reached"
    queue.add(sample(1))
    cycle(writer)
    assert (spool.rows, writer.database.healthy) == (1, False)
    store.error = ""
    cycle(writer)
    assert (store.added, spool.rows, writer.database.healthy) == ([sample(1)], 0, True)


def test_without_room_in_the_spool_samples_stay_in_memory(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool
) -> None:
    spool._limit = 0
    store.error = "gone away"
    for number in (1, 2):
        queue.add(sample(number))
        cycle(writer)
    assert len(queue) == 2
    assert "at its limit" in writer.spool_error
    store.error = ""
    cycle(writer)
    assert store.added[-2:] == [sample(1), sample(2)]
    assert len(queue) == 0


def test_what_the_database_rejects_becomes_a_gap_and_the_others_are_stored(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 8):
        queue.add(sample(number, "poison" if number in {3, 7} else 1.0))
    cycle(writer)
    gaps = [gap_marker("A", number, Gap.WRITE_ERROR) for number in (3, 7)]
    assert sorted(store.added, key=lambda s: s.time_ns) == [
        sample(1), sample(2), gaps[0], sample(4), sample(5), sample(6), gaps[1],
    ]  # fmt: skip
    assert (writer.rejected, writer.database.healthy, spool.rows) == (2, True, 0)
    assert caplog.text.count("A: the database rejected a sample: Data too long") == 2


def test_metadata_that_are_rejected_hold_up_nobody(writer: Writer, queue: Queue, store: FlakyStore) -> None:
    for pv, unit in (("A", "V"), ("B", "poison"), ("C", "mA")):
        queue.add_metadata(pv, Dated(0, Metadata(unit)))
    queue.add(sample(1))
    cycle(writer)
    assert (sorted(store.described), store.added, writer.database.healthy) == (["A", "C"], [sample(1)], True)


def test_an_error_that_goes_on_is_logged_once_and_so_is_its_end(
    writer: Writer, queue: Queue, store: FlakyStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        cycle(writer)
        for number, store.error in enumerate(("full", "full", "locked", "", "")):
            queue.add(sample(number))
            cycle(writer)
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "full",
        "locked",
        "the database stores samples again",
    ]


def test_a_commit_that_does_not_return_leaves_nothing_in_memory_alone(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool
) -> None:
    writer.start()
    try:
        store.blocked.clear()
        queue.add(sample(1))
        deadline = time.monotonic() + 10
        while spool.rows < 1 and time.monotonic() < deadline:
            time.sleep(0.1)
            writer.check()
        queue.add(sample(2))
        while spool.rows < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
            writer.check()
        assert spool.rows == 2
    finally:
        store.blocked.set()
        writer.close()
    assert sorted(set(store.added)) == [sample(1), sample(2)]
    assert spool.rows == 0


def test_a_backlog_goes_to_the_spool_before_memory_is_full(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool
) -> None:
    """The database hangs, and more comes than memory holds: nothing is lost while the disk has room."""
    queue._limit, queue.batch_size = 2_000_000, 250_000
    store.blocked.clear()
    writer.start()
    most = 0
    try:
        for number in range(60_000):
            while not writer.has_room:
                time.sleep(0.01)
            queue.add(sample(number))
            most = max(most, queue.size)
        store.blocked.set()
        deadline = time.monotonic() + 20
        while (spool.rows or len(queue)) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        store.blocked.set()
        writer.close()
    assert most < 1_600_000
    assert (queue.lost, spool.rows, len(queue)) == (0, 0, 0)
    assert sorted({each.time_ns for each in store.added}) == list(range(60_000))


def test_where_the_spool_fails_too_more_comes_and_is_counted_as_lost(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool
) -> None:
    queue._limit, queue.batch_size = 500_000, 125_000
    spool._limit = 0
    store.blocked.clear()
    writer.start()
    try:
        for number in range(5000):
            deadline = time.monotonic() + 10
            while not writer.has_room:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            queue.add(sample(number))
        assert queue.lost > 2000
    finally:
        store.blocked.set()
        spool._limit = 1e9
        writer.close()
    assert store.added[0] == sample(0)


def test_an_end_that_a_commit_holds_up_leaves_all_on_disk(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool
) -> None:
    writer.start()
    store.blocked.clear()
    queue.add(sample(1))
    while not writer.oldest or len(queue._samples):
        time.sleep(0.05)
    queue.add(sample(2))
    closing = threading.Thread(target=writer.close)
    closing.start()
    try:
        deadline = time.monotonic() + 15
        while spool.rows < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert spool.rows == 2
    finally:
        store.blocked.set()
        closing.join()
    assert sorted(set(store.added)) == [sample(1), sample(2)]


def test_the_end_stores_the_rest_or_says_what_is_lost(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool
) -> None:
    writer.start()
    queue.add(sample(1))
    store.error = "gone away"
    spool._limit = 0
    with pytest.raises(StoreError, match="gone away; lost with it: 1 sample"):
        writer.close()


def test_the_end_stores_what_a_moment_of_the_database_has_left_in_the_spool(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool
) -> None:
    """A reader would take the row before it for the one in force until what is stored already."""
    store.error = "gone away"
    for number in range(1, 21):
        queue.add(sample(number))
        cycle(writer)
    store.error = ""
    queue.add(sample(21))
    writer._stop.set()  # right after its start
    writer.start()
    writer.close()
    assert spool.rows == 0
    assert {each.time_ns for each in store.added} == set(range(1, 22))
    assert store.alive_ns > time.time_ns() - 10**9


def test_a_sign_of_life_comes_with_each_commit_and_without_one_after_a_while(
    writer: Writer, queue: Queue, store: FlakyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cycle(writer)
    first = store.alive_ns
    assert time.time_ns() - first - ON_ITS_WAY_NS < 10**9
    cycle(writer)
    assert store.alive_ns == first
    queue.add(sample(1))
    cycle(writer)
    second = store.alive_ns
    assert second > first
    monkeypatch.setattr(writer, "_live_at", time.monotonic())
    cycle(writer)
    assert store.alive_ns > second


def test_no_sign_of_life_is_given_while_samples_wait_in_the_spool(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not in the database a reader does not know."""
    cycle(writer)
    alive_ns, store.error = store.alive_ns, "gone away"
    for number in (1, 2):
        queue.add(sample(number))
        cycle(writer)
    store.error = ""
    queue.add(sample(3))
    writer.cycle(time.monotonic())  # time for one of them
    assert (spool.rows, store.alive_ns) == (2, alive_ns)
    monkeypatch.setattr(writer, "_live_at", time.monotonic())
    cycle(writer)
    assert spool.rows == 0
    assert store.alive_ns > alive_ns


def test_the_sign_of_life_follows_what_is_replayed(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool
) -> None:
    """It says until when a reader knows all, while live samples are there already."""
    cycle(writer)
    alive_ns, store.error = store.alive_ns, "gone away"
    stamps = [alive_ns + ON_ITS_WAY_NS + number * 1000 for number in range(1, 4)]
    for time_ns in (*stamps, alive_ns + 60 * 10**9):  # of the last the clock is ahead
        queue.add(sample(0)._replace(time_ns=time_ns))
        cycle(writer)
    spooled_ns, store.error = time.time_ns(), ""
    signs = []
    while spool.rows:
        queue.add(sample(0)._replace(time_ns=time.time_ns()))
        writer.cycle(time.monotonic())  # time for one of them
        signs.append(store.alive_ns)
    assert signs[:3] == [time_ns - ON_ITS_WAY_NS for time_ns in stamps]
    assert signs[2] < signs[3] < spooled_ns - ON_ITS_WAY_NS < signs[-1]
    assert len(signs) == len(stamps) + 2  # the first live one, too, was spooled: nobody knew that it can be stored


def test_what_may_be_on_its_way_lies_behind_a_sign_of_life_except_at_the_end(
    writer: Writer, queue: Queue, store: FlakyStore
) -> None:
    writer.start()
    time.sleep(0.1)
    queue.add(sample(1))
    sign_ns, at_end_ns = store.alive_ns, time.time_ns()
    writer.close()
    assert 0 < sign_ns < at_end_ns - ON_ITS_WAY_NS
    assert store.alive_ns > at_end_ns


def test_no_sign_of_life_is_given_for_what_has_not_reached_the_queue(
    queue: Queue, spool: Spool, store: FlakyStore
) -> None:
    oldest = time.time() - 20
    writer = Writer(queue, spool, Upkeep(lambda pv: Policy()), lambda: store, lambda: oldest)
    queue.add(sample(1))
    cycle(writer)
    assert store.added == [sample(1)]
    assert store.alive_ns == int(oldest * 1e9) - ON_ITS_WAY_NS


def test_many_samples_that_nobody_takes_hold_up_no_cycle(spool: Spool, store: FlakyStore) -> None:
    queue, store.error = Queue(batch_size=1000), "gone away"
    spool._floor = 1e18
    writer = Writer(queue, spool, Upkeep(lambda pv: Policy()), lambda: store)
    for number in range(100):
        queue.add(sample(number))
    cycle(writer)
    assert len(queue) == 100
    store.error = ""
    cycle(writer)
    assert store.added[-100:] == [sample(number) for number in range(100)]
    assert len(queue) == 0


def test_a_store_that_is_not_the_archive_any_more_is_opened_anew(
    writer: Writer, queue: Queue, store: FlakyStore, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cycle(writer)
    store.gone = True
    queue.add(sample(1))
    cycle(writer)
    assert (spool.rows, writer.database.is_open, writer.database.state) == (1, False, "away")
    store.gone = False
    cycle(writer)
    assert not writer.database.is_open  # not at once: the file may be being replaced
    monkeypatch.setattr(writer.database, "_open_at", time.monotonic())
    store.added.clear()
    cycle(writer)
    assert (store.added, spool.rows, writer.database.state) == ([sample(1)], 0, "ok")
