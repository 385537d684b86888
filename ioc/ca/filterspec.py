"""Names with a channel filter (``PV.VAL{"dbnd":{"abs":5}}``, ``PV.VAL[0:3]``), read as EPICS base 7.0.8 reads them.

The filters and their keys are those of base (dbChannel.c; arr.c, dbnd.c, decimate.c, ts.c, utag.c of its filters).
sync is refused: base does so for a state that it does not have, and this server has none.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_MARKS = (b"{", b"[")
_SLICE = re.compile(r"\[(-?\d*)(?::(-?\d*))?(?::(-?\d*))?\]")
# JSON5: what may stand between its parts, and the parts themselves
_SPACE = re.compile(r"(?:\s|//[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F]+|Infinity|(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|NaN", re.ASCII
)
_TEXT = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_WORDS = {"true": True, "false": False, "null": None}
# What strtod and strtol read of a text: what follows the number is not looked at
_DOUBLE = re.compile(
    r"\s*([+-]?(?:(0x(?:[\da-f]+\.?[\da-f]*|\.[\da-f]+)(?:p[+-]?\d+)?)|inf|nan|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?))",
    re.ASCII | re.IGNORECASE,
)
_ZERO = re.compile(r"[+-]?(?:0x[0.]*(?:p.*)?|[0.]*(?:e.*)?)")
_INTEGER = re.compile(r"\s*([+-]?)(?:0x([\da-f]+)|0([0-7]*)|([1-9]\d*))", re.ASCII | re.IGNORECASE)
# Objects within objects; the filters need two
_DEEPEST = 4
# Characters; reading those of a name as long as a message can be would hold up all clients
_LONGEST = 1000

_DBND_MODES = ("abs", "rel")
_TS = {"num": ("dbl", "sec", "nsec", "ts"), "str": ("epics", "iso"), "epoch": ("epics", "unix")}


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of an array; a negative index counts from the end."""

    start: int = 0
    step: int = 1
    end: int = -1

    def of(self, count: int) -> range:
        """Return the indices that it has in an array of ``count`` elements (wrapArrayIndices)."""
        start = max(self.start + count if self.start < 0 else self.start, 0)
        end = max(self.end + count if self.end < 0 else self.end, 0)
        return range(min(start, count), min(end, count - 1) + 1, max(self.step, 1))


@dataclass(frozen=True, slots=True)
class Filters:
    """What a name asks for; None: not.

    arr   the piece of the array
    dbnd  ("abs" or "rel", deadband): what leaves it around the last is sent
    dec   of so many updates one is sent
    ts    the time of now as the stamp ({}), or the stamp as the value (``num`` or ``str``, and ``epoch``)
    utag  (mask, value) that the user's tag must have
    order their names in the order in which they are asked for: each sees what those before it let pass
    """

    arr: Slice | None = None
    dbnd: tuple[str, float] | None = None
    dec: int | None = None
    ts: Mapping[str, str] | None = None
    utag: tuple[int, int] | None = None
    order: tuple[str, ...] = ()


def has_filter(name: bytes) -> bool:
    """Return True for a name that asks for a filter: a record's own name may have brackets, too."""
    field = name.partition(b".")[2]
    return any(mark in field for mark in _MARKS)


def split(name: str) -> tuple[str, Filters]:
    """Return the name without its filters, and the filters. Raises ValueError for what base refuses."""
    field = name.find(".")
    if field < 0:
        raise ValueError("a filter comes after a field")
    at = min(place for mark in ("[", "{") if (place := name.find(mark, field)) >= 0)
    plain, rest = name[:at], name[at:]
    if len(rest) > _LONGEST:
        raise ValueError(f"a filter of more than {_LONGEST} characters")
    found: dict[str, Any] = {}
    if rest.startswith("["):
        match = _SLICE.match(rest)
        if match is None or match[0] == "[]":
            raise ValueError("no indices between brackets")
        found["arr"] = _slice(*match.groups())
        rest = rest[match.end() :]
    if rest:
        reader = _Reader(rest)
        filters = reader.value(0)
        if not isinstance(filters, dict) or reader.left():
            raise ValueError("no JSON value")
        for key, arguments in filters.items():
            if key not in _FILTERS or key in found or not isinstance(arguments, dict):
                raise ValueError(f"{key} is no filter")
            found[key] = _FILTERS[key](arguments)
    return plain, Filters(**found, order=tuple(found))


def _slice(first: str, second: str | None, third: str | None) -> Slice:
    """Return the slice of ``[index]``, ``[start:end]`` or ``[start:step:end]``, each with base's defaults."""
    if second is None:
        return Slice(int(first), 1, int(first))
    step, end = ("", second) if third is None else (second, third)
    return Slice(int(first or 0), int(step or 1), int(end or -1))


def _arr(arguments: Mapping[str, Any]) -> Slice:
    _known(arguments, "s", "i", "e")
    return Slice(*(_integer(arguments.get(key, other)) for key, other in (("s", 0), ("i", 1), ("e", -1))))


