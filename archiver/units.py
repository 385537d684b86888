"""Durations and sizes as they are written in a configuration, and numbers of things as they are told."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_557_600}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def seconds(text: str | float) -> float:
    """Return the seconds of ``90s``, ``1.5h``, ``30d``, ``500ms``, or of a plain number. Raises ValueError."""
    return _quantity(text, _SECONDS, "s", "a duration: write 500ms, 60s, 5m, 1h, 90d, 2w or 1y")


def size(text: str | float) -> float:
    """Return the bytes of ``500MB``, ``2GB``, or of a plain number. Raises ValueError."""
    return _quantity(text, _BYTES, "B", "a size: write 500MB or 2GB")


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: ``1 sample``, ``2,000 samples``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def sized(number: float) -> str:
    """Return a number of bytes with three digits in the unit that fits: ``1.5 MB``."""
    unit = max((unit for unit, factor in _BYTES.items() if factor <= number), key=_BYTES.__getitem__, default="B")
    return f"{number / _BYTES[unit]:.3g} {unit}"


def _quantity(text: str | float, factors: dict[str, float] | dict[str, int], default: str, wanted: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)", str(text).strip())
    if match is None or (match[2] or default) not in factors:
        raise ValueError(f"{text!r} is not {wanted}")
    return float(match[1]) * factors[match[2] or default]
