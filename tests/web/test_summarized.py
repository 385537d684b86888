"""Operators over long spans: from summaries they say what they say from rows, where the two can."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from typing import Any

import numpy as np
import pytest

from archiver.sample import INVALID, Dated, Gap, Metadata, Sample, gap_marker
from archiver.storage import summarizer
from archiver.storage.database import open_reader, open_store
from archiver.storage.sqlite import store as sqlite
from archiver.storage.store import Reader
from bench.rig.mariadb import Server
from web.retrieval import source
from web.retrieval.operators import operator_of
from web.retrieval.payload import Piece
from web.retrieval.request import Span, Wanted
from web.retrieval.source import Source

S = 10**9
HOUR = 3600
FIRST = 1_780_012_800  # a day begins
HOURS = 60
# Seconds since FIRST in which nothing is known: a gap within hours, one over hours, INVALID values
LOST = (5000, 5600), (30_000, 40_000), (70_000, 75_000)
# When a PV gets another unit and, within bins of all widths, its first one again: seconds since FIRST, unit
UNITS = (0, "uA"), (20 * HOUR + 1820, "mA"), (40 * HOUR + 20, "uA")
SPAN = Span((FIRST + 1234) * S + 5, (FIRST + 55 * HOUR + 777) * S)


class Counting:
    """A reader that counts the rows that it has read."""

    def __init__(self, reader: Reader, *, summaries: bool) -> None:
        self._reader = reader
        self._summaries = summaries
        self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def summarized(self, pv: str) -> Any:
        return self._reader.summarized(pv) if self._summaries else []

    def blocks(self, pv: str, since_ns: int, until_ns: int) -> Iterator[Any]:
        for block in self._reader.blocks(pv, since_ns, until_ns):
            self.rows += len(block.time_ns)
            yield block


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    database = _new(request, tmp_path_factory, request.param, "web")
    with pytest.MonkeyPatch.context() as monkeypatch:
        _fill(database, monkeypatch)
        yield database


def _new(request: pytest.FixtureRequest, folders: pytest.TempPathFactory, kind: str, name: str) -> str:
    """Return the URL of a database of its own."""
    if kind != "mysql":
        return f"sqlite:///{folders.mktemp(name)}/rack.sqlite"
    server: Server = request.getfixturevalue("shared_server")
    return server.create(f"{name}_{abs(hash(request.node.nodeid)):x}")


def _fill(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summarizer, "PERIOD", 0.0)
    monkeypatch.setattr(summarizer, "PAUSE", 0.0)
    monkeypatch.setattr(sqlite, "SETTLE_ROWS", 1)
    monkeypatch.setattr(source, "MANY", 1000)
    rows = []
    for second in range(0, HOURS * HOUR, 20):
        invalid = LOST[2][0] <= second < LOST[2][1]
        if any(begin < second < end for begin, end in LOST[:2]):
            continue
        value = math.sin(second / 5000) + second % 110 / 100
        rows.append(
            Sample("A", (FIRST + second) * S + 1000, value, 3 if invalid else 0, "READ" if invalid else "NO_ALARM")
        )
    rows += [gap_marker("A", (FIRST + begin) * S + 2000, Gap.DISCONNECTED) for begin, _ in LOST[:2]]
    for second in range(0, HOURS * HOUR, 20):
        micro = not UNITS[1][0] <= second < UNITS[2][0]
        rows.append(
            Sample("I", (FIRST + second) * S, (5.0 + second / 20 % 7) / (1 if micro else 1000), 0, "NO_ALARM")
        )
    for second in range(0, HOURS * HOUR, 20):
        value = (math.inf, -math.inf, math.nan)[second % 3] if second % 7 == 0 else second / 1000
        rows.append(Sample("N", (FIRST + second) * S, value, 0, "NO_ALARM"))
    with closing(open_store(database)) as store:
        store.add_metadata({"A": Dated(0, Metadata("V", 2))})
        for second, unit in UNITS:
            store.add_metadata({"I": Dated((FIRST + second) * S if second else 0, Metadata(unit, 3))})
        store.add(sorted(rows))
        store.live((FIRST + HOURS * HOUR) * S)
        while store.tidy():
            pass
        for _ in range(20):
            store.tidy()


@pytest.fixture(scope="module")
def thinned(filled: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same archive, of which half was thinned."""
    database = _new(request, tmp_path_factory, filled.partition("+")[0], "thinned")
    with pytest.MonkeyPatch.context() as monkeypatch:
        _fill(database, monkeypatch)
        with closing(open_store(database)) as store:
            while store.thin("A", (FIRST + HOURS // 2 * HOUR) * S, 900 * S):
                pass
    return database


def made(database: str, pv: str, text: str, *, summaries: bool) -> tuple[list[Piece], int]:
    """What an operator makes, and how many rows were read for it."""
    with closing(open_reader(database)) as reader:
        counting = Counting(reader, summaries=summaries)
        found: Any = counting
        return list(Source(found, 2**62, lambda: False).pieces(Wanted(pv, operator_of(text)), SPAN)), counting.rows


def ask(database: str, text: str, *, summaries: bool) -> tuple[Any, int]:
    """Times, values and severities, and how many rows were read for them."""
    pieces, rows = made(database, "A", text, summaries=summaries)
    columns = [np.concatenate([getattr(each, name) for each in pieces]) for name in ("time_ns", "value", "severity")]
    return columns, rows


@pytest.mark.parametrize("width", [60, 600, 3600, 5400, 86_400])
@pytest.mark.parametrize("name", ["mean", "count", "std", "min", "max", "statistics"])
def test_summaries_say_what_rows_say(filled: str, name: str, width: int) -> None:
    (times, values, severities), read = ask(filled, f"{name}_{width}", summaries=True)
    (expected_times, expected, expected_severities), all_rows = ask(filled, f"{name}_{width}", summaries=False)
    assert read < all_rows / 5  # those at the edges
    assert (times == expected_times).all()
    # what is in force when a bin begins counts, too: of a stored bin it is not known apart
    ends = [(FIRST + end) // width * width for _, end in LOST]
    later = severities != expected_severities
    assert set(times[later] // S // width * width) <= set(ends)
    assert (severities[later] == INVALID).all()
    exact = {"mean": slice(None), "count": slice(None), "statistics": (slice(None), [0, 4])}
    assert np.allclose(values[exact.get(name, slice(0))], expected[exact.get(name, slice(0))], 1e-9, equal_nan=True)
    # the deviation is that over time; the lowest and highest are with what is in force when a bin begins
    assert np.allclose(values, expected, rtol=0.35, atol=1.0, equal_nan=True)
    assert (np.isnan(values) == np.isnan(expected)).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["mean", "count", "min", "max", "std"])
def test_what_is_not_finite_has_no_part_in_the_numbers_of_bins(filled: str, name: str) -> None:
    found = [
        {
            int(time_ns): float(value)
            for piece in pieces
            for time_ns, value in zip(piece.time_ns, piece.value, strict=True)
        }
        for pieces, _ in (made(filled, "N", f"{name}_3600", summaries=each) for each in (True, False))
    ]
    of_summaries, of_rows = found
    assert of_summaries.keys() == of_rows.keys()
    assert all(map(math.isfinite, of_rows.values()))
    assert of_summaries == pytest.approx(of_rows, rel=0.02)  # the deviation is that over time


@pytest.mark.parametrize("name", ["median_3600", "linear_3600", "firstFill_3600", "mean_90", "ncount", "flyers_3600"])
def test_what_summaries_cannot_say_is_read_from_rows(filled: str, name: str) -> None:
    found, read = ask(filled, name, summaries=True)
    expected, all_rows = ask(filled, name, summaries=False)
    assert read == all_rows
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, expected, strict=True))


def test_bins_of_a_long_span_are_full_minutes_or_hours_and_lose_no_sample(filled: str) -> None:
    for points, width in ((300, 660), (40, 7200), (2, 172_800)):
        (times, values, _), read = ask(filled, f"optimized_{points}", summaries=True)
        assert (np.diff(times) == width * S).all()
        assert len(times) <= points + 2
        assert read < 2500
        (_, by_rows, _), _ = ask(filled, f"count_{width}", summaries=False)
        assert np.nansum(values[:, 4]) >= by_rows.sum() > 0  # an empty bin is as the one before it, but for a count


def test_few_rows_are_read_even_if_there_are_summaries(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MANY", 10**9)
    found, read = ask(filled, "min_3600", summaries=True)
    expected, all_rows = ask(filled, "min_3600", summaries=False)
    assert read == all_rows
    assert np.array_equal(found[1], expected[1], equal_nan=True)


@pytest.mark.parametrize(
    "name", ["mean_60", "mean_600", "count_3600", "count_5400", "statistics_7200", "optimized_99"]
)
def test_bins_of_what_was_thinned_are_those_of_all_rows(
    filled: str, thinned: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """However few they are: the rows that were kept say neither how many there were nor their mean."""
    monkeypatch.setattr(source, "MANY", 10**9)
    (times, values, _), read = ask(thinned, name, summaries=True)
    bins = name.replace("optimized_99", "statistics_2040")  # of full minutes
    (expected_times, expected, _), all_rows = ask(filled, bins, summaries=False)
    assert read < all_rows * 0.6 or bins != name  # those that were not thinned, and at the edges
    assert np.array_equal(times, expected_times)
    summarized = times > (FIRST + 2 * HOUR) * S  # of a PV's first hour there is no summary
    exact = (slice(None), [0, 4]) if bins.startswith("statistics") else slice(None)
    assert np.allclose(values[summarized][exact], expected[summarized][exact], 1e-9, equal_nan=True)


@pytest.mark.parametrize("summaries", [True, False])
@pytest.mark.parametrize(
    "name", ["mean_60", "min_3600", "max_86400", "median_600", "statistics_5400", "optimized_100"]
)
def test_numbers_of_bins_are_of_one_unit(filled: str, name: str, summaries: bool) -> None:
    pieces, _ = made(filled, "I", name, summaries=summaries)
    runs = [unit for unit, _ in groupby(piece.metadata.unit for piece in pieces)]
    assert runs == ["uA", "mA", "uA"][name == "max_86400" :]  # the first day is that of the first change
    for piece in pieces:
        scale = 1 if piece.metadata.unit == "uA" else 1000
        values = np.reshape(piece.value, (len(piece.time_ns), -1))[:, 0] * scale
        assert ((values > 4.99) & (values < 11.01)).all()
    assert (np.diff(np.concatenate([piece.time_ns for piece in pieces])) > 0).all()
    if name == "statistics_5400":
        known = sum(np.asarray(piece.value)[:, 4].sum() for piece in pieces)
        rows = (SPAN.until_ns - SPAN.since_ns) // (20 * S)
        assert rows - 2 * 5400 / 20 < known <= rows + 1  # but for those before a change in its bin


def test_a_change_of_unit_at_the_edges_of_a_span_or_within_one_bin_loses_no_bin(filled: str) -> None:
    with closing(open_reader(filled)) as reader:
        for change_s, _ in UNITS[1:]:
            change_ns = (FIRST + change_s) * S
            for since_ns, until_ns in (
                (change_ns, change_ns + S),
                (change_ns - S, change_ns),
                (change_ns, change_ns),
            ):
                span = Span(since_ns, until_ns)
                for operator in ("mean_60", "median_3600", "statistics_86400"):
                    found = list(
                        Source(reader, 2**62, lambda: False).pieces(Wanted("I", operator_of(operator)), span)
                    )
                    assert sum(len(piece.time_ns) for piece in found) > 0
