"""Numbers of a PV whose unit, or words of states, became others: never one line, nor one mean, under the newest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from archiver.history.bins import bin_lines
from archiver.history.curves import ELSEWHERE, Curve, picture
from archiver.history.query import Query, Window, open_query
from archiver.history.segments import Plan
from archiver.history.statistics import events
from archiver.history.summary import summaries
from archiver.sample import Dated, Metadata, Sample
from archiver.storage import summarizer
from archiver.storage.database import open_reader, open_store
from archiver.storage.sqlite import store as sqlite
from archiver.storage.summary import DAY_NS, MINUTE_NS
from web.api.history import history

S = 10**9
T0 = 1_700_006_400 * S  # 2023-11-15 00:00 UTC
# in the middle of a minute, of an hour and of a day
CHANGES = (T0 + DAY_NS + 5025 * S, T0 + 2 * DAY_NS + 7225 * S)
UNITS = (Metadata("uA", 3), Metadata("mA", 6), Metadata("uA", 3))
END = T0 + 4 * DAY_NS


def numbers(changes: Sequence[int] = CHANGES) -> Iterator[Sample]:
    for n in range(4 * 86_400 // 20):
        time_ns = T0 + n * 20 * S
        milli = changes[0] <= time_ns < changes[1]
        yield Sample("I", time_ns, (5.0 + n % 7) / (1000 if milli else 1), 0, "NO_ALARM")


def fill(url: str, changes: Sequence[int], *, summarized: bool) -> None:
    with closing(open_store(url)) as store:
        store.add(list(numbers(changes)))
        store.add([Sample("S", T0 + n * 3600 * S, n % 2, 0, "NO_ALARM") for n in range(96)])
        for since_ns, metadata in zip((0, *changes), UNITS, strict=True):
            store.add_metadata({"I": Dated(since_ns, metadata)})
        store.add_metadata({"S": Dated(0, Metadata(words=("Off", "On")))})
        store.add_metadata({"S": Dated(T0 + DAY_NS, Metadata(words=("Closed", "Open")))})
        if summarized:
            with pytest.MonkeyPatch.context() as patch:  # as soon as it is possible, without pauses
                patch.setattr(summarizer, "PERIOD", 0.0)
                patch.setattr(summarizer, "PAUSE", 0.0)
                patch.setattr(sqlite, "SETTLE_ROWS", 1)
                store.live(END)
                while store.tidy():
                    pass


@pytest.fixture(scope="module", params=["rows", "summaries"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("units") / "rack.sqlite"
    url = f"sqlite:///{path}"
    fill(url, CHANGES, summarized=request.param == "summaries")
    if request.param == "summaries":
        with closing(open_reader(url)) as reader:
            assert reader.summarized("I")
    return url


def known(curve: Curve) -> list[float]:
    return [value for value in curve.values if math.isfinite(value)]


@pytest.mark.parametrize("width_ns", [MINUTE_NS, 50 * MINUTE_NS])
def test_a_plot_has_an_axis_for_each_unit(database: str, width_ns: int) -> None:
    with open_query(database, ["I"], Window(T0, END)) as query:
        (micro,), (milli,) = picture(Plan(query, width_ns).items(), query, width_ns).axes
    assert (micro.unit, milli.unit) == ("uA", "mA")
    assert (min(known(micro)), max(known(micro))) == (5.0, 11.0)
    assert (min(known(milli)), max(known(milli))) == (0.005, 0.011)
    for curve, there in ((micro, False), (milli, True)):
        for time_ns, value in zip(curve.times_ns, curve.values, strict=True):
            assert math.isnan(value) or (CHANGES[0] <= time_ns < CHANGES[1]) is there
    assert micro.severities.tolist().count(ELSEWHERE) == 1
    assert milli.severities.tolist()[-2:] == [ELSEWHERE, ELSEWHERE]


@pytest.mark.parametrize("width_ns", [MINUTE_NS, 50 * MINUTE_NS, 60 * MINUTE_NS])
def test_a_curve_ends_where_its_unit_does_also_between_two_summaries(tmp_path: Path, width_ns: int) -> None:
    url = f"sqlite:///{tmp_path}/rack.sqlite"
    changes = T0 + DAY_NS + 84 * MINUTE_NS, T0 + 3 * DAY_NS
    fill(url, changes, summarized=True)
    with open_query(url, ["I"], Window(T0, END)) as query:
        axes = picture(Plan(query, width_ns).items(), query, width_ns).axes
    for (curve,), there in zip(axes, (False, True), strict=True):
        assert sorted(curve.times_ns) == list(curve.times_ns)
        for time_ns, value in zip(curve.times_ns, curve.values, strict=True):
            assert math.isnan(value) or (changes[0] <= time_ns < changes[1]) is there


def test_states_have_the_words_of_their_time(database: str) -> None:
    with open_query(database, ["S"], Window(T0, END)) as query:
        axes = picture(query.samples(), query).axes
    assert [curve.words for (curve,) in axes] == [("Off", "On"), ("Closed", "Open")]
    assert [len(known(curve)) for (curve,) in axes] == [24, 73]


def test_the_api_tells_where_a_curve_goes_on(database: str) -> None:
    answer = history(database, ["I"], "2023-11-15 00:00", "2023-11-19 00:00", 500)
    assert [(each.pv, each.unit) for each in answer.curves] == [("I", "uA"), ("I", "mA")]
    for curve in answer.curves:
        elsewhere = [value for value, each in zip(curve.values, curve.severities, strict=True) if each == ELSEWHERE]
        assert elsewhere
        assert set(elsewhere) == {None}


def test_what_holds_at_the_end_of_a_window_is_in_alarm_as_it_was_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/rack.sqlite"
    with closing(open_store(url)) as store:
        store.add([Sample(pv, T0, 5.0, severity, "HIGH") for pv, severity in (("A", 1), ("B", 2))])
        store.add([Sample("C", T0, 5.0, 0, "NO_ALARM"), Sample("C", T0 + S, 5.0, 3, "READ")])
    answer = history(url, ["A", "B", "C"], "2023-11-15 00:00", "2023-11-15 01:00", 500)
    assert [each.times[-1] for each in answer.curves] == [(T0 + 3600 * S) / S] * 3
    assert [each.severities[-1] for each in answer.curves] == [1, 2, 3]
    assert [each.values[-1] for each in answer.curves] == [5.0, 5.0, None]
    window = Window(T0, T0 + 3600 * S)
    with open_query(url, ["A", "B"], window) as query:
        drawn = [curve for axis in picture(query.samples(), query).axes for curve in axis]
    assert [each.severities[-1] for each in drawn] == [1, 2]


def statistics(query: Query, width_ns: int) -> Iterator[tuple[str, int, float | None, float | None]]:
    plan = Plan(query, width_ns)
    found = events(plan.items(), query, plan)
    lines = bin_lines(found, query, width_ns, fill=False) if width_ns else summaries(found, query)
    for line in lines:
        yield line.unit, line.tally.count, line.tally.minimum, line.tally.maximum


def test_statistics_are_of_one_unit(database: str) -> None:
    with open_query(database, ["I"], Window(T0, END - 1)) as query:
        found = list(statistics(query, 0))
    within = sum(CHANGES[0] <= each.time_ns < CHANGES[1] for each in numbers())
    assert found == [("uA", 4 * 4320 - within, 5.0, 11.0), ("mA", within, 0.005, 0.011)]


def test_a_bin_in_which_the_unit_changes_has_a_line_for_each(database: str) -> None:
    with open_query(database, ["I"], Window(T0, END - 1)) as query:
        found = list(statistics(query, DAY_NS))
    assert [unit for unit, *_ in found] == ["uA", "uA", "mA", "mA", "uA", "uA"]
    assert {(unit, low, high) for unit, _, low, high in found} == {("uA", 5.0, 11.0), ("mA", 0.005, 0.011)}
    assert sum(count for _, count, *_ in found) == 4 * 4320
