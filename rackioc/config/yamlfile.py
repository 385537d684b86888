"""YAML with line numbers: the data, the line of every key, and every fault instead of the first."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Key = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


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
    """A parsed file. ``from_environment``: the keys whose text came from ``${NAME}``."""

    data: Any = None
    lines: dict[Key, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    from_environment: set[Key] = field(default_factory=set)

    def fault(self, key: Key, sentence: str) -> None:
        """Note a fault at a key, or at its nearest parent that is in the file."""
        known = key
        while known and known not in self.lines:
            known = known[:-1]
        found = Fault(self.lines.get(known, 1), ".".join(map(str, key)), sentence)
        if found not in self.faults:
            self.faults.append(found)


def read(path: Path) -> YamlFile:
    """Read a file; what is wrong with it is in ``faults``."""
    file = YamlFile()
    try:
        text = path.read_text(encoding="utf-8")
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except OSError as error:
        file.fault((), f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        file.fault((), "cannot be read: it is not UTF-8 text")
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        file.faults.append(Fault(line, "", f"not YAML: {error.problem or error.context}"))
    except yaml.YAMLError as error:
        file.fault((), f"not YAML: {' '.join(str(error).split())}")
    else:
        file.data = None if node is None else _Reader(file, loader).build(node, ())
    return file


class _Reader:
    def __init__(self, file: YamlFile, loader: yaml.SafeLoader) -> None:
        self._file = file
        self._loader = loader
        self._open: list[yaml.Node] = []

    def build(self, node: yaml.Node, key: Key) -> Any:
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

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[Any, Any]:
        self._loader.flatten_mapping(node)
        data: dict[Any, Any] = {}
        for name_node, value_node in node.value:
            name = self._scalar(name_node, key) if isinstance(name_node, yaml.ScalarNode) else None
            if not isinstance(name, str | int):
                self._file.fault(key, "a key must be a word or a number")
                continue
            here = (*key, name)
            if name in data:
                first = self._file.lines[here]
                self._file.lines[here] = name_node.start_mark.line + 1
                self._file.fault(here, f"is there twice (first in line {first}); a name may be used once")
                continue
            self._file.lines[here] = name_node.start_mark.line + 1
            data[name] = self.build(value_node, here)
        return data

    def _scalar(self, node: yaml.ScalarNode, key: Key) -> Any:
        if _VARIABLE.search(node.value):
            self._file.from_environment.add(key)
            return _VARIABLE.sub(lambda match: self._variable(match[1], key), node.value)
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self._file.fault(key, f"not YAML: {getattr(error, 'problem', error)}")
            return None

    def _variable(self, name: str, key: Key) -> str:
        value = os.environ.get(name)
        if value is None:
            self._file.fault(key, f"the environment variable {name} is not set")
            return ""
        return value


def as_mapping(data: Any) -> dict[Any, Any]:
    """Return data that is a mapping; an empty one for anything else, which the schema has reported."""
    return data if isinstance(data, dict) else {}


def as_list(data: Any) -> list[Any]:
    """Return data that is a list; an empty one for anything else, which the schema has reported."""
    return data if isinstance(data, list) else []
