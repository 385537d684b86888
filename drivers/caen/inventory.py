"""The boards of a crate: found at the login, asked what they have, and looked for, as they come and go."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from drivers.base import BadReply, NoReply, Step, Wait
from drivers.caen.board.section import Section
from drivers.caen.config import Config
from drivers.caen.discovery import Discovery, probe
from drivers.caen.items import Item
from drivers.caen.model import Model
from drivers.caen.session import UNHEARD, BoardGone, Session, Unsupported

if TYPE_CHECKING:
    from caen_libs._caenhvwrappertypes import Board

log = logging.getLogger(__name__)


class Inventory:
    """What is served of a crate, board by board.

    sections  slot -> what is served of its board; None -> of the crate itself. A board that was pulled stays
    """

    def __init__(self, config: Config) -> None:
        self.sections: dict[int | None, Section] = {}
        self._config = config
        self._discoveries: dict[int | None, Discovery] = {}  # slot -> what is still to be asked of its board
        self._denied: dict[int | None, Discovery] = {}  # slot -> what its board lists and denies
        self._models: dict[Board, Model] = {}  # board without slot and number -> what those of its model told

    @property
    def discovering(self) -> bool:
        """Return True while there are boards that have not been asked yet what they have."""
        return any(not discovery.served for discovery in self._discoveries.values())

    @property
    def missing(self) -> Iterator[str]:
        """Yield a sentence for each thing that boards list, and did not tell so far, or deny."""
        places = {**self._denied, **self._discoveries}
        for what, labels in _by_name(each for place in tuple(places.values()) for each in place.missing):
            more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
            yield f"no PVs are made of {what}{more}: the crate lists it, but does not tell what it is"

    def unseen(self, session: Session) -> Iterator[int]:
        """Yield the slots in which the crate map has a board that cannot be seen now: gone, or not asked yet."""
        for slot, board in enumerate(session.boards):
            section = self.sections.get(slot)
            seen = section is not None and section.present and section.board == board
            if board is not None and self._config.serves(slot) and not seen:
                yield slot

    def start(self, session: Session) -> None:
        """Find the boards after a login; those that are new or others than before are to be discovered.

        Raises DeviceError.
        """
        session.read_map()
        for slot in self._config.channels or ():
            if _board(session, slot) is None:
                log.warning("%s: slot %d is configured, but there is no board in it", self._config.host, slot)
        for section in self.sections.values():
            section.present = False
        if crate := self.sections.get(None):
            crate.restore()
        for place, denied in self._denied.items():
            denied.ask_again()
            self._discoveries.setdefault(place, denied)
        self._denied.clear()
        self._models.clear()
        self._discoveries[None] = Discovery(None, ())
        self.follow(session)

    def stop(self) -> None:
        """Forget the halves of questions: the session is over."""
        for discovery in self._discoveries.values():
            discovery.interrupt()

    def follow(self, session: Session) -> None:
        """Compare what is served with the crate map, as last read."""
        session.map_changed = False
        slots = {slot for slot in (*self.sections, *self._discoveries) if slot is not None}
        for slot in sorted(slots | set(range(len(session.boards)))):
            # The map is silent about boards without channels
            if self._config.serves(slot) and not self._without_channels(slot):
                self._compare(slot, _board(session, slot))

    def _without_channels(self, slot: int) -> bool:
        known = self._discoveries.get(slot) or self.sections.get(slot)
        return known is not None and known.board is not None and known.board.n_channel == 0

    def _compare(self, slot: int, board: Board | None) -> None:
        """Serve the board of a slot: the one of before again, or another one when it has been asked what it has."""
        section, discovery = self.sections.get(slot), self._discoveries.get(slot)
        # One that still has questions to a board that was served goes on when this board is back
        if discovery is not None and discovery.board != board and (board is not None or section is None):
            del self._discoveries[slot]
            discovery = None
        if section is not None and section.board == board:
            if not section.present:
                section.restore()
                log.info("%s is back", section.name)
            return
        if section is not None and section.present:
            what = "no board" if board is None else f"another board, {board.model}"
            section.mark_gone(BoardGone(f"slot {slot}: the crate map has {what}"))
        if board is not None and discovery is None:
            self._denied.pop(slot, None)
            self._discoveries[slot] = Discovery(board, self._channels(board), self._model_of(board))

    def _model_of(self, board: Board) -> Model:
        """Return what boards of the same model told that were asked together with this one."""
        if not self.discovering:
            self._models.clear()
        return self._models.setdefault(replace(board, slot=0, serial_number=0), Model())

    def _channels(self, board: Board) -> Sequence[int]:
        if missing := self._config.missing(board.slot, board.n_channel):
            log.warning(
                "%s: channels %s of slot %d are configured, but the %s there does not have them",
                self._config.host,
                ", ".join(map(str, missing)),
                board.slot,
                board.model,
            )
        return self._config.selected(board.slot, board.n_channel)

    # ---- asking what boards have ----

    def next_discovery(self, session: Session) -> Discovery | None:
        """Return the board that is to be asked now; None when there is none, or none whose time has come."""
        due = [discovery for discovery in self._discoveries.values() if discovery.due]
        # What failed before waits for its time, and for those that were not asked yet
        discovery = min(due, key=lambda discovery: discovery.served, default=None)
        return discovery if discovery is None or not discovery.served or session.allowance.free else None

    def discover(self, session: Session, discovery: Discovery) -> Iterator[Step]:
        """Make the next call for a board; serve it when all was asked once, and read it for the first time.

        Raises LinkDown.
        """
        slot = None if discovery.board is None else discovery.board.slot
        again, began, known = discovery.ready, monotonic(), len(discovery.items)
        if not discovery.ready or discovery.served:
            yield {} if discovery.step(session) else UNHEARD
        if again and discovery.served:
            session.allowance.spend(monotonic() - began)
        if self._discoveries.get(slot) is not discovery:
            return  # the board was changed meanwhile
        if discovery.mistaken:
            assert discovery.board is not None
            log.info("%s: slot %d has other parameters than a like board; all is asked", self._config.host, slot)
            self._discoveries[slot] = Discovery(discovery.board, self._channels(discovery.board))
            return
        if discovery.ready and (not discovery.served or len(discovery.items) > known):
            section = self.sections.get(slot)
            if section is None or section.board != discovery.board or not section.table.has(discovery.items):
                yield from self._serve(session, discovery.board, discovery.items, discovery.assumed, discovery.probe)
            discovery.served = True
        if discovery.ready and discovery.done:
            self._discoveries.pop(slot, None)
            if discovery.denies:
                self._denied[slot] = discovery

    def correct(self, session: Session) -> Iterator[Step]:
        """Serve boards anew of which a parameter proved to be of another kind than was assumed. Raises LinkDown."""
        for section in tuple(self.sections.values()):
            metadata = section.metadata
            if metadata.corrected and section.present:
                items = [metadata.corrected.get(label, item) for label, item in section.table.items.items()]
                assumed = [label for label in metadata.assumed if label not in metadata.corrected]
                yield from self._serve(session, section.board, items, assumed, section.probe)

    def _serve(
        self, session: Session, board: Board | None, items: Sequence[Item], assumed: Iterable[str], seen: Board | None
    ) -> Iterator[Step]:
        """Serve a board in place of what its slot had, and read it all for the first time.

        A board that is served already has got more of its items, or others.
        """
        slot = None if board is None else board.slot
        before = self.sections.get(slot)
        same = before is not None and before.board == board
        if before is not None and same:  # what the crate has told since then stays told
            # but not what was assumed before, and was asked meanwhile
            assumed = list(assumed)
            gone = before.metadata.corrected.keys() | (set(before.metadata.assumed) - set(assumed))
            known = {label: item for label, item in before.table.items.items() if label not in gone}
            items = [known.get(item.label, item) for item in items]
            assumed = [label for label in assumed if label not in known or label in before.metadata.assumed]
        section = Section(self._config, board, items, assumed)
        section.probe = seen  # of before the questions: if the board was changed, the next check sees it
        if before is not None and same:
            section.inherit(before)
        elif before is not None:  # a setting of this name was put to another board
            section.doubt_unreadable()
        names = []
        for step in section.read_names(session):  # the points are made with them, so they have no records yet
            names.append(step)
            yield step if isinstance(step, Wait) else {}
        self.sections[slot] = section
        log.info("%s has %d points", section.name, len(section.table.points))
        yield section.facts()
        yield from (step for step in names if not isinstance(step, Wait))
        for batch in section.first_batches():
            yield from section.read(session, batch)

    # ---- looking for boards ----

    def check(self, session: Session) -> Iterator[Step]:
        """Look for every board that should be there, and into each empty slot; ask again what was not answered.

        Raises LinkDown.
        """
        for section in self.sections.values():
            section.metadata.ask_next_unit()
            section.metadata.ask_postponed()
        if not session.boards:  # a crate that powers up may have no slots yet: nothing else would find them
            yield from self._read_map(session)
        slots = self._config.channels if self._config.channels is not None else range(len(session.boards))
        for slot in dict.fromkeys([*(slot for slot in self.sections if slot is not None), *slots]):
            yield from self._check_slot(session, slot)

    def _read_map(self, session: Session) -> Iterator[Step]:
        """Read the crate map, if that is answered. Raises LinkDown."""
        try:
            session.read_map()
        except (BadReply, NoReply) as error:
            log.debug("%s", error)
            yield UNHEARD
        else:
            yield {}  # behind which it is followed

    def look_again(self, session: Session) -> Iterator[Step]:
        """Look for a board that is gone, if there is one whose time has come. Raises LinkDown."""
        for slot, section in tuple(self.sections.items()):
            if slot is not None and not section.present and section.absence.due:
                section.absence.failed()
                yield from self._check_slot(session, slot)
                return

    def _check_slot(self, session: Session, slot: int) -> Iterator[Step]:
        """Look whether the board is there and the same, and yield its facts. Raises LinkDown."""
        section = self.sections.get(slot)
        heard = True
        try:
            board = probe(session, slot)
            if self._changed(slot, board):
                yield {}
                session.read_map()
                # The map is silent about boards without channels
                self._compare(slot, _board(session, slot) or (None if board.n_channel else board))
                self.follow(session)
        except BoardGone as error:
            if section is not None:
                section.mark_gone(error)
        except Unsupported:
            if section is not None and not section.present and slot not in self._discoveries:
                section.restore()  # this system cannot say it; the next reading will
        except (BadReply, NoReply) as error:
            heard = False
            log.debug("%s", error)
        section = self.sections.get(slot)
        yield section.facts() if section is not None and heard else {} if heard else UNHEARD

    def _changed(self, slot: int, board: Board) -> bool:
        """Return True if a slot's reply is not the one of before: it may be another board.

        The reply is compared with the last one and not with the crate map: it has but 16 bits of the serial number.
        """
        section, discovery = self.sections.get(slot), self._discoveries.get(slot)
        known = section if discovery is None else discovery
        if known is None:
            return True
        same = known.probe in (None, board)
        known.probe = board
        back = section is not None and not section.present and section.board == (discovery or section).board
        return not same or back


def _by_name(labels: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the first of the labels that end alike, and all of them."""
    found: dict[str, list[str]] = {}
    for label in labels:
        found.setdefault(label.rpartition(":")[2] if ":" in label else label, []).append(label)
    return ((alike[0], alike) for alike in found.values())


def _board(session: Session, slot: int) -> Board | None:
    return session.boards[slot] if slot < len(session.boards) else None
