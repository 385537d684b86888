"""Units of numbers: which can be converted into each other, and numbers with a unit as text ("20 uA").

Converted is between prefixes of one base unit, in decimals: 20 uA are exactly 0.02 mA.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import product

_PREFIXES = {"": 0, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12}
# Units that may have a prefix: those of CAEN's ParamUnit (CAENHVWrapper.h), and of what else drivers have
_BASES = frozenset(
    {
        *("V", "A", "W", "Ohm", "C", "K", "Hz", "s", "bar", "Pa", "V/s", "A/s"),
        *("%", "rpm", "count", "bit", "byte"),
    }
)
# An exponent that no prefix stands for, as the CAEN driver writes it: "1e-5 A"
_POWER = re.compile(r"1e(-?\d+) (\S+)")
# Atomic, so that a number without a unit is not split into one with; and none of what looks like a number as a whole
# ("1_000", "1:30")
_QUANTITY = re.compile(r"((?>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))(?![_:])\s*(\S.*)")

# Unit -> other words for it, in lower case. Into the last ones nothing is converted.
_CALLED = {
    "V": ("volt", "volts"),
    "A": ("amp", "amps", "ampere", "amperes"),
    "W": ("watt", "watts"),
    "C": ("degc", "deg c", "celsius"),
    "K": ("degk", "kelvin"),
    "F": ("f", "degf", "deg f", "fahrenheit"),
    "Torr": ("torr",),
    "mTorr": ("mtorr",),
    "psi": ("psi",),
}
# What a word can mean that is no unit letter by letter -> the units: such a word, or one in other letters ("KV")
_MEANT: dict[str, list[str]] = {word: [unit] for unit, words in _CALLED.items() for word in words}
for _prefix, _base in product(_PREFIXES, sorted(_BASES)):
    _MEANT.setdefault(f"{_prefix}{_base}".lower(), []).append(f"{_prefix}{_base}")

# What may be written, for sentences
KNOWN = f"{', '.join(sorted(_BASES))}, each with {', '.join(filter(None, _PREFIXES))} or none before it"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with the unit that it is for."""

    number: float
    unit: str

    def __str__(self) -> str:
        """Return the text that ``quantity`` reads."""
        return f"{self.number!r}".removesuffix(".0") + f" {self.unit}"


def quantity(text: str) -> Quantity | None:
    """Return what a text such as "20 uA" says, whatever its unit is; None if it is no number with a unit behind."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or not math.isfinite(float(match[1])):
        return None
    return Quantity(float(match[1]), match[2])


def is_known(unit: str) -> bool:
    """Return True for a base unit with or without a prefix."""
    return _split(unit) is not None


def exponent(unit: str, target: str) -> int | None:
    """Return the power of ten by which a number in ``unit`` is one in ``target``; None if it cannot be converted."""
    if unit == target:
        return 0
    one, other = _split(unit), _split(target)
    return None if one is None or other is None or one[1] != other[1] else one[0] - other[0]


def convert(number: float, unit: str, target: str) -> float | None:
    """Return a number in another unit; None if it cannot be converted."""
    power = exponent(unit, target)
    return None if power is None else scale(number, power)


def scale(number: float, power: int) -> float:
    """Return a number times a power of ten, without the noise of a product of doubles; NaN and infinity stay."""
    return float(Decimal(repr(float(number))).scaleb(power))


def contradict(unit: str, name: str) -> bool:
    """Return True if ``name``, given to numbers in ``unit``, would say something untrue: kV or KV of numbers in V."""
    if not is_known(unit):
        return False
    meant = [name] if is_known(name) else _MEANT.get(name.lower(), [])
    return bool(meant) and all(exponent(unit, each) != 0 for each in meant)


def word(unit: str) -> str:
    """Return a unit for a sentence."""
    return unit or "no unit"


def _split(unit: str) -> tuple[int, str] | None:
    """Return the exponent and the base unit; None for a unit that is not known."""
    if match := _POWER.fullmatch(unit):
        return (int(match[1]), match[2]) if match[2] in _BASES else None
    for base in (unit, unit[1:]):
        prefix = unit.removesuffix(base)
        if base in _BASES and prefix in _PREFIXES:
            return _PREFIXES[prefix], base
    return None
