from __future__ import annotations

import os
import random
import shutil
import sqlite3
from bisect import bisect_right
from contextlib import closing
from pathlib import Path

import pytest

from archiver.keeping.check import check
from archiver.keeping.copy import copy
from archiver.keeping.salvage import salvage
from archiver.sample import Gap, Sample, is_gap
from archiver.storage.database import open_reader, open_store
from archiver.storage.store import StoreError
from tests.archiver.keeping.archives import contents, fill
from tests.archiver.keeping.commands import run
from tests.archiver.keeping.conftest import New
from tests.archiver.keeping.test_copy import KINDS, quiet

PAGE = 4096


def settled(database: str) -> Path:
    """An archive as an old one is: nearly all has settled."""
    fill(database)
    with closing(open_store(database, "LAB:one")) as store:
        for pv in ("R", "OLD", "S", "TEXT"):
            store.expire(pv, 2**62)
    fill(database)
    return Path(database.removeprefix("sqlite:///"))


def damage(file: Path, pages: list[int]) -> None:
    content = bytearray(file.read_bytes())
    for page in pages:
        content[(page - 1) * PAGE : page * PAGE] = os.urandom(PAGE)
    file.write_bytes(content)


def pages_of(file: Path, table: str) -> list[int]:
    """The pages of a table without its root."""
    with closing(sqlite3.connect(file)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        try:
            rows = connection.execute("SELECT pageno FROM dbstat WHERE name = ?", (table,)).fetchall()
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")
    return [page for (page,) in rows if page != root]


def test_of_a_sound_file_all_is_salvaged(new: New) -> None:
    here, there = new("sqlite"), new("sqlite")
    fill(here)
    found = salvage(here, there, quiet)
    assert (found.pvs, found.tables) == ([], [])
    assert contents(there) == contents(here)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("table", ["sample_settled", "sample_recent"])
@pytest.mark.parametrize("count", [1, 3])
def test_what_lies_outside_the_damaged_pages_is_salvaged_and_the_rest_is_marked(
    new: New, kind: str, table: str, count: int
) -> None:
    here, there = new("sqlite"), new(kind)
    if table == "sample_settled":
        settled(here)
    else:
        fill(here)
    file = Path(here.removeprefix("sqlite:///"))
    sound = contents(here)
    leaves = pages_of(file, table)
    assert len(leaves) > 2 * count
    chosen = random.Random(count).sample(leaves, count)
    damage(file, chosen)
    found = salvage(here, there, quiet)
    left = contents(there)
    rows = [row for row in left["rows"] if row[3] != Gap.DAMAGED]
    assert set(map(repr, rows)) <= set(map(repr, sound["rows"]))
    lost = len(sound["rows"]) - len(rows)
    assert 0 < lost < 400 * count, lost
    assert found.pvs
    assert left["archivers"] == sound["archivers"]
    gone = {row[:2] for row in sound["rows"]} - {row[:2] for row in rows}
    with closing(open_reader(there)) as reader:  # where a row is missing nothing is shown as known
        for channel, time_us in gone:
            in_force = list(reader.samples([channel[1]], time_us * 1000, time_us * 1000))
            assert not in_force or is_gap(in_force[0]) or in_force[0].time_ns // 1000 > time_us
    assert check(there, quiet).faults == []


START, SECOND = 1_800_000_000_000_000_000, 10**9
PVS = [f"P{number}" for number in range(6)]


@pytest.fixture(scope="module")
def two_thirds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of which two thirds have settled: a row a second of each PV."""
    file = tmp_path_factory.mktemp("sound") / "rack.sqlite"
    with closing(open_store(f"sqlite:///{file}", "LAB:one")) as store:
        store.add([Sample(pv, START + n * SECOND, n / 8, 0, "NO_ALARM") for pv in PVS for n in range(1500)])
        store.thin("P0", START + 1000 * SECOND, 1)
        store.live(START + 1500 * SECOND)
    return file


def known_and_lost(database: str) -> dict[str, int]:
    """Return of each PV at how many times a row is lost, and an earlier one is shown as known."""
    found = dict.fromkeys(PVS, 0)
    with closing(open_reader(database)) as reader:
        for pv in PVS:
            rows = list(reader.samples([pv], 0, START + 1499 * SECOND))
            times_ns = [each.time_ns for each in rows]
            for time_ns in range(START, START + 1500 * SECOND, SECOND):
                index = bisect_right(times_ns, time_ns) - 1
                if index >= 0 and times_ns[index] != time_ns and not is_gap(rows[index]):
                    found[pv] += 1
    return found


@pytest.mark.parametrize("table", ["sample_settled", "sample_recent"])
def test_where_all_rows_of_a_table_are_lost_nothing_is_known_after_those_of_the_other(
    two_thirds: Path, new: New, table: str
) -> None:
    here, there = new("sqlite"), new("sqlite")
    file = Path(shutil.copy(two_thirds, here.removeprefix("sqlite:///")))
    with closing(sqlite3.connect(file)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    damage(file, [root])
    assert salvage(here, there, quiet).tables == [table]
    assert set(known_and_lost(there).values()) == {0}


@pytest.mark.parametrize("part", range(4))
def test_rows_that_zeros_hide_without_an_error_are_missed(two_thirds: Path, new: New, part: int) -> None:
    """SQLite reads zeros as a row without a key, at which a reading ends without an error."""
    leaves = pages_of(two_thirds, "sample_recent")
    for leaf in leaves[part::12]:
        here, there = new("sqlite"), new("sqlite")
        content = bytearray(two_thirds.read_bytes())
        middle = (leaf - 1) * PAGE + PAGE // 2
        content[middle : middle + 512] = bytes(512)
        Path(here.removeprefix("sqlite:///")).write_bytes(content)
        salvage(here, there, quiet)
        assert max(known_and_lost(there).values()) <= 1  # the one of the very time of the last row before


@pytest.mark.parametrize("table", ["channel", "archiver", "channel_owner", "status", "num_metadata_history"])
def test_rows_are_salvaged_without_the_tables_that_describe_them(new: New, table: str) -> None:
    here, there = new("sqlite"), new("sqlite")
    fill(here)
    sound = contents(here)
    file = Path(here.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(file)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    damage(file, [root])
    found = salvage(here, there, quiet)
    assert table in found.tables
    left = contents(there)
    assert [row[1:3] + row[4:] for row in left["rows"]] == [
        row[1:3] + row[4:] for row in sound["rows"]
    ] or table == "channel"
    assert len(left["rows"]) == len(sound["rows"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tables", [["archiver"], ["channel_owner"], ["archiver", "channel_owner"]])
def test_a_backup_fills_what_was_salvaged_without_its_owners(new: New, kind: str, tables: list[str]) -> None:
    """Its series are those that the backup has, and the archiver goes on with them."""
    backup, there = new("sqlite"), new(kind)
    fill(backup)
    sound = contents(backup)
    salvage(_without(backup, new("sqlite"), tables), there, quiet)
    copy(backup, there, quiet)
    found = contents(there)
    assert [row[:2] for row in found["rows"]] == [row[:2] for row in sound["rows"]]
    assert found["channels"] == sound["channels"]
    assert _next_row_is_stored(there)
    assert contents(there)["channels"] == sound["channels"]


def test_an_archiver_goes_on_where_it_has_a_series_of_a_pv_beside_one_of_nobody(new: New) -> None:
    """As earlier versions left it where a backup was copied to what was salvaged without its owners."""
    here = new("sqlite")
    fill(here)
    with closing(sqlite3.connect(here.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE channel SET name = 'R (LAB:one)' WHERE name = 'R'")
        connection.execute("INSERT INTO channel (name) VALUES ('R')")
    assert _next_row_is_stored(here)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [("LAB:one", "LAB:two"), ("LAB:two", "LAB:one")])
def test_two_archivers_go_on_with_their_series_in_what_was_salvaged_without_owners(
    new: New, kind: str, order: tuple[str, str]
) -> None:
    """The name of a series tells whose it is; a backup that is copied there then has its rows in the same ones."""
    backup, there = new("sqlite"), new(kind)
    for archiver in ("LAB:one", "LAB:two"):
        fill(backup, archiver)
    sound = contents(backup)
    salvage(_without(backup, new("sqlite"), ["archiver", "channel_owner"]), there, quiet)
    for archiver in order:
        assert _next_row_is_stored(there, archiver, "R", "S", "OLD", "NAN", "TEXT", "WF")
    found = contents(there)
    assert found["channels"] == sound["channels"]
    copy(backup, there, quiet)
    found = contents(there)
    assert found["channels"] == sound["channels"]
    assert [row[:2] for row in found["rows"] if row[1] != START // 1000] == [row[:2] for row in sound["rows"]]
    for archiver in order:
        assert _next_row_is_stored(there, archiver)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_of_a_series_that_another_archiver_has_costs_no_row(new: New, kind: str) -> None:
    """As earlier versions left it: the first archiver took the second's series for a PV with such a name."""
    backup, there = new("sqlite"), new(kind)
    with closing(open_store(there, "LAB:one")) as store:
        store.add([Sample(name, START - 1000, 2.5, 0, "NO_ALARM") for name in ("R", "R (LAB:two)")])
    for archiver in ("LAB:one", "LAB:two"):
        fill(backup, archiver)
    copy(backup, there, quiet)
    copied = [each for each in contents(there)["channels"] if each[1] == "R"]
    assert copied == [("R", "R", "LAB:one"), ("R (LAB:two) 2", "R", "LAB:two")]
    assert _next_row_is_stored(there, "LAB:two", "R")
    assert _next_row_is_stored(there, "LAB:three", "R", "Q")


def _without(database: str, damaged: str, tables: list[str]) -> str:
    """Copy an archive, and damage the root pages of some tables there."""
    file = Path(shutil.copy(database.removeprefix("sqlite:///"), damaged.removeprefix("sqlite:///")))
    with closing(sqlite3.connect(file)) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))
    damage(file, [roots[table] for table in tables])
    return damaged


