"""Several series of one PV read as one."""

from __future__ import annotations

import random

import pytest

from archiver.sample import Gap, Sample, gap_marker
from archiver.storage.series import FOLLOWING, one_of


def sample(time_ns: int, value: float) -> Sample:
    return Sample("A", time_ns, value, 0, "NO_ALARM")


def off(time_ns: int) -> Sample:
    return gap_marker("A", time_ns, Gap.ARCHIVE_OFF)


def read(*series: list[Sample], since_ns: int = 0) -> list[tuple[int, object]]:
    """Return time and value of what is read from a time on, of series that are whole."""
    windows = []
    for rows in series:
        before = [row for row in rows if row.time_ns <= since_ns]
        windows.append(iter([*before[-1:], *(row for row in rows if row.time_ns > since_ns)]))
    return [(row.time_ns, row.value) for row in one_of(windows, since_ns)]


def test_what_the_killed_one_had_not_stored_is_read_from_the_other_one() -> None:
    first = [sample(1000, 1.0), sample(2000, 2.0), off(5000), sample(9000, 9.0)]
    second = [sample(n * 1000, float(n)) for n in range(1, 10)]
    assert read(first, second) == [(n * 1000, float(n)) for n in range(1, 10)]
    assert read(second, first) == [(n * 1000, float(n)) for n in range(1, 10)]


def test_what_the_other_one_has_since_is_read_before_the_death_is_found_out() -> None:
    first, second = [sample(1000, 1.0)], [sample(1000, 1.0), sample(3000, 3.0), sample(4000, 4.0)]
    assert read(first, second) == [(1000, 1.0), (3000, 3.0), (4000, 4.0)]
    for since_ns, value in ((1000, 1.0), (3500, 3.0), (9000, 4.0)):
        assert read(first, second, since_ns=since_ns)[0][1] == value


def test_what_the_other_one_only_says_again_is_not_read_twice() -> None:
    first = [sample(1000, 7.0), off(9000)]
    second = [off(500), sample(2000, 7.0), off(3000), sample(4000, 7.0)]
    assert read(first[:1], second) == [(1000, 7.0)]
    assert read(first, second) == [(1000, 7.0), (9000, 7.0)]


def test_of_a_long_silence_the_newest_rows_are_kept_behind_a_gap() -> None:
    second = [sample(n, float(n)) for n in range(1, 3 * FOLLOWING)]
    newest = [(row.time_ns, row.value) for row in second[-FOLLOWING:]]
    assert read([sample(1, 1.0)], second) == [(1, 1.0), (2, 2.0), (3, Gap.ARCHIVE_OFF), *newest]


@pytest.mark.parametrize("rows", [FOLLOWING, FOLLOWING + 2])
def test_of_a_silence_in_which_all_rows_are_kept_there_is_no_gap(rows: int) -> None:
    second = [sample(n, float(n)) for n in range(1, rows + 2)]
    assert read([sample(1, 1.0)], second) == [(row.time_ns, row.value) for row in second]


def test_a_pair_that_is_killed_by_turns_has_each_value_once() -> None:
    truth = [sample(n * 1000, float(n)) for n in range(1, 400)]
    for seed in range(50):
        rng = random.Random(seed)
        series: list[list[Sample]] = [[], []]
        n, victim = 0, 0
        while n + 50 < len(truth):
            both, down = rng.randrange(5, 30), rng.randrange(8, 20)
            for number in (0, 1):
                series[number] += truth[n : n + both]
            killed = series[victim]
            del killed[len(killed) - rng.randrange(4) :]  # what it had not stored
            killed.append(off(killed[-1].time_ns + rng.choice((1, 1500, 4500))))
            series[1 - victim] += truth[n + both : n + both + down]
            n, victim = n + both + down, 1 - victim
        found = read(*series)
        assert [each for each in found if each[0] % 1000 == 0] == [(row.time_ns, row.value) for row in truth[:n]]
        assert not any(isinstance(value, str) for _, value in found)


def test_what_is_in_force_at_the_begin_of_a_window_is_what_the_rest_is_compared_with() -> None:
    first, second = [sample(1000, 1.0)], [sample(1000, 1.0), sample(3000, 3.0), sample(4000, 1.0)]
    assert read(first, second, since_ns=3500) == [(3000, 3.0), (4000, 1.0)]
    assert read([*first, off(9000)], second, since_ns=3500) == [(3000, 3.0), (4000, 1.0)]


def test_a_gap_of_the_other_one_behind_what_the_killed_one_does_not_have_is_a_gap() -> None:
    first, second = [sample(1000, 1.0)], [*(sample(n * 1000, float(n)) for n in (1, 2, 3)), off(4000)]
    expected = [(1000, 1.0), (2000, 2.0), (3000, 3.0), (4000, Gap.ARCHIVE_OFF)]
    assert read(first, second) == expected
    assert read([*first, off(5000)], second) == [*expected, (5000, Gap.ARCHIVE_OFF)]
    assert read([*first, off(5000)], [*second, sample(6000, 6.0)])[-1] == (6000, 6.0)


def test_of_three_the_one_that_was_not_killed_is_read() -> None:
    third = [sample(n * 1000, float(n)) for n in range(1, 10)]
    for end in ([], [off(5000)]):
        for series in ([third[0], *end], third[:2], third), (third, third[:2], [third[0], *end]):
            assert read(*series) == [(row.time_ns, row.value) for row in third]


@pytest.mark.parametrize("seed", range(200))
def test_the_last_value_is_right_wherever_a_window_begins(seed: int) -> None:
    rng = random.Random(seed)
    truth = [sample(n * 1000, float(rng.randrange(2))) for n in range(1, 30)]
    known = rng.randrange(1, 29)
    killed = [*truth[:known], *([off(truth[known].time_ns + 5)] if rng.random() < 0.5 else [])]
    series = [killed, truth] if rng.random() < 0.5 else [truth, killed]
    for since_ns in range(500, 30_000, 500):
        assert read(*series, since_ns=since_ns)[-1][1] == truth[-1].value
