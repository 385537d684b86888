"""The CAEN crate as an instrument: its sections in turn, boards that come and go, puts that are read back."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from time import monotonic, sleep
from typing import TYPE_CHECKING, ClassVar

from drivers.base import BadReply, DeviceError, Driver, Example, LinkDown, Point, Readings, Refused, Value
from drivers.caen import config as configuration
from drivers.caen.discovery import board_items, crate_items, label_of
from drivers.caen.formats import Number, Raw
from drivers.caen.items import MONITOR, SETTINGS, Command, Item, Property, Variable
from drivers.caen.section import Section
from drivers.caen.session import BoardGone, Garbled, Session, Unsupported

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board

log = logging.getLogger(__name__)

_CHORE_TIME = 0.25  # s of a monitor scan that limits may take
_SURVEY_TIME = 0.75  # s that a monitor scan may take as long as the crate was not asked about everything yet
_IN_FULL = 10.0  # s after the login in which every channel is asked about each of its parameters
_READ_BACK_AFTER = (0.0, 0.05, 0.1, 0.15, 0.25, 0.4)  # s: crates take up to a second to show what they were told


class Caen(Driver):
    """A crate with its boards and channels.

    Nothing is assumed of boards, parameters, units or limits: the crate is asked. Nothing is written except what a
    put asks for.
    """

    Config: ClassVar[type[configuration.Config]] = configuration.Config
    scan: ClassVar = {MONITOR: 1.0, SETTINGS: 10.0}
    discovers = True
    longest_retry = 30.0  # a crate has few sessions, and one that was lost counts for some time
    name_size = 32  # slot, channel, 9 characters of a parameter, the longest name of a bit; properties: assumed
    tables = frozenset({"measurements"})

    def __init__(self, config: configuration.Config) -> None:
        self.points: tuple[Point, ...] = ()
        channel = label_of(*config.first_channel)
        self.example = Example(f"{channel}:VMon", f"{channel}:V0Set 500")
        self._config = config
        self._session: Session | None = None
        self._sections: dict[int | None, Section] = {}
        self._entering: dict[int, Iterator[Readings]] = {}  # boards that are being asked what they have
        self._slots = 0
        self._turn = 0
        self._reading_time = 0.0  # s of the last monitor scan without its chores
        self._hurry_at = 0.0

    def connect(self) -> None:
        """Log in and ask the crate for its boards; what they have is asked in the course of the monitor scans.

        A board that was there before and is the same is not asked again.
        """
        self.close()
        self._session = Session(self._config)
        try:
            self._explore(self._session)
        except DeviceError:
            self.close()
            raise

    @property
    def exploring(self) -> bool:
        """True while there are boards that have not been asked yet what they have."""
        return bool(self._entering)

    def close(self) -> None:
        """Log out, so that the crate does not count a session that nobody uses."""
        session, self._session = self._session, None
        self._entering.clear()
        if session is not None:
            session.close()

    def read(self, group: str) -> Iterator[Readings]:
        """Read a scan group, one block for each call.

        Between the blocks are empty ones, for the calls that ask for limits or new boards. After a setting changed,
        the monitor group brings the channel's settings too: a lower SVMax drags V0Set down at once.
        """
        session = self._open_session()
        mark = session.mark()
        first = self._chores(session) if group == MONITOR else self._visits(session)
        for block in chain(first, self._batches(session, group)):
            self._publish()
            yield block
        for section in self._sections.values():
            section.report()
        session.check(mark)

    def write(self, point: Point, value: Value) -> Readings:
        """Set or execute one thing, read it back and return that.

        Raises Refused with the limit's or the crate's sentence, or when the crate reads back something else for a
        second; NoReply or BadReply when it is not known whether the crate took it.
        """
        session = self._open_session()
        section = self._sections[point.addr.slot]
        item = section.items.get(point.addr.label)
        if item is None or not section.present:
            raise Refused(f"{point.name}: not sent, {section.name} is not there or does not have it")
        try:
            if isinstance(item, Variable):
                return self._set(session, section, item, point.addr, value)
            assert isinstance(item, Command)
            return self._execute(session, item, value)
        except Garbled:
            raise
        except (BadReply, BoardGone) as error:
            raise Refused(str(error)) from error
        finally:
            self._publish()

    def urgent(self, point: Point, value: Value) -> bool:
        """True for switching a channel off and for killing the whole crate."""
        item = point.addr
        if isinstance(item, Command):
            return item.name.upper() == "KILL" and value == 1
        return isinstance(item, Variable) and item.name.upper() == "PW" and value == 0

    def undoes(self, urgent: Point, waiting: Point) -> bool:
        """True for what waits behind a Kill, and for earlier puts to the switch that was switched off."""
        return isinstance(urgent.addr, Command) or urgent.name == waiting.name

    def _batches(self, session: Session, group: str) -> Iterator[Readings]:
        began = monotonic()
        for section in tuple(self._sections.values()):
            for batch in section.batches:
                if batch.group == group and self._sections[section.slot] is section:
                    yield from section.read(session, batch)
        if group == MONITOR:
            self._reading_time = monotonic() - began

    def _publish(self) -> None:
        """Show new boards, limits, units and names in ``points``."""
        sections = self._sections.values()
        if any(section.changed for section in sections):
            self.points = tuple(chain.from_iterable(section.points for section in sections))
        for section in sections:
            section.changed = False

    def _open_session(self) -> Session:
        if self._session is None:
            raise LinkDown(f"{self._config.host} is not connected")
        return self._session

    # ---- what the crate has ----

    def _explore(self, session: Session) -> None:
        crate = _crate_map(session)
        self._slots = len(crate)
        self._hurry_at = monotonic() + _IN_FULL
        boards = {board.slot: board for board in crate if board is not None and self._config.serves(board.slot)}
        for slot in self._config.channels or ():
            if slot not in boards:
                log.warning("%s: there is no board in slot %d, which is configured", self._config.host, slot)
        for section in self._sections.values():
            section.present = False
        self._adopt(session, self._section(None, crate_items(session)))
        for board in boards.values():
            known = self._sections.get(board.slot)
            if known is not None and known.board == board:
                known.come_back()
            else:
                self._entering[board.slot] = self._enter(session, board)

    def _enter(self, session: Session, board: Board) -> Iterator[Readings]:
        """Ask a board what it has, serve it, and read it all for the first time.

        Yields after each few calls, so that puts get in between. Of a large rack only the first seconds' channels are
        asked in full: the others are served as assumed from their likes, and verified in the scans that follow.
        """
        items, assumed, probe = [], [], None
        channels = self._config.chosen(board.slot, board.n_channel)
        if missing := self._config.beyond(board.slot, board.n_channel):
            log.warning(
                "%s: the %s in slot %d has no channels %s", self._config.host, board.model, board.slot, missing
            )
        try:
            with suppress(BadReply):
                probe = _probe(session, board.slot)
            for item, asked in board_items(session, board, channels, lambda: monotonic() < self._hurry_at):
                items.append(item)
                if not asked:
                    assumed.append(item.label)
                yield {}
        except BoardGone as error:
            log.warning("%s", error)
            return
        section = self._section(board, items, assumed)
        section.probe = probe  # of before the questions: if the board was changed meanwhile, the next visit sees it
        self._adopt(session, section)
        yield section.facts()
        for batch in section.batches:
            yield from section.read(session, batch)

    def _section(self, board: Board | None, items: Iterable[Item], assumed: Iterable[str] = ()) -> Section:
        slot = None if board is None else board.slot
        return Section(self._config.host, slot, board, self._config.relative_alarms, items, assumed)

    def _adopt(self, session: Session, section: Section) -> None:
        """Serve a section in place of what the slot had."""
        section.read_names(session)
        self._sections[section.slot] = section
        self._publish()
        log.info("%s, %d points", section.name, len(section.points))

    # ---- boards that come and go ----

    def _visits(self, session: Session) -> Iterator[Readings]:
        """Look for every board that should be there, and for new ones."""
        for slot in [*(slot for slot in self._sections if slot is not None), *self._empty_slots()]:
            yield self._visit(session, slot)

    def _empty_slots(self) -> tuple[int, ...]:
        """The slots that the configuration names; without one, each empty slot in its turn."""
        if self._config.channels is not None:
            return tuple(slot for slot in self._config.channels if slot not in self._sections)
        empty = [slot for slot in range(self._slots) if slot not in self._sections]
        self._turn += 1
        return (empty[self._turn % len(empty)],) if empty else ()

    def _visit(self, session: Session, slot: int) -> Readings:
        """Look whether the board is there and the same, and return its facts."""
        section = self._sections.get(slot)
        try:
            probe = _probe(session, slot)
        except BoardGone as error:
            if section is not None:
                section.lose(error)
        except Unsupported:
            if section is not None:
                section.present = True  # this system cannot tell; the next reading will
        except BadReply as error:
            log.debug("%s", error)
        else:
            self._meet(session, slot, probe)
        return section.facts() if section is not None else {}

    def _meet(self, session: Session, slot: int, probe: Board) -> None:
        """Judge by what a slot answers: the board of before, or another one, which is asked what it has.

        The answer is compared with the last one and not with the crate map: it has but 16 bits of the serial number.
        """
        section = self._sections.get(slot)
        if section is not None:
            same = section.present and section.probe in (None, probe)
            section.probe = probe
            if same:
                return
        if slot in self._entering or slot >= self._slots:
            return
        board = _crate_map(session)[slot]
        if section is not None and section.board == board:
            section.come_back()
            log.info("%s is back", section.name)
            return
        if section is not None:
            section.present = False
        if board is not None:
            self._entering[slot] = self._enter(session, board)

    # ---- what is done a little at a time ----

    def _chores(self, session: Session) -> Iterator[Readings]:
        """Ask for limits again, new boards what they have, and what was assumed, for a part of the scan's time."""
        began = monotonic()
        while monotonic() < began + self._chore_time():
            present = [section for section in self._sections.values() if section.present]
            stale = [section for section in present if section.stale]
            assumed = [section for section in present if section.assumed]
            if stale:
                yield stale[0].refresh(session)
            elif self._entering:
                yield self._go_on_entering()
            elif assumed:
                yield min(assumed, key=Section.unsure).refresh(session)
            else:
                return

    def _chore_time(self) -> float:
        """Leave time to read what is served already, unless that alone takes longer than there is."""
        if not self.exploring and not any(section.assumed for section in self._sections.values()):
            return _CHORE_TIME
        left = _SURVEY_TIME - self._reading_time
        return left if left > _CHORE_TIME else _SURVEY_TIME

    def _go_on_entering(self) -> Readings:
        slot, survey = next(iter(self._entering.items()))
        block = next(survey, None)
        if block is None:
            del self._entering[slot]
        return block or {}

    # ---- puts ----

    def _execute(self, session: Session, command: Command, value: Value) -> Readings:
        if value not in (0, 1):
            raise Refused(f"{command.label}: 1 executes, 0 does nothing; {value!r} is neither")
        if value == 1:
            with session.asking(command.label, command.slot) as device:
                command.execute(device)
        return {command.label: 0}

    def _set(self, session: Session, section: Section, item: Variable, meant: Variable, value: Value) -> Readings:
        if isinstance(item.format, Number) and not isinstance(item, Property):
            item = _check_unit(section.ask_again(session, item), meant)
        try:
            raw = item.format.raw(value)
        except Refused as error:
            raise Refused(f"{item.label}: {error}") from None
        try:
            with session.asking(item.label, item.slot) as device:
                item.write(device, raw)
        except Garbled:
            if not item.readable:
                raise
        return section.take([item], [_confirm(session, item, raw)]) if item.readable else {}


