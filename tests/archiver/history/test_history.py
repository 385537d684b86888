from __future__ import annotations

import csv
import io
import json
import math
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from archiver.history.command import HistoryOptions, show_history
from archiver.history.query import HistoryError
from archiver.sample import Dated, Gap, Metadata, Sample, gap_marker
from archiver.storage.database import open_store

S = 10**9
T0 = 1_700_035_200 * S  # 2023-11-15 08:00 UTC


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    url = f"sqlite:///{tmp_path / 'rack.sqlite'}"
    with closing(open_store(url)) as store:
        store.add_metadata(
            {"LAB:V": Dated(T0, Metadata("kV", 2)), "LAB:HV": Dated(T0, Metadata(words=("Off", "On")))}
        )
        store.add([Sample("LAB:V", T0 + n * S, n + 0.125, 0, "NO_ALARM") for n in (0, 1, 2, 4)])
        store.add([Sample("LAB:V", T0 + 3 * S, 3.125, 2, "HIHI")])
        store.add([Sample("LAB:HV", T0 + S // 2, 1, 0, "NO_ALARM")])
        store.add([gap_marker("LAB:HV", T0 + 9 * S, Gap.ARCHIVE_OFF)])
        yield url


def add(database: str, *samples: Sample) -> None:
    with closing(open_store(database)) as store:
        store.add(samples)


def printed(database: str, form: str, pvs: list[str], **options: Any) -> str:
    out = io.StringIO()
    show_history(HistoryOptions(pvs=pvs, database=database, form=form, **options), out, io.StringIO())
    return out.getvalue()


def rows(database: str, pvs: list[str], **options: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in json.loads(printed(database, "json", pvs, **options))]


def clock(seconds: float | None) -> str | None:
    return None if seconds is None else f"2023-11-15T08:00:{seconds:04.1f}"


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, [0, 1, 2, 3, 4]),
        (2, None, [2, 3, 4]),
        (2.5, None, [2, 3, 4]),  # the last value before the window leads
        (2.5, 3, [2, 3]),
        (2.5, 2.6, [2]),
        (9, None, [4]),
        (None, 1, [0, 1]),
    ],
)
def test_window(database: str, since: float | None, until: float | None, expected: list[int]) -> None:
    window = {"since": clock(since), "until": clock(until)}
    assert [math.floor(value) for _, _, value, *_ in rows(database, ["LAB:V"], **window)] == expected


def test_a_window_of_all_times_that_there_are(database: str) -> None:
    window = {"since": "0001-01-01", "until": "9999-12-31"}
    assert [math.floor(value) for _, _, value, *_ in rows(database, ["LAB:V"], **window)] == [0, 1, 2, 3, 4]


def test_relative_times_and_now(database: str) -> None:
    now = time.time_ns()

    def values(**window: str) -> list[float]:
        return [value for _, _, value, *_ in rows(database, ["LAB:AGO"], **window)]

    add(database, *(Sample("LAB:AGO", now - ago * S, float(ago), 0, "NO_ALARM") for ago in (7000, 3000, 60)))
    assert values(since="90m", until="30m") == [7000, 3000]
    assert values(since="30m", until="now") == [3000, 60]
    assert values(at="1h") == [7000]
    assert values(at="now") == [60]


def test_several_pvs_are_merged_in_order_of_time(database: str) -> None:
    found = rows(database, ["LAB:*", "LAB:V"])
    assert [time[17:21] for time, *_ in found] == ["00.0", "00.5", "01.0", "02.0", "03.0", "04.0", "09.0"]
    assert found[1][1:] == ("LAB:HV", "On", "", "NO_ALARM", "NO_ALARM")
    assert found[4][1:] == ("LAB:V", 3.125, "kV", "MAJOR", "HIHI")
    assert found[6][1:] == ("LAB:HV", "Archive_Off", "", "INVALID", "Archive_Off")


