"""The samples of a PV: in each format all that the archive has, as ``rackioc history`` shows it, and no more."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest

from archiver.sample import STATUSES, Gap, Sample, is_gap
from tests.web.decode import ARRAY, DOUBLE, ENUM, INT, STRING, decode, samples
from tests.web.served import BEGIN, PVS, SECOND, VOLTS, WORDS, Served, iso

KINDS = {"T:STATE": ENUM, "T:COUNT": INT, "T:TEXT": STRING, "T:ARRAY": ARRAY}
# Seconds since BEGIN: all, around samples, on one, before the first, after the last, one moment
SPANS = [(-1e9, 1e9), (300.0, 900.0), (340.000123, 680.000123), (-1e9, -9e8), (1e8, 2e8), (605.5, 605.5), (1.5, 1.6)]


def of(seconds: float) -> int:
    return max(0, BEGIN + round(seconds * 1e6) * 1000)


def same(found: Any, sample: Sample, before: Any) -> bool:
    """Whether what was read is a sample of the archive; in a gap nothing is known."""
    if is_gap(sample):
        nothing = {float: math.nan, tuple: (math.nan,), str: sample.value, int: before}
        return repr(found) == repr(nothing[type(before)])
    return repr(found) == repr(sample.value)


@pytest.mark.parametrize("seconds", SPANS, ids=str)
@pytest.mark.parametrize("pv", PVS)
def test_raw_has_each_sample_of_the_history(served: Served, pv: str, seconds: tuple[float, float]) -> None:
    since, until = map(of, seconds)
    answer = served.get("/data/getData.raw", pv=pv, from_=iso(since), to=iso(until))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-protobuf")
    expected = served.history(pv, since, until)
    chunks = decode(answer.body)
    assert chunks[0].pv == pv  # also without a sample
    found = [each for chunk in chunks for each in chunk.samples]
    assert [each.time_ns for each in found] == [each.time_ns for each in expected]
    whole = served.history(pv, 0, 2**63 - 1)
    for read, sample in zip(found, expected, strict=True):
        known = [each.value for each in whole if each.time_ns < sample.time_ns and not is_gap(each)]
        before = known[-1] if known else 0.0
        assert same(read.value, sample, before), (read, sample)
        assert read.severity == sample.severity
        status = (
            {Gap.DISCONNECTED: "COMM", Gap.ARCHIVE_OFF: "UDF"}.get(Gap(sample.status)) if is_gap(sample) else None
        )
        assert read.status == STATUSES.index(status or sample.status)
        if pv not in {"T:BECAME", "T:MIXED"}:
            assert read.kind == KINDS.get(pv, DOUBLE)
    for chunk in chunks:
        assert not chunk.samples or chunk.elements == (len(chunk.samples[0].value) if chunk.kind == ARRAY else 1)


def test_a_chunk_ends_with_its_year(served: Served) -> None:
    chunks = decode(served.get("/data/getData.raw", pv="T:RARE", from_=iso(0), to=iso(BEGIN + SECOND)).body)
    assert [chunk.year for chunk in chunks] == [2022, 2023, 2024]
    assert all(iso(each.time_ns).startswith(str(chunk.year)) for chunk in chunks for each in chunk.samples)
    assert sum(len(chunk.samples) for chunk in chunks) == 23


def test_a_chunk_has_the_metadata_of_its_time_and_one_type(served: Served) -> None:
    first, second = decode(served.get("/data/getData.raw", pv="T:UNIT", from_=iso(BEGIN), to=iso(of(1e6))).body)
    assert first.headers == {
        "LOPR": "0.0", "HOPR": "100.0", "HIGH": "80.0", "LOLO": "-5.0", "HIHI": "90.0", "EGU": "V", "PREC": "3.0",
    }  # fmt: skip
    assert second.headers == {"EGU": "kV", "PREC": "3.0"}
    assert VOLTS.warning == (None, 80.0)
    chunks = decode(served.get("/data/getData.raw", pv="T:BECAME", from_=iso(0), to=iso(of(1e6))).body)
    assert [(chunk.kind, len(chunk.samples)) for chunk in chunks] == [(INT, 2), (DOUBLE, 2), (STRING, 1), (DOUBLE, 1)]
    (state, *_) = decode(served.get("/data/getData.raw", pv="T:STATE", from_=iso(0), to=iso(of(1e6))).body)
    assert state.headers == {f"ENUM_{number}": word for number, word in enumerate(WORDS)}


def test_after_a_gap_it_is_told_from_when_until_when(served: Served) -> None:
    found = samples(served.get("/data/getData.raw", pv="T:BROKEN", from_=iso(0), to=iso(of(1e6))).body)
    lost, regained, off, on = found[60], found[61], found[80], found[81]
    assert math.isnan(lost.value)
    assert regained.fields == {
        "cnxlostepsecs": str(lost.time_ns // SECOND), "cnxregainedepsecs": str(regained.time_ns // SECOND),
    }  # fmt: skip
    seconds = {"cnxlostepsecs": str(off.time_ns // SECOND), "cnxregainedepsecs": str(on.time_ns // SECOND)}
    assert on.fields == {**seconds, "startup": "true"}
    assert sum(1 for each in found if each.fields) == 2


@pytest.mark.parametrize("pv", PVS)
def test_each_format_has_what_raw_has(served: Served, pv: str) -> None:
    span = {"from_": iso(of(-1)), "to": iso(of(1e6))}
    raw = samples(served.get("/data/getData.raw", pv=pv, **span).body)
    expected = [
        (each.time_ns // SECOND, each.value, each.severity, each.status, each.time_ns % SECOND) for each in raw
    ]

    ((found,), text) = (served.get("/data/getData.json", pv=pv, **span).json(), "")
    assert found["meta"]["name"] == pv
    assert [
        (each["secs"], _as(expected[i][1], each["val"]), each["severity"], each["status"], each["nanos"])
        for i, each in enumerate(found["data"])
    ].__repr__() == expected.__repr__()
    assert [each.get("fields", {}) for each in found["data"]] == [each.fields for each in raw]

    answer = served.get("/data/getData.csv", pv=pv, **span)
    assert answer.headers["content-type"].startswith("text/csv")
    lines = list(csv.reader(io.StringIO(answer.body.decode(), newline="")))
    read = [(int(a), _of_text(expected[i][1], b), int(c), int(d), int(e)) for i, (a, b, c, d, e) in enumerate(lines)]
    assert repr(read) == repr(expected)

    text = served.get("/data/getData.txt", pv=pv, **span).body.decode()
    assert text.startswith(f"Beginning data for {pv}\n")
    assert len(text.splitlines()) == len(raw) + 1 + text.count("\r") or pv == "T:TEXT"

    ((found,),) = (served.get("/data/getData.qw", pv=pv, **span).json(),)
    assert [each["millis"] for each in found["data"]] == [each.time_ns // 10**6 for each in raw]


def _as(like: Any, value: Any) -> Any:
    return tuple(value) if isinstance(like, tuple) else value


def _of_text(like: Any, text: str) -> Any:
    if isinstance(like, str):
        return text
    return _as(like, json.loads(text))


def test_several_pvs_come_one_after_the_other(served: Served) -> None:
    span = {"from_": iso(of(0)), "to": iso(of(30))}
    alone = b"\n".join(
        served.get("/data/getData.raw", pv=pv, **span).body for pv in ("T:DOUBLE", "mean_10(T:DOUBLE)", "T:STATE")
    )
    pvs = ["T:DOUBLE", "mean_10(T:DOUBLE)", "T:STATE"]
    assert served.get("/data/getDataForPVs.raw", pv=pvs, **span).body == alone
    found = served.get("/data/getDataForPVs.json", pv=pvs, **span).json()
    assert [each["meta"]["name"] for each in found] == ["T:DOUBLE", "T:DOUBLE", "T:STATE"]
    assert served.get("/data/getDataForPVs.csv", pv=pvs, **span).status == 404
    assert served.get("/data/getDataForPVs.json", pv=["T:DOUBLE", "T:NONE"], **span).status == 404


def test_a_name_may_have_a_protocol_and_a_field(served: Served) -> None:
    span = {"from_": iso(of(0)), "to": iso(of(30))}
    plain = served.get("/data/getData.raw", pv="T:DOUBLE", **span).body
    for name in ("ca://T:DOUBLE", "pva://T:DOUBLE", "T:DOUBLE.VAL", "ca://T:DOUBLE.VAL"):
        assert served.get("/data/getData.raw", pv=name, **span).body == plain


def test_values_at_a_time(served: Served) -> None:
    names = ["T:DOUBLE", "T:STATE", "T:TEXT", "T:ARRAY", "T:NONE", "T:RARE", "T:DOUBLE.VAL", "T:LOST"]
    at = of(100)
    found = served.get("/data/getDataAtTime", json.dumps(names).encode(), at=iso(at)).json()
    assert found.keys() == {"T:DOUBLE", "T:STATE", "T:TEXT", "T:ARRAY", "T:DOUBLE.VAL", "T:LOST"}
    (sample,) = served.history("T:DOUBLE", at, at)
    assert found["T:DOUBLE"] == {
        "secs": sample.time_ns // SECOND, "nanos": sample.time_ns % SECOND, "severity": sample.severity,
        "status": STATUSES.index(sample.status), "val": sample.value, "meta": {"DBRType": "DBR_SCALAR_DOUBLE"},
    }  # fmt: skip
    assert (found["T:LOST"]["severity"], math.isnan(found["T:LOST"]["val"])) == (3, True)
    for period, there in (("P1D", False), ("P2M", True), ("P1Y", True), ("P2W", False)):
        asked = served.get("/data/getDataAtTime", b'["T:RARE"]', at=iso(at), searchPeriod=period).json()
        assert ("T:RARE" in asked) == there
    assert served.get("/data/getDataAtTime", b"pv=T:DOUBLE,T:ONCE", at=iso(at)).json().keys() == {
        "T:DOUBLE", "T:ONCE",
    }  # fmt: skip
    assert served.get("/data/getDataAtTime", b"T:DOUBLE\nT:ONCE\n", at=iso(at)).json().keys() == {
        "T:DOUBLE",
        "T:ONCE",
    }


def test_times_left_out_are_the_day_until_in_an_hour(served: Served) -> None:
    assert served.get("/data/getData.raw", pv="T:DOUBLE").status == 200
    found = samples(served.get("/data/getData.raw", pv="T:DOUBLE", to=iso(of(10))).body)
    assert len(found) == 10
    spelled = [
        "2024-12-31T23:50:05Z",
        "2025-01-01T00:50:05.000+01:00",
        "2024-12-31T22:50:05-0100",
        "2024-12-31T23:50:05",
    ]
    answers = {served.get("/data/getData.raw", pv="T:DOUBLE", from_=each, to=each).body for each in spelled}
    assert len(answers) == 1
