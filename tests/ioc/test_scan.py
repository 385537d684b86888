"""Fixed-rate scanning on an artificial clock."""

from __future__ import annotations

from ioc.scan import PATIENCE, Schedule

BLOCKS = iter(())


def names(*scans: object) -> list[str | None]:
    return [getattr(scan, "group", None) for scan in scans]


def test_the_rate_does_not_drift_with_the_duration_of_the_scans() -> None:
    schedule = Schedule({"main": 1.0})
    schedule.restart(0.0)
    starts = []
    now = 0.0
    for _ in range(5):
        now += schedule.wait(now)
        scan = schedule.next(now)
        assert scan is not None
        starts.append(now)
        scan.begin(BLOCKS, now)
        now += 0.4
        scan.end()
    assert starts == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_missed_scans_are_counted_and_not_made_up_for() -> None:
    schedule = Schedule({"main": 1.0})
    schedule.restart(0.0)
    scan = schedule.scans[0]
    scan.begin(BLOCKS, 0.0)
    scan.end()
    scan.begin(BLOCKS, 3.5)
    scan.end()
    assert scan.overruns == 2
    assert schedule.next(3.6) is None
    assert schedule.wait(3.6) == 4.0 - 3.6


def test_the_more_important_group_goes_first() -> None:
    schedule = Schedule({"monitor": 1.0, "settings": 10.0})
    schedule.restart(0.0)
    assert names(schedule.next(0.0)) == ["monitor"]


def test_a_long_scan_gives_way_but_does_not_stand_still() -> None:
    schedule = Schedule({"monitor": 1.0, "settings": 10.0})
    schedule.restart(0.0)
    monitor, settings = schedule.scans
    settings.begin(BLOCKS, 0.0)
    monitor.begin(BLOCKS, 0.1)
    assert schedule.next(0.2) is monitor
    assert schedule.next(PATIENCE + 0.01) is settings
    settings.moved = PATIENCE + 0.02
    assert schedule.next(PATIENCE + 0.03) is monitor


def test_a_scan_that_waited_for_more_than_its_period_is_overdue() -> None:
    schedule = Schedule({"status": 0.25})
    schedule.restart(0.0)
    assert schedule.overdue(0.2) is None
    assert names(schedule.overdue(0.26)) == ["status"]
