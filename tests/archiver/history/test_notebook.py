"""``archiver.history``: tables for notebooks."""

from __future__ import annotations

import math
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

import archiver
from archiver.history.query import HistoryError
from archiver.sample import Dated, Gap, Metadata, Sample, gap_marker
from archiver.storage.database import open_store

S = 10**9
T0 = 1_700_002_800 * S  # 2023-11-14 23:00 UTC


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'rack.sqlite'}"
    with closing(open_store(url)) as store:
        store.add_metadata({"LAB:V": Dated(0, Metadata("kV")), "LAB:HV": Dated(0, Metadata(words=("Off", "On")))})
        store.add([Sample("LAB:V", T0 + n * S, n + 0.5, 0, "NO_ALARM") for n in range(4)])
        store.add([Sample("LAB:V", T0 + 4 * S, math.inf, 2, "HIHI"), gap_marker("LAB:V", T0 + 5 * S, Gap.OVERRUN)])
        store.add([Sample("LAB:HV", T0 + 1, 1, 1, "STATE"), gap_marker("LAB:HV", T0 + 2 * S, Gap.ARCHIVE_OFF)])
        store.add([Sample("LAB:WF", T0 + n, (1.0, 2.0, 3.0), 0, "NO_ALARM") for n in (1, 2001)])
    return url


def test_numbers_are_floats_and_a_gap_is_nan(database: str) -> None:
    table = archiver.history(database, "LAB:V")["LAB:V"]
    assert table.dtype["time"] == np.dtype("M8[ns]")
    assert table.dtype["value"] == np.dtype("f8")
    assert table["time"].astype(int).tolist() == [T0 + n * S for n in range(6)]
    np.testing.assert_array_equal(table["value"], [0.5, 1.5, 2.5, 3.5, math.inf, math.nan])
    assert table["severity"].tolist() == ["NO_ALARM"] * 4 + ["MAJOR", "INVALID"]
    assert table["status"].tolist() == ["NO_ALARM"] * 4 + ["HIHI", "Overrun"]


def test_words_and_arrays_are_objects_and_a_gap_is_none(database: str) -> None:
    tables = archiver.history(database, ["LAB:HV", "LAB:W*"])
    assert tables["LAB:HV"]["value"].tolist() == ["On", None]
    assert tables["LAB:HV"]["status"].tolist() == ["STATE", "Archive_Off"]
    assert [value.tolist() for value in tables["LAB:WF"]["value"]] == [[1.0, 2.0, 3.0]] * 2


@pytest.mark.parametrize(
    "since",
    [
        "2023-11-14 23:00:02",
        datetime(2023, 11, 14, 23, 0, 2),
        datetime(2023, 11, 14, 23, 0, 2, tzinfo=UTC),
        datetime(2023, 11, 15, 0, 0, 2, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_a_window_in_text_or_datetime(database: str, since: str | datetime) -> None:
    table = archiver.history(database, ["LAB:V"], since, "2023-11-14 23:00:03.5")["LAB:V"]
    assert table["value"].tolist() == [2.5, 3.5]


def test_a_pv_without_rows_has_an_empty_table(database: str) -> None:
    tables = archiver.history(database, ["LAB:*"], until="2000-01-01")
    assert {pv: len(table) for pv, table in tables.items()} == {"LAB:HV": 0, "LAB:V": 0, "LAB:WF": 0}


def test_errors_are_sentences(database: str) -> None:
    with pytest.raises(HistoryError, match="LAB:W is not in the archive; did you mean"):
        archiver.history(database, "LAB:W")
