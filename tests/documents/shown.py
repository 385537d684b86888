"""What a document shows below a command, compared with what the command writes.

Spaces and line ends are all alike, so that a page may break a long line. A line ``...`` stands for any lines or none;
a ``...`` within a line for any text; a date and time for any. A number with a fraction may differ by a tenth: it is
measured. A whole number is to be the same. A plot drawn in characters stands for any plot.
"""

from __future__ import annotations

import re

STAMP = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d(?::?\d\d)?\b)?"
# A number by itself: none that belongs to a name (HV1), a version or a time
NUMBER = r"(?<![\w.:/-])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w:]|\.\d)"
PARTS = re.compile(rf"(?P<any>\.\.\.)|(?P<stamp>{STAMP})|(?P<number>{NUMBER})|(?P<space>\s+)")
# Lines of a plot, and the line below them with the times of its axis
PLOT = re.compile(r"(?m)(?:^.*[│┤┌└].*\n(?:[\d\s:-]+\n)?)+")
# A line of its own with ...
LINES = re.compile(r"(?m)^[ \t]*\.\.\.[ \t]*$")
ANY_LINES = r"(?:\s.*)?\s"
TOLERANCE = 0.1


def same(shown: str, written: str, *, numbers_vary: bool = False) -> bool:
    """Return True if ``written`` is what ``shown`` says; with ``numbers_vary`` any number will do for another."""
    shown, written = (PLOT.sub("a plot\n", f"{text.strip()}\n") for text in (shown, written))
    pattern = ANY_LINES.join(_pattern(lines.strip()) for lines in LINES.split(shown))
    found = re.fullmatch(rf"\s*{pattern}\s*", f"\n{written}\n", re.DOTALL)
    if found is None or numbers_vary:
        return found is not None
    numbers = [part[0] for part in PARTS.finditer(shown) if part["number"]]
    return all(map(_alike, numbers, found.groups()))


def _pattern(shown: str) -> str:
    """Return the regular expression of some lines, with a group for each number."""
    pattern, end = "", 0
    kinds = {"any": ".*?", "stamp": STAMP, "number": f"({NUMBER})", "space": r"\s+"}
    for part in PARTS.finditer(shown):
        pattern += re.escape(shown[end : part.start()]) + kinds[part.lastgroup or ""]
        end = part.end()
    return pattern + re.escape(shown[end:])


def _alike(shown: str, written: str) -> bool:
    ours, theirs = (float(text.replace(",", "")) for text in (shown, written))
    if re.fullmatch(r"-?[\d,]+", shown):
        return ours == theirs
    return abs(ours - theirs) <= TOLERANCE * abs(ours)
