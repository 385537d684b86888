"""What is archived: samples, gap markers, and what is known about a PV besides its value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

Array = tuple[float, ...]
Value = float | int | str | Array
"""Double, 32-bit integer or enum index, text, array of doubles."""

INVALID = 3
SEVERITIES = ("NO_ALARM", "MINOR", "MAJOR", "INVALID")

# The alarm status words of Channel Access, in the order of their numbers.
STATUSES = (
    "NO_ALARM", "READ", "WRITE", "HIHI", "HIGH", "LOLO", "LOW", "STATE", "COS", "COMM", "TIMEOUT",
    "HWLIMIT", "CALC", "SCAN", "LINK", "SOFT", "BAD_SUB", "UDF", "DISABLE", "SIMM", "READ_ACCESS", "WRITE_ACCESS",
)  # fmt: skip

RESOLUTION_NS = 1000
"""Rows of a PV lie in different microseconds: MySQL keeps no finer time."""


class Sample(NamedTuple):
    """One value of one PV; `time_ns` counts from 1970, UTC, and `severity` is 0 to 3."""

    pv: str
    time_ns: int
    value: Value
    severity: int
    status: str


class Gap(StrEnum):
    """Why nothing is known from here to the next sample; the words are those of Phoebus, and Overrun."""

    DISCONNECTED = "Disconnected"
    ARCHIVE_OFF = "Archive_Off"
    WRITE_ERROR = "Write_Error"
    OVERRUN = "Overrun"


_GAPS = frozenset(Gap)


def gap_marker(pv: str, time_ns: int, gap: Gap) -> Sample:
    """A gap is a text sample, so that whoever plots it sees a break in the line."""
    return Sample(pv, time_ns, gap.value, INVALID, gap.value)


def is_gap(sample: Sample) -> bool:
    return sample.status in _GAPS


Range = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Metadata:
    """How to show a PV's values: a number's unit, precision and ranges (low, high), or an enum's words."""

    unit: str = ""
    precision: int = 0
    display: Range = (None, None)
    warning: Range = (None, None)
    alarm: Range = (None, None)
    words: tuple[str, ...] = ()


class Dated(NamedTuple):
    """Metadata, and the time from which they hold."""

    since_ns: int
    metadata: Metadata
