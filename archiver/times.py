"""Times as users write them, and as the archive keeps them: nanoseconds since 1970, UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from archiver.units import seconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str, now_ns: int, *, local: bool = False) -> int:
    """Return the nanoseconds since 1970 UTC of a time such as ``now``, ``30m`` (ago) or ``2026-11-20 14:00``.

    Also ``2026-11-20`` and ``2026-11-20T14:00:00.5+01:00``. Where no offset is given it is UTC, or ``local`` time, of
    the hour that autumn repeats its first pass. Raises ValueError.
    """
    if text == "now":
        return now_ns
    if re.fullmatch(r"\d+(?:\.\d+)?[smhdw]", text):
        return max(0, now_ns - int(seconds(text) * 10**9))
    whole, fraction = _split_fraction(text)
    try:
        time = datetime.fromisoformat(whole)
        if local and datetime.min.year < time.year < datetime.max.year:  # at the ends other zones have no such date
            time = time.astimezone()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a time: write 90s, 30m, 1h, 2d or 1w for that long ago, now, "
            'or a date and time such as "2026-11-20 14:00" or 2026-11-20T14:00+01:00'
        ) from None
    return to_ns(time) + fraction


def to_ns(time: datetime) -> int:
    """Return the nanoseconds since 1970 UTC of a datetime; without a time zone it is UTC."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000


def format_time(time_ns: int) -> str:
    """Return a time as in ISO 8601, UTC, with all nine digits; ``parse_time`` returns the same nanosecond."""
    minutes, nanoseconds = divmod(time_ns, 60 * 10**9)
    return f"{_minute(minutes)}{nanoseconds // 10**9:02d}.{nanoseconds % 10**9:09d}Z"


def show_time(time_ns: int, *, utc: bool) -> str:
    """Return a time for users, to the millisecond: local time with its offset from UTC, or UTC with a Z.

    An offset of whole hours is written without minutes; ``parse_time`` reads all of them.
    """
    moment = moment_of(time_ns, utc=utc)
    offset = "Z" if utc else moment.isoformat()[-6:].removesuffix(":00")
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns % 10**9 // 10**6:03d}{offset}"


def moment_of(time_ns: int, *, utc: bool) -> datetime:
    """Return a time to the second, in UTC or in local time."""
    moment = datetime.fromtimestamp(time_ns // 10**9, UTC)
    return moment if utc else moment.astimezone()


@lru_cache(maxsize=8)
def _minute(minutes: int) -> str:
    """Return the text of a minute; cached, for it is the slow part of a row, and rows come in order of time."""
    return f"{_EPOCH + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:}"


def _split_fraction(text: str) -> tuple[str, int]:
    """Return the time without its fraction of a second, and the fraction in ns: datetime has microseconds only."""
    if fraction := re.search(r"\.(\d+)", text):
        return text.replace(fraction[0], "", 1), int(fraction[1].ljust(9, "0")[:9])
    return text, 0
