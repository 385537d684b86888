"""A small model of how Phoebus' alarm server reads its configuration (XmlModelReader.java)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

BOOLEANS = {"true": True, "false": False}
OF_A_PV = {"enabled", "latching", "annunciating", "description", "delay", "count", "filter"}
OF_BOTH = {"guidance", "display", "command", "automated_action"}


@dataclass
class Item:
    """A PV or component; path: from the root, with its own name."""

    path: tuple[str, ...]
    enabled: bool = True
    latching: bool = True
    annunciating: bool = False
    description: str = ""
    delay: int = 0
    guidance: list[tuple[str, str]] = field(default_factory=list)
    display: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class AlarmServer:
    """What the server has after an import. skipped: PVs that came a second time."""

    pvs: dict[str, Item] = field(default_factory=dict)
    components: dict[tuple[str, ...], Item] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def load(self, text: str) -> None:
        """Read a configuration. Raises AssertionError for what the real reader ignores or stumbles over."""
        root = ElementTree.fromstring(text)
        assert root.tag == "config"
        assert re.fullmatch("[a-zA-Z0-9._-]+", root.attrib["name"])  # a topic of Kafka
        self._component(root, (root.attrib["name"],))

    def _component(self, element: Element, path: tuple[str, ...]) -> None:
        self.components[path] = self._item(element, path, OF_BOTH | {"pv", "component"})
        for pv in element.findall("pv"):
            name = pv.attrib["name"]
            item = self._item(pv, (*path, name), OF_BOTH | OF_A_PV)
            if name in self.pvs:
                self.skipped.append(name)
            else:
                self.pvs[name] = item
        names = [child.attrib["name"] for child in element.findall("component")]
        assert len(names) == len(set(names))
        for child in element.findall("component"):
            assert "/" not in child.attrib["name"]  # parts a path of the server
            self._component(child, (*path, child.attrib["name"]))

    def _item(self, element: Element, path: tuple[str, ...], allowed: set[str]) -> Item:
        item = Item(path)
        for child in element:
            assert child.tag in allowed, f"{child.tag} in {path}"
            if child.tag in {"enabled", "latching", "annunciating"}:
                setattr(item, child.tag, BOOLEANS[child.text or ""])
            elif child.tag == "delay":
                item.delay = int(child.text or "")
            elif child.tag == "description":
                item.description = child.text or ""
            elif child.tag in {"guidance", "display"}:
                title, details = child.findtext("title"), child.findtext("details")
                assert title
                assert details
                getattr(item, child.tag).append((title, details))
        return item
