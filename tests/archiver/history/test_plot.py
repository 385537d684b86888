from __future__ import annotations

import io
import math
import os
import pty
import re
import struct
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from archiver.history.command import HistoryOptions, show_history
from archiver.history.curves import picture
from archiver.history.query import HistoryError, Window, open_query
from archiver.sample import Dated, Gap, Metadata, Sample, gap_marker
from archiver.storage.database import open_store

S = 10**9
T0 = 1_700_002_800 * S  # 2023-11-14 23:00 UTC


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'rack.sqlite'}"
    with closing(open_store(url)) as store:
        numbers = {pv: Dated(0, Metadata(unit)) for pv, unit in (("LAB:V", "kV"), ("LAB:W", "kV"), ("LAB:T", "C"))}
        store.add_metadata(numbers | {"LAB:HV": Dated(0, Metadata(words=("Off", "On")))})
        store.add([Sample("LAB:V", T0 + n * S, n % 10 + 0.5, 2 if n % 10 == 9 else 0, "HIHI") for n in range(40)])
        store.add(
            [gap_marker("LAB:V", T0 + 40 * S, Gap.DISCONNECTED), Sample("LAB:V", T0 + 50 * S, 3.0, 0, "NO_ALARM")]
        )
        store.add([Sample("LAB:W", T0, 5.0, 0, "NO_ALARM"), Sample("LAB:T", T0, 21.0, 1, "HIGH")])
        store.add([Sample("LAB:HV", T0 + n * 20 * S, n % 2, 0, "NO_ALARM") for n in range(4)])
        store.add([Sample("LAB:MSG", T0, "ready", 0, "NO_ALARM"), Sample("LAB:WF", T0, (1.0, 2.0), 0, "NO_ALARM")])
    return url


def drawn(database: str, *pvs: str, **options: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    show_history(HistoryOptions(pvs=pvs, database=database, **{"until": "2023-11-14 23:01Z"} | options), out, err)
    return out.getvalue(), err.getvalue()


def test_the_picture_is_a_png_with_an_axis_for_each_unit(database: str, tmp_path: Path) -> None:
    file = tmp_path / "lab.png"
    for pvs, height in ((["LAB:V", "LAB:W"], 360), (["LAB:V", "LAB:T", "LAB:HV"], 880)):
        assert drawn(database, *pvs, plot=file) == ("", "")
        head = file.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">2I", head[16:]) == (1000, height)
    pixels = imread(file)[..., :3]
    for colour in ((0xD6, 0x27, 0x28), (0xE6, 0xA7, 0x00)):  # MAJOR and MINOR
        assert (abs(pixels * 255 - colour).max(axis=2) < 2).sum() > 8


def test_a_line_breaks_at_a_gap_and_holds_to_the_end_of_the_window(database: str) -> None:
    with open_query(database, ["LAB:V", "LAB:W"], Window(T0 + 30 * S + 1, T0 + 60 * S)) as query:
        ((volts, constant),) = picture(query.samples(), query).axes
    points = [((time - T0) / S, value) for time, value in zip(volts.times_ns, volts.values, strict=True)]
    assert points[0][0] == pytest.approx(30)
    assert points[0][1] == 0.5
    assert [str(value) for _, value in points[-4:]] == ["9.5", "nan", "3.0", "3.0"]
    assert [time for time, _ in points[-4:]] == [39, 40, 50, 60]
    assert list(constant.values) == [5.0, 5.0]
    assert list(constant.times_ns) == [T0 + 30 * S + 1, T0 + 60 * S]


