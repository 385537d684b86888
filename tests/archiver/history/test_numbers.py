"""``--stat`` and ``--bin``: numbers over the samples of a window."""

from __future__ import annotations

import io
import json
import math
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archiver.history.command import HistoryOptions, show_history
from archiver.history.query import HistoryError, Window
from archiver.history.segments import Plan, Segment
from archiver.sample import Dated, Gap, Metadata, Sample, Value, gap_marker
from archiver.storage.database import open_store
from archiver.storage.store import Bin

S = 10**9
T0 = 1_700_002_800 * S  # 2023-11-14 23:00 UTC


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'rack.sqlite'}"


def add(database: str, pv: str, metadata: Metadata, *rows: tuple[float, Value | Gap, int]) -> None:
    """Rows: seconds, value, severity; a Gap is its own value."""
    with closing(open_store(database)) as store:
        store.add_metadata({pv: Dated(0, metadata)})
        store.add(
            [
                gap_marker(pv, T0 + int(at * S), value)
                if isinstance(value, Gap)
                else Sample(pv, T0 + int(at * S), value, severity, "HIGH" if severity else "NO_ALARM")
                for at, value, severity in rows
            ]
        )


def asked(database: str, pvs: list[str], **options: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    show_history(HistoryOptions(pvs=pvs, database=database, form="json", **options), out, io.StringIO())
    lines: list[dict[str, Any]] = json.loads(out.getvalue())
    return lines


def near(*numbers: float) -> list[Any]:
    return [pytest.approx(number, rel=1e-6) for number in numbers]


def minute(number: int) -> str:
    return f"2023-11-14 23:{number:02d}"


def test_numbers_of_a_window(database: str) -> None:
    values = [1.5, 2.5, 4.0, -1.0]
    add(database, "V", Metadata("kV", 2), *((60 * n, value, 0) for n, value in enumerate([99.0, *values, 77.0])))
    (line,) = asked(database, ["V"], stat=True, since=minute(1), until=minute(5))
    assert line == {
        "pv": "V", "unit": "kV", "count": 5, "min": -1.0, "max": 77.0,
        "mean": pytest.approx(statistics.fmean(values)), "std": pytest.approx(statistics.pstdev(values)),
        "mean_rows": pytest.approx(statistics.fmean([*values, 77.0])),
        "alarm_s": 0.0, "alarm_percent": 0.0, "invalid_s": 0.0, "gap_s": 0.0,
    }  # fmt: skip


def test_the_value_in_force_at_the_begin_is_in_alarm_and_in_the_range_but_not_counted(database: str) -> None:
    add(database, "V", Metadata("kV"), (0, 5.0, 2), (120, 1.0, 0), (180, 2.0, 1), (240, 1.0, 0))
    (line,) = asked(database, ["V"], stat=True, since=minute(1), until=minute(11))
    assert (line["count"], line["max"], line["mean_rows"]) == (3, 5.0, pytest.approx(4 / 3))
    assert (line["alarm_s"], line["alarm_percent"], line["gap_s"]) == (120.0, 20.0, 0.0)


def test_a_gap_is_no_alarm_and_no_value(database: str) -> None:
    add(database, "V", Metadata("kV"), (0, 1.0, 1), (60, Gap.DISCONNECTED, 3), (240, 1.0, 0))
    (line,) = asked(database, ["V"], stat=True, until=minute(10))
    assert (line["count"], line["alarm_s"], line["alarm_percent"], line["gap_s"]) == (2, 60.0, 10.0, 180.0)


def test_before_the_first_row_nothing_is_known(database: str) -> None:
    add(database, "V", Metadata("kV"), (300, 1.0, 0))
    (line,) = asked(database, ["V"], stat=True, since=minute(0), until=minute(10))
    assert (line["count"], line["gap_s"]) == (1, 300.0)
    (line,) = asked(database, ["V"], stat=True, since=minute(0), until=minute(4))
    assert (line["count"], line["mean"], line["gap_s"]) == (0, None, 240.0)
    (line,) = asked(database, ["V"], stat=True, until=minute(10))
    assert (line["count"], line["gap_s"]) == (1, 0.0)


def test_an_alarm_that_goes_on_lasts_until_now(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add([Sample("V", time.time_ns() - 100 * S, 1.0, 2, "HIHI")])
    (line,) = asked(database, ["V"], stat=True)
    assert line["alarm_s"] == pytest.approx(100, abs=10)
    assert line["alarm_percent"] == 100


def test_states_and_what_is_no_number_are_counted_only(database: str) -> None:
    add(database, "HV", Metadata(words=("Off", "On")), (0, 0, 0), (60, 1, 0))
    add(database, "N", Metadata("V"), (0, math.nan, 0), (60, 3, 0), (61, "text", 0))
    lines = asked(database, ["HV", "N"], stat=True, until=minute(10))
    assert [(line["count"], line["min"], line["mean"]) for line in lines] == [(2, None, None), (3, 3, 3)]


def test_bins_begin_at_multiples_of_their_width_and_empty_ones_are_left_out(database: str) -> None:
    add(database, "V", Metadata("kV", 1), (61, 1.0, 0), (90, 2.0, 2), (119.9, 6.0, 0), (240, 5.0, 0))
    add(database, "HV", Metadata(words=("Off", "On")), (0, 0, 0), (70, 1, 1), (250, Gap.ARCHIVE_OFF, 3))
    lines = asked(database, ["V", "HV"], bin="60s", since="2023-11-14 23:00:30Z")
    assert [tuple(line.values()) for line in lines] == [
        (
            "2023-11-14T23:01:00.000000000Z",
            "V",
            3,
            1.0,
            6.0,
            *near(1.5152542, 0.5326027, 3.0),
            6.0,
            "kV",
            "INVALID",
            0,
            1,
        ),
        ("2023-11-14T23:01:00.000000000Z", "HV", 1, *[None] * 5, "On", "", "MINOR", 0, 0),
        ("2023-11-14T23:04:00.000000000Z", "V", 1, 5.0, 5.0, 5.0, 0.0, 5.0, 5.0, "kV", "NO_ALARM", 0, 0),
        ("2023-11-14T23:04:00.000000000Z", "HV", 0, *[None] * 5, "Archive_Off", "", "INVALID", 0, 50),
    ]
    assert [line["count"] for line in asked(database, ["V"], bin="1h")] == [4]


@pytest.fixture
def thinned(database: str) -> list[float]:
    """Twenty values a minute for ten minutes, of which the first five minutes are thinned."""
    values = [math.sin(n) + (n % 7) ** 2 for n in range(200)]
    add(database, "V", Metadata("kV", 2), *((3 * n, value, 0) for n, value in enumerate(values)))
    with closing(open_store(database)) as store:
        while store.thin("V", T0 + 300 * S, 60 * S):
            pass
    return values


def test_thinned_stretches_are_counted_whole(database: str, thinned: list[float]) -> None:
    assert len(asked(database, ["V"])) < 130
    (line,) = asked(database, ["V"], stat=True, until=minute(10))
    assert (line["count"], line["min"], line["max"]) == (200, min(thinned), max(thinned))
    assert line["mean"] == pytest.approx(statistics.fmean(thinned))
    assert 0 < line["std"] < statistics.pstdev(thinned)  # of a thinned bin only the mean is known


def test_a_thinned_bin_that_begins_where_the_window_ends_is_not_counted(database: str, thinned: list[float]) -> None:
    """Of an hour that is asked for from full hour to full hour the next bin's highest number would be its highest."""
    within = thinned[20:41]
    (line,) = asked(database, ["V"], stat=True, since=minute(1), until=minute(2))
    assert (line["count"], line["min"], line["max"]) == (21, min(within), max(within))
    assert asked(database, ["V"], bin="1m", since=minute(1), until=minute(2))[-1]["count"] == 1


@pytest.mark.parametrize("view", [{"stat": True}, {"bin": "10s"}])
def test_numbers_of_rows_that_are_thinned_while_they_are_read_are_not_told_as_whole(
    database: str, thinned: list[float], view: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Plan.items

    def items(plan: Plan) -> Iterator[Any]:
        """The archiver thins after the bins were read, and before the rows are."""
        with closing(open_store(database)) as store:
            store.thin("V", T0 + 480 * S, 60 * S)
        yield from plain(plan)

    with monkeypatch.context() as patched:
        patched.setattr(Plan, "items", items)
        with pytest.raises(HistoryError, match="V was thinned"):
            asked(database, ["V"], until=minute(10), **view)
    assert sum(line["count"] for line in asked(database, ["V"], stat=True, until=minute(10))) == len(thinned)


def test_of_thinned_bins_those_of_rows_are_held_and_not_those_of_years_of_summaries() -> None:
    plan = Plan.__new__(Plan)
    plan._query = SimpleNamespace(window=Window(0, 1000))  # type: ignore[assignment]
    plan._segments = {"V": (Segment(0, 100, 0), Segment(100, 900, 60), Segment(900, 1001, 0))}
    bins = [Bin(time_ns, 60, 1, 0.0, 0.0, 0.0) for time_ns in range(0, 1080, 60)]
    assert [each.time_ns for each in plan.of_rows("V", bins)] == [0, 60, 900, 960]


def test_bins_of_thinned_stretches_are_exact(database: str, thinned: list[float]) -> None:
    lines = asked(database, ["V"], bin="2m")
    parts = [thinned[n : n + 40] for n in range(0, 200, 40)]
    assert [line["count"] for line in lines] == [40] * 5
    assert [line["max"] for line in lines] == [max(part) for part in parts]
    assert [line["mean"] for line in lines] == pytest.approx([statistics.fmean(part) for part in parts])
    assert [line["last"] for line in lines] == [part[-1] for part in parts]
