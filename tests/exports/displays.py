"""A model of how Phoebus reads displays and plots: which widgets, properties, actions and ordinals there are.

From its public code (app/display/model, app/display/actions, databrowser3). What it does not know it skips without a
word, so a wrong name is an error here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import matplotlib as mpl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

COMMON = {"name", "class", "x", "y", "width", "height", "visible", "tooltip", "actions", "rules", "scripts"}
OF_A_PV = {"pv_name", "border_alarm_sensitive"}
CONFIRMED = {"show_confirm_dialog", "confirm_message", "password"}
TEXT = {"font", "foreground_color", "background_color", "transparent"}
ALIGNED = {"horizontal_alignment", "vertical_alignment"}
# Type -> version, properties besides COMMON
WIDGETS = {
    "label": ("2.0.0", {"text", "wrap_words", "auto_size"} | TEXT | ALIGNED),
    "textupdate": ("2.0.0", {"format", "precision", "show_units", "wrap_words"} | OF_A_PV | TEXT | ALIGNED),
    "textentry": ("3.0.0", {"format", "precision", "show_units", "enabled"} | OF_A_PV | TEXT),
    "action_button": ("3.0.0", {"text", "enabled", "pv_name", "rotation_step"} | CONFIRMED | TEXT),
    "bool_button": (
        "2.0.0",
        {"bit", "off_label", "on_label", "off_color", "on_color", "show_led", "labels_from_pv", "mode", "enabled"}
        | OF_A_PV
        | CONFIRMED
        | TEXT,
    ),
    "combo": ("2.0.0", {"items", "items_from_pv", "editable", "enabled"} | OF_A_PV | CONFIRMED | TEXT),
    "databrowser": ("2.0.0", {"file", "macros", "show_toolbar", "selection_value_pv"}),
}
BOOLEANS = {"visible", "transparent", "wrap_words", "border_alarm_sensitive", "show_led", "enabled", "grid_visible"}
# Property -> how many ordinals it has
ORDINALS = {"horizontal_alignment": 3, "vertical_alignment": 3, "format": 12, "mode": 3}
ACTIONS = {
    "open_display": {"description", "file", "macros", "target", "name"},
    "write_pv": {"description", "pv_name", "value"},
    "open_data_browser": {"description", "pv_name", "timeframe"},
    "open_file": {"description", "file"},
}
FONTS = {"Default": 14, "Default Bold": 14, "Header 1": 22, "Header 2": 18, "Header 3": 16, "Fine Print": 12}
PLOT = {
    "title", "save_changes", "show_legend", "show_toolbar", "grid", "scroll", "update_period", "scroll_step", "start",
    "end", "archive_rescale", "foreground", "background", "axes", "annotations", "pvlist",
}  # fmt: skip
AXIS = {
    *("visible", "name", "use_axis_name", "use_trace_names", "right", "color", "min", "max", "grid"),
    *("autoscale", "log_scale"),
}
TRACE = {
    *("name", "display_name", "visible", "axis", "color", "trace_type", "linewidth", "line_style", "point_type"),
    *("point_size", "waveform_index", "period", "ring_size", "request"),
}


@dataclass(frozen=True)
class Widget:
    """A widget as it is shown with the macros of the one who opened the display."""

    kind: str
    element: Element
    macros: Mapping[str, str]

    def get(self, name: str) -> str:
        """Return a property with its macros expanded."""
        own = {"pv_name": self.element.findtext("pv_name", ""), "pv_value": "<value>"}
        text = self.element.findtext(name, "")
        return expanded(text, {**own, **self.macros})

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return left, top, right, bottom."""
        x, y, width, height = (int(self.element.findtext(tag, "-1")) for tag in ("x", "y", "width", "height"))
        assert width > 0
        assert height > 0
        return x, y, x + width, y + height

    @property
    def size(self) -> float:
        """Return the size of the font."""
        return float(self.element.find("font/font").attrib["size"])  # type: ignore[union-attr]


