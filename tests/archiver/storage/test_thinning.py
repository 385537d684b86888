from __future__ import annotations

import pytest

from archiver.sample import Dated, Metadata
from archiver.storage.store import Bin
from archiver.storage.upkeep.thinning import ThinningRow, thin, whole_bins

WIDTH = 100


def points(*numbers: float | None, begin: int = 0, alarm: str = "fine") -> list[ThinningRow]:
    return [ThinningRow(begin + n, number, alarm) for n, number in enumerate(numbers)]


BEFORE = ThinningRow(-1, 0.0, "fine")


def test_of_a_bin_the_first_last_lowest_and_highest_number_stay() -> None:
    thinned = thin(points(3.0, 4.0, 9.0, 4.0, -1.0, 5.0, 4.0), WIDTH, BEFORE)
    assert thinned.times_ns == [1, 3, 5]
    assert [each[:5] for each in thinned.bins] == [(0, WIDTH, 7, -1.0, 9.0)]
    assert thinned.bins[0].mean == pytest.approx(4.0)


def test_bins_begin_at_multiples_of_their_width() -> None:
    rows = points(1.0, 1.0, 1.0, begin=97) + points(2.0, 2.0, 2.0, 2.0, begin=100)
    assert thin(rows, WIDTH, BEFORE) == (
        [98, 101, 102],
        [Bin(0, 100, 3, 1.0, 1.0, 1.0), Bin(100, 100, 4, 2.0, 2.0, 2.0)],
    )


@pytest.mark.parametrize("number", [1.7976931348623157e308, -1.7976931348623157e308, 5e-324, -5e-324, 0.1])
def test_the_mean_of_equal_numbers_is_that_number(number: float) -> None:
    for count in (3, 7, 10):
        assert thin(points(*[number] * count), WIDTH, BEFORE).bins == [Bin(0, WIDTH, count, number, number, number)]


def test_a_bin_that_loses_no_row_gets_no_bin() -> None:
    assert thin(points(1.0, 2.0), WIDTH, BEFORE) == ([], [])


def test_texts_and_changes_of_alarm_stay() -> None:
    rows = points(1.0, 2.0, None, 2.0)
    rows += [
        ThinningRow(4, 2.0, "high"),
        ThinningRow(5, 2.0, "high"),
        ThinningRow(6, 2.0, "fine"),
        ThinningRow(7, 2.0, "fine"),
        ThinningRow(8, 3.0, "fine"),
    ]
    assert thin(rows, WIDTH, BEFORE).times_ns == [1, 3, 5, 7]


def test_a_row_without_one_before_counts_as_a_change() -> None:
    rows = [ThinningRow(0, None, "fine"), *points(2.0, 2.0, 2.0, 2.0, begin=1)]
    assert thin(rows, WIDTH).times_ns == [2, 3]
    changed = [ThinningRow(0, 1.0, "fine"), ThinningRow(1, 1.0, "fine"), ThinningRow(2, 1.0, "fine")]
    assert thin(changed, WIDTH, ThinningRow(-1, 1.0, "high")).times_ns == [1]


def test_thinning_what_is_left_changes_nothing() -> None:
    rows = points(*(float(n * 7 % 13) for n in range(500)), begin=3)
    gone = set(thin(rows, WIDTH, BEFORE).times_ns)
    left = [row for row in rows if row.time_ns not in gone]
    assert len(left) <= 6 * 4
    assert thin(left, WIDTH, BEFORE) == ([], [])


def test_the_mean_of_the_largest_doubles_is_one() -> None:
    assert thin(points(*[1.7e308] * 4), WIDTH, BEFORE).bins[0].mean == pytest.approx(1.7e308)


def test_a_bin_in_which_unit_or_words_change_keeps_all_its_rows() -> None:
    """Its range and mean would be shown in one of the units: 1500 V as 1500 kV."""
    rows = [ThinningRow(ns, float(ns % 7), "fine") for ns in range(60)]
    units = (("V", 0), ("kV", 15), ("kV", 25), ("V", 40))  # told again at 25; at the begin of a bin at 40
    metadata = [Dated(ns, Metadata(unit)) for unit, ns in units]
    assert [each.time_ns for each in thin(rows, 10, metadata=metadata).bins] == [0, 20, 30, 40, 50]
    words = [Dated(5, Metadata(words=("Off", "On")))]
    assert thin(rows, 10, metadata=words).bins[0].time_ns == 10


def test_the_last_bin_may_not_be_whole() -> None:
    assert whole_bins(points(*[1.0] * 250), WIDTH) == points(*[1.0] * 200)
    assert whole_bins(points(*[1.0] * 50), WIDTH) == []
