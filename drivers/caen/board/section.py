"""What is served of one board, or of the crate itself: read in batches, and void when the board is gone."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Any

from drivers.base import Array, BadReply, DeviceError, NoReply, Reading, Readings, Status, Step, Value
from drivers.caen.bits import SWITCHES
from drivers.caen.board.batch import CURRENTS, RANGES, ReadBatch, batches
from drivers.caen.board.confirmation import Confirmation
from drivers.caen.board.doubts import Doubts
from drivers.caen.board.eventlog import EventLog
from drivers.caen.board.metadata import ParameterMetadata
from drivers.caen.board.points import PointTable
from drivers.caen.board.relative import SetpointAlarms
from drivers.caen.board.rest import Rest
from drivers.caen.board.values import NO_UNIT, Values, invalid
from drivers.caen.config import Config
from drivers.caen.items import MONITOR, SETTINGS, ChannelName, Facts, Item, Property, Variable
from drivers.caen.retry import LAG, Backoff
from drivers.caen.session import UNHEARD, BoardGone, Session, Unsupported

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board
    from caen_libs.caenhvwrapper import Device

log = logging.getLogger(__name__)

# Failures of common calls in a row after which a board's further calls have to wait for the time that there is for
# what failed, and after which it is no longer searched for the parameter or channel that is to blame
_TROUBLE, _SILENCE = 4, 8
_TIMEOUT_WEIGHT = 4
# Seconds between two tries of a board of which something cannot be read: its parameters, with waits of up to half a
# minute each, take turns, so that one that answers again is noticed soon
_KNOCK = 2.0
# Seconds after which what is measured is not shown if a scan passes it over: two periods. On a slow line values may
# become older, but only while they wait for their turn
_MOST_AGE = 2.0

# Why all of a board is INVALID; the worst alarm of crate and board has it behind a name, in 39 characters
_GONE = "the board is gone"


class Section:
    """The items of one board; ``slot`` and ``board`` are None for those of the crate itself.

    present   False when the board was pulled: the points stay, and are INVALID
    absence   when to look again for a board that is not present
    probe     how the board answered when it was last looked for
    table     its items and points
    metadata  which units and limits have to be asked for again
    values    what was read last
    events    what happens, in one line a scan
    batches   what is read in one call each
    doubts    settings that are to be read again
    tried_at  when a call failed last (monotonic s)
    rounded   label -> value that was put, and the step that the unit took instead
    untold    labels of settings that cannot be read and are to be told not to be known
    off_in_vain  labels of switches whose last Off was sent and not shown yet
    """

    def __init__(
        self,
        config: Config,
        board: Board | None,
        items: Iterable[Item],
        assumed: Iterable[str] = (),
    ) -> None:
        where = "the system" if board is None else f"{board.model} in slot {board.slot}"
        self.name = f"{config.host}: {where}"
        self.slot = None if board is None else board.slot
        self.board = board
        self.probe: Board | None = None
        self.present = True
        self.absence = Backoff()
        self.events = EventLog(self.name)
        self.table = PointTable(board, items)
        self.metadata = ParameterMetadata(self.table, assumed)
        self._rest = Rest(config.alarms.at_rest_only)
        self._alarms = SetpointAlarms(config.relative_alarms, self.table.variables(), self._rest)
        self.doubts = Doubts(self.table)
        self.off_in_vain: set[str] = set()
        self.rounded: dict[str, tuple[Any, Any]] = {}
        self.untold: set[str] = set()
        self.values = Values(self.table, self.metadata, self._alarms, self.doubts)
        self._confirmation = Confirmation(self.values)
        self._on_sent: dict[int | None, float] = {}  # channel -> when it was put to On last (monotonic s)
        self._renew()

    def inherit(self, before: Section) -> None:
        """Take over what is known of the same board, served with other items until now.

        What puts leave behind is shared, for those under way go on with the section of before.
        """
        self.metadata.inherit(before.metadata)
        self.untold = before.untold
        self.rounded, self.off_in_vain, self._on_sent = before.rounded, before.off_in_vain, before._on_sent
        self.values.under_way = before.values.under_way

    def note_put(self, setting: Variable) -> None:
        """Note that a setting is being set: what was read of it is old, and of others it may be."""
        self.doubts.setting_sent(setting)
        self._confirmation.overtake(setting)
        self.untold.discard(setting.label)

    def note_on(self, switch: Variable) -> None:
        """Note that a channel is being switched on."""
        self._on_sent[switch.channel] = monotonic()
        self.off_in_vain.discard(switch.label)

    def shows_off(self, switch: Variable, bits: Collection[str] | None) -> bool:
        """Return True if the bits of a channel's status do not contradict that its switch is off.

        None: its status is not known.
        """
        if bits is not None and SWITCHES & set(bits) and "DOWN" not in bits:
            return False
        return not self.may_come_on(switch.channel)

    def may_come_on(self, channel: int | None) -> bool:
        """Return True while a crate may still have an On before it that was sent to a channel.

        Then a channel that is off, or comes down, proves nothing: it may come on behind an Off that was sent later,
        and an Off that the crate has lost looks as if it were carried out.
        """
        return monotonic() - self._on_sent.get(channel, -math.inf) <= LAG

    @property
    def in_trouble(self) -> bool:
        """Return True while the board's calls fail one after the other: it is read behind all others."""
        return self._failures >= _TROUBLE

    def restore(self) -> None:
        """Mark the board as there (again): everything is worth another try, and no unit, word or status certain."""
        pulled = self.absence.at > 0
        self.present = True
        self.absence = Backoff()
        self._renew()
        if pulled:  # after a login all groups are read at once anyway
            self._overdue = set(self.batches)
        self._alarms.reset()
        self.doubts.clear()
        self.values.forget_status()
        self.metadata.doubt_units()
        self.metadata.doubt_words()

    def _renew(self) -> None:
        self._failures = 0
        self.tried_at = 0.0
        self._heard: set[int | None] = set()  # channels of which something was answered since a batch timed out first
        self._overdue = set()
        self._ahead: set[ReadBatch] = set()  # of other groups, read in the monitor scan in progress
        self._void = False  # True when all that was read of a board that is gone has been told to be INVALID
        self.batches: tuple[ReadBatch, ...] = tuple(batches(each for each in self.table.variables() if each.readable))
        self._last_ranges = {batch.group: batch for batch in self.batches if batch.order == RANGES}

    def mark_gone(self, error: DeviceError) -> None:
        """Mark the board as not there any more."""
        if self.present:
            self.absence.failed()
            self.doubt_unreadable()
        self.present = False
        self.events.board_gone(error)

    def doubt_unreadable(self) -> None:
        """Let what was put to settings that cannot be read be told not to be known: nothing else would end it.

        Where a board was pulled another one may come, or the same one without its settings.
        """
        self.untold = {each.label for each in self.table.variables() if not each.readable}

    def lose(self, error: DeviceError) -> Readings:
        """Mark the board as not there any more; return INVALID for all that is read of it."""
        self.mark_gone(error)
        return self._all_gone()

    def facts(self) -> Readings:
        """Return what the board is."""
        found: Mapping[str, Value | Reading] = {}
        for item in self.table.items.values():
            if isinstance(item, Facts):
                found = item.readings()
        return found if self.present else invalid(found, Status.COMM, _GONE)

    def read_names(self, session: Session) -> Iterator[Step]:
        """Read the channels' names, for the descriptions. Raises LinkDown."""
        for batch in filter(self._has_names, self.batches):
            yield from self.read(session, batch)

    def first_batches(self) -> Iterator[ReadBatch]:
        """Yield the batches in the order of a first reading, behind the names: ranges also before all else."""
        yield from self._last_ranges.values()
        yield from (batch for batch in self.batches if not self._has_names(batch))

    def _has_names(self, batch: ReadBatch) -> bool:
        return isinstance(self.table.items[batch.labels[0]], ChannelName)

    def due(self, session: Session, group: str) -> Iterator[ReadBatch]:
        """Yield what a scan of a group reads; that of the monitor group also settings that do not wait for theirs.

        They failed in a call of which the bad ones are not found yet, or the board did not answer for some time.
        """
        self._confirmation.discard(group)  # of a scan that was not ended: by then it may be of any age
        for batch in self.batches:
            if batch.group == group:
                self._overdue.discard(batch)
                yield batch
        for batch in self.batches if group == MONITOR else ():
            if batch.group != MONITOR and (batch in self._overdue or batch.undecided) and session.allowance.free:
                self._overdue.discard(batch)
                self._ahead.add(batch)
                yield batch

    def read(self, session: Session, batch: ReadBatch) -> Iterator[Step]:
        """Read the variables of a batch, in one call where possible; what cannot be read is INVALID. Raises LinkDown.

        Currents of a board with ranges come when their ranges have been read behind them.
        """
        self.values.begin(batch.labels)
        if self.untold:
            yield self._tell_untold()
        if self.present:
            yield from self._read_present(session, batch)
        if not self.present:
            if self._void:
                yield self.values.invalidate(batch.labels, Status.COMM, _GONE)
            else:
                yield self._all_gone()

    def _read_present(self, session: Session, batch: ReadBatch) -> Iterator[Step]:
        void = set(batch.good) if self._means_nothing(batch.good) else set()
        done: set[str] = set(void)
        read: set[str] = set()
        if void:
            yield self.values.invalidate(batch.good, Status.UDF, NO_UNIT)
        while self.present and (labels := self._next_call(session, batch, done)):
            done.update(labels)
            step = self._read_some(session, batch, labels)
            if step is not UNHEARD:
                read.update(labels)
            yield step
        for part in batch.parts if self.present else ():
            if part.tries:
                yield self.values.invalidate(part.labels, part.status)
        # A range that was not read may have moved: it must not confirm the currents before it
        old = batch.group == MONITOR and monotonic() - batch.read_at > _MOST_AGE
        if self.present and (old or batch.order == RANGES):
            bad = {label for part in batch.parts if part.tries for label in part.labels}
            if unread := [label for label in batch.labels if label not in read | void | bad]:
                yield self.values.invalidate(unread, Status.READ if batch.order == RANGES else Status.TIMEOUT)
        if self.present and batch is self._last_ranges.get(batch.group):
            yield from self._confirmed(session, batch.group)

    def _confirmed(self, session: Session, group: str) -> Iterator[Readings]:
        """Yield the currents of a group, whose ranges have been read behind them. Raises LinkDown."""
        for variables, readings in self._confirmation.release(group):
            try:
                yield self._with_alarms(session, variables, readings)
            except BoardGone as error:
                yield self.lose(error)
                return

    def _means_nothing(self, labels: Sequence[str]) -> bool:
        """Return True for currents none of which has a unit yet; of a switch its channel's status may tell enough."""
        unknown = self.metadata.unknown
        return bool(labels) and unknown.issuperset(labels) and not self.table.variable(labels[0]).switch

    def _next_call(self, session: Session, batch: ReadBatch, done: Collection[str]) -> Sequence[str]:
        """Return what to read of a batch next: all that was good before, then parts until the bad ones are found."""
        good = tuple(label for label in batch.good if label not in done)
        if good and (not self.in_trouble or session.allowance.free):
            return good
        part = batch.to_search() if session.allowance.free else None
        return () if part is None else part.labels

    def retry(self, session: Session, group: str) -> Iterator[Step]:
        """Try again what could not be read of a group and whose time has come. Raises LinkDown."""
        self._knock()
        ahead = set(self._ahead) if group == MONITOR else set()
        self._ahead -= ahead
        # What failed least first, for there may be time for one alone
        for batch in sorted(self.batches, key=lambda batch: max((part.tries for part in batch.parts), default=0)):
            if batch.group != group and batch not in ahead:
                continue
            while self.present and session.allowance.free and (part := batch.due() or batch.to_search()):
                yield self._read_some(session, batch, part.next_labels(), again=True)
            if batch in ahead and batch.due():  # there was no time left
                self._overdue.add(batch)

    def retry_settings(self, session: Session) -> Iterator[Step]:
        """Try again in the monitor scan settings that could not be read and whose time has come. Raises LinkDown.

        Those of a channel of which something measured cannot be read either, or of a board that answers nothing, come
        back with that.
        """
        lost = {
            self.table.variable(part.labels[0]).channel
            for batch in self.batches
            if batch.group == MONITOR and not batch.of_board
            for part in batch.parts
            if part.tries
        }
        for batch in self.batches:
            if batch.group != SETTINGS or not session.allowance.free or not self.present or self.in_trouble:
                continue
            part = batch.due()
            if part is not None and self.table.variable(part.labels[0]).channel not in lost:
                yield self._read_some(session, batch, part.next_labels(), again=True)

    def has_failed(self, group: str) -> bool:
        """Return True if something of a group could not be read, and its time has come to be tried again."""
        return self.present and any(batch.due() for batch in self.batches if batch.group == group)

    def leave_out(self, labels: Iterable[str], status: Status) -> None:
        """Leave out of common calls what cannot be read by itself: it is tried again soon, as all that failed."""
        wanted = set(labels)
        for batch in self.batches if wanted else ():
            for label in batch.labels:
                if label in wanted:
                    batch.leave_out(label, status)

    def refresh(self, session: Session, variable: Variable) -> Iterator[Step]:
        """Ask for limits and unit of a parameter that is marked, and for the value of a setting. Raises LinkDown.

        Settings whose units are what they were are read behind that in the same scan, many in one call. A current
        whose unit is another one is read at once with its range, before it is asked again.
        """
        question, before = self.metadata.ask(session, variable), variable
        read_it = variable.label in self.metadata.stale or variable.label in self.metadata.unknown
        began = monotonic()
        try:
            while True:
                try:
                    next(question)
                except StopIteration as end:
                    variable = end.value
                    break
                yield {}
            another = variable.current and variable.label in self.metadata.unknown
            setting = variable.writable and variable.group != MONITOR
            if read_it and variable.readable and (another or setting):
                if variable is before and not another:
                    self.doubts.labels[variable.label] = None
                    yield {}
                else:
                    yield from self.read_setting(session, [variable])
        except BoardGone as error:
            yield self.lose(error)
        except (BadReply, NoReply) as error:
            if self.metadata.postpone(variable):
                log.warning("%s", error)
            session.allowance.spend(monotonic() - began)
            yield UNHEARD

    def read_setting(self, session: Session, settings: Sequence[Variable]) -> Iterator[Readings]:
        """Read a setting of some channels; a current with its ranges behind it, for it may move with them."""
        currents = [setting for setting in settings if setting.current]
        ranges = {each.label: each for setting in currents for each in self.values.ranges_of(setting)}
        if not ranges:
            yield self.fetch(session, settings)
            return
        hold = f"{settings[0].name} by itself"
        self._confirmation.discard(hold)  # of a time when the ranges could not be read
        self._confirmation.hold(hold, settings, self._ask(session, settings))
        for family in _families(ranges.values()):
            yield self.fetch(session, family)
        for _, readings in self._confirmation.release(hold):
            yield readings

    def read_back(self, session: Session, setting: Variable, what: str = "") -> tuple[Any, Readings]:
        """Read what a put is to set, or has set; return the value and the readings. Raises DeviceError.

        A current is INVALID where its range was changed since the last scan.
        """
        (raw,) = self._ask(session, [setting], what)
        self._confirmation.overtake(setting)
        before = self.values.range_state(setting)
        readings: dict[str, Value | Array | Reading] = {}
        for each in self.values.ranges_of(setting) if setting.current else ():
            readings |= self.fetch(session, [each])
        certain = not setting.current or (before is not None and self.values.range_state(setting) == before)
        readings |= self.values.decode([setting], [raw], () if certain else (setting.label,))
        return raw, readings

    def _read_some(self, session: Session, batch: ReadBatch, labels: Sequence[str], again: bool = False) -> Step:
        """Read in one call; when that fails the batch says what to try next. Raises LinkDown.

        ``again`` is True behind the scan's ranges: currents take theirs along.
        """
        variables = [self.table.variable(label) for label in labels]
        began = monotonic()
        readings: Readings
        try:
            if again and batch.order == CURRENTS:
                readings = _merged(self.read_setting(session, variables))
            elif batch.order == CURRENTS:
                self._confirmation.hold(batch.group, variables, self._ask(session, variables))
                readings = {}
            else:
                readings = self._with_alarms(session, variables, self.fetch(session, variables))
        except BoardGone as error:
            return self.lose(error)
        except (BadReply, NoReply) as error:
            self._failed(batch, labels, error)
            session.allowance.spend(monotonic() - began)
            return UNHEARD
        self._heard.update(variable.channel for variable in variables)
        if labels == batch.good:
            batch.read_at = monotonic()
        back = batch.answered(labels)
        self.events.add(f"{label} can be read again" for label in back)
        if back or self._failures >= _SILENCE:
            self._hurry()
        self._failures = 0
        self.events.board_answered()
        return readings

    def _silent(self, *, board: bool) -> list[ReadBatch]:
        """Return what each scan reads of the board, or of its channels, if none of that can be read."""
        measured = [batch for batch in self.batches if batch.group == MONITOR and batch.of_board == board]
        return [] if any(batch.good for batch in measured) else measured

    def _knock(self) -> None:
        """Let one parameter be tried before its time, the one whose turn it is: of a board that is silent, or denied.

        A crate that denies a parameter says so at once, and may let it be read at any time.
        """
        parts = [part for board in (True, False) for batch in self._silent(board=board) for part in batch.parts]
        if not parts:
            failed = (part for batch in self.batches for part in batch.parts if part.tries)
            parts = [part for part in failed if part.status is Status.READ]
        if parts and monotonic() >= self.tried_at + _KNOCK:
            min(parts, key=lambda part: part.backoff.at).backoff.hurry()

    def _hurry(self) -> None:
        """Try at the next opportunity all that could not be read, and ask what was put off.

        All are read in the next monitor scan: that of the settings may have failed, or left them out.
        """
        for part in (part for batch in self.batches for part in batch.parts):
            part.backoff.hurry()
        self._overdue = set(self.batches)
        self.metadata.ask_postponed()

    def _failed(self, batch: ReadBatch, labels: Sequence[str], error: DeviceError) -> None:
        """Leave out what failed: the parameter of a channel, or the channel, or all of the board."""
        self.tried_at = monotonic()
        timed_out = error.status is Status.TIMEOUT
        if batch.good and set(labels) <= set(batch.good):
            self._failures += _TIMEOUT_WEIGHT if isinstance(error, NoReply) else 1
            if timed_out and not batch.parts:
                self._heard.clear()
        bad = self._bad_channels()
        suspects = [label for label in batch.labels if self.table.variable(label).channel in bad]
        if batch.failed(labels, error.status, suspects, self._failures >= _SILENCE):
            if self.board is None and isinstance(error, Unsupported):  # crates list properties that they do not have
                log.info("%s: %s", self.name, error)
            else:
                self.events.add([str(error)])
            bad = self._bad_channels()
            lost = {channel for channel, count in bad.items() if channel is not None and count > 1}
            # A channel that has to be waited for is given up at once, unless something else of it is answered
            channel = self.table.variable(labels[0]).channel
            if timed_out and channel in bad and channel is not None and channel not in self._heard:
                lost.add(channel)
            self._give_up(lost, error.status)

    def _bad_channels(self) -> Counter[int | None]:
        """Return the channels that cannot be read, each with the number of its parameters."""
        single = (part for batch in self.batches for part in batch.parts if part.tries and not part.whole)
        return Counter(self.table.variable(part.labels[0]).channel for part in single)

    def _give_up(self, channels: Collection[int | None], status: Status) -> None:
        """Leave channels out of all calls before they spoil them."""
        self.leave_out((each.label for each in self.table.variables() if each.channel in channels), status)

    def _all_gone(self) -> Readings:
        """Return INVALID for all that is read of the board, whichever group reads it."""
        self._void = True
        labels = (label for each in self.batches for label in each.labels)
        read = self.values.invalidate(labels, Status.COMM, _GONE)
        return {**read, **self._tell_untold()}

    def _tell_untold(self) -> Readings:
        """Return settings that cannot be read as not known, once."""
        labels, self.untold = self.untold, set()
        return invalid(labels, Status.UDF, "it cannot be read, and is not known now")

    def _with_alarms(self, session: Session, variables: Sequence[Variable], readings: Readings) -> Readings:
        """Put the alarms relative to the settings on what was measured. Raises LinkDown, BoardGone."""
        if not self._alarms.apply_to(variables[0]):
            return self._rest.without_limits(variables, readings)

        def read_again(labels: Sequence[str]) -> Readings:
            again = [self.table.variable(label) for label in labels]
            began = monotonic()
            try:
                return _merged(self.read_setting(session, again))
            except (BadReply, NoReply):
                session.allowance.spend(monotonic() - began)
                self.doubts.labels |= dict.fromkeys(each.label for each in again if each.group != MONITOR)
                raise

        return self._rest.without_limits(variables, self._alarms.add_alarms(variables, readings, read_again))

    def fetch(self, session: Session, variables: Sequence[Variable]) -> Readings:
        """Read in one call, and return the readings. Raises DeviceError."""
        return self.values.decode(variables, self._ask(session, variables))

    def _ask(self, session: Session, variables: Sequence[Variable], what: str = "") -> Sequence[object]:
        """Read in one call; the values come in the order of the channels asked for. Raises DeviceError."""
        first = variables[0]
        with session.asking(what or first.label, first.slot) as device:
            raws = first.fetch(device, [variable.index for variable in variables])

        def again(device: Device) -> object:
            return first.fetch(device, [first.index])

        kind = "property" if isinstance(first, Property) else "name" if isinstance(first, ChannelName) else "value"
        session.trust(kind, again)
        if kind == "value" and self._silent(board=first.channel is None):
            self._hurry()
            session.allowance.renew()
        return raws


def _merged(blocks: Iterable[Readings]) -> Readings:
    """Return all readings of some blocks; of one point the last one."""
    return dict(chain.from_iterable(block.items() for block in blocks))


def _families(variables: Iterable[Variable]) -> Iterable[list[Variable]]:
    """Return the variables in lists that one call can read."""
    families: dict[object, list[Variable]] = {}
    for variable in variables:
        families.setdefault(variable.family, []).append(variable)
    return families.values()
