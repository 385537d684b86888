"""A CAEN high-voltage crate: boards, channels, parameters and physics, without the C library's way of asking."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

Value = float | int | str

NEVER = 1000  # s: a Trip of 1000 means that the channel never trips
KILL_RATE = 2000.0  # V/s
SETTLED = 0.5  # V: closer to the target than this is not ramping


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


class CrateError(Exception):
    """The crate turns a request down."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


class Type(IntEnum):
    """PARAM_TYPE_*"""

    NUMERIC = 0
    ONOFF = 1
    CHSTATUS = 2
    BDSTATUS = 3
    BINARY = 4
    STRING = 5
    ENUM = 6
    CMD = 7


class Mode(IntEnum):
    """PARAM_MODE_* and SYSPROP_MODE_*"""

    RDONLY = 0
    WRONLY = 1
    RDWR = 2


class Unit(IntEnum):
    """PARAM_UN_*"""

    NONE = 0
    AMPERE = 1
    VOLT = 2
    CELSIUS = 4
    VPS = 7
    SECOND = 8


class PropertyType(IntEnum):
    """SYSPROP_TYPE_*"""

    STR = 0
    REAL = 1
    UINT2 = 2
    UINT4 = 3
    INT2 = 4
    INT4 = 5
    BOOLEAN = 6


@dataclass(frozen=True, kw_only=True)
class Param:
    """What the crate tells about a parameter."""

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
    """A system property; ``value`` None is one that cannot be read although it says so."""

    name: str
    type: PropertyType
    mode: Mode
    value: Value | None


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
    """Names of channel conditions -> bit, as this type of system numbers them."""
    return STATUS_BITS.get(system, _SY1527)


def float32(value: float) -> float:
    """The value as the crate keeps it."""
    result: float = struct.unpack("f", struct.pack("f", value))[0]
    return result


class Node:
    """Whatever has parameters: a board or a channel. ``values`` holds those that are set or stand still."""

    def __init__(self, params: Iterable[Param]) -> None:
        self.params = {param.name: param for param in params}
        self.values: dict[str, Value] = {}
        for param in self.params.values():
            self.values[param.name] = float(param.default) if param.type is Type.NUMERIC else param.default

    def param(self, name: str) -> Param:
        """The properties of a parameter as they are now."""
        try:
            return self.params[name]
        except KeyError:
            raise CrateError(Code.PARAMNOTFOUND) from None

    def get(self, name: str) -> Value:
        if self.param(name).mode is Mode.WRONLY:
            raise CrateError(Code.READERR)
        return self.values[name]

    def check(self, name: str, value: Value) -> None:
        """Raise CrateError when the parameter does not take the value."""
        param = self.param(name)
        if param.mode is Mode.RDONLY:
            raise CrateError(Code.WRITEERR)
        if not _in_range(param, value):
            raise CrateError(Code.OUTOFRANGE)

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


