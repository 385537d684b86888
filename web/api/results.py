"""What the API answers: the shapes that its description shows."""

from __future__ import annotations

from dataclasses import dataclass

from web.rack.alarms import Alarm


@dataclass(frozen=True)
class BoardResult:
    """A board: its channels, what they have, what one lacks that others have (C00:IMon), and its own points."""

    name: str
    channels: list[str]
    parameters: list[str]
    missing: list[str]
    points: list[str]


@dataclass(frozen=True)
class InstrumentResult:
    """An instrument: what begins the names of its PVs, its own points, and its boards."""

    name: str
    kind: str
    prefix: str
    points: list[str]
    boards: list[BoardResult]


@dataclass(frozen=True)
class RackResult:
    """The rack: what begins the names of its PVs; archived: whether there is a history; words: of status bits."""

    prefix: str
    archived: bool
    words: dict[str, str]
    instruments: list[InstrumentResult]


@dataclass(frozen=True)
class ValueResult:
    """A PV's value. value: a number, a text, a list, or null where nothing is known; text: the word of a state."""

    pv: str
    value: float | int | str | list[float] | None
    text: str | None
    severity: str
    status: str
    time: float | None


@dataclass(frozen=True)
class Limits:
    """Two limits; null where there is none."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class PvResult(ValueResult):
    """A PV with its metadata; remedy: what to do when it is in alarm."""

    type: str | None
    unit: str
    precision: int
    display: Limits
    warning: Limits
    alarm: Limits
    labels: list[str]
    description: str
    record_type: str
    writable: bool
    remedy: str


@dataclass(frozen=True)
class AlarmResult(Alarm):
    """A PV in alarm. exact: whether it began at ``since``, or was so before; others: PVs that are away with it."""

    cause: str
    remedy: str


@dataclass(frozen=True)
class AlarmsResult:
    """The alarms, the worst first. connected: whether the IOC answers, and has told them since the server runs."""

    connected: bool
    alarms: list[AlarmResult]


@dataclass(frozen=True)
class CurveResult:
    """The history of a PV in a unit: each value holds until the next time; null: not known, or INVALID.

    times: seconds since 1970; severities: 0 to 3, and -1 with null while the PV has another unit or other words, and
    is in a curve of its own; words: of a PV with states.
    """

    pv: str
    unit: str
    words: list[str]
    times: list[float]
    values: list[float | None]
    severities: list[int]


@dataclass(frozen=True)
class HistoryResult:
    """The history of PVs in a window; left_out: a sentence for each that cannot be shown."""

    begin: float
    end: float
    curves: list[CurveResult]
    left_out: list[str]


@dataclass(frozen=True)
class Message:
    """A sentence."""

    error: str
