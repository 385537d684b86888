"""How a value of the crate looks as EPICS records, and how it goes over the wire.

caen-libs returns Python numbers and strings and sends them in c_float and c_int arrays (ctypes): a value here is
always of the array's type, and one that the array would silently wrap or round away is refused.
"""

from __future__ import annotations

import math
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from drivers.base import Reading, RecordType, Refused, Severity, Status, Value
from drivers.caen.bits import judge

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import ParamProp, SysProp

# A value as caen-libs returns and accepts it
Raw = float | int | str

# Characters of an EPICS string (MAX_STRING_SIZE without the terminating zero)
CA_TEXT = 39
# Characters of a state word in Channel Access (MAX_ENUM_STRING_SIZE without the terminating zero)
_STATE_TEXT = 25
_FLOAT32 = struct.Struct("<f")
# Relative distance of two neighbouring float32
_FLOAT32_STEP = 2.0**-23
_FLOAT32_MAX = 3.4028234e38
# Beyond f and T (-15 and 12) no unit is in use
_LARGEST_EXPONENT = 18
# The lowest and highest number of a 32-bit signed record
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1

_UNREADABLE = Reading(None, Severity.INVALID, Status.READ)

_UNITS = {
    "NONE": "", "AMPERE": "A", "VOLT": "V", "WATT": "W", "CELSIUS": "C", "HERTZ": "Hz", "BAR": "bar", "VPS": "V/s",
    "SECOND": "s", "RPM": "rpm", "COUNT": "count", "BIT": "bit", "APS": "A/s",
}  # fmt: skip
_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


class Format(ABC):
    """A kind of value: its record types for reading and setting, and its way to the wire and back.

    ``bits`` are the (number, name) of the bits that have a point of their own.
    """

    __slots__ = ()
    bits: tuple[tuple[int, str], ...] = ()
    input: ClassVar[RecordType]
    output: ClassVar[RecordType]

    def fields(self) -> Mapping[str, Any]:
        """Return the fields of a point that shows the value: field of ``Point`` -> value."""
        return {}

    def limits(self) -> Mapping[str, Any]:
        """Return the further fields of a setting's point."""
        return {}

    @abstractmethod
    def reading(self, raw: Any) -> Value | Reading:
        """Return what the crate said as the value of a record."""

    @abstractmethod
    def raw(self, value: Value) -> Raw:
        """Return what is to be sent for a put. Raises Refused."""

    def agrees(self, asked: Any, got: Any, patient: bool = True) -> bool:
        """Return True if the crate reads back what was set; ``patient``: while there is time to read again."""
        return bool(asked == got)

    def text(self, raw: Any) -> str:
        """Return the value for a sentence."""
        return str(raw)


@dataclass(frozen=True, slots=True)
class Number(Format):
    """A float32 with unit, digits after the point and limits (None: the crate names none).

    resolution      the crate's smallest step, in units of the last digit
    exponent        of the unit: -6 for uA
    limits_known    False where the crate names limits that make no sense: then nothing may be put
    """

    egu: str = ""
    digits: int = 0
    low: float | None = None
    high: float | None = None
    resolution: float = 1.0
    exponent: int = 0
    limits_known: bool = True
    input = RecordType.ai
    output = RecordType.ao

    def fields(self) -> Mapping[str, Any]:
        """Return unit, digits and display range."""
        return {"egu": self.egu, "prec": self.digits, "lopr": self.low, "hopr": self.high}

    def limits(self) -> Mapping[str, Any]:
        """Return the limits for puts, which move with other settings."""
        return {"drvl": self.low, "drvh": self.high, "moving": True}

    @property
    def current(self) -> bool:
        """Return True for a current, whose unit goes with the channel's range."""
        return self.egu.endswith("A")

    def reading(self, raw: Any) -> Value | Reading:
        """Return the number; INVALID where it is NaN or infinite."""
        value = shortest(raw)
        return value if math.isfinite(value) else Reading(math.nan, Severity.INVALID, Status.READ)

    def raw(self, value: Value) -> Raw:
        """Return the number to send. Raises Refused where it is outside the limits."""
        number = _number(value)
        if not self.limits_known:
            raise Refused("not sent, the limits that the crate names make no sense; put again when it names others")
        if self.low is not None and self.high is not None and not self.low <= shortest(number) <= self.high:
            raise Refused(f"{self.text(number)} is outside the limits of {self.low:.10g} to {self.text(self.high)}")
        return number

    def agrees(self, asked: Any, got: Any, patient: bool = True) -> bool:
        """Return True if they differ by rounding: half of the crate's last digit at once, all of it after a time."""
        digit = self.resolution * 10.0**-self.digits
        allowed = (0.5 if patient else 1.0) * digit + 2 * _FLOAT32_STEP * abs(asked)
        return bool(abs(asked - got) <= allowed)

    def text(self, raw: Any) -> str:
        """Return the number with its unit."""
        return f"{shortest(raw):.10g} {self.egu}".rstrip()


