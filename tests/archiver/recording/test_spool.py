from __future__ import annotations

import json
import math
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from archiver.recording import aside
from archiver.recording.batch import Batch
from archiver.recording.spool import Spool, SpoolError
from archiver.sample import Dated, Gap, Metadata, Sample, Value, gap_marker, is_gap, pack
from archiver.storage.store import TableRow

GB = 1e9


def sample(number: int, value: Value = 1.5) -> Sample:
    return Sample("A", number, value, 0, "NO_ALARM")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool(tmp_path / "rack.spool", GB, 0)) as spool:
        yield spool


@pytest.mark.parametrize("change", ["set aside", "removed"])
def test_a_number_is_never_given_again(spool: Spool, change: str) -> None:
    """A batch that is stored is removed by its number, maybe from another file."""
    first = spool.append(Batch([sample(1)]))
    if change == "removed":
        spool.path.unlink()
    else:
        spool.set_aside()
    second = spool.append(Batch([sample(2)]))
    assert second > first
    spool.remove(first)
    lost = spool.head()
    assert lost is not None
    assert first < lost.id < second
    assert lost.batch.lost_ns > 0
    spool.remove(lost.id)
    head = spool.head()
    assert head is not None
    assert (head.id, head.batch.samples) == (second, [sample(2)])


def test_a_file_that_cannot_be_read_and_takes_the_place_of_the_spool_is_set_aside(spool: Spool) -> None:
    first = spool.append(Batch([sample(1)]))
    spool.path.unlink()
    spool.path.write_bytes(b"not a database, and long enough to be taken for one" * 100)
    assert spool.append(Batch([sample(2)])) > first
    assert (spool.rows, spool.aside[0]) == (2, 1)  # and the mark of what is lost
    assert (drained(spool), spool.rows) == ([2], 0)


def test_a_batch_of_the_version_before_is_read(spool: Spool) -> None:
    about = [5, {"unit": "V"}]
    data = zlib.compress(json.dumps([[sample(1)], [], {"A": about}]).encode())
    assert Batch.load(data).metadata == [("A", Dated(5, Metadata("V")))]


def test_a_batch_comes_back_as_it_was(spool: Spool) -> None:
    values: list[Value] = [
        1.0,
        7,
        "text \N{GREEK SMALL LETTER MU}\ud800",
        (1.0, math.inf),
        math.inf,
        (),
        -0.0,
        pack([1, 2]),
    ]
    metadata = Metadata("V", 3, (0.0, None), (None, 80.0), (None, 90.0))
    batch = Batch(
        [sample(number, value) for number, value in enumerate(values)],
        [TableRow("temperatures", ("DateTm", "tc1"), ("2026-11-21 16:00:00", None), 1)],
        [("A", Dated(5, metadata)), ("B", Dated(6, Metadata(words=("Off", "On")))), ("A", Dated(7, Metadata("kV")))],
    )
    spool.append(batch)
    head = spool.head()
    assert head is not None
    back = head.batch
    assert back == batch
    assert [type(each.value) for each in back.samples] == [float, int, str, tuple, float, tuple, float, bytes]


def test_batches_leave_in_the_order_in_which_they_came_also_after_a_restart(spool: Spool, tmp_path: Path) -> None:
    for number in range(3):
        spool.append(Batch([sample(number)]))
    first = spool.head()
    assert first is not None
    spool.remove(first.id)
    with closing(Spool(tmp_path / "rack.spool", GB, 0)) as again:
        assert again.rows == 2
        assert [batch.samples[0].time_ns for _, _, batch in again.leftover()] == [1, 2]
        again.append(Batch([sample(9)]))
        assert [batch.samples[0].time_ns for _, _, batch in again.leftover()] == [1, 2]
        while head := again.head():
            again.remove(head.id)
        assert (again.rows, again.oldest) == (0, None)


def test_a_batch_keeps_the_begin_of_a_run_that_the_database_does_not_know(spool: Spool, tmp_path: Path) -> None:
    for spool.run_ns in (5, 0):
        spool.append(Batch([sample(1)]))
    with closing(Spool(tmp_path / "rack.spool", GB, 0)) as again:
        assert [each.run_ns for each in again.leftover()] == [5, 0]


