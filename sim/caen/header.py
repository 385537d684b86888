"""What the C header of CAEN's library defines (CAENHVWrapper.h): codes, types, systems, links, status bits."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

SYSTEMS = (
    *("SY1527", "SY2527", "SY4527", "SY5527", "N568", "V65XX", "N1470", "V8100", "N568E"),
    *("DT55XX", "FTK", "DT55XXE", "N1068", "SMARTHV", "NGPS", "N1168", "R6060"),
)
LINKS = ("TCPIP", "RS232", "CAENET", "USB", "OPTLINK", "USB_VCP", "USB3", "A4818")


class Code(IntEnum):
    """Result codes of the C library (CAENHVRESULT)."""

    OK = 0
    SYSERR = 1
    WRITEERR = 2
    READERR = 3
    TIMEERR = 4
    SLOTNOTPRES = 7
    OUTOFRANGE = 10
    GETPROPNOTIMPL = 12
    PROPNOTFOUND = 14
    EXECNOTFOUND = 15
    NOTGETPROP = 17
    NOTSETPROP = 18
    PARAMPROPNOTFOUND = 21
    PARAMNOTFOUND = 22
    SOCKETERROR = 28
    COMMUNICATIONERROR = 29
    NOTYETIMPLEMENTED = 30
    NOTCONNECTED = 0x1002
    LOGINFAILED = 0x1004
    LINKNOTSUPPORTED = 0x1006
    USERPASSFAILED = 0x1007


class Type(IntEnum):
    """Types of parameters (PARAM_TYPE_*)."""

    NUMERIC = 0
    ONOFF = 1
    CHSTATUS = 2
    BDSTATUS = 3
    BINARY = 4
    STRING = 5
    ENUM = 6
    CMD = 7


class Mode(IntEnum):
    """Access to parameters and system properties (PARAM_MODE_*, SYSPROP_MODE_*)."""

    RDONLY = 0
    WRONLY = 1
    RDWR = 2


class Unit(IntEnum):
    """Units of parameters (PARAM_UN_*)."""

    NONE = 0
    AMPERE = 1
    VOLT = 2
    CELSIUS = 4
    VPS = 7
    SECOND = 8


class PropertyType(IntEnum):
    """Types of system properties (SYSPROP_TYPE_*)."""

    STR = 0
    REAL = 1
    UINT2 = 2
    UINT4 = 3
    INT2 = 4
    INT4 = 5
    BOOLEAN = 6


_SY1527 = {
    "ON": 0x1,
    "UP": 0x2,
    "DOWN": 0x4,
    "OVC": 0x8,
    "OVV": 0x10,
    "UNV": 0x20,
    "VMAX": 0x80,
    "DISABLED": 0x100,
    "TRIP": 0x200,
    "UNPLUGGED": 0x800,
}
_COMMON = {name: mask for name, mask in _SY1527.items() if mask <= 0x20}
_N1470 = _COMMON | {"VMAX": 0x40, "TRIP": 0x80, "DISABLED": 0x400, "KILL": 0x800}
_V65XX = _COMMON | {"VMAX": 0x80, "TRIP": 0x100, "DISABLED": 0x800}
_SMARTHV = _COMMON | {"TRIP": 0x40, "KILL": 0x400, "DISABLED": 0x1000, "VMAX": 0x8000}
STATUS_BITS = {"N1470": _N1470, "DT55XXE": _N1470, "V65XX": _V65XX, "SMARTHV": _SMARTHV}


def status_bits(system: str) -> Mapping[str, int]:
    """Return condition of a channel -> its bit in the status word of this type of system."""
    return STATUS_BITS.get(system, _SY1527)