def _next_row_is_stored(database: str, archiver: str = "LAB:one", *pvs: str) -> bool:
    rows = {pv: Sample(pv, START, 1.5, 0, "NO_ALARM") for pv in pvs or ("R",)}
    with closing(open_store(database, archiver)) as store:
        store.add(list(rows.values()))
    with closing(open_reader(database)) as reader:
        return all(list(reader.samples([pv], START, START)) == [row] for pv, row in rows.items())


def test_the_command_says_what_is_missing(new: New, tmp_path: Path) -> None:
    here = new("sqlite")
    file = settled(here)
    damage(file, pages_of(file, "sample_settled")[:1])
    code, text = run("salvage", str(file), "new.sqlite", directory=tmp_path)
    assert code == 1
    assert "rows could be salvaged" in text
    assert "rows are missing of" in text
    code, text = run("salvage", str(file), "new.sqlite", directory=tmp_path)
    assert code == 1
    assert "there is an archive already (of a salvage that was interrupted, a part of one)" in text


@pytest.mark.parametrize("name", ["absent.sqlite", "."])
def test_what_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="this file does not exist"):
        salvage(f"sqlite:///{tmp_path}/{name}", f"sqlite:///{tmp_path}/new.sqlite", quiet)


@pytest.mark.parametrize("content", [b"", b"no database", os.urandom(50_000)])
def test_what_cannot_be_read_at_all_is_told_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rack.sqlite"
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"restore a backup|not an archive of rackioc"):
        salvage(f"sqlite:///{file}", f"sqlite:///{tmp_path}/new.sqlite", quiet)
    assert not (tmp_path / "new.sqlite").exists()


