"""Screens of a crate: the crate, each board as a table of channels, the channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from exports import places
from exports.crate import Board, Channel, boards, of_the_crate
from exports.rack import Instrument, Pv
from exports.screens.bob import WIDTH, Display, Place
from exports.screens.lines import Line, Section, lines
from exports.screens.palette import HEADING, TEXT, Font
from exports.screens.plots import plot, trace
from exports.screens.sheet import BOTTOM, GAP, MARGIN, TOP, Link, Screens, setting

# Column of the table -> its width, and the parameters of the families of crates that stand in it: the first that a
# channel has
_COLUMNS = (
    ("Channel", 56, ()),
    ("Name", 96, ("Name_RBV", "Name")),
    ("V", 98, ("VMon",)),
    ("I", 98, ("IMon", "IMonH", "IMonL")),
    ("V set", 98, ("V0Set", "VSet")),
    ("I set", 98, ("I0Set", "ISet")),
    ("Switch", 84, ("Pw",)),
    ("Status", 262, ("Status",)),
)
_TABLE = sum(width for _, width, _ in _COLUMNS) + GAP * (len(_COLUMNS) - 1)
# Lines of a table at most, and their height if there are few
_MOST, _HIGHEST = 32, 34
_SUMMARY = 34
# Below it a plot has no room for its legend
_LOWEST_PLOT = 240
# What a board tells about itself above its table
_OF_A_BOARD = ("Model", "Serial", "Alarm", "Temp", "HVMax")


def crate_screens(screens: Screens, instrument: Instrument, stem: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of the files of a crate."""
    found = boards(instrument)
    own = [pv for pv in of_the_crate(instrument) if not pv.point.name.startswith("Sys:")]
    properties = [pv for pv in of_the_crate(instrument) if pv.point.name.startswith("Sys:")]
    sections = [
        Section("Crate", tuple(lines(own, instrument.prefix))),
        Section("Boards", tuple(_boards(found, stem))),
        Section("Properties of the crate", tuple(lines(properties, f"{instrument.prefix}Sys:"))),
    ]
    yield from screens.pages(f"{stem}.bob", instrument.name, sections)
    for board in found:
        yield from _BoardScreens(screens, instrument, stem, board).files()


def _boards(found: list[Board], stem: str) -> Iterator[Line]:
    """Yield a line for each board: its alarm, or what else it has."""
    for board in found:
        shown = board.summary or next(iter(board.pvs.values()), None)
        yield Line(board.label, shown, file=places.board_screen(stem, board.label))


