"""The history on a terminal: local time, no useless digits, a row on a line; and NaN as one word everywhere."""

from __future__ import annotations

import io
import json
import math
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from archiver.history.command import HistoryOptions, show_history
from archiver.sample import Dated, Metadata, Sample
from archiver.storage.database import open_store
from archiver.times import parse_time, show_time

T0 = 1_700_000_000 * 10**9 + 123_456_789
PV = "DEMO:HV1:S02:C00:VMon"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/rack.sqlite"
    with closing(open_store(url)) as store:
        store.add_metadata({PV: Dated(T0 - 1, Metadata("V", 2))})
        store.add(
            [
                Sample(PV, T0, 1249.5, 0, "NO_ALARM"),
                Sample(PV, T0 + 10**9, 1300.0, 1, "HIGH"),
                Sample(PV, T0 + 2 * 10**9, math.nan, 3, "UDF"),
                Sample(PV, T0 + 3 * 10**9, -math.inf, 0, "NO_ALARM"),
            ]
        )
    return url


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def show(database: str, out: io.StringIO, **options: Any) -> list[str]:
    show_history(HistoryOptions(pvs=[PV], database=database, **options), out, io.StringIO())
    return out.getvalue().splitlines()


def test_a_terminal_shows_local_time_with_its_offset_and_rows_that_fit(database: str) -> None:
    lines = show(database, Terminal())
    assert [line.split()[:2] for line in lines[1:3]] == [
        ["2023-11-14", "23:13:20.123+01"], ["2023-11-14", "23:13:21.123+01"],
    ]  # fmt: skip
    assert [line.split()[3:] for line in lines[1:]] == [
        ["1249.50", "V"], ["1300.00", "V", "MINOR", "HIGH"], ["NaN", "V", "INVALID", "UDF"], ["-Infinity", "V"],
    ]  # fmt: skip
    assert max(map(len, show(database, Terminal(), until="2023-11-14T22:13:22Z"))) <= 80


def test_a_terminal_shows_utc_if_asked(database: str) -> None:
    assert show(database, Terminal(), utc=True)[1].startswith("2023-11-14 22:13:20.123Z")


@pytest.mark.parametrize(
    ("zone", "offset"), [("Asia/Kolkata", "+05:30"), ("America/New_York", "-05"), ("UTC", "+00")]
)
def test_a_time_that_is_shown_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, zone: str, offset: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    shown = show_time(T0, utc=False)
    assert shown.endswith(offset)
    assert parse_time(shown, 0) == T0 // 10**6 * 10**6
    assert parse_time(show_time(T0, utc=True), 0) == T0 // 10**6 * 10**6


def test_a_time_without_its_offset_is_what_a_terminal_shows(database: str) -> None:
    for utc in (False, True):
        lines = show(database, Terminal(), utc=utc)
        cut = [re.sub(r"(\.\d{3})[Z+].*", r"\g<1>9", line) for line in lines[1:3]]  # at the end of its millisecond
        since, until = cut
        assert [line.split()[3] for line in show(database, Terminal(), utc=utc, since=since, until=until)[1:]] == [
            "1249.50", "1300.00",
        ]  # fmt: skip
        assert show(database, Terminal(), utc=utc, at=cut[0])[1].split() == lines[1].split()
        assert show(database, io.StringIO(), utc=utc, at=cut[0])[1].startswith("2023-11-14T22:13:20.123456789Z")


def test_bins_begin_in_local_time_on_a_terminal(database: str) -> None:
    assert show(database, Terminal(), bin="60s")[1].startswith("2023-11-14 23:13+01  ")
    assert show(database, Terminal(), bin="1s")[1].startswith("2023-11-14 23:13:20+01  ")
    assert show(database, Terminal(), bin="0.1s")[1].startswith("2023-11-14 23:13:20.100+01  ")
    assert parse_time("2023-11-14 23:13+01", 0) == parse_time("2023-11-14T22:13:00Z", 0)
    assert len(show(database, Terminal(), stat=True)) == 2


@pytest.mark.parametrize("options", [{"stat": True}, {"bin": "60s"}])
def test_what_is_too_wide_for_a_terminal_is_left_out_and_named(
    database: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out, err = Terminal(), io.StringIO()
    show_history(HistoryOptions(pvs=[PV], database=database, **options), out, err)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert {"pv", "min", "max", "mean"} <= set(lines[0].split())
    assert "mean_rows" not in lines[0]
    assert err.getvalue().startswith("too wide for this terminal: mean_rows, std, ")
    monkeypatch.setenv("COLUMNS", "200")
    out, err = Terminal(), io.StringIO()
    show_history(HistoryOptions(pvs=[PV], database=database, **options), out, err)
    assert "mean_rows" in out.getvalue()
    assert err.getvalue() == ""
    assert "mean_rows" in show(database, io.StringIO(), **options)[0]


@pytest.mark.parametrize("form", ["table", "csv", "text", "json"])
def test_what_is_no_terminal_gets_all_digits_in_utc_and_one_word_for_no_number(database: str, form: str) -> None:
    text = "\n".join(show(database, io.StringIO(), form=form))
    assert "2023-11-14T22:13:20.123456789Z" in text
    assert "NaN" in text
    assert "-Infinity" in text
    assert "nan" not in text
    if form == "json":
        assert [row["value"] for row in json.loads(text)] == [1249.5, 1300.0, "NaN", "-Infinity"]