def test_in_the_terminal(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    text, _ = drawn(database, "LAB:V", "LAB:T", "LAB:HV", terminal=True)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 90
    for word in ("[kV]", "LAB:V", "MAJOR", "[C]", "MINOR", "On┤", "Off┤", "11-14 23:00:30"):
        assert word in text


def written(terminal: int) -> str:
    """What was written to a terminal whose other end is closed; the kernel may hand it over in parts."""
    parts = []
    with suppress(OSError):
        while part := os.read(terminal, 10_000):
            parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()


@pytest.mark.parametrize(("options", "zone", "hour"), [({}, "local time", "00"), ({"utc": True}, "UTC", "23")])
def test_in_the_terminal_times_are_those_of_the_rows(
    database: str, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], zone: str, hour: str
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as out:
        given = HistoryOptions(pvs=["LAB:HV"], database=database, terminal=True, until="2023-11-14 23:01Z", **options)
        show_history(given, out, io.StringIO())
    text = written(ours)
    monkeypatch.undo()
    time.tzset()
    assert zone in text.splitlines()[0]
    assert f" {hour}:00:30" in text


def test_in_the_terminal_a_line_breaks_at_a_gap(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text, _ = drawn(database, "LAB:V", terminal=True)
    inside = [re.split("[┤│]", line)[1] for line in text.splitlines() if re.search("[┤│]", line)]
    columns = [any(character != " " for character in column) for column in zip(*inside, strict=True)]
    width = len(columns)
    assert not any(columns[2 + width * 40 // 60 : width * 50 // 60 - 2])
    assert all(columns[: width * 40 // 60 - 2])
    assert all(columns[2 + width * 50 // 60 :])


def test_a_terminal_is_drawn_in_colour(database: str) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as out:
        show_history(HistoryOptions(pvs=["LAB:HV"], database=database, terminal=True), out, io.StringIO())
        assert b"\x1b[" in os.read(ours, 10_000)
    os.close(ours)


def test_arrays_and_texts_are_left_out_with_a_sentence(database: str, tmp_path: Path) -> None:
    file = tmp_path / "lab.png"
    _, said = drawn(database, "LAB:*", plot=file)
    assert said.splitlines() == [
        "LAB:MSG is not in the plot: it holds texts, which no line can show",
        "LAB:WF is not in the plot: it holds arrays, which no line can show",
    ]
    assert file.exists()
    with pytest.raises(HistoryError, match="there is nothing to plot"):
        drawn(database, "LAB:WF", terminal=True)


def test_a_file_that_cannot_be_written_is_reported_before_the_archive_is_read(tmp_path: Path) -> None:
    for name, sentence in (("lab.jpg", "ends in .png"), ("none/lab.png", "there is no directory .*none")):
        with pytest.raises(HistoryError, match=sentence):
            drawn("sqlite:///nowhere.sqlite", "LAB:V", plot=tmp_path / name)
    assert not Path("nowhere.sqlite").exists()


@pytest.mark.parametrize("view", ["plot", "terminal"])
@pytest.mark.parametrize(
    ("values", "until"),
    [
        ([1.0], "2023-11-14 23:00:00"),
        ([0.0] * 3, "2023-11-14 23:00:30"),
        ([math.nan, 1e300, -1e300, math.inf], "2023-11-14 23:00:30"),
    ],
)
def test_odd_values_are_drawn(database: str, tmp_path: Path, view: str, values: list[float], until: str) -> None:
    with closing(open_store(database)) as store:
        store.add([Sample("LAB:ODD", T0 + n * S, value, 0, "NO_ALARM") for n, value in enumerate(values)])
        store.add([gap_marker("LAB:GAP", T0, Gap.ARCHIVE_OFF)])
    out, _ = drawn(database, "LAB:ODD", "LAB:GAP", "LAB:W", until=until, **{view: tmp_path / "odd.png"})
    assert (tmp_path / "odd.png").exists() if view == "plot" else "LAB:ODD" in out


def test_gaps_alone_are_nothing_to_plot(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add([gap_marker("LAB:GAP", T0, Gap.ARCHIVE_OFF)])
    with pytest.raises(HistoryError, match="there is nothing to plot"):
        drawn(database, "LAB:GAP", terminal=True)


def test_many_points_are_drawn_in_little_time(database: str, tmp_path: Path) -> None:
    samples = [Sample("LAB:N", T0 + n * S // 5, float(n * 7919 % 1000), 0, "NO_ALARM") for n in range(60_000)]
    with closing(open_store(database)) as store:
        store.add(samples)
    for view in ({"plot": tmp_path / "n.png"}, {"terminal": True}):
        drawn(database, "LAB:N", until="2023-11-15 05:00Z", **view)
    assert (tmp_path / "n.png").stat().st_size > 5000
