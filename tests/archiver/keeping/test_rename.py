from __future__ import annotations

from contextlib import closing

import pytest

from archiver.history.query import HistoryError
from archiver.keeping.check import check
from archiver.keeping.copy import copy
from archiver.keeping.rename import rename, undo
from archiver.sample import Dated, Gap, Metadata, Sample, gap_marker
from archiver.storage.database import open_reader, open_store
from archiver.times import format_time
from tests.archiver.keeping.archives import SECOND, START
from tests.archiver.keeping.conftest import New
from tests.archiver.keeping.test_copy import KINDS, quiet


def rows(database: str, pv: str, since_ns: int = 0, until_ns: int = START + 900 * SECOND) -> list[tuple[int, object]]:
    with closing(open_reader(database)) as reader:
        return [((each.time_ns - START) // SECOND, each.value) for each in reader.samples([pv], since_ns, until_ns)]


@pytest.fixture(params=KINDS)
def archive(new: New, request: pytest.FixtureRequest) -> str:
    """OLD until 10 s, then a gap; NEW from 20 s on, in another unit."""
    database = new(request.param)
    with closing(open_store(database, "LAB:one")) as store:
        store.add_metadata({"OLD": Dated(0, Metadata("V", 1)), "OTHER": Dated(0, Metadata("A", 2))})
        store.add([Sample("OLD", START + n * SECOND, float(n), 0, "NO_ALARM") for n in range(11)])
        store.add([gap_marker("OLD", START + 12 * SECOND, Gap.ARCHIVE_OFF)])
        store.add_metadata({"NEW": Dated(0, Metadata("kV", 3))})
        store.add([Sample("NEW", START + n * SECOND, float(n), 0, "NO_ALARM") for n in range(20, 30)])
        store.add([Sample("OTHER", START + n * SECOND, float(n), 0, "NO_ALARM") for n in range(5, 8)])
    return database


WHOLE = [*((n, float(n)) for n in range(11)), (12, "Archive_Off"), *((n, float(n)) for n in range(20, 30))]


@pytest.mark.parametrize("name", ["OLD", "NEW"])
def test_both_names_give_the_whole_history(archive: str, name: str) -> None:
    assert rows(archive, "OLD") != rows(archive, "NEW")
    made = rename(archive, "OLD", "NEW")
    assert made.since_ns == START + 20 * SECOND
    assert rows(archive, name) == WHOLE
    with closing(open_reader(archive)) as reader:
        assert reader.names() == ["NEW", "OLD", "OTHER"]
        assert [(each.since_ns, each.metadata.unit) for each in reader.metadata(name)] == [
            (0, "V"), (START + 20 * SECOND, "kV")
        ]  # fmt: skip
        merged = list(reader.samples([name, "OTHER"], 0, START + 900 * SECOND))
    assert [each.time_ns for each in merged] == sorted(each.time_ns for each in merged)
    assert len(merged) == len(WHOLE) + 3


@pytest.mark.parametrize("name", ["OLD", "NEW"])
@pytest.mark.parametrize("begin", range(31))
def test_each_window_is_led_by_what_was_in_force(archive: str, name: str, begin: int) -> None:
    rename(archive, "OLD", "NEW")
    for end in (begin, begin + 1, 35):
        expected = [row for row in WHOLE if row[0] <= begin][-1:] + [row for row in WHOLE if begin < row[0] <= end]
        assert rows(archive, name, START + begin * SECOND, START + end * SECOND) == expected


def test_a_rename_is_taken_back(archive: str) -> None:
    before = rows(archive, "OLD"), rows(archive, "NEW")
    rename(archive, "OLD", "NEW")
    undo(archive, "OLD", "NEW")
    assert (rows(archive, "OLD"), rows(archive, "NEW")) == before
    with pytest.raises(HistoryError, match="nothing is to be taken back"):
        undo(archive, "OLD", "NEW")


def test_a_pv_can_be_renamed_before_the_new_name_has_a_row_and_again(archive: str) -> None:
    rename(archive, "OLD", "NEW")
    made = rename(archive, "NEW", "NEWEST", format_time(START + 40 * SECOND))
    with closing(open_store(archive, "LAB:one")) as store:
        store.add([Sample("NEWEST", made.since_ns + SECOND, 41.0, 0, "NO_ALARM")])
    for name in ("OLD", "NEW", "NEWEST"):
        assert rows(archive, name) == [*WHOLE, (41, 41.0)]


def value(pv: str, second: int) -> Sample:
    return Sample(pv, START + second * SECOND, float(second), 0, "NO_ALARM")


@pytest.mark.parametrize("kind", KINDS)
def test_the_old_name_is_read_until_the_ioc_has_the_new_one(new: New, kind: str) -> None:
    """The rename is noted at 10 s; the IOC is restarted with the new name at 16 s, and is there again at 20 s."""
    database = new(kind)
    with closing(open_store(database, "LAB:one")) as store:
        store.add([value("OLD", 5)])
        rename(database, "OLD", "NEW", format_time(START + 10 * SECOND))
        store.add([value("OLD", 12)])
        assert rows(database, "NEW") == rows(database, "OLD") == [(5, 5.0), (12, 12.0)]
        store.add([gap_marker("OLD", START + 16 * SECOND, Gap.DISCONNECTED)])
        store.add([value("OLD", 18), value("NEW", 20), value("NEW", 21), value("OLD", 22)])  # another PV has OLD now
    whole = [(5, 5.0), (12, 12.0), (16, "Disconnected"), (20, 20.0), (21, 21.0)]
    for begin in range(4, 24):
        expected = [row for row in whole if row[0] <= begin][-1:] + [row for row in whole if row[0] > begin]
        assert rows(database, "NEW", START + begin * SECOND) == expected


def test_a_gap_after_the_time_of_a_rename_is_seen(archive: str) -> None:
    rename(archive, "OLD", "NEW", format_time(START + 11 * SECOND))
    assert rows(archive, "NEW") == WHOLE


def test_a_copy_knows_the_renames(archive: str, new: New) -> None:
    rename(archive, "OLD", "NEW")
    there = new("sqlite")
    copy(archive, there, quiet)
    assert rows(there, "OLD") == WHOLE


@pytest.mark.parametrize(
    ("old", "new_name", "at", "sentence"),
    [
        ("NONE", "NEW", None, "is not in the archive"),
        ("OLD", "OLD", None, "is an older name of OLD, or the same"),
        ("OLD", "NEW", 5, "OLD has values after"),
        ("OLD", "NEW", 25, "NEW has values before"),
    ],
)
def test_a_rename_that_would_hide_a_value_is_refused(
    archive: str, old: str, new_name: str, at: int | None, sentence: str
) -> None:
    with pytest.raises(HistoryError, match=sentence):
        rename(archive, old, new_name, None if at is None else format_time(START + at * SECOND))
    with closing(open_reader(archive)) as reader:
        assert reader.renames() == []


def test_a_second_rename_of_one_name_and_a_ring_are_refused(archive: str) -> None:
    rename(archive, "OLD", "NEW")
    with pytest.raises(HistoryError, match=r"OLD is renamed to NEW already, since .* --undo"):
        rename(archive, "OLD", "OTHER")
    with pytest.raises(HistoryError, match="older name"):
        rename(archive, "NEW", "OLD")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("one", "other"), [(("OLD", "NEW"), ("NEW", "OLD")), (("OLD", "NEW"), ("OTHER", "NEW"))], ids=["circle", "fork"]
)
def test_renames_of_two_archives_that_contradict_each_other_are_told_and_the_earlier_one_is_used(
    new: New, kind: str, one: tuple[str, str], other: tuple[str, str]
) -> None:
    target = new(kind)
    for number, (old, name) in enumerate((one, other)):
        source = new("sqlite")
        with closing(open_store(source, f"LAB:{number}")) as store:
            for step, pv in enumerate((old, name)):
                store.add([Sample(pv, START + (20 * number + 10 * step) * SECOND, float(number), 0, "NO_ALARM")])
        rename(source, old, name)
        copy(source, target, quiet)
    with closing(open_reader(target)) as reader:
        for pv in reader.names():
            assert list(reader.samples([pv], 0, START + 900 * SECOND))
    (fault,) = check(target, quiet).faults
    assert fault.startswith(f"{other[0]} is renamed to {other[1]}, which contradicts an earlier rename")
    undo(target, *other)
    assert check(target, quiet).faults == []
