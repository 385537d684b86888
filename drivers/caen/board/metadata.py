"""Units, limits and words of a board's parameters, which are assumed, or move: they have to be asked for (again)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from drivers.base import BadReply
from drivers.caen.board.importance import ByImportance, importance
from drivers.caen.board.points import PointTable
from drivers.caen.formats import Choice, Number
from drivers.caen.items import Item, Variable
from drivers.caen.questions import Question, ask_parameter, ask_unit, is_like
from drivers.caen.retry import Backoff
from drivers.caen.session import Session


class ParameterMetadata:
    """The parameters whose units and limits are not certain, and the questions about them.

    A label stays in its list until the crate has answered; what is marked again meanwhile is asked again.

    stale         labels of parameters that may have got other limits or units
    unconfirmed   labels of numbers whose unit alone is asked, and of choices of which one word is: of those that are
                  assumed, of choices and currents again after a reconnect, and of currents in turn
    assumed       labels of parameters about which the crate was not asked yet
    unknown       labels of what means nothing yet: currents that are in one of these lists, or whose channel may have
                  got another range, and switches whose words are assumed, or may be others since a reconnect
    corrected     label -> item that was assumed, and is of another kind
    failing       True when the last question was asked in vain
    """

    def __init__(self, table: PointTable, assumed: Iterable[str]) -> None:
        self._table = table
        variables = [label for label in assumed if isinstance(table.items.get(label), Variable)]
        quick = [label for label in variables if isinstance(table.variable(label).format, Number | Choice)]
        self.stale = ByImportance(self._importance)
        self.assumed = ByImportance(self._importance, variables)
        self.unconfirmed = ByImportance(self._importance, quick)
        self.unknown = {label for label in self.assumed if _is_void(table.variable(label))}
        self.corrected: dict[str, Item] = {}
        self.failing = False
        self._postponed: dict[str, Backoff] = {}  # asked in vain
        self._marks: Counter[str] = Counter()  # how often a label was marked
        self._turn = 0

    def setting_changed(self, setting: Variable) -> None:
        """Mark what a changed setting may move: limits, units and settings of its channel (or its board)."""
        related = (item for item in self._table.variables() if setting.channel in (None, item.channel))
        volatile = [item for item in related if item.volatile]
        if setting.range:
            self.unknown.update(item.label for item in volatile if item.current)
        self._mark(self.stale, volatile)

    def doubt_units(self, channel: int | None = None) -> None:
        """Mark the currents of a channel (None: of all), whose range may have been changed while it was not read."""
        currents = [item for item in self._table.variables() if item.current and channel in (None, item.channel)]
        self.unknown.update(item.label for item in currents)
        self._mark(self.unconfirmed, currents)
        self.ask_postponed()

    def doubt_words(self) -> None:
        """Mark the switches and lists: a crate that was restarted may have other words for them."""
        items = self._table.variables()
        choices = [item for item in items if isinstance(item.format, Choice) and item.slot is not None]
        self.unknown.update(item.label for item in choices if item.switch)
        self._mark(self.unconfirmed, choices)

    def knows_words(self, choice: Variable) -> bool:
        """Return True if the crate has told the words of a choice since it was assumed to have them, or doubted.

        The one word of a switch that is asked first is enough: the other one is Off then.
        """
        return choice.label not in self.unconfirmed

    def ask_next_unit(self) -> None:
        """Ask for the unit of the next current in turn: whatever moved it unseen does not stay unseen for ever.

        While others wait to be asked, they come first.
        """
        currents = [item for item in self._table.variables() if item.current]
        if currents and self.next_unit() is None:
            self._turn += 1
            self._mark(self.unconfirmed, [currents[self._turn % len(currents)]])

    def _mark(self, labels: ByImportance, variables: Iterable[Variable]) -> None:
        marked = [variable.label for variable in variables]
        labels.update(marked)
        self._marks.update(marked)

    def next_stale(self) -> Variable | None:
        """Return the parameter that is to be asked in full next, those that were put off when their time has come."""
        return self._next(self.stale)

    def next_unit(self) -> Variable | None:
        """Return the number or choice whose unit or word is to be asked next."""
        return self._next(self.unconfirmed)

    def next_assumed(self) -> Variable | None:
        """Return the first parameter that is assumed."""
        return self._next(self.assumed)

    def _next(self, labels: ByImportance) -> Variable | None:
        label = labels.first(self._due)
        return None if label is None else self._table.variable(label)

    def _importance(self, label: str) -> int:
        return importance(self._table.variable(label))

    def _due(self, label: str) -> bool:
        return label not in self._postponed or self._postponed[label].due

    def postpone(self, variable: Variable) -> bool:
        """Put off a question without an answer, so that it does not hold up the others; its unit stays unknown.

        Return True for the first time since the crate answered it.
        """
        self.failing = True
        first = variable.label not in self._postponed
        self._postponed.setdefault(variable.label, Backoff()).failed()
        return first

    def ask_postponed(self) -> None:
        """Put the questions that were put off among the next ones."""
        for backoff in self._postponed.values():
            backoff.hurry()

    def ask(self, session: Session, variable: Variable) -> Question[Variable]:
        """Ask the crate about a parameter that is marked; return it as it is now. Raises DeviceError.

        It is the same object as before if the unit alone was asked, and has not changed.
        """
        label, mark = variable.label, self._marks[variable.label]
        quick = label in self.unconfirmed and label not in self.stale
        if quick and (yield from self._is_confirmed(session, variable)):
            if self._marks[label] == mark:
                self._answered(label, self.unconfirmed)
            now = variable
        else:
            now = yield from self.question(session, variable)
        self.failing = False
        return now

    def question(self, session: Session, variable: Variable) -> Question[Variable]:
        """Ask the crate for a parameter's unit and limits; return the parameter as it is now. Raises DeviceError.

        A current with another unit than before is asked once more, and means nothing until then: its range may have
        been changed and changed back while it was asked.
        """
        mark, before = self._marks[variable.label], self._table.variable(variable.label)
        now = yield from self._ask(session, variable)
        if self._marks[variable.label] == mark:
            self._answered(variable.label, self.stale, self.unconfirmed, self.assumed)
            if now.current and _unit(now) != _unit(before):
                self.unknown.add(now.label)
                self._mark(self.unconfirmed, [now])
        return now

    def marks(self, label: str) -> int:
        """Return how often a parameter was marked."""
        return self._marks[label]

    def inherit(self, other: ParameterMetadata) -> None:
        """Take over what is not certain of the parameters that are in both."""
        mine: set[str] = {item.label for item in self._table.variables()} - other.corrected.keys()
        for labels, others in ((self.stale, other.stale), (self.unconfirmed, other.unconfirmed)):
            labels.update(label for label in others if label in mine)
        self.unknown |= other.unknown & mine

    def _answered(self, label: str, *lists: ByImportance) -> None:
        for labels in lists:
            labels.discard(label)
        self.unknown.discard(label)
        self._postponed.pop(label, None)

    def _is_confirmed(self, session: Session, variable: Variable) -> Question[bool]:
        """Ask for what tells in one or two calls that a parameter is what it was, or was assumed to be."""
        assert variable.slot is not None
        where = variable.slot, variable.channel, variable.name
        form = self._table.variable(variable.label).format
        if isinstance(form, Choice) or (isinstance(form, Number) and variable.label in self.assumed):
            # Another channel of the same list told the rest, which is asked later
            return (yield from is_like(session, *where, form))
        unit = yield from ask_unit(session, *where)
        return unit == _unit(self._table.variable(variable.label))

    def _ask(self, session: Session, variable: Variable) -> Question[Variable]:
        assert variable.slot is not None
        now = yield from ask_parameter(session, variable.slot, variable.channel, variable.name)
        if not isinstance(now, Variable) or now.family != variable.family:
            if variable.label in self.assumed:
                self.corrected[variable.label] = now
            raise BadReply(f"{variable.label} is no longer the kind of parameter that it was")
        if variable.label not in self.assumed:  # those that another channel told are not its own
            now = _with_limits(now, self._table.variable(variable.label))
        now = replace(now, board=variable.board)
        self._table.replace(now)
        return now


def _is_void(variable: Variable) -> bool:
    """Return True for what is not shown while it is assumed: a factor of 1000, or On for Off, may be wrong."""
    return variable.current or variable.switch


def _unit(variable: Variable) -> tuple[str, int] | None:
    """Return a number's unit, its text and its decimal exponent; None for what is no number."""
    form = variable.format
    return (form.egu, form.exponent) if isinstance(form, Number) else None


def _with_limits(now: Variable, before: Variable) -> Variable:
    """Return the parameter with its former limits where the crate names none any more, or such as make no sense."""
    new, old = now.format, before.format
    if not isinstance(new, Number) or not isinstance(old, Number):
        return now
    told = new.limits_known and new.low is not None
    if told or not old.limits_known or (new.egu, new.exponent) != (old.egu, old.exponent):
        return now
    if old.low is None:
        return now
    return replace(now, format=replace(new, low=old.low, high=old.high, limits_known=True))
