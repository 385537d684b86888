"""What each PV of an instrument has to show: which part of the true state, how exactly, and what reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sim.events import Event, Scalar
from tests.campaign.recording import Recording

# Seconds between scans, as the drivers have them if nothing is configured
STATUS, MONITOR, SETTINGS, TEMPERATURES = 0.25, 1.0, 10.0, 1.0
PERIODS = {"technix": STATUS, "caen": MONITOR, "se521": TEMPERATURES}
# What a crate measures; all else is a setting, or of the board
MEASURED = {"VMon", "IMon", "Status", "Temp", "BdStatus"}
FULL_KV, FULL_MA = 100.0, 50.0


@dataclass(frozen=True)
class Shown:
    """A PV that shows a part of the true state.

    name    instrument and point; key: the part of the state
    period  of its scan group (s)
    prompt  True for what the status tells of: it has to follow as fast as the status does
    agrees  whether a value that is shown fits one of the state
    slews   True for what moves through all values between two
    """

    name: str
    instrument: str
    key: str
    period: float
    agrees: Callable[[Any, Scalar], bool]
    prompt: bool = False
    slews: bool = False


def shown(recording: Recording) -> Iterator[Shown]:
    """Yield all PVs of which the truth is known."""
    for instrument, driver in recording.drivers.items():
        yield from {"technix": _technix, "caen": _caen, "se521": _se521}[driver](instrument, recording)


def reads(recording: Recording, instrument: str) -> dict[str, list[float]]:
    """Return when each part of the state was read, with an answer that came as it should."""
    found: dict[str, list[float]] = {}
    driver = recording.drivers[instrument]
    for event in recording.events[instrument]:
        for key in {"technix": _technix_read, "caen": _caen_read, "se521": _se521_read}[driver](event):
            found.setdefault(key, []).append(event.time)
    return found


def near(tolerance: float) -> Callable[[Any, Scalar], bool]:
    """Return what says whether two numbers differ by no more."""

    def agrees(value: Any, true: Scalar) -> bool:
        try:
            return true is not None and math.isclose(float(value), float(true), abs_tol=tolerance, rel_tol=0.002)
        except (TypeError, ValueError):
            return str(value) == str(true)

    return agrees


# ---- Technix ----

_BITS = ("HV", "Mode", "Inhibit")
_OTHER_BITS = ("Interlock", "Fault", "OnCmd", "OffCmd", "Regulation")


def _technix(instrument: str, _: Recording) -> Iterator[Shown]:
    def point(name: str, key: str, tolerance: float = 0.0, *, slews: bool = False) -> Shown:
        return Shown(f"{instrument}:{name}", instrument, key, STATUS, near(tolerance), slews=slews)

    for name in _BITS:
        yield point(f"{name}_RBV", name)
        yield point(name, name)
    for name in _OTHER_BITS:
        yield point(name, name)
    for name, step in (("VSet", FULL_KV / 4095), ("ISet", FULL_MA / 4095)):
        yield point(name, name, step)
        yield point(f"{name}_RBV", name, step)
    yield point("VMon", "VMon", 0.3, slews=True)
    yield point("IMon", "IMon", 0.15, slews=True)


def _technix_read(event: Event) -> Iterator[str]:
    if event.what == "answered":
        match str(event.value).partition(":")[0]:
            case "E":
                yield from (*_BITS, *_OTHER_BITS, "VSet", "ISet")
            case "a1":
                yield "VMon"
            case "a2":
                yield "IMon"


# ---- CAEN ----

_GET = re.compile(r"Get(Ch|Bd)Param (?:(\d+) )?\[([\d, ]+)\] (\w+) .* -> 0$")


def _caen(instrument: str, recording: Recording) -> Iterator[Shown]:
    for key in recording.states[instrument].names(r"S\d\d:(C\d\d:)?\w+"):
        last = key.rpartition(":")[2]
        if last in ("Model", "Alarms"):
            continue
        measured = last in MEASURED or last.startswith("Temp")
        slews = last in ("VMon", "IMon")
        agrees = near(1.2 if slews else 0.06)
        for name in (key, f"{key}_RBV"):
            if f"{instrument}:{name}" in recording.updates:
                period = MONITOR if measured else SETTINGS
                yield Shown(f"{instrument}:{name}", instrument, key, period, agrees, prompt=last == "Pw", slews=slews)


def _caen_read(event: Event) -> Iterator[str]:
    if event.what == "wire" and (call := _GET.match(str(event.value))):
        kind, slot, numbers, name = call.groups()
        for number in map(int, numbers.split(", ")):
            yield f"S{int(slot):02d}:C{number:02d}:{name}" if kind == "Ch" else f"S{number:02d}:{name}"


# ---- SE521 ----


def _se521(instrument: str, recording: Recording) -> Iterator[Shown]:
    states = recording.states[instrument]

    def temperature(channel: int) -> Callable[[Any, Scalar], bool]:
        return lambda value, true: true is not None and math.isclose(value, (float(true) - 320) / 18, abs_tol=0.06)

    for channel in range(4):
        if f"tenths.{channel}" in states:
            period = TEMPERATURES
            yield Shown(f"{instrument}:T{channel + 1}", instrument, f"tenths.{channel}", period, temperature(channel))
            yield Shown(f"{instrument}:T{channel + 1}:Open", instrument, f"open.{channel}", period, near(0))


def _se521_read(event: Event) -> Iterator[str]:
    # a packet of the answer to A: whether all three came, and are whole, only the driver knows
    if event.what == "wire" and str(event.value).startswith("packet"):
        for channel in range(4):
            yield from (f"tenths.{channel}", f"open.{channel}")
