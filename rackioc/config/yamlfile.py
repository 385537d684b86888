"""YAML with line numbers: the data, the line of every key, and every fault instead of the first.

Scalars are those of YAML 1.2 (core schema): ``on``, ``yes``, ``1:30`` and ``1_000`` are texts, ``1e-9`` is a number.
What is a number or a truth value can be had as the text that stands in the file, too: see ``YamlFile.as_text``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Key = tuple[str | int, ...]

# Values of a file: a few lines of aliases to aliases stand for more than any computer holds
_MOST = 200_000
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
# YAML 1.2, section 10.3.2; but 012 is a text here, for it is 10 in YAML 1.1 and 12 in YAML 1.2
_SCALARS = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}
# What the parser says, in part -> what to do about it
_PROBLEMS = {
    "'\\t'": "a tabulator stands where a line begins; indent with spaces",
    "mapping values are not allowed": (
        'a text with a colon needs quotes, as "LAB:"; or this line is indented further than the one above it'
    ),
    "expected alphabetic or numeric character": 'a text that begins with * or & needs quotes, as "LAB:*"',
    "cannot start any token": "a text that begins with %, @ or ` needs quotes",
    "found another document": "--- begins a second document; write one file for each rack",
    "expected <block end>": "this line is not indented as those above it, or more stands behind a quote or bracket",
}
# The same, where the line that matters is the one in which something began
_BEGUN = {
    "found unexpected end of stream": "a quote begins in this line and does not end",
    "expected ',' or": (
        'a bracket begins in this line and does not end, a comma is missing, or a text needs quotes, as "${NAME}"'
    ),
    "could not find expected ':'": "a key has no colon and blank behind it",
}


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong in a file: where, and a sentence that says what and what is allowed."""

    line: int
    key: str
    sentence: str

    def render(self, file: Path) -> str:
        """``file:line: key: sentence``."""
        return ": ".join(part for part in (f"{file}:{self.line}", self.key, self.sentence) if part)


