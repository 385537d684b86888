import csv
import io
import json
from contextlib import closing

import pytest

from archiver.database import open_store
from archiver.history import HistoryError, command, read
from archiver.sample import Gap, Metadata, Sample, gap_marker

S = 10**9
T0 = 1_800_000_000 * S  # 2027-01-15 08:00 UTC


@pytest.fixture
def database(tmp_path):
    url = f"sqlite:///{tmp_path / 'rack.sqlite'}"
    with closing(open_store(url)) as store:
        store.describe({"LAB:V": Metadata("kV", 2), "LAB:HV": Metadata(words=("Off", "On"))})
        store.add([Sample("LAB:V", T0 + n * S, n + 0.125, 0, "NO_ALARM") for n in (0, 1, 2, 4)])
        store.add([Sample("LAB:V", T0 + 3 * S, 3.125, 2, "HIHI")])
        store.add([Sample("LAB:HV", T0 + S // 2, 1, 0, "NO_ALARM")])
        store.add([gap_marker("LAB:HV", T0 + 9 * S, Gap.ARCHIVE_OFF)])
        yield url


def seconds(rows):
    return [(row.time_ns - T0) / S for row in rows]


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, [0, 1, 2, 3, 4]),
        (2, None, [2, 3, 4]),
        (2.5, None, [2, 3, 4]),  # the last value before the window leads
        (2.5, 3, [2, 3]),
        (2.5, 2.6, [2]),
        (9, None, [4]),
        (-2, 0.5, [0]),
        (-2, -1, []),
        (None, 1, [0, 1]),
    ],
)
def test_window(database, since, until, expected):
    window = [None if each is None else T0 + int(each * S) for each in (since, until)]
    assert seconds(read(database, ["LAB:V"], *window)) == expected


def test_several_pvs_are_merged_in_order_of_time(database):
    rows = list(read(database, ["LAB:*", "LAB:V"]))
    assert seconds(rows) == [0, 0.5, 1, 2, 3, 4, 9]
    assert rows[1][1:6] == ("LAB:HV", "On", "", "NO_ALARM", "NO_ALARM")
    assert rows[4][1:6] == ("LAB:V", 3.125, "kV", "MAJOR", "HIHI")
    assert rows[6][1:6] == ("LAB:HV", "Archive_Off", "", "INVALID", "Archive_Off")


def printed(database, form, pvs, since=None, until=None):
    out = io.StringIO()
    command(pvs, database, since=since, until=until, form=form, out=out)
    return out.getvalue()


def test_table(database):
    lines = printed(database, "table", ["LAB:*"], since="2027-01-15 08:00:03").splitlines()
    assert [line.split() for line in lines] == [
        ["time", "pv", "value", "unit", "severity", "status"],
        ["2027-01-15T08:00:00.500000000Z", "LAB:HV", "On", "NO_ALARM", "NO_ALARM"],
        ["2027-01-15T08:00:03.000000000Z", "LAB:V", "3.12", "kV", "MAJOR", "HIHI"],
        ["2027-01-15T08:00:04.000000000Z", "LAB:V", "4.12", "kV", "NO_ALARM", "NO_ALARM"],
        ["2027-01-15T08:00:09.000000000Z", "LAB:HV", "Archive_Off", "INVALID", "Archive_Off"],
    ]


def test_csv_and_json_are_exact_and_agree(database):
    as_csv = list(csv.DictReader(io.StringIO(printed(database, "csv", ["LAB:*"]))))
    as_json = json.loads(printed(database, "json", ["LAB:*"]))
    assert [{name: str(value) for name, value in row.items()} for row in as_json] == as_csv
    assert as_json[4] == {
        "time": "2027-01-15T08:00:03.000000000Z",
        "pv": "LAB:V",
        "value": 3.125,
        "unit": "kV",
        "severity": "MAJOR",
        "status": "HIHI",
    }


def test_no_rows_are_valid_too(database):
    assert json.loads(printed(database, "json", ["LAB:V"], until="2000-01-01")) == []
    assert printed(database, "csv", ["LAB:V"], until="2000-01-01") == "time,pv,value,unit,severity,status\n"


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        ({"pvs": ["LAB:W"]}, "LAB:W is not in the archive; did you mean LAB:V"),
        ({"pvs": ["X*"]}, r"X\* is not in the archive$"),
        ({"form": "xml"}, "'xml' is no format: choose one of table, csv, json"),
        ({"since": "soon"}, "'soon' is no time"),
        ({"since": "2027-01-02", "until": "2027-01-01"}, "the window ends before it begins"),
        ({"database": "rack.db"}, "must be an URL such as sqlite:///rack.sqlite"),
    ],
)
def test_errors_are_sentences(database, ask, sentence):
    with pytest.raises(HistoryError, match=sentence):
        printed(**{"database": database, "form": "csv", "pvs": ["LAB:V"]} | ask)


def test_a_missing_file_is_a_sentence_and_stays_missing(tmp_path):
    file = tmp_path / "no.sqlite"
    with pytest.raises(HistoryError, match=r"no\.sqlite: no such archive"):
        list(read(f"sqlite:///{file}", ["*"]))
    assert not file.exists()
