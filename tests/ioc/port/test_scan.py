"""Fixed-rate scanning on an artificial clock, also of a line that is too slow for its groups."""

from __future__ import annotations

import pytest

from ioc.port.scan import Scan, Schedule

STEPS = iter(())


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
        scan.begin(STEPS, now)
        now += 0.4
        scan.end(now)
    assert starts == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_missed_scans_are_counted_while_they_wait_and_not_made_up_for() -> None:
    schedule = Schedule({"main": 1.0})
    schedule.restart(0.0)
    scan = schedule.scans[0]
    scan.begin(STEPS, 0.0)
    assert scan.missed(3.5) == 2
    scan.end(3.5)
    scan.begin(STEPS, 3.5)
    scan.end(3.6)
    assert scan.overruns == 2
    assert scan.missed(3.6) == 2
    assert schedule.next(3.6) is None
    assert schedule.wait(3.6) == 4.0 - 3.6


def test_the_more_important_group_goes_first() -> None:
    schedule = Schedule({"monitor": 1.0, "settings": 10.0})
    schedule.restart(0.0)
    assert names(schedule.next(0.0)) == ["monitor"]


def test_a_scan_is_ready_as_soon_as_it_is_due() -> None:
    schedule = Schedule({"status": 0.25})
    schedule.restart(1.0)
    assert not schedule.ready(0.9)
    assert schedule.ready(1.0)


def test_a_pause_in_a_scan_lets_the_other_group_read() -> None:
    schedule = Schedule({"monitor": 1.0, "settings": 10.0})
    schedule.restart(0.0)
    monitor, settings = schedule.scans
    monitor.begin(STEPS, 0.0)
    monitor.stepped(0.01, 0.01, pause=0.49)
    assert schedule.next(0.1) is settings
    settings.begin(STEPS, 0.1)
    settings.end(0.2)
    assert schedule.next(0.2) is None
    assert schedule.wait(0.2) == pytest.approx(0.3)
    assert schedule.next(0.5) is monitor


def test_a_scan_that_took_longer_than_its_period_is_late_until_one_keeps_it() -> None:
    scan = Scan("main", 1.0, due=0.0)
    scan.begin(STEPS, 0.0)
    assert scan.lasts(1.2) == 1.2
    scan.end(1.2)
    assert scan.late
    scan.begin(STEPS, 1.2)
    scan.end(1.5)
    assert not scan.late
    assert scan.lasts(1.9) == 0.0


def test_a_call_that_hung_or_was_not_answered_does_not_make_old_values_true() -> None:
    scan = Scan("main", 1.0, due=0.0)
    scan.begin(STEPS, 0.0)
    scan.stepped(30.0, 30.0)
    scan.stepped(30.4, 0.4)
    scan.stepped(60.4, 30.0, heard=False)
    assert scan.longest_age == 2.0
    scan.end(60.4)
    assert scan.longest_age == 2.0


def test_where_the_line_is_too_slow_two_scans_of_all_groups_are_allowed() -> None:
    monitor, _ = Schedule({"monitor": 1.0, "settings": 10.0}).scans
    monitor.begin(STEPS, 0.0)
    for call in range(1, 28):
        monitor.stepped(0.05 * call, 0.05)
    assert monitor.longest_age == pytest.approx(2 * 2 * 1.35)
    monitor.end(1.35)
    for call in range(3):
        monitor.begin(STEPS, 2.0 + call)
        monitor.stepped(2.1 + call, 0.1)
        monitor.end(2.1 + call)
    assert monitor.longest_age == 2.0


def run(steps: dict[str, int], periods: dict[str, float], call: float, seconds: float) -> dict[str, list[float]]:
    """Let groups of so many calls share a line; return the ages of their values just before they are read again."""
    schedule = Schedule(periods)
    schedule.restart(0.0)
    left = dict.fromkeys(steps, 0)
    read = {group: [0.0] * count for group, count in steps.items()}
    ages: dict[str, list[float]] = {group: [] for group in steps}
    now = 0.0
    while now < seconds:
        scan = schedule.next(now)
        if scan is None:
            now += max(1e-4, schedule.wait(now))
            continue
        if not scan.active:
            scan.begin(STEPS, now)
            left[scan.group] = steps[scan.group]
        now += call
        scan.stepped(now, call)
        place = steps[scan.group] - left[scan.group]
        ages[scan.group].append(now - read[scan.group][place])
        read[scan.group][place] = now
        left[scan.group] -= 1
        if not left[scan.group]:
            scan.end(now)
    return ages


@pytest.mark.parametrize(
    ("monitor", "settings", "call"),
    [
        (21, 90, 0.05),
        (21, 90, 0.005),
        (21, 700, 0.05),
        (100, 100, 0.05),
        (400, 60, 0.02),
        (3, 20, 1.0),
        (19, 199, 0.05),
    ],
)
def test_no_group_starves_another(monitor: int, settings: int, call: float) -> None:
    periods = {"monitor": 1.0, "settings": 10.0}
    steps = {"monitor": monitor, "settings": settings}
    ages = run(steps, periods, call, 400.0)
    for group, count in steps.items():
        longest = 2 * max(periods[group], count * call)
        late = ages[group][3 * count :]
        assert late, f"{group} was read less than four times"
        assert max(late) < 1.05 * longest + 2 * call, group


def test_a_line_that_is_fast_enough_keeps_both_periods() -> None:
    ages = run({"monitor": 21, "settings": 90}, {"monitor": 1.0, "settings": 10.0}, 0.02, 400.0)
    assert max(ages["monitor"][63:]) < 1.0 + 21 * 0.02 + 0.03
    assert max(ages["settings"][270:]) < 13.0
