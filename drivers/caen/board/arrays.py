"""Waveforms of a board: what all its channels say of one parameter, in one point."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from drivers.base import Array, Point, Reading, RecordType, Severity, Status, Value
from drivers.caen.formats import Number
from drivers.caen.items import MONITOR, ChannelName, ChannelParameter, Variable, describe

_MEASURED = ("VMon", "IMon")
_BLANKS: dict[Literal["DOUBLE", "LONG", "STRING"], Value] = {"DOUBLE": math.nan, "LONG": 0, "STRING": ""}


class ChannelArray:
    """Element i is channel i (a variable's index); one that is not served, or cannot be read now, is NaN, 0 or "".

    name    of the point
    labels  of the variables that it gathers
    """

    def __init__(self, size: int, title: str, variables: Sequence[Variable]) -> None:
        first = variables[0]
        self.name = f"{title}:{first.label.rsplit(':', 1)[1]}:Array"
        self.labels = tuple(variable.label for variable in variables)
        self._desc = describe(title, f"{first.name} of all channels")
        self._group = first.group
        self._ftvl = _element_type(first)
        self._channels = {variable.index for variable in variables}
        self._missing = set(self._channels)
        self._elements = [_BLANKS[self._ftvl]] * size
        self._bad: dict[int, tuple[Status, str]] = {}  # index -> why, as status and in words
        self._unit = Number()

    @property
    def complete(self) -> bool:
        """Return True when each channel was read, or could not be read, since ``begin``."""
        return not self._missing

    def is_told_by(self, variables: Sequence[Variable]) -> bool:
        """Return True if the array may be told when these channels are read.

        What is measured is told when the last of its channels is read, or all at once: one that a put reads back must
        not make all others look as if they were read now. Names do not wait for the next scan of the settings.
        """
        return not self.complete or self._group != MONITOR or len(variables) == len(self.labels)

    def use_units(self, variables: Iterable[Variable]) -> None:
        """Use the units that the variables have now: where they differ the coarsest becomes the array's.

        It is done as soon as one of them changes, for what is read of it next is told in the new unit.
        """
        units = [variable.format for variable in variables if isinstance(variable.format, Number)]
        before, self._unit = self._unit, max(units, key=lambda unit: unit.exponent, default=Number())
        if self._unit.exponent != before.exponent:
            factor = 10.0 ** (before.exponent - self._unit.exponent)
            self._elements = [each * factor if isinstance(each, float) else each for each in self._elements]

    def point(self) -> Point:
        """Return the point in the unit of the array."""
        return Point(
            name=self.name,
            rtyp=RecordType.waveform,
            group=self._group,
            desc=self._desc,
            egu=self._unit.egu,
            prec=self._unit.digits,
            nelm=len(self._elements),
            ftvl=self._ftvl,
        )

    def begin(self) -> None:
        """Begin a new scan of all channels."""
        self._missing = set(self._channels)

    def set_value(self, variable: Variable, value: Value | Array | Reading) -> None:
        """Set the element of a channel to what was read of it."""
        if isinstance(value, Reading):
            if value.value is None or value.severity is Severity.INVALID:
                self.set_invalid(variable, value.status, value.message)
                return
            value = value.value
        assert not isinstance(value, tuple)
        if isinstance(value, float):
            value /= 10.0 ** (self._unit.exponent - _exponent(variable))
        self._elements[variable.index] = value
        self._missing.discard(variable.index)
        self._bad.pop(variable.index, None)

    def set_invalid(self, variable: Variable, status: Status, why: str) -> None:
        """Set the element of a channel that has no value now to NaN, 0 or "", as ``status`` and words say why."""
        self._elements[variable.index] = _BLANKS[self._ftvl]
        self._missing.discard(variable.index)
        self._bad[variable.index] = status, why

    def reading(self) -> Array | Reading:
        """Return the array; its alarm says whether all elements were read, and nothing of the channels' alarms.

        A NaN speaks for itself, and its neighbours are good: MINOR. A 0 or "" that means 'not known' looks like a
        value: INVALID.
        """
        if not self._bad:
            return tuple(self._elements)
        status, why = next(iter(self._bad.values()))
        if len(self._bad) == len(self._channels):
            return Reading(None, Severity.INVALID, status, message=why)
        severity = Severity.MINOR if self._ftvl == "DOUBLE" else Severity.INVALID
        return Reading(tuple(self._elements), severity, status, message=why)


def channel_arrays(size: int, title: str, variables: Iterable[Variable]) -> Iterator[ChannelArray]:
    """Yield the arrays of a board with ``size`` channels: measured values, status words and names."""
    families: dict[str, list[Variable]] = {}
    for variable in variables:
        if variable.readable and _gathered(variable):
            families.setdefault(variable.name, []).append(variable)
    for family in families.values():
        yield ChannelArray(size, title, family)


def _gathered(variable: Variable) -> bool:
    if isinstance(variable, ChannelParameter):
        measured = variable.name in _MEASURED and isinstance(variable.format, Number) and not variable.writable
        return measured or variable.status
    return isinstance(variable, ChannelName)


def _element_type(variable: Variable) -> Literal["DOUBLE", "LONG", "STRING"]:
    if isinstance(variable, ChannelName):
        return "STRING"
    return "LONG" if variable.status else "DOUBLE"


def _exponent(variable: Variable) -> int:
    assert isinstance(variable.format, Number)
    return variable.format.exponent
