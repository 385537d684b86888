"""A finding of the oracle, and what is common to its rules."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from tests.campaign.recording import Span

# Seconds that are allowed for the machine beside what the IOC took to answer a get at that time: the fakes are looked
# at ten times a second, and arrival is measured in Python
MACHINE = 0.5


@dataclass(frozen=True)
class Finding:
    """A figure that a rule looks at; ``broken``: it is beyond what the rule allows.

    point  of the instrument; "" for the instrument as a whole
    at     when (monotonic s)
    """

    rule: str
    instrument: str
    point: str
    at: float
    figure: float
    broken: bool
    sentence: str


def last_end(spans: Sequence[Span], moment: float) -> float | None:
    """Return until when, up to a moment, one of these spans lasted; None if all begin later. They are in order."""
    index = bisect.bisect_right(spans, (moment, float("inf"))) - 1
    return min(spans[index][1], moment) if index >= 0 else None


def next_begin(spans: Sequence[Span], moment: float) -> float:
    """Return when, from a moment on, one of these spans begins or goes on; infinity if none does."""
    index = bisect.bisect_right(spans, (moment, float("inf"))) - 1
    if index >= 0 and spans[index][1] > moment:
        return moment
    return spans[index + 1][0] if index + 1 < len(spans) else float("inf")


def merged(spans: Sequence[Span]) -> list[Span]:
    """Return spans in order, those that touch as one."""
    result: list[Span] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return result
