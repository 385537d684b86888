"""Every value that can be archived can be shown, in every form, also among others."""

from __future__ import annotations

import io
import math
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import archiver
from archiver.history.command import HistoryOptions, show_history
from archiver.history.formats import FORMATS
from archiver.sample import SEVERITIES, Dated, Metadata, Sample, Value
from archiver.storage.database import open_store

S = 10**9
T0 = 1_700_002_800 * S  # 2023-11-14 23:00 UTC

INTEGERS = [0, 1, -1, 2, 3, -2, 15, 16, 255, -128, 32_767, -32_768, 65_535, 2**31 - 1, -(2**31)]
LARGEST = 1.7976931348623157e308
DOUBLES = [0.0, -0.0, 5e-324, -5e-324, LARGEST, -LARGEST, 0.1, math.nan, math.inf, -math.inf]
TEXTS = ["", "NaN", "Infinity", "a\tb\r\nc", "\x00", "\ufffd", "°C 电压", "'\"\\%", "INVALID", "Overrun", "x" * 5000]
ARRAYS: list[tuple[float, ...]] = [(), (math.nan,), (1.0,) * 300, (math.inf, -0.0), (-LARGEST,)]
EXTREMES: list[Value] = [*INTEGERS, *DOUBLES, *TEXTS, *ARRAYS]

VALUES = st.one_of(
    st.sampled_from(EXTREMES),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(),
    st.text(max_size=50),
    st.lists(st.floats(), max_size=5).map(tuple),
)
WORDS: list[tuple[str, ...]] = [(), ("Off", "On"), ("", " ")]
ROWS = st.lists(st.tuples(VALUES, st.sampled_from(range(len(SEVERITIES)))), min_size=1, max_size=12)


def show_all(database: str, pvs: list[str], folder: Path) -> None:
    """Ask everything of the PVs; nothing may fail, whatever they hold."""
    window = {"since": "2023-11-14 23:00:01Z", "until": "2023-11-14 23:10Z"}
    views: list[dict[str, Any]] = [{}, {"stat": True}, {"bin": "7s"}, {"bin": "7s", "fill": True}]
    for form in FORMATS:
        for view in [*({**view, **window} for view in views), {"at": "2023-11-14 23:00:05Z"}]:
            out = io.StringIO()
            options = HistoryOptions(pvs=pvs, database=database, form=form, **view)
            show_history(options, out, io.StringIO())
            assert "bin" in view or all(pv in out.getvalue() for pv in pvs)
    drawings: list[dict[str, Any]] = [{"terminal": True}, {"plot": folder / "any.png"}]
    for drawing in drawings:
        drawn = HistoryOptions(pvs=pvs, database=database, **window | drawing)
        show_history(drawn, io.StringIO(), io.StringIO())
    assert set(archiver.history(database, pvs)) == set(pvs)


def fill(database: str, rows: list[tuple[Value, int]], words: tuple[str, ...]) -> None:
    with closing(open_store(database)) as store:
        about = Metadata(words=words) if words else Metadata("V", 2)
        store.add_metadata({"ANY": Dated(0, about), "GOOD": Dated(0, Metadata("V"))})
        store.add([Sample("GOOD", T0 + n * S, float(n), 0, "NO_ALARM") for n in range(3)])
        store.add([Sample("ANY", T0 + n * S, value, severity, "HIGH") for n, (value, severity) in enumerate(rows)])
        while store.thin("ANY", T0 + 600 * S, 60 * S):
            pass


@pytest.mark.parametrize("words", WORDS, ids=["number", "states", "empty words"])
@pytest.mark.parametrize("kind", ["sqlite", "mysql"])
def test_each_extreme_value_is_shown(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, words: tuple[str, ...]
) -> None:
    database = str(request.getfixturevalue("mysql_database")) if kind == "mysql" else f"sqlite:///{tmp_path}/x.sqlite"
    fill(database, [(value, n % 4) for n, value in enumerate(EXTREMES)], words)
    show_all(database, ["ANY", "GOOD"], tmp_path)


@example(rows=[(LARGEST, 0)], words=())
@example(rows=[(LARGEST, 0)] * 3, words=())
@example(rows=[(0, 0), (LARGEST, 0), (-LARGEST, 0)], words=())
@settings(max_examples=25, deadline=None)
@given(rows=ROWS, words=st.sampled_from(WORDS))
def test_any_values_are_shown(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Value, int]], words: tuple[str, ...]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    database = f"sqlite:///{folder}/rack.sqlite"
    fill(database, rows, words)
    show_all(database, ["ANY", "GOOD"], folder)
