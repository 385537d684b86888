"""Alarms of measured values relative to what their channel is set to: VMon to V0Set (VSet), IMon to I0Set (ISet).

There are alarms only for a channel that is on, at rest, and of which settings and status are known. Signs do not
count: not all crates have one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from drivers.base import Array, BadReply, NoReply, Reading, Readings, Severity, Status, Value
from drivers.caen.board.rest import Rest
from drivers.caen.config import RelativeAlarms
from drivers.caen.formats import Number, shortest
from drivers.caen.items import ChannelParameter, Variable
from drivers.caen.roles import is_setpoint, settings_of

log = logging.getLogger(__name__)

# Severity -> status
_TOO_HIGH = {Severity.MINOR: Status.HIGH, Severity.MAJOR: Status.HIHI}
_TOO_LOW = {Severity.MINOR: Status.LOW, Severity.MAJOR: Status.LOLO}


class SetpointAlarms:
    """The alarms of a board's channels, by the newest settings that are known of them, and ``rest``."""

    def __init__(self, alarms: RelativeAlarms, variables: Iterable[Variable], rest: Rest) -> None:
        self._rest = rest
        limits = {"VMon": alarms.voltage_v, "IMon": alarms.current_ratio}
        self._limits = {name: each for name, each in limits.items() if each.any}
        self._words: dict[int, ChannelParameter] = {}
        self._settings: dict[tuple[int, str], ChannelParameter] = {}
        for variable in variables:
            if isinstance(variable, ChannelParameter) and variable.readable:
                if variable.status:
                    self._words[variable.channel] = variable
                elif is_setpoint(variable.name) and isinstance(variable.format, Number):
                    self._settings[variable.channel, variable.name.upper()] = variable
        self.reset()

    def reset(self) -> None:
        """Discard all that is known of the channels."""
        self._rest.reset()
        self._set: dict[tuple[int, str], float] = {}  # channel and setting -> V or A as last read
        self._published: dict[str, Severity] = {}  # label -> the severity that clients have

    def apply_to(self, variable: Variable) -> bool:
        """Return True if there are alarms for what the variable measures."""
        measured = variable.name in self._limits and isinstance(variable, ChannelParameter) and not variable.writable
        return measured and isinstance(variable.format, Number)

    # ---- what is known ----

    def record(self, variables: Sequence[Variable], raws: Sequence[Any]) -> None:
        """Record what was read of one parameter, if it is a setting or status that matters here."""
        first = variables[0]
        if not isinstance(first, ChannelParameter):
            return
        if first.status:
            self._rest.record(variables, raws)
        elif self._limits and is_setpoint(first.name) and isinstance(first.format, Number):
            for variable, raw in zip(variables, raws, strict=True):
                if math.isfinite(raw):
                    self._set[variable.index, variable.name.upper()] = _magnitude(variable, shortest(raw))
                else:
                    self.discard(variable)

    def discard(self, variable: Variable) -> None:
        """Discard what is known of a variable that could not be read, or is void."""
        if variable.status:
            self._rest.discard(variable.channel)
        elif variable.channel is not None:
            self._set.pop((variable.channel, variable.name.upper()), None)

    def unsettle(self, channel: int | None) -> None:
        """Wait for new status words of a channel (None: of all) whose setting moved: they may not show it yet."""
        self._rest.unsettle(channel)

    # ---- what follows ----

    def add_alarms(
        self, measured: Sequence[Variable], readings: Readings, read_again: Callable[[Sequence[str]], Readings]
    ) -> Readings:
        """Return the readings with the alarms of what was measured in them.

        Before a new alarm is published the channel's settings and status are read again by ``read_again(labels)``:
        somebody may have changed the setting since it was read, or switched the channel off. What cannot be read then
        is not known: no alarm is told of it, but what was measured is.
        """
        alarms = self._alarms(measured, readings)
        for evidence in self._evidence(measured, alarms):
            left = {variable.channel for variable in measured if variable.label in alarms}
            doubted = [variable for variable in evidence if variable.channel in left]
            if not doubted:  # the alarm is gone already; each further call might take a time-out in the same step
                continue
            try:
                readings = {**readings, **read_again([variable.label for variable in doubted])}
            except (BadReply, NoReply) as error:
                log.debug("%s", error)
                for variable in doubted:
                    self.discard(variable)
            alarms = self._alarms(measured, readings)
        for variable in measured:
            self._published.pop(variable.label, None)
        self._published |= {label: reading.severity for label, reading in alarms.items()}
        return {**readings, **alarms}

    def _alarms(
        self, measured: Sequence[Variable], readings: Mapping[str, Value | Array | Reading]
    ) -> dict[str, Reading]:
        """Return the readings that are in alarm."""
        alarms = {}
        for variable in measured:
            value = readings[variable.label]
            if isinstance(value, float) and self._rest.at_rest(variable.channel):
                severity, status = self._alarm(variable, value)
                if severity:
                    alarms[variable.label] = Reading(value, severity, status)
        return alarms

    def _evidence(self, measured: Sequence[Variable], alarms: Mapping[str, Reading]) -> Iterator[Sequence[Variable]]:
        """Yield what to read again, in one call each, before the alarms that are new can be published."""
        new = [
            variable.index
            for variable in measured
            if variable.label in alarms and alarms[variable.label].severity > self._published.get(variable.label, 0)
        ]
        for name in settings_of(measured[0].name) if new else ():
            if settings := [self._settings[channel, name] for channel in new if (channel, name) in self._settings]:
                yield settings
        if new:
            yield [self._words[channel] for channel in new]  # last: a channel that was switched off shows it here

    def _alarm(self, variable: Variable, value: float) -> tuple[Severity, Status]:
        """Return the alarm of one measured value; none while a setting that may be in force is not known."""
        wanted = []
        for name in settings_of(variable.name):
            key = (variable.index, name)
            if key in self._set:
                wanted.append(self._set[key])
            elif key in self._settings:
                return Severity.NO_ALARM, Status.NO_ALARM
        excess = _EXCESS[variable.name](_magnitude(variable, value), wanted)
        severity = self._limits[variable.name].severity(abs(excess))
        return severity, (_TOO_HIGH if excess > 0 else _TOO_LOW).get(severity, Status.NO_ALARM)


def _magnitude(variable: Variable, value: float) -> float:
    """Return a value without sign in V or A."""
    assert isinstance(variable.format, Number)
    return abs(value) * 10.0**variable.format.exponent


def _deviation(measured: float, wanted: Sequence[float]) -> float:
    """Return the distance from the nearest of the values that may be in force; NaN when there is none."""
    return min((measured - each for each in wanted), key=abs, default=math.nan)


def _ratio(measured: float, wanted: Sequence[float]) -> float:
    """Return the part of the greatest of the limits that may be in force; NaN when there is none."""
    limit = max(wanted, default=0.0)
    return round(measured / limit, 9) if limit > 0 else math.nan


_EXCESS = {"VMon": _deviation, "IMon": _ratio}
