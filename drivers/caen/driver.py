"""The CAEN crate as an instrument: its boards in turn, and the questions that go between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from time import monotonic
from typing import ClassVar

from drivers.base import (
    BadReply,
    DeviceError,
    Driver,
    Example,
    LinkDown,
    NoReply,
    NotShown,
    Point,
    Readings,
    Refused,
    Step,
    Value,
    Wait,
)
from drivers.caen import config as configuration
from drivers.caen.board.importance import importance
from drivers.caen.board.metadata import ParameterMetadata
from drivers.caen.board.reread import read_unknown, reread, reread_confirmed
from drivers.caen.board.section import Section
from drivers.caen.board.unserved import unserved
from drivers.caen.inventory import Inventory
from drivers.caen.items import MONITOR, SETTINGS, Command, Item, Variable, summary
from drivers.caen.puts import Kills, execute, reaches, send, set_variable, status_words
from drivers.caen.questions import label_of
from drivers.caen.retry import looks
from drivers.caen.session import UNHEARD, BoardGone, Session

# Seconds of a monitor scan that questions about units and limits may take
_REFRESH_TIME = 0.25
# Seconds of a monitor scan that reading may take of what has moved by itself
_REREAD_TIME = 0.25
# Seconds that a monitor scan may take while there are things that are not shown as true yet: two periods, for values
# may be as old as that; and while what is assumed has not been asked yet: nearly its period
_DISCOVERY_TIME, _ASSUMED_TIME = 2.0, 0.95
# Seconds before each look whether a kill was carried out
_LOOK_AFTER = looks(0.005, 0.1, 0.4)


class Caen(Driver):
    """A crate with its boards and channels.

    Nothing is assumed of boards, parameters, units or limits: the crate is asked. Nothing is written except what a
    put asks for.
    """

    Config: ClassVar[type[configuration.Config]] = configuration.Config
    scan: ClassVar = {MONITOR: 1.0, SETTINGS: 10.0}
    discovers = True
    # A crate has few sessions, and one that was lost counts for some time
    longest_retry = 30.0
    # A crate closes a session that says nothing for 15 to 30 s
    longest_period: ClassVar[float | None] = 10.0
    # Slot, channel, 9 characters of a parameter, the longest name of a bit; properties: assumed
    name_size = 32
    tables = frozenset({"measurements"})

    def __init__(self, config: configuration.Config) -> None:
        self.points: tuple[Point, ...] = ()
        channel = label_of(*config.first_channel)
        self.example = Example(f"{channel}:VMon", f"{channel}:V0Set 500")
        self._config = config
        self._session: Session | None = None
        self._tells_no_boards = False  # the crate let one log in last, and did not tell its boards
        self._inventory = Inventory(config)
        self._kills = Kills()
        self._question: Iterator[Step] | None = None  # that was begun
        self._asks_moved = False  # the question that was begun is about what may have moved
        self._lead = 0.0  # seconds that such questions had more than the others that waited meanwhile
        # Of the last monitor scan without its questions: when it began (monotonic s), and how long it took
        self._read_at = self._reading_time = 0.0

    def connect(self) -> Readings:
        """Log in and ask the crate for its boards; what they have is asked in the course of the monitor scans.

        A board that was there before and is the same is not asked again. Raises DeviceError.
        """
        self.close()
        self._tells_no_boards = False
        self._session = Session(self._config, self.urgent)
        try:
            self._inventory.start(self._session)
        except DeviceError:
            self.close()
            self._tells_no_boards = True
            raise
        self._read_at = monotonic()
        self._publish()
        return {}

    @property
    def exploring(self) -> bool:
        """Return True while there are boards that have not been asked yet what they have."""
        return self._inventory.discovering

    @property
    def unserved(self) -> Iterator[str]:
        """Yield a sentence for each thing that is configured or listed by the crate, and not served."""
        sections = tuple(self._inventory.sections.values())
        return chain(unserved(self._config, sections), self._inventory.missing)

    def close(self) -> None:
        """Log out, so that the crate does not count a session that nobody uses."""
        session, self._session = self._session, None
        self._question = None
        self._inventory.stop()
        if session is not None:
            session.close()

    def read(self, group: str) -> Iterator[Step]:
        """Read a scan group, one block for each call.

        Between the blocks are empty ones, for the calls that ask for limits or new boards. After a setting changed,
        the monitor group brings the channel's settings too: a lower SVMax drags V0Set down at once.
        Raises LinkDown.
        """
        session = self._open_session()
        replies = session.replies
        if group == MONITOR:
            session.allowance.begin()
        first = self._first(session) if group == MONITOR else self._inventory.check(session)
        for block in chain(first, self._batches(session, group)):
            if session.map_changed:
                self._inventory.follow(session)
            self._publish()
            yield block
        for section in self._inventory.sections.values():
            section.events.flush()
        if session.replies == replies:  # nothing is served, or nothing was answered: is the crate there?
            session.confirm()
            yield {} if session.replies != replies else UNHEARD

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        """Set or execute one thing; yield what the crate reads back until it shows it, at once and after each wait.

        Raises Refused with the limit's or the crate's sentence, or when the crate reads back something else for a
        second; another DeviceError when it is not known what the crate did. What makes things safe is sent whatever
        is known of the board.
        """
        session = self._open_session()
        section = self._inventory.sections[point.addr.slot]
        item = section.table.items.get(point.addr.label)
        if point.safe is not None and value == point.safe:
            item = item or point.addr
            if isinstance(item, Variable) and item.safe is not None:  # the words may be others since
                value = item.safe
        elif item is None or not section.present:
            raise Refused(f"{point.name}: not sent, {section.name} is gone, or no longer has it")
        elif point.addr.board != section.board:
            raise Refused(f"{point.name}: not sent, it was meant for the board that was there before {section.name}")
        if self.energizes(point, value) and (kill := self._kills.over(item)):
            raise Refused(f"{point.name}: not sent, {kill.label} is pending and would switch it off again")
        if isinstance(item, Variable):
            steps = set_variable(session, section, item, point.addr, value)
        else:
            assert isinstance(item, Command)
            steps = execute(session, item, value)
        kills = value == point.safe and not item.switch
        if kills:
            self._kills.begin(item)
            steps = chain(steps, self._confirm_kill(session, item))
        try:
            for step in steps:
                self._publish()
                yield step
            self._kills.end(item)
            section.off_in_vain.discard(item.label)
        except DeviceError:
            if isinstance(item, Variable) and item.switch and value == item.safe:
                section.off_in_vain.add(item.label)
            raise
        finally:
            self._publish()

    def write_blind(self, point: Point, value: Value) -> Iterator[Step]:
        """Send what makes things safe over a login of its own where the crate told no boards after the last one.

        Which board is in the slot is not known then: an Off harms none. Raises DeviceError.
        """
        if not self._tells_no_boards:
            yield from super().write_blind(point, value)
        if self._session is None:  # for all that is sent until the next ``connect``
            self._session = Session(self._config, self.urgent)
            yield {}
        send(self._session, point.addr, value)

    def _confirm_kill(self, session: Session, kill: Item) -> Iterator[Step]:
        """Look at the status words until all channels in reach were seen off. Raises NotShown.

        A crate may answer a kill and not carry it out. Where no status can be read the answer has to do. A board that
        cannot be seen is waited for as long as the crate map has it: it may be on.
        """
        self._kills.begin(kill)
        if self._unseen(kill) and self._kills.map_question.due:  # the map is of the time when it was there
            self._kills.map_question.failed()
            yield Wait()
            with suppress(BadReply, NoReply):
                session.read_map()
        sections = self._inventory.sections.values()
        words = [(section, found) for section in sections if (found := status_words(section, kill))]
        for pause in _LOOK_AFTER if words else ():
            yield Wait(pause)
            for section, found in words:
                readings: Readings = {}
                with suppress(BadReply, NoReply, BoardGone):
                    readings = section.fetch(session, found)
                yield readings if readings else Wait()
                if self._is_shown(kill, readings):
                    return
        if unseen := self._unseen(kill):
            slot = unseen[0]
            raise NotShown(f"{kill.label}: it was sent, but the board in slot {slot} cannot be seen now")
        if words:
            raise NotShown(f"{kill.label}: it was sent, but the status does not show each channel off yet")

    def _is_shown(self, kill: Item, readings: Readings) -> bool:
        """Return True if each channel in the reach of a kill was seen off since it was sent."""
        sections = self._inventory.sections.values()
        return self._kills.is_shown(kill, sections, readings, complete=not self._unseen(kill))

    def _unseen(self, kill: Item) -> Sequence[int]:
        """Return the slots in the reach of a kill whose boards the crate map has, and which cannot be seen now."""
        return [slot for slot in self._inventory.unseen(self._open_session()) if kill.slot in (None, slot)]

    def energizes(self, point: Point, value: Value) -> bool:
        """Return True for switching a channel on."""
        return super().energizes(point, value) and point.addr.switch

    def shown(self, point: Point, value: Value, readings: Readings) -> bool:
        """Return True if readings show what makes a point safe: the switch; for a kill, all its channels' status."""
        if point.addr.switch:
            section = self._inventory.sections[point.addr.slot]
            bits = section.values.status(point.addr.channel)
            return super().shown(point, value, readings) and section.shows_off(point.addr, bits)
        return self._session is not None and self._is_shown(point.addr, readings)

    def undoes(self, safe: Point, waiting: Point) -> bool:
        """Return True for what waits behind a kill of its channel, board or crate, and for the same switch."""
        if safe.name == waiting.name:
            return True
        return not safe.addr.switch and reaches(safe.addr, waiting.addr)

    def _open_session(self) -> Session:
        if self._session is None:
            raise LinkDown(f"{self._config.host} is not connected")
        return self._session

    def _publish(self) -> None:
        """Show new boards, limits, units and names in ``points``."""
        tables = [section.table for section in self._inventory.sections.values()]
        if any(table.changed for table in tables):
            boards = [f"{label_of(slot, None)}:" for slot in self._inventory.sections if slot is not None]
            worst = [summary((), "", boards)] if boards else []
            self.points = (*chain.from_iterable(table.points for table in tables), *worst)
        for table in tables:
            table.changed = False

    def _first(self, session: Session) -> Iterator[Step]:
        """Read what failed puts may have set, and ask what is to be asked."""
        for section in tuple(self._inventory.sections.values()):
            yield from read_unknown(section, session)
        yield from self._questions(session)

    def _batches(self, session: Session, group: str) -> Iterator[Step]:
        sections = self._inventory.sections
        began = monotonic()
        if group == MONITOR:
            self._read_at = began
        left = _REREAD_TIME
        for section in sorted(sections.values(), key=lambda section: section.in_trouble):
            for batch in section.due(session, group):
                if sections[section.slot] is section:
                    yield from section.read(session, batch)
            if group == MONITOR and sections[section.slot] is section:
                before = monotonic()
                yield from reread(section, session, before + left)
                left -= monotonic() - before
        if group == MONITOR:
            self._reading_time = monotonic() - began
        # Last of all, for it may have to be waited for; the board that failed last waits for the others
        for section in sorted(sections.values(), key=lambda section: section.tried_at):
            if sections[section.slot] is section:
                yield from section.retry(session, group)
        if group == MONITOR:
            yield from self._retry_settings(session)

    # ---- what is asked a little at a time ----

    def _questions(self, session: Session) -> Iterator[Step]:
        """Ask for limits again, new boards what they have, and what was assumed, for a part of the scan's time.

        A question of several calls may go on in the next scan.
        """
        began = monotonic()
        yield from self._inventory.look_again(session)
        while monotonic() < self._questions_end(began):
            self._question = self._question or self._next_question(session)
            if self._question is None:
                return
            before = monotonic()
            block = next(self._question, None)
            self._lead += (monotonic() - before) * (1 if self._asks_moved else -1)
            if block is None:
                self._question = None
                yield from self._inventory.correct(session)
            else:
                yield block

    def _retry_settings(self, session: Session) -> Iterator[Step]:
        """Read again settings that could not be read, unless what is measured waits for the same time of the line.

        One lost answer does not make a setting INVALID until the next scan of the settings.
        """
        sections = self._inventory.sections
        if any(section.has_failed(MONITOR) for section in sections.values()):
            return
        for section in sorted(sections.values(), key=lambda section: section.tried_at):
            if sections[section.slot] is section:
                yield from section.retry_settings(session)

    def _next_question(self, session: Session) -> Iterator[Step] | None:
        """Return the most important question, as its steps; None when there is none to be asked now.

        What may have moved comes first, but shares the time with what is not shown before it is asked: settings that
        move all the time must not leave other boards' currents without a unit, and new boards unserved.
        """
        sections = [
            section
            for section in self._inventory.sections.values()
            if section.present and (session.allowance.free or not (section.in_trouble or section.metadata.failing))
        ]
        stale = _most_important(sections, ParameterMetadata.next_stale)
        discovery = self._inventory.next_discovery(session)
        unit = None if discovery else _most_important(sections, ParameterMetadata.next_unit)
        others = discovery or unit
        if not (stale and others):
            self._lead = 0.0
        self._asks_moved = stale is not None and (self._lead <= 0.0 or not others)
        if discovery and not self._asks_moved:
            return self._inventory.discover(session, discovery)
        found = stale if self._asks_moved else unit or _most_important(sections, ParameterMetadata.next_assumed)
        return self._refresh(session, *found) if found else None

    def _refresh(self, session: Session, section: Section, variable: Variable) -> Iterator[Step]:
        yield from section.refresh(session, variable)
        yield from reread_confirmed(section, session, variable)

    def _questions_end(self, began: float) -> float:
        """Return until when a scan that ``began`` may ask: there must be time left to read what is served already.

        Only what is not shown as true yet may make a scan longer, and only so that no value becomes too old.
        """
        metadata = [section.metadata for section in self._inventory.sections.values()]
        if self.exploring or any(each.unknown for each in metadata):
            return max(self._read_at + _DISCOVERY_TIME, began + _ASSUMED_TIME)
        if any(each.assumed for each in metadata):
            return began + max(_ASSUMED_TIME - self._reading_time, _REFRESH_TIME)
        return began + _REFRESH_TIME


def _most_important(
    sections: Iterable[Section], next_of: Callable[[ParameterMetadata], Variable | None]
) -> tuple[Section, Variable] | None:
    """Return the most important parameter to ask about, with its board; None when there is none."""
    found = [(section, each) for section in sections if (each := next_of(section.metadata))]
    return min(found, key=lambda question: importance(question[1]), default=None)
