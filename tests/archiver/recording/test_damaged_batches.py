"""What was lost with a batch of the spool that cannot be read is marked in the history, and comes in later."""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from archiver.history.query import MetadataHistory
from archiver.recording import aside
from archiver.recording.batch import Batch
from archiver.recording.previous_run import end_previous_run
from archiver.recording.queue import Queue
from archiver.recording.spool import Spool
from archiver.recording.upkeep.rounds import Upkeep
from archiver.recording.writer import Writer
from archiver.sample import Gap, Sample, gap_marker
from archiver.settings import Policy
from archiver.storage.database import open_reader, open_store
from archiver.storage.owner import ON_ITS_WAY_NS
from tests.archiver.processes import Archiver, Ioc, Wait

S, US = 10**9, 1000
BEGAN = time.time_ns() // S * S - 200 * S


def row(pv: str, second: int, value: float) -> Sample:
    return Sample(pv, BEGAN + second * S, value, 0, "NO_ALARM")


def gap(pv: str, time_ns: int) -> Sample:
    return gap_marker(pv, BEGAN + time_ns, Gap.DAMAGED)


STORED = [row("A", 0, 1.0), row("B", 0, 2.0), row("C", 0, 3.0), gap_marker("C", BEGAN + 5 * S, Gap.DISCONNECTED)]
BEFORE, LOST, AFTER = (
    [row("A", 50, 3.0)],
    [row("A", 60, 4.0), row("A", 61, 5.0), row("B", 60, 6.0)],
    [row("A", 70, 7.0)],
)


def of_a_newer_version(data: bytes) -> bytes:
    samples, *others = json.loads(zlib.decompress(data))
    return zlib.compress(json.dumps([[[*each, "new"] for each in samples], *others]).encode())


def random_bytes(data: bytes) -> bytes:
    return b"\0" * len(data)


@pytest.mark.parametrize("found", ["at the start", "while it runs"])
@pytest.mark.parametrize(
    ("damaged", "gaps"),
    [
        (of_a_newer_version, [gap("A", 60 * S - US), gap("B", 60 * S - US)]),
        (random_bytes, [gap("A", 50 * S + US), gap("B", US)]),
    ],
    ids=["named", "unnamed"],
)
def test_nothing_is_known_from_a_lost_batch_to_the_next_row_and_its_rows_come_in_later(
    damaged: Callable[[bytes], bytes], gaps: list[Sample], found: str, database: str, tmp_path: Path
) -> None:
    path = tmp_path / "rack.spool"
    with closing(open_store(database, "rack")) as store:
        store.add(STORED)
        store.live(BEGAN + 10 * S)
    with closing(Spool(path, 1e9, 0)) as spool:
        for batch in (BEFORE, LOST, AFTER):
            spool.append(Batch(batch))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE batch SET spooled = ? + 50 + 10 * (id - 1)", (BEGAN // S,))
        (whole,) = connection.execute("SELECT data FROM batch WHERE id = 2").fetchone()
        connection.execute("UPDATE batch SET data = ? WHERE id = 2", (damaged(whole),))
    store = open_store(database, "rack")
    with closing(Spool(path, 1e9, 0)) as spool:
        ends = [
            gap_marker("A", BEGAN + 70 * S + US, Gap.ARCHIVE_OFF),
            gap_marker("B", BEGAN + 70 * S - ON_ITS_WAY_NS + US, Gap.ARCHIVE_OFF),
        ]
        if found == "at the start":
            end_previous_run(store, spool, BEGAN + 100 * S)  # which marks Archive_Off, for they may come in later
        else:
            store.add(ends)
        writer = Writer(Queue(), spool, Upkeep(lambda pv: Policy()), lambda: store)
        writer.cycle(time.monotonic() + 5)
        assert (spool.rows, spool.aside) == (0, (1, 3))
        assert rows(database) == in_order(STORED + BEFORE + AFTER + gaps + ends)
        for data, count in ((damaged(whole), 0), (whole, 3)):  # it still cannot be read; it can
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("UPDATE aside SET data = ?", (data,))
            assert aside.bring_in(path) == count
            spool.refresh()
            writer.cycle(time.monotonic() + 5)
        assert (spool.rows, spool.aside) == (0, (0, 0))
    writer.close()
    assert rows(database) == in_order(STORED + BEFORE + LOST + AFTER + gaps + ends)


def in_order(samples: list[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda each: (each.pv, each.time_ns))


def rows(database: str) -> list[Sample]:
    with closing(open_reader(database)) as reader:
        return [each for pv in reader.names() for each in reader.samples([pv], 0, BEGAN + 100 * S)]


def test_what_waited_in_a_spool_that_was_removed_is_marked(database: str, tmp_path: Path) -> None:
    path, store = tmp_path / "rack.spool", open_store(database, "rack")
    store.add(STORED)
    with closing(Spool(path, 1e9, 0)) as spool:
        writer = Writer(Queue(), spool, Upkeep(lambda pv: Policy()), lambda: store)
        spool.append(Batch(LOST))
        path.unlink()
        spool.append(Batch(AFTER))
        writer.cycle(time.monotonic() + 5)
        assert spool.rows == 0
    writer.close()
    assert rows(database)[:5] == [STORED[0], gap("A", US), *AFTER, STORED[1], gap("B", US)]


SWITCH = 'record(bo, "T:HV") { field(VAL, "0") field(PINI, "YES") field(ZNAM, "%s") field(ONAM, "%s") }'


def damage(spool: Path) -> None:
    with closing(sqlite3.connect(spool, isolation_level=None)) as connection:
        connection.execute("UPDATE batch SET data = zeroblob(100)")


@pytest.mark.parametrize("lose", [damage, Path.unlink])
def test_words_that_are_lost_with_the_spool_are_stored_again(
    ioc: Ioc, archiver: Archiver, wait: Wait, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    """A switch comes back with its words the other way round while no row can be stored."""
    spool = tmp_path / "rack.spool"
    ioc.start(SWITCH % ("Off", "On"))
    archiver.start("T:HV")
    wait(lambda: archiver.values("T:HV") == [0])
    with closing(sqlite3.connect(archiver.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ioc.stop()
        ioc.start(SWITCH % ("On", "Off"))
        wait(lambda: words(spool) == ["On", "Off"])
        lose(spool)
        ioc.put("T:HV", "1")
        other.execute("ROLLBACK")
    wait(lambda: archiver.values("T:HV")[-1] == 1)
    with closing(open_reader(archiver.database)) as reader:
        *_, newest = reader.samples(["T:HV"], 0, 2**62)
        wait(
            lambda: (
                MetadataHistory({"T:HV": reader.metadata("T:HV")}).at("T:HV", newest.time_ns).words == ("On", "Off")
            )
        )


def words(spool: Path) -> list[str]:
    """Return the words that wait in a spool."""
    with closing(sqlite3.connect(spool)) as connection:
        batches = [Batch.load(data) for (data,) in connection.execute("SELECT data FROM batch ORDER BY id")]
    return [word for batch in batches for _, dated in batch.metadata for word in dated.metadata.words]
