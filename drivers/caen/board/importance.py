"""Which parameter is asked about first: measured currents before all else, for they are not shown without a unit.

Switches come next: they are not shown before their words are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from drivers.caen.items import Variable

# Ranks of importance
_RANKS = 5


def importance(variable: Variable) -> int:
    """Return the rank of questions about a parameter, the lowest first: currents, switches, others.

    Of each but switches, what is measured comes before what is set.
    """
    if variable.switch:
        return 2
    return (0 if variable.current else 3) + variable.writable


class ByImportance:
    """Labels of parameters, by importance; of equals, the one that came first. ``rank`` tells that of a label.

    The first one is found without a look at all, for there may be thousands.
    """

    def __init__(self, rank: Callable[[str], int], labels: Iterable[str] = ()) -> None:
        self._rank = rank
        self._labels: tuple[dict[str, None], ...] = tuple({} for _ in range(_RANKS))
        self.update(labels)

    def update(self, labels: Iterable[str]) -> None:
        """Add labels; one that is there already keeps its place."""
        for label in labels:
            self._labels[self._rank(label)][label] = None

    def discard(self, label: str) -> None:
        """Remove a label, if it is there."""
        for labels in self._labels:
            labels.pop(label, None)

    def first(self, due: Callable[[str], bool]) -> str | None:
        """Return the most important label that is due; None if there is none."""
        return next(filter(due, self), None)

    def __iter__(self) -> Iterator[str]:
        """Yield all labels."""
        return chain.from_iterable(self._labels)

    def __contains__(self, label: object) -> bool:
        """Return True if a label is among them."""
        return any(label in labels for labels in self._labels)

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(map(len, self._labels))
