"""XML as text, in one form: indented, with a comment that says from what it was made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement


def add(parent: Element, tag: str, text: str | float | None = None, **attributes: str) -> Element:
    """Append an element with a text to another, and return it; a truth value is written as true or false."""
    element = SubElement(parent, tag, attributes)
    if text is not None:
        words = str(text).lower() if isinstance(text, bool) else str(text)
        # a text of an instrument may have characters that XML cannot
        element.text = "".join(char for char in words if char.isprintable() or char in "\n\t")
    return element


def document(root: Element, header: Sequence[str]) -> str:
    """Return an XML document with a header as its first comment."""
    ElementTree.indent(root)
    # "--" ends a comment, "---" would be "- --"
    lines = [re.sub("-(?=-)", "- ", line) for line in header]
    comment = "\n     ".join(lines)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- {comment} -->\n{ElementTree.tostring(root, "unicode")}\n'
