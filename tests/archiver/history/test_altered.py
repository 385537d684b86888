"""What somebody has changed in the database by hand: it is told where it is read, and nothing else is in the way."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from archiver.history.command import HistoryOptions, show_history
from archiver.history.query import Window, open_query
from archiver.keeping.copy import copy
from archiver.keeping.export import export
from archiver.recording.previous_run import end_previous_run
from archiver.recording.spool import Spool
from archiver.sample import Dated, Gap, Metadata, Sample, gap_marker, pack
from archiver.storage.database import open_reader, open_store
from archiver.times import format_time
from bench.rig.databases import connect

S = 10**9
START = 1_700_000_000 * S
END = START + 30 * 60 * S
MINUTES = 200


def fill(database: str) -> None:
    """Fill an archive: numbers, of which summaries are made, states, texts, an array; then its archiver is killed."""
    with closing(open_store(database, "LAB:one")) as store:
        store.add_metadata({"R": Dated(0, Metadata("V", 2)), "S": Dated(0, Metadata(words=("Off", "On")))})
        store.add([Sample("R", START + n * 60 * S, n * 0.5, 0, "NO_ALARM") for n in range(MINUTES)])
        store.add(
            [
                Sample("H", START, 1.5, 1, "HIGH"),
                Sample("H", START + S, 2.5, 0, "NO_ALARM"),
                Sample("S", START, 1, 0, "NO_ALARM"),
                gap_marker("S", START + S, Gap.DISCONNECTED),
                Sample("T", START, "text", 0, "NO_ALARM"),
                Sample("WF", START, pack([1.0, 2.0]), 0, "NO_ALARM"),
            ]
        )
        store.live(START + 6 * 3600 * S)
        store.expire("R", START - S)  # in an SQLite file the rows settle
        while store.tidy():
            pass


def change(database: str, statement: str) -> None:
    if database.startswith("mysql"):
        with closing(connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(statement.replace("{sample}", "sample"))
            connection.commit()
        return
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as file, file:
        for table in ("sample_settled", "sample_recent") if "{" in statement else ("",):
            file.execute(statement.replace("{sample}", table))


def ask(database: str, pvs: Sequence[str], **view: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    options = {"at": format_time(END)} if view.get("at") else {"since": format_time(START)} | view
    show_history(HistoryOptions(pvs=pvs, database=database, form="json", **options), out, io.StringIO())
    found: list[dict[str, Any]] = json.loads(out.getvalue())
    return found


def values(database: str, pv: str) -> list[tuple[Any, str, str]]:
    """Value, severity and status of each row; an id is that of the database."""
    rows = ask(database, [pv])
    return [(row["value"], row["severity"], re.sub(r"Unnamed_\d+", "Unnamed", row["status"])) for row in rows]


OF = "WHERE channel_id = (SELECT channel_id FROM channel WHERE name = '{}')"
DAMAGED = ("Damaged", "INVALID", "Damaged")
OFF = ("Archive_Off", "INVALID", "Archive_Off")
# Statement -> the rows then of one PV
CHANGES = {
    "DELETE FROM status WHERE name = 'HIGH'": ("H", [(1.5, "MINOR", "Unnamed"), (2.5, "NO_ALARM", "NO_ALARM"), OFF]),
    "DELETE FROM status WHERE name = 'NO_ALARM'": ("T", [("text", "NO_ALARM", "Unnamed"), OFF]),
    "DELETE FROM status": ("S", [("On", "NO_ALARM", "Unnamed"), ("Disconnected", "INVALID", "Unnamed"), OFF]),
    "DELETE FROM archiver": ("H", [(1.5, "MINOR", "HIGH"), (2.5, "NO_ALARM", "NO_ALARM"), OFF]),
    "DELETE FROM channel_owner": ("H", [(1.5, "MINOR", "HIGH"), (2.5, "NO_ALARM", "NO_ALARM"), OFF]),
    "DELETE FROM num_metadata_history": ("T", [("text", "NO_ALARM", "NO_ALARM"), OFF]),
    "UPDATE num_metadata_history SET prec = NULL": ("T", [("text", "NO_ALARM", "NO_ALARM"), OFF]),
    f"UPDATE {{sample}} SET severity_id = 9 {OF.format('T')}": ("T", [DAMAGED]),
    f"UPDATE {{sample}} SET severity_id = 0 {OF.format('H')}": ("H", [DAMAGED, DAMAGED]),
    f"UPDATE {{sample}} SET severity_id = 9 {OF.format('R')}": ("R", [DAMAGED] * MINUTES),
    f"UPDATE {{sample}} SET status_id = 99 {OF.format('T')}": ("T", [("text", "NO_ALARM", "Unnamed"), OFF]),
    f"UPDATE {{sample}} SET str_val = NULL {OF.format('T')}": ("T", [DAMAGED]),
    f"UPDATE {{sample}} SET array_val = x'00' {OF.format('WF')}": ("WF", [DAMAGED]),
    f"UPDATE {{sample}} SET array_val = x'000000053ff0000000000000' {OF.format('WF')}": ("WF", [DAMAGED]),
    f"UPDATE {{sample}} SET array_val = x'ffffffff' {OF.format('WF')}": ("WF", [DAMAGED]),
}


@pytest.mark.parametrize("statement", CHANGES)
def test_a_row_changed_by_hand_is_told_and_holds_up_nothing(database: str, statement: str, tmp_path: Path) -> None:
    fill(database)
    others = {pv: values(database, pv) for pv in ("R", "H", "S", "T", "WF")}
    change(database, statement)

    pv, expected = CHANGES[statement]
    assert values(database, pv) == expected
    if "{sample}" in statement:
        assert {each: values(database, each) for each in others if each != pv} == {
            each: rows for each, rows in others.items() if each != pv
        }
    for view in ({"at": True}, {"stat": True}, {"bin": "5m"}, {"bin": "1h", "fill": True, "until": format_time(END)}):
        assert ask(database, ["*"], **view)
    with closing(open_reader(database)) as reader:
        for name in reader.names():
            assert list(reader.blocks(name, START, END))
    with open_query(database, ["*"], Window(START, END)) as query:
        assert export(query, tmp_path / "all.csv", "csv")
    assert copy(database, f"sqlite:///{tmp_path}/copy.sqlite", lambda _done, _total: None)
    _goes_on(database, tmp_path)


def test_a_severity_that_there_is_not_is_not_known_in_summaries_either(database: str) -> None:
    """Those that were made before the row was changed are as they were."""
    with closing(open_store(database, "LAB:one")) as store:
        store.add([Sample("R", START + n * 60 * S, n * 0.5, 0, "NO_ALARM") for n in range(MINUTES)])
        store.expire("R", START - S)
    change(database, f"UPDATE {{sample}} SET severity_id = 9 {OF.format('R')}")
    with closing(open_store(database, "LAB:one")) as store:
        store.live(START + 6 * 3600 * S)
        while store.tidy():
            pass
    (row,) = ask(database, ["R"], stat=True, until=format_time(START + MINUTES * 60 * S))
    assert row["count"] == 0
    assert row["mean"] is None
    assert row["invalid_s"] + row["gap_s"] == MINUTES * 60


def _goes_on(database: str, directory: Path) -> None:
    """An archiver starts on it, as it does after a kill, and stores."""
    with closing(open_store(database, "LAB:one")) as store:
        spool = Spool(directory / "spool", 1e9, 0)
        end_previous_run(store, spool, END + 10**15)
        spool.close()
        new = [Sample("R", END + 2 * 10**15, 7.0, 1, "HIGH"), gap_marker("H", END + 2 * 10**15, Gap.DISCONNECTED)]
        store.add(new)
        store.live(END + 3 * 10**15)
        while store.tidy():
            pass
        for pv in ("R", "H", "S", "T", "WF"):
            store.thin(pv, END, 600 * S)
    with closing(open_reader(database)) as reader:
        for sample in new:
            assert sample in list(reader.samples([sample.pv], sample.time_ns, sample.time_ns))
