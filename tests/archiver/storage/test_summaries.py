"""Summaries and the rows say the same, whatever came in, in whichever order, and whenever the archiver was killed."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from random import Random

import pytest

from archiver.history.bins import bin_lines
from archiver.history.curves import Curve, picture
from archiver.history.query import Query, Window, open_query
from archiver.history.segments import Plan
from archiver.history.statistics import events
from archiver.history.summary import summaries
from archiver.sample import INVALID, Dated, Gap, Metadata, Sample, gap_marker
from archiver.storage import owner, summarizer
from archiver.storage.database import connect, open_reader, open_store
from archiver.storage.sqlite import store as sqlite
from archiver.storage.store import Store, StoreError
from archiver.storage.summary import DAY_NS, HOUR_NS, MINUTE_NS, Summary
from archiver.storage.url import url_of

S = 10**9
BEGIN_NS = 1_800_000_000 * S // DAY_NS * DAY_NS + 7 * HOUR_NS + 11 * S
DAYS = 3
WORDS = Metadata(words=("Off", "On", "Tripped"))
PVS = ("float", "integer", "quiet", "mixed")
# Of what is compared, the least relative and absolute difference
REL, ABS = 1e-9, 1e-7

STREAMS, SEED = int(os.environ.get("RACKIOC_STREAMS", "2")), int(os.environ.get("RACKIOC_SEED", "0"))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settle and summarize as soon as it is possible, without pauses; the archiver lives, in times to come, too."""
    monkeypatch.setattr(owner, "LIFE_FUTURE_NS", 2**62)
    monkeypatch.setattr(summarizer, "PERIOD", 0.0)
    monkeypatch.setattr(summarizer, "PAUSE", 0.0)
    monkeypatch.setattr(sqlite, "SETTLE_ROWS", 1)


class WithoutSummaries:
    """A reader that has rows only."""

    def __init__(self, query: Query) -> None:
        self._reader = query.reader

    def __getattr__(self, name: str) -> object:
        return getattr(self._reader, name)

    def summarized(self, pv: str) -> Sequence[tuple[int, int]]:
        return []


def from_rows(query: Query) -> Query:
    return replace(query, reader=WithoutSummaries(query))  # type: ignore[arg-type]


def stat(query: Query) -> list[tuple[object, ...]]:
    plan = Plan(query)
    return [each.exact() for each in summaries(events(plan.items(), query, plan), query)]


def binned(query: Query, width_ns: int, *, fill: bool) -> list[tuple[object, ...]]:
    plan = Plan(query, width_ns)
    return [each.exact() for each in bin_lines(events(plan.items(), query, plan), query, width_ns, fill=fill)]


def same(found: Sequence[Sequence[object]], expected: Sequence[Sequence[object]]) -> None:
    """Fail at the first line with another cell."""
    for one, other in zip(found, expected, strict=True):
        for cell, exact in zip(one, other, strict=True):
            near = (
                isinstance(cell, int | float)
                and isinstance(exact, int | float)
                and type(cell) is type(exact)
                and math.isclose(cell, exact, rel_tol=REL, abs_tol=ABS)
            )
            assert near or str(cell) == str(exact), f"{cell} is not {exact}: {one} is not {other}"