def _dbnd(arguments: Mapping[str, Any]) -> tuple[str, float]:
    """Return mode and deadband; the last of the keys that tell it counts."""
    _known(arguments, "d", "m", *_DBND_MODES)
    mode, band = "abs", 0.0
    for key, given in arguments.items():
        if key == "m":
            if type(given) not in {int, str} or given not in (*_DBND_MODES, 0, 1):
                raise ValueError(f"{given!r} is no value of the filter")
            mode = given if isinstance(given, str) else _DBND_MODES[given]
        else:
            band = _double(given)
            mode = mode if key == "d" else key
    return mode, band


def _dec(arguments: Mapping[str, Any]) -> int:
    _known(arguments, "n")
    given = arguments.get("n")
    if type(given) is not int or _in_32_bits(given) < 1:
        raise ValueError(f"{given!r} is no value of the filter")
    return given


def _ts(arguments: Mapping[str, Any]) -> Mapping[str, str]:
    for key, given in arguments.items():
        if key not in _TS or given not in _TS[key]:
            raise ValueError(f"{given!r} is no value of the filter")
    return arguments


def _utag(arguments: Mapping[str, Any]) -> tuple[int, int]:
    _known(arguments, "M", "V")
    return _integer(arguments.get("M", -1)), _integer(arguments.get("V", 0))


_FILTERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "arr": _arr,
    "dbnd": _dbnd,
    "dec": _dec,
    "ts": _ts,
    "utag": _utag,
}


def _known(arguments: Mapping[str, Any], *keys: str) -> None:
    if unknown := arguments.keys() - set(keys):
        raise ValueError(f"{unknown} are no keys of the filter")


def _double(given: Any) -> float:
    """Return a number, also from a text, as base converts it; it may be infinite or NaN. Raises ValueError."""
    if isinstance(given, str):
        match = _DOUBLE.match(given)
        if match is None:
            raise ValueError(f"{given!r} is no value of the filter")
        text = match[1].lower()
        number = float.fromhex(text) if match[2] else float(text)
        tiny = abs(number) < sys.float_info.min and not _ZERO.fullmatch(text)
        if tiny or (math.isinf(number) and "inf" not in text):
            raise ValueError(f"{given!r} is no value of the filter")
        return number
    if isinstance(given, int):
        return _in_32_bits(given)
    if not isinstance(given, float):
        raise ValueError(f"{given!r} is no value of the filter")
    return given


def _integer(given: Any) -> int:
    """Return a whole number, also from a text, as base converts it. Raises ValueError; OverflowError of infinity."""
    if not isinstance(given, str):
        return _in_32_bits(int(_double(given)))
    match = _INTEGER.match(given)
    if match is None:
        raise ValueError(f"{given!r} is no value of the filter")
    sign, hexadecimal, octal, decimal = match.groups()
    number = int(hexadecimal, 16) if hexadecimal else int(decimal or 0) if octal is None else int(octal or "0", 8)
    return _in_32_bits(-number if sign == "-" else number)


def _in_32_bits(given: int) -> int:
    """Return a number that base can hold in the integer to which it converts all (epicsInt32)."""
    if not -(2**31) <= given < 2**31:
        raise ValueError(f"{given!r} is no value of the filter")
    return given


class _Reader:
    """JSON5, as far as names need it: objects, numbers, texts, words. Whatever else comes is a ValueError."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def left(self) -> str:
        """Return what was not read, without space."""
        self._skip()
        return self._text[self._at :]

    def value(self, depth: int) -> Any:
        """Read a value."""
        if self._take("{"):
            return self._object(depth + 1)
        if (match := self._match(_NUMBER)) is not None:
            return _parsed(match[0])
        if (match := self._match(_TEXT)) is not None:
            return match[1] if match[1] is not None else match[2]
        if (match := self._match(_WORD)) is not None and match[0] in _WORDS:
            return _WORDS[match[0]]
        raise ValueError("no JSON value")

    def _object(self, depth: int) -> dict[str, Any]:
        if depth > _DEEPEST:
            raise ValueError("no JSON value")
        found: dict[str, Any] = {}
        while not self._take("}"):
            match = self._match(_TEXT) or self._match(_WORD)
            if match is None:
                raise ValueError("no JSON value")
            key = next((group for group in match.groups() if group is not None), match[0])
            if key in found or not self._take(":"):  # of two the first would not be applied
                raise ValueError("no JSON value")
            found[key] = self.value(depth)
            if not self._take(","):
                if not self._take("}"):
                    raise ValueError("no JSON value")
                break
        return found

    def _take(self, mark: str) -> bool:
        self._skip()
        found = self._text.startswith(mark, self._at)
        self._at += found
        return found

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._skip()
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None  # it matches nothing, too
        self._at = match.end()


def _parsed(given: str) -> float | int:
    """Return a number. Raises ValueError for one that is too large for a double."""
    sign = -1 if given.startswith("-") else 1
    digits = given.lstrip("+-")
    if digits[:2] in {"0x", "0X"}:
        return sign * int(digits, 16)
    if digits.isdecimal():
        return sign * int(digits)
    number = float(digits)
    if math.isinf(number) and digits != "Infinity":
        raise ValueError(f"{given!r} is no value of the filter")
    return sign * number