def test_a_row_is_shown_with_what_held_at_its_time(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add_metadata({"LAB:V": Dated(T0 + 3 * S, Metadata("V", 0))})
        store.add_metadata({"LAB:HV": Dated(T0 + 20 * S, Metadata(words=("Aus", "An")))})
        store.add([Sample("LAB:HV", T0 + 21 * S, 1, 0, "NO_ALARM")])
    found = rows(database, ["LAB:*"])
    assert [unit for _, pv, _, unit, *_ in found if pv == "LAB:V"] == ["kV", "kV", "kV", "V", "V"]
    assert [value for _, pv, value, *_ in found if pv == "LAB:HV"] == ["On", "Archive_Off", "An"]
    table = [line.split() for line in printed(database, "table", ["LAB:V"]).splitlines()]
    assert [line[2] for line in table] == ["value", "0.12", "1.12", "2.12", "3.125", "4.125"]


@pytest.mark.parametrize("number", [-7, 2, 2**31 - 1])
def test_a_number_that_is_no_states_index_is_shown_as_it_is(database: str, number: int) -> None:
    with closing(open_store(database)) as store:
        store.add([Sample("LAB:HV", T0 + 21 * S, number, 0, "NO_ALARM")])
    assert [value for _, pv, value, *_ in rows(database, ["LAB:*"]) if pv == "LAB:HV"][-1] == number


@pytest.mark.parametrize(
    ("at", "value", "switch"),
    [(1.9, 1.125, "On"), (2, 2.125, "On"), (8.9, 4.125, "On"), (9, 4.125, "Archive_Off")],
)
def test_the_value_in_force_at_a_time(database: str, at: float, value: float, switch: str) -> None:
    found = rows(database, ["LAB:V", "LAB:HV"], at=clock(at))
    assert [row[1:3] for row in found] == [("LAB:V", value), ("LAB:HV", switch)]


def test_a_pv_of_which_nothing_was_known_at_a_time_is_named(database: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    show_history(HistoryOptions(pvs=["LAB:*"], database=database, at=clock(0.1), form="csv"), out, err)
    assert [line.split(",")[1] for line in out.getvalue().splitlines()] == ["pv", "LAB:V"]
    assert err.getvalue() == "LAB:HV has no value at that time: its first row is later\n"


def test_table(database: str) -> None:
    lines = printed(database, "table", ["LAB:*"], since="2023-11-15 08:00:03Z").splitlines()
    assert [line.split() for line in lines] == [
        ["time", "pv", "value", "unit", "severity", "status"],
        ["2023-11-15T08:00:00.500000000Z", "LAB:HV", "On", "NO_ALARM", "NO_ALARM"],
        ["2023-11-15T08:00:03.000000000Z", "LAB:V", "3.12", "kV", "MAJOR", "HIHI"],
        ["2023-11-15T08:00:04.000000000Z", "LAB:V", "4.12", "kV", "NO_ALARM", "NO_ALARM"],
        ["2023-11-15T08:00:09.000000000Z", "LAB:HV", "Archive_Off", "INVALID", "Archive_Off"],
    ]


def test_csv_and_json_are_exact_and_agree(database: str) -> None:
    as_csv = list(csv.DictReader(io.StringIO(printed(database, "csv", ["LAB:*"]))))
    as_json = json.loads(printed(database, "json", ["LAB:*"]))
    assert [{name: str(value) for name, value in row.items()} for row in as_json] == as_csv
    assert as_json[4] == {
        "time": "2023-11-15T08:00:03.000000000Z",
        "pv": "LAB:V",
        "value": 3.125,
        "unit": "kV",
        "severity": "MAJOR",
        "status": "HIHI",
    }


def test_no_rows_are_valid_too(database: str) -> None:
    assert json.loads(printed(database, "json", ["LAB:V"], until="2000-01-01")) == []
    assert printed(database, "csv", ["LAB:V"], until="2000-01-01") == "time,pv,value,unit,severity,status\n"


def test_text_has_tabs_between_columns_and_none_within(database: str) -> None:
    add(database, Sample("LAB:MSG", T0, "a\tb\nc", 0, "NO_ALARM"))
    assert printed(database, "text", ["LAB:MSG"]).splitlines() == [
        "time\tpv\tvalue\tunit\tseverity\tstatus",
        "2023-11-15T08:00:00.000000000Z\tLAB:MSG\ta\\tb\\nc\t\tNO_ALARM\tNO_ALARM",
    ]
    assert len(printed(database, "table", ["LAB:MSG"]).splitlines()) == 2


def test_an_end_of_a_line_within_a_text_ends_no_row_of_csv(database: str) -> None:
    texts = ["\r", "ready\r", "a\rb", "a\r\nb", "a\nb", 'a"b', "a,b", ""]
    add(database, *(Sample("LAB:MSG", T0 + n * S, text, 0, "NO_ALARM") for n, text in enumerate(texts)))
    found = printed(database, "csv", ["LAB:MSG"])
    assert [row["value"] for row in csv.DictReader(io.StringIO(found, newline=""))] == texts
    assert found.startswith("time,pv,value,unit,severity,status\n")
    assert found.endswith(",LAB:MSG,,,NO_ALARM,NO_ALARM\n")


def test_arrays_in_each_format(database: str) -> None:
    add(database, Sample("LAB:WF", T0, (1.0, 2.5, math.nan, math.inf), 0, "NO_ALARM"))
    assert rows(database, ["LAB:WF"])[0][2] == [1.0, 2.5, "NaN", "Infinity"]
    (row,) = csv.DictReader(io.StringIO(printed(database, "csv", ["LAB:WF"])))
    assert json.loads(row["value"]) == [1.0, 2.5, "NaN", "Infinity"]
    assert '\t[1.0, 2.5, "NaN", "Infinity"]\t' in printed(database, "text", ["LAB:WF"])
    assert "1 2.5 NaN ... (4 values)" in printed(database, "table", ["LAB:WF"])


def test_a_long_table_begins_at_once_and_takes_wider_cells_later(database: str) -> None:
    add(database, *(Sample("LAB:N", T0 + n * S, n * n, 0, "NO_ALARM") for n in range(3000)))
    lines = printed(database, "table", ["LAB:N"]).splitlines()
    assert len(lines) == 3001
    assert lines[-1].split() == ["2023-11-15T08:49:59.000000000Z", "LAB:N", str(2999**2), "NO_ALARM", "NO_ALARM"]


@pytest.mark.parametrize(
    ("pv", "hint"),
    [
        ("LAB:TC1:T22", "; did you mean LAB:TC1:T2?"),
        ("lab:tc1:t1", "; did you mean LAB:TC1:T1?"),
        ("LAB:HV1:S4:C0:VMon", "; did you mean LAB:HV1:S04:C00:VMon?"),
        ("LAB:TC1:T5", "; did you mean LAB:TC1:T1 or LAB:TC1:T2?"),
        ("LAB:HV2:*", ""),
        ("OTHER", ""),
    ],
)
def test_what_is_proposed_for_a_mistyped_name_is_what_is_most_like_it(database: str, pv: str, hint: str) -> None:
    names = ("LAB:TC1:T1", "LAB:TC1:T2", "LAB:TC1:Conn", "LAB:HV1:S04:C00:VMon", "LAB:HV1:S14:C00:VMon")
    add(database, *(Sample(name, T0, 1.0, 0, "NO_ALARM") for name in names))
    with pytest.raises(HistoryError, match=f"^{re.escape(f'{pv} is not in the archive{hint}')}$"):
        printed(database, "csv", [pv])


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        ({"pvs": ["LAB:W"]}, "LAB:W is not in the archive; did you mean LAB:V"),
        ({"pvs": ["X*"]}, r"X\* is not in the archive$"),
        ({"form": "xml"}, "'xml' is not a format: choose one of table, csv, json, text"),
        ({"since": "soon"}, "'soon' is not a time"),
        ({"since": "2023-01-02", "until": "2023-01-01"}, "the window ends before it begins"),
        ({"at": "later"}, "'later' is not a time"),
        ({"database": "rack.db"}, "is not a database URL"),
        ({"stat": True, "bin": "60s"}, "--stat and --bin exclude each other: give one of them"),
        ({"at": "1h", "since": "2h"}, "--at is one time, --since and --until are a window"),
        ({"terminal": True}, "--format is for rows and numbers: leave it out with --terminal"),
        ({"bin": "soon"}, "--bin: 'soon' is not a duration"),
        ({"bin": "0s"}, "--bin must be longer than 0"),
    ],
)
def test_errors_are_sentences(database: str, ask: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HistoryError, match=sentence):
        printed(**{"database": database, "form": "csv", "pvs": ["LAB:V"]} | ask)


