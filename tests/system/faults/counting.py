"""An IOC whose PVs count, so that a row that is missing in an archive is a missing number.

Two thousand PVs change once a second; a few do ten times a second, and show to a tenth of a second what is missing.
"""

from __future__ import annotations

SLOW = [f"T:C{number:04}" for number in range(2000)]
FAST = [f"T:F{number}" for number in range(10)]
NAMES = SLOW + FAST
# PVs of the IOC whose clock steps
STEPPING = [f"T:S{number}" for number in range(2000)]


def counters(first: int = 0, scan: str = "1 second") -> str:
    """Return the records of a softIoc; they count from ``first``, the slow ones once in ``scan``."""
    scans = dict.fromkeys(SLOW, scan) | dict.fromkeys(FAST, ".1 second")
    return "\n".join(
        f'record(calc, "{name}") {{ field(CALC, "VAL+1") field(VAL, "{first}") field(SCAN, "{scan}") }}'
        for name, scan in scans.items()
    )


def period_ns(name: str) -> int:
    """Return the time between two numbers of a PV."""
    return 10**8 if name in FAST else 10**9
