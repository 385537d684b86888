"""The time stamps of the former loggers' tables: whole seconds as text, local or UTC; none is used twice."""

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
    """Time stamps such as 2026-11-21T16:30:00, with ``sep`` in the middle.

    In the hour that local time repeats in autumn the second pass shows its UTC offset (``offset``), or else is a
    second late. A time that comes again, because the clock was set back, moves on to the next free second.
    """

    utc: bool
    sep: str
    offset: bool
    _reserved: set[int] = field(default_factory=set)

    def reserve(self, second: int) -> str:
        """Return the text of a second since 1970, or of the next one that was not used before."""
        while second in self._reserved:
            second += 1
        self._reserved = {each for each in self._reserved if each > second - MEMORY} | {second}
        return self._text(second)

    def _text(self, second: int) -> str:
        if self.utc:
            return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat(self.sep)
        local = datetime.fromtimestamp(second)
        if not local.fold:
            return local.isoformat(self.sep)
        if self.offset:
            return local.astimezone().isoformat(self.sep)
        return (local + timedelta(seconds=1)).isoformat(self.sep)