@dataclass
class YamlFile:
    """A parsed file.

    from_environment  the keys whose text came from ``${NAME}``
    texts             key -> the text in the file of what is a number or a truth value in ``data``
    """

    data: Any = None
    lines: dict[Key, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    from_environment: set[Key] = field(default_factory=set)
    texts: dict[Key, str] = field(default_factory=dict)

    def as_text(self, key: Key, value: Any) -> Any:
        """Return the value at a key as the text that stands in the file, where it is a scalar and not null."""
        return self.texts.get(key, value)

    def replace(self, key: Key, value: Any) -> None:
        """Put another value at a key: it is read as a text, or as a number."""
        data = self.data
        for step in key[:-1]:
            data = data[step]
        data[key[-1]] = value

    def fault(self, key: Key, sentence: str) -> None:
        """Note a fault at a key, or at its nearest parent that is in the file."""
        known = key
        while known and known not in self.lines:
            known = known[:-1]
        found = Fault(self.lines.get(known, 1), ".".join(map(str, key)), sentence)
        if found not in self.faults:
            self.faults.append(found)


def read(
    path: Path, wanted: Callable[[Key], bool] = lambda key: True, any_text: Callable[[Key], bool] = lambda key: False
) -> YamlFile:
    """Read a file; what is wrong with it is in ``faults``.

    Keys that are not ``wanted`` are left out with all that is below them: there no variable needs to be set.
    Nor where ``any_text`` will do: a variable that is not set remains as it is written.
    """
    file = YamlFile()
    try:
        text = path.read_text(encoding="utf-8")
        loader = _Loader(text)
        node = loader.get_single_node()
        file.data = None if node is None else _Reader(file, wanted, any_text).build(node, ())
    except OSError as error:
        file.fault((), f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        file.fault((), "cannot be read: it is not UTF-8 text")
    except yaml.MarkedYAMLError as error:
        file.faults.append(_parser_fault(error))
    except yaml.reader.ReaderError as error:
        sentence = f"not YAML: the character U+{int(error.character):04X} cannot be seen; remove it"
        file.faults.append(Fault(text.count("\n", 0, error.position) + 1, "", sentence))
    except yaml.YAMLError as error:
        file.fault((), f"not YAML: {' '.join(str(error).split())}")
    except RecursionError:
        file.fault((), "not YAML: it is nested too deeply")
    return file


def _parser_fault(error: yaml.MarkedYAMLError) -> Fault:
    """Return what the parser found, in words that say what to do where it is one of the usual mistakes."""
    problem, mark = str(error.problem or error.context), error.problem_mark
    for part, sentence in (_PROBLEMS | _BEGUN).items():
        if part in problem:
            mark = error.context_mark if part in _BEGUN else mark
            problem = sentence
            break
    return Fault(mark.line + 1 if mark else 1, "", f"not YAML: {problem}")


def scalar(text: str) -> Any:
    """Return what a text is where it stands without quotes: None, a truth value, a number, or the text."""
    return _construct(f"{_TAG}{_kind(text)}", text)


def _kind(text: str) -> str:
    return next((kind for kind, pattern in _SCALARS.items() if pattern.fullmatch(text)), "str")


def _construct(tag: str, text: str) -> Any:
    """Return the value of a scalar. Raises ValueError if the text is not of that kind, KeyError for other tags."""
    kind = tag.removeprefix(_TAG)
    if kind in _SCALARS and not _SCALARS[kind].fullmatch(text):
        raise ValueError
    return _CONSTRUCTORS[kind](text)


def _integer(text: str) -> int:
    bases = {"0x": 16, "0o": 8}
    return int(text, bases.get(text[:2], 10))


_CONSTRUCTORS: dict[str, Callable[[str], Any]] = {
    "null": lambda _: None,
    "bool": lambda text: text.lower() == "true",
    "int": _integer,
    "float": lambda text: float(text.replace(".inf", "inf").replace(".nan", "nan")),
    "str": str,
    "merge": str,
}


class _Loader(yaml.SafeLoader):
    """A loader that takes the scalars of YAML 1.2 for what they are, and the merge key ``<<`` of YAML 1.1."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        """Return the tag of a node that has none; of a scalar without quotes by its text."""
        if kind is yaml.ScalarNode and implicit[0]:
            return f"{_TAG}{'merge' if value == '<<' else _kind(value)}"
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]


class _Reader:
    def __init__(self, file: YamlFile, wanted: Callable[[Key], bool], any_text: Callable[[Key], bool]) -> None:
        self._file = file
        self._wanted = wanted
        self._any_text = any_text
        self._open: list[yaml.Node] = []
        self._built = 0

    def build(self, node: yaml.Node, key: Key) -> Any:
        self._count()
        self._file.lines.setdefault(key, node.start_mark.line + 1)
        if node in self._open:
            self._file.fault(key, "refers to itself")
            return None
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, key)
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*key, index)) for index, item in enumerate(node.value)]
            return self._scalar(node, key) if isinstance(node, yaml.ScalarNode) else None
        finally:
            self._open.pop()

    def _count(self) -> None:
        self._built += 1
        if self._built > _MOST:
            raise yaml.YAMLError(f"its aliases stand for more than {_MOST:,} values")

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[Any, Any]:
        data: dict[Any, Any] = {}
        for name_node, value_node in [*self._taken_over(node, key), *_own(node)]:
            name = self._name(name_node, key)
            if name is None:
                continue
            here = (*key, name)
            if not self._wanted(here):
                continue
            if name in data:
                first = self._file.lines[here]
                self._file.lines[here] = name_node.start_mark.line + 1
                self._file.fault(here, f"is there twice (first in line {first}); a name may be used once")
                continue
            self._file.lines[here] = name_node.start_mark.line + 1
            data[name] = self.build(value_node, here)
        return data

    def _taken_over(self, node: yaml.MappingNode, key: Key) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """Yield the keys and values that ``<<`` takes over from other mappings: none that the mapping has itself.

        Of several mappings with the same key the first one counts.
        """
        taken = {str(name.value) for name, _ in _own(node)}
        for name, value in node.value:
            for other in _listed(value) if name.tag == _MERGE else ():
                if not isinstance(other, yaml.MappingNode) or other in self._open:
                    sentence = "<< takes over other mappings: write an alias, such as *name, or a list of them"
                    self._file.faults.append(Fault(name.start_mark.line + 1, ".".join(map(str, key)), sentence))
                    continue
                self._count()
                self._open.append(other)
                for pair in [*self._taken_over(other, key), *_own(other)]:
                    if str(pair[0].value) not in taken:
                        taken.add(str(pair[0].value))
                        yield pair
                self._open.pop()

    def _name(self, node: yaml.Node, key: Key) -> str | int | None:
        """Return a key: a number as it is written in decimals, anything else as its text. None after a fault."""
        if not isinstance(node, yaml.ScalarNode) or node.tag == f"{_TAG}null":
            line = node.start_mark.line + 1
            self._file.faults.append(Fault(line, ".".join(map(str, key)), "a key must be a word or a number"))
            return None
        text = self._filled(node.value, key)
        return int(text) if re.fullmatch("0|-?[1-9][0-9]*", text) else text

    def _scalar(self, node: yaml.ScalarNode, key: Key) -> Any:
        if _VARIABLE.search(node.value):
            self._file.from_environment.add(key)
            return self._filled(node.value, key)
        try:
            value = _construct(node.tag, node.value)
        except ValueError:
            self._file.fault(key, f"not YAML: {node.value!r} is not of the type {node.tag.removeprefix(_TAG)}")
            return None
        except KeyError:
            self._file.fault(key, f"the tag {node.tag.replace(_TAG, '!!')} is not known; leave it out")
            return None
        if value is not None and not isinstance(value, str):
            self._file.texts[key] = node.value
        return value

    def _filled(self, text: str, key: Key) -> str:
        """Return a text with the environment variables in it."""
        return _VARIABLE.sub(lambda match: self._variable(match[1], key), text)

    def _variable(self, name: str, key: Key) -> str:
        value = os.environ.get(name)
        if value is None and self._any_text(key):
            return f"${{{name}}}"
        if value is None:
            self._file.fault(key, f"the environment variable {name} is not set")
            return ""
        return value


def _own(node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    return [(name, value) for name, value in node.value if name.tag != _MERGE]


def _listed(node: yaml.Node) -> list[yaml.Node]:
    return node.value if isinstance(node, yaml.SequenceNode) else [node]


def as_mapping(data: Any) -> dict[Any, Any]:
    """Return data that is a mapping; an empty one for anything else, which the schema has reported."""
    return data if isinstance(data, dict) else {}


def as_list(data: Any) -> list[Any]:
    """Return data that is a list; an empty one for anything else, which the schema has reported."""
    return data if isinstance(data, list) else []
