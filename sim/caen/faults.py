"""Faults of single calls of the C library: a result code instead of the call, or a delay before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sim.caen.memory import read_list, read_text

# What the arguments of a function behind the handle are: s slot, c channel, n name, p property, S and C lists (count
# first), . anything else. Functions that are not here have no place.
_PLACES = {
    "GetSysPropInfo": "n",
    "GetSysProp": "n",
    "SetSysProp": "n",
    "GetBdParam": "Sn",
    "SetBdParam": "Sn",
    "GetBdParamProp": "snp",
    "GetBdParamInfo": "s",
    "TestBdPresence": "s",
    "GetChParamProp": "scnp",
    "GetChParamInfo": "sc",
    "GetChName": "sC",
    "SetChName": "sC",
    "GetChParam": "snC",
    "SetChParam": "snC",
    "ExecComm": "n",
}


@dataclass(frozen=True, slots=True)
class Call:
    """A call: its function without CAENHV_, and what it is about as far as the function says so."""

    function: str
    slot: int | None = None
    channels: tuple[int, ...] = ()
    name: str = ""
    prop: str = ""


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to the calls that fit; None and "" fit all.

    code   the result code instead of the call, which is not carried out; None: it is
    late   True where the call is carried out, and only its answer is lost: ``code`` comes instead
    delay  seconds before the call
    skip   calls that are spared before the first one
    left   calls that are still hit
    """

    function: str = ""
    slot: int | None = None
    channel: int | None = None
    name: str = ""
    prop: str = ""
    code: int | None = None
    late: bool = False
    delay: float = 0.0
    skip: int = 0
    left: float = math.inf
    hits: int = 0

    def fits(self, call: Call) -> bool:
        """Return True if the call is to be hit, and count it."""
        wanted = (self.function, self.name, self.prop)
        if any(each and each != has for each, has in zip(wanted, (call.function, call.name, call.prop), strict=True)):
            return False
        if self.slot not in (None, call.slot) or (self.channel is not None and self.channel not in call.channels):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.left <= 0:
            return False
        self.left -= 1
        self.hits += 1
        return True


def describe(function: str, arguments: Sequence[int]) -> Call:
    """Return what a call is about, from its raw arguments behind the handle."""
    found: dict[str, str | int | list[int]] = {}
    rest = list(arguments)
    for kind in _PLACES.get(function, ""):
        if kind in "SC":
            count, address = rest.pop(0), rest.pop(0)
            found[kind] = read_list(address, count)
        else:
            value = rest.pop(0)
            found[kind] = read_text(value) if kind in "np" else value
    slots, channels = found.get("S"), found.get("C", [found["c"]] if "c" in found else [])
    slot = slots[0] if isinstance(slots, list) and slots else found.get("s")
    assert slot is None or isinstance(slot, int)
    assert isinstance(channels, list)
    numbers = tuple(each for each in channels if isinstance(each, int))
    return Call(function, slot, numbers, str(found.get("n", "")), str(found.get("p", "")))
