from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from archiver.keeping.check import check
from archiver.sample import Gap, Sample, gap_marker
from archiver.storage import manage
from archiver.storage.database import open_store
from bench.rig.mariadb import Server
from tests.archiver.keeping.archives import SECOND, START, fill
from tests.archiver.keeping.commands import run
from tests.archiver.keeping.conftest import New
from tests.archiver.keeping.test_copy import KINDS, quiet


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_archive_has_no_faults_and_its_gaps_and_owners_are_told(new: New, kind: str) -> None:
    here = new(kind)
    fill(here, "LAB:one")
    with closing(open_store(here, "LAB:two")) as store:
        store.add(
            [
                gap_marker("G", START, Gap.OVERRUN),
                Sample("G", START + 10 * SECOND, 1.0, 0, "NO_ALARM"),
                gap_marker("G", START + 20 * SECOND, Gap.OVERRUN),
                Sample("G", START + 50 * SECOND, 1.0, 0, "NO_ALARM"),
            ]
        )
    found = check(here, quiet)
    assert found.faults == []
    lines = dict(found.lines)
    assert lines["gaps Overrun"].startswith(
        "2 in 1 channels, 40 s together; the longest 30 s: G from 2023-11-14T22:13:40"
    )
    assert lines["gaps Disconnected"].startswith("1 in 1 channels")
    assert lines["owner LAB:one"].startswith("6 channels, alive at 2023")
    assert "nothing is known since" in lines["owner LAB:one"]
    assert lines["owner LAB:two"].startswith("1 channels")
    assert lines["rows read"] == "5,060"


EMPTY = "UPDATE {table} SET float_val = NULL WHERE num_val IS NULL AND str_val IS NULL"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("DELETE FROM channel WHERE name = 'R'", "3000 rows belong to no channel"),
        ("DELETE FROM channel WHERE name = 'R'", "num_metadata_history has rows of channels without a name"),
        ("DELETE FROM status WHERE name = 'HIGH'", "2000 rows have a status without a name, the first is R at 2023"),
        (EMPTY, "rows have no value, or several"),
        ("UPDATE {table} SET severity_id = 9 WHERE str_val = ''", "1 rows have a severity that there is not"),
        ("UPDATE {table} SET array_val = x'61626364' WHERE array_val IS NOT NULL", "an array of another length"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(
    new: New, kind: str, statement: str, fault: str, request: pytest.FixtureRequest
) -> None:
    here = new(kind)
    fill(here)
    if kind == "sqlite":
        with closing(sqlite3.connect(here.removeprefix("sqlite:///"))) as connection, connection:
            for table in ("sample_settled", "sample_recent") if "{" in statement else ("",):
                connection.execute(statement.format(table=table))
    else:
        server: Server = request.getfixturevalue("shared_server")
        server.execute(statement.format(table="sample"), database=here.rpartition("/")[2])
    assert any(fault in each for each in check(here, quiet).faults), check(here, quiet).faults


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("INSERT OR REPLACE INTO settled VALUES (0, 4000000000000000000)", "are older than what has settled"),
        ("UPDATE sample_recent SET part = 7", "are in another part than their channel"),
        ("INSERT INTO sample_settled SELECT channel_id, smpl_time, severity_id, status_id, num_val, float_val, "
         "str_val, datatype, array_val FROM sample_recent LIMIT 1", "are in sample_settled, too"),
    ],
)  # fmt: skip
def test_rows_that_are_not_where_they_belong_are_told(new: New, statement: str, fault: str) -> None:
    here = new("sqlite")
    fill(here)
    with closing(sqlite3.connect(here.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(statement)
    assert any(fault in each for each in check(here, quiet).faults)


def test_a_damaged_file_is_told_with_what_to_do(new: New, tmp_path: Path) -> None:
    here = new("sqlite")
    fill(here)
    file = Path(here.removeprefix("sqlite:///"))
    damaged = bytearray(file.read_bytes())
    for page in range(30, len(damaged) // 4096, 3):
        damaged[page * 4096 : (page + 1) * 4096] = os.urandom(4096)
    file.write_bytes(damaged)
    code, text = run("check", "--database", here, directory=tmp_path)
    assert code == 1
    assert "rackioc db salvage" in text
    assert "Traceback" not in text


def test_a_text_in_the_place_of_an_array_is_told(new: New) -> None:
    here = new("sqlite")
    fill(here)
    with closing(sqlite3.connect(here.removeprefix("sqlite:///"))) as connection, connection:
        for table in ("sample_settled", "sample_recent"):
            connection.execute(f"UPDATE {table} SET array_val = 'abcdef' WHERE array_val IS NOT NULL")
    assert any("3 rows have an array that is none" in each for each in check(here, quiet).faults)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_archive_is_sound(new: New, kind: str) -> None:
    here = new(kind)
    manage.init(here)
    assert check(here, quiet).faults == []
