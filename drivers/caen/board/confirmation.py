"""Currents that wait until their range has been read behind them.

A current's unit goes with its channel's range, which may be changed at any moment by another hand. A number is true
if the range before and behind it is the same, and the unit is that of this range. The range before is the one of the
last scan, so that this costs one call a board. What it does not see is a range that was changed and changed back
between the two; the next scan's numbers are right again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from drivers.base import Readings
from drivers.caen.board.values import Values
from drivers.caen.items import Variable


@dataclass(frozen=True, slots=True)
class _Held:
    variables: Sequence[Variable]
    raws: Sequence[object]
    ranges: Sequence[object]  # before the call, one for each variable; None: not known
    overtaken: set[str] = field(default_factory=set)  # labels of those that were put since


class Confirmation:
    """What was read of a board's currents and is not published yet, by scan group."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._held: dict[str, dict[str, _Held]] = {}

    def hold(self, group: str, variables: Sequence[Variable], raws: Sequence[object]) -> None:
        """Hold back what was just read of some channels' current."""
        ranges = [self._values.range_state(variable) for variable in variables]
        self._held.setdefault(group, {})[variables[0].label] = _Held(variables, raws, ranges)

    def discard(self, group: str) -> None:
        """Discard what is held of a group: nothing confirms it any more."""
        self._held.pop(group, None)

    def overtake(self, variable: Variable) -> None:
        """Discard what is held of a variable that a put has set, or read back, since: it is of before that."""
        for held in self._held.values():
            for each in held.values():
                each.overtaken.add(variable.label)

    def release(self, group: str) -> Iterator[tuple[Sequence[Variable], Readings]]:
        """Yield what is held of a group as readings: INVALID where the range is not the one of before."""
        for held in self._held.pop(group, {}).values():
            of_all = zip(held.variables, held.raws, held.ranges, strict=True)
            kept = [each for each in of_all if each[0].label not in held.overtaken]
            if not kept:
                continue
            variables, raws, ranges = zip(*kept, strict=True)
            doubted = {
                variable.label
                for variable, before in zip(variables, ranges, strict=True)
                if before is None or self._values.range_state(variable) != before
            }
            yield variables, self._values.decode(variables, raws, doubted)