@dataclass(frozen=True, slots=True)
class Choice(Format):
    """One of some words; ``first`` is the crate's number for the first of them."""

    words: tuple[str, ...]
    first: int = 0
    input = RecordType.mbbi
    output = RecordType.mbbo

    def fields(self) -> Mapping[str, Any]:
        """Return the state words."""
        return {"states": self.words}

    def reading(self, raw: Any) -> Value | Reading:
        """Return the index of the word; INVALID where there is none for the crate's number."""
        index = int(raw) - self.first
        return index if 0 <= index < len(self.words) else _UNREADABLE

    def raw(self, value: Value) -> Raw:
        """Return the crate's number for the index of a word. Raises Refused."""
        index = _whole(value, 0, len(self.words) - 1)
        return index + self.first

    def text(self, raw: Any) -> str:
        """Return the word."""
        index = int(raw) - self.first
        return self.words[index] if 0 <= index < len(self.words) else str(raw)


@dataclass(frozen=True, slots=True)
class Switch(Choice):
    """One of two words."""

    input = RecordType.bi
    output = RecordType.bo


@dataclass(frozen=True, slots=True)
class Integer(Format):
    """A whole number between limits that a 32-bit signed record can hold."""

    low: int
    high: int
    input = RecordType.longin
    output = RecordType.longout

    def limits(self) -> Mapping[str, Any]:
        """Return the limits for puts."""
        return {"drvl": self.low, "drvh": self.high, "moving": True}

    def reading(self, raw: Any) -> Value | Reading:
        """Return the number."""
        return int(raw)

    def raw(self, value: Value) -> Raw:
        """Return the number to send. Raises Refused."""
        return _whole(value, self.low, self.high)


@dataclass(frozen=True, slots=True)
class WideInteger(Integer):
    """A whole number that needs a float64: Channel Access has no unsigned 32-bit type."""

    input = RecordType.ai
    output = RecordType.ao


@dataclass(frozen=True, slots=True)
class Word(Format):
    """32 bits; ``bits`` are the (number, name) of those that have one. Shown as the signed number that CA has."""

    bits: tuple[tuple[int, str], ...] = ()
    input = RecordType.longin
    output = RecordType.longout

    def reading(self, raw: Any) -> Value | Reading:
        """Return the signed number; its severity is the highest of the bits that are set and mean something."""
        if not self.bits:
            return Reading(_signed(raw))
        verdict = judge(int(raw), self.bits)
        status = Status.STATE if verdict.severity else Status.NO_ALARM
        return Reading(_signed(raw), verdict.severity, status, message=verdict.message)

    def raw(self, value: Value) -> Raw:
        """Return the signed number to send, also for one that is meant without sign. Raises Refused."""
        return _signed(_whole(value, -(2**31), 2**32 - 1))

    def agrees(self, asked: Any, got: Any, patient: bool = True) -> bool:
        """Return True if both are the same 32 bits."""
        return _signed(asked) == _signed(got)

    def names(self, raw: Any) -> tuple[tuple[int, str], ...]:
        """Return the named bits that are set."""
        return tuple((bit, name) for bit, name in self.bits if int(raw) >> bit & 1)


@dataclass(frozen=True, slots=True)
class Text(Format):
    """ASCII text; ``size``: the most characters that the crate keeps. EPICS shows the first 39."""

    size: int = CA_TEXT
    input = RecordType.stringin
    output = RecordType.stringout

    def reading(self, raw: Any) -> Value | Reading:
        """Return the first 39 characters."""
        return str(raw)[:CA_TEXT]

    def raw(self, value: Value) -> Raw:
        """Return the text to send. Raises Refused where the crate could not keep it."""
        text = str(value)
        if not text.isascii() or not (text.isprintable() or not text):
            raise Refused(f"{text!r} has characters that the crate does not accept; allowed is printable ASCII")
        if len(text) > self.size:
            raise Refused(f"{text!r} has {len(text)} characters; the crate stores at most {self.size}")
        return text

    def text(self, raw: Any) -> str:
        """Return the text in quotation marks."""
        return repr(raw)


def parameter_format(prop: ParamProp, bits: tuple[tuple[int, str], ...] = ()) -> Format | None:
    """Return the format of a board's or channel's parameter; None for a command. Raises ValueError."""
    match prop.type.name:
        case "NUMERIC":
            return _number_format(prop)
        case "ONOFF":
            return Switch(_words((prop.offstate or "", prop.onstate or "")))
        case "ENUM":
            return Choice(_words(prop.enum), int(prop.minval or 0)) if prop.enum else _wordless(prop)
        case "CHSTATUS" | "BDSTATUS" | "BINARY":
            return Word(bits)
        case "STRING":
            return Text()
        case "CMD":
            return None
    raise ValueError(f"parameter type {prop.type!r} is not known")


