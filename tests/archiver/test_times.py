from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from archiver.times import format_time, parse_time

NOW = 1_800_000_000_123_456_789
HOUR = 3600 * 10**9


@pytest.fixture
def berlin() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("now", NOW),
        ("90s", NOW - HOUR // 40),
        ("30m", NOW - HOUR // 2),
        ("1h", NOW - HOUR),
        ("1.5h", NOW - 3 * HOUR // 2),
        ("2d", NOW - 48 * HOUR),
        ("1w", NOW - 168 * HOUR),
        ("99999999w", 0),
        ("2026-11-20", 1_795_132_800 * 10**9),
        ("2026-11-20 14:00", 1_795_183_200 * 10**9),
        ("2026-11-20T14:00:00Z", 1_795_183_200 * 10**9),
        ("2026-11-20T15:00+01:00", 1_795_183_200 * 10**9),
        ("2026-11-20T14:00:00.000000001Z", 1_795_183_200 * 10**9 + 1),
        ("2026-11-20 14:00:00.5", 1_795_183_200 * 10**9 + 5 * 10**8),
    ],
)
def test_times_as_people_write_them(text: str, time_ns: int) -> None:
    assert parse_time(text, NOW) == time_ns


@pytest.mark.parametrize("text", ["", "yesterday", "1y", "-1h", "2026-13-01", "14:00", ".5"])
def test_a_text_that_is_not_a_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time: write 90s, 30m"):
        parse_time(text, NOW)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-20 14:00", "2026-11-20T13:00Z"),
        ("2026-11-20", "2026-11-19T23:00Z"),
        ("2026-07-01 14:00:00.5", "2026-07-01T12:00:00.5Z"),
        ("2026-10-25 02:30", "2026-10-25T00:30Z"),  # the first pass of two
        ("2026-11-20T14:00-05", "2026-11-20T19:00Z"),
        ("2026-11-20T14:00Z", "2026-11-20T14:00Z"),
        ("1h", "1h"),
        ("now", "now"),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_a_time_without_an_offset_can_be_local(text: str, utc: str) -> None:
    assert parse_time(text, NOW, local=True) == parse_time(utc, NOW)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31 23:59:59"])
def test_the_first_and_the_last_date_are_local_ones_too(text: str) -> None:
    assert abs(parse_time(text, NOW, local=True) - parse_time(text, NOW)) <= HOUR


def test_a_printed_time_is_the_same_nanosecond_when_read() -> None:
    assert format_time(NOW) == "2027-01-15T08:00:00.123456789Z"
    assert parse_time(format_time(NOW), 0) == NOW