def _probe(session: Session, slot: int) -> Board:
    """Ask a slot for its board, which is cheap and disturbs nothing."""
    with session.asking(f"board in slot {slot}", slot) as device:
        return device.test_bd_presence(slot)


def _crate_map(session: Session) -> Sequence[Board | None]:
    """Ask for the boards. Never in the course of a scan: the library throws away what it knows of the crate."""
    with session.asking("crate map") as device:
        boards: Sequence[Board | None] = device.get_crate_map()
        return boards


def _check_unit(now: Variable, meant: Variable) -> Variable:
    """Return the parameter if its unit is still the one that was ``meant``: 5 uA are not sent as 5 mA."""
    before, after = meant.format.fields()["egu"], now.format.fields()["egu"]
    if before != after:
        raise Refused(f"{now.label}: its unit has changed from {before} to {after}; put it again")
    return now


def _confirm(session: Session, item: Variable, raw: Raw) -> Raw:
    """Read back until the crate says what it was told. Raises Refused with both values when it does not."""
    for pause in _READ_BACK_AFTER:
        sleep(pause)
        with session.asking(f"{item.label}: sent, but not read back", item.slot) as device:
            got: Raw = item.fetch(device, [item.index])[0]
        if item.format.agrees(raw, got):
            return got
    if item.format.agrees(raw, got, patient=False):
        return got
    raise Refused(f"{item.label}: {item.format.text(raw)} was asked, but the crate says {item.format.text(got)}")