def _wordless(prop: ParamProp) -> Integer:
    """Return the numbers of an ENUM of more words than a record can have, or with limits that make no sense."""
    low, high, _ = _limits(prop.minval, prop.maxval)
    if low is None or high is None or low >= high:
        return Integer(_LOWEST, _HIGHEST)
    return Integer(max(int(low), _LOWEST), min(int(high), _HIGHEST))


def _number_format(prop: ParamProp) -> Number:
    low, high, known = _limits(prop.minval, prop.maxval)
    top = max(abs(low), abs(high)) if low is not None and high is not None else None
    digits, resolution = prop.decimal, float(max(prop.resol or 1, 1))
    if digits is None:
        # Not told (SY1527) is not 0: so many that six digits are shown, of which the crate is taken to keep three
        digits = 3 if top is None else min(max(6 - len(str(int(top))), 0), 6)
        resolution = max(1.0, (top or 0.0) * 10.0 ** (digits - 3))
    return Number(unit_of(prop), min(max(digits, 0), 15), low, high, resolution, prop.exp or 0, known)


def unit_of(prop: ParamProp) -> str:
    """Return the unit of a number. Raises ValueError for an exponent that cannot be one."""
    exponent = prop.exp or 0
    if abs(exponent) > _LARGEST_EXPONENT:
        raise ValueError(f"the exponent of the unit is {exponent}")
    if prop.unit is None:
        return unit("NONE", exponent)
    # A number instead of a word: a unit that is newer than caen-libs
    return unit(prop.unit.name if hasattr(prop.unit, "name") else f"unit {prop.unit}", exponent)


def property_format(prop: SysProp) -> Format:
    """Return the format of a system property. Raises KeyError for a type that is not known."""
    return _PROPERTY_FORMATS[prop.type.name]


# The crate reports neither unit nor digits of its properties: three digits are assumed.
_PROPERTY_FORMATS: dict[str, Format] = {
    "STR": Text(),
    "REAL": Number(digits=3),
    "BOOLEAN": Switch(("No", "Yes")),
    "UINT2": Integer(0, 2**16 - 1),
    "INT2": Integer(-(2**15), 2**15 - 1),
    "INT4": Integer(_LOWEST, _HIGHEST),
    "UINT4": WideInteger(0, 2**32 - 1),
}


def unit(name: str, exponent: int) -> str:
    """Return a ParamUnit with its decimal exponent as text: AMPERE and -6 are uA."""
    symbol = _UNITS.get(name, name)
    if exponent == 0:
        return symbol
    if symbol and exponent in _PREFIXES:
        return _PREFIXES[exponent] + symbol
    return f"1e{exponent} {symbol}".rstrip()


def shortest(value: float) -> float:
    """Return the shortest decimal number that is the same float32: 1234.56, where the crate's is 1234.5600586."""
    if not math.isfinite(value) or abs(value) > _FLOAT32_MAX:
        return value
    single = _FLOAT32.pack(value)
    for digits in range(6, 9):
        candidate = float(f"{value:.{digits}g}")
        if _FLOAT32.pack(candidate) == single:
            return candidate
    return float(f"{value:.9g}")


def clean(text: str) -> str:
    """Return a name of the crate with the characters that EPICS record names allow."""
    return re.sub(r"[^A-Za-z0-9_+<>;\[\]-]", "_", text)


def _limits(low: float | None, high: float | None) -> tuple[float | None, float | None, bool]:
    """Return limits without float32's noise (None: not told), and whether they make sense.

    Equal ones do: of SVMax 0 follows that V0Set can only be 0.
    """
    if low is None and high is None:
        return None, None, True
    low, high = low or 0.0, high or 0.0  # as caen-libs, where one of them is not told
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        return None, None, False
    return shortest(low), shortest(high), True


def _words(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the state words; a state without one gets its number."""
    return tuple((word or str(index))[:_STATE_TEXT] for index, word in enumerate(words))


def _signed(raw: Any) -> int:
    word = int(raw) & 0xFFFFFFFF
    return word - 2**32 if word >= 2**31 else word


def _number(value: Value) -> float:
    if isinstance(value, str) or not math.isfinite(value) or abs(value) > _FLOAT32_MAX:
        raise Refused(f"{value!r} is not a number that the crate can store")
    return float(value)


def _whole(value: Value, low: int, high: int) -> int:
    number = _number(value)
    if number != int(number) or not low <= number <= high:
        raise Refused(f"{number:.10g} is not a whole number from {low} to {high}")
    return int(number)
