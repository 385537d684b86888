"""What all fake instruments share: a clock for the model, faults of the wire, a record of what went over it, and the
commands of the control channel (each method ``do_xxx`` is the command ``xxx``; its signature is its usage)."""

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

# The time in seconds, from any zero
Clock = Callable[[], float]
# The keys of an instrument as they stand in the configuration file
Keys = Mapping[str, Any]

SPLIT_PAUSE = 0.1  # s between the parts of an answer that comes in parts


class Model(Protocol):
    """Physics and state of an instrument, without its protocol: time is given from outside."""

    def step(self, dt: float) -> None: ...

    def state(self) -> dict[str, Any]: ...


class CommandError(Exception):
    """A control command that cannot be carried out; the text is a sentence for whoever sent it."""


M = TypeVar("M", bound=Model)


class Fake(ABC, Generic[M]):
    """A fake instrument: a model, and the far end of the wire that a driver speaks to."""

    driver: ClassVar[str]
    longest_step: float = 0.05
    shortest_step: float = 0.0

    def __init__(self, model: M, clock: Clock = time.monotonic) -> None:
        self.model = model
        self.lock = threading.RLock()  # around the model: the wire and the control channel have a thread each
        self.random = random.Random(1)
        self.muted = False
        self.split = False
        self.garbage_left = 0
        self.late_seconds = 0.0
        self.late_left = 0.0
        self.writes = 0
        self.violations: list[str] = []
        self.transactions: deque[str] = deque(maxlen=1000)
        self.clock = clock
        self._then = clock()

    @classmethod
    @abstractmethod
    def of(cls, keys: Keys, clock: Clock) -> Self:
        """Make the fake of an instrument with these keys; a fake may have options of its own as keyword arguments."""

    @classmethod
    def wire(cls, fakes: Sequence[Self]) -> AbstractContextManager[None]:
        """Return what puts in place, and takes back, what all fakes of this kind share on the wire: here nothing."""
        return nullcontext()

    @abstractmethod
    def plug(self) -> None:
        """Appear on the wire."""

    @abstractmethod
    def unplug(self) -> None:
        """Vanish from the wire; the model lives on."""

    def advance(self) -> None:
        """Bring the model to the present. After a long silence the steps grow instead of their number."""
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
        """The model, brought to the present and held still."""
        with self.lock:
            self.advance()
            yield self.model

    def record(self, transaction: str) -> None:
        """Remember a transaction for the command ``log``."""
        self.transactions.append(f"{time.strftime('%H:%M:%S')} {transaction}")

    def violate(self, sentence: str) -> None:
        """The driver did what the manual forbids."""
        self.violations.append(sentence)
        self.record(f"VIOLATION {sentence}")

    def garbled(self) -> bool:
        """True when this answer is to be garbage; counts it off."""
        garbled = self.garbage_left > 0
        self.garbage_left -= garbled
        return garbled

    def lateness(self) -> float:
        """Seconds by which this answer comes late; counts it off."""
        if self.late_left < 1:
            return 0.0
        self.late_left -= 1
        return self.late_seconds

    def run(self, line: str) -> str:
        """Carry out one control command and return what it has to say."""
        name, *words = line.split() or ["help"]
        command = getattr(self, "do_" + name.replace("-", "_"), None)
        if command is None:
            raise CommandError(f"{name} is not a command of a {self.driver}; see help")
        try:
            arguments = _convert(command, words)
        except (TypeError, ValueError):
            raise CommandError(f"usage: {_usage(name, command)}") from None
        return command(*arguments) or ""

    def do_help(self) -> str:
        """what can be asked"""
        names = sorted(name for name in dir(self) if name.startswith("do_"))
        commands = [(name[3:].replace("_", "-"), getattr(self, name)) for name in names]
        return "; ".join(f"{_usage(name, command)}: {inspect.getdoc(command)}" for name, command in commands)

    def do_plug(self) -> None:
        """the cable is in"""
        self.plug()

    def do_unplug(self) -> None:
        """the cable is out"""
        self.unplug()

    def do_mute(self) -> None:
        """commands arrive, answers do not"""
        self.muted = True

    def do_unmute(self) -> None:
        """answers arrive again"""
        self.muted = False

    def do_garbage(self, n: int = 1) -> None:
        """the next n answers are garbage"""
        self.garbage_left = n

    def do_split(self, on: int = 1) -> None:
        """answers arrive in halves with a pause (0: no more)"""
        self.split = bool(on)

    def do_late(self, seconds: float, n: float = math.inf) -> None:
        """the next n answers, or all, come that much later (0: no more)"""
        self.late_seconds, self.late_left = seconds, n if seconds else 0

    def do_writes(self) -> str:
        """how many writes that change the instrument have arrived"""
        return str(self.writes)

    def do_violations(self) -> str:
        """what the driver did against the manual (JSON)"""
        return json.dumps(self.violations)

    def do_log(self, n: int = 20) -> str:
        """the last n transactions (JSON)"""
        return json.dumps(list(self.transactions)[-n:])

    def do_state(self) -> str:
        """the state of the model (JSON)"""
        with self.present() as model:
            return json.dumps(model.state())

    def do_set(self, name: str, value: str) -> None:
        """set something inside the model; dots lead into parts, as in boards.2.channels.5.resistance"""
        with self.present() as model:
            *path, last = name.split(".")
            owner: Any = model
            for word in path:
                owner = _member(owner, word)
            _assign(owner, last, _like(_member(owner, last), value))


def _convert(command: Callable[..., str | None], words: list[str]) -> list[Any]:
    """Words to the types of the command's signature; TypeError or ValueError when they do not fit."""
    signature = inspect.signature(command, eval_str=True)
    bound = signature.bind(*words)
    return [signature.parameters[name].annotation(word) for name, word in bound.arguments.items()]


def _usage(name: str, command: Callable[..., str | None]) -> str:
    parameters = inspect.signature(command).parameters.values()
    return " ".join([name, *(p.name.upper() if p.default is p.empty else f"[{p.name.upper()}]" for p in parameters)])


def _member(owner: Any, word: str) -> Any:
    """A part of the model by name, index or key."""
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
    """The text as a value of the old value's type."""
    if isinstance(old, bool):
        return text.lower() in ("1", "true", "yes", "on")
    if not isinstance(old, int | float | str):
        raise CommandError(f"this part of the model is a {type(old).__name__}: name one of its values")
    try:
        return type(old)(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a {type(old).__name__}") from None
