"""Parameters and system properties of a crate, and what has parameters: a board or a channel."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from sim.caen.header import Code, Mode, PropertyType, Type, Unit

Value = float | int | str


class CrateError(Exception):
    """A request that the crate refuses."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Param:
    """What the crate says about a parameter."""

    name: str
    type: Type = Type.NUMERIC
    mode: Mode = Mode.RDWR
    unit: Unit = Unit.NONE
    exp: int = 0
    minval: float = 0.0
    maxval: float = 0.0
    decimal: int = 0
    onstate: str = "On"
    offstate: str = "Off"
    enum: tuple[str, ...] = ()
    default: Value = 0


@dataclass
class Property:
    """A system property; one whose ``value`` is None cannot be read although its mode says so."""

    name: str
    type: PropertyType
    mode: Mode
    value: Value | None


def float32(value: float) -> float:
    """Return the value rounded to the 32 bits that the crate has for it."""
    result: float = struct.unpack("f", struct.pack("f", value))[0]
    return result


class Node:
    """A board or a channel: whatever has parameters. ``values`` holds those that the physics do not move."""

    def __init__(self, params: Iterable[Param]) -> None:
        self.params = {param.name: param for param in params}
        self.values: dict[str, Value] = {}
        for param in self.params.values():
            self.values[param.name] = float(param.default) if param.type is Type.NUMERIC else param.default

    def param(self, name: str) -> Param:
        """Return the properties of a parameter as they are now. Raises CrateError."""
        try:
            return self.params[name]
        except KeyError:
            raise CrateError(Code.PARAMNOTFOUND) from None

    def get(self, name: str) -> Value:
        """Return the value of a parameter. Raises CrateError."""
        if self.param(name).mode is Mode.WRONLY:
            raise CrateError(Code.READERR)
        return self.values[name]

    def check(self, name: str, value: Value) -> None:
        """Raise CrateError when the parameter does not accept the value."""
        param = self.param(name)
        if param.mode is Mode.RDONLY:
            raise CrateError(Code.WRITEERR)
        if not _in_range(param, value):
            raise CrateError(Code.OUTOFRANGE)

    def clipped(self, name: str, value: Value) -> Value:
        """Return the nearest value that a number accepts."""
        param = self.param(name)
        return max(param.minval, min(param.maxval, float(value))) if param.type is Type.NUMERIC else value

    def put(self, name: str, value: Value) -> None:
        """Set a parameter to a value that was checked."""
        self.values[name] = float32(float(value)) if self.param(name).type is Type.NUMERIC else value


def _in_range(param: Param, value: Value) -> bool:
    match param.type:
        case Type.NUMERIC:
            return float32(param.minval) <= float(value) <= float32(param.maxval)
        case Type.ONOFF:
            return value in (0, 1)
        case Type.ENUM:
            return 0 <= float(value) < len(param.enum)
    return True
