"""The time stamps of the former loggers' tables: full seconds as text, local or UTC; none is used twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

# Seconds for which a used time is remembered.
MEMORY = 7200


class SteadyClock:
    """A clock that stands still when it was set back by less than ``limit`` seconds, until time has caught up.

    So no interval comes twice. Set back by more, it would stand for too long: then the time passes a second time.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._now = 0.0

    def __call__(self, now_s: float) -> float:
        """Return the time of this clock (s) for the time of the clock that may be set."""
        if not self._now - self._limit < now_s < self._now:
            self._now = now_s
        return self._now


@dataclass
class Stamps:
    """Time stamps such as 2026-11-21T16:30:00.000000, with ``sep`` in the middle.

    In a column of ``texts`` they have the digits that the former logger wrote, for readers that expect one form of
    all rows: pandas takes what is shorter for no time. In the hour that local time repeats in autumn the second pass
    shows its UTC offset there, or else is a second late. A time that comes again, because the clock was set back,
    moves on to the next free second.
    """

    utc: bool
    sep: str
    texts: bool
    _reserved: set[int] = field(default_factory=set)

    def reserve(self, second: int) -> str:
        """Return the text of a second since 1970, or of the next one that was not used before."""
        while second in self._reserved:
            second += 1
        self._reserved = {each for each in self._reserved if each > second - MEMORY} | {second}
        return self._text(second)

    def _text(self, second: int) -> str:
        time = datetime.fromtimestamp(second, UTC if self.utc else None)
        if self.utc:
            time = time.replace(tzinfo=None)
        if time.fold:
            time = time.astimezone() if self.texts else time + timedelta(seconds=1)
        return time.isoformat(self.sep, "microseconds" if self.texts else "seconds")
