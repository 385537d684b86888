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
    """

    def __init__(self, table: PointTable, assumed: Iterable[str]) -> None:
        self._table = table
        variables = (label for label in assumed if isinstance(table.items.get(label), Variable))
        self.stale: dict[str, None] = {}
        self.assumed = dict.fromkeys(sorted(variables, key=self._order))
        self.unit_unknown = {label for label in self.assumed if _is_current(table.variable(label))}

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

    def start_refresh(self) -> Variable:
        """Return the parameter to ask about next. What was assumed is asked about once."""
        label = min(self.stale, key=self._order) if self.stale else next(iter(self.assumed))
        self.assumed.pop(label, None)
        self.unit_unknown.discard(label)
        return self._table.variable(label)

    def end_refresh(self, variable: Variable) -> None:
        """Mark a parameter as asked about."""
        self.stale.pop(variable.label, None)

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