@pytest.mark.parametrize("tenths", [8, 9])
def test_of_a_file_that_ends_too_early_the_beginning_is_salvaged(two_thirds: Path, new: New, tenths: int) -> None:
    here, there = new("sqlite"), new("sqlite")
    file = Path(shutil.copy(two_thirds, here.removeprefix("sqlite:///")))
    os.truncate(file, file.stat().st_size // PAGE * tenths // 10 * PAGE)
    assert salvage(here, there, quiet).pvs
    assert len(contents(there)["rows"]) > 9000 * (tenths - 3) // 10
    assert set(known_and_lost(there).values()) == {0}


def test_a_fault_in_the_list_of_tables_costs_no_row(new: New) -> None:
    here, there = new("sqlite"), new("sqlite")
    file = settled(here)
    sound = contents(here)
    damaged = file.read_bytes().replace(b"sqlite_autoindex_severity_1", b"sqlie_autoindex_severity__1")
    file.write_bytes(damaged)
    assert salvage(here, there, quiet).pvs == []
    assert contents(there)["rows"] == sound["rows"]


def test_a_first_page_that_is_damaged_is_told(new: New, tmp_path: Path) -> None:
    here = new("sqlite")
    fill(here)
    damage(Path(here.removeprefix("sqlite:///")), [1])
    with pytest.raises(StoreError, match="its first page is damaged"):
        salvage(here, f"sqlite:///{tmp_path}/there.sqlite", quiet)
