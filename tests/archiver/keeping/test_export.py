from __future__ import annotations

import csv
import math
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
from pyarrow import parquet

from archiver.sample import Gap, Sample
from archiver.storage.database import open_store
from tests.archiver.keeping.archives import ROWS, SECOND, START, fill
from tests.archiver.keeping.commands import ROOT, run
from tests.archiver.keeping.conftest import New
from tests.archiver.keeping.test_copy import KINDS


@pytest.fixture
def archive(new: New, request: pytest.FixtureRequest) -> str:
    database = new(getattr(request, "param", "sqlite"))
    fill(database)
    return database


def written(archive: str, form: str, folder: Path, *options: str) -> Path:
    file = folder / f"rows.{form}"
    code, text = run("export", *options, "--format", form, "-o", str(file), "--database", archive, directory=folder)
    assert code == 0, text
    return file


@pytest.mark.parametrize("archive", KINDS, indirect=True)
def test_parquet_has_all_rows_with_their_types(archive: str, tmp_path: Path) -> None:
    found = parquet.read_table(written(archive, "parquet", tmp_path, "R", "S", "TEXT", "WF", "NAN"))
    assert str(found.schema.field("time").type) == "timestamp[ns, tz=UTC]"
    table = found.set_column(0, "time", found["time"].cast("int64")).to_pylist()
    rows = [row for row in table if row["pv"] == "R"]
    assert [row["value"] for row in rows[:-1]] == [n * 0.1 for n in range(ROWS)]
    assert rows[-1] | {"time": None} == {
        "time": None, "pv": "R", "value": None, "text": None, "array": None, "unit": "", "severity": "INVALID",
        "status": Gap.ARCHIVE_OFF,
    }  # fmt: skip
    assert {row["unit"] for row in rows[:100]} == {"V"}
    assert rows[100]["unit"] == "kV"
    assert rows[0]["time"] == START
    states = [row for row in table if row["pv"] == "S"]
    assert [(row["value"], row["text"]) for row in states[:3]] == [(0.0, "Off"), (1.0, "On"), (2.0, "Trip")]
    assert [row["value"] for row in states[10:12]] == [None, None], "INVALID, and a gap"
    assert next(row for row in table if row["pv"] == "TEXT")["text"] == "it's \\ a 'text'\n电压 \U0001f600"
    arrays = [row["array"] for row in table if row["pv"] == "WF"]
    assert arrays[0][0] == 1.0
    assert math.isnan(arrays[0][1])
    assert [len(each) for each in arrays[:3]] == [3, 0, 20_000]


def test_csv_has_the_same_columns(archive: str, tmp_path: Path) -> None:
    with written(archive, "csv", tmp_path, "R", "WF", "S").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "time": "2023-11-14T22:13:20.000000000Z", "pv": "R", "value": "0.0", "text": "", "array": "", "unit": "V",
        "severity": "NO_ALARM", "status": "NO_ALARM",
    }  # fmt: skip
    assert next(row for row in rows if row["pv"] == "WF")["array"] == "[1.0, null, 3.0]"


def test_an_end_of_a_line_within_a_text_ends_no_row_of_csv(archive: str, tmp_path: Path) -> None:
    texts = ["ready\r", "a\rb", "a\r\nb", "a\nb"]
    with closing(open_store(archive, "LAB:one")) as store:
        store.add([Sample("MSG", START + n * SECOND, text, 0, "NO_ALARM") for n, text in enumerate(texts)])
    with written(archive, "csv", tmp_path, "MSG").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows[: len(texts)]] == texts
    assert {row["severity"] for row in rows[: len(texts)]} == {"NO_ALARM"}


def test_hdf5_has_a_group_for_each_pv(archive: str, tmp_path: Path) -> None:
    with h5py.File(written(archive, "hdf5", tmp_path, "*")) as file:
        assert sorted(file) == ["NAN", "OLD", "R", "S", "TEXT", "WF"]
        np.testing.assert_allclose(file["R/value"][:-1], np.arange(ROWS) * 0.1)
        assert math.isnan(file["R/value"][-1])
        assert file["R/time"][0] == START
        assert file["R/status"].asstr()[-1] == Gap.ARCHIVE_OFF
        assert list(file["S/text"].asstr()[:3]) == ["Off", "On", "Trip"]
        assert [len(each) for each in file["WF/array"]][:3] == [3, 0, 20_000]


def test_hdf5_has_a_group_within_another_where_names_have_slashes(archive: str, tmp_path: Path) -> None:
    names = ["A:B/C", "A:B"]
    with closing(open_store(archive, "LAB:one")) as store:
        store.add([Sample(pv, START, float(number), 0, "NO_ALARM") for number, pv in enumerate(names)])
    with h5py.File(written(archive, "hdf5", tmp_path, *names)) as file:
        assert [file[pv]["value"][0] for pv in names] == [0.0, 1.0]


@pytest.mark.parametrize("form", ["parquet", "csv", "hdf5"])
def test_a_window_is_led_by_the_value_in_force(archive: str, tmp_path: Path, form: str) -> None:
    window = ("--since", "2023-11-14T22:13:25.5Z", "--until", "2023-11-14T22:13:27Z")
    file = written(archive, form, tmp_path, "R", *window)
    if form == "parquet":
        values = parquet.read_table(file)["value"].to_pylist()
    elif form == "csv":
        values = [float(line.split(",")[2]) for line in file.read_text().splitlines()[1:]]
    else:
        with h5py.File(file) as opened:
            values = list(opened["R/value"])
    assert values == [0.5, 6 * 0.1, 7 * 0.1]


def test_many_rows_go_in_batches(new: New, tmp_path: Path) -> None:
    database = new("sqlite")
    with closing(open_store(database)) as store:
        store.add([Sample("R", START + n * SECOND, float(n), 0, "NO_ALARM") for n in range(60_000)])
        store.live(START + 60_000 * SECOND)
    for form in ("parquet", "hdf5"):
        file = written(database, form, tmp_path, "R")
        if form == "parquet":
            values = parquet.read_table(file)["value"].to_pylist()
        else:
            with h5py.File(file) as opened:
                values = list(opened["R/value"])
        assert values[:60_000] == [float(n) for n in range(60_000)]


def test_what_is_not_there_is_told_and_what_is_there_is_kept(archive: str, tmp_path: Path) -> None:
    code, text = run(
        "export", "R", "NONE", "--format", "csv", "-o", "a.csv", "--database", archive, directory=tmp_path
    )
    assert code == 1
    assert "NONE is not in the archive" in text
    assert (tmp_path / "a.csv").exists()
    code, text = run("export", "R", "--format", "csv", "-o", "a.csv", "--database", archive, directory=tmp_path)
    assert code == 1
    assert "a.csv exists" in text
    code, text = run("export", "R", "--format", "csv", "-o", "no/a.csv", "--database", archive, directory=tmp_path)
    assert code == 1
    assert "cannot be written" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(("form", "library"), [("parquet", "pyarrow"), ("hdf5", "h5py")])
def test_a_library_that_is_not_installed_is_named(archive: str, tmp_path: Path, form: str, library: str) -> None:
    program = (
        f"import sys; sys.modules[{library!r}] = None; sys.argv[1:] = "
        f"['db', 'export', 'R', '--format', {form!r}, '-o', 'a', '--database', {archive!r}]; "
        "from rackioc.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"needs {library}, which is not installed: pip install 'rackioc[export]'" in done.stderr
