"""The maker of docs/messages.md: each sentence of the code that an operator can meet, with its cause and what to do.

The sentences are read from the code, so the page has all of them and no other; cause and remedy are in messages.yaml,
under the sentence. ``python -m docs.messages`` writes the page and names what has no cause and remedy yet, or what
messages.yaml has that the code lacks.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).absolute().parents[1]
PAGE = Path(__file__).with_name("messages.md")
REMEDIES = Path(__file__).with_name("messages.yaml")

# Folder, or file -> the heading of its messages, and where they are met
PLACES = {
    "drivers/technix": ("Technix generators", "in the record `Error` of the instrument and in the log"),
    "drivers/se521.py": ("Center SE521 loggers", "in the record `Error` of the instrument and in the log"),
    "drivers/caen": ("CAEN crates", "in the record `Error` of the instrument and in the log"),
    "ioc": (
        "Records and instruments",
        "in the record `Error` of the instrument, at the client that put, and in the log",
    ),
    "ioc/ca": ("Channel Access", "in the log, and at clients"),
    "rackioc/config": ("Configuration", "from `rackioc check` and every command that reads a configuration file"),
    "archiver/settings.py": ("Configuration", ""),
    "archiver/units.py": ("Configuration", ""),
    "rackioc": ("Commands and processes", "in the terminal and in the log"),
    "archiver": ("Archiver", "in its log, in `LAB:ARCH:LastError`, from `rackioc status`"),
    "archiver/history": ("History", "from `rackioc history` and `rackioc.history`"),
    "archiver/times.py": ("History", ""),
}
_LEVELS = {"info", "warning", "error", "exception"}
# What ``%`` fills in
_FILLED = re.compile(r"%[-.\d]*[sdgrf]")
# Errors of the language that the code raises with a sentence for the user
_BUILTIN = {"ValueError", "OSError", "RuntimeError", "SystemExit"}


@dataclass(frozen=True, order=True)
class Message:
    """A sentence as the code has it, with ``<name>`` where something is filled in, and the file that has it."""

    place: str
    text: str


@cache
def messages() -> list[Message]:
    """Return all messages of the code, each once a place, in the order of the page."""
    found = {
        Message(_place(file), text)
        for room in ("drivers", "ioc", "archiver", "rackioc")
        for file in sorted((ROOT / room).rglob("*.py"))
        for text in _Reader(file).texts()
    }
    order = list(dict.fromkeys(heading for heading, _ in PLACES.values()))
    return sorted(found, key=lambda each: (order.index(each.place), each.text.lower()))


def page(remedies: dict[str, dict[str, str]]) -> str:
    """Return the page; ``remedies``: message -> its ``cause`` and ``remedy``."""
    lines = [
        "# Messages",
        "",
        "Each sentence that rackioc can say, its cause, and what to do; `<...>` is filled in. The page is",
        "made from the code: `python -m docs.messages`.",
    ]
    where = {heading: met for heading, met in reversed(PLACES.values()) if met}
    place = ""
    for each in messages():
        if each.place != place:
            place = each.place
            lines += ["", f"## {place}", "", f"Met {where[place]}.", "", "| message | cause | what to do |"]
            lines.append("| --- | --- | --- |")
        known = remedies.get(each.text, {})
        cells = (f"`{each.text}`", known.get("cause", ""), known.get("remedy", ""))
        lines.append(f"| {' | '.join(cell.strip().replace('|', '&#124;') for cell in cells)} |")
    return "\n".join([*lines, ""])


def read_remedies() -> dict[str, dict[str, str]]:
    """Return what messages.yaml says: message -> its ``cause`` and ``remedy``."""
    data: dict[str, dict[str, str]] = yaml.safe_load(REMEDIES.read_text(encoding="utf-8"))
    return data


def missing(remedies: dict[str, dict[str, str]]) -> list[str]:
    """Return the messages without cause and remedy."""
    return [each.text for each in messages() if set(remedies.get(each.text, {})) != {"cause", "remedy"}]


def superfluous(remedies: dict[str, dict[str, str]]) -> list[str]:
    """Return what has a cause and a remedy, but is no message of the code."""
    return sorted(remedies.keys() - {each.text for each in messages()})


def _place(file: Path) -> str:
    path = file.relative_to(ROOT)
    nearest = next(str(each) for each in (path, *path.parents) if str(each) in PLACES)
    return PLACES[nearest][0]


class _Reader:
    """The sentences of one file: what errors are raised with, what is logged, printed, or reported as a fault."""

    def __init__(self, file: Path) -> None:
        self._tree = ast.parse(file.read_text(encoding="utf-8"))
        self._errors = _errors()

    def texts(self) -> Iterator[str]:
        """Yield the sentences, each as often as it stands there."""
        for function in ast.walk(self._tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                names = _assigned(function)
                for node in ast.walk(function):
                    yield from (text for text in self._of(node, function, names) if _is_sentence(text))

    def _of(self, node: ast.AST, function: ast.FunctionDef | ast.AsyncFunctionDef, names: Names) -> Iterator[str]:
        if isinstance(node, ast.Call):
            for argument in self._sentences(node):
                yield from _texts(argument, names, node.args)
        elif isinstance(node, ast.Yield) and node.value is not None and _yields_sentences(function):
            value = node.value.elts[-1] if isinstance(node.value, ast.Tuple) else node.value
            yield from _texts(value, names, ())

    def _sentences(self, call: ast.Call) -> Sequence[ast.expr]:
        """Return the arguments of a call that a person is to read."""
        match call.func:
            case ast.Name(id=name) if name in self._errors:
                return call.args
            case ast.Attribute(attr="fault") | ast.Name(id="Fault"):
                return call.args[-1:]
            case ast.Attribute(attr=level, value=ast.Name(id="log") | ast.Attribute(attr="_log")) if level in _LEVELS:
                return call.args[:1]
            case ast.Attribute(attr="drop", value=ast.Name(id="self")):
                return call.args[:1]
            case ast.Attribute(attr="echo") | ast.Name(id="print"):
                to_user = any(each.arg == "err" or ast.unparse(each.value) == "err" for each in call.keywords)
                return call.args[:1] if to_user else ()
        return ()


# Name of a variable -> what it was set to in the function
Names = dict[str, list[ast.expr]]


@cache
def _errors() -> set[str]:
    """Return the names of all exceptions of the project, and of those of the language that it words."""
    classes = [
        node
        for room in ("drivers", "ioc", "archiver", "rackioc", "sim")
        for file in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    found = {name for name in vars(builtins) if name.endswith(("Error", "Exception"))} | _BUILTIN
    while new := {each.name for each in classes if {ast.unparse(base) for base in each.bases} & found} - found:
        found |= new
    return found - ({name for name in vars(builtins) if name.endswith(("Error", "Exception"))} - _BUILTIN)


def _assigned(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Names:
    found: Names = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def _yields_sentences(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return True for generators of faults of a configuration, and of sentences."""
    returns = ast.unparse(function.returns) if function.returns else ""
    return "Fault" in returns or returns == "Iterator[str]"