def test_the_file_has_a_limit_and_shrinks_again(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "rack.spool", 500e3, 0)) as spool:
        noise = [sample(number, os.urandom(30).hex()) for number in range(1000)]
        with suppress(SpoolError):
            while True:
                spool.append(Batch(noise))
        with pytest.raises(
            SpoolError, match=r"rack\.spool: the spool is full, at its limit of 0\.5 MB \(spool\.limit\)"
        ):
            spool.append(Batch(noise))
        assert 5000 < spool.rows < 20_000
        while head := spool.head():
            spool.remove(head.id)
        assert spool.size < 50e3
        spool.append(Batch(noise))


def test_some_of_the_disk_stays_free(tmp_path: Path) -> None:
    with (
        closing(Spool(tmp_path / "rack.spool", GB, 1e18)) as spool,
        pytest.raises(
            SpoolError, match=r"MB are free on the disk of the spool, and 1e\+12 MB are to stay free \(spool\.floor\)"
        ),
    ):
        spool.append(Batch([sample(1)]))


def changed(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def filled(path: Path) -> bytes:
    with closing(Spool(path, GB, 0)) as spool:
        for number in range(19):
            spool.append(Batch([sample(number, "x" * 3000)]))
    return path.read_bytes()


def drained(spool: Spool) -> list[int]:
    found = []
    while head := spool.head():
        found += [each.time_ns for each in head.batch.samples]
        spool.remove(head.id)
    return found


def damage(path: Path, kind: str) -> None:
    whole = filled(path)
    if kind == "newer version":
        changed(path, "PRAGMA user_version = 99")
    elif kind == "other columns":
        changed(path, "ALTER TABLE batch RENAME COLUMN data TO payload")
    else:
        path.write_bytes(
            {
                "random": os.urandom(len(whole)),
                "zeros": bytes(len(whole)),
                "no page is whole": whole[:100] + os.urandom(len(whole) - 100),
                "text": b"spool" * 1000,
                "no words": whole.replace(b"CREATE TABLE batch", b"CREATE \xf0ABLE batch"),
            }[kind]
        )


DAMAGE = ["random", "zeros", "no page is whole", "text", "no words", "newer version", "other columns"]


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_file_that_is_no_spool_is_put_aside_and_told_and_a_new_one_begun(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = tmp_path / "rack.spool"
    damage(path, kind)
    before = path.read_bytes()
    with closing(Spool(path, GB, 0)) as spool:
        (kept,) = (each for each in tmp_path.glob("rack.spool.broken-*") if not each.name.endswith("-journal"))
        assert kept.stat().st_size == len(before)
        assert (spool.rows, spool.aside) == (0, (1, 0))
        spool.append(Batch([sample(1)]))
        assert drained(spool) == [1]
    assert f"it is set aside as {kept.name}" in caplog.text
    with closing(Spool(path, GB, 0)) as again:
        assert again.aside == (1, 0)  # until somebody looks
        (found,) = aside.look(path)
        assert (found.name, found.samples) == (kept.name, None)
        again.refresh()
        assert again.aside == (0, 0)


@pytest.mark.parametrize("size", [0, 1, 50, 4095, 4096, 8192])
def test_a_file_that_was_cut_off_is_told_and_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """To SQLite a file without a byte is a new one."""
    path = tmp_path / "rack.spool"
    filled(path)
    os.truncate(path, size)
    with closing(Spool(path, GB, 0)) as spool:
        assert (spool.rows, spool.aside) == (0, (1, 0))
        assert "it is set aside as rack.spool.broken-" in caplog.text
        spool.append(Batch([sample(1)]))
        assert drained(spool) == [1]
    (found,) = aside.look(path)
    assert found.reason == "it is empty: what waited in it, if anything did, is lost" or size >= 50


def test_a_spool_that_cannot_be_begun_leaves_no_empty_file(tmp_path: Path) -> None:
    """The next start would tell that it was emptied."""
    path = tmp_path / "rack.spool"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(SpoolError):
            Spool(path, GB, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not path.exists()


@pytest.mark.parametrize("size", [0, 1, 4096, 8192])
def test_what_waited_in_a_file_that_is_cut_off_while_it_is_used_is_counted(tmp_path: Path, size: int) -> None:
    path = tmp_path / "rack.spool"
    with closing(Spool(path, GB, 0)) as spool:
        for number in range(19):
            spool.append(Batch([sample(number, "x" * 3000)]))
        os.truncate(path, size)
        spool.append(Batch([sample(20)]))
        assert spool.aside == (1, 19)
        assert drained(spool) == [20]


def test_what_waited_in_a_file_that_was_removed_is_counted_until_somebody_looks(tmp_path: Path) -> None:
    path = tmp_path / "rack.spool"
    with closing(Spool(path, GB, 0)) as spool:
        spool.append(Batch([sample(1), sample(2)]))
        path.unlink()
        spool.append(Batch([sample(3)]))
        assert (spool.rows, spool.aside) == (2, (1, 2))  # and the mark of what is lost
        (found,) = aside.look(path)
        assert (found.name, found.samples) == ("lost with rack.spool", 2)
        assert found.reason == "it was removed or replaced while it was in use"
        assert aside.look(path) == []
        spool.refresh()
        assert spool.aside == (0, 0)


@pytest.mark.parametrize("kind", ["random", "zeros"])
def test_a_file_that_is_damaged_while_it_is_used_stops_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "rack.spool"
    with closing(Spool(path, GB, 0)) as spool:
        spool.append(Batch([sample(1)]))
        size = path.stat().st_size
        path.write_bytes(os.urandom(size) if kind == "random" else bytes(size))
        spool.append(Batch([sample(2)]))
        assert spool.aside == (1, 1)
        assert (drained(spool), spool.rows, spool.oldest) == ([2], 0, None)


BAD = [
    b"",
    b"\0" * 50,
    random.Random(1).randbytes(50),
    zlib.compress(b"{"),
    zlib.compress(b"[1, 2]"),
    zlib.compress(b"[[[1]], [], {}]"),
]
OTHER_VERSION = [
    [[["A", 5, 1.0, 0, "NO_ALARM", "a new field"]], [], {}],
    [[["A", 5, 1.0, 0, None]], [], {}],
    [[["A", 5, 1.0, 7, "NO_ALARM"]], [], {}],
    [[["A", 5, {"float32": "AAAA"}, 0, "NO_ALARM"]], [], {}],
    [[["A", 5, {"packed": "AAAA"}, 0, "NO_ALARM"]], [], {}],
    [[["A", 5, None, 0, "NO_ALARM"]], [], {}],
    [[["A", 5, ["a", "b"], 0, "NO_ALARM"]], [], {}],
    [[], [], {"A": [0, {"unit": ["V"]}]}],
    [[], [], {"A": [0, {"display": [1]}]}],
    [[], [], {"A": [0, {"words": None}]}],
    [[], [["temperatures", ["DateTm"], [1]]], {}],
    [[], [], {"A": [0, {"unit": "V", "colour": "red"}]}],
    {"samples": []},
]


BAD += [zlib.compress(json.dumps(each).encode()) for each in OTHER_VERSION]


@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_one_bad_batch_is_put_aside_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes) -> None:
    path = tmp_path / "rack.spool"
    filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE batch SET data = ?, count = 40 WHERE id = 8", (data,))
    with closing(Spool(path, GB, 0)) as spool:
        left = [batch for _, _, batch in spool.leftover()]
        (lost,) = (batch for batch in left if batch.lost_ns or any(map(is_gap, batch.samples)) or not batch)
        assert len(left) == 18 + 1
        gaps = [each.time_ns for each in lost.samples]
        assert drained(spool) == [*range(7), *gaps, *range(8, 19)]
        assert (spool.rows, spool.aside) == (0, (1, 40))
    assert "a batch of 40 samples cannot be read" in caplog.text
    assert not list(tmp_path.glob("*.broken-*"))


@pytest.mark.parametrize("spooled", [1e300, -1e300, 0.0, "text", b"\xf0\xf1"])
def test_a_batch_whose_time_cannot_be_true_is_lost_now_and_stops_nothing(tmp_path: Path, spooled: object) -> None:
    path, before = tmp_path / "rack.spool", time.time() - 2
    filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE batch SET spooled = ?, run = ?, count = ?, data = ? WHERE id = 8", (*[spooled] * 3, b"")
        )
    with closing(Spool(path, GB, 0)) as spool:
        (lost,) = (each for each in spool.leftover() if each.batch.lost_ns)
        assert before < lost.batch.lost_ns / 1e9 <= time.time() + 1
        assert spool.oldest is None or before < spool.oldest <= time.time() + 1
        assert drained(spool) == [*range(7), *range(8, 19)]
    assert aside.look(path)


def test_a_batch_that_cannot_be_read_marks_each_pv_that_it_names_right_before_its_first_row() -> None:
    later = [["A", 9000, 1.0, 0, "NO_ALARM", "new"], ["B", 5001, 1.0, 0, "NO_ALARM"], ["A", 7500, 1.0, 0, "NO_ALARM"]]
    lost = Batch.lost(zlib.compress(json.dumps([later, [], []]).encode()), 77)
    assert lost == Batch([gap_marker("A", 6000, Gap.DAMAGED), gap_marker("B", 4000, Gap.DAMAGED)])


@pytest.mark.parametrize("samples", ["text", [1], [[1, 2]], [["A", 1.5]], [["A", 5], [None, 6]], [["A"]], None])
def test_a_batch_that_cannot_be_read_and_does_not_name_its_pvs_says_when_it_was_spooled(
    samples: object, spool: Spool
) -> None:
    data = zlib.compress(json.dumps([samples, [], []]).encode())
    spool.append(Batch([sample(1)]))
    changed(spool.path, f"UPDATE batch SET spooled = 1.5, data = x'{data.hex()}'")
    head = spool.head()
    assert head is not None
    assert head.batch == Batch(lost_ns=1_500_000_000)
    assert spool.head() == head  # the next time it is read from the file
    assert spool.aside == (1, 1)


def test_what_was_put_aside_is_brought_in_again(tmp_path: Path) -> None:
    """By a program that can read it, also while the archiver runs."""
    path = tmp_path / "rack.spool"
    filled(path)
    changed(path, "UPDATE batch SET data = CAST(x'00' || data AS BLOB) WHERE id IN (3, 5)")
    with closing(Spool(path, GB, 0)) as spool:
        assert len(drained(spool)) == 17
        assert [(each.name, each.samples) for each in aside.look(path)] == [("batch 1", 1), ("batch 2", 1)]
        assert aside.bring_in(path) == 0  # it still cannot be read
        spool.refresh()
        assert (drained(spool), [each.samples for each in aside.look(path)]) == ([], [1, 1])
        changed(path, "UPDATE aside SET data = CAST(substr(data, 2) AS BLOB)")
        assert aside.bring_in(path) == 2
        spool.refresh()
        assert (drained(spool), spool.aside, aside.look(path)) == ([2, 4], (0, 0), [])


def test_a_file_that_can_be_read_now_is_brought_in_again(tmp_path: Path) -> None:
    path = tmp_path / "rack.spool"
    damage(path, "newer version")
    with closing(Spool(path, GB, 0)) as spool:
        assert aside.bring_in(path) == 19
        spool.refresh()
        assert drained(spool) == list(range(19))
    assert not list(tmp_path.glob("*.broken-*"))
    with pytest.raises(SpoolError, match="there is no spool: has the archiver run, with this state_directory"):
        aside.look(tmp_path / "other.spool")


def test_a_file_of_which_something_cannot_be_read_is_kept_for_a_version_that_can(tmp_path: Path) -> None:
    """What is missing between the batches that can be read is marked."""
    path = tmp_path / "rack.spool"
    damage(path, "newer version")
    changed(path, "UPDATE batch SET data = CAST(x'00' || data AS BLOB) WHERE id = 3")
    with closing(Spool(path, GB, 0)) as spool:
        for _ in range(2):
            assert aside.bring_in(path) == 18
            spool.refresh()
            assert spool.rows == 19
            assert drained(spool) == [each for each in range(19) if each != 2]
            assert len(aside.look(path)) == 1
        (kept,) = (each for each in tmp_path.glob("*.broken-*") if not each.name.endswith("-journal"))
        changed(kept, "UPDATE batch SET data = CAST(substr(data, 2) AS BLOB) WHERE id = 3")
        assert aside.bring_in(path) == 19
        spool.refresh()
        assert drained(spool) == list(range(19))
    assert not list(tmp_path.glob("*.broken-*"))


def test_what_was_set_aside_in_a_file_is_brought_in_with_it(tmp_path: Path) -> None:
    path = tmp_path / "rack.spool"
    filled(path)
    changed(path, "UPDATE batch SET data = CAST(x'00' || data AS BLOB) WHERE id IN (3, 5)")
    with closing(Spool(path, GB, 0)) as spool:
        assert len(drained(spool)) == 17
        spool.set_aside()
        (kept,) = (each for each in tmp_path.glob("*.broken-*") if not each.name.endswith("-journal"))
        assert aside.bring_in(path) == 0
        assert kept.exists()
        changed(kept, "UPDATE aside SET data = CAST(substr(data, 2) AS BLOB)")
        assert aside.bring_in(path) == 2
        spool.refresh()
        assert drained(spool) == [2, 4]
    assert not list(tmp_path.glob("*.broken-*"))


@pytest.fixture(scope="module")
def spooled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Twenty batches of which most fill more than a page, or share one."""
    path = tmp_path_factory.mktemp("spooled") / "rack.spool"
    with closing(Spool(path, GB, 0)) as spool:
        for number in range(20):
            values = random.Random(number)
            count = (1, 50, 400)[number % 3]
            spool.append(Batch([sample(1000 * number + each, values.random()) for each in range(count)]))
    return path.read_bytes()


def emptied(spool: Spool) -> list[int]:
    """Return the times of what is stored, as the writer empties the spool."""
    found: list[int] = []
    for _ in range(100):
        head = spool.head()
        if head is None:
            return found
        found += [each.time_ns for each in head.batch.samples]
        spool.remove(head.id)
    raise AssertionError("a batch is stored again and again")


@pytest.mark.parametrize("page", range(16))
def test_pages_that_are_missing_keep_no_batch_from_being_stored(tmp_path: Path, spooled: bytes, page: int) -> None:
    """What is read of a damaged page may not be found by its number, and so never be removed."""
    path, size = tmp_path / "rack.spool", 4096
    for damaged in (
        spooled[: page * size],
        spooled[: page * size + 500],
        spooled[: page * size] + bytes(size) + spooled[(page + 1) * size :],
        spooled[: page * size + 2000] + bytes(size - 2000) + spooled[(page + 1) * size :],
    ):
        path.write_bytes(damaged)
        with closing(Spool(path, GB, 0)) as spool:
            spool.append(Batch([sample(-1)]))
            found = emptied(spool)
            if spool.aside[0]:
                aside.look(path)
                aside.bring_in(path)
                found += emptied(spool)
            assert -1 in found
        for file in tmp_path.iterdir():
            file.unlink()


def test_a_spool_of_the_version_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rack.spool"
    filled(path)
    changed(path, "DROP TABLE aside", "PRAGMA user_version = 0")
    with closing(Spool(path, GB, 0)) as spool:
        assert drained(spool) == list(range(19))


def test_a_disk_that_cannot_be_read_puts_nothing_aside(tmp_path: Path) -> None:
    (tmp_path / "rack.spool").mkdir()
    with pytest.raises(SpoolError, match="unable to open database file"):
        Spool(tmp_path / "rack.spool", GB, 0)
    assert [each.name for each in tmp_path.iterdir()] == ["rack.spool"]


FILLER = """
import itertools, sys
from pathlib import Path
from archiver.sample import Sample
from archiver.recording.spool import Batch, Spool
spool = Spool(Path(sys.argv[1]), 1e9, 0)
for number in itertools.count():
    spool.append(Batch([Sample("A", number, 1.0, 0, "NO_ALARM")]))
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_spooled(tmp_path: Path) -> None:
    path = tmp_path / "rack.spool"
    with subprocess.Popen([sys.executable, "-P", "-c", FILLER, path], stdout=subprocess.PIPE, text=True) as filler:
        assert filler.stdout is not None
        while int(line := filler.stdout.readline()) < 20:
            pass
        filler.send_signal(signal.SIGKILL)
        last = int((filler.stdout.read().split() or [line])[-1])
    with closing(Spool(path, GB, 0)) as spool:
        numbers = [batch.samples[0].time_ns for _, _, batch in spool.leftover()]
    assert numbers in (list(range(last + 1)), list(range(last + 2)))
