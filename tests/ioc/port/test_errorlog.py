"""Errors in the log: few lines, whatever the errors do."""

from __future__ import annotations

import logging

import pytest

from drivers.base import BadReply, LinkDown, NoReply
from ioc.port import ErrorLog, errorlog


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Clock:
    clock = Clock()
    monkeypatch.setattr(errorlog, "time", clock)
    caplog.set_level(logging.INFO)
    return clock


def test_errors_that_come_and_go_are_told_once_and_summed_up_each_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log = ErrorLog("GEN")
    for second in range(180):
        clock.now += 1
        log.report("status", NoReply(f"E{second} was not answered") if second % 3 else BadReply("noise"))
        assert log.clear("status") is (second == 0)
        log.sum_up()
    for _ in range(120):
        clock.now += 1
        log.sum_up()
    assert caplog.messages == [
        "GEN: noise",
        "GEN: E1 was not answered",
        *caplog.messages[2:5],
        "GEN: no errors of status for a minute",
    ]
    for line in caplog.messages[2:5]:
        assert line.startswith("GEN: errors that come and go, in 60 s: ")
        assert "times 'E1 was not answered'" in line
        assert "times 'noise'" in line
    log.report("status", NoReply("E was not answered"))
    assert caplog.messages[-1] == "GEN: E was not answered"


@pytest.mark.parametrize("error", [NoReply("no answer"), LinkDown("the cable is out")])
def test_an_error_that_lasts_is_one_line(
    clock: Clock, caplog: pytest.LogCaptureFixture, error: NoReply | LinkDown
) -> None:
    log = ErrorLog("GEN")
    for _ in range(3600):
        clock.now += 1
        log.report("", error)
        log.sum_up()
    assert caplog.messages == [f"GEN: {error}"]
    assert not log.clean
    assert log.clear("")
    assert log.clean


def test_a_line_that_sums_up_names_its_instrument_once_and_counts_in_english(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log = ErrorLog("GEN")
    for _ in range(2):
        log.report("status", NoReply("GEN: a call took 2.1 s"))
        log.clear("status")
    clock.now += 61
    log.sum_up()
    assert caplog.messages[-1] == "GEN: errors that come and go, in 61 s: once 'a call took 2.1 s'"
