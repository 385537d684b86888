"""The CAEN crate as an instrument: its boards in turn, and the questions that go between."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from time import monotonic
from typing import ClassVar

from drivers.base import BadReply, DeviceError, Driver, Example, LinkDown, Point, Readings, Refused, Step, Value
from drivers.caen import config as configuration
from drivers.caen.discovery import label_of
from drivers.caen.inventory import Inventory
from drivers.caen.items import MONITOR, SETTINGS, Command, Variable
from drivers.caen.puts import execute, set_variable
from drivers.caen.session import BoardGone, Garbled, Session
from drivers.caen.unserved import unserved

# Seconds of a monitor scan that questions about units and limits may take
_REFRESH_TIME = 0.25
# Seconds that a monitor scan may take as long as the crate was not asked about everything yet
_DISCOVERY_TIME = 0.75


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
    # Slot, channel, 9 characters of a parameter, the longest name of a bit; properties: assumed
    name_size = 32
    tables = frozenset({"measurements"})

    def __init__(self, config: configuration.Config) -> None:
        self.points: tuple[Point, ...] = ()
        channel = label_of(*config.first_channel)
        self.example = Example(f"{channel}:VMon", f"{channel}:V0Set 500")
        self._config = config
        self._session: Session | None = None
        self._inventory = Inventory(config)
        self._reading_time = 0.0  # s of the last monitor scan without the questions before it

    def connect(self) -> Readings:
        """Log in and ask the crate for its boards; what they have is asked in the course of the monitor scans.

        A board that was there before and is the same is not asked again. Raises DeviceError.
        """
        self.close()
        self._session = Session(self._config)
        try:
            self._inventory.start(self._session)
        except DeviceError:
            self.close()
            raise
        self._publish()
        return {}

    @property
    def exploring(self) -> bool:
        """Return True while there are boards that have not been asked yet what they have."""
        return self._inventory.discovering

    @property
    def unserved(self) -> Iterator[str]:
        """Yield a sentence for each slot, channel and relative alarm that is configured and that no board has."""
        return unserved(self._config, tuple(self._inventory.sections.values()))

    def close(self) -> None:
        """Log out, so that the crate does not count a session that nobody uses."""
        session, self._session = self._session, None
        self._inventory.stop()
        if session is not None:
            session.close()

    def read(self, group: str) -> Iterator[Step]:
        """Read a scan group, one block for each call.

        Between the blocks are empty ones, for the calls that ask for limits or new boards. After a setting changed,
        the monitor group brings the channel's settings too: a lower SVMax drags V0Set down at once.
        Raises LinkDown, NoReply.
        """
        session = self._open_session()
        mark = session.mark()
        first = self._questions(session) if group == MONITOR else self._inventory.check(session)
        for block in chain(first, self._batches(session, group)):
            self._publish()
            yield block
        for section in self._inventory.sections.values():
            section.events.flush()
        session.check(mark)

    def write(self, point: Point, value: Value) -> Iterator[Step]:
        """Set or execute one thing, read it back and yield that.

        Raises Refused with the limit's or the crate's sentence, or when the crate reads back something else for a
        second; NoReply or BadReply when it is not known whether the crate took it.
        """
        session = self._open_session()
        section = self._inventory.sections[point.addr.slot]
        item = section.table.items.get(point.addr.label)
        if item is None or not section.present:
            raise Refused(f"{point.name}: not sent, {section.name} is gone, or no longer has it")
        try:
            if isinstance(item, Variable):
                yield set_variable(session, section, item, point.addr, value)
                return
            assert isinstance(item, Command)
            yield execute(session, item, value)
        except Garbled:
            raise
        except (BadReply, BoardGone) as error:
            raise Refused(str(error)) from error
        finally:
            self._publish()

    def energizes(self, point: Point, value: Value) -> bool:
        """Return True for switching a channel on."""
        return super().energizes(point, value) and not isinstance(point.addr, Command)

    def undoes(self, safe: Point, waiting: Point) -> bool:
        """Return True for what waits behind a Kill, and for earlier puts to the switch that was switched off."""
        return isinstance(safe.addr, Command) or safe.name == waiting.name

    def _open_session(self) -> Session:
        if self._session is None:
            raise LinkDown(f"{self._config.host} is not connected")
        return self._session

    def _publish(self) -> None:
        """Show new boards, limits, units and names in ``points``."""
        tables = [section.table for section in self._inventory.sections.values()]
        if any(table.changed for table in tables):
            self.points = tuple(chain.from_iterable(table.points for table in tables))
        for table in tables:
            table.changed = False

    def _batches(self, session: Session, group: str) -> Iterator[Readings]:
        sections = self._inventory.sections
        began = monotonic()
        for section in tuple(sections.values()):
            for batch in section.batches:
                if batch.group == group and sections[section.slot] is section:
                    yield from section.read(session, batch)
        if group == MONITOR:
            self._reading_time = monotonic() - began

    # ---- what is asked a little at a time ----

    def _questions(self, session: Session) -> Iterator[Readings]:
        """Ask for limits again, new boards what they have, and what was assumed, for a part of the scan's time."""
        began = monotonic()
        while monotonic() < began + self._question_time():
            present = [section for section in self._inventory.sections.values() if section.present]
            stale = [section for section in present if section.metadata.stale]
            assumed = [section for section in present if section.metadata.assumed]
            if stale:
                yield stale[0].refresh(session)
            elif self.exploring:
                yield self._inventory.discover()
            elif assumed:
                yield min(assumed, key=lambda section: section.metadata.first_assumed()).refresh(session)
            else:
                return

    def _question_time(self) -> float:
        """Leave time to read what is served already, unless that alone takes longer than there is."""
        assumed = any(section.metadata.assumed for section in self._inventory.sections.values())
        if not self.exploring and not assumed:
            return _REFRESH_TIME
        left = _DISCOVERY_TIME - self._reading_time
        return left if left > _REFRESH_TIME else _DISCOVERY_TIME
