"""What is not known (INVALID values, gaps, deleted rows) is never shown, drawn or counted as known."""

from __future__ import annotations

import io
import json
import math
import re
from contextlib import closing
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archiver
from archiver.history.command import HistoryOptions, show_history
from archiver.history.curves import picture
from archiver.history.query import HistoryError, Window, open_query
from archiver.sample import INVALID, Dated, Gap, Metadata, Sample, gap_marker, is_gap
from archiver.storage.database import open_store

S = 10**9
T0 = 1_700_002_800 * S  # 2023-11-14 23:00 UTC


def row(at: float, value: float | int | str, severity: int = 0, pv: str = "V") -> Sample:
    return Sample(pv, T0 + round(at * S), value, severity, ("NO_ALARM", "HIGH", "HIHI", "COMM")[severity])


def add(database: str, *samples: Sample) -> None:
    with closing(open_store(database)) as store:
        store.add_metadata({"V": Dated(0, Metadata("V", 2))})
        store.add(samples)


def clock(at: float) -> str:
    return f"2023-11-14 23:{int(at // 60):02d}:{at % 60:06.3f}"


def asked(database: str, *pvs: str, **options: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    show_history(HistoryOptions(pvs=pvs or ("V",), database=database, form="json", **options), out, io.StringIO())
    lines: list[dict[str, Any]] = json.loads(out.getvalue())
    return lines


@pytest.fixture
def away(database: str) -> str:
    """A crate that is away for 60 s: its IOC posts the last values as INVALID, and again when they are good."""
    add(database, row(0, 1500.0), row(30, 1500.1), row(60, 1500.1, INVALID), row(120, 1500.0), row(150, 1500.1))
    return database


def test_an_invalid_value_has_no_part_in_the_numbers(away: str) -> None:
    (line,) = asked(away, stat=True, since=clock(0), until=clock(180))
    assert (line["count"], line["invalid_s"], line["alarm_s"], line["gap_s"]) == (4, 60, 0, 0)
    assert line["mean"] == pytest.approx(1500.05)
    add(away, row(200, 9e9, INVALID), row(201, -9e9, INVALID))
    (line,) = asked(away, stat=True, since=clock(0), until=clock(210))
    assert (line["count"], line["min"], line["max"], line["invalid_s"]) == (4, 1500.0, 1500.1, 70)


def test_bins_say_for_how_long_a_value_was_not_known(away: str) -> None:
    add(away, gap_marker("V", T0 + 160 * S, Gap.DISCONNECTED))
    lines = asked(away, bin="60s", since=clock(0), until=clock(180))
    assert [(line["count"], line["invalid_s"], line["gap_s"], line["last"]) for line in lines] == [
        (2, 0, 0, 1500.1), (0, 60, 0, "INVALID"), (2, 0, 20, "Disconnected"),
    ]  # fmt: skip
    assert [line["mean"] for line in lines] == [pytest.approx(1500.05), None, pytest.approx(1500.025)]


def test_an_invalid_value_breaks_the_line_of_a_plot(away: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_query(away, ["V"], Window(T0, T0 + 180 * S)) as query:
        ((curve,),) = picture(query.samples(), query).axes
    assert [str(value) for value in curve.values] == ["1500.0", "1500.1", "nan", "1500.0", "1500.1", "1500.1"]
    monkeypatch.setenv("COLUMNS", "100")
    out = io.StringIO()
    options = HistoryOptions(pvs=["V"], database=away, terminal=True, since=clock(0), until=clock(180))
    show_history(options, out, io.StringIO())
    inside = [re.split("[┤│]", line)[1] for line in out.getvalue().splitlines() if re.search("[┤│]", line)]
    columns = [any(character != " " for character in column) for column in zip(*inside, strict=True)]
    third = len(columns) // 3
    assert not any(columns[third + 2 : 2 * third - 2])
    assert all(columns[: third - 2])
    assert all(columns[2 * third + 2 :])


def test_what_was_never_known_is_not_drawn_and_named(database: str) -> None:
    add(database, row(0, 1.0), row(0, 7.0, INVALID, "LOST"), gap_marker("GAP", T0, Gap.ARCHIVE_OFF))
    err = io.StringIO()
    options = HistoryOptions(pvs=["*"], database=database, terminal=True, until=clock(60))
    show_history(options, io.StringIO(), err)
    assert err.getvalue().splitlines() == [
        f"{pv} is not in the plot: no value of it is known in the window" for pv in ("GAP", "LOST")
    ]


def test_a_notebook_has_no_number_where_none_is_known(away: str) -> None:
    table = archiver.history(away, "V")["V"]
    np.testing.assert_array_equal(table["value"], [1500.0, 1500.1, math.nan, 1500.0, 1500.1])
    assert table["status"].tolist()[2] == "COMM"


def test_invalid_values_stay_when_rows_are_thinned_and_are_not_in_the_bin(database: str) -> None:
    good = [row(at, float(at % 7)) for at in range(40)]
    lost = [row(at, 1e6 + at, INVALID) for at in range(40, 50)]
    add(database, *good, *lost, row(50, 3.0), row(130, 3.0))
    with closing(open_store(database)) as store:
        while store.thin("V", T0 + 120 * S, 60 * S):
            pass
    assert [each["severity"] for each in asked(database)].count("INVALID") == 10
    (line,) = asked(database, stat=True, since=clock(0), until=clock(60))
    assert (line["count"], line["max"], line["invalid_s"]) == (41, 6.0, 10)


def test_a_value_ends_now_where_no_end_is_given(database: str) -> None:
    add(
        database,
        row(0, 1.0),
        Sample("V", 2_147_000_000 * S, 9.0, 0, "NO_ALARM"),  # 2038: as late as MySQL can
    )
    assert [each["value"] for each in asked(database)] == [1.0]
    assert asked(database, stat=True)[0]["max"] == 1.0
    assert archiver.history(database, "V")["V"]["value"].tolist() == [1.0]


def test_the_mean_is_over_time(database: str) -> None:
    """1000 V for a day, with a ramp of 1 V a second at its begin."""
    day = 86_400
    ramp = [row(at, float(at)) for at in range(1001)]
    add(database, *ramp, row(day - 1, 1000.0))
    (line,) = asked(database, stat=True, since=clock(0), until="2023-11-15 23:00Z")
    expected = (sum(range(1000)) + 1000 * (day - 1000)) / day
    assert line["mean"] == pytest.approx(expected)
    assert line["mean_rows"] == pytest.approx(sum(range(1001)) / 1002 + 1000 / 1002)


def test_empty_bins_hold_the_value_that_is_in_force(database: str) -> None:
    add(
        database, row(10, 4.0), row(200, 6.0, 1), gap_marker("V", T0 + 290 * S, Gap.ARCHIVE_OFF), row(30, 0.0, pv="W")
    )
    lines = asked(database, bin="60s", fill=True, since=clock(0), until=clock(360))
    columns = ("count", "min", "max", "mean", "mean_rows", "last", "severity", "gap_s")
    assert [tuple(line[column] for column in columns) for line in lines] == [
        (1, 4.0, 4.0, 4.0, 4.0, 4.0, "INVALID", 10),
        (0, 4.0, 4.0, 4.0, None, 4.0, "NO_ALARM", 0),
        (0, 4.0, 4.0, 4.0, None, 4.0, "NO_ALARM", 0),
        (1, 4.0, 6.0, pytest.approx(4 + 2 * 40 / 60), 6.0, 6.0, "MINOR", 0),
        (0, 6.0, 6.0, 6.0, None, "Archive_Off", "INVALID", 10),
        (0, None, None, None, None, "Archive_Off", "INVALID", 60),
    ]
    assert len(asked(database, bin="60s", since=clock(0), until=clock(360))) == 3
    assert [line["time"][14:19] for line in asked(database, bin="60s", fill=True, until=clock(180))] == [
        "00:00", "01:00", "02:00",
    ]  # fmt: skip
    with pytest.raises(HistoryError, match="--fill is for empty bins: give --bin with it"):
        asked(database, fill=True)


def test_a_thinned_value_is_said_to_be_thinned_with_its_range(database: str) -> None:
    truth = [row(3 * n, math.sin(n) * 10 + n % 5) for n in range(90)]
    add(database, *truth)
    with closing(open_store(database)) as store:
        while store.thin("V", T0 + 240 * S, 60 * S):
            pass
    said = 0
    for at in [each + shift for each in range(0, 269, 9) for shift in (0, 1.5)]:
        (line,) = asked(database, at=clock(at))
        in_force = truth[int(at // 3)].value
        assert isinstance(in_force, float)
        if isinstance(line["value"], str):
            match = re.fullmatch(r"thinned: (\S+) to (\S+) in 60 s", line["value"])
            assert match
            assert float(match[1]) <= in_force <= float(match[2])
            assert line["time"][14:16] == f"{int(at // 60):02d}"
            said += 1
        else:
            assert line["value"] == in_force
    assert 30 < said < 55
    lines = asked(database, bin="10s", fill=True, since=clock(60), until=clock(119.999))
    assert [line["last"] for line in lines[:5]] == ["thinned"] * 5
    assert asked(database, bin="60s", since=clock(60), until=clock(119.999))[-1]["last"] == "thinned"
    assert asked(database, bin="60s", since=clock(60), until=clock(121))[0]["last"] == truth[39].value


def test_a_pv_that_is_not_archived_takes_no_others_output(database: str) -> None:
    add(database, row(0, 1.0))
    views: list[dict[str, Any]] = [{}, {"stat": True}, {"bin": "1h"}, {"at": "now"}]
    for options in views:
        out = io.StringIO()
        asking = HistoryOptions(pvs=["V", "W", "X*"], database=database, form="csv", **options)
        with pytest.raises(HistoryError, match=r"^W is not in the archive; X\* is not in the archive$"):
            show_history(asking, out, io.StringIO())
        assert len(out.getvalue().splitlines()) == 2
    with pytest.warns(UserWarning, match="W is not in the archive"):
        assert list(archiver.history(database, ["W", "V"])) == ["V"]


STEPS = st.lists(
    st.tuples(
        st.integers(1, 50),  # seconds after the one before
        st.one_of(st.floats(-1e6, 1e6), st.integers(-1000, 1000), st.sampled_from([Gap.OVERRUN, "text", math.nan])),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 400), st.integers(1, 400), st.sampled_from([7, 60]))
def test_the_numbers_are_those_of_a_walk_through_each_second(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, Any, int]], begin: int, length: int, width: int
) -> None:
    database = f"sqlite:///{tmp_path_factory.mktemp('walk')}/rack.sqlite"
    at, samples = 0, []
    for after, value, severity in steps:
        at += after
        gap = isinstance(value, Gap)
        samples.append(gap_marker("V", T0 + at * S, value) if gap else row(at, value, severity))
    add(database, *samples)
    walked = [_in_force(samples, T0 + second * S) for second in range(begin, begin + length)]
    window = {"since": clock(begin), "until": clock(begin + length)}
    (line,) = asked(database, stat=True, **window)
    _compare(line, walked)
    lines = asked(database, bin=f"{width}s", fill=True, **window)
    first = (T0 // S + begin) // width * width - T0 // S
    edges = [begin, *range(first + width, begin + length, width), begin + length]
    assert (
        len([each for each in lines if each["time"] < f"2023-11-14T23:{clock(begin + length)[14:]}"])
        >= len(edges) - 1
    )
    for each, (low, high) in zip(lines, pairwise(edges), strict=False):
        _compare(each, walked[low - begin : high - begin])


def _in_force(samples: list[Sample], time_ns: int) -> Sample | None:
    return max((each for each in samples if each.time_ns <= time_ns), key=lambda each: each.time_ns, default=None)


def _compare(line: dict[str, Any], walked: list[Sample | None]) -> None:
    known = [each for each in walked if each and each.severity < INVALID]
    numbers = [each.value for each in known if isinstance(each.value, float | int) and math.isfinite(each.value)]
    assert line["gap_s"] == len([each for each in walked if each is None or is_gap(each)])
    assert line["invalid_s"] == len(
        [each for each in walked if each and each.severity == INVALID and not is_gap(each)]
    )
    if "alarm_s" in line:
        assert line["alarm_s"] == len([each for each in known if each.severity])
    if numbers:
        assert line["mean"] == pytest.approx(np.mean(numbers), abs=1e-6)
        assert line["std"] == pytest.approx(np.std(numbers), abs=1e-5)
        assert line["min"] <= min(numbers)
        assert line["max"] >= max(numbers)
    else:
        assert line["mean"] is None
