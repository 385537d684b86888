"""The boards of a crate: found at the login, asked what they have, and looked for, as they come and go."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from drivers.base import BadReply, Readings
from drivers.caen.board.section import Section
from drivers.caen.config import Config
from drivers.caen.discovery import board_items, crate_items
from drivers.caen.items import Item
from drivers.caen.session import BoardGone, Session, Unsupported

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board

log = logging.getLogger(__name__)

# Seconds after the login in which every channel is asked about each of its parameters
_IN_FULL = 10.0


class Inventory:
    """What is served of a crate, board by board.

    sections  slot -> what is served of its board; None -> of the crate itself. A board that was pulled stays
    """

    def __init__(self, config: Config) -> None:
        self.sections: dict[int | None, Section] = {}
        self._config = config
        self._discoveries: dict[int, Iterator[Readings]] = {}  # slot -> of a board that is being asked what it has
        self._slots = 0
        self._turn = 0
        self._in_full_until = 0.0

    @property
    def discovering(self) -> bool:
        """Return True while there are boards that have not been asked yet what they have."""
        return bool(self._discoveries)

    def start(self, session: Session) -> None:
        """Find the boards after a login; those that are new or others than before are to be discovered.

        Raises DeviceError.
        """
        crate = _crate_map(session)
        self._slots = len(crate)
        self._in_full_until = monotonic() + _IN_FULL
        boards = {board.slot: board for board in crate if board is not None and self._config.serves(board.slot)}
        for slot in self._config.channels or ():
            if slot not in boards:
                log.warning("%s: slot %d is configured, but there is no board in it", self._config.host, slot)
        for section in self.sections.values():
            section.present = False
        self._add(session, self._section(None, crate_items(session)))
        for board in boards.values():
            known = self.sections.get(board.slot)
            if known is not None and known.board == board:
                known.restore()
            else:
                self._discoveries[board.slot] = self._discover(session, board)

    def stop(self) -> None:
        """Forget the boards that were being discovered: the session is over."""
        self._discoveries.clear()

    def discover(self) -> Readings:
        """Ask the next new board for a little of what it has. Raises LinkDown, NoReply."""
        slot, discovery = next(iter(self._discoveries.items()))
        block = next(discovery, None)
        if block is None:
            del self._discoveries[slot]
        return block or {}

    def check(self, session: Session) -> Iterator[Readings]:
        """Look for every board that should be there, and for new ones; ask again what was not answered.

        Raises LinkDown, NoReply.
        """
        for section in self.sections.values():
            section.metadata.ask_postponed()
        for slot in [*(slot for slot in self.sections if slot is not None), *self._empty_slots()]:
            yield self._check_slot(session, slot)

    def _section(self, board: Board | None, items: Iterable[Item], assumed: Iterable[str] = ()) -> Section:
        return Section(self._config.host, board, self._config.relative_alarms, items, assumed)

    def _add(self, session: Session, section: Section) -> None:
        """Serve a section in place of what the slot had."""
        section.read_names(session)
        self.sections[section.slot] = section
        log.info("%s has %d points", section.name, len(section.table.points))

    def _discover(self, session: Session, board: Board) -> Iterator[Readings]:
        """Ask a board what it has, serve it, and read it all for the first time.

        Yields after each few calls, so that puts get in between. Of a large rack only the first seconds' channels are
        asked in full: the others are served as assumed from their likes, and verified in the scans that follow.
        """
        items, assumed, probe = [], [], None
        channels = self._config.selected(board.slot, board.n_channel)
        if missing := self._config.missing(board.slot, board.n_channel):
            log.warning(
                "%s: channels %s of slot %d are configured, but the %s there does not have them",
                self._config.host,
                ", ".join(map(str, missing)),
                board.slot,
                board.model,
            )
        try:
            with suppress(BadReply):
                probe = _probe(session, board.slot)
            for item, asked in board_items(session, board, channels, lambda: monotonic() < self._in_full_until):
                items.append(item)
                if not asked:
                    assumed.append(item.label)
                yield {}
        except BoardGone as error:
            log.warning("%s", error)
            return
        section = self._section(board, items, assumed)
        section.probe = probe  # of before the questions: if the board was changed meanwhile, the next check sees it
        self._add(session, section)
        yield section.facts()
        for batch in section.batches:
            yield from section.read(session, batch)

    def _empty_slots(self) -> tuple[int, ...]:
        """Return the slots that the configuration names; without one, each empty slot in its turn."""
        if self._config.channels is not None:
            return tuple(slot for slot in self._config.channels if slot not in self.sections)
        empty = [slot for slot in range(self._slots) if slot not in self.sections]
        self._turn += 1
        return (empty[self._turn % len(empty)],) if empty else ()

    def _check_slot(self, session: Session, slot: int) -> Readings:
        """Look whether the board is there and the same, and return its facts."""
        section = self.sections.get(slot)
        try:
            probe = _probe(session, slot)
        except BoardGone as error:
            if section is not None:
                section.mark_gone(error)
        except Unsupported:
            if section is not None:
                section.present = True  # this system cannot say it; the next reading will
        except BadReply as error:
            log.debug("%s", error)
        else:
            self._check_board(session, slot, probe)
        return section.facts() if section is not None else {}

    def _check_board(self, session: Session, slot: int, probe: Board) -> None:
        """Decide by the reply of a slot: it is the board of before, or another one, which is to be discovered.

        The reply is compared with the last one and not with the crate map: it has but 16 bits of the serial number.
        """
        section = self.sections.get(slot)
        if section is not None:
            same = section.present and section.probe in (None, probe)
            section.probe = probe
            if same:
                return
        if slot in self._discoveries or slot >= self._slots:
            return
        board = _crate_map(session)[slot]
        if section is not None and section.board == board:
            section.restore()
            log.info("%s is back", section.name)
            return
        if section is not None:
            section.present = False
        if board is not None:
            self._discoveries[slot] = self._discover(session, board)


def _probe(session: Session, slot: int) -> Board:
    """Ask a slot for its board, which is cheap and disturbs nothing."""
    with session.asking(f"board in slot {slot}", slot) as device:
        return device.test_bd_presence(slot)


def _crate_map(session: Session) -> Sequence[Board | None]:
    """Ask for the boards. Not in each scan: the library throws away what it knows of the crate."""
    with session.asking("crate map") as device:
        boards: Sequence[Board | None] = device.get_crate_map()
        return boards
