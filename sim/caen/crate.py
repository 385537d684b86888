"""A CAEN high-voltage crate: its boards, properties and commands, without the C library's way of asking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sim.caen.channel import Channel
from sim.caen.header import Code, Mode
from sim.caen.parameters import CrateError, Node, Param, Property, Value


class Board(Node):
    """A board in a slot. Where it has BdIlk, that is the interlock: 1 disables all its channels."""

    def __init__(self, model: str, description: str, serial: int, params: Iterable[Param]) -> None:
        super().__init__(params)
        self.model = model
        self.description = description
        self.serial = serial
        self.firmware = (3, 1)  # major, minor
        self.channels: list[Channel] = []
        self.noise = b""  # at the end of its list of parameters

    def step(self, dt: float) -> None:
        """Let ``dt`` seconds pass."""
        interlock = bool(self.values.get("BdIlk"))
        for channel in self.channels:
            if interlock and channel.on:
                channel.kill()
            channel.disabled = interlock
            channel.step(dt)

    def power_down(self) -> None:
        """Take the voltage from all channels at once; their settings stay."""
        for channel in self.channels:
            channel.switch(False)
            channel.tripped = channel.killed = False
            channel.volts = 0.0

    def state(self) -> dict[str, Any]:
        """Return all that can be seen and set from the control channel."""
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
        self.clips = False  # clips a setting that is outside its limits
        self.lacking: frozenset[str] = frozenset()  # properties that no parameter has
        self.touched = 0  # boards and channels that were read or set
        self._old: dict[tuple[Node, str], tuple[float, Value]] = {}  # until when a setting still reads what

    def step(self, dt: float) -> None:
        """Let ``dt`` seconds pass."""
        self.time += dt
        for board in self.boards.values():
            board.step(dt)

    def state(self) -> dict[str, Any]:
        """Return all that can be seen and set from the control channel."""
        return {
            "system": self.system,
            "lag": self.lag,
            "boards": {slot: board.state() for slot, board in self.boards.items()},
            "pulled": sorted(self.pulled),
            "properties": {name: prop.value for name, prop in self.properties.items()},
        }

    def board(self, slot: int) -> Board:
        """Return the board in a slot. Raises CrateError."""
        try:
            return self.boards[slot]
        except KeyError:
            raise CrateError(Code.SLOTNOTPRES) from None

    def channel(self, slot: int, number: int) -> Channel:
        """Return a channel. Raises CrateError."""
        channels = self.board(slot).channels
        if number >= len(channels):
            raise CrateError(Code.OUTOFRANGE)
        return channels[number]

    def all_channels(self) -> list[Channel]:
        """Return the channels of all boards."""
        return [channel for board in self.boards.values() for channel in board.channels]

    def get(self, node: Node, name: str) -> Value:
        """Return a parameter as it reads now: with ``lag`` the old setting for a while. Raises CrateError."""
        if isinstance(node, Channel) and node.bad:
            raise CrateError(Code.READERR)
        self.touched += 1
        until, old = self._old.get((node, name), (0.0, 0))
        return old if self.time < until else node.get(name)

    def put(self, nodes: Sequence[Node], name: str, value: Value) -> None:
        """Set one value in several boards or channels; in none when one refuses it. Raises CrateError."""
        for node in nodes:
            if isinstance(node, Channel) and node.bad:
                raise CrateError(Code.WRITEERR)
            if not self.clips:
                node.check(name, value)
        for node in nodes:
            self.touched += 1
            if self.lag and node.param(name).mode is Mode.RDWR:
                self._old[node, name] = (self.time + self.lag, node.get(name))
            node.put(name, node.clipped(name, value) if self.clips else value)

    def property(self, name: str) -> Property:
        """Return a system property. Raises CrateError."""
        try:
            return self.properties[name]
        except KeyError:
            raise CrateError(Code.PROPNOTFOUND) from None

    def get_property(self, name: str) -> Value:
        """Return the value of a system property. Raises CrateError."""
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
        """Set a system property. Raises CrateError."""
        prop = self.property(name)
        if prop.mode is Mode.RDONLY:
            raise CrateError(Code.NOTSETPROP)
        prop.value = value

    def execute(self, command: str) -> None:
        """Carry out a command on the whole crate. Raises CrateError."""
        if command not in self.commands:
            raise CrateError(Code.EXECNOTFOUND)
        for channel in self.all_channels():
            if command == "Kill":
                channel.kill()
            elif command == "ClearAlarm":
                channel.tripped = False

    def power_down(self) -> None:
        """Switch the mains off."""
        for board in self.boards.values():
            board.power_down()

    def boot(self) -> None:
        """Switch the mains on; channels with POn switch themselves on."""
        self.booted = self.time
        for channel in self.all_channels():
            channel.switch(bool(channel.values.get("POn")))

    def pull(self, slot: int) -> None:
        """Take a board out. Raises CrateError."""
        self.pulled[slot] = self.board(slot)
        del self.boards[slot]

    def insert(self, slot: int) -> None:
        """Put a board back in; its channels are off. Raises CrateError."""
        if slot not in self.pulled:
            raise CrateError(Code.SLOTNOTPRES)
        self.boards[slot] = self.pulled.pop(slot)
        self.boards[slot].power_down()