class _BoardScreens:
    """The screens of one board."""

    def __init__(self, screens: Screens, instrument: Instrument, stem: str, board: Board) -> None:
        self._screens = screens
        self._board = board
        self._title = f"{instrument.name} {board.label}"
        self._stem = f"{stem}_{board.label}"
        self._crate = Link(instrument.name, f"{stem}.bob")
        self._here = Link(self._title, f"{self._stem}.bob")
        # Screens of channels: those that have the same parameters, with the same words, share one
        self._kinds: dict[tuple[object, ...], list[Channel]] = {}
        for channel in board.channels.values():
            self._kinds.setdefault(_kind(channel), []).append(channel)

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield name and text of each file."""
        plots = list(self._plots())
        channels = list(self._board.channels.values())
        pages = [channels[start : start + 2 * _MOST] for start in range(0, len(channels), 2 * _MOST)] or [[]]
        for number, page in enumerate(pages):
            yield self._page_name(number), self._table(number, len(pages), page, [name for name, _ in plots])
        yield from plots
        more = [self._here, self._crate]
        section = Section("Board", tuple(lines(self._board.pvs.values(), f"{self._board.name}:")))
        yield from self._screens.pages(f"{self._stem}_board.bob", f"{self._title}: board", [section], more)
        for index, alike in enumerate(self._kinds.values()):
            yield from self._channel(index, alike[0])

    def _page_name(self, number: int) -> str:
        return f"{self._stem}.bob" if number == 0 else f"{self._stem}_{number + 1}.bob"

    def _plots(self) -> Iterator[tuple[str, str]]:
        for title, candidates in (("voltages", _COLUMNS[2][2]), ("currents", _COLUMNS[3][2])):
            pvs = [(channel, _first(channel, candidates)) for channel in self._board.channels.values()]
            traces = [trace(pv, pv.name, channel.label) for channel, pv in pvs if pv is not None]
            if traces:
                text = plot(f"{self._title} {title}", traces, self._screens.header)
                yield f"{self._stem}_{title}.plt", text

    def _table(self, number: int, pages: int, channels: list[Channel], plots: list[str]) -> str:
        """Return the table of a page's channels: one block, or two; beside one block a plot."""
        more = [Link(f"Page {page + 1}", self._page_name(page)) for page in range(pages) if page != number]
        more += [Link(name.rpartition("_")[2].removesuffix(".plt").capitalize(), name) for name in plots]
        more += [Link("Board", f"{self._stem}_board.bob"), self._crate]
        display = self._screens.display(self._title, more)
        self._summary(display)
        blocks = 1 if len(channels) <= _MOST // 4 * 3 else 2
        rows = -(-len(channels) // blocks)
        top = TOP + _SUMMARY
        height = min(_HIGHEST, (BOTTOM - top) // (rows + 1))
        for block in range(blocks):
            left = MARGIN + block * (WIDTH // 2 - MARGIN // 2)
            self._heading(display, left, top, height - GAP)
            for row, channel in enumerate(islice(channels, block * rows, (block + 1) * rows), start=1):
                self._row(display, left, top + row * height, height - GAP, channel)
        free = _beside(top) if blocks == 1 else _below(top + (rows + 1) * height)
        for place, name in zip(free, plots, strict=False):
            display.plot(place, name, {})
        return display.text(self._screens.header)

    def _summary(self, display: Display) -> None:
        left = MARGIN
        for name in filter(self._board.pvs.__contains__, _OF_A_BOARD):
            pv = self._board.pvs[name]
            display.label(Place(left, TOP, 70, 24), name, Font.SMALL, TEXT)
            display.value(Place(left + 76, TOP, 150, 24), pv.name, pv.point.desc, Font.SMALL)
            left += 250

    def _heading(self, display: Display, left: int, top: int, height: int) -> None:
        for title, width, _ in _COLUMNS:
            display.label(Place(left, top, width, height), f" {title}", Font.SMALL, TEXT, HEADING)
            left += width + GAP

    def _row(self, display: Display, left: int, top: int, height: int, channel: Channel) -> None:
        for title, width, candidates in _COLUMNS:
            place = Place(left, top, width, height)
            pv = _first(channel, candidates)
            if not candidates:
                index = list(self._kinds).index(_kind(channel))
                display.opens(place, channel.label, self._channel_file(index), {"C": channel.label})
            elif pv is None:
                pass
            elif title == "Status":
                # the status in words: the alarm message of the word (docs/reference/pvs.md)
                display.value(place, f"{pv.name}.AMSG", pv.point.desc, Font.SMALL)
            elif pv.point.rtyp.writable and title != "Name":
                setting(display, place, Line(title, set=pv))
            else:
                display.value(place, pv.name, pv.point.desc, Font.SMALL if title == "Name" else Font.NORMAL)
            left += width + GAP

    def _channel_file(self, index: int) -> str:
        return f"{self._stem}_channel.bob" if index == 0 else f"{self._stem}_channel{index + 1}.bob"

    def _channel(self, index: int, channel: Channel) -> Iterator[tuple[str, str]]:
        """Yield the screen of all channels with the same parameters, and its plot; the macro C says which it is."""
        start, macro = f"{channel.name}:", f"{self._board.name}:$(C):"
        label = f"{self._board.label}{channel.label}"
        pvs = [_without_label(pv, label) for pv in channel.pvs.values()]
        names = dict.fromkeys(name.removesuffix("_RBV") for _, _, candidates in _COLUMNS for name in candidates)
        first = [pv for name in names for pv in pvs if pv.name.removeprefix(start) in {name, f"{name}_RBV"}]
        bits = [pv for pv in pvs if pv.name.startswith(f"{start}Status")]
        rest = [pv for pv in pvs if pv not in first and pv not in bits]
        words = [Line("In words", pv, read_name=f"{macro}Status.AMSG") for pv in bits if pv.name == f"{start}Status"]
        sections = [
            Section("Channel", tuple(lines([pv for pv in first if pv not in bits], start, macro))),
            Section("Settings", tuple(lines(rest, start, macro))),
            Section("Status", (*words, *lines(bits, start, macro))),
        ]
        file = self._channel_file(index)
        traces = [
            trace(pv, f"{macro}{pv.name.removeprefix(start)}", pv.name.removeprefix(start))
            for _, _, candidates in _COLUMNS[2:4]
            for pv in [_first(channel, candidates)]
            if pv is not None
        ]
        plotted = None
        if traces:
            name = file.replace(".bob", ".plt")
            yield name, plot(f"{self._title} $(C)", traces, self._screens.header)
            plotted = name, {"C": "$(C)"}
        more = [self._here, self._crate]
        if traces:
            more.insert(0, Link("Data Browser", pvs=tuple(each.pv for each in traces)))
        yield from self._screens.pages(file, f"{self._title} $(C)", sections, more, plotted)


def _beside(top: int) -> list[Place]:
    """Return the places of two plots at the right of a table."""
    left = MARGIN + _TABLE + MARGIN
    height = (BOTTOM - top - GAP) // 2
    return [Place(left, each, WIDTH - MARGIN - left, height) for each in (top, top + height + GAP)]


def _below(top: int) -> list[Place]:
    """Return the places of two plots below two tables, if there is room for them."""
    if BOTTOM - top < _LOWEST_PLOT:
        return []
    return [Place(left, top, _TABLE, BOTTOM - top) for left in (MARGIN, MARGIN + WIDTH // 2 - MARGIN // 2)]


def _kind(channel: Channel) -> tuple[object, ...]:
    """Return what channels have in common that share a screen."""
    return tuple((name, pv.point.states) for name, pv in channel.pvs.items())


def _first(channel: Channel, candidates: tuple[str, ...]) -> Pv | None:
    return next((channel.pvs[name] for name in candidates if name in channel.pvs), None)


def _without_label(pv: Pv, label: str) -> Pv:
    """Return a PV whose description does not name one of the channels that a screen is for."""
    return replace(pv, point=replace(pv.point, desc=pv.point.desc.removeprefix(f"{label} ")))
