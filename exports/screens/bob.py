"""A Phoebus display as XML: the widgets that the screens use, with the properties that they set.

Formats: Phoebus, app/display/model (widget versions, properties, ordinals of enums) and app/display/actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple
from xml.etree.ElementTree import Element

from exports.markup import add, document
from exports.screens.palette import BACKGROUND, BUTTON, Colour, Font

WIDTH, HEIGHT = 1920, 1080
# Widgets with another version than 2.0.0: an older one would be converted when it is read
_VERSIONS = {"action_button": "3.0.0", "textentry": "3.0.0"}
_LEFT = 0
_TOP, _MIDDLE = 0, 1
_TEXT = 6


class Confirm(IntEnum):
    """When a switch asks before it writes (ordinals of Phoebus)."""

    NEVER = 0
    BOTH = 1
    ON = 2
    OFF = 3


class Place(NamedTuple):
    """Where a widget is, in points from the upper left corner."""

    x: int
    y: int
    width: int
    height: int


class Display:
    """A display that widgets are added to."""

    def __init__(self, title: str) -> None:
        self._root = Element("display", version="2.0.0")
        for tag, value in (("name", title), ("width", WIDTH), ("height", HEIGHT)):
            add(self._root, tag, value)
        _colour(self._root, "background_color", BACKGROUND)
        add(self._root, "grid_visible", False)

    def text(self, header: Sequence[str]) -> str:
        """Return the display as a file."""
        return document(self._root, header)

    def label(self, place: Place, text: str, font: Font, colour: Colour, background: Colour | None = None) -> None:
        """Add a fixed text, on a background or on none."""
        widget = self._widget("label", place)
        add(widget, "text", text)
        _font(widget, font)
        _colour(widget, "foreground_color", colour)
        if background is not None:
            _colour(widget, "background_color", background)
            add(widget, "transparent", False)
        add(widget, "vertical_alignment", _MIDDLE)
        add(widget, "wrap_words", False)

    def value(self, place: Place, pv: str, tooltip: str, font: Font) -> None:
        """Add the value of a PV, with its unit, in a border with the colour of its alarm."""
        widget = self._pv_widget("textupdate", place, pv, tooltip)
        _font(widget, font)
        add(widget, "horizontal_alignment", _LEFT)
        add(widget, "vertical_alignment", _MIDDLE)
        add(widget, "wrap_words", False)

    def sentence(self, place: Place, pv: str, tooltip: str) -> None:
        """Add a text of any length, in several lines: its characters, for Channel Access cuts a text after 39."""
        widget = self._pv_widget("textupdate", place, f"{pv}.VAL$", tooltip, value="")
        _font(widget, Font.SMALL)
        add(widget, "format", _TEXT)
        add(widget, "horizontal_alignment", _LEFT)
        add(widget, "vertical_alignment", _TOP)
        add(widget, "wrap_words", True)

    def entry(self, place: Place, pv: str, tooltip: str, font: Font) -> None:
        """Add a field into which a number or a text is typed. Phoebus has no confirmation for it."""
        _font(self._pv_widget("textentry", place, pv, tooltip), font)

    def switch(self, place: Place, pv: str, tooltip: str, words: Sequence[str], confirm: Confirm) -> None:
        """Add a switch of two states with their words."""
        widget = self._pv_widget("bool_button", place, pv, tooltip)
        add(widget, "off_label", _literal(words[0]))
        add(widget, "on_label", _literal(words[1]))
        add(widget, "show_led", True)
        _font(widget, Font.SMALL)
        add(widget, "show_confirm_dialog", int(confirm))
        add(widget, "confirm_message", "Change $(pv_name)?")

    def choice(self, place: Place, pv: str, tooltip: str) -> None:
        """Add a list of states to choose from; it asks before it writes."""
        widget = self._pv_widget("combo", place, pv, tooltip)
        _font(widget, Font.SMALL)
        add(widget, "show_confirm_dialog", True)
        add(widget, "confirm_message", "Change $(pv_name)?")

    def command(self, place: Place, pv: str, tooltip: str, word: str, *, confirm: bool) -> None:
        """Add a button that puts a word."""
        word = _literal(word)
        widget = self._button(place, word, _literal(tooltip))
        add(widget, "pv_name", pv)
        add(widget, "show_confirm_dialog", confirm)
        add(widget, "confirm_message", "$(pv_name)?")
        action = self._action(widget, "write_pv", word)
        add(action, "pv_name", "$(pv_name)")
        add(action, "value", word)

    def opens(self, place: Place, text: str, file: str, macros: Mapping[str, str], tooltip: str = "") -> None:
        """Add a button that opens another display in the place of this one."""
        widget = self._button(place, text, tooltip or f"Open {file}")
        action = self._action(widget, "open_display", text)
        add(action, "file", file)
        if macros:
            inside = add(action, "macros")
            for name, value in macros.items():
                add(inside, name, value)
        add(action, "target", "replace")

    def plots(self, place: Place, text: str, file: str) -> None:
        """Add a button that opens a plot in the Data Browser."""
        widget = self._button(place, text, f"Open {file} in the Data Browser")
        add(self._action(widget, "open_file", text), "file", file)

    def browses(self, place: Place, text: str, pvs: Sequence[str]) -> None:
        """Add a button that opens the Data Browser with the last hour of PVs."""
        widget = self._button(place, text, "Open the last hour in the Data Browser")
        action = self._action(widget, "open_data_browser", text)
        add(action, "pv_name", " ".join(pvs))
        add(action, "timeframe", "1 hour")

    def plot(self, place: Place, file: str, macros: Mapping[str, str]) -> None:
        """Add a plot inside the display."""
        widget = self._widget("databrowser", place)
        add(widget, "file", file)
        if macros:
            inside = add(widget, "macros")
            for name, value in macros.items():
                add(inside, name, value)

    def _button(self, place: Place, text: str, tooltip: str) -> Element:
        widget = self._widget("action_button", place)
        add(widget, "text", text)
        add(widget, "tooltip", tooltip)
        _font(widget, Font.SMALL)
        _colour(widget, "background_color", BUTTON)
        return widget

    def _action(self, widget: Element, kind: str, description: str) -> Element:
        action = add(add(widget, "actions"), "action", type=kind)
        add(action, "description", description)
        return action

    def _pv_widget(self, kind: str, place: Place, pv: str, tooltip: str, *, value: str = "$(pv_value)") -> Element:
        widget = self._widget(kind, place)
        add(widget, "pv_name", pv)
        add(widget, "tooltip", "\n".join(filter(None, (_literal(tooltip), "$(pv_name)", value))))
        add(widget, "border_alarm_sensitive", True)
        return widget

    def _widget(self, kind: str, place: Place) -> Element:
        widget = add(self._root, "widget", type=kind, version=_VERSIONS.get(kind, "2.0.0"))
        add(widget, "name", f"{kind} {len(self._root)}")
        for tag, value in place._asdict().items():
            add(widget, tag, value)
        return widget


def _literal(text: str) -> str:
    """Return a text of a record so that Phoebus shows it as it is: a ``$`` in it is not the begin of a macro."""
    return text.replace("$", r"\$")


def _font(widget: Element, font: Font) -> None:
    attributes = {"name": font.label, "family": "Liberation Sans", "style": font.style, "size": f"{font.size:.1f}"}
    add(add(widget, "font"), "font", **attributes)


def _colour(widget: Element, tag: str, colour: Colour) -> None:
    red, green, blue = map(str, colour)
    add(add(widget, tag), "color", red=red, green=green, blue=blue)
