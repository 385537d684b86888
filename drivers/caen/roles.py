"""What a parameter is for, by its name in any of the system types: the one place that knows names.

Sources: parameter lists of the crates' and desktop units' manuals, and the tests of caen-libs.
"""

from __future__ import annotations

# The range of a channel's currents, which moves their unit (SY4527: IMRange; N1470, DT55xxE, V65xx: ImonRange)
_RANGES = {"IMRANGE", "IMONRANGE", "IRANGE"}


def is_range(name: str) -> bool:
    """Return True for a setting that chooses a range of currents."""
    return name.upper() in _RANGES