def test_an_archived_name_with_brackets_is_that_pv_and_no_glob(database: str) -> None:
    add(database, *(Sample(pv, T0, 1.0, 0, "NO_ALARM") for pv in ("LAB:WF.[0:3]", "LAB:WF.0", "LAB:WF.3")))
    assert {row[1] for row in rows(database, ["LAB:WF.[0:3]"])} == {"LAB:WF.[0:3]"}
    assert {row[1] for row in rows(database, ["LAB:WF.[03]"])} == {"LAB:WF.0", "LAB:WF.3"}


def test_a_missing_file_is_a_sentence_and_stays_missing(tmp_path: Path) -> None:
    file = tmp_path / "no.sqlite"
    with pytest.raises(HistoryError, match=r"no\.sqlite: this file does not exist"):
        printed(f"sqlite:///{file}", "csv", ["*"])
    assert not file.exists()


WATCHED = """
import sys, time
from archiver.history.progress import with_progress
from archiver.history.query import Window
from archiver.sample import Sample
def slow():
    for n in range(8):
        yield Sample("X", n * 10**9, 1.0, 0, "NO_ALARM")
        time.sleep(float(sys.argv[1]))
print(len(list(with_progress(slow(), Window(0, 8 * 10**9), sys.stderr))))
"""


@pytest.mark.parametrize(("pause", "shown"), [("0.3", True), ("0.01", False)])
def test_a_long_query_shows_how_far_it_is_on_a_terminal(pause: str, shown: bool) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-c", WATCHED, pause]
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, check=True)
    os.write(theirs, b".")
    said = os.read(ours, 100_000).decode()
    os.close(ours)
    os.close(theirs)
    assert process.stdout == "8\n"
    assert ("reading" in said and "%" in said) is shown


def test_the_archiver_room_itself_is_light() -> None:
    loaded = "import sys, archiver; print({'numpy', 'sqlalchemy', 'matplotlib', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
