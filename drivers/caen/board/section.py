"""What is served of one board, or of the crate itself: read in batches, and void when the board is gone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from drivers.base import BadReply, DeviceError, Reading, Readings, Status, Value
from drivers.caen.board.batch import ReadBatch, batches
from drivers.caen.board.eventlog import EventLog
from drivers.caen.board.metadata import ParameterMetadata
from drivers.caen.board.points import PointTable
from drivers.caen.board.relative import SetpointAlarms
from drivers.caen.board.values import Values, invalid
from drivers.caen.config import RelativeAlarms
from drivers.caen.items import ChannelName, Facts, Item, Variable
from drivers.caen.session import BoardGone, Session

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board

log = logging.getLogger(__name__)


class Section:
    """The items of one board; ``slot`` and ``board`` are None for those of the crate itself.

    present   False when the board was pulled: the points stay, and are INVALID
    probe     how the board answered when it was last looked for
    table     its items and points
    metadata  which units and limits have to be asked for again
    values    what was read last
    events    what happens, in one line a scan
    batches   what is read in one call each
    """

    def __init__(
        self,
        host: str,
        board: Board | None,
        alarms: RelativeAlarms,
        items: Iterable[Item],
        assumed: Iterable[str] = (),
    ) -> None:
        self.name = f"{host}: the system" if board is None else f"{host}: {board.model} in slot {board.slot}"
        self.slot = None if board is None else board.slot
        self.board = board
        self.probe: Board | None = None
        self.events = EventLog(self.name)
        self.table = PointTable(board, items)
        self.metadata = ParameterMetadata(self.table, assumed)
        self._alarms = SetpointAlarms(alarms, self.table.variables())
        self.values = Values(self.table, self.metadata, self._alarms)
        self.restore()

    def restore(self) -> None:
        """Mark the board as there (again): everything is worth another try."""
        self.present = True
        self.batches: tuple[ReadBatch, ...] = tuple(batches(each for each in self.table.variables() if each.readable))
        self._alarms.reset()
        self.metadata.ask_postponed()

    def mark_gone(self, error: DeviceError) -> None:
        """Mark the board as not there any more."""
        self.present = False
        self.events.board_gone(error)

    def facts(self) -> Readings:
        """Return what the board is."""
        found: Mapping[str, Value | Reading] = {}
        for item in self.table.items.values():
            if isinstance(item, Facts):
                found = item.readings()
        return found if self.present else invalid(found, Status.COMM)

    def read_names(self, session: Session) -> None:
        """Read the channels' names, for the descriptions. Raises LinkDown, NoReply."""
        for batch in self.batches:
            if isinstance(self.table.items[batch.labels[0]], ChannelName):
                for _ in self.read(session, batch):
                    pass

    def read(self, session: Session, batch: ReadBatch) -> Iterator[Readings]:
        """Read the variables of a batch, in one call where possible; what cannot be read is INVALID.

        Raises LinkDown, NoReply.
        """
        self.values.begin(batch.labels)
        if self.present:
            due = tuple(batch.due())
            waiting = set(batch.labels).difference(*due)
            if waiting:
                yield self.values.invalidate(waiting, Status.READ)
            for labels in due:
                yield from self._read_some(session, batch, labels)
        if not self.present:
            yield self.values.invalidate(batch.labels, Status.COMM)

    def refresh(self, session: Session) -> Readings:
        """Ask for limits and unit of one stale or assumed parameter, and for the value of a setting.

        Raises LinkDown, NoReply.
        """
        variable = self.metadata.next_question()
        try:
            now = self.metadata.read(session, variable)
            self.metadata.answered(variable)
            return self._fetch(session, [now]) if now.writable and now.readable else {}
        except BoardGone as error:
            self.mark_gone(error)
        except BadReply as error:
            if self.metadata.postpone(variable):
                log.warning("%s", error)
        except DeviceError:
            self.metadata.postpone(variable)
            raise
        return {}

    def _read_some(self, session: Session, batch: ReadBatch, labels: Sequence[str]) -> Iterator[Readings]:
        """Read in one call; when that fails one by one, so that only the bad ones are INVALID."""
        if not self.present:
            return  # since the last block a put or the other scan found the board gone
        try:
            readings = self._measure(session, [self.table.variable(label) for label in labels])
        except BoardGone as error:
            self.mark_gone(error)
            # Nothing of a board that is gone is true any more, whichever group reads it.
            yield self.values.invalidate((label for each in self.batches for label in each.labels), Status.COMM)
        except BadReply as error:
            if len(labels) > 1:
                for label in labels:
                    yield from self._read_some(session, batch, (label,))
                return
            if batch.record_failure(labels[0]):
                self.events.add([str(error)])
            yield self.values.invalidate(labels, Status.READ)
        else:
            self.events.board_answered()
            self.events.add(f"{label} can be read again" for label in batch.record_success(labels))
            yield readings

    def _measure(self, session: Session, variables: Sequence[Variable]) -> Readings:
        """Read in one call, and put the alarms relative to the settings on what was measured."""
        readings = self._fetch(session, variables)
        if not self._alarms.apply_to(variables[0]):
            return readings

        def read_again(labels: Sequence[str]) -> Readings:
            return self._fetch(session, [self.table.variable(label) for label in labels])

        return self._alarms.add_alarms(variables, readings, read_again)

    def _fetch(self, session: Session, variables: Sequence[Variable]) -> Readings:
        """Read in one call; the values come in the order of the channels asked for."""
        first = variables[0]
        with session.asking(first.label, first.slot) as device:
            raws = first.fetch(device, [variable.index for variable in variables])
        return self.values.decode(variables, raws)
