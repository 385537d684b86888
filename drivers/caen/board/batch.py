"""What one bulk call reads, and which of it is left out because it spoiled earlier calls."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from drivers.base import Status
from drivers.caen.items import MONITOR, SETTINGS, Variable
from drivers.caen.retry import Backoff

# The order in which the batches of a board are read: status words, which say which channels are unplugged; what is
# published as it was read; currents, whose ranges are read behind them; these ranges
STATUS, PLAIN, CURRENTS, RANGES = range(4)


# Failures in a row after which a variable is taken to be bad for all channels: one bad channel has a good half, and
# with time-outs, after which channels are read one by one, from both ends, two channels have timed out
_MOST_FAILURES, _MOST_TIMEOUTS = 6, 4


@dataclass(slots=True, eq=False)
class Part:
    """Variables that could not be read in the common call, and are tried by themselves until they can.

    status  why
    whole   True where no channel is to blame: it is not taken apart, but all are tried, and one alone
    """

    labels: tuple[str, ...]
    status: Status
    whole: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    tries: int = 0

    def next_labels(self) -> tuple[str, ...]:
        """Return what to read to see whether it can be read again."""
        turn, alone = divmod(self.tries, 2)
        return (self.labels[turn % len(self.labels)],) if self.whole and alone else self.labels


@dataclass(slots=True, eq=False)
class ReadBatch:
    """The same variable of several channels: one call, which fails as a whole for one bad channel.

    When it fails it is halved until the bad ones are found; when it times out, its variables are read one by one, for
    calls that are answered are quick, and no more than one is waited for. Each bad one is then read by itself, after
    1, 2, 4 ... 32 s; one that comes and goes keeps its last wait, until it has been well for 10 s.

    of_board  True for what the board has once, and not for each channel
    read_at   when all that is read in the common call was read last (monotonic s)
    """

    group: str
    slot: int | None
    labels: tuple[str, ...]
    order: int = PLAIN
    of_board: bool = False
    read_at: float = 0.0
    parts: list[Part] = field(default_factory=list)
    _waits: dict[str, Backoff] = field(default_factory=dict)
    _failures: int = 0  # in a row

    @property
    def good(self) -> tuple[str, ...]:
        """Return what is read in the common call."""
        if not self.parts:
            return self.labels
        bad = {label for part in self.parts for label in part.labels}
        return tuple(label for label in self.labels if label not in bad)

    @property
    def undecided(self) -> bool:
        """Return True while some were left out that were not tried without the others yet."""
        return any(not part.tries for part in self.parts)

    def to_search(self) -> Part | None:
        """Return the next part of which it is not known yet whether it is to blame."""
        return next((part for part in self.parts if not part.tries), None)

    def due(self) -> Part | None:
        """Return the next part that failed before and whose time has come."""
        return next((part for part in self.parts if part.tries and part.backoff.due), None)

    def failed(self, labels: Sequence[str], status: Status, suspects: Collection[str], silent: bool) -> bool:
        """Leave these variables out; return True if it is news that one of them, or all, cannot be read.

        ``suspects`` are likely to be the bad ones, for their channels' other variables are; ``silent`` is True where
        nothing of the board was answered lately.
        """
        self._failures += 1
        timed_out = status is Status.TIMEOUT
        hopeless = silent or self._failures >= (_MOST_TIMEOUTS if timed_out else _MOST_FAILURES)
        part = next((part for part in self.parts if set(labels) <= set(part.labels)), None)
        if (
            part is not None
            and (part.whole or len(part.labels) == 1)
            and (part.tries or not (hopeless and timed_out))
        ):
            part.status = status
            part.tries += 1
            part.backoff.failed()
            if timed_out and not part.whole:  # the others are read in the common call, before it is searched on
                self.parts = [each for each in self.parts if each.tries]
            return part.tries == 1 and not part.whole
        if part is not None:
            self.parts.remove(part)
        if hopeless:
            self.parts = [self._part(self.labels, status, whole=True)]
            self.parts[0].tries = 1
            self.parts[0].backoff.failed()
            return True
        if len(labels) == 1:
            self.parts.append(self._part(tuple(labels), status))
            return self.failed(labels, status, suspects, silent)
        if timed_out:
            ordered = labels if self._failures == 1 else labels[::-1]
            singles = sorted(ordered, key=lambda label: label not in suspects)
            self.parts += [self._part((label,), status) for label in singles]
        else:
            self.parts += [self._part(each, status) for each in _divided(tuple(labels), suspects)]
        return False

    def answered(self, labels: Sequence[str]) -> list[str]:
        """Read these variables in the common call again; return those that were bad before."""
        self._failures = 0
        if not self.parts:
            return []
        back = []
        for part in tuple(self.parts):
            if here := set(part.labels) & set(labels):
                self.parts.remove(part)
                part.backoff.answered()
                back += [label for label in part.labels if label in here and part.tries]
                if rest := tuple(label for label in part.labels if label not in here):
                    self.parts.append(self._part(rest, part.status))
        return back

    def leave_out(self, label: str, status: Status) -> None:
        """Leave out a variable whose channel cannot be read otherwise: it is tried by itself before it does harm.

        The parts in which it was searched for are read in the common call again.
        """
        if any(label in part.labels and part.tries for part in self.parts):
            return
        self.parts = [part for part in self.parts if part.tries]
        part = self._part((label,), status)
        part.tries = 1
        part.backoff.failed()
        self.parts.append(part)

    def _part(self, labels: tuple[str, ...], status: Status, whole: bool = False) -> Part:
        part = Part(labels, status, whole)
        if whole or len(labels) == 1:
            part.backoff = self._waits.setdefault(labels[0] if not whole else "", Backoff())
            part.backoff.hurry()
        return part


def _divided(labels: tuple[str, ...], suspects: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Yield the labels in parts: the suspects one by one where there are others, else halves."""
    others = tuple(label for label in labels if label not in suspects)
    if others and len(others) < len(labels):
        yield others
        yield from ((label,) for label in labels if label in suspects)
    else:
        half = len(labels) // 2
        yield labels[:half]
        yield labels[half:]


def batches(variables: Iterable[Variable]) -> Iterator[ReadBatch]:
    """Yield the batches that read the variables, in their order."""
    families: dict[object, list[Variable]] = {}
    for variable in variables:
        families.setdefault(variable.family, []).append(variable)
    ranged = any(family[0].range for family in families.values())
    found = []
    for family in families.values():
        first, labels = family[0], tuple(variable.label for variable in family)
        if first.range:
            order = RANGES
        elif ranged and first.current:
            order = CURRENTS
        else:
            order = STATUS if first.status else PLAIN
        found.append(ReadBatch(first.group, first.slot, labels, order, of_board=first.channel is None))
        if first.range and first.group == SETTINGS:
            found.append(ReadBatch(MONITOR, first.slot, labels, order))
    return iter(sorted(found, key=lambda batch: batch.order))
