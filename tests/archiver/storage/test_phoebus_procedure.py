"""The stored procedure by which Phoebus reads summaries: its nine columns, decoded as Phoebus decodes them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import NamedTuple

import pytest

from archiver.sample import INVALID, Gap, Sample, gap_marker
from archiver.storage import summarizer
from archiver.storage.database import open_store
from archiver.storage.summary import DAY_NS, HOUR_NS, MINUTE_NS
from bench.rig.mariadb import Server
from tests.archiver.storage.test_phoebus import Phoebus

S = 10**9
BEGIN_NS = 1_800_000_000 * S // DAY_NS * DAY_NS


class Point(NamedTuple):
    """A row of the procedure: a text (``wb`` -1), a number (``count`` 1), or the statistics of some."""

    wb: int
    time: datetime
    severity: int
    status: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    text: str | None
    count: int  # type: ignore[assignment] # of rows


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summarizer, "PERIOD", 0.0)
    monkeypatch.setattr(summarizer, "PAUSE", 0.0)


@pytest.fixture
def phoebus(mysql_database: str) -> Iterator[Phoebus]:
    """A reader of an archive of three days with a row each 10 s, summarized but for the last hours."""
    rows = [Sample("A", BEGIN_NS + n * 10 * S, float(n * 7 % 13), 0, "NO_ALARM") for n in range(3 * 8640)]
    rows[9000] = rows[9000]._replace(value=1e6, severity=2, status="HIHI")
    rows[12000] = rows[12000]._replace(severity=INVALID, status="COMM")
    rows[15000] = rows[15000]._replace(value=math.nan)
    del rows[20000:20500]
    rows.append(gap_marker("A", rows[19999].time_ns + S, Gap.DISCONNECTED))
    with closing(open_store(mysql_database)) as store:
        store.add(rows)
        store.live(BEGIN_NS + 70 * HOUR_NS)
        while store.tidy():
            pass
    with closing(Phoebus(mysql_database)) as reader:
        yield reader


def call(reader: Phoebus, begin_ns: int, end_ns: int, points: int) -> list[Point]:
    window = (reader._session_time(begin_ns), reader._session_time(end_ns))
    rows = reader.ask("CALL rackioc_history(%s, %s, %s, %s)", reader.channel("A"), *window, points)
    return [Point(*row) for row in rows]


@pytest.mark.parametrize(("points", "width_ns"), [(65, HOUR_NS), (30, 3 * HOUR_NS), (800, 5 * MINUTE_NS)])
def test_a_long_window_comes_as_statistics(phoebus: Phoebus, points: int, width_ns: int) -> None:
    begin_ns, end_ns = BEGIN_NS + 3 * HOUR_NS, BEGIN_NS + 68 * HOUR_NS
    found = call(phoebus, begin_ns, end_ns, points)
    assert [point.time for point in found] == sorted(point.time for point in found)
    bins = [point for point in found if point.count > 1]
    assert len(bins) <= 1.1 * points
    usual = bins[1]
    assert (usual.minimum, usual.maximum, usual.severity) == (0.0, 12.0, 1)
    assert usual.count == width_ns // (10 * S)
    assert usual.mean == pytest.approx(6.0, abs=0.5)
    assert max(point.maximum or 0 for point in bins) == 1e6
    assert {point.severity for point in bins if point.maximum == 1e6} == {3}
    assert len(found) < 3 * points + 500


def test_what_is_not_known_breaks_the_line(phoebus: Phoebus) -> None:
    found = call(phoebus, BEGIN_NS + 3 * HOUR_NS, BEGIN_NS + 68 * HOUR_NS, 65)
    breaks = [point for point in found if point.wb == -1]
    hours = [(point.time - phoebus._session_time(BEGIN_NS)).total_seconds() // 3600 for point in breaks]
    assert hours == [33, 41, 55, 56]  # INVALID, NaN, and a gap of 1.4 h
    assert {(point.text, point.severity) for point in breaks} == {("Not_Known", 4), ("NaN", 1)}


def test_a_short_window_and_what_is_not_summarized_come_as_rows(phoebus: Phoebus) -> None:
    short = call(phoebus, BEGIN_NS + 5 * HOUR_NS + S, BEGIN_NS + 6 * HOUR_NS, 1000)
    assert [(point.mean, point.count) for point in short] == [
        (float(n * 7 % 13), 1) for n in range(5 * 360, 6 * 360 + 1)
    ]
    late = call(phoebus, BEGIN_NS + 60 * HOUR_NS, BEGIN_NS + 72 * HOUR_NS, 12)
    assert [point.count for point in late] == [360] * 10 + [1] * 720


def test_an_archive_without_the_right_to_create_it_works(
    own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    own_server.create("free")
    own_server.execute(
        "CREATE USER few@'%' IDENTIFIED BY 'x'",
        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, CREATE VIEW ON free.* TO few@'%'",
    )
    url = own_server.url("free", user="few", password="x")
    with caplog.at_level(logging.INFO), closing(open_store(url)) as store:
        store.add([Sample("A", BEGIN_NS, 1.0, 0, "NO_ALARM")])
    assert "the right CREATE ROUTINE is missing" in caplog.text
