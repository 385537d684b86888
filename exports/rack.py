"""A configuration's PVs as all files are made from them; ``rackioc.listing`` fills it in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drivers.base import Point

# Kinds of the two instruments that are no drivers of the configuration
IOC = "ioc"
ARCHIVER = "archiver"


@dataclass(frozen=True)
class Pv:
    """A PV: its name, its point as the site wants it, and the period in seconds of its scan group (None: no scan).

    health: whether it is about the connection, as every instrument has it; archived: whether the configuration's
    archiver keeps it; sampled: the period in seconds at which it does so (None: each update).
    """

    name: str
    point: Point
    period: float | None = None
    health: bool = False
    archived: bool = False
    sampled: float | None = None


@dataclass(frozen=True)
class Instrument:
    """An instrument with its PVs in the order in which they are served.

    kind: name of its driver, or ``IOC`` or ``ARCHIVER``; complete: False if it was asked what it has, in vain.
    """

    name: str
    kind: str
    prefix: str
    pvs: tuple[Pv, ...]
    complete: bool = True

    def pv(self, point: str) -> Pv | None:
        """Return the PV of a point; None if the instrument has no such point."""
        return next((pv for pv in self.pvs if pv.point.name == point), None)


@dataclass(frozen=True)
class Rack:
    """All that a configuration serves. file: its name, without folders; version: of rackioc.

    simulated: names of the instruments that are as a simulation says, and not as they are.
    """

    file: str
    version: str
    prefix: str
    instruments: tuple[Instrument, ...]
    simulated: tuple[str, ...] = ()

    @property
    def pvs(self) -> Iterator[Pv]:
        """Yield all PVs, instrument by instrument."""
        for instrument in self.instruments:
            yield from instrument.pvs

    def header(self, command: str) -> list[str]:
        """Return the lines that say from what a file was made. They hold no time: the same rack, the same bytes."""
        missing = [each.name for each in self.instruments if not each.complete]
        made = f"Made by rackioc {self.version} from {self.file}."
        again = f"Do not edit; make it again: rackioc {command} {self.file}{' --simulated' if self.simulated else ''}"
        invented = [f"Simulated: what {name} has was asked of a simulation." for name in self.simulated]
        return [made, again, *invented, *(f"Incomplete: {name} could not be asked what it has." for name in missing)]
