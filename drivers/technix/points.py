"""What can be read from a Technix generator and set in it: its status byte, its two ranges, its points.

Source: the manual's chapter "RS-232 control protocol".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from drivers.base import Point, Reading, RecordType, Severity, Status
from drivers.technix.watchdog import WATCHDOG

# Counts at full scale
TOP = 4095

# Masks of the status byte; the manual counts bits from 1
INHIBIT, LOCAL, OFF_CMD, ON_CMD, HV, INTERLOCK, FAULT, VOLTAGE = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01

# Counts by which a reading may be above a limit: neither converter nor regulation are perfect (assumed)
TOLERANCE = 4

_MAJOR = (Severity.NO_ALARM, Severity.MAJOR)
_MINOR = (Severity.NO_ALARM, Severity.MINOR)
# Point -> mask, words for 0 and 1, description, severities
BITS: dict[str, tuple[int, tuple[str, str], str, tuple[Severity, ...]]] = {
    "HV_RBV": (HV, ("Off", "On"), "High voltage", ()),
    "Mode_RBV": (LOCAL, ("Remote", "Local"), "Who is in control", ()),
    "Inhibit_RBV": (INHIBIT, ("Off", "On"), "Output inhibition", ()),
    "Interlock": (INTERLOCK, ("Closed", "Open"), "Interlock loop on the rear panel", _MAJOR),
    "Fault": (FAULT, ("OK", "Fault"), "Reset: HV off button on front panel", _MAJOR),
    "Regulation": (VOLTAGE, ("Current", "Voltage"), "What the generator regulates", ()),
    "OnCmd": (ON_CMD, ("Released", "Given"), "First half of HV on given", _MINOR),
    "OffCmd": (OFF_CMD, ("Released", "Given"), "First half of HV off given", _MINOR),
}
# Switch -> its value that brings the voltage down. Local mode turns HV off at once (manual)
_SAFE = {"HV": 0, "Mode": 1, "Inhibit": 1}


@dataclass(frozen=True, slots=True)
class Scale:
    """The generator's voltage or current range, in the unit ``egu``."""

    full_scale: float
    limit: float
    egu: str

    @property
    def limited(self) -> bool:
        """Return True if the limit is below full scale."""
        return self.limit < self.full_scale

    @property
    def prec(self) -> int:
        """Return the digits after the point that show a step of one count."""
        return max(0, math.ceil(-math.log10(self.full_scale / TOP)))

    def value(self, counts: int) -> float:
        """Return the value of a number of counts."""
        return counts * self.full_scale / TOP

    def output(self, counts: int) -> Reading:
        """Return what the generator says that it gives out; above the limit it is MAJOR."""
        value = self.value(counts)
        if not self.limited or value <= self.limit + self.value(TOLERANCE):
            return Reading(value)
        return Reading(value, Severity.MAJOR, Status.HIHI, message=f"above the limit of {self.limit:g} {self.egu}")

    def counts(self, value: float) -> int:
        """Return the most counts whose value is not above ``value``, so that ``counts(value(n)) == n``."""
        near = int(value / self.full_scale * TOP)
        # The division may land on the wrong side of a whole number: the values themselves decide.
        return max(n for n in (near - 1, near, near + 1) if self.value(n) <= value)


def points(voltage: Scale, current: Scale) -> Iterator[Point]:
    """Yield all points of a generator with these ranges."""
    for letter, scale, word in (("V", voltage, "voltage"), ("I", current, "current")):
        yield Point(
            name=f"{letter}Set", rtyp=RecordType.ao, follows=f"{letter}Set_RBV", desc=f"Set {word}, magnitude",
            egu=scale.egu, prec=scale.prec, lopr=0, hopr=scale.limit, drvl=0, drvh=scale.limit,
        )  # fmt: skip
        for name, desc in ((f"{letter}Set_RBV", f"Set {word} as last put"), (f"{letter}Mon", f"Output {word}")):
            yield Point(
                name=name, rtyp=RecordType.ai, group="status", desc=f"{desc}, magnitude",
                egu=scale.egu, prec=scale.prec, lopr=0, hopr=scale.full_scale,
            )  # fmt: skip
    for name, safe in _SAFE.items():
        _, words, desc, _ = BITS[f"{name}_RBV"]
        yield Point(
            name=name, rtyp=RecordType.bo, follows=f"{name}_RBV", desc=desc, states=words, safe=safe
        )  # fmt: skip
    for name, (_, words, desc, severities) in BITS.items():
        yield Point(name=name, rtyp=RecordType.bi, group="status", desc=desc, states=words, severities=severities)
    yield Point(
        name="Polarity", rtyp=RecordType.bi, group="status", desc="Polarity, as configured",
        states=("Positive", "Negative"),
    )  # fmt: skip
    yield Point(name="Status", rtyp=RecordType.longin, group="status", desc="Status byte", lopr=0, hopr=255)
    yield Point(
        name="WD:Margin", rtyp=RecordType.ai, group="status", desc="Least watchdog time left, last minute",
        egu="s", prec=2, lopr=0, hopr=WATCHDOG, low=2.5,
    )  # fmt: skip
    yield Point(
        name="WD:Strikes", rtyp=RecordType.longin, group="status", desc="Times the watchdog has struck",
        egu="strikes", lopr=0,
    )  # fmt: skip
