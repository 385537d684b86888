"""Rows in columns: the same as samples, whatever they hold, on each kind of database."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import closing
from unittest.mock import patch

import pytest

from archiver import blocks as blocks_module
from archiver.blocks import Block
from archiver.keeping.rename import rename
from archiver.sample import Gap, Sample, Value, gap_marker
from archiver.storage import owner
from archiver.storage.database import open_reader, open_store
from archiver.storage.mysql import rows as mysql_rows
from archiver.storage.sqlite import reader as sqlite_reader
from archiver.times import format_time

START = 1_700_000_000_000_000_000
SECOND = 10**9

KINDS: dict[str, list[Value]] = {
    "doubles": [1.5, -2.25, 1e-300, 0.1 + 0.2, 1.7976931348623157e308],
    "not finite": [1.0, math.nan, math.inf, -math.inf],
    "integers": [1, -(2**31), 0],
    "both": [1, 1.0, 2],
    "texts": ["", "on", "NaN is no word\n"],
    "arrays": [(1.0, math.nan), (), (3.0,)],
    "all": [1.5, 3, "text", (1.0, 2.0), math.nan],
}


@pytest.fixture(params=[3, 100])
def small_steps(request: pytest.FixtureRequest) -> Iterator[None]:
    """Steps of few rows, so that what is between two is seen."""
    with (
        patch.object(mysql_rows, "PACKED_ROWS", request.param),
        patch.object(sqlite_reader, "STEP_ROWS", request.param),
        patch.object(blocks_module, "SIZE", request.param),
    ):
        yield


def flat(pv: str, blocks: Iterator[Block]) -> list[Sample]:
    return [
        Sample(pv, int(time_ns), value, int(severity), block.words[int(status)])
        for block in blocks
        for time_ns, value, severity, status in zip(
            block.time_ns,
            block.value if isinstance(block.value, list) else block.value.tolist(),
            block.severity,
            block.status,
            strict=True,
        )
    ]


def check(database: str, pv: str, since_ns: int = 0, until_ns: int = 2**63 - 1) -> list[Sample]:
    """Both ways to read return the same; return it."""
    with closing(open_reader(database)) as reader:
        expected = list(reader.samples([pv], since_ns, until_ns))
        found = flat(pv, reader.blocks(pv, since_ns, until_ns))
    assert list(map(repr, found)) == list(map(repr, expected))  # NaN is not equal to itself
    return found


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("kind", KINDS)
def test_all_values_are_read_as_samples_are(database: str, kind: str) -> None:
    numbers = random.Random(kind)
    samples = [
        Sample("A", START + i * SECOND, numbers.choice(KINDS[kind]), numbers.choice([0, 0, 1, 3]), "HIGH")
        for i in range(40)
    ]
    samples[11:11] = [gap_marker("A", START + 10 * SECOND + 1000, Gap.DISCONNECTED)]
    with closing(open_store(database)) as store:
        store.add(samples)
        assert len(check(database, "A")) == 41
        for since, until in ((0, 0), (5, 5), (-3, -1), (5, 17), (38, 90), (10, 11)):
            check(database, "A", START + since * SECOND, START + until * SECOND)


@pytest.mark.usefixtures("small_steps")
def test_what_several_archivers_keep_and_a_dead_one_is_read_as_samples_are(database: str) -> None:
    if database.startswith("sqlite"):
        pytest.skip("a file has one archiver")
    for number, name in enumerate(("one", "two")):
        with closing(open_store(database, name)) as store:
            store.add([Sample("A", START + (2 * i + number) * SECOND, float(i), 0, "NO_ALARM") for i in range(9)])
            store.add([Sample(name, START + i * SECOND, float(i), 0, "NO_ALARM") for i in range(9)])
            store.live(START + (9 + number) * SECOND)
    assert owner.LIFE_PATIENCE_NS
    for pv in ("A", "one", "two"):
        assert check(database, pv)[-1].status == Gap.ARCHIVE_OFF
        check(database, pv, START + 30 * SECOND)
        check(database, pv, START, START + 10 * SECOND)


def test_a_dead_archiver_is_a_gap_in_columns_too(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add([Sample("A", START + i * SECOND, float(i), 0, "NO_ALARM") for i in range(9)])
        store.live(START + 9 * SECOND)
    assert check(database, "A")[-1].status == Gap.ARCHIVE_OFF
    assert len(check(database, "A", START + 30 * SECOND)) == 1


def test_a_renamed_pv_is_read_as_samples_are(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add([Sample("OLD", START + i * SECOND, float(i), 0, "NO_ALARM") for i in range(9)])
        store.add([Sample("NEW", START + i * SECOND, float(i), 0, "NO_ALARM") for i in range(9, 19)])
    rename(database, "OLD", "NEW", format_time(START + 9 * SECOND))
    assert [each.value for each in check(database, "NEW")] == [float(i) for i in range(19)]
