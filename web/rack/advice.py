"""What an operator is told about an alarm: cause and remedy of its sentence, or what to do about such a PV."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import yaml

import web
from web.rack.rack import Rack

# Returns what to do about a point of an instrument (kind, prefix, name of the point).
Remedy = Callable[[str, str, str], str]

# Letters of a sentence that are its own, at the least: others fit anything.
_OWN = 10

# Of this length is what AMSG has of a sentence that is longer.
_CUT = 39


class _Entry(NamedTuple):
    parts: list[str]  # what is written of the sentence, around its blanks
    pattern: re.Pattern[str]
    cause: str
    remedy: str


class Advice:
    """The sentences of docs/messages.yaml, and ``remedy`` for what has none of them."""

    def __init__(self, rack: Rack, remedy: Remedy) -> None:
        self._rack = rack
        self._remedy = remedy
        self._entries = _entries()
        self._known: dict[str, _Entry | None] = {}

    def remedy(self, record: str) -> str:
        """Return what to do about the alarm of a record; empty for one that is not of the rack."""
        instrument = self._rack.instrument(record)
        if instrument is None:
            return ""
        return self._remedy(instrument.kind, instrument.prefix, record.removeprefix(instrument.prefix))

    def of(self, pv: str, sentence: str) -> tuple[str, str]:
        """Return cause and remedy of an alarm."""
        if sentence not in self._known:
            if len(self._known) > 1000:
                self._known.clear()
            self._known[sentence] = self._find(sentence)
        entry = self._known[sentence]
        return (entry.cause, entry.remedy) if entry else ("", self.remedy(pv))

    def _find(self, sentence: str) -> _Entry | None:
        """Return which sentence it is; of those that one which is cut may begin, the one with most of its letters."""
        if len(sentence) != _CUT:
            return next((each for each in self._entries if each.pattern.fullmatch(sentence)), None)
        fits = [_fit(each.parts, sentence) for each in self._entries]
        best = max(fits)
        return self._entries[fits.index(best)] if 2 * best > _CUT and fits.count(best) == 1 else None


def _entries() -> list[_Entry]:
    """Return the sentences as patterns, those with most letters of their own first."""
    found = []
    for sentence, advice in yaml.safe_load(_file().read_text(encoding="utf-8")).items():
        parts = re.split(r"<\w+>", sentence)
        own = sum(len(part) for part in parts)
        if own >= _OWN:
            pattern = re.compile("(?:.+?)".join(map(re.escape, parts)))
            found.append((own, _Entry(parts, pattern, advice["cause"], advice["remedy"])))
    return [entry for _, entry in sorted(found, key=lambda each: -each[0])]


def _fit(parts: list[str], begin: str) -> int:
    """Return how many letters of the begin are the sentence's own; 0 where it cannot be its begin."""
    if not begin.startswith(parts[0]):
        return len(begin) if parts[0].startswith(begin) else 0
    at = own = len(parts[0])
    for part in parts[1:]:
        found = begin.find(part, at + 1)
        if found < 0:
            return own + max(n for n in range(len(part) + 1) if begin[at + 1 :].endswith(part[:n]))
        at = found + len(part)
        own += len(part)
    return own if at == len(begin) or not parts[-1] else 0


def _file() -> Path:
    """Return the path of the sentences: in what is installed they lie here, in a checkout in docs."""
    here = Path(str(files("web.rack"))) / "messages.yaml"
    return here if here.exists() else Path(web.__file__).parents[1] / "docs" / "messages.yaml"