class Stream:
    """Random rows of some PVs: the times at which they come are not those at which they were."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        batches: list[tuple[int, list[Sample], dict[str, Dated]]] = []
        for pv in PVS:
            batches += self._of(pv)
        self.batches = sorted(batches, key=lambda each: each[0])

    def _of(self, pv: str) -> Iterator[tuple[int, list[Sample], dict[str, Dated]]]:
        random = self._random
        time_ns = BEGIN_NS + random.randrange(HOUR_NS)
        kind, about = ("integer" if pv == "integer" else "float"), Metadata("V")
        yield time_ns, [], {pv: Dated(time_ns, about)}
        value = random.choice((0.0, 1500.0, -1e6))
        while time_ns < BEGIN_NS + DAYS * DAY_NS:
            stretch = random.choice((MINUTE_NS, HOUR_NS, 5 * HOUR_NS))
            step = random.choice((10, 60, 600, 4000)) * (10 if pv == "quiet" else 1)
            severity = random.choice((0, 0, 0, 1, 2, INVALID))
            samples: list[Sample] = []
            if pv == "mixed" and random.random() < 0.2:
                kind = random.choice(("float", "integer", "NaN", "text", "state"))
            if random.random() < 0.1:
                about = WORDS if kind == "state" else Metadata(random.choice(("V", "kV")))
                yield time_ns, [], {pv: Dated(time_ns, about)}
            end_ns = time_ns + stretch
            while time_ns < end_ns:
                value += random.gauss(0, 1)
                status = "HIGH" if severity else "NO_ALARM"
                samples.append(Sample(pv, time_ns, self._value(kind, value), severity, status))
                exact = random.random() < 0.1
                time_ns += random.randrange(1, 2 * step) * S
                time_ns = -(-time_ns // MINUTE_NS) * MINUTE_NS if exact else time_ns + random.randrange(10**6) * 1000
            if random.random() < 0.3:
                samples.append(gap_marker(pv, time_ns, random.choice(list(Gap))))
                time_ns += random.randrange(1, 4 * HOUR_NS // 1000) * 1000
            late_ns = random.choice((0, 0, 0, 0, 2 * HOUR_NS, 30 * HOUR_NS)) if samples else 0
            yield time_ns + late_ns, samples, {}

    def _value(self, kind: str, value: float) -> float | int | str:
        others: dict[str, float | int | str] = {
            "integer": round(value) % 100,
            "NaN": math.nan,
            "text": "on",
            "state": round(abs(value)) % 3,
        }
        return others.get(kind, value)


def feed(database: str, stream: Stream, seed: int) -> None:
    """Store the batches, with restarts, errors, and summaries made in between."""
    random = Random(seed)
    store = open_store(database)
    for arrived_ns, samples, metadata in stream.batches:
        if metadata:
            store.add_metadata(metadata)
        store.add(samples)
        store.live(arrived_ns)
        if random.random() < 0.1:
            _tidy(store, random)
        if random.random() < 0.02:
            store.close()
            store = open_store(database)
        if random.random() < 0.02:
            while store.expire(random.choice(PVS), arrived_ns - random.randrange(3 * DAY_NS)):
                pass
    while random.random() < 0.98 and store.tidy():  # else some hours wait to be made again
        pass
    store.close()


def _tidy(store: Store, random: Random) -> None:
    with pytest.MonkeyPatch.context() as context:
        if random.random() < 0.3:
            context.setattr(summarizer, "STEP_ROWS", random.choice((2, 50)))

        if random.random() < 0.3:
            _fail(context, random.randrange(1, 4))
        with suppress(StoreError):
            while store.tidy():
                pass


def _fail(context: pytest.MonkeyPatch, calls: int) -> None:
    """Let the transaction of a step fail after some calls."""
    left = iter(range(calls))
    go_on = summarizer.Summarizer._put

    def put(*arguments: object) -> None:
        go_on(*arguments)  # type: ignore[arg-type]
        if next(left, None) is None:
            raise StoreError("the database went away")

    context.setattr(summarizer.Summarizer, "_put", put)


def windows(random: Random) -> Iterator[Window]:
    end_ns = BEGIN_NS + DAYS * DAY_NS
    yield Window(None, end_ns + DAY_NS)
    yield Window(BEGIN_NS // DAY_NS * DAY_NS, end_ns // DAY_NS * DAY_NS)
    for _ in range(3):
        since_ns, until_ns = sorted(random.randrange(BEGIN_NS - HOUR_NS, end_ns) for _ in range(2))
        unit_ns = random.choice((1000, S, MINUTE_NS, HOUR_NS))
        yield Window(since_ns // unit_ns * unit_ns, until_ns // unit_ns * unit_ns)


def compare(database: str, seed: int, pvs: Sequence[str] = PVS) -> int:
    """Compare what summaries and rows say; return how many summaries were read."""
    random, read = Random(seed), 0
    for window in windows(random):
        with open_query(database, pvs, window) as query:
            rows = from_rows(query)
            same(stat(query), stat(rows))
            widths = (MINUTE_NS, 7 * MINUTE_NS, HOUR_NS, 3 * HOUR_NS, DAY_NS, random.randrange(HOUR_NS, DAY_NS))
            for width_ns in random.sample(widths, 2):
                fill = random.random() < 0.5
                same(binned(query, width_ns, fill=fill), binned(rows, width_ns, fill=fill))
            read += sum(isinstance(each, Summary) for each in Plan(query).items())
    return read


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(SEED, SEED + STREAMS))
def test_summaries_say_what_the_rows_say(database: str, seed: int) -> None:
    """``RACKIOC_STREAMS=100 RACKIOC_SEED=0`` for more streams, or for one that failed."""
    feed(database, Stream(seed), seed)
    compare(database, seed)


def numbers(count: int, pv: str = "A", step_ns: int = 10 * S, begin_ns: int = BEGIN_NS) -> list[Sample]:
    return [Sample(pv, begin_ns + n * step_ns, float(n * 7 % 13), 0, "NO_ALARM") for n in range(count)]


def summarize(store: Store, time_ns: int) -> None:
    """Make all summaries up to a time."""
    store.live(time_ns)
    while store.tidy():
        pass


def summarized(database: str, pv: str = "A") -> Sequence[tuple[int, int]]:
    with closing(open_reader(database)) as reader:
        return reader.summarized(pv)


def lines(database: str, width_ns: int, window: Window) -> list[tuple[object, ...]]:
    with open_query(database, ["A"], window) as query:
        return binned(query, width_ns, fill=True)


def test_all_three_widths_are_made_and_read(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add(numbers(8640 * 3))
        summarize(store, BEGIN_NS + 3 * DAY_NS)
    day_ns = BEGIN_NS // DAY_NS * DAY_NS + DAY_NS
    ((begin_ns, until_ns),) = summarized(database)
    assert begin_ns == BEGIN_NS // HOUR_NS * HOUR_NS + HOUR_NS
    assert until_ns == (BEGIN_NS + 3 * DAY_NS - 10 * S) // HOUR_NS * HOUR_NS
    with closing(open_reader(database)) as reader:
        counts = {
            width_ns: [each.bin.count for each in reader.summaries("A", width_ns, day_ns, day_ns + DAY_NS)]
            for width_ns in (MINUTE_NS, HOUR_NS, DAY_NS)
        }
    assert counts == {MINUTE_NS: [6] * 1440, HOUR_NS: [360] * 24, DAY_NS: [8640]}


def test_nothing_is_made_of_what_may_still_come(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add(numbers(5000))
        summarize(store, BEGIN_NS + 3 * HOUR_NS)
        ((_, until_ns),) = summarized(database)
    assert until_ns == (BEGIN_NS + 3 * HOUR_NS) // HOUR_NS * HOUR_NS


def test_a_late_row_counts_at_once(database: str) -> None:
    late = Sample("A", BEGIN_NS + 5 * HOUR_NS + 5 * S, 1e6, 2, "HIHI")
    window = Window(BEGIN_NS, BEGIN_NS + 10 * HOUR_NS)
    with closing(open_store(database)) as store:
        store.add(numbers(5000))
        summarize(store, BEGIN_NS + DAY_NS)
        ((begin_ns, until_ns),) = summarized(database)
        store.add([late])
        assert len(summarized(database)) == 2
        assert max(row[4] for row in lines(database, HOUR_NS, window)) == 1e6  # type: ignore[type-var]
        summarize(store, BEGIN_NS + DAY_NS)
    assert summarized(database) == [(begin_ns, until_ns)]
    assert max(row[4] for row in lines(database, HOUR_NS, window)) == 1e6  # type: ignore[type-var]


def test_of_an_hour_that_expired_in_part_nothing_is_made_again(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add(numbers(5000))
        summarize(store, BEGIN_NS + DAY_NS)
        while store.expire("A", BEGIN_NS + 5 * HOUR_NS + 20 * MINUTE_NS):
            pass
        store.add([Sample("A", BEGIN_NS + 5 * HOUR_NS + 30 * MINUTE_NS + S, 1e6, 0, "NO_ALARM")])
        summarize(store, BEGIN_NS + DAY_NS)
    window = Window(BEGIN_NS + 5 * HOUR_NS, BEGIN_NS + 10 * HOUR_NS)
    with open_query(database, ["A"], window) as query:
        same(binned(query, MINUTE_NS, fill=True), binned(from_rows(query), MINUTE_NS, fill=True))


def test_late_rows_of_two_hours_count_at_every_step_of_making_them_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second hour, and what is in force when the third one begins, wait for the step after that of the first."""
    hours = range(BEGIN_NS // HOUR_NS * HOUR_NS + HOUR_NS, BEGIN_NS + DAY_NS, HOUR_NS)
    begun, late, late_too, after = (
        hours[2],
        hours[5] + 20 * MINUTE_NS,
        hours[6] + 20 * MINUTE_NS,
        hours[7] + HOUR_NS // 2,
    )
    monkeypatch.setattr(summarizer, "STEP_S", 0.0)
    with closing(open_store(database)) as store:
        store.add([each for each in numbers(8640) if each.time_ns < begun or each.time_ns > after])
        summarize(store, BEGIN_NS + DAY_NS)
        store.add([Sample("A", late, 7.0, INVALID, "READ"), gap_marker("A", late_too, Gap.OVERRUN)])
        more = True
        while more:
            with open_query(database, ["A"], Window(BEGIN_NS, BEGIN_NS + DAY_NS)) as query:
                same(stat(query), stat(from_rows(query)))
                same(binned(query, HOUR_NS, fill=True), binned(from_rows(query), HOUR_NS, fill=True))
            more = store.tidy()


def test_words_that_come_late_make_states_of_integers(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add_metadata({"A": Dated(BEGIN_NS, Metadata("V"))})
        store.add([each._replace(value=n % 3) for n, each in enumerate(numbers(5000))])
        summarize(store, BEGIN_NS + DAY_NS)
        store.add_metadata({"A": Dated(BEGIN_NS + 2 * HOUR_NS, WORDS)})
        window = Window(BEGIN_NS, BEGIN_NS + 10 * HOUR_NS)
        assert {row[4] for row in lines(database, HOUR_NS, window)} == {2, None}
        summarize(store, BEGIN_NS + DAY_NS)
        assert {row[4] for row in lines(database, HOUR_NS, window)} == {2, None}


def test_what_is_thinned_is_still_known_from_before(database: str) -> None:
    window = Window(BEGIN_NS // DAY_NS * DAY_NS + DAY_NS, BEGIN_NS // DAY_NS * DAY_NS + 2 * DAY_NS - 1)
    with closing(open_store(database)) as store:
        store.add(numbers(8640 * 3))
        summarize(store, BEGIN_NS + 3 * DAY_NS)
        before = lines(database, HOUR_NS, window)
        while store.thin("A", BEGIN_NS + 3 * DAY_NS, 90 * S):
            pass
        summarize(store, BEGIN_NS + 3 * DAY_NS)
    with open_query(database, ["A"], window) as query:
        same(binned(query, HOUR_NS, fill=True), before)
        assert [line[2:5] for line in binned(from_rows(query), HOUR_NS, fill=True)] == [line[2:5] for line in before]
        assert sum(1 for _ in query.samples()) < 5000


@pytest.mark.parametrize("since_s", [0, 30])
def test_what_was_thinned_when_a_window_begins_is_in_force_no_more(database: str, since_s: int) -> None:
    """The highest number of a bin is kept: it was long over, and the numbers after it are gone."""
    hour_ns = BEGIN_NS // HOUR_NS * HOUR_NS + 5 * HOUR_NS
    samples = [each._replace(value=2.0) for each in numbers(3000, step_ns=130 * S)]
    peak = next(n for n, each in enumerate(samples) if each.time_ns > hour_ns + 10 * MINUTE_NS)
    samples[peak] = samples[peak]._replace(value=1000.0)
    late = next(n for n, each in enumerate(samples) if each.time_ns > hour_ns + 50 * MINUTE_NS)
    samples[late] = samples[late]._replace(value=1.0)
    window = Window(hour_ns + 40 * MINUTE_NS + since_s * S, hour_ns + 3 * HOUR_NS)
    with closing(open_store(database)) as store:
        store.add(samples)
        summarize(store, BEGIN_NS + 4 * DAY_NS)
        with open_query(database, ["A"], window) as query:
            (before,) = stat(query)
        while store.thin("A", BEGIN_NS + 4 * DAY_NS, HOUR_NS):
            pass
    moment = Window(window.begin_ns, window.begin_ns + MINUTE_NS)
    with open_query(database, ["A"], moment) as query:  # one without summaries
        (within,) = stat(query)
    with open_query(database, ["A"], window) as query:
        (found,) = stat(query)
        (axis,) = picture(Plan(query, MINUTE_NS).items(), query, MINUTE_NS).axes
    if since_s:  # of a part of a minute all that is known is the mean of the bin
        assert isinstance(found[4], float)
        assert found[4] < 100
    else:
        same([found], [before])
        assert max(axis[0].values) == before[4] == 2.0
        assert within[3:6] == (2.0, 2.0, 2.0)


def test_rows_are_thinned_after_they_were_summarized(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add(numbers(8640))
        summarize(store, BEGIN_NS + 3 * HOUR_NS)
        while store.thin("A", BEGIN_NS + DAY_NS, HOUR_NS):
            pass
    with closing(open_reader(database)) as reader:
        assert max(each.end_ns for each in reader.bins("A", 0, 2**62)) == (BEGIN_NS // HOUR_NS + 3) * HOUR_NS


def test_odd_bins_of_all_there_is_are_cut_from_the_first_summary_on(database: str) -> None:
    with closing(open_store(database)) as store:
        store.add(numbers(1000))
        summarize(store, BEGIN_NS + DAY_NS)
    with open_query(database, ["A"], Window(None, BEGIN_NS + DAY_NS)) as query:
        same(binned(query, 421 * S, fill=False), binned(from_rows(query), 421 * S, fill=False))
        assert len(Plan(query, 421 * S)._segments["A"]) < 1000


def test_an_hour_of_very_many_rows_has_no_summaries(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summarizer, "STEP_ROWS", 100)
    monkeypatch.setattr(summarizer, "MOST_ROWS", 300)
    with closing(open_store(database)) as store:
        store.add(numbers(1000) + numbers(1000, step_ns=30 * S, begin_ns=BEGIN_NS + 3 * HOUR_NS))
        summarize(store, BEGIN_NS + DAY_NS)
    ((begin_ns, _),) = summarized(database)
    assert begin_ns == BEGIN_NS // HOUR_NS * HOUR_NS + 2 * HOUR_NS


def test_an_archive_from_before_is_filled_while_rows_come(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_store(database)) as store:
        store.add(numbers(8640 * 2))
        store.live(BEGIN_NS + 2 * DAY_NS)
    _forget(database)
    monkeypatch.setattr(summarizer, "STEP_S", 0.0)
    monkeypatch.setattr(summarizer, "STEP_ROWS", 1000)
    with closing(open_store(database)) as store:
        steps = 0
        while store.tidy():
            store.add([Sample("A", BEGIN_NS + 2 * DAY_NS + steps * S, 1.0, 0, "NO_ALARM")])
            steps += 1
        assert steps >= 17
    window = Window(BEGIN_NS, BEGIN_NS + 3 * DAY_NS)
    with open_query(database, ["A"], window) as query:
        assert sum(isinstance(each, Summary) for each in Plan(query).items()) > 20
        same(stat(query), stat(from_rows(query)))


def _forget(database: str) -> None:
    """Make an archive one of the version without summaries, and without what came later."""
    tables = ("summary", "summarized", "summary_hole", "renamed")
    url = url_of(database)
    with connect(url) as connection:
        for table in tables:
            connection.exec_driver_sql(f"DROP TABLE {table}")
        if url.backend == "mysql":
            connection.exec_driver_sql("UPDATE archive_schema SET version = 4")
        else:
            connection.exec_driver_sql("PRAGMA user_version = 4")
        connection.commit()


def test_each_archiver_makes_the_summaries_of_its_own_rows(mysql_database: str) -> None:
    with closing(open_store(mysql_database, "one")) as one, closing(open_store(mysql_database, "two")) as two:
        one.add(numbers(1000) + numbers(1000, "ONE"))
        two.add(numbers(1000) + numbers(1000, "TWO"))
        summarize(one, BEGIN_NS + DAY_NS)
        assert summarized(mysql_database, "ONE")
        assert not summarized(mysql_database, "TWO")
        summarize(two, BEGIN_NS + DAY_NS)
        assert summarized(mysql_database, "TWO")
        assert not summarized(mysql_database, "A"), "what both keep is read from the rows of both"


def test_summaries_take_a_part_of_the_time(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summarizer, "PAUSE", 1000.0)
    monkeypatch.setattr(summarizer, "STEP_S", 0.0)
    with closing(open_store(database)) as store:
        store.add(numbers(1000) + numbers(1000, "B"))
        store.live(BEGIN_NS + DAY_NS)
        while store.tidy():
            pass
        assert len(summarized(database)) + len(summarized(database, "B")) == 1


def test_a_plot_of_summaries_has_the_extremes_alarms_and_breaks_of_the_rows(database: str) -> None:
    rows = numbers(8640 * 2, step_ns=20 * S)
    rows[5000] = rows[5000]._replace(value=1e6, severity=2, status="HIHI")
    rows[9000] = rows[9000]._replace(severity=INVALID, status="COMM")
    with closing(open_store(database)) as store:
        store.add(rows)
        summarize(store, BEGIN_NS + 5 * DAY_NS)
    width_ns = 10 * MINUTE_NS
    window = Window(BEGIN_NS, BEGIN_NS + 4 * DAY_NS)
    with open_query(database, ["A"], window) as query:
        ((drawn,),) = picture(Plan(query, width_ns).items(), query, width_ns).axes
        ((exact,),) = picture(query.samples(), query).axes
    assert len(drawn.values) < len(exact.values) / 5
    for curve in (drawn, exact):
        worst = [(t // width_ns, v) for t, v, each in zip(curve.times_ns, curve.values, curve.severities, strict=True)
                 if each == 2]  # fmt: skip
        assert worst[-1] == (rows[5000].time_ns // width_ns, 1e6)
        breaks = [t // width_ns for t, v in zip(curve.times_ns, curve.values, strict=True) if math.isnan(v)]
        assert breaks == [rows[9000].time_ns // width_ns]
    assert _extremes(drawn, width_ns) == _extremes(exact, width_ns)


def _extremes(curve: Curve, width_ns: int) -> dict[int, tuple[float, float]]:
    found: dict[int, list[float]] = {}
    for time_ns, value in zip(curve.times_ns, curve.values, strict=True):
        if not math.isnan(value):
            found.setdefault(time_ns // width_ns, []).append(value)
    return {begin: (min(values), max(values)) for begin, values in found.items()}


_KILLED = """
import sys
from archiver.storage import summarizer
from archiver.storage.database import open_store
from archiver.storage.sqlite import store as sqlite
from tests.archiver.storage.test_summaries import BEGIN_NS, S, numbers
summarizer.PERIOD = summarizer.PAUSE = summarizer.STEP_S = 0.0
sqlite.SETTLE_ROWS = 1
store = open_store(sys.argv[1])
begin = int(sys.argv[2])
while True:
    rows = numbers(100, begin_ns=BEGIN_NS + begin * 10 * S)
    store.add(rows)
    store.add([rows[0]._replace(time_ns=max(BEGIN_NS, rows[0].time_ns - 7200 * S) + 5000)])
    store.live(rows[-1].time_ns)
    for _ in range(10):
        store.tidy()
    begin += 100
    print(begin, flush=True)
"""


@pytest.mark.parametrize("after", [0.0, 0.2])
def test_an_archiver_killed_at_any_moment_leaves_summaries_that_are_right(database: str, after: float) -> None:
    begin = 0
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {os.getcwd()!r})\n{_KILLED}", database,
             str(begin)], stdout=subprocess.PIPE, text=True
        ) as process:  # fmt: skip
            assert process.stdout
            for _ in range(20):
                begin = int(process.stdout.readline())
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
            begin += 100 * sum(1 for _ in process.stdout)
    window = Window(None, BEGIN_NS + (begin + 1000) * 10 * S)
    for finished in (False, True):
        with open_query(database, ["A"], window) as query:
            read = sum(isinstance(each, Summary) for each in Plan(query).items())
            assert read
            same(stat(query), stat(from_rows(query)))
            same(binned(query, HOUR_NS, fill=True), binned(from_rows(query), HOUR_NS, fill=True))
        if not finished:
            with closing(open_store(database)) as store:
                summarize(store, BEGIN_NS + begin * 10 * S)
