"""The base of all fake instruments: a clock for the model, faults of the wire, and a record of what went over it.

A method ``do_xxx`` is the command ``xxx`` of the control channel: its signature is the usage, its docstring the help.
"""

from __future__ import annotations

import inspect
import json
import math
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from sim.events import Events, Scalar, flat

# The time in seconds, from any zero
Clock = Callable[[], float]
# The keys of an instrument as they stand in the configuration file
Keys = Mapping[str, Any]

# Seconds between the parts of an answer that comes in parts, if nothing else is asked for
SPLIT_PAUSE = 0.1
# Words for truth values
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
# Commands of the control channel that change nothing: they are no events
_LOOKING = {"events", "help", "log", "state", "violations", "watch", "writes"}


class Model(Protocol):
    """Physics and state of an instrument, without its protocol and without a clock of its own."""

    def step(self, dt: float) -> None:
        """Let ``dt`` seconds pass."""

    def state(self) -> dict[str, Any]:
        """Return the state as JSON can hold it."""


class CommandError(Exception):
    """A control command that cannot be carried out; its text is a sentence for the one who sent it."""


M = TypeVar("M", bound=Model)


class Fake(ABC, Generic[M]):
    """A fake instrument: a model, and the far end of the wire that a driver speaks to.

    driver         the name of the driver
    longest_step   the model's steps are no longer than this (s), except after a long silence
    shortest_step  the model is not stepped more often than this (s)
    deadbands      last word of a name in the true state -> by how much the number must move to be an event
    """

    driver: ClassVar[str]
    longest_step: float = 0.05
    shortest_step: float = 0.0
    deadbands: ClassVar[Mapping[str, float]] = {}

    def __init__(self, model: M, clock: Clock = time.monotonic) -> None:
        self.model = model
        # Around the model: the wire and the control channel have a thread each
        self.lock = threading.RLock()
        self.random = random.Random(1)
        self.muted = False
        self.split = False
        self.split_pause = SPLIT_PAUSE
        self.garbage_left = 0
        self.late_seconds = 0.0
        self.late_left = 0.0
        self.writes = 0
        self.violations: list[str] = []
        self.transactions: deque[str] = deque(maxlen=1000)
        self.events = Events(clock)
        self.watched = False
        self.clock = clock
        self._then = clock()

    @classmethod
    @abstractmethod
    def of(cls, keys: Keys, clock: Clock) -> Self:
        """Make the fake of an instrument with these keys; a fake may have further keyword arguments as options."""

    @classmethod
    def wire(cls, fakes: Sequence[Self]) -> AbstractContextManager[None]:
        """Return the context in which these fakes share something on the wire (a bus, a C library): here nothing."""
        return nullcontext()

    @abstractmethod
    def plug(self) -> None:
        """Appear on the wire."""

    @abstractmethod
    def unplug(self) -> None:
        """Vanish from the wire; the model goes on."""

    def advance(self) -> None:
        """Step the model to the present. After a long silence the steps become longer instead of more."""
        now = self.clock()
        dt = now - self._then
        if dt <= self.shortest_step:
            return
        self._then = now
        steps = min(math.ceil(dt / self.longest_step), 100)
        for _ in range(steps):
            self.model.step(dt / steps)

    @contextmanager
    def present(self) -> Iterator[M]:
        """Yield the model, stepped to the present, and lock it."""
        with self.lock:
            self.advance()
            try:
                yield self.model
            finally:
                if self.watched:
                    self.look()

    def truth(self) -> dict[str, Scalar]:
        """Return the true state, which an observer compares with what is shown of it: here all of the model's."""
        return {name: value for name, value in flat(self.model.state()).items() if name != "time"}

    def look(self) -> None:
        """Record as events what has changed in the true state; called with the lock held."""
        self.events.changed(self.truth(), self.deadbands)

    def record(self, transaction: str) -> None:
        """Record a transaction for the command ``log``, and as an event."""
        self.transactions.append(f"{time.strftime('%H:%M:%S')} {transaction}")
        self.events.add("wire", transaction)

    def violate(self, sentence: str) -> None:
        """Record that the driver did what the manual forbids."""
        self.violations.append(sentence)
        self.events.add("violation", sentence)
        self.record(f"VIOLATION {sentence}")

    def garbled(self) -> bool:
        """Return True when this answer is to be garbage, and count it."""
        garbled = self.garbage_left > 0
        self.garbage_left -= garbled
        return garbled

    def lateness(self) -> float:
        """Return the seconds by which this answer comes late, and count it."""
        if self.late_left < 1:
            return 0.0
        self.late_left -= 1
        return self.late_seconds

    def run(self, line: str) -> str:
        """Carry out one control command and return what it answers. Raises CommandError."""
        name, *words = line.split() or ["help"]
        command = getattr(self, "do_" + name.replace("-", "_"), None)
        if command is None:
            raise CommandError(f"{name} is not a command of a {self.driver}; see help")
        try:
            arguments = _convert(command, words)
        except (TypeError, ValueError):
            raise CommandError(f"usage: {_usage(name, command)}") from None
        answer = command(*arguments) or ""
        if name not in _LOOKING:
            self.events.add("fault", line)
            self._look_now()
        return answer

    def _look_now(self) -> None:
        if self.watched:
            with self.lock:
                self.advance()
                self.look()

    def do_help(self) -> str:
        """Return all commands, one a line."""
        names = sorted(name for name in dir(self) if name.startswith("do_"))
        commands = [(name[3:].replace("_", "-"), getattr(self, name)) for name in names]
        return "\n".join(f"{_usage(name, command)}: {_first_line(command)}" for name, command in commands)

    def do_plug(self) -> None:
        """Plug the cable in."""
        self.plug()

    def do_unplug(self) -> None:
        """Pull the cable out."""
        self.unplug()

    def do_mute(self) -> None:
        """Let commands arrive, but no answers."""
        self.muted = True

    def do_unmute(self) -> None:
        """Let answers arrive again."""
        self.muted = False

    def do_garbage(self, n: int = 1) -> None:
        """Make garbage of the next n answers."""
        self.garbage_left = n

    def do_split(self, on: int = 1, pause: float = SPLIT_PAUSE) -> None:
        """Send answers in halves with a pause in seconds (0: no more)."""
        self.split, self.split_pause = bool(on), pause

    def do_late(self, seconds: float, n: float = math.inf) -> None:
        """Send the next n answers, or all, that much later (0: no more)."""
        self.late_seconds, self.late_left = seconds, n if seconds else 0

    def do_writes(self) -> str:
        """Return how many writes that change the instrument have arrived."""
        return str(self.writes)

    def do_violations(self) -> str:
        """Return what the driver did against the manual (JSON)."""
        return json.dumps(self.violations)

    def do_log(self, n: int = 20) -> str:
        """Return the last n transactions (JSON)."""
        return json.dumps(list(self.transactions)[-n:])

    def do_watch(self) -> None:
        """Record each change of the true state as an event from now on."""
        self.watched = True
        self._look_now()

    def do_events(self, number: int = 0) -> str:
        """Return events from this number on (JSON): time (monotonic s), what, value; ``next`` is where to go on."""
        self._look_now()
        return json.dumps(self.events.page(number))

    def do_state(self) -> str:
        """Return the state of the model (JSON)."""
        with self.present() as model:
            return json.dumps(model.state())

    def do_set(self, name: str, value: str) -> None:
        """Set something inside the model; dots lead into parts, as in boards.2.channels.5.resistance."""
        with self.present() as model:
            *path, last = name.split(".")
            owner: Any = model
            for word in path:
                owner = _member(owner, word)
            _assign(owner, last, _like(_member(owner, last), value))


