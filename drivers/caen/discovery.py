"""What is still to be asked of a board, or of the crate itself. A question stays on the list until it is answered.

What was not answered, and what the crate says that it does not have, is asked again after 1, 2, 4 ... 32 s, while the
rest is served: one stray code must not take a switch away. What it denies each time for a minute is left out.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from drivers.base import BadReply, DeviceError, NoReply
from drivers.caen.formats import Choice, Number, Switch, Text, clean
from drivers.caen.items import ChannelName, ChannelParameter, Command, Facts, Item, Variable
from drivers.caen.model import Model
from drivers.caen.questions import (
    Question,
    ask_parameter,
    ask_property,
    command_names,
    is_like,
    label_of,
    parameter_names,
    property_names,
)
from drivers.caen.replies import board_in, channel_names
from drivers.caen.retry import Backoff
from drivers.caen.roles import is_kill, is_switch
from drivers.caen.session import BoardGone, Session, Unsupported

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board

log = logging.getLogger(__name__)

# How often the crate has to say that it does not have a thing before it is believed: for a minute
_MOST_DENIALS = 7
# Seconds after which the lists are asked that were taken to be those of another board: by then a crate of 16 boards
# of 48 channels has told all that is needed to show its values
_LISTS_AFTER = 25.0
# Characters: caen-libs reads 12 bytes a name, one of them the terminating zero
_NAME_SIZE = 11


@dataclass(slots=True, eq=False)
class _Task:
    """A question, which records what it found when it has been answered.

    what     what it is about, for who misses it; "" where many crates do not have it
    kill     True for what switches off: it is asked for as long as it takes
    denials  how often the crate said that it does not have it
    """

    ask: Callable[[Session], Question[None]]
    what: str = ""
    kill: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    failed: bool = False
    denials: int = 0


class Discovery:
    """The questions to a board (None: to the crate itself).

    Each channel is asked for its own list, for one board can have channels of several kinds. What its parameters
    are is asked of the first channel with each list, and assumed to be the same with the others. Of a board whose
    ``model`` has been asked already, the lists are assumed to be that one's, and asked later; a number or choice is
    assumed to be what it is there if its exponent, or its word, is.

    mistaken  True when a list was not that of the model: all is to be asked again, without it
    items     what was found
    assumed   labels of items about which the crate was not asked
    served    True when PVs have been made of what was found; whoever makes them sets it
    probe     how the board answered before the first question; None: not asked, or no answer
    """

    def __init__(self, board: Board | None, channels: Sequence[int], model: Model | None = None) -> None:
        self.board = board
        self.mistaken = False
        self.items: list[Item] = []
        self.assumed: list[str] = []
        self.probe: Board | None = None
        self.served = False
        self._channels = channels
        self._model = model or Model()
        self._kinds: dict[tuple[str, ...], list[Item]] = {}
        self._todo: deque[_Task] = deque()
        self._later: list[_Task] = []
        self._first_due: Backoff | None = None  # of them
        self._denied: list[_Task] = []
        self._running: tuple[_Task, Question[None]] | None = None
        if board is None:
            self._todo += [_Task(self._list_properties), _Task(self._list_commands)]
        else:
            self.items.append(Facts(label=label_of(board.slot, None), slot=board.slot, board=board))
            self._todo.append(_Task(self._look))
            for each in (None, *channels):
                what = f"the list of parameters of {label_of(board.slot, each)}"
                self._todo.append(_Task(partial(self._list, channel=each), what))
            self._todo.append(_Task(self._ask_names))

    @property
    def ready(self) -> bool:
        """Return True when all was asked once: what is left was asked in vain."""
        return not self._todo

    @property
    def done(self) -> bool:
        """Return True when all was answered."""
        return not self._todo and not self._later

    @property
    def due(self) -> bool:
        """Return True if there is something to ask now."""
        return bool(self._todo) or not self.served or (self._first_due is not None and self._first_due.due)

    @property
    def missing(self) -> Sequence[str]:
        """Return what the crate lists, and did not tell so far, or denies."""
        return [task.what for task in (*self._later, *self._denied) if task.what]

    @property
    def denies(self) -> bool:
        """Return True if there is something that the crate has denied each time."""
        return bool(self._denied)

    def ask_again(self) -> None:
        """Ask once more for what the crate denied: it may have it in another session."""
        for task in self._denied:
            task.backoff = Backoff()
            self._ask_later(task)
        self._denied.clear()

    def step(self, session: Session) -> bool:
        """Make the next call; return True if it was answered. Raises LinkDown."""
        if self._running is None:
            waiting = self._todo or [task for task in self._later if task.backoff.due]
            self._running = waiting[0], waiting[0].ask(session)
        task, question = self._running
        try:
            next(question)
        except StopIteration:
            self._remove(task)
        except Unsupported as error:
            self._deny(task, error)
        except (BadReply, NoReply, BoardGone) as error:
            self._postpone(task, error)
            return False
        except DeviceError:
            self.interrupt()
            raise
        return True

    def interrupt(self) -> None:
        """Forget the half of a question that was asked in a session that is over."""
        self._running = None

    def _remove(self, task: _Task) -> None:
        self._running = None
        if task in self._later:
            self._later.remove(task)
            self._find_first_due()
        else:
            self._todo.remove(task)

    def _ask_later(self, task: _Task) -> None:
        self._later.append(task)
        self._find_first_due()

    def _find_first_due(self) -> None:
        """Find once what may be asked for before each question: there are hundreds of tasks."""
        self._first_due = min((task.backoff for task in self._later), key=lambda backoff: backoff.at, default=None)

    def _postpone(self, task: _Task, error: DeviceError) -> None:
        if not task.failed:
            log.warning("no PVs are made of it before it is answered: %s", error)
        self._remove(task)
        task.failed = True
        task.backoff.failed()
        self._ask_later(task)

    def _deny(self, task: _Task, error: DeviceError) -> None:
        """Ask again later for what the crate says that it does not have, or believe it."""
        task.denials += 1
        self._postpone(task, error)
        if task.denials >= _MOST_DENIALS and not task.kill:
            log.warning("left out (no PVs are made of it): %s", error)
            self._remove(task)
            self._denied.append(task)

    def _first(self, tasks: Sequence[_Task]) -> None:
        """Put tasks before all others."""
        self._todo.extendleft(reversed(tasks))

    # ---- the questions: the last call of each is followed by nothing that can fail ----

    def _look(self, session: Session) -> Question[None]:
        assert self.board is not None
        yield from ()
        if self.probe is not None:  # it has answered already
            return
        try:
            self.probe = probe(session, self.board.slot)
        except Unsupported as error:
            log.debug("%s", error)

    def _list(self, session: Session, channel: int | None) -> Question[None]:
        """Ask for the parameters of a channel, or (None) of the board, or take those of a like board."""
        assert self.board is not None
        yield from ()
        slot = self.board.slot
        if channel in self._model.lists:
            names = self._model.lists[channel]
            confirmation = _Task(partial(self._confirm_list, channel=channel, names=names))
            confirmation.backoff.delay(_LISTS_AFTER)
            self._ask_later(confirmation)
        else:
            names = _distinct_names(session, slot, channel)
            self._model.lists[channel] = names
        alike = self._kinds.get(names)
        if channel is None or alike is None:
            found: list[Item] = []
            if channel is not None:
                self._kinds[names] = found
            self._first([self._parameter(slot, channel, name, names, found) for name in names])
            return
        copies = [_of(item, slot, channel) for item in alike]
        self.items += copies
        self.assumed += [item.label for item in copies]
        known = {item.label for item in copies}
        missing = [name for name in names if f"{label_of(slot, channel)}:{clean(name)}" not in known]
        self._first([self._parameter(slot, channel, name, names, alike) for name in missing])

    def _confirm_list(self, session: Session, channel: int | None, names: tuple[str, ...]) -> Question[None]:
        assert self.board is not None
        yield from ()
        self.mistaken = self.mistaken or _distinct_names(session, self.board.slot, channel) != names

    def _parameter(
        self, slot: int, channel: int | None, name: str, names: tuple[str, ...], found: list[Item]
    ) -> _Task:
        key = channel is not None, names, name

        def ask(session: Session) -> Question[None]:
            try:
                item = yield from self._like_twin(session, slot, channel, self._model.items.get(key))
                if item is None:
                    item = yield from ask_parameter(session, slot, channel, name)
                    self._model.items[key] = item
                else:
                    self.assumed.append(item.label)
            except (BadReply, NoReply) as error:
                if channel is None or not is_switch(name):
                    raise
                log.warning("served for an Off alone until it is answered: %s", error)
                item = assumed_switch(slot, channel, name)
                self.assumed.append(item.label)
            else:
                if all(other.label.rsplit(":", 1)[1] != clean(name) for other in found):
                    found.append(item)
            self.items.append(item)

        return _Task(ask, f"{label_of(slot, channel)}:{clean(name)}", is_kill(name))

    def _like_twin(
        self, session: Session, slot: int, channel: int | None, twin: Item | None
    ) -> Question[Item | None]:
        """Return a number or choice like that of a board of the same model, if its exponent or word is the same."""
        if not isinstance(twin, Variable) or not isinstance(twin.format, Number | Choice):
            return None
        alike = yield from is_like(session, slot, channel, twin.name, twin.format)
        return _of(twin, slot, channel) if alike else None

    def _ask_names(self, session: Session) -> Question[None]:
        """Ask for the channels' names, unless there are none; those that cannot be read now are served as well."""
        assert self.board is not None
        yield from ()
        slot = self.board.slot
        if not self._channels:
            return
        try:
            with session.asking(f"{label_of(slot, None)}: names", slot) as device:
                channel_names(device, slot, self._channels)
        except Unsupported:
            raise
        except BadReply as error:
            log.warning("%s", error)
        self.items += [
            ChannelName(
                label=f"{label_of(slot, channel)}:Name",
                slot=slot,
                channel=channel,
                name="Name",
                format=Text(_NAME_SIZE),
                writable=True,
            )
            for channel in self._channels
        ]

    def _list_properties(self, session: Session) -> Question[None]:
        yield from ()
        self._first([self._property(name) for name in property_names(session)])

    def _property(self, name: str) -> _Task:
        def ask(session: Session) -> Question[None]:
            yield from ()
            self.items.append(ask_property(session, name))

        return _Task(ask, f"Sys:{clean(name)}")

    def _list_commands(self, session: Session) -> Question[None]:
        yield from ()
        names = command_names(session)
        self.items += [Command(label=f"Cmd:{clean(name)}", name=name) for name in names if name]


