"""Where a copy joins what the same archiver stored in the target at another time, nothing is known between."""

from __future__ import annotations

from contextlib import closing

import pytest

from archiver.keeping.copy import copy
from archiver.sample import Gap, Sample, gap_marker, is_gap
from archiver.storage.database import open_reader, open_store
from archiver.storage.store import StoreError
from archiver.storage.transfer import contract
from tests.archiver.keeping.archives import SECOND, START
from tests.archiver.keeping.conftest import New

KINDS = ("sqlite", "mysql")
NAME = "LAB:one"


def quiet(_done: int, _total: int) -> None:
    pass


def seconds(first: int, last: int) -> list[Sample]:
    """Return a row of R each second, whose value is the second."""
    return [Sample("R", START + n * SECOND, float(n), 0, "NO_ALARM") for n in range(first, last)]


def store(database: str, samples: list[Sample], alive: int) -> None:
    """Store samples, and a sign of life at a second."""
    with closing(open_store(database, NAME)) as archive:
        archive.add(samples)
        archive.live(START + alive * SECOND)


def known(database: str, second: float) -> float | None:
    """Return the value that is in force at a second; None while it is not known."""
    at = START + int(second * SECOND)
    with closing(open_reader(database)) as reader:
        found = list(reader.samples(["R"], at, at))
    return None if not found or is_gap(found[-1]) else float(str(found[-1].value))


@pytest.mark.parametrize("kind", KINDS)
def test_after_the_end_of_a_backup_nothing_is_known_until_its_archiver_began_elsewhere(new: New, kind: str) -> None:
    backup, there = new("sqlite"), new(kind)
    store(backup, seconds(0, 10), 12)
    store(there, seconds(20, 30), 30)
    copy(backup, there, quiet)
    assert [known(there, at) for at in (9.5, 11.9, 12.1, 19.9, 20)] == [9.0, 9.0, None, None, 20.0]
    copy(backup, there, quiet)
    assert [known(there, at) for at in (9.5, 11.9, 12.1, 19.9, 20)] == [9.0, 9.0, None, None, 20.0]


@pytest.mark.parametrize("kind", KINDS)
def test_after_the_end_of_an_archive_nothing_is_known_until_what_is_copied_there_begins(new: New, kind: str) -> None:
    later, there = new("sqlite"), new(kind)
    store(there, seconds(0, 10), 12)
    store(later, seconds(20, 30), 30)
    copy(later, there, quiet)
    assert [known(there, at) for at in (9.5, 11.9, 12.1, 19.9, 20)] == [9.0, 9.0, None, None, 20.0]


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_archiver_stored_elsewhere_meanwhile_ends_where_it_came_back(new: New, kind: str) -> None:
    back, there = new("sqlite"), new(kind)
    store(back, seconds(0, 10), 12)
    store(there, seconds(20, 30), 32)
    store(back, [gap_marker("R", START + 12 * SECOND + 1000, Gap.ARCHIVE_OFF), *seconds(40, 50)], 50)
    for _ in range(2):
        copy(back, there, quiet)
        assert [known(there, at) for at in (11.9, 12.1, 20, 29.5, 31.9, 32.1, 39.9, 40)] == [
            9.0, None, 20.0, 29.0, 29.0, None, None, 40.0
        ]  # fmt: skip
    store(back, seconds(50, 60), 60)
    copy(back, there, quiet)
    assert [known(there, at + 0.5) for at in range(40, 60)] == [float(at) for at in range(40, 60)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_that_is_interrupted_has_one_gap_where_the_source_goes_on(new: New, kind: str) -> None:
    later, there = new("sqlite"), new(kind)
    store(there, seconds(0, 10), 12)
    store(later, seconds(20, 30), 30)

    def interrupted(_done: int, _total: int) -> None:
        raise StoreError("the power is off")

    with pytest.raises(StoreError, match="the power is off"):
        copy(later, there, interrupted)
    copy(later, there, quiet)
    with closing(open_reader(there)) as reader:
        assert [each.time_ns for each in reader.samples(["R"], 0, START + 30 * SECOND) if is_gap(each)] == [
            START + 12 * SECOND + 1000
        ]


def test_a_file_that_was_copied_while_its_archiver_went_on_gets_no_gap(new: New) -> None:
    """Its newest rows are later than its sign of life, and in the source, too."""
    source, there = new("sqlite"), new("sqlite")
    store(source, seconds(0, 15), 12)
    store(there, seconds(0, 15), 12)
    store(source, seconds(25, 30), 30)
    copy(source, there, quiet)
    assert [known(there, at) for at in (12.5, 14.5, 24.5, 25)] == [12.0, 14.0, 14.0, 25.0]


@pytest.mark.parametrize("kind", KINDS)
def test_while_the_past_is_copied_nothing_is_known_after_what_is_there(
    new: New, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archiver.storage.sqlite.source.FIRST_ROWS", 10)
    monkeypatch.setattr(contract, "CHUNK_ROWS", 10)
    backup, there = new("sqlite"), new(kind)
    store(backup, seconds(0, 100), 105)
    store(there, seconds(200, 210), 210)

    stops = iter([30, 70, 101])
    stop = next(stops)

    def interrupted(_done: int, _total: int) -> None:
        with closing(open_reader(there)) as reader:
            *values, gap = reader.samples(["R"], 0, START + 150 * SECOND)
        assert [each.value for each in values] == [float(n) for n in range(len(values))]
        assert is_gap(gap)
        assert gap.time_ns == (values[-1].time_ns if len(values) < 100 else START + 105 * SECOND) + 1000
        assert known(there, 200) == 200
        if len(values) >= stop:
            raise StoreError("the power is off")

    for _ in range(2):
        with pytest.raises(StoreError, match="the power is off"):
            copy(backup, there, interrupted)
        stop = next(stops)
    copy(backup, there, interrupted)
    assert [known(there, at + 0.5) for at in range(110)] == [*map(float, range(100)), *[99.0] * 5, *[None] * 5]
    with closing(open_reader(there)) as reader:
        assert len([each for each in reader.samples(["R"], 0, START + 209 * SECOND) if is_gap(each)]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_both_have_is_one_without_a_gap(new: New, kind: str) -> None:
    backup, there = new("sqlite"), new(kind)
    store(backup, seconds(0, 20), 25)
    store(there, seconds(10, 40), 40)
    copy(backup, there, quiet)
    assert [known(there, at + 0.5) for at in range(39)] == [float(at) for at in range(39)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_stretch_is_known_as_far_as_the_backup_was(new: New, kind: str) -> None:
    """As ``salvage`` leaves it: a mark behind the last row before the damaged pages."""
    backup, there = new("sqlite"), new(kind)
    store(backup, seconds(0, 20), 25)
    hole = gap_marker("R", START + 10 * SECOND + 1000, Gap.DAMAGED)
    store(there, [*seconds(0, 11), hole, *seconds(50, 60)], 60)
    copy(backup, there, quiet)
    assert [known(there, at) for at in (15.5, 24.9, 25.1, 49.9, 50)] == [15.0, 19.0, None, None, 50.0]
