"""The archived data: samples, gap markers, and the metadata of a PV."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

Array = tuple[float, ...]
# Double; 32-bit integer or enum index; text; array of doubles, as numbers or packed. What Channel Access brings is
# packed: 8 bytes an element instead of 32. What is read from an archive is not.
Value = float | int | str | Array | bytes

# Alarm severities of EPICS, in the order of their numbers
INVALID = 3
SEVERITIES = ("NO_ALARM", "MINOR", "MAJOR", "INVALID")

# The alarm status words of Channel Access, in the order of their numbers.
STATUSES = (
    "NO_ALARM", "READ", "WRITE", "HIHI", "HIGH", "LOLO", "LOW", "STATE", "COS", "COMM", "TIMEOUT",
    "HWLIMIT", "CALC", "SCAN", "LINK", "SOFT", "BAD_SUB", "UDF", "DISABLE", "SIMM", "READ_ACCESS", "WRITE_ACCESS",
)  # fmt: skip

# The least distance of two rows of a PV: MySQL stores microseconds.
RESOLUTION_NS = 1000
# The latest time that 64 bits hold, in ns since 1970 UTC.
END_OF_TIME_NS = 2**63 - 1


def pack(numbers: Iterable[float]) -> bytes:
    """Return the number of elements (32 bits), then the doubles, all big-endian, as Phoebus reads them."""
    # Of bytes, too, the numbers: array would take them for doubles. Those of an array it copies without objects.
    doubles = array("d", numbers if isinstance(numbers, array) else iter(numbers))
    if sys.byteorder == "little":
        doubles.byteswap()
    return struct.pack(">i", len(doubles)) + doubles.tobytes()


def unpack(packed: bytes) -> Array:
    """Return the numbers of a packed array. Raises ValueError if it has another length than it says."""
    length = int.from_bytes(packed[:4], "big")
    if len(packed) != 4 + 8 * length:
        raise ValueError(packed[:4])
    return struct.unpack_from(f">{length}d", packed, 4)


class Sample(NamedTuple):
    """One value of one PV: ``time_ns`` counts from 1970, UTC, ``severity`` is 0 to 3, ``status`` an alarm status."""

    pv: str
    time_ns: int
    value: Value
    severity: int
    status: str


class Gap(StrEnum):
    """The reason why nothing is known from a row to the next one; the first words are those of Phoebus."""

    DISCONNECTED = "Disconnected"
    ARCHIVE_OFF = "Archive_Off"
    WRITE_ERROR = "Write_Error"
    OVERRUN = "Overrun"
    REJECTED_BACKWARDS = "Rejected_Backwards"
    REJECTED_EPOCH1990 = "Rejected_Epoch1990"
    REJECTED_FUTURE = "Rejected_Future"
    DAMAGED = "Damaged"


_GAPS = frozenset(Gap)


def gap_marker(pv: str, time_ns: int, gap: Gap) -> Sample:
    """Return the sample that marks a gap: a text, so that a plot of the PV breaks its line there."""
    return Sample(pv, time_ns, gap.value, INVALID, gap.value)


def is_gap(sample: Sample) -> bool:
    """Return whether a sample marks a gap."""
    return sample.status in _GAPS


# Low and high limit; None where there is none.
Range = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of a PV's values: unit, precision and ranges (low, high) of a number, or the words of an enum."""

    unit: str = ""
    precision: int = 0
    display: Range = (None, None)
    warning: Range = (None, None)
    alarm: Range = (None, None)
    words: tuple[str, ...] = ()


class Dated(NamedTuple):
    """Metadata, and the time (ns since 1970, UTC) from which they hold."""

    since_ns: int
    metadata: Metadata
