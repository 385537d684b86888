"""Displays with a title bar, filled with sections from the upper left: column by column, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drivers.base import RecordType
from exports.screens.bob import HEIGHT, WIDTH, Confirm, Display, Place
from exports.screens.lines import Line, Section
from exports.screens.palette import BAR, HEADING, ON_BAR, TEXT, Font

MARGIN = 20
GAP = 6
BAR_HEIGHT = 50
TOP = BAR_HEIGHT + 14
BOTTOM = HEIGHT - 12
# Height of a line, and of what is in it
LINE, INSIDE = 30, 24
COLUMN = 455
COLUMN_GAP = 20
COLUMNS = 4
_LABEL, _READ, _SET = 165, 136, 142
_NAVIGATION = 130


@dataclass(frozen=True)
class Link:
    """A button of the title bar: its text, and the file that it opens, or the PVs for the Data Browser."""

    text: str
    file: str = ""
    pvs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Screens:
    """What all screens of a rack have: the header of their files and the buttons of their title bars."""

    header: Sequence[str]
    links: Sequence[Link]

    def display(self, title: str, more: Sequence[Link] = ()) -> Display:
        """Return a display with a title bar; more: buttons before those that all have."""
        display = Display(title)
        links = [*more, *self.links]
        left = WIDTH - len(links) * (_NAVIGATION + GAP)
        bar = Place(0, 0, left - GAP, BAR_HEIGHT)
        display.label(bar, f"  {title}", Font.TITLE, ON_BAR, BAR)
        for index, link in enumerate(links):
            place = Place(left + index * (_NAVIGATION + GAP), 8, _NAVIGATION, BAR_HEIGHT - 16)
            if link.pvs:
                display.browses(place, link.text, link.pvs)
            elif link.file.endswith(".plt"):
                display.plots(place, link.text, link.file)
            else:
                display.opens(place, link.text, link.file, {})
        return display

    def pages(
        self,
        file: str,
        title: str,
        sections: Sequence[Section],
        more: Sequence[Link] = (),
        plot: tuple[str, Mapping[str, str]] | None = None,
    ) -> Iterator[tuple[str, str]]:
        """Yield file name and text of each page that the sections need.

        plot: a plot and its macros, in the right half of each page.
        """
        columns = COLUMNS if plot is None else COLUMNS // 2
        pages = _pages(sections, columns)
        names = [file if number == 0 else file.replace(".bob", f"_{number + 1}.bob") for number in range(len(pages))]
        for number, page in enumerate(pages):
            turning = [Link("Next page", names[number + 1])] if number + 1 < len(pages) else []
            turning += [Link("Page before", names[number - 1])] if number else []
            numbered = title if len(pages) == 1 else f"{title}, page {number + 1} of {len(pages)}"
            display = self.display(numbered, [*turning, *more])
            for column, content in enumerate(page):
                _column(display, MARGIN + column * (COLUMN + COLUMN_GAP), content)
            if plot is not None:
                left = MARGIN + columns * (COLUMN + COLUMN_GAP)
                display.plot(Place(left, TOP, WIDTH - MARGIN - left, BOTTOM - TOP), *plot)
            yield names[number], display.text(self.header)


def _pages(sections: Sequence[Section], columns: int) -> list[list[list[Section]]]:
    """Return pages of columns of sections: one page with columns of about the same length, if one is enough."""
    most = (BOTTOM - TOP) // LINE
    longest = max((section.rows + 2 for section in sections), default=1)
    for length in range(min(longest, most), most + 1):
        filled = _columns(sections, length)
        if len(filled) <= columns:
            break
    return [filled[start : start + columns] for start in range(0, len(filled), columns)]


def _columns(sections: Sequence[Section], length: int) -> list[list[Section]]:
    """Return columns of that many rows; a section that is longer goes on in the next, an empty one is left out."""
    filled: list[list[Section]] = [[]]
    free = length
    for section in sections:
        needed = section.rows + 1
        # a long section may begin where there is room for a third of a column
        if filled[-1] and free < (needed if needed <= length else length // 3):
            filled.append([])
            free = length
        rest = section
        while rest.lines:
            part, rest = rest.split(free - 1)
            filled[-1].append(part)
            # an empty row follows
            free -= part.rows + 2
            if rest.lines:
                filled.append([])
                free = length
    return filled


def _column(display: Display, left: int, sections: Sequence[Section]) -> None:
    top = TOP
    for section in sections:
        display.label(Place(left, top, COLUMN, INSIDE), f" {section.title}", Font.HEADING, TEXT, HEADING)
        top += LINE
        for line in section.lines:
            show(display, left, top, line)
            top += line.rows * LINE
        top += LINE


def show(display: Display, left: int, top: int, line: Line) -> None:
    """Add a line: label, value, and what sets it."""
    label = Place(left, top, _LABEL, INSIDE)
    if line.file:
        display.opens(label, line.label, line.file, line.macros)
    else:
        display.label(label, line.label, Font.SMALL, TEXT)
    second = left + _LABEL + GAP
    third = second + _READ + GAP
    if line.read is not None:
        wide = line.set is None
        width = _READ + GAP + _SET if wide else _READ
        text = line.read.point.rtyp in {RecordType.stringin, RecordType.stringout}
        name = line.read_name or line.read.name
        place = Place(second, top, width, INSIDE + (line.rows - 1) * LINE)
        if line.is_long:
            display.sentence(place, name, line.read.point.desc)
        else:
            display.value(place, name, line.read.point.desc, Font.SMALL if text else Font.NORMAL)
    if line.set is not None:
        text = line.set.point.rtyp is RecordType.stringout
        place = Place(second, top, _READ + GAP + _SET, INSIDE) if text else Place(third, top, _SET, INSIDE)
        setting(display, place, line)


def setting(display: Display, place: Place, line: Line) -> None:
    """Add what sets a PV: a switch, a choice, a button, or a field to type into."""
    assert line.set is not None
    point = line.set.point
    name = line.set_name or line.set.name
    if point.command or (point.rtyp is RecordType.bo and not point.follows):
        # what makes things safe is not to be asked for twice
        display.command(place, name, point.desc, point.states[1], confirm=point.safe != 1)
    elif point.rtyp is RecordType.bo:
        display.switch(place, name, point.desc, point.states, confirmation(point.safe))
    elif point.rtyp is RecordType.mbbo:
        display.choice(place, name, point.desc)
    else:
        display.entry(place, name, point.desc, Font.SMALL if point.rtyp is RecordType.stringout else Font.NORMAL)


def confirmation(safe: int | None) -> Confirm:
    """Return when a switch asks: never before it makes things safe."""
    return {None: Confirm.BOTH, 0: Confirm.ON, 1: Confirm.OFF}[safe]
