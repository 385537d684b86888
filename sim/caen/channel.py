"""A high-voltage channel: its load, its ramps, its trips and its interlock."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sim.caen.header import Mode, Unit
from sim.caen.parameters import Node, Param, Value, float32

# A Trip of so many seconds means that the channel never trips
NEVER = 1000
# V/s
KILL_RATE = 2000.0
# Ohms of a short circuit: no load is less
SHORT = 1e-3
# A channel that is closer to its target than this (V) does not ramp
SETTLED = 0.5


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
        self.uses_second_set = False  # V1Set and I1Set, selected at the front panel
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
        """Return the current through the load (A)."""
        return self.volts / max(SHORT, self.resistance)

    def number(self, name: str, default: float) -> float:
        """Return a parameter that is a number; ``default`` where the channel does not have it."""
        return float(self.values.get(name, default))

    @property
    def voltage_setting(self) -> float:
        """Return the voltage that is set, within all limits (V)."""
        chosen = self.number("V1Set" if self.uses_second_set else "V0Set", 0.0)
        return min(chosen, self.number("SVMax", chosen), self.hvmax)

    @property
    def current_limit(self) -> float:
        """Return the current that is set as limit (A); infinity without one."""
        name = "I1Set" if self.uses_second_set else "I0Set"
        if name not in self.params:
            return float("inf")
        return self.number(name, 0.0) * 10.0 ** self.param(name).exp

    @property
    def target(self) -> float:
        """Return the voltage to which the channel ramps (V)."""
        return self.voltage_setting if self.on else 0.0

    @property
    def overcurrent(self) -> bool:
        """Return True while the load wants more than the limit: the channel is then a constant current source."""
        ceiling = self.current_limit * self.resistance
        return self.on and self.target > ceiling and self.volts >= ceiling

    @property
    def resting(self) -> bool:
        """Return True while nothing ramps and nothing trips: most channels, most of the time."""
        if not self.on:
            return self.volts == 0
        return self.volts == self.target <= self.current_limit * self.resistance

    def step(self, dt: float) -> None:
        """Let ``dt`` seconds pass."""
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
        """Trip: switch off as PDwn says (0 kills, 1 ramps)."""
        self.switch(False)
        self.tripped = True
        self.killed = not self.values.get("PDwn", 0)

    def kill(self) -> None:
        """Switch off without a ramp."""
        self.switch(False)
        self.killed = True

    def switch(self, on: bool) -> None:
        """Power on or off; switching on ends a trip."""
        self.on = on and not (self.disabled or self.unplugged)
        self.tripped = self.tripped and not on
        self.overcurrent_time = 0.0

    def conditions(self) -> dict[str, bool]:
        """Return the conditions that the status word can show."""
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
        """Return the status word."""
        conditions = self.conditions()
        return sum(mask for name, mask in self.bits.items() if conditions[name])

    def param(self, name: str) -> Param:
        """Return the properties of a parameter; the highest voltage setting is SVMax."""
        param = super().param(name)
        if name in ("V0Set", "V1Set") and "SVMax" in self.params:
            return replace(param, maxval=self.number("SVMax", 0.0))
        return param

    def get(self, name: str) -> Value:
        """Return the value of a parameter; measured ones come from the physics. Raises CrateError."""
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
        """Return a reading in the parameter's unit, with the digits that it has."""
        param = self.param(name)
        digit = 10.0**-param.decimal
        reading = value * 10.0**-param.exp + self.random.gauss(0, self.noise * digit)
        return float32(max(0.0, round(reading, param.decimal)))

    def put(self, name: str, value: Value) -> None:
        """Set a parameter to a value that was checked; SVMax takes the voltage settings down with it."""
        if name == "Pw":
            self.switch(bool(value))
            return
        super().put(name, value)
        if name == "SVMax":  # drags the settings down
            for setting in {"V0Set", "V1Set"} & self.params.keys():
                self.values[setting] = min(self.number(setting, 0.0), self.number("SVMax", 0.0))

    def state(self) -> dict[str, Any]:
        """Return all that can be seen and set from the control channel."""
        mine = {name: value for name, value in vars(self).items() if name not in ("params", "bits", "random")}
        return mine | {"amps": self.amps, "status": self.status()}


class RangedChannel(Channel):
    """A channel with two current ranges: IMRange 1 makes all current parameters a thousand times finer."""

    def param(self, name: str) -> Param:
        """Return the properties of a parameter in the present range."""
        param = super().param(name)
        if param.unit is Unit.AMPERE and self.values["IMRange"]:
            return replace(param, exp=param.exp - 3)
        return param

    def put(self, name: str, value: Value) -> None:
        """Set a parameter to a value that was checked; IMRange rescales the current settings."""
        before = self.values.get("IMRange")
        super().put(name, value)
        if name == "IMRange" and value != before:
            self._rescale(1000.0 if value else 0.001)

    def _rescale(self, factor: float) -> None:
        """Keep the current settings as they are in amperes, as far as the new range reaches."""
        for param in self.params.values():
            if param.unit is Unit.AMPERE and param.mode is Mode.RDWR:
                value = self.number(param.name, 0.0) * factor
                self.values[param.name] = float32(max(param.minval, min(param.maxval, value)))