def _distinct_names(session: Session, slot: int, channel: int | None) -> tuple[str, ...]:
    """Return the names of the parameters. Raises BadReply for a channel of which none is told: it has some."""
    names = tuple(dict.fromkeys(parameter_names(session, slot, channel)))
    if not names and channel is not None:  # a board that was just plugged in, or a crate that powers up
        raise BadReply(f"{label_of(slot, channel)}: the crate lists no parameters of the channel")
    return names


def probe(session: Session, slot: int) -> Board:
    """Ask a slot for its board, which is cheap and disturbs nothing. Raises DeviceError."""
    with session.asking(f"board in slot {slot}", slot) as device:
        board = board_in(device, slot)
    session.trust("presence", lambda device: board_in(device, slot))
    return board


def assumed_switch(slot: int, channel: int, name: str) -> Item:
    """Return a channel's switch of which the crate has not told anything: an Off is sent, all else waits."""
    return ChannelParameter(
        label=f"{label_of(slot, channel)}:{clean(name)}",
        slot=slot,
        channel=channel,
        name=name,
        format=Switch(("Off", "On")),
        writable=True,
    )


def _of(item: Item, slot: int, channel: int | None) -> Item:
    """Return the same parameter of another channel or board."""
    name = item.label.rsplit(":", 1)[1]
    return replace(item, slot=slot, channel=channel, label=f"{label_of(slot, channel)}:{name}")
