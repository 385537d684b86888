"""What the compared servers have to serve, and what a server's process does for the bench.

Only the standard library: pythonSoftIOC runs this in an environment of its own.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

PREFIX = "B:"
INSTRUMENT = "R"

# A ramp's values: whole numbers that count up, each record from a start of its own, and begin again at WRAP. A gap is
# a lost update, and at any moment a fifth of the records is in alarm, so that the limits are more than looked at.
WRAP = 1000
LIMITS = {"HIHI": 950, "HIGH": 900, "LOW": 100, "LOLO": 50, "HYST": 5}
SEVERITIES = {"HHSV": "MAJOR", "HSV": "MINOR", "LSV": "MINOR", "LLSV": "MAJOR"}
DEADBANDS = {"MDEL": 0.5, "ADEL": 0.5}


# Records of the kind "mixed": two setpoints, a state with words, an array, a text as long as the list of a large
# rack, a setpoint whose alarm comes and goes with its value
MIXED = ("setpoint", "flooded", "state", "array", "text", "alarmed")
ALARMED: dict[str, Any] = {"HIHI": 2, "HHSV": "MAJOR"}
WORDS = ("Off", "On", "Tripped", "Ramping up")
ARRAY = 5000
LARGE_ARRAY = 100_000
TEXT = 400_000


class LoadKind(StrEnum):
    """A kind of records.

    ramp       inputs that change at a rate, with LIMITS and DEADBANDS
    setpoint   outputs that accept a put at once
    described  inputs that do not change, each with the fields of ``described``
    mixed      one record of each of ``MIXED``, the others setpoints
    arrays     LARGE_ARRAY doubles each, which are posted every 10 s
    """

    ramp = "ramp"
    setpoint = "setpoint"
    described = "described"
    mixed = "mixed"
    arrays = "arrays"


@dataclass(frozen=True)
class Load:
    """What to serve: so many records of a kind. ``rate``: changes of each record in a second (ramp)."""

    kind: LoadKind
    count: int
    rate: float = 1.0

    def arguments(self) -> list[str]:
        """Return it as the command line of a server."""
        return [self.kind, str(self.count), str(self.rate)]

    @property
    def names(self) -> list[str]:
        """Return the names of all records."""
        return [f"{PREFIX}{INSTRUMENT}:{point(index)}" for index in range(self.count)]


def point(index: int) -> str:
    """Return the last part of a record's name."""
    return f"{index:05d}"


def first_value(index: int) -> int:
    """Return where a record's ramp begins."""
    return index * 7919 % WRAP


def described(index: int) -> dict[str, str | float]:
    """Return fields that differ from record to record, as they do in a rack."""
    return {
        "DESC": f"channel {index} of the bench",
        "EGU": f"u{index}",
        "HOPR": 5000.0 + index,
        "LOPR": -5000.0 - index,
        "HIHI": 4000.0 + index,
        "HIGH": 3000.0 + index,
        "LOW": -3000.0 - index,
        "LOLO": -4000.0 - index,
    }


def begin() -> Load:
    """Report that the imports of a server are done, and return what to serve."""
    kind, count, rate = sys.argv[1:]
    sys.stdout.write(f"begin {time.monotonic()}\n")
    sys.stdout.flush()
    return Load(LoadKind(kind), int(count), float(rate))


def follow_bench() -> threading.Event:
    """End this server with the bench; return an event that is set when its clients are connected.

    A server that its load saturates waits for that: no client would ever get connected to it.
    """
    connected = threading.Event()

    def follow() -> None:
        if sys.stdin.readline():
            connected.set()
            sys.stdin.read()
        os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
    return connected
