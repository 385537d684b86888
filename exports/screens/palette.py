"""The colours and fonts of all screens. Severities keep the colours of Phoebus' own borders."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Colour(NamedTuple):
    """A colour by its parts, 0 to 255 each."""

    red: int
    green: int
    blue: int


BACKGROUND = Colour(240, 243, 246)
BAR = Colour(31, 58, 82)
ON_BAR = Colour(255, 255, 255)
HEADING = Colour(207, 217, 227)
TEXT = Colour(28, 32, 36)
BUTTON = Colour(224, 230, 236)

# Traces that colour-blind people can tell apart (Okabe and Ito), yellow left out on white
TRACES = (
    Colour(0, 114, 178),
    Colour(213, 94, 0),
    Colour(0, 158, 115),
    Colour(204, 121, 167),
    Colour(86, 180, 233),
    Colour(230, 159, 0),
    Colour(0, 0, 0),
)


class Font(Enum):
    """A font: name in Phoebus, style, size in points."""

    TITLE = ("Header 1", "BOLD", 22)
    HEADING = ("Header 3", "BOLD", 16)
    NORMAL = ("Default", "REGULAR", 14)
    SMALL = ("Fine Print", "REGULAR", 12)

    @property
    def label(self) -> str:
        """Return the name by which Phoebus knows it."""
        return self.value[0]

    @property
    def style(self) -> str:
        """Return the style."""
        return self.value[1]

    @property
    def size(self) -> int:
        """Return the size in points."""
        return self.value[2]
