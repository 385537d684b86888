from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from archiver.recording.spool import Batch, Spool, SpoolError
from archiver.sample import Dated, Metadata, Sample, Value
from archiver.storage.store import TableRow

GB = 1e9


def sample(number: int, value: Value = 1.5) -> Sample:
    return Sample("A", number, value, 0, "NO_ALARM")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool(tmp_path / "rack.spool", GB, 0)) as spool:
        yield spool


def test_a_batch_comes_back_as_it_was(spool: Spool) -> None:
    values: list[Value] = [1.0, 7, "text \N{GREEK SMALL LETTER MU}\ud800", (1.0, math.inf), math.inf, (), -0.0]
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
    assert [type(each.value) for each in back.samples] == [float, int, str, tuple, float, tuple, float]


def test_batches_leave_in_the_order_in_which_they_came_also_after_a_restart(spool: Spool, tmp_path: Path) -> None:
    for number in range(3):
        spool.append(Batch([sample(number)]))
    first = spool.head()
    assert first is not None
    spool.remove(first.id)
    with closing(Spool(tmp_path / "rack.spool", GB, 0)) as again:
        assert again.rows == 2
        assert [batch.samples[0].time_ns for _, batch in again.leftover()] == [1, 2]
        again.append(Batch([sample(9)]))
        assert [batch.samples[0].time_ns for _, batch in again.leftover()] == [1, 2]
        while head := again.head():
            again.remove(head.id)
        assert (again.rows, again.oldest) == (0, None)


def test_a_batch_keeps_the_begin_of_a_run_that_the_database_does_not_know(spool: Spool, tmp_path: Path) -> None:
    for spool.run_ns in (5, 0):
        spool.append(Batch([sample(1)]))
    with closing(Spool(tmp_path / "rack.spool", GB, 0)) as again:
        assert [run_ns for run_ns, _ in again.leftover()] == [5, 0]


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


def test_a_file_that_cannot_be_read_is_put_aside(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "rack.spool", GB, 0)) as spool:
        spool.append(Batch([sample(1)]))
        spool._connection.execute("UPDATE batch SET data = x'00'")
        with pytest.raises(SpoolError, match="the spool cannot be used"):
            spool.head()
        spool.set_aside()
        assert spool.rows == 0
        spool.append(Batch([sample(2)]))
        head = spool.head()
        assert head is not None
        assert head.batch.samples == [sample(2)]
    assert len(list(tmp_path.glob("rack.spool.broken-*"))) == 1


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
        numbers = [batch.samples[0].time_ns for _, batch in spool.leftover()]
    assert numbers in (list(range(last + 1)), list(range(last + 2)))
