"""What is served of one board, or of the crate itself: its items, their points, and how they are read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from drivers.base import Array, BadReply, DeviceError, Point, Reading, Readings, Severity, Status, Value
from drivers.caen.arrays import ChannelArray, channel_arrays
from drivers.caen.batch import Batch, batches
from drivers.caen.config import RelativeAlarms
from drivers.caen.discovery import ask_parameter, label_of
from drivers.caen.formats import Choice, Number
from drivers.caen.items import ChannelName, Facts, Item, Property, Variable
from drivers.caen.relative import Judge
from drivers.caen.session import BoardGone, Session

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board

log = logging.getLogger(__name__)


class Section:
    """The items of one board; ``slot`` and ``board`` are None for those of the crate itself.

    present   False when the board was pulled: the points stay, and are INVALID
    probe     how the board answered when it was last looked for
    points    what the items look like; ``changed`` is set when there are new ones
    stale     labels of the parameters that may have got other limits or units; a dict for its order
    assumed   labels of those about which the crate was not asked yet; likewise. Currents, whose unit may differ
              from channel to channel, come first and are INVALID so long
    news      what has to be logged, in sentences; ``report`` does so
    """

    def __init__(
        self,
        host: str,
        slot: int | None,
        board: Board | None,
        alarms: RelativeAlarms,
        items: Iterable[Item],
        assumed: Iterable[str] = (),
    ) -> None:
        self.name = f"{host}: the system" if board is None else f"{host}: {board.model} in slot {slot}"
        self.slot = slot
        self.board = board
        self.items = _distinct(items)
        self.probe: Board | None = None
        self.stale: dict[str, None] = {}
        self.assumed = dict.fromkeys(sorted(filter(self._is_variable, assumed), key=self._importance))
        self.news: list[str] = []
        # currents of which the unit is not known, or may have changed with a range
        self._doubtful = {label for label in self.assumed if _is_current(self._variable(label))}
        self._titles: dict[int | None, str] = {}
        self._unplugged: set[int | None] = set()
        self._known: dict[str, tuple[Variable, Any, Readings]] = {}  # what was last read, and what it means
        self._array_of = dict(self._gather())
        self._told_gone = False
        self._judge = Judge(alarms, (item for item in self.items.values() if isinstance(item, Variable)))
        self.come_back()
        self._describe()

    def _gather(self) -> Iterator[tuple[str, ChannelArray]]:
        if self.board is None:
            return
        variables = [item for item in self.items.values() if isinstance(item, Variable)]
        for array in channel_arrays(self.board.n_channel, label_of(self.board.slot, None), variables):
            yield from ((label, array) for label in array.labels)

    def _is_variable(self, label: str) -> bool:
        return isinstance(self.items.get(label), Variable)

    def _importance(self, label: str) -> tuple[bool, bool]:
        variable = self._variable(label)
        return not _is_current(variable), variable.writable

    def unsure(self) -> tuple[bool, bool]:
        """Return how important the next assumed parameter is; the lowest comes first."""
        return self._importance(next(iter(self.assumed)))

    def report(self) -> None:
        """Log what happened since the last time, in one line: what hits one channel may hit them all."""
        if self.news:
            more = f" (and {len(self.news) - 1} more like it)" if len(self.news) > 1 else ""
            log.warning("%s: %s%s", self.name, self.news[0], more)
            self.news.clear()

    def come_back(self) -> None:
        """It is there (again): everything is worth another try."""
        self.present = True
        variables = (item for item in self.items.values() if isinstance(item, Variable) and item.readable)
        self.batches: tuple[Batch, ...] = tuple(batches(variables))
        self._judge.forget()

    def lose(self, error: DeviceError) -> None:
        """It is not there any more."""
        self.present = False
        if not self._told_gone:
            self._told_gone = True
            log.warning("%s is gone: %s", self.name, error)

    def facts(self) -> Readings:
        """Return what the board is."""
        found: Mapping[str, Value | Reading] = {}
        for item in self.items.values():
            if isinstance(item, Facts):
                found = item.readings()
        return found if self.present else _invalid(found, Status.COMM)

    # ---- reading ----

    def read_names(self, session: Session) -> None:
        """Read the channels' names, for the descriptions."""
        for batch in self.batches:
            if isinstance(self.items[batch.labels[0]], ChannelName):
                for _ in self.read(session, batch):
                    pass

    def read(self, session: Session, batch: Batch) -> Iterator[Readings]:
        """Read the variables of a batch, in one call where possible; what cannot be read is INVALID."""
        if array := self._array_of.get(batch.labels[0]):
            array.begin()
        if self.present:
            due = tuple(batch.due())
            waiting = set(batch.labels).difference(*due)
            if waiting:
                yield self._invalid(waiting, Status.READ)
            for labels in due:
                yield from self._read_some(session, batch, labels)
        if not self.present:
            yield self._invalid(batch.labels, Status.COMM)

    def _read_some(self, session: Session, batch: Batch, labels: Sequence[str]) -> Iterator[Readings]:
        """Read in one call; when that fails one by one, so that only the bad ones are lost."""
        if not self.present:
            return  # since the last block a put or the other scan found the board gone
        try:
            variables = [self._variable(label) for label in labels]
            readings = self._fetch(session, variables)
            if self._judge.judges(variables[0]):
                readings = self._judged(session, variables, readings)
        except BoardGone as error:
            self.lose(error)
            yield self._all_invalid()
        except BadReply as error:
            if len(labels) > 1:
                for label in labels:
                    yield from self._read_some(session, batch, (label,))
                return
            if batch.failed(labels[0]):
                self.news.append(str(error))
            yield self._invalid(labels, Status.READ)
        else:
            self._told_gone = False
            self.news += [f"{label} can be read again" for label in batch.answered(labels)]
            yield readings

    def _judged(self, session: Session, measured: Sequence[Variable], readings: Readings) -> Readings:
        """Put the relative alarms on what was measured.

        Before a new one is told the crate is asked again for the setting and the status: somebody may have changed
        the setting since it was read, or switched the channel off.
        """
        judge = self._judge
        alarms = judge.alarms(measured, readings)
        for doubted in judge.evidence(measured, alarms):
            variables = [self._variable(each.label) for each in doubted]
            try:
                readings = {**readings, **self._fetch(session, variables)}
            except BadReply as error:
                log.debug("%s", error)
                for variable in variables:
                    judge.lost(variable)
            alarms = judge.alarms(measured, readings)
        judge.tell(measured, alarms)
        return {**readings, **alarms}

    def _fetch(self, session: Session, variables: Sequence[Variable]) -> Readings:
        """Read in one call; the answers are in the order of the channels asked for."""
        first = variables[0]
        with session.asking(first.label, first.slot) as device:
            raws = first.fetch(device, [variable.index for variable in variables])
        return self.take(variables, raws)

    def take(self, variables: Sequence[Variable], raws: Sequence[Any]) -> Readings:
        """Turn what the crate said into readings, and note what it means for others."""
        readings: dict[str, Value | Array | Reading] = {}
        for variable, raw in zip(variables, raws, strict=True):
            known = self._known.get(variable.label)
            if known is None or known[1] != raw or known[0] is not variable:
                known = self._learn(variable, raw)
            readings.update(known[2])
        self._judge.note(variables, raws)
        if isinstance(variables[0], ChannelName):
            self._rename({variable.channel: str(raw) for variable, raw in zip(variables, raws, strict=True)})
        if self._unplugged or self._doubtful:
            for variable in variables:
                readings.update(self._void(variable))
        if array := self._array_of.get(variables[0].label):
            for variable in variables:
                array.take(variable, readings[variable.readback])
            readings |= _whole(array)
        return readings

    def _learn(self, variable: Variable, raw: Any) -> tuple[Variable, Any, Readings]:
        """Note a value that is not the one of before: most settings and status words stay for hours."""
        if variable.writable:
            self._notice(variable, raw)
        if variable.status:
            (self._unplugged.add if variable.unplugged(raw) else self._unplugged.discard)(variable.channel)
        self._known[variable.label] = known = (variable, raw, variable.readings(raw))
        return known

    def _void(self, variable: Variable) -> Readings:
        """Return what to say in place of a value that is not to be believed."""
        if variable.channel in self._unplugged and isinstance(variable.format, Number):
            # Nothing is connected there, but the crate goes on returning numbers.
            return _invalid(variable.shown, Status.COMM)
        if variable.label not in self._doubtful:
            return {}
        self._judge.lost(variable)
        return _invalid(variable.shown, Status.UDF)

    def _rename(self, titles: dict[int | None, str]) -> None:
        if titles.items() - self._titles.items():
            self._titles |= titles
            self._describe()

    # ---- limits, units and names that change ----

    def _notice(self, variable: Variable, raw: Any) -> None:
        """A setting that moved, by whosever hand, may move limits, units and settings of its channel (or board)."""
        known = self._known.get(variable.label)
        if known is None or known[1] == raw or isinstance(variable, ChannelName | Property):
            return
        self._judge.unsettle(variable.channel)
        related = (item for item in self.items.values() if variable.channel in (None, item.channel))
        volatile = [item for item in related if isinstance(item, Variable) and item.volatile]
        if type(variable.format) is Choice:  # such as a range of currents; not a switch
            self._doubtful.update(item.label for item in volatile if _is_current(item))
        self.stale |= dict.fromkeys(item.label for item in volatile)

    def refresh(self, session: Session) -> Readings:
        """Ask for limits and unit of one stale or assumed parameter, and for the value of a setting."""
        label = min(self.stale, key=self._importance) if self.stale else next(iter(self.assumed))
        self.assumed.pop(label, None)
        self._doubtful.discard(label)
        readings: Readings = {}
        try:
            now = self.ask_again(session, self._variable(label))
            readings = self._fetch(session, [now]) if now.writable and now.readable else {}
        except BoardGone as error:
            self.lose(error)
        except BadReply as error:
            log.warning("%s", error)
        self.stale.pop(label, None)
        return readings

    def ask_again(self, session: Session, item: Variable) -> Variable:
        """Return the parameter as the crate describes it now."""
        assert item.slot is not None
        now = ask_parameter(session, item.slot, item.channel, item.name)
        if not isinstance(now, Variable) or now.family != item.family:
            raise BadReply(f"{item.label} has become another kind of parameter")
        if now != item:
            self.items[item.label] = now
            self._describe()
        return now

    def _describe(self) -> None:
        self.points: tuple[Point, ...] = tuple(
            point for item in self.items.values() for point in item.points(self._title(item))
        )
        arrays = dict.fromkeys(self._array_of.values())
        self.points += tuple(array.point(map(self._variable, array.labels)) for array in arrays)
        self.changed = True

    def _title(self, item: Item) -> str:
        if self.slot is None:
            return ""
        return self._titles.get(item.channel) or label_of(self.slot, item.channel)

    def _variable(self, label: str) -> Variable:
        item = self.items[label]
        assert isinstance(item, Variable)
        return item

    def _all_invalid(self) -> Readings:
        """Nothing of a board that is gone is true any more, whichever group reads it."""
        return self._invalid((label for batch in self.batches for label in batch.labels), Status.COMM)

    def _invalid(self, labels: Iterable[str], status: Status) -> Readings:
        """Return readings for variables that cannot be read now."""
        readings: dict[str, Value | Array | Reading] = {}
        for label in labels:
            variable = self._variable(label)
            readings |= _invalid(variable.shown, status)
            self._judge.lost(variable)
            if array := self._array_of.get(label):
                array.fail(variable, status)
                readings |= _whole(array)
        return readings


def _is_current(variable: Variable) -> bool:
    return isinstance(variable.format, Number) and variable.format.current


def _whole(array: ChannelArray) -> Readings:
    """Return the array's reading with the last of its channels."""
    return {array.name: array.reading()} if array.complete else {}


def _invalid(names: Iterable[str], status: Status) -> Readings:
    """Return readings that keep the last values and say that they are not true now."""
    return dict.fromkeys(names, Reading(None, Severity.INVALID, status))


def _distinct(items: Iterable[Item]) -> dict[str, Item]:
    """Return the items by label, without those of whose points one is there already."""
    taken: set[str] = set()
    found = {}
    for item in items:
        names = {point.name for point in item.points("")}
        if names & taken:
            log.warning("left out: %s, which is there twice", item.label)
            continue
        taken |= names
        found[item.label] = item
    return found
