"""Units and limits of a board's parameters, which move with other settings and have to be asked for again."""

from __future__ import annotations

from collections.abc import Iterable

from drivers.base import BadReply
from drivers.caen.board.points import PointTable
from drivers.caen.discovery import ask_parameter
from drivers.caen.formats import Choice, Number
from drivers.caen.items import Variable
from drivers.caen.session import Session


class ParameterMetadata:
    """The parameters whose units and limits are not certain, and the questions about them.

    stale         labels of parameters that may have got other limits or units; a dict for its order
    assumed       labels of parameters about which the crate was not asked yet, in the order of the questions:
                  currents first, whose unit may differ from channel to channel
    unit_unknown  labels of the currents that are assumed, or whose channel may have got another range
    postponed     labels of parameters about which the crate was asked in vain, to be asked again
    """

    def __init__(self, table: PointTable, assumed: Iterable[str]) -> None:
        self._table = table
        variables = (label for label in assumed if isinstance(table.items.get(label), Variable))
        self.stale: dict[str, None] = {}
        self.assumed = dict.fromkeys(sorted(variables, key=self._order))
        self.unit_unknown = {label for label in self.assumed if _is_current(table.variable(label))}
        self.postponed: dict[str, None] = {}
        self._failed: set[str] = set()

    def _order(self, label: str) -> tuple[bool, bool]:
        variable = self._table.variable(label)
        return not _is_current(variable), variable.writable

    def first_assumed(self) -> tuple[bool, bool]:
        """Return the order of the first assumed parameter, to compare boards by: the lowest is to be asked first."""
        return self._order(next(iter(self.assumed)))

    def setting_changed(self, setting: Variable) -> None:
        """Mark what a changed setting may move: limits, units and settings of its channel (or its board)."""
        related = (item for item in self._table.variables() if setting.channel in (None, item.channel))
        volatile = [item for item in related if item.volatile]
        if type(setting.format) is Choice:  # such as a range of currents; not a switch
            self.unit_unknown.update(item.label for item in volatile if _is_current(item))
        self.stale |= dict.fromkeys(item.label for item in volatile)

    def next_question(self) -> Variable:
        """Return the parameter to ask about next."""
        label = min(self.stale, key=self._order) if self.stale else next(iter(self.assumed))
        return self._table.variable(label)

    def answered(self, variable: Variable) -> None:
        """Mark a parameter's unit and limits as known."""
        for labels in (self.stale, self.assumed):
            labels.pop(variable.label, None)
        self.unit_unknown.discard(variable.label)
        self._failed.discard(variable.label)

    def postpone(self, variable: Variable) -> bool:
        """Put off a question without an answer, so that it does not hold up the others; its unit stays unknown.

        Return True for the first time since the crate answered it.
        """
        for labels in (self.stale, self.assumed):
            labels.pop(variable.label, None)
        self.postponed[variable.label] = None
        first = variable.label not in self._failed
        self._failed.add(variable.label)
        return first

    def ask_postponed(self) -> None:
        """Put the questions that were put off among the next ones."""
        self.stale |= self.postponed
        self.postponed.clear()

    def read(self, session: Session, variable: Variable) -> Variable:
        """Ask the crate for a parameter's unit and limits; return the parameter as it is now. Raises DeviceError."""
        assert variable.slot is not None
        now = ask_parameter(session, variable.slot, variable.channel, variable.name)
        if not isinstance(now, Variable) or now.family != variable.family:
            raise BadReply(f"{variable.label} is no longer the kind of parameter that it was")
        self._table.replace(now)
        return now


def _is_current(variable: Variable) -> bool:
    return isinstance(variable.format, Number) and variable.format.current
