"""What one bulk call reads, and which of it is left out because it spoiled earlier calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from drivers.caen.items import Variable

# Scans after which a bad variable is tried again at the latest
_LONGEST_WAIT = 32


@dataclass(slots=True)
class ReadBatch:
    """The same variable of several channels: one call, which fails as a whole for one bad channel.

    A bad one is read by itself, after 1, 2, 4 ... 32 scans: 48 calls a second would be worse than the fault. One that
    comes and goes keeps its last wait.
    """

    group: str
    slot: int | None
    labels: tuple[str, ...]
    _bad: dict[str, int] = field(default_factory=dict)  # label -> scans until it is tried again
    _next_wait: dict[str, int] = field(default_factory=dict)

    def due(self) -> Iterator[tuple[str, ...]]:
        """Yield the labels to read with one call each: all the good ones, then each bad one whose time has come."""
        self._bad = {label: wait - 1 for label, wait in self._bad.items()}
        due = [(label,) for label, wait in self._bad.items() if wait <= 0]
        if good := tuple(label for label in self.labels if label not in self._bad):
            yield good
        yield from due

    def record_failure(self, label: str) -> bool:
        """Leave a variable out for some time; return True if it was good before."""
        fresh = label not in self._bad
        self._bad[label] = wait = self._next_wait.get(label, 1)
        self._next_wait[label] = min(2 * wait, _LONGEST_WAIT)
        return fresh

    def record_success(self, labels: Sequence[str]) -> list[str]:
        """Read these variables in the common call again; return those that were bad before."""
        return [label for label in labels if self._bad.pop(label, None) is not None]


def batches(variables: Iterable[Variable]) -> Iterator[ReadBatch]:
    """Yield the batches that read the variables: status words first, for they say which channels are unplugged."""
    families: dict[object, list[Variable]] = {}
    for variable in variables:
        families.setdefault(variable.family, []).append(variable)
    for family in sorted(families.values(), key=lambda family: not family[0].status):
        first = family[0]
        yield ReadBatch(first.group, first.slot, tuple(variable.label for variable in family))
