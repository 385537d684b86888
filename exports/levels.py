"""When a PV is in alarm, in words: from the limits and the severities of its point."""

from __future__ import annotations

from drivers.base import Point, Severity


def levels(point: Point) -> list[str]:
    """Return a phrase for each limit or state that gives an alarm: "MAJOR from 400 uA", "MAJOR: Open"."""
    return [*_limits(point), *_states(point)]


def number(point: Point, value: float) -> str:
    """Return a number with the unit of a point."""
    return f"{value:g} {point.egu}".rstrip()


def _limits(point: Point) -> list[str]:
    if not point.rtyp.numeric:
        return []
    limits = (
        (point.hihi, point.hhsv, "from {} up"),
        (point.high, point.hsv, "from {} up"),
        (point.low, point.lsv, "from {} down"),
        (point.lolo, point.llsv, "from {} down"),
    )
    return [
        f"{severity.name} {words.format(number(point, limit))}"
        for limit, severity, words in limits
        if limit is not None and severity
    ]


def _states(point: Point) -> list[str]:
    if point.worst_of or not point.rtyp.states:
        return []
    bad = zip(point.states, point.severities, strict=False)
    return [f"{severity.name}: {word}" for word, severity in bad if severity is not Severity.NO_ALARM]
