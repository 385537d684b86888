"""The fields of the EPICS record types: names, types and menus, read from base's own definitions.

The package epicscorelibs carries the ``.dbd`` files of EPICS base. Reading them there, when the first client asks for
a field of a record type, gives each field the type, the words and the size that every other IOC gives it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from epicscorelibs import path as epicscorelibs

_FILES = Path(epicscorelibs.base_path) / "dbd"
_MENUS = ("menuGlobal.dbd", "menuConvert.dbd", "menuScan.dbd")
_FIELD = re.compile(r"field\((\w+),\s*DBF_(\w+)\)\s*\{(.*?)\n\s*\}", re.DOTALL)
_ATTRIBUTE = re.compile(r'(\w+)\(\s*"?(.*?)"?\s*\)\s*(?:#.*)?$', re.MULTILINE)
_INCLUDE = re.compile(r'include\s+"([^"]+)"')
_MENU = re.compile(r"menu\((\w+)\)\s*\{(.*?)\n\}", re.DOTALL)
_CHOICE = re.compile(r'choice\(\s*\w+\s*,\s*"([^"]*)"\s*\)')
_DEVICE = re.compile(r'device\((\w+),\s*\w+,\s*\w+,\s*"([^"]*)"\)')
# What every record type has besides its fields (dbPutAttribute)
_ATTRIBUTES = {"RTYP": "", "VERS": "none specified"}

# Types of fields that hold a link: texts for a client
LINKS = frozenset({"INLINK", "OUTLINK", "FWDLINK"})


@dataclass(frozen=True, slots=True)
class FieldType:
    """A field as base defines it.

    dbf       type without its prefix: STRING, DOUBLE, MENU, INLINK ...; size: bytes of a STRING with its NUL
    choices   the words of a MENU or DEVICE
    fixed     True if no client may write it (SPC_NOMOD); prop: True if a change is posted with DBE_PROPERTY
    initial   what it holds when nobody set it, as text
    """

    name: str
    dbf: str
    size: int
    choices: tuple[str, ...]
    fixed: bool
    prop: bool
    initial: str


@cache
def fields(rtyp: str) -> Mapping[str, FieldType]:
    """Return the fields of a record type by name, without those that Channel Access cannot carry (DBF_NOACCESS)."""
    found = {}
    for name, dbf, body in _FIELD.findall(_text(f"{rtyp}Record.dbd")):
        attributes = dict(_ATTRIBUTE.findall(body))
        found[name] = FieldType(
            name=name,
            dbf=dbf,
            size=int(attributes.get("size", 40)),
            choices=_choices(rtyp, dbf, attributes.get("menu", "")),
            fixed=attributes.get("special") == "SPC_NOMOD",
            prop=attributes.get("prop") == "YES",
            initial=attributes.get("initial", ""),
        )
    for name, text in _ATTRIBUTES.items():
        found[name] = FieldType(name, "STRING", 40, (), fixed=True, prop=False, initial=text)
    return {name: field for name, field in found.items() if field.dbf != "NOACCESS"}


def _choices(rtyp: str, dbf: str, menu_name: str) -> tuple[str, ...]:
    if dbf == "DEVICE":
        return tuple(words for of, words in _DEVICE.findall(_text("devSoft.dbd")) if of == rtyp)
    return _menus(rtyp)[menu_name] if dbf == "MENU" else ()


@cache
def _menus(rtyp: str) -> Mapping[str, tuple[str, ...]]:
    text = "".join(_text(file) for file in (*_MENUS, f"{rtyp}Record.dbd"))
    return {name: tuple(_CHOICE.findall(body)) for name, body in _MENU.findall(text)}


@cache
def _text(file: str) -> str:
    """Return a definition file with what it includes in its place, without the C code and comment lines in it."""
    return "\n".join(_lines(file))


def _lines(file: str) -> Iterator[str]:
    for line in (_FILES / file).read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith(("%", "#")):
            continue
        include = _INCLUDE.search(line)
        if include:
            yield from _lines(include[1])
        else:
            yield line
