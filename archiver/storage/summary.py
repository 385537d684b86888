"""The summaries of a PV's numbers in bins of a minute, an hour and a day, as they are stored and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from archiver.sample import Sample

MINUTE_NS = 60 * 10**9
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
# The widest first
WIDTHS = (DAY_NS, HOUR_NS, MINUTE_NS)


class SummaryBin(NamedTuple):
    """What was in force of a PV in a bin in which at least one row lies, in the order of the table's columns.

    count                              rows whose number is known
    minimum, maximum                   of these rows, and of what was in force; None if nothing was known
    mean, deviation                    over the time for which each number was in force
    mean_rows                          of the rows; None without ``count``
    alarm_ns, invalid_ns, gap_ns       how long it was known and in alarm; INVALID; in a gap
    severity_id, known_severity_id     EPICS severity + 1: the worst in force, and of what was known
    last_*                             the last row, in force when the bin ends; its number is None if not known
    integer                            1 if the numbers are integers
    """

    width_ns: int
    time_ns: int
    count: int  # type: ignore[assignment] # of rows; nobody counts the fields of a tuple
    minimum: float | None
    maximum: float | None
    mean: float | None
    deviation: float | None
    mean_rows: float | None
    alarm_ns: int
    invalid_ns: int
    gap_ns: int
    severity_id: int
    known_severity_id: int
    last_ns: int
    last_severity_id: int
    last_status_id: int
    last: float | None
    integer: int

    @property
    def end_ns(self) -> int:
        """Return where the bin ends."""
        return self.time_ns + self.width_ns

    @property
    def known_ns(self) -> int:
        """Return for how long the number was known."""
        return self.width_ns - self.invalid_ns - self.gap_ns


COLUMNS = (
    "width, bin_time, count, min_val, max_val, mean_val, std_val, mean_rows, alarm_ns, invalid_ns, gap_ns, "
    "severity_id, known_severity_id, last_time, last_severity_id, last_status_id, last_val, is_integer"
)


class Summary(NamedTuple):
    """A summary of a PV as it is read; ``last`` is its last row, without the value if that is not known."""

    pv: str
    time_ns: int
    bin: SummaryBin
    last: Sample

    @classmethod
    def of(cls, pv: str, row: Sequence[Any], statuses: dict[int, str]) -> Self:
        """Return the summary of a row of COLUMNS, or of a bin."""
        each = SummaryBin._make(row)
        if each.integer and each.minimum is not None and each.maximum is not None:
            last = None if each.last is None else int(each.last)
            each = each._replace(minimum=int(each.minimum), maximum=int(each.maximum), last=last)
        status = statuses[each.last_status_id]
        value = status if each.last is None else each.last
        return cls(pv, each.time_ns, each, Sample(pv, each.last_ns, value, each.last_severity_id - 1, status))


def whole(state: Sequence[int] | None, holes: Sequence[tuple[int, int | None]]) -> list[tuple[int, int]]:
    """Return the stretches (ns) of which bins can be read: from begin to end of ``state``, without the holes.

    ``holes``: an hour, and the first row after it. That is in a bin which may have been made before the hole's rows
    came, and to which what is in force at its begin belongs.
    """
    if not state:
        return []
    hours = {hour_ns for hour_ns, _ in holes}
    hours |= {following_ns // HOUR_NS * HOUR_NS for _, following_ns in holes if following_ns}
    begin_ns, until_ns = state
    ends = [*sorted(hours), until_ns]
    begins = [begin_ns, *(max(hour_ns + HOUR_NS, begin_ns) for hour_ns in ends)]
    return [
        (begin, min(end, until_ns)) for begin, end in zip(begins, ends, strict=False) if begin < min(end, until_ns)
    ]