def _convert(command: Callable[..., str | None], words: list[str]) -> list[Any]:
    """Convert words to the types of the command's signature. Raises TypeError or ValueError when they do not fit."""
    signature = inspect.signature(command, eval_str=True)
    bound = signature.bind(*words)
    kinds = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return [(_truth if kinds[name] is bool else kinds[name])(word) for name, word in bound.arguments.items()]


def _truth(word: str) -> bool:
    """Return the truth value that a word means: to Python any word is true. Raises ValueError for other words."""
    if word.lower() not in _TRUE | _FALSE:
        raise ValueError
    return word.lower() in _TRUE


def _first_line(command: Callable[..., Any]) -> str:
    return (inspect.getdoc(command) or "").partition("\n")[0]


def _usage(name: str, command: Callable[..., str | None]) -> str:
    parameters = inspect.signature(command).parameters.values()
    return " ".join([name, *(p.name.upper() if p.default is p.empty else f"[{p.name.upper()}]" for p in parameters)])


def _member(owner: Any, word: str) -> Any:
    """Return a part of the model by name, index or key."""
    try:
        if isinstance(owner, dict):
            return owner[int(word) if word.isdigit() else word]
        return owner[int(word)] if isinstance(owner, list) else getattr(owner, word)
    except (AttributeError, LookupError, ValueError):
        raise CommandError(f"there is no {word} in the model") from None


def _assign(owner: Any, word: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[int(word) if word.isdigit() else word] = value
    elif isinstance(owner, list):
        owner[int(word)] = value
    else:
        setattr(owner, word, value)


def _like(old: Any, text: str) -> Any:
    """Convert a text to the type of the old value."""
    if not isinstance(old, int | float | str):
        raise CommandError(f"this part of the model is a {type(old).__name__}: name one of its values")
    try:
        return _truth(text) if isinstance(old, bool) else type(old)(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a {type(old).__name__}") from None