class Channel(Node):
    """A high-voltage channel with a resistive load, in volts, amperes, ohms."""

    def __init__(self, params: Iterable[Param], bits: Mapping[str, int], seed: int) -> None:
        super().__init__(params)
        self.bits = bits
        self.name = ""
        self.resistance = 1e8
        self.noise = 0.0  # of VMon and IMon, in their last digits
        self.volts = 0.0
        self.offset = 0.0  # V by which VMon is wrong
        self.hvmax = 1e6  # the board's hardware limit
        self.uses_second_set = False  # V1Set and I1Set, chosen at the front panel
        self.on = False
        self.tripped = False
        self.killed = False
        self.disabled = False
        self.unplugged = False
        self.bad = False
        self.overcurrent_time = 0.0
        self.random = random.Random(seed)

    @property
    def amps(self) -> float:
        return self.volts / self.resistance

    def number(self, name: str, default: float) -> float:
        return float(self.values.get(name, default))

    @property
    def voltage_setting(self) -> float:
        """The voltage asked for, under all limits."""
        chosen = self.number("V1Set" if self.uses_second_set else "V0Set", 0.0)
        return min(chosen, self.number("SVMax", chosen), self.hvmax)

    @property
    def current_limit(self) -> float:
        name = "I1Set" if self.uses_second_set else "I0Set"
        if name not in self.params:
            return float("inf")
        return self.number(name, 0.0) * 10.0 ** self.param(name).exp

    @property
    def target(self) -> float:
        return self.voltage_setting if self.on else 0.0

    @property
    def overcurrent(self) -> bool:
        """The load wants more than the limit: the channel is a constant current source."""
        ceiling = self.current_limit * self.resistance
        return self.on and self.target > ceiling and self.volts >= ceiling

    @property
    def resting(self) -> bool:
        """It is where it should be, and stays there: most channels, most of the time."""
        if not self.on:
            return self.volts == 0
        return self.volts == self.target <= self.current_limit * self.resistance

    def step(self, dt: float) -> None:
        if self.resting:
            self.killed = self.killed and self.volts > 0
            self.overcurrent_time = 0.0
            return
        up, down = self.number("RUp", 100.0), self.number("RDWn", 100.0)
        fall = KILL_RATE if self.killed else down
        self.volts += max(-fall * dt, min(up * dt, self.target - self.volts))
        if self.on:
            self.volts = min(self.volts, self.current_limit * self.resistance)
        self.killed = self.killed and self.volts > 0
        self._watch_current(dt)

    def _watch_current(self, dt: float) -> None:
        """Trip after an overcurrent that lasts longer than Trip."""
        self.overcurrent_time = self.overcurrent_time + dt if self.overcurrent else 0.0
        patience = self.number("Trip", NEVER)
        if patience < NEVER and self.overcurrent_time > patience:
            self.trip()

    def trip(self) -> None:
        """Off, by PDwn: 0 kills, 1 ramps."""
        self.switch(False)
        self.tripped = True
        self.killed = not self.values.get("PDwn", 0)

    def kill(self) -> None:
        self.switch(False)
        self.killed = True

    def switch(self, on: bool) -> None:
        """Power on or off; switching on ends a trip."""
        self.on = on and not (self.disabled or self.unplugged)
        self.tripped = self.tripped and not on
        self.overcurrent_time = 0.0

    def conditions(self) -> dict[str, bool]:
        up, down = self.target - self.volts > SETTLED, self.volts - self.target > SETTLED
        ramping_off = down and not (self.killed or self.tripped)
        return {
            "ON": self.on or ramping_off,
            "UP": self.on and up and not self.overcurrent,
            "DOWN": down,
            "OVC": self.overcurrent,
            "OVV": self.on and down,
            "UNV": self.on and up,
            "VMAX": self.on and self.voltage_setting >= self.hvmax,
            "DISABLED": self.disabled,
            "TRIP": self.tripped,
            "KILL": self.killed,
            "UNPLUGGED": self.unplugged,
        }

    def status(self) -> int:
        conditions = self.conditions()
        return sum(mask for name, mask in self.bits.items() if conditions[name])

    def param(self, name: str) -> Param:
        """The highest voltage setting is SVMax."""
        param = super().param(name)
        if name in ("V0Set", "V1Set") and "SVMax" in self.params:
            return replace(param, maxval=self.number("SVMax", 0.0))
        return param

    def get(self, name: str) -> Value:
        match name:
            case "VMon":
                return self._measure(name, self.volts + self.offset)
            case "IMon":
                return self._measure(name, self.amps)
            case "Status":
                return self.status()
            case "Pw":
                return int(self.on)
        return super().get(name)

    def _measure(self, name: str, value: float) -> float:
        """A reading in the parameter's unit, with the digits that it has."""
        param = self.param(name)
        digit = 10.0**-param.decimal
        reading = value * 10.0**-param.exp + self.random.gauss(0, self.noise * digit)
        return float32(max(0.0, round(reading, param.decimal)))

    def put(self, name: str, value: Value) -> None:
        if name == "Pw":
            self.switch(bool(value))
            return
        super().put(name, value)
        if name == "SVMax":  # drags the settings down
            for setting in {"V0Set", "V1Set"} & self.params.keys():
                self.values[setting] = min(self.number(setting, 0.0), self.number("SVMax", 0.0))

    def state(self) -> dict[str, Any]:
        mine = {name: value for name, value in vars(self).items() if name not in ("params", "bits", "random")}
        return mine | {"amps": self.amps, "status": self.status()}


class RangedChannel(Channel):
    """A channel with two current ranges: IMRange 1 makes all current parameters a thousand times finer."""

    def param(self, name: str) -> Param:
        param = super().param(name)
        if param.unit is Unit.AMPERE and self.values["IMRange"]:
            return replace(param, exp=param.exp - 3)
        return param

    def put(self, name: str, value: Value) -> None:
        before = self.values.get("IMRange")
        super().put(name, value)
        if name == "IMRange" and value != before:
            self._rescale(1000.0 if value else 0.001)

    def _rescale(self, factor: float) -> None:
        """The current settings stay what they are, as far as the new range reaches."""
        for param in self.params.values():
            if param.unit is Unit.AMPERE and param.mode is Mode.RDWR:
                value = self.number(param.name, 0.0) * factor
                self.values[param.name] = float32(max(param.minval, min(param.maxval, value)))


