"""Data checked against the type hints of a frozen dataclass (by pydantic), with a sentence for every fault."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

import pydantic

from rackioc.config import yamlfile
from rackioc.config.yamlfile import Key, YamlFile

_WORDS = {
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping (key: value)",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dataclass_type": "must be a mapping (key: value)",
    "missing": "is missing",
    "too_long": "has too many entries",
}
_PASSWORD = re.compile(r"(://[^:/@]*:).*@")


def check(schema: type, data: Any, key: Key, file: YamlFile, also: tuple[str, ...] = ()) -> Any:
    """Return the dataclass made from ``data``, which stands at ``key`` in the file; None when it has faults.

    ``also``: keys that are allowed there besides, and were taken out before. The faults are added to the file's.

    Where a text is wanted, a number or a truth value is the text that stands in the file; where a number is wanted, a
    text that came from the environment is read as one: both become so in the file's data, too. After a fault, what is
    left without it is still checked, so that one run shows all faults.
    """
    if not isinstance(data, dict):
        file.fault(key, "must be a mapping (key: value)")
        return None
    adapter = pydantic.TypeAdapter(
        pydantic.dataclasses.dataclass(
            schema, config=pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False), frozen=True
        )
    )
    data = copy.deepcopy(data)
    dropped = set(_no_numbers(schema, data))
    for path in dropped:
        file.fault((*key, *path), f"{_shown(path[-1])} must be a whole number")
        _drop(data, path)
    for path in {*_without_value(schema, data)}:
        file.fault((*key, *path), "has no value; write one, or leave the key out")
        dropped.add(path)
        _drop(data, path)
    while True:  # each turn mends or drops at least one key
        try:
            checked = adapter.validate_json(json.dumps(data))
        except pydantic.ValidationError as error:
            found = _by_path(data, error)
            above = {path[:length] for path in (*found, *dropped) for length in range(len(path))}
            fresh = {path: errors for path, errors in found.items() if path not in dropped | above}
            if sum(_read_again(data, path, errors, key, file) for path, errors in fresh.items()):
                continue
            for path, errors in fresh.items():
                _note(schema, also, path, errors, key, file)
            dropped |= fresh.keys()
            # of what is missing only the mapping around it can be dropped
            if not sum(_drop(data, path) or _drop(data, path[:-1]) for path in fresh):
                return None
        else:
            faults = list(checked.faults()) if hasattr(checked, "faults") else []
            for path, sentence in faults:
                there = _resolve(data, path)
                file.fault((*key, *there, *path[len(there) :]), sentence)
            return None if dropped or faults else checked


def _read_again(data: Any, path: Key, found: list[Any], key: Key, file: YamlFile) -> bool:
    """Read a scalar as a text where one is wanted, one from the environment as a number; True if that changed it."""
    kinds, here = {each["type"] for each in found}, (*key, *path)
    if "string_type" in kinds and here in file.texts:
        value = file.texts[here]
    elif here in file.from_environment and kinds & {"float_type", "int_type", "bool_type"}:
        value = yamlfile.scalar(_walk(data, path))
    else:
        return False
    if value is None or value == _walk(data, path):
        return False
    _walk(data, path[:-1])[path[-1]] = value
    file.replace(here, value)
    return True


def _no_numbers(hint: Any, data: Any, path: Key = ()) -> Iterator[Key]:
    """Yield the keys that must be whole numbers and are none; 04 and 0x4 are none: they might be another 4."""
    if not isinstance(data, dict):
        return
    if dataclasses.is_dataclass(hint):
        for name, kind in get_type_hints(hint).items():
            yield from _no_numbers(kind, data.get(name), (*path, name))
    elif get_origin(hint) in {dict, Mapping}:
        key_kind, kind = get_args(hint)
        for name, value in data.items():
            if key_kind is int and not isinstance(name, int):
                yield (*path, name)
            else:
                yield from _no_numbers(kind, value, (*path, name))
    else:
        for kind in get_args(hint):
            yield from _no_numbers(kind, data, path)


def _without_value(hint: Any, data: Any, path: Key = ()) -> Iterator[Key]:
    """Yield the keys that may be left out and have no value: a limit without its number would be no limit."""
    if data is None:
        if type(None) in get_args(hint):
            yield path
    elif dataclasses.is_dataclass(hint) and isinstance(data, dict):
        for name, kind in get_type_hints(hint).items():
            if name in data:
                yield from _without_value(kind, data[name], (*path, name))
    elif get_origin(hint) in {dict, Mapping} and isinstance(data, dict):
        for name, value in data.items():
            yield from _without_value(get_args(hint)[1], value, (*path, name))
    else:
        for kind in get_args(hint):
            yield from _without_value(kind, data, path)


def _note(schema: type, also: tuple[str, ...], path: Key, found: list[Any], key: Key, file: YamlFile) -> None:
    """Word the errors of one key: several are those of its alternatives."""
    kinds = {each["type"] for each in found}
    if "unexpected_keyword_argument" in kinds:
        allowed = ", ".join([*(also if len(path) == 1 else ()), *_names(schema, path[:-1])])
        file.fault((*key, *path), f"unknown key; allowed: {allowed}")
        return
    shown = "" if "missing" in kinds or "password" in path else f"{_shown(found[0]['input'])} "
    file.fault((*key, *path), shown + _either([_sentence(each) for each in found]))


def _sentence(error: Any) -> str:
    if error["type"] == "literal_error":
        expected = error["ctx"]["expected"]
        words = expected.replace(" or ", ", ")
        return f"must be one of {words}" if words != expected else f"must be {expected}"
    return str(_WORDS.get(error["type"], error["msg"]))


def _either(sentences: list[str]) -> str:
    """One sentence for all the alternatives: must be a text or a number."""
    if "must be a number" in sentences:
        sentences = [sentence for sentence in sentences if sentence != "must be a whole number"]
    first, *others = dict.fromkeys(sentences)
    return " or ".join([first, *(sentence.removeprefix("must be ") for sentence in others)])


def _shown(value: Any) -> str:
    """Return a faulty value, without the password of a URL in it."""
    return _PASSWORD.sub(r"\1***@", json.dumps(value))


def _drop(data: Any, path: Key) -> bool:
    """Remove a faulty key, so that the rest can be checked; False when there is nothing to remove."""
    try:
        while isinstance(parent := _walk(data, path[:-1]), list):
            path = path[:-1]  # a list with an item less would be another fault
        del parent[path[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _by_path(data: Any, error: pydantic.ValidationError) -> dict[Key, list[Any]]:
    """Return the errors of each key: one that has alternatives has one for each."""
    found: dict[Key, list[Any]] = {}
    for each in error.errors():
        found.setdefault(_path(data, each), []).append(each)
    return found


def _path(data: Any, error: Any) -> Key:
    """Return the place of an error as keys of the data."""
    *parts, last = error["loc"]
    if error["type"] == "missing":
        return (*_resolve(data, parts), last)
    return _resolve(data, error["loc"])


def _resolve(data: Any, parts: Iterable[str | int]) -> Key:
    """Return the parts that are keys of the data, as they stand there.

    Others are words of the schema (pydantic adds the names of alternatives); numbers have become texts in JSON.
    """
    path: list[str | int] = []
    for part in parts:
        keys = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
        step = next((key for key in keys if str(key) == str(part)), None)
        if step is not None:
            path.append(step)
            data = data[step]
    return tuple(path)


def _walk(data: Any, path: Key) -> Any:
    for step in path:
        data = data[step]
    return data


def _names(hint: Any, path: Key) -> list[str]:
    """Return the keys allowed at a place of a (nested) dataclass."""
    if dataclasses.is_dataclass(hint):
        if not path:
            return [each.name for each in dataclasses.fields(hint)]
        return _names(get_type_hints(hint).get(str(path[0])), path[1:])
    if get_origin(hint) in {dict, Mapping}:
        return _names(get_args(hint)[1], path[1:])
    return next(filter(None, (_names(alternative, path) for alternative in get_args(hint))), [])
