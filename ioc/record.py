"""A record: one value with its alarm, time and deadbands, after the rules of EPICS base.

Pure: no server, no event loop, no clock. ``process`` follows base's order (aiRecord.c, recGbl.c): take the value,
judge the alarm, judge the deadbands, and say which event masks the change concerns.
"""

from __future__ import annotations

import math
from typing import Any

from drivers.base import Point, Reading, RecordType, Refused, Severity, Status, Value

# Event masks of Channel Access (epics-base, caeventmask.h)
VALUE = 1
LOG = 2
ALARM = 4
PROPERTY = 8

# A stamp that does not move on would be dropped by every archiver; a clock that was set back must not go back here
TICK = 1e-6

STRING_SIZE = 39


class Record:
    """One process variable.

    ``val`` is a number, a state's index or a text, after ``point.rtyp``; ``stat``/``sevr`` the alarm in force;
    ``time`` the stamp in seconds since 1970 UTC; ``udf`` is True until the first value.
    """

    __slots__ = ("_alst", "_lalm", "_mlst", "name", "point", "sevr", "stat", "time", "udf", "val")

    def __init__(self, name: str, point: Point) -> None:
        self.name = name
        self.point = point
        self.val: Any = "" if point.rtyp in _TEXT else 0.0 if point.rtyp in _FLOAT else 0
        self.udf = True
        self.stat = Status.UDF
        self.sevr = Severity.INVALID
        self.time = 0.0
        self._mlst: Value = math.nan
        self._alst: Value = math.nan
        self._lalm = math.nan

    def process(self, reading: Reading, now: float) -> int:
        """Take a reading; returns the event masks (VALUE, LOG, ALARM or'ed), 0 when nothing is to be sent."""
        changed_state = False
        if reading.value is not None:
            changed_state = not self.udf and reading.value != self.val
            self.val = reading.value
            self.udf = False
        status, severity = self._judge(changed_state)
        if reading.severity >= severity and reading.severity:
            status, severity = reading.status, reading.severity
        moment = now if reading.time is None else reading.time
        self.time = moment if moment > self.time else self.time + TICK
        mask = 0
        if status != self.stat or severity != self.sevr:
            self.stat, self.sevr = status, severity
            mask = ALARM
        return mask if self.udf else mask | self._deadbands()

    def check_put(self, value: Value) -> Value:
        """The value in the record's own type, or Refused with the reason. Limits refuse, they never clamp.

        The reason comes first and the name last: of the Error record many clients show 39 characters.
        """
        if self.point.rtyp.states:
            return self._check_state(value)
        if self.point.rtyp in _TEXT:
            return self._check_text(str(value))
        return self._check_number(value)

    def _judge(self, changed_state: bool) -> tuple[Status, Severity]:
        point, val = self.point, self.val
        if self.udf or val != val:  # noqa: PLR0124 - NaN
            return Status.UDF, Severity.INVALID
        if point.rtyp.numeric:
            assert not isinstance(val, str)
            return self._limits(val)
        if point.rtyp.states:
            return self._state_alarm(int(val), changed_state)
        return Status.NO_ALARM, Severity.NO_ALARM

    def _limits(self, val: float) -> tuple[Status, Severity]:
        """aiRecord's checkAlarms: HIHI, LOLO, HIGH, LOW in this order, each with HYST."""
        point, hyst, last = self.point, self.point.hyst, self._lalm
        for limit, severity, status in (
            (point.hihi, point.hhsv, Status.HIHI),
            (point.lolo, point.llsv, Status.LOLO),
            (point.high, point.hsv, Status.HIGH),
            (point.low, point.lsv, Status.LOW),
        ):
            if limit is None or not severity:
                continue
            margin = hyst if last == limit else 0.0
            upper = status in {Status.HIHI, Status.HIGH}
            if (val >= limit - margin) if upper else (val <= limit + margin):
                self._lalm = limit
                return status, severity
        self._lalm = val
        return Status.NO_ALARM, Severity.NO_ALARM

    def _state_alarm(self, val: int, changed: bool) -> tuple[Status, Severity]:
        severities, cosv = self.point.severities, self.point.cosv
        severity = severities[val] if 0 <= val < len(severities) else Severity.NO_ALARM
        if changed and cosv > severity:
            return Status.COS, cosv
        return (Status.STATE, severity) if severity else (Status.NO_ALARM, severity)

    def _deadbands(self) -> int:
        mask = 0
        if beyond(self.val, self._mlst, self.point.mdel):
            self._mlst = self.val
            mask = VALUE
        if beyond(self.val, self._alst, self.point.adel):
            self._alst = self.val
            mask |= LOG
        return mask

    def _check_state(self, value: Value) -> int:
        states = self.point.states
        if isinstance(value, str):
            if value in states:
                return states.index(value)
            value = self._to_number(value, f"one of {', '.join(states)}")
        if not (math.isfinite(value) and value == int(value) and 0 <= value < len(states)):
            raise Refused(f"{value:g} is not a state of {self.name}; allowed: {_numbered(states)}")
        return int(value)

    def _check_text(self, value: str) -> str:
        if not value.isascii() or len(value) > STRING_SIZE:
            raise Refused(f"the text must be ASCII, {STRING_SIZE} characters at most; not sent to {self.name}")
        return value

    def _check_number(self, value: Value) -> float | int:
        point = self.point
        number = self._to_number(value, "a number") if isinstance(value, str) else value
        if not math.isfinite(number):
            raise Refused(f"{number} is not a value that can be set; not sent to {self.name}")
        for limit, outside, side in (
            (point.drvl, point.drvl is not None and number < point.drvl, "below the lower limit DRVL"),
            (point.drvh, point.drvh is not None and number > point.drvh, "above the upper limit DRVH"),
        ):
            if outside and not point.moving:
                raise Refused(f"{number:g} {point.egu} is {side} of {limit:g} {point.egu}; not sent to {self.name}")
        if point.rtyp is RecordType.longout:
            if number != int(number):
                raise Refused(f"{number:g} is not a whole number; not sent to {self.name}")
            return int(number)
        return float(number)

    def _to_number(self, text: str, wanted: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise Refused(f"'{text}' is not {wanted}; not sent to {self.name}") from None


_TEXT = {RecordType.stringin, RecordType.stringout, RecordType.lsi}
_FLOAT = {RecordType.ai, RecordType.ao}


def beyond(new: Value, old: Value, deadband: float) -> bool:
    """True if a value left the deadband (recGblCheckDeadband): NaN and infinity count when they come or go."""
    if isinstance(new, str) or isinstance(old, str):
        return new != old
    if math.isfinite(new) and math.isfinite(old):
        return abs(new - old) > deadband
    if math.isnan(new) and math.isnan(old):
        return deadband < 0
    return new != old or deadband < 0


def _numbered(states: tuple[str, ...]) -> str:
    return ", ".join(f"{index} {word}" for index, word in enumerate(states))