def _texts(node: ast.expr, names: Names, arguments: Sequence[ast.expr]) -> Iterator[str]:
    """Yield an expression as the text that it makes, all alternatives of it; nothing for what is no text."""
    match node:
        case ast.Constant(value=str(text)):
            yield _with_arguments(text, arguments[1:])
        case ast.JoinedStr(values=parts):
            yield "".join(_part(part, names) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            for first in _texts(left, names, ()):
                yield from (first + second for second in _texts(right, names, ()))
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body, names, arguments)
            yield from _texts(orelse, names, arguments)
        case ast.Name(id=name) if name in names:
            for value in names[name]:
                if not isinstance(value, ast.Name):
                    yield from _texts(value, names, arguments)


def _part(part: ast.expr, names: Names) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    return _name_of(part.value)


def _with_arguments(text: str, arguments: Sequence[ast.expr]) -> str:
    """Return a text with the arguments' names in the place of ``%s`` and the like."""
    if not arguments:
        return text
    names: list[str] = []
    for argument in arguments:
        if isinstance(argument, ast.Starred):
            several = len(_FILLED.findall(text)) - len(arguments) + 1
            names += [_name_of(argument.value)] * several
        else:
            names.append(_name_of(argument))
    rest = iter(names)
    return _FILLED.sub(lambda _: next(rest, "<...>"), text)


def _name_of(node: ast.expr) -> str:
    """Return a short name for what is filled in."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return f"<{name.strip('_')}>"
        case ast.Call(func=ast.Name(id="len"), args=[inner]):
            return f"<number of {_name_of(inner).strip('<>')}>"
        case (
            ast.Call(args=[inner, *_])
            | ast.Call(func=ast.Attribute(value=inner))
            | ast.Subscript(value=inner)
            | ast.BinOp(left=inner)
        ):
            return _name_of(inner)
        case ast.GeneratorExp(generators=[generator, *_]) | ast.ListComp(generators=[generator, *_]):
            return _name_of(generator.iter)
        case ast.Constant(value=str(text)):
            return text
    return "<...>"


def _is_sentence(text: str) -> bool:
    """Return True for more than a word or a name."""
    return len(re.findall(r"[a-zA-Z]{2,}", re.sub(r"<[^>]*>", "", text))) > 1


def main() -> int:
    """Write the page; return 1 if a message has no cause and remedy, or messages.yaml has one too many."""
    remedies = read_remedies()
    PAGE.write_text(page(remedies), encoding="utf-8")
    for text in missing(remedies):
        print(f"no cause and remedy in {REMEDIES.name}: {text}", file=sys.stderr)
    for text in superfluous(remedies):
        print(f"not a message of the code any more: {text}", file=sys.stderr)
    return 1 if missing(remedies) or superfluous(remedies) else 0


if __name__ == "__main__":
    sys.exit(main())
