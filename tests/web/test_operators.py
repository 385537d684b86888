"""The operators: each as the model makes it of the samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.web import model
from tests.web.decode import ARRAY, DOUBLE, Read, decode, samples
from tests.web.served import BEGIN, SECOND, Served, fill, iso

STATISTICS = ("mean", "min", "max", "count", "median", "std", "jitter", "linear", "statistics")
# Seconds since BEGIN
SPANS = [(0, 1200), (300.25, 1700.75), (-500, 400)]


def ask(served: Served, pv: str, seconds: tuple[float, float]) -> list[Read]:
    since, until = (BEGIN + round(each * SECOND) for each in seconds)
    answer = served.get("/data/getData.raw", pv=pv, from_=iso(since), to=iso(until))
    assert answer.status == 200, answer.body
    return samples(answer.body)


def equal(found: Any, expected: Any) -> bool:
    if isinstance(found, str):
        return bool(found == expected)
    found, expected = (each if isinstance(each, tuple) else (each,) for each in (found, expected))
    return len(found) == len(expected) and np.allclose(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


def check(found: list[Read], expected: list[model.Point]) -> None:
    assert [each.time_ns for each in found] == [each.time_ns for each in expected]
    for read, point in zip(found, expected, strict=True):
        assert equal(read.value, point.value), (read, point)
        assert read.severity == point.severity, (read, point)


CASES = [
    *((pv, span) for pv in ("T:DOUBLE", "T:BROKEN") for span in SPANS),
    *((pv, SPANS[0]) for pv in ("T:ONCE", "T:COUNT", "T:STATE", "T:BECAME", "T:MIXED")),
    ("T:MIXED", (230, 480)),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """On one kind of database: it is the samples that operators work on."""
    folder = tmp_path_factory.mktemp("web")
    fill(f"sqlite:///{folder}/rack.sqlite")
    served = Served(folder, f"sqlite:///{folder}/rack.sqlite")
    yield served
    served.close()


@pytest.mark.parametrize(("pv", "seconds"), CASES, ids=str)
@pytest.mark.parametrize("name", STATISTICS)
def test_a_statistic_is_that_of_the_samples(served: Served, name: str, pv: str, seconds: tuple[float, float]) -> None:
    since, until = (BEGIN + round(each * SECOND) for each in seconds)
    raw = ask(served, pv, seconds)
    for width in (10, 61):
        found = ask(served, f"{name}_{width}({pv})", seconds)
        assert {each.kind for each in found} <= {ARRAY if name == "statistics" else DOUBLE}
        check(found, model.statistic(name, raw, since, until, width))
    check(ask(served, f"{name}Sample_61({pv})", seconds), model.statistic(name, raw, since, until, 61, fill=False))


@pytest.mark.parametrize("seconds", SPANS, ids=str)
@pytest.mark.parametrize("pv", ["T:DOUBLE", "T:BROKEN", "T:STATE", "T:TEXT"])
@pytest.mark.parametrize("name", ["firstSample", "lastSample", "firstFill", "lastFill"])
def test_one_sample_of_a_bin_is_chosen(served: Served, name: str, pv: str, seconds: tuple[float, float]) -> None:
    since, until = (BEGIN + round(each * SECOND) for each in seconds)
    raw = ask(served, pv, seconds)
    found = ask(served, f"{name}_60({pv})", seconds)
    expected = model.picked(name, raw, since, until, 60)
    assert repr([(each.time_ns, each.value, each.severity) for each in found]) == repr([tuple(x) for x in expected])
    assert {each.kind for each in found} == {each.kind for each in raw}


@pytest.mark.parametrize("pv", ["T:DOUBLE", "T:BROKEN", "T:MIXED"])
def test_flyers_are_those_far_from_the_mean_of_their_bin(served: Served, pv: str) -> None:
    raw = ask(served, pv, (0, 1500))
    for far, name in ((True, "flyers"), (False, "ignoreflyers")):
        expected = model.flyers(raw, 120, 1.5, far)
        check(ask(served, f"{name}_120_1.5({pv})", (0, 1500)), expected)
        check(ask(served, f"{name}({pv}, 120, 1.5)", (0, 1500)), expected)
    assert len(ask(served, f"flyers({pv})", (0, 1500))) + len(ask(served, f"ignoreflyers({pv})", (0, 1500))) == len(
        raw
    )


@pytest.mark.parametrize("pv", ["T:DOUBLE", "T:TEXT", "T:ARRAY", "T:BROKEN"])
def test_samples_are_counted_and_thinned_by_number(served: Served, pv: str) -> None:
    raw = [each for each in ask(served, pv, (100, 1500)) if each.time_ns >= BEGIN + 100 * SECOND]
    (count,) = ask(served, f"ncount({pv})", (100, 1500))
    assert (count.kind, count.value, count.time_ns) == (5, len(raw), BEGIN + 100 * SECOND)
    for number in (1, 2, 7, 900):
        assert repr(ask(served, f"nth_{number}({pv})", (100, 1500))) == repr(raw[::number])


@pytest.mark.parametrize("pv", ["T:DOUBLE", "T:BROKEN"])
@pytest.mark.parametrize("name", ["optimized", "optimLastSample"])
def test_few_samples_are_sent_as_they_are_and_many_as_bins(served: Served, name: str, pv: str) -> None:
    raw = ask(served, pv, (100, 1500))
    assert repr(ask(served, f"{name}_{len(raw)}({pv})", (100, 1500))) == repr(raw)
    (chunk,) = decode_one_year(served, f"{name}_20({pv})", (100, 550))
    assert (chunk.kind, chunk.elements) == (ARRAY, 5 if name == "optimized" else 6)
    since, until = BEGIN + 100 * SECOND, BEGIN + 550 * SECOND
    raw = ask(served, pv, (100, 550))
    if len(raw) > 20:
        made = "statistics" if name == "optimized" else name
        check(chunk.samples, model.statistic(made, raw, since, until, 22))


def decode_one_year(served: Served, pv: str, seconds: tuple[float, float]) -> Any:
    since, until = (BEGIN + round(each * SECOND) for each in seconds)
    return decode(served.get("/data/getData.raw", pv=pv, from_=iso(since), to=iso(until)).body)


def test_an_operator_may_be_a_parameter_of_its_own(served: Served) -> None:
    span = {"from_": iso(BEGIN), "to": iso(BEGIN + 600 * SECOND)}
    expected = served.get("/data/getData.raw", pv="mean_60(T:DOUBLE)", **span).body
    assert served.get("/data/getData.raw", pv="T:DOUBLE", pp="mean_60", **span).body == expected
    assert served.get("/data/getData.raw", pv="mean(T:DOUBLE,60)", **span).body == expected
    usual = served.get("/data/getData.raw", pv="mean(T:DOUBLE)", **span).body
    assert usual == served.get("/data/getData.raw", pv="mean_900(T:DOUBLE)", **span).body


def test_nothing_is_filled_into_the_future(served: Served) -> None:
    found = samples(served.get("/data/getData.raw", pv="lastFill_86400(T:ONCE)", to="2100-01-01T00:00:00Z").body)
    assert len(found) <= 1
    later = samples(
        served.get("/data/getData.raw", pv="mean_864000(T:ONCE)", from_=iso(BEGIN), to="2100-01-01T00:00:00Z").body
    )
    assert later[-1].time_ns < 1_900_000_000 * SECOND  # not long after the day of this test


@pytest.mark.parametrize("name", ["mean_600", "optimized_10", "median", "ncount", "firstFill", "flyers"])
def test_a_pv_without_samples_has_a_header(served: Served, name: str) -> None:
    before = {"from_": "2001-01-01T00:00:00Z", "to": "2001-01-02T00:00:00Z"}
    (chunk,) = decode(served.get("/data/getData.raw", pv=f"{name}(T:DOUBLE)", **before).body)
    assert chunk.pv == "T:DOUBLE"
    assert [each.value for each in chunk.samples] == ([0] if name == "ncount" else [])
