"""The differences between two runs of the script, and which of them are explained."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from conformance.explained import EXPLAINED, Explanation
from conformance.servers import Observations

NOTHING = "-"

# Where one of these differs the other aspects differ only because of it
GATES = ("status", "connects", "served", "put")


@dataclass(frozen=True)
class Difference:
    """One aspect of one case; ``why`` is None as long as nothing explains the difference."""

    key: str
    aspect: str
    base: str
    rackioc: str
    why: Explanation | None

    @property
    def area(self) -> str:
        """Return the area of the case."""
        return self.key.partition("/")[0]

    def __str__(self) -> str:
        return f"{self.key} [{self.aspect}] base {self.base} | rackioc {self.rackioc}"


@dataclass(frozen=True)
class Comparison:
    """All cases of two runs: how many in each area, and what differs."""

    cases: Counter[str]
    differences: tuple[Difference, ...]

    @property
    def unexplained(self) -> list[Difference]:
        """Return the differences without an explanation."""
        return [difference for difference in self.differences if difference.why is None]

    @property
    def reasons(self) -> dict[str, int]:
        """Return how many differences each reason explains.

        One that explains 0 is not needed, and would hide a new difference.
        """
        count = dict.fromkeys((explanation.reason for explanation in EXPLAINED), 0)
        for difference in self.differences:
            if difference.why is not None:
                count[difference.why.reason] += 1
        return count


def compare(base: Observations, rackioc: Observations) -> Comparison:
    """Compare key by key; a key that only one server has is a difference, too."""
    keys = [*base, *(key for key in rackioc if key not in base)]
    cases = Counter(key.partition("/")[0] for key in keys)
    return Comparison(cases, tuple(_differences(keys, base, rackioc)))


def _differences(keys: Iterable[str], base: Observations, rackioc: Observations) -> Iterator[Difference]:
    for key in keys:
        if key not in base or key not in rackioc:
            yield _difference(key, "observed", base.get(key, NOTHING), rackioc.get(key, NOTHING))
            continue
        ours, theirs = rackioc[key], base[key]
        gate = [name for name in GATES if ours.get(name) != theirs.get(name)][:1]
        if ours.get("kept") is False:  # refused, and yet the record has changed: no reason covers that
            gate.append("kept")
        for name in gate or dict.fromkeys([*theirs, *ours]):
            if show(theirs.get(name, NOTHING)) != show(ours.get(name, NOTHING)):
                yield _difference(key, name, theirs.get(name, NOTHING), ours.get(name, NOTHING))


def _difference(key: str, aspect: str, base: Any, rackioc: Any) -> Difference:
    why = next(
        (each for each in EXPLAINED if fnmatchcase(key, each.cases) and fnmatchcase(aspect, each.aspect)), None
    )
    return Difference(key, aspect, show(base), show(rackioc), why)


def show(value: Any) -> str:
    """Return a value in one line; JSON tells 1 from 1.0 and 0.0 from -0.0. Events are shown by their content."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "; ".join(show(each) for each in value)
    if isinstance(value, dict):
        usual = {"status": "NORMAL", "count": 1}
        return " ".join(f"{name}={show(each)}" for name, each in value.items() if usual.get(name) != each)
    if isinstance(value, list) and len(value) == 1:
        return show(value[0])
    return json.dumps(value)