class Board(Node):
    """A board in a slot. BdIlk, where it has it, is the interlock: 1 disables all its channels."""

    def __init__(self, model: str, description: str, serial: int, params: Iterable[Param]) -> None:
        super().__init__(params)
        self.model = model
        self.description = description
        self.serial = serial
        self.firmware = (3, 1)  # major, minor
        self.channels: list[Channel] = []

    def step(self, dt: float) -> None:
        interlock = bool(self.values.get("BdIlk"))
        for channel in self.channels:
            if interlock and channel.on:
                channel.kill()
            channel.disabled = interlock
            channel.step(dt)

    def power_down(self) -> None:
        """All channels lose their voltage at once; their settings stay."""
        for channel in self.channels:
            channel.switch(False)
            channel.tripped = channel.killed = False
            channel.volts = 0.0

    def state(self) -> dict[str, Any]:
        return {"model": self.model, "values": self.values, "channels": [c.state() for c in self.channels]}


class Crate:
    """A mainframe with its boards."""

    commands = ("Kill", "ClearAlarm", "EnMsg", "DisMsg")

    slots = 16

    def __init__(self, system: str, boards: Mapping[int, Board], properties: Iterable[Property]) -> None:
        self.system = system
        self.boards = dict(boards)
        self.pulled: dict[int, Board] = {}
        self.properties = {prop.name: prop for prop in properties}
        self.sessions: list[str] = []
        self.time = 0.0
        self.booted = 0.0
        self.lag = 0.0  # s until a setting reads back
        self._old: dict[tuple[Node, str], tuple[float, Value]] = {}  # until when a setting still reads what

    def step(self, dt: float) -> None:
        self.time += dt
        for board in self.boards.values():
            board.step(dt)

    def state(self) -> dict[str, Any]:
        return {
            "system": self.system,
            "lag": self.lag,
            "boards": {slot: board.state() for slot, board in self.boards.items()},
            "pulled": sorted(self.pulled),
            "properties": {name: prop.value for name, prop in self.properties.items()},
        }

    def board(self, slot: int) -> Board:
        try:
            return self.boards[slot]
        except KeyError:
            raise CrateError(Code.SLOTNOTPRES) from None

    def channel(self, slot: int, number: int) -> Channel:
        channels = self.board(slot).channels
        if number >= len(channels):
            raise CrateError(Code.OUTOFRANGE)
        return channels[number]

    def all_channels(self) -> list[Channel]:
        return [channel for board in self.boards.values() for channel in board.channels]

    def get(self, node: Node, name: str) -> Value:
        """A parameter as it reads now: a late crate still tells the old setting."""
        if isinstance(node, Channel) and node.bad:
            raise CrateError(Code.READERR)
        until, old = self._old.get((node, name), (0.0, 0))
        return old if self.time < until else node.get(name)

    def put(self, nodes: Sequence[Node], name: str, value: Value) -> None:
        """Set one value in several boards or channels: all of them, or none when one refuses."""
        for node in nodes:
            if isinstance(node, Channel) and node.bad:
                raise CrateError(Code.WRITEERR)
            node.check(name, value)
        for node in nodes:
            if self.lag and node.param(name).mode is Mode.RDWR:
                self._old[node, name] = (self.time + self.lag, node.get(name))
            node.put(name, value)

    def property(self, name: str) -> Property:
        try:
            return self.properties[name]
        except KeyError:
            raise CrateError(Code.PROPNOTFOUND) from None

    def get_property(self, name: str) -> Value:
        prop = self.property(name)
        if prop.mode is Mode.WRONLY:
            raise CrateError(Code.NOTGETPROP)
        if prop.value is None:
            raise CrateError(Code.GETPROPNOTIMPL)
        match name:
            case "Sessions":
                return " ".join(self.sessions)
            case "UpTime":
                return int(self.time - self.booted)
        return prop.value

    def put_property(self, name: str, value: Value) -> None:
        prop = self.property(name)
        if prop.mode is Mode.RDONLY:
            raise CrateError(Code.NOTSETPROP)
        prop.value = value

    def execute(self, command: str) -> None:
        """Commands that act on the whole crate."""
        if command not in self.commands:
            raise CrateError(Code.EXECNOTFOUND)
        for channel in self.all_channels():
            if command == "Kill":
                channel.kill()
            elif command == "ClearAlarm":
                channel.tripped = False

    def power_down(self) -> None:
        """The mains fail."""
        for board in self.boards.values():
            board.power_down()

    def boot(self) -> None:
        """Power comes back; channels with POn switch themselves on."""
        self.booted = self.time
        for channel in self.all_channels():
            channel.switch(bool(channel.values.get("POn")))

    def pull(self, slot: int) -> None:
        """Take a board out."""
        self.pulled[slot] = self.board(slot)
        del self.boards[slot]

    def insert(self, slot: int) -> None:
        """Put a board back in; its channels are off."""
        if slot not in self.pulled:
            raise CrateError(Code.SLOTNOTPRES)
        self.boards[slot] = self.pulled.pop(slot)
        self.boards[slot].power_down()
