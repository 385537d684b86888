"""What a parameter is for, by its name in any of the system types: the one place that knows names.

Sources: parameter lists of the crates' and desktop units' manuals, and the tests of caen-libs.
"""

from __future__ import annotations

from collections.abc import Sequence

# The range of a channel's currents, which moves their unit (SY4527: IMRange; N1470, DT55xxE, V65xx: ImonRange)
_RANGES = {"IMRANGE", "IMONRANGE", "IRANGE"}
# The switch of a channel; no family has another name for it
_SWITCHES = {"PW"}
# The highest voltage that a channel may be set to: SVMax of SYx527 and V65xx, MaxV of the desktop units
_VOLTAGE_LIMITS = {"SVMAX", "MAXV"}
# The highest voltage of a board, set by a trimmer
_BOARD_VOLTAGE_LIMITS = {"HVMAX"}
# Which of two settings a channel of an SYx527 obeys is chosen by a signal at the crate's front panel, and its status
# does not show it. Desktop units have one of each
_SET_BY = {"VMON": ("V0SET", "V1SET", "VSET"), "IMON": ("I0SET", "I1SET", "ISET")}
# What is measured of a channel. Desktop units have a current for each of two ranges
_MEASURED = {"VMON", "IMON", "IMONH", "IMONL"}
# What switches off: everything, if it is a command of the crate (SYx527)
_KILLS = {"KILL"}
# Words that stand for "off" in a switch whose words are not told in the order off, on
_OFF_WORDS = {"OFF", "DISABLED", "DISABLE", "KILL", "KILLED", "NO", "0"}
# What is added to a description (the crates' manuals): the one value of Trip that is no time
_NOTES = {"TRIP": " (1000 = never)"}


def is_range(name: str) -> bool:
    """Return True for a setting that chooses a range of currents."""
    return name.upper() in _RANGES


def is_switch(name: str) -> bool:
    """Return True for what switches a channel on and off."""
    return name.upper() in _SWITCHES


def is_kill(name: str) -> bool:
    """Return True for a command, or what can only be written, that switches off."""
    return name.upper() in _KILLS


def is_voltage_limit(name: str) -> bool:
    """Return True for what limits the voltage settings of its channel or board."""
    return name.upper() in _VOLTAGE_LIMITS | _BOARD_VOLTAGE_LIMITS


def is_voltage_setting(name: str) -> bool:
    """Return True for a voltage that a channel is set to."""
    return name.upper() in _SET_BY["VMON"]


def is_measured(name: str) -> bool:
    """Return True for the voltage and the current of a channel."""
    return name.upper() in _MEASURED


def is_measured_voltage(name: str) -> bool:
    """Return True for the measured voltage of a channel."""
    return name.upper() == "VMON"


def settings_of(measured: str) -> Sequence[str]:
    """Return the names, in upper case, of what a measured value is set by; none where it is not known."""
    return _SET_BY.get(measured.upper(), ())


def is_setpoint(name: str) -> bool:
    """Return True for a voltage or current that a channel is set to."""
    return any(name.upper() in names for names in _SET_BY.values())


def importance(name: str) -> int:
    """Return what settings are read in the order of when they may have moved: the lowest first."""
    return 0 if is_switch(name) else 1 if is_setpoint(name) else 2


def off_state(words: Sequence[str]) -> int | None:
    """Return the index of the word of a switch that stands for "off"; None where none does."""
    found = [index for index, word in enumerate(words) if word.upper() in _OFF_WORDS]
    return found[0] if len(found) == 1 else None


def note(name: str) -> str:
    """Return what is added to the description of a parameter."""
    return _NOTES.get(name.upper(), "")
