"""Channels that do not take a setting as it is, and a crate full of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sim.caen.boards import DETECTOR, DETECTOR_BOARD
from sim.caen.channel import Channel
from sim.caen.crate import Board, Crate
from sim.caen.header import status_bits
from sim.caen.parameters import Param, Value


class OddChannel(Channel):
    """A channel with some of the habits of real ones.

    ceilings      parameter -> what a higher value is cut off to, without a word
    steps         parameter -> the step of which a value is a multiple
    deaf          parameters that are taken with success and forgotten
    shows_output  True where the switch shows the bit ON of the status (desktop units)
    stubborn      True where an On has no effect while the channel ramps down
    late          True where the switch does not show yet that it was put to On
    interlocked   True while an On has no effect before ``close_interlock``; waits: there is such an On
    fixed_limits  True where SVMax does not move the limits of the voltage settings
    """

    def __init__(self, params: Iterable[Param], bits: Mapping[str, int], seed: int) -> None:
        super().__init__(params, bits, seed)
        self.ceilings: dict[str, float] = {}
        self.steps: dict[str, float] = {}
        self.deaf: set[str] = set()
        self.shows_output = False
        self.stubborn = False
        self.late = False
        self.interlocked = self.waits = False
        self.fixed_limits = False

    def param(self, name: str) -> Param:
        """Return the properties of a parameter as they are now. Raises CrateError."""
        return self.params[name] if self.fixed_limits and name in self.params else super().param(name)

    def get(self, name: str) -> Value:
        """Return the value of a parameter. Raises CrateError."""
        if name == "Pw" and self.shows_output:
            return int(self.conditions()["ON"])
        if name == "Pw" and self.late:
            return 0
        return super().get(name)

    def put(self, name: str, value: Value) -> None:
        """Set a parameter to a value that was checked."""
        if name in self.deaf or (name == "Pw" and value and self.stubborn and self.conditions()["DOWN"]):
            return
        if name == "Pw" and self.interlocked:
            self.waits = bool(value)
            return
        if isinstance(value, float):
            if step := self.steps.get(name):
                value = round(value / step) * step
            value = min(value, self.ceilings.get(name, value))
        super().put(name, value)

    def close_interlock(self) -> None:
        """Carry out an On that has waited for this."""
        self.interlocked = False
        if self.waits:
            self.switch(True)


def odd_crate(system: str) -> Crate:
    """Return a crate with two boards of four channels that are on and at rest at 1000 V, with 1 uA."""
    boards = {slot: _board(slot, status_bits(system)) for slot in (2, 4)}
    return Crate(system, boards, [])


def _board(slot: int, bits: Mapping[str, int]) -> Board:
    board = Board("ODD4", "4 Ch Pos. 3KV 500uA", 9000 + slot, DETECTOR_BOARD)
    for number in range(4):
        channel = OddChannel(DETECTOR, bits, seed=10 * slot + number)
        channel.name = f"S{slot:02d}C{number:02d}"
        channel.values |= {"V0Set": 1000.0, "I0Set": 100.0, "RDWn": 50.0, "PDwn": 1}
        channel.resistance = 1e9
        channel.on = True
        channel.volts = channel.target
        board.channels.append(channel)
    return board
