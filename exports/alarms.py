"""The configuration of Phoebus' alarm server: a tree by instrument, the summaries of crates and boards first.

Format: Phoebus, XmlModelReader.java (elements, defaults; a PV may occur only once in a file).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from xml.etree.ElementTree import Element

from exports import places
from exports.crate import Board, Channel, boards, of_the_crate
from exports.guidance import meaning, remedy
from exports.levels import levels
from exports.markup import add, document
from exports.rack import ARCHIVER, IOC, Instrument, Pv, Rack

# Kind -> points that have an alarm from the driver, besides all that have limits or states with a severity
_FROM_THE_DRIVER = {
    IOC: ("HEARTBEAT",),
    ARCHIVER: ("Connected", "Database"),
    "technix": ("VMon", "IMon"),
    "se521": ("T?",),
}
# What is in alarm until somebody has looked, although the cause may be gone: trips and losses
_LATCHING = ("S*:Alarm*", "Fault", "Interlock", "Lost")
# Point -> seconds that an alarm must last. A lost connection is often back at the first tries; what makes things
# safe is shown within a second or two; all values of a crate are INVALID while it is logged in to again
_DELAYS = (("Conn", 10), ("Overruns", 10), ("*Pending", 3), ("*Alarm*", 3), ("T?*", 3))
# What of a channel can be in alarm: its status word has the severity of its worst bit
_OF_A_CHANNEL = ("Status", "VMon", "IMon", "IMonH", "IMonL", "*:*Pending")


def alarms(rack: Rack, folder: str = "") -> str:
    """Return the alarm tree as XML. folder: where the screens are, as a path or URL; "": their names alone."""
    # the name is that of a topic of Kafka, which has letters, digits, "." "_" "-" alone
    root = Element("config", name=re.sub(r"[^A-Za-z0-9_-]+", "-", rack.prefix).strip("-") or "rackioc")
    screens = places.screens(rack)
    stems = places.stems(rack)
    for instrument in rack.instruments:
        tree = _Tree(instrument, stems[instrument.name], folder)
        tree.add(add(root, "component", name=instrument.name), screens[instrument.name])
    return document(root, rack.header(f"alarms --screens {folder}" if folder else "alarms"))


class _Tree:
    """The part of the tree that belongs to one instrument."""

    def __init__(self, instrument: Instrument, stem: str, folder: str) -> None:
        self._instrument = instrument
        self._stem = stem
        self._folder = f"{folder.rstrip('/')}/" if folder else ""

    def add(self, parent: Element, screen: str) -> None:
        """Add all of the instrument: what tells most first."""
        for pv in _judged(self._instrument):
            self._pv(parent, pv, screen)
        for board in boards(self._instrument):
            self._board(parent, board)
        self._display(parent, screen)

    def _board(self, parent: Element, board: Board) -> None:
        component = add(parent, "component", name=board.label)
        screen = places.board_screen(self._stem, board.label)
        if board.summary is not None:
            self._pv(component, board.summary, screen)
        for pv in board.pvs.values():
            if pv is not board.summary and (pv.point.name.endswith(":BdStatus") or levels(pv.point)):
                self._pv(component, pv, screen, enabled=board.summary is None)
        for channel in board.channels.values():
            self._channel(component, channel, screen, enabled=board.summary is None)
        self._display(component, screen)

    def _channel(self, parent: Element, channel: Channel, screen: str, *, enabled: bool) -> None:
        component = add(parent, "component", name=channel.label)
        for name, pv in channel.pvs.items():
            if any(fnmatchcase(name, glob) for glob in _OF_A_CHANNEL):
                self._pv(component, pv, screen, enabled=enabled)
        self._display(component, screen)

    def _pv(self, parent: Element, pv: Pv, screen: str, *, enabled: bool = True) -> None:
        """Add a PV. One that a summary stands for is not enabled: one trip is one alarm, not three."""
        name = pv.point.name
        element = add(parent, "pv", name=pv.name)
        add(element, "description", f"{self._instrument.name}: {pv.point.desc or name}")
        add(element, "enabled", enabled)
        add(element, "latching", any(fnmatchcase(name, glob) for glob in _LATCHING))
        # the boards and the connection speak for the crate
        add(element, "annunciating", enabled and not (pv.point.worst_of and ":" not in name))
        delay = next((seconds for glob, seconds in _DELAYS if fnmatchcase(name, glob)), 0)
        if delay:
            add(element, "delay", delay)
        for title, details in (("Meaning", meaning(self._instrument, pv)), ("To do", remedy(self._instrument, pv))):
            guidance = add(element, "guidance")
            add(guidance, "title", title)
            add(guidance, "details", details)
        self._display(element, screen)

    def _display(self, parent: Element, screen: str) -> None:
        display = add(parent, "display")
        add(display, "title", screen.removesuffix(".bob"))
        add(display, "details", f"{self._folder}{screen}")


def _judged(instrument: Instrument) -> Iterator[Pv]:
    """Yield what can be in alarm of an instrument, its boards left out: summary, connection, the rest."""
    own = of_the_crate(instrument)
    yield from (pv for pv in own if pv.point.worst_of)
    yield from (pv for pv in own if not pv.point.worst_of and _judges(instrument, pv))


def _judges(instrument: Instrument, pv: Pv) -> bool:
    if pv.health:
        # the IOC and the archiver have a sign of life of their own
        return instrument.kind not in {IOC, ARCHIVER} and pv.point.name in {"Conn", "Overruns"}
    globs = _FROM_THE_DRIVER.get(instrument.kind, ())
    return bool(levels(pv.point)) or any(fnmatchcase(pv.point.name, glob) for glob in globs)
