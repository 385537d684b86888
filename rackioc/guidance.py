"""What the web server is told of the instruments: what to be careful about, and what to do in an alarm."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from drivers.base import Point, RecordType
from drivers.caen import bits, roles
from exports import guidance
from exports.rack import ARCHIVER, IOC, Instrument, Pv
from ioc import health, status
from rackioc import archive_status
from rackioc.config.config import Config

_LETS_OUT = "it may let high voltage out"
_WHOLE_CRATE = "it acts on the whole crate"

# A parameter of a channel or board of a crate
_ON_BOARD = re.compile(r"S\d\d+:(?:C\d\d+:)?(.+)")


def kinds(config: Config) -> dict[str, str]:
    """Return the instruments with the names of their drivers, the IOC and its archiver among them."""
    found = {each.name: type(each.driver).__module__.split(".")[1] for each in config.instruments}
    found[status.NAME] = IOC
    if config.archive is not None:
        found[archive_status.NAME] = ARCHIVER
    return found


def words() -> dict[str, str]:
    """Return the meaning of each status bit of a crate's channels."""
    return {name: text for name, (_, text) in bits.BITS.items()}


def remedy(kind: str, prefix: str, point: str) -> str:
    """Return what to do about a point that is in alarm."""
    instrument = Instrument(prefix.removesuffix(":"), kind, prefix, ())
    return guidance.remedy(instrument, Pv(f"{prefix}{point}", Point(name=point, rtyp=RecordType.ai)))


def caution(config: Config) -> Callable[[str, Sequence[str], object], str]:
    """Return what says why a put asks for a confirmation: to switch off never does."""
    safe = _safe_values(config)
    crates = _crates(config)

    def why(record: str, words: Sequence[str], value: object) -> str:
        if record in safe:
            return "" if _index(words, value) == safe[record] else _LETS_OUT
        crate = next((prefix for prefix in crates if record.startswith(prefix)), None)
        return "" if crate is None else _in_a_crate(record.removeprefix(crate), words, value)

    return why


def makes_safe(config: Config) -> Callable[[str, Sequence[str], object], bool]:
    """Return what says whether a put makes things safe: an Off, the kill of a crate."""
    safe = _safe_values(config)
    crates = _crates(config)

    def does(record: str, words: Sequence[str], value: object) -> bool:
        index = _index(words, value)
        if record in safe:
            return index == safe[record]
        crate = next((prefix for prefix in crates if record.startswith(prefix)), None)
        if crate is None or index is None:
            return False
        section, _, name = record.removeprefix(crate).partition(":")
        if section == "Cmd":
            return index == 1 and roles.is_kill(name)
        parameter = _ON_BOARD.fullmatch(record.removeprefix(crate))
        return parameter is not None and roles.is_switch(parameter[1]) and index == roles.off_state(words)

    return does


def _crates(config: Config) -> list[str]:
    """Return how the names of the records of each crate begin."""
    return [f"{config.prefix}{name}:" for name, kind in kinds(config).items() if kind == "caen"]


def _safe_values(config: Config) -> Mapping[str, int]:
    """Return the switches that are known without asking an instrument: record -> the value that makes things safe."""
    return {
        f"{config.prefix}{each.name}:{point.name}": point.safe
        for each in config.instruments
        for point in health.with_health(each.driver.points)
        if point.safe is not None
    }


def _in_a_crate(point: str, words: Sequence[str], value: object) -> str:
    section, _, name = point.partition(":")
    if section == "Cmd":
        return "" if _index(words, value) == 0 or roles.is_kill(name) else _WHOLE_CRATE
    if section == "Sys":
        return _WHOLE_CRATE
    parameter = _ON_BOARD.fullmatch(point)
    if parameter is not None and roles.is_switch(parameter[1]):
        off = roles.off_state(words)
        return "" if off is not None and _index(words, value) == off else _LETS_OUT
    return ""


def _index(words: Sequence[str], value: object) -> int | None:
    """Return the number of a state that is put as its word, or as a number."""
    if isinstance(value, str):
        if value in words:
            return list(words).index(value)
        return int(value) if value.strip().isdecimal() else None
    return int(value) if isinstance(value, int | float) and value == int(value) else None