def expanded(text: str, macros: Mapping[str, str]) -> str:
    """Return a text as Phoebus' MacroHandler makes it: macros, then ``\\$``. Raises KeyError for one nobody gives.

    It gives up at a dollar that begins no macro: none behind it is replaced.
    """
    start = 0
    while (start := text.find("$", start)) >= 0:
        if text[:start].endswith("\\"):
            start += 1
            continue
        found = re.compile(r"\$\((\w+)\)").match(text, start)
        if found is None:
            break
        text, start = text[:start] + macros[found[1]] + text[found.end() :], 0
    return text.replace(r"\$", "$")


def widgets(text: str, macros: Mapping[str, str]) -> Iterator[Widget]:
    """Yield the widgets of a display, each checked for what Phoebus would skip or refuse."""
    root = ElementTree.fromstring(text)
    assert root.tag == "display"
    assert root.attrib == {"version": "2.0.0"}
    assert (root.findtext("width"), root.findtext("height")) == ("1920", "1080")
    allowed = {"name", "width", "height", "macros", "background_color", "grid_visible", "widget"}
    assert {child.tag for child in root} <= allowed
    for element in root.findall("widget"):
        _check(element)
        yield Widget(element.attrib["type"], element, macros)


def _check(element: Element) -> None:
    version, properties = WIDGETS[element.attrib["type"]]
    assert element.attrib["version"] == version
    tags = [child.tag for child in element]
    assert set(tags) <= COMMON | properties, (element.attrib["type"], tags)
    assert len(tags) == len(set(tags))
    for child in element:
        _check_property(element.attrib["type"], child)


def _check_property(kind: str, child: Element) -> None:
    if child.tag in BOOLEANS:
        assert child.text in {"true", "false"}, child.tag
    elif child.tag in ORDINALS:
        assert int(child.text or "") in range(ORDINALS[child.tag])
    elif child.tag == "show_confirm_dialog":
        assert child.text in ({"0", "1", "2", "3"} if kind == "bool_button" else {"true", "false"})
    elif child.tag.endswith("_color"):
        (colour,) = child
        assert all(0 <= int(colour.attrib[part]) <= 255 for part in ("red", "green", "blue"))
    elif child.tag == "font":
        (font,) = child
        assert font.attrib["style"] in {"REGULAR", "BOLD", "ITALIC", "BOLD_ITALIC"}
        assert FONTS[font.attrib["name"]] == float(font.attrib["size"])
    elif child.tag == "macros":
        assert all(re.fullmatch("[A-Za-z][A-Za-z0-9]*", macro.tag) for macro in child)
    elif child.tag == "actions":
        for action in child:
            assert action.tag == "action"
            assert {each.tag for each in action} <= ACTIONS[action.attrib["type"]]
            assert action.findtext("target", "tab") in {"replace", "tab", "window", "standalone"}


def traces(text: str) -> list[str]:
    """Return the names of a plot's PVs, the plot checked."""
    root = ElementTree.fromstring(text)
    assert root.tag == "databrowser"
    assert {child.tag for child in root} <= PLOT
    axes = root.findall("axes/axis")
    assert all({child.tag for child in axis} <= AXIS for axis in axes)
    ranges = [(axis.findtext("min"), axis.findtext("max")) for axis in axes]
    assert all(low is None if high is None else float(low or "") < float(high) for low, high in ranges)
    for pv in root.findall("pvlist/pv"):
        assert {child.tag for child in pv} <= TRACE
        assert int(pv.findtext("axis", "0")) in range(len(axes))
        assert pv.findtext("trace_type") in {"NONE", "AREA", "AREA_DIRECT", "LINES", "LINES_DIRECT", "SINGLE_LINE"}
        assert pv.findtext("request") in {"OPTIMIZED", "RAW"}
    return [pv.findtext("name", "") for pv in root.findall("pvlist/pv")]


@cache
def _widths(name: str) -> dict[str, int]:
    """Return the width of each character in thousandths of the size: Liberation Sans has the metrics of Helvetica."""
    folder = Path(mpl.get_data_path()) / "fonts" / "pdfcorefonts"
    found = re.findall(r"C (\d+) ; WX (\d+)", (folder / f"{name}.afm").read_text(encoding="latin-1"))
    return {chr(int(code)): int(width) for code, width in found}


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a text in points."""
    widths = _widths("Helvetica-Bold" if bold else "Helvetica")
    return sum(widths[char] for char in text) * size / 1000
