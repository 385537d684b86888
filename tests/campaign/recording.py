"""What is known of a run: the fakes' own records, what clients saw and put, and when what was done to whom."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sim.events import Event, Scalar
from tests.campaign.faults import RESET
from tests.campaign.plan import Case

# Seconds that one call of a scan takes, about
CALL = 0.005
# A span of time, in monotonic seconds
Span = tuple[float, float]


@dataclass(frozen=True)
class Update:
    """What a monitor brought: value, severity and stamp, and when it arrived (monotonic s)."""

    at: float
    value: Any
    severity: int
    status: int = 0
    stamp: float = 0.0


@dataclass
class Put:
    """A put of a client; ``ok`` is None as long as no answer came, and for ever without ``wait``."""

    number: int
    client: int
    name: str  # instrument and point
    value: float
    wait: bool
    asked: float
    done: float | None = None
    ok: bool | None = None
    error: str = ""

    def __str__(self) -> str:
        outcome = {None: "no answer", True: "good", False: f"failed ({self.error})"}[self.ok]
        return (
            f"put {self.name} {self.value:g} by client {self.client}: {outcome if self.wait else 'without callback'}"
        )


@dataclass
class CaseRun:
    """When a case was run (monotonic s): its beginning, first fault, and cure, when all was well for good, its end.

    settled  False if the instrument was not well again in time; missing: what was not valid then
    """

    case: Case
    began: float
    faulted: float
    cured: float = float("inf")
    well: float = float("inf")
    ended: float = float("inf")
    settled: bool = False
    missing: tuple[str, ...] = ()


@dataclass
class Recording:
    """All of it, by instrument and by PV without the prefix.

    drivers  instrument -> its driver; start: instrument -> its PVs that were valid before the first case
    """

    drivers: dict[str, str]
    start: dict[str, frozenset[str]] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)
    updates: dict[str, list[Update]] = field(default_factory=dict)
    puts: list[Put] = field(default_factory=list)
    runs: dict[str, list[CaseRun]] = field(default_factory=dict)
    delays: list[tuple[float, float]] = field(default_factory=list)  # when, s that the IOC took to answer a get
    broken: list[tuple[float, str]] = field(default_factory=list)  # what stopped: a circuit, the process, ...
    end: float = 0.0

    @cached_property
    def states(self) -> dict[str, States]:
        """Return the true states, by instrument, of a run that is over."""
        return {name: self.states_now(name) for name in self.events}

    def states_now(self, instrument: str) -> States:
        """Return the true states of an instrument so far."""
        return States(list(self.events[instrument]), self.end)

    def run_at(self, instrument: str, moment: float) -> CaseRun | None:
        """Return the case that was run then."""
        runs = self.runs.get(instrument, [])
        index = bisect.bisect_right(runs, moment, key=lambda run: run.began) - 1
        return runs[index] if index >= 0 else None

    def quiet(self, instrument: str) -> Iterator[Span]:
        """Yield the spans in which nothing was done to an instrument, and nothing had to heal.

        What resets an instrument for a case switches it off by itself, as a loss of power does.
        """
        since = None
        for run in self.runs.get(instrument, []):
            until = run.began if RESET[run.case.driver] else run.faulted
            if since is not None and until > since:
                yield since, until
            since = run.ended if run.settled else None

    def shown(self, name: str) -> Iterator[tuple[Span, Update]]:
        """Yield what a PV showed, and for how long."""
        updates = self.updates.get(name, [])
        for index, update in enumerate(updates):
            until = updates[index + 1].at if index + 1 < len(updates) else self.end
            yield (update.at, until), update

    def shown_at(self, name: str, moment: float) -> Update | None:
        """Return what a PV showed at a moment."""
        updates = self.updates.get(name, [])
        index = bisect.bisect_right(updates, moment, key=lambda update: update.at) - 1
        return updates[index] if index >= 0 else None

    def valid(self, instrument: str) -> frozenset[str]:
        """Return the PVs of an instrument that are valid now."""
        shown = {name: updates[-1] for name, updates in tuple(self.updates.items()) if updates}
        return frozenset(
            name for name, update in shown.items() if name.startswith(f"{instrument}:") and update.severity < 3
        )

    def missing(self, instrument: str, vital: Iterable[str]) -> list[str]:
        """Return what is wrong with an instrument now: its connection, and PVs that are not valid.

        These are the vital ones, and all that were valid before the first case.
        """
        link = self.updates.get(f"{instrument}:Conn")
        answers = next((e.value for e in reversed(self.events.get(instrument, [])) if e.what == "is:answers"), 1)
        connected = link and link[-1].value == 2 and answers
        needed = {*(f"{instrument}:{point}" for point in vital), *self.start.get(instrument, ())}
        return [*([] if connected else [f"{instrument}:Conn"]), *sorted(needed - self.valid(instrument))]

    def delay(self, begin: float, end: float) -> float:
        """Return the longest time that the IOC took to answer a get around a span (s)."""
        return max(self._delays(begin, end), default=0.0)

    def stretch(self, begin: float, end: float) -> float:
        """Return by what factor a scan takes longer on a busy machine, where each of its calls waits like a get."""
        waits = self._delays(begin, end)
        return 1.0 + (sum(waits) / len(waits) / CALL if waits else 0.0)

    def _delays(self, begin: float, end: float) -> list[float]:
        first = bisect.bisect_left(self.delays, (begin - 2, 0.0))
        return [took for _, took in self.delays[first : bisect.bisect_right(self.delays, (end + 2, 0.0))]]


class States:
    """The true states of one instrument, from the events of its fake."""

    def __init__(self, events: Iterable[Event], end: float) -> None:
        self.end = end
        self._changes: dict[str, list[tuple[float, Scalar]]] = {}
        for event in events:
            if event.what.startswith("is:"):
                self._changes.setdefault(event.what[3:], []).append((event.time, event.value))

    def __contains__(self, name: str) -> bool:
        return name in self._changes

    def __iter__(self) -> Iterator[str]:
        return iter(self._changes)

    def at(self, name: str, moment: float) -> Scalar:
        """Return what a part of the state was; None before it was known."""
        changes = self._changes.get(name, [])
        index = bisect.bisect_right([when for when, _ in changes], moment) - 1
        return changes[index][1] if index >= 0 else None

    def spans(self, name: str) -> Iterator[tuple[Span, Scalar]]:
        """Yield what a part of the state was, and for how long."""
        changes = self._changes.get(name, [])
        for index, (when, value) in enumerate(changes):
            yield (when, changes[index + 1][0] if index + 1 < len(changes) else self.end), value

    def names(self, pattern: str) -> list[str]:
        """Return the parts of the state whose whole name fits a regular expression."""
        return [name for name in self._changes if re.fullmatch(pattern, name)]
