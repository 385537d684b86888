"""The maker of docs/reference/messages.md: each sentence that an operator can meet, its cause and what to do.

The sentences are read from the code, so the page has all of them and no other; cause and remedy are in messages.yaml,
under the sentence, with ``blanks`` where it has to be said what is filled in. That is for this page alone: who meets
a sentence has it filled in, and is told cause and remedy beside it (web/rack/advice.py). ``python -m docs.messages``
writes the page and names what has no cause and remedy yet, or what messages.yaml has that the code lacks.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from docs.sentences import ROOT, Reader

PAGE = Path(__file__).parent / "reference" / "messages.md"
REMEDIES = Path(__file__).with_name("messages.yaml")

ROOMS = ("drivers", "ioc", "archiver", "rackioc", "sim", "web")
CONFIGURATION = "Configuration"
_INSTRUMENT = "in the log, at the client that put, and in the record `Error` of the instrument"
# What a fake answers to the driver is met by no person
_WIRE = ("", "")
# Folder, or file -> the heading of its messages, and where they are met; a driver has a heading of its own
PLACES = {
    "drivers/caen": (
        "CAEN high-voltage crates",
        f"{_INSTRUMENT}; of a board that goes, or a parameter that fails, in the log alone, and by its PVs, which "
        "are INVALID",
    ),
    "drivers/base.py": ("Records and instruments", _INSTRUMENT),
    "ioc": ("Records and instruments", _INSTRUMENT),
    "ioc/ca": ("Channel Access", "in the log, at clients, and from `rackioc run` when it starts"),
    "archiver/settings.py": (
        CONFIGURATION,
        "behind file, line and key, from `rackioc check` and each command that reads a configuration",
    ),
    "rackioc": ("Commands and processes", "in the terminal and in the log"),
    "rackioc/archive_status.py": ("Archiver", ""),
    "archiver": (
        "Archiver",
        "in its log, in `ARCH:LastError` and `ARCH:Error`, and from `rackioc status`, `check`, `db` and `history`",
    ),
    "archiver/units.py": (CONFIGURATION, ""),
    "rackioc/config/schema.py": (CONFIGURATION, ""),
    "archiver/storage/url.py": (CONFIGURATION, ""),
    "archiver/history": ("History", "from `rackioc history` and `archiver.history`"),
    "archiver/times.py": ("History", ""),
    "web": ("Web server", "in its log, and in a browser or a program that asks it"),
    "web/settings.py": (CONFIGURATION, ""),
    "sim": ("Simulation", "from `rackioc sim`, and as the answer of `rackioc sim fault`"),
    "rackioc/cli/simulation.py": ("Simulation", ""),
    "sim/se521/usb_bus.py": _WIRE,
}


@dataclass(frozen=True, order=True)
class Message:
    """A sentence as the code has it, with ``<name>`` where something is filled in, and the file that has it."""

    place: str
    text: str


@cache
def messages(root: Path = ROOT) -> list[Message]:
    """Return all messages of the code, each once a place, in the order of the page: the instruments are first."""
    found = {
        Message(CONFIGURATION if fault else _heading(file.relative_to(root), root), text)
        for room in ROOMS
        for file in sorted((root / room).rglob("*.py"))
        for text, fault in Reader(file).texts()
    }
    ranks = {heading: rank for rank, heading in enumerate(dict.fromkeys(heading for heading, _ in PLACES.values()))}
    met = (each for each in found if each.place)
    return sorted(met, key=lambda each: (ranks.get(each.place, -1), each.place.lower(), each.text.lower()))


def page(remedies: dict[str, dict[str, str]], root: Path = ROOT) -> str:
    """Return the page; ``remedies``: message -> its ``cause`` and ``remedy``, perhaps ``blanks``."""
    lines = [
        "# Messages",
        "",
        "Each sentence that rackioc can say, its cause, and what to do. `<...>` is filled in; an ending that is not",
        "always said is shown. The page is made from the code: `python -m docs.messages`.",
    ]
    where = {heading: met for heading, met in reversed(PLACES.values()) if met}
    place = ""
    for each in messages(root):
        if each.place != place:
            place = each.place
            lines += [
                "",
                f"## {place}",
                "",
                f"Met {where.get(place, _INSTRUMENT)}.",
                "",
                "| message | cause | what to do |",
            ]
            lines.append("| --- | --- | --- |")
        known = remedies.get(each.text, {})
        cause = f"{known.get('cause', '')} {known.get('blanks', '')}"
        cells = [f"`{each.text}`", cause, known.get("remedy", "")]
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    """Return a text as it stands in a table: a line, with its bars escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def read_remedies() -> dict[str, dict[str, str]]:
    """Return what messages.yaml says: message -> its ``cause`` and ``remedy``, perhaps ``blanks``."""
    data: dict[str, dict[str, str]] = yaml.safe_load(REMEDIES.read_text(encoding="utf-8"))
    return data


def missing(remedies: dict[str, dict[str, str]]) -> list[str]:
    """Return the messages without cause and remedy."""
    return [each.text for each in messages() if set(remedies.get(each.text, {})) - {"blanks"} != {"cause", "remedy"}]


def superfluous(remedies: dict[str, dict[str, str]]) -> list[str]:
    """Return what has a cause and a remedy, but is no message of the code."""
    return sorted(remedies.keys() - {each.text for each in messages()})


def _heading(file: Path, root: Path) -> str:
    """Return the heading for the messages of a file; that of a driver is the beginning of its docstring."""
    nearest = next((str(each) for each in (file, *file.parents) if str(each) in PLACES), "")
    if nearest:
        return PLACES[nearest][0]
    driver = root.joinpath(*file.parts[:2])
    module = driver / "__init__.py" if driver.is_dir() else driver
    words = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or driver.stem
    return re.split(r"\s*[(,.:;\n]| on | over ", words)[0]


def main() -> int:
    """Write the page; return 1 if a message has no cause and remedy, or messages.yaml has one too many or a fault."""
    try:
        remedies = read_remedies()
    except yaml.YAMLError as error:
        print(f"{REMEDIES.name} is not YAML (a text with a colon needs quotes): {error}", file=sys.stderr)
        return 1
    PAGE.write_text(page(remedies), encoding="utf-8")
    for text in missing(remedies):
        print(f"no cause and remedy in {REMEDIES.name}: {text}", file=sys.stderr)
    for text in superfluous(remedies):
        print(f"not a message of the code any more: {text}", file=sys.stderr)
    return 1 if missing(remedies) or superfluous(remedies) else 0


if __name__ == "__main__":
    sys.exit(main())
