"""The archiver's state as PVs: what it tells through its file, over Channel Access, and INVALID when it is silent."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aioca
import pytest

from archiver.health import Cause, Health, StatusFile
from ioc.instrument import Instrument
from ioc.site import Site
from rackioc.archive_status import NAME, POINTS, ArchiveStatus
from tests.client import Client
from tests.small_ioc import SmallIoc

RUNNING = {
    "connected": 3, "total": 4, "samples_per_second": 12.5, "queue": 7, "spool_rows": 0, "spool_bytes": 4096,
    "lag": 0.5, "rejected": {Cause.FUTURE: 2, Cause.DATABASE: 1}, "lost": 0, "disk_free": 5e9, "database": "ok",
    "last_error": "x" * 100, "stored": 2**40,
}  # fmt: skip


class Shown:
    """The records of one archiver, whose status file the test writes."""

    def __init__(self, small_ioc: SmallIoc, ca: Client, path: Path) -> None:
        self.path = path
        self.stopped = False
        self._ioc, self._ca = small_ioc, ca
        self._prefix = f"{small_ioc.prefix}{time.monotonic_ns()}:"

        async def start() -> Instrument:
            instrument = Instrument(
                NAME, self._prefix, ArchiveStatus(path, lambda: self.stopped), Site(), small_ioc.server
            )
            instrument.start()
            return instrument

        self._instrument = small_ioc.do(start())

    def __call__(self, point: str) -> str:
        return f"{self._prefix}{NAME}:{point}"

    def value(self, point: str, **options: Any) -> Any:
        return self._ca.get(self(point), **options)

    def alarm(self, point: str) -> tuple[str, str]:
        return self._ca.severity(self(point)), self._ca.status(self(point))

    def text(self, point: str) -> str:
        return self._ca.long(self(point))

    def until(self, point: str, value: object) -> None:
        self._ca.wait(self(point), lambda here: here == value)

    def until_severity(self, point: str, severity: int) -> None:
        self._ca.wait(self(point), lambda here: here.severity == severity)

    def close(self) -> None:
        self._ioc.do(self._instrument.close())


@pytest.fixture
def shown(small_ioc: SmallIoc, ca: Client, tmp_path: Path) -> Iterator[Shown]:
    shown = Shown(small_ioc, ca, tmp_path / "rack.spool.status")
    yield shown
    shown.close()


@pytest.fixture
def status_file(shown: Shown) -> Iterator[StatusFile]:
    with closing(StatusFile(shown.path)) as status_file:
        yield status_file


def tell(status_file: StatusFile, **fields: Any) -> None:
    status_file.write(Health(time.time(), 1, **{**RUNNING, **fields}))


def test_the_archiver_is_shown_as_it_tells(shown: Shown, status_file: StatusFile) -> None:
    tell(status_file)
    shown.until("Connected", 3)
    expected = {
        "Running": 1, "Total": 4, "SamplesRate": 12.5, "Queue": 7, "SpoolRows": 0, "SpoolSize": 4096, "Lag": 0.5,
        "SpoolAside": 0, "Lost": 0, "Rejected": 3, "Rejected:Future": 2, "Rejected:Database": 1,
        "Rejected:Backwards": 0, "Rejected:Epoch1990": 0, "DiskFree": 5e9, "Database": "ok", "Stored": 2**40,
    }  # fmt: skip
    assert {name: shown.value(name) for name in expected} == expected
    assert shown.text("LastError") == "x" * 100
    assert shown.value("Lag", format=aioca.FORMAT_CTRL).units == "s"
    in_alarm = {name for name in expected if shown.alarm(name)[0] != "NO_ALARM"}
    assert in_alarm == {"Rejected"}


def test_what_goes_wrong_is_an_alarm(shown: Shown, status_file: StatusFile) -> None:
    tell(status_file, lag=61.0, spool_rows=5, lost=1, database="not reachable", disk_free=4e8)
    shown.until("SpoolRows", 5)
    assert shown.alarm("SpoolRows") == ("MINOR", "HIGH")
    assert shown.alarm("Lag") == ("MAJOR", "HIHI")
    assert shown.alarm("Lost") == ("MAJOR", "HIHI")
    assert shown.alarm("Rejected") == ("MINOR", "HIGH")
    assert shown.alarm("Database") == ("MINOR", "STATE")
    assert shown.alarm("DiskFree") == ("MAJOR", "LOLO")
    tell(status_file, lag=11.0)
    shown.until("Lag", 11.0)
    assert shown.alarm("Lag") == ("MINOR", "HIGH")
    assert shown.alarm("Database") == ("NO_ALARM", "NO_ALARM")


@pytest.mark.parametrize(
    ("days", "alarm"),
    [(36_525.0, ("NO_ALARM", "NO_ALARM")), (14.1, ("NO_ALARM", "NO_ALARM")), (14.0, ("MINOR", "LOW")),
     (3.5, ("MINOR", "LOW")), (3.0, ("MAJOR", "LOLO")), (0.0, ("MAJOR", "LOLO"))],
)  # fmt: skip
def test_days_left_are_an_alarm_when_they_are_few(
    shown: Shown, status_file: StatusFile, days: float, alarm: tuple[str, str]
) -> None:
    tell(status_file, days_left=days)
    shown.until("Connected", 3)
    shown.until("DaysLeft", days)
    assert shown.alarm("DaysLeft") == alarm


def test_days_left_that_are_not_known_are_invalid_and_no_number(shown: Shown, status_file: StatusFile) -> None:
    tell(status_file, days_left=50.0)
    shown.until("DaysLeft", 50.0)
    tell(status_file, days_left=None)
    shown.until_severity("DaysLeft", 3)
    assert math.isnan(shown.value("DaysLeft"))


def test_an_archiver_that_may_still_be_starting_is_no_error(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    shown.until_severity("Running", 2)
    assert shown.alarm("Lag") == ("INVALID", "UDF")
    with closing(StatusFile(shown.path)) as status_file:
        tell(status_file)
        shown.until("Connected", 3)
    assert shown.text("Error") == ""
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_without_an_archiver_only_that_it_is_down_is_known(shown: Shown) -> None:
    shown.until("ErrorCount", 1)
    assert shown.value("Running") == 0
    assert shown.alarm("Lag") == ("INVALID", "TIMEOUT")
    assert "the archiver is not running" in shown.text("Error")


def test_an_archiver_that_ends_leaves_nothing_standing_as_true(shown: Shown) -> None:
    with closing(StatusFile(shown.path)) as status_file:
        tell(status_file)
        shown.until("Connected", 3)
    shown.until_severity("Connected", 3)
    assert shown.alarm("Running") == ("MAJOR", "STATE")
    assert shown.value("Connected") == 3  # the last value, as of any instrument that is away
    with closing(StatusFile(shown.path)) as status_file:
        tell(status_file)
        shown.until_severity("Connected", 0)
        assert shown.alarm("Running") == ("NO_ALARM", "NO_ALARM")


def test_an_archiver_that_ends_with_all_the_rest_is_no_error(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    with closing(StatusFile(shown.path)) as status_file:
        tell(status_file)
        shown.until("Connected", 3)
        shown.stopped = True
        tell(status_file, connected=4)
        shown.until("Connected", 4)
    shown.until_severity("Connected", 3)
    assert shown.value("Connected.AMSG") == "the archiver is stopped"
    assert "is not running" not in caplog.text


def test_an_archiver_that_hangs_is_told_with_its_silence(shown: Shown, status_file: StatusFile) -> None:
    tell(status_file)
    shown.until("Connected", 3)
    status_file.write(Health(time.time() - 100, 4711))
    shown.until_severity("Connected", 3)
    assert shown.alarm("Running") == ("MAJOR", "STATE")
    assert "the archiver (pid 4711) has not reported for 10" in shown.text("Error")


def test_each_point_says_what_it_is() -> None:
    assert len({point.name for point in POINTS}) == len(POINTS)
    assert all(0 < len(point.desc) <= 40 and len(point.egu) <= 15 for point in POINTS)
