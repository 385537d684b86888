"""Checks data against the type hints of a frozen dataclass (by pydantic) and words every fault for the user."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any, get_args, get_type_hints

import pydantic
import yaml

from ioc.yamlfile import Key, YamlFile

_WORDS = {
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping (key: value)",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dataclass_type": "must be a mapping (key: value)",
    "missing": "is missing",
    "int_parsing": "must be a whole number",
}


def check(schema: type, data: Any, key: Key, file: YamlFile, also: tuple[str, ...] = ()) -> Any:
    """The dataclass made from ``data``, which stands at ``key`` in the file; None when it has faults (noted there).

    ``also``: keys that are allowed there besides, and were taken out before.

    Texts that came from the environment are read as YAML where a number is wanted. After a fault, what is left
    without it is still checked, so that one run shows all faults.
    """
    if not isinstance(data, dict):
        file.fault(key, "must be a mapping (key: value)")
        return None
    adapter = pydantic.TypeAdapter(
        pydantic.dataclasses.dataclass(schema, config=pydantic.ConfigDict(extra="forbid", strict=True), frozen=True)
    )
    data = copy.deepcopy(data)
    dropped: set[Key] = set()
    while True:  # each turn mends or drops at least one key
        try:
            checked = adapter.validate_json(json.dumps(data))
        except pydantic.ValidationError as error:
            found = {_path(data, each): each for each in error.errors()}  # one for all the alternatives of a key
            deeper = {path[:length] for path in found for length in range(len(path))}
            errors = [each for path, each in found.items() if path not in dropped | deeper]
            if sum(_read_again(data, each, key, file) for each in errors):
                continue
            for each in errors:
                _note(schema, also, data, each, key, file)
            faulty = {_path(data, each) for each in errors}
            dropped |= faulty
            if not sum(_drop(data, path) for path in faulty):
                return None
        else:
            faults = list(checked.faults()) if hasattr(checked, "faults") else []
            for path, sentence in faults:
                file.fault((*key, *path.split(".")), sentence)
            return None if dropped or faults else checked


def _read_again(data: Any, error: Any, key: Key, file: YamlFile) -> bool:
    """A text from the environment where a number is wanted: read it as YAML would."""
    path = _path(data, error)
    if (*key, *path) not in file.from_environment or error["type"] not in {"float_type", "int_type", "bool_type"}:
        return False
    parent = _walk(data, path[:-1])
    try:
        value = yaml.safe_load(parent[path[-1]])
    except yaml.YAMLError:
        return False
    if isinstance(value, str):
        return False
    parent[path[-1]] = value
    return True


def _note(schema: type, also: tuple[str, ...], data: Any, error: Any, key: Key, file: YamlFile) -> None:
    path = _path(data, error)
    if error["type"] == "unexpected_keyword_argument":
        allowed = ", ".join([*(also if len(path) == 1 else ()), *_names(schema, path[:-1])])
        file.fault((*key, *path), f"unknown key; allowed: {allowed}")
        return
    sentence = _WORDS.get(error["type"], error["msg"])
    if error["type"] == "literal_error":
        sentence = f"must be one of {error['ctx']['expected'].replace(' or ', ', ')}"
    shown = "" if error["type"] == "missing" or "password" in path else f"{json.dumps(error['input'])} "
    file.fault((*key, *path), shown + sentence)


def _drop(data: Any, path: Key) -> bool:
    """Remove a faulty key, so that the rest can be checked; False when there is nothing to remove."""
    try:
        while isinstance(parent := _walk(data, path[:-1]), list):
            path = path[:-1]  # a list with an item less would be another fault
        del parent[path[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _path(data: Any, error: Any) -> Key:
    """The place of an error as keys of the data: pydantic adds the names of alternatives, JSON turns keys to text."""
    path: list[str | int] = []
    here = data
    for part in error["loc"]:
        if isinstance(part, str) and "[" in part:
            continue
        step = part
        if isinstance(here, dict) and part not in here and str(part).isdigit() and int(part) in here:
            step = int(part)
        path.append(step)
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            here = None
    return tuple(path)


def _walk(data: Any, path: Key) -> Any:
    for step in path:
        data = data[step]
    return data


def _names(schema: Any, path: Key) -> list[str]:
    """The keys allowed at a place of a (nested) dataclass."""
    for step in path:
        hint = get_type_hints(schema).get(str(step))
        schema = next((arg for arg in (hint, *get_args(hint)) if dataclasses.is_dataclass(arg)), None)
    return [each.name for each in dataclasses.fields(schema)] if schema else []
