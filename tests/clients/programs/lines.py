"""What all programs of clients share: lines of JSON from the tests, and lines of JSON to them.

A line from the tests is the name of a method of the client and its arguments. Each is answered by one line, what the
method returned or what it raised. In between come lines of updates.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import threading
from typing import Any

# libraries print to the standard output, which belongs to the tests here
_out = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
_saying = threading.Lock()


def update(name: str, value: Any, severity: int) -> None:
    """Tell the tests what a monitor brought, from any thread."""
    _say({"name": name, "value": plain(value), "severity": int(severity)})


def plain(value: Any) -> Any:
    """Return a value of a library as JSON has it: numbers, texts, lists of them."""
    if isinstance(value, bytes):
        return value.split(b"\0")[0].decode("latin-1")
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def told(
    value: Any, severity: int, *, units: Any = "", lower: Any = None, upper: Any = None, words: Any = ()
) -> dict[str, Any]:
    """Return what a get brought as the tests read it: value, alarm, unit, control limits, words of an enum."""
    return {
        "value": plain(value),
        "severity": int(severity),
        "units": plain(units),
        "lower": plain(lower),
        "upper": plain(upper),
        "words": plain(list(words)),
    }


def listen(client: object) -> None:
    """Do what the tests ask for until they end."""
    for line in sys.stdin:
        answer(client, line)


async def listen_async(client: object) -> None:
    """Do what the tests ask for until they end; the client's methods may be coroutines."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        verb, *words = json.loads(line)
        try:
            returned = getattr(client, verb)(*words)
            _say({"returned": await returned if inspect.isawaitable(returned) else returned})
        except Exception as error:
            _say({"raised": repr(error)})


def answer(client: object, line: str) -> None:
    """Do what one line asks for."""
    verb, *words = json.loads(line)
    try:
        _say({"returned": getattr(client, verb)(*words)})
    except Exception as error:
        _say({"raised": repr(error)})


def _say(words: dict[str, Any]) -> None:
    with _saying:
        _out.write(json.dumps(words) + "\n")
        _out.flush()
