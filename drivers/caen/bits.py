"""The bits of the status words: what they mean and how bad they are.

Which bit has which name differs from system to system below 0x20 and above; caen-libs knows that
(caenhvwrapperflags). Here the names are explained once for all systems. Sources: the manuals of the crates where they
say it; that a board's warning is MINOR and all that ends in an off channel MAJOR is assumed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.base import Severity

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import SystemType

_OK, _MINOR, _MAJOR = Severity.NO_ALARM, Severity.MINOR, Severity.MAJOR

# Name of a bit in caen-libs -> its severity and its meaning, which becomes the DESC of its point
BITS: dict[str, tuple[Severity, str]] = {
    "ON": (_OK, "on"),
    "UP": (_OK, "ramping up"),
    "DOWN": (_OK, "ramping down"),
    "OVC": (_MAJOR, "overcurrent"),
    "OVV": (_MINOR, "overvoltage"),
    "UNV": (_MINOR, "undervoltage"),
    "E_TRIPPED": (_MAJOR, "external trip"),
    "I_TRIPPED": (_MAJOR, "internal trip"),
    "TRIPPED": (_MAJOR, "tripped"),
    "TRIP": (_MAJOR, "tripped"),
    "HV_MAX": (_MINOR, "at hardware maximum V"),
    "MAX_V": (_MINOR, "at maximum V"),
    "I_MAX": (_MINOR, "at maximum I"),
    "MAX_POWER": (_MAJOR, "power over maximum"),
    "EXT_DIS": (_MINOR, "disabled externally"),
    "DISABLED": (_MINOR, "disabled"),
    "KILL": (_MAJOR, "killed externally"),
    "INTERLOCK": (_MAJOR, "interlock"),
    "LOCK": (_MINOR, "locked"),
    "UNPLUGG": (_MAJOR, "unplugged"),
    "CAL_ERR": (_MAJOR, "calibration error"),
    "UNC": (_MINOR, "not calibrated"),
    "UNCAL": (_MINOR, "not calibrated"),
    "OVV_PROT": (_MAJOR, "overvoltage protection"),
    "OVP": (_MAJOR, "overpower"),
    "OVT": (_MAJOR, "over temperature"),
    "PWR_FAIL": (_MAJOR, "power failure"),
    "TEMP_FAIL": (_MAJOR, "temperature failure"),
    "TEMP_WARN": (_MINOR, "temperature warning"),
    "COMM_FAIL": (_MAJOR, "communication failure"),
    "PW_FAIL": (_MAJOR, "power supply failure"),
    "FW_CHKERR": (_MAJOR, "firmware checksum error"),
    "HVCAL_ERR": (_MAJOR, "HV calibration error"),
    "TEMP_ERR": (_MAJOR, "temperature error"),
    "UN_TEMP": (_MINOR, "under temperature"),
    "OV_TEMP": (_MAJOR, "over temperature"),
    "OV_POWER": (_MAJOR, "overpower"),
    "HV_CLK_FAIL": (_MAJOR, "HV clock failure"),
    "ALARMED": (_MAJOR, "alarm"),
    "CH0_ALARM": (_MAJOR, "channel 0 alarm"),
    "CH1_ALARM": (_MAJOR, "channel 1 alarm"),
    "CH2_ALARM": (_MAJOR, "channel 2 alarm"),
    "CH3_ALARM": (_MAJOR, "channel 3 alarm"),
}

# The bit of a channel behind which there is nothing
UNPLUGGED = "UNPLUGG"
# Bits that say that a channel is on
SWITCHES = {"ON"}
# Bits that say that a channel ramps
RAMPS = {"UP", "DOWN"}
# Bits that mean nothing while a channel ramps: it is below or above its setting because of that. A current that is
# too high does mean something: it trips the channel then, too
_AT_REST = {"OVV", "UNV"}
# Bits that mean nothing while a channel is off
_WHILE_ON = {"UNV"}


def severity_of(name: str) -> Severity:
    """Return the severity of a set bit; one that a newer caen-libs names is MAJOR until it is known here."""
    return BITS.get(name, (_MAJOR, ""))[0]


def text_of(name: str) -> str:
    """Return the meaning of a bit."""
    return BITS.get(name, (_MAJOR, name))[1]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a status word says: its severity, and the worst of its bits in words."""

    severity: Severity
    message: str = ""


def meaningless(names: Collection[str], all_names: Collection[str]) -> set[str]:
    """Return which of the bits that are set mean nothing, for the channel is off or ramps.

    ``all_names`` are those that the word can have: of one without ON (a board's) all mean something.
    """
    found = _AT_REST if RAMPS & set(names) else set()
    if "ON" in all_names and "ON" not in names:
        found = found | _WHILE_ON
    return found & set(names)


def ramp_end(bits: Collection[tuple[int, str]]) -> int:
    """Return the bits that go at the end of a ramp, without anything else being another."""
    return sum(1 << bit for bit, name in bits if name in RAMPS | _AT_REST)


def judge(word: int, bits: Collection[tuple[int, str]]) -> Verdict:
    """Return what a status word says; ``bits`` are (number, name) of those that have a name.

    A bit without a name is MINOR: a newer firmware has something to say.
    """
    names = [name for bit, name in bits if word >> bit & 1]
    quiet = meaningless(names, [name for _, name in bits])
    causes = [(severity_of(name), text_of(name)) for name in names if name not in quiet]
    if unnamed := word & 0xFFFFFFFF & ~sum(1 << bit for bit, _ in bits):
        causes.append((_MINOR, f"bit 0x{unnamed:x} has no name here"))
    worst = max((severity for severity, _ in causes), default=_OK)
    return Verdict(worst, ", ".join(text for severity, text in causes if severity is worst) if worst else "")


def words_of(name: str) -> tuple[str, str]:
    """Return the state words of a bit."""
    return ("Off", "On") if name in SWITCHES else ("No", "Yes")


def channel_bits(system: SystemType) -> tuple[tuple[int, str], ...]:
    """Return (number, name) of the bits in a channel's status word."""
    from caen_libs.caenhvwrapperflags import decode_ch_status  # noqa: PLC0415  needs CAEN's C library

    return tuple((bit, name) for bit in range(32) if (name := decode_ch_status(system, 1 << bit)).isidentifier())


def board_bits(system: SystemType) -> tuple[tuple[int, str], ...]:
    """Return (number, name) of the bits in a board's status word."""
    from caen_libs.caenhvwrapperflags import decode_bd_status  # noqa: PLC0415  needs CAEN's C library

    return tuple((bit, name) for bit in range(32) if (name := decode_bd_status(system, 1 << bit)).isidentifier())
