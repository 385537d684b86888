"""Settings that may have moved, or of which a put's outcome is not known, are read again in the monitor scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic

from drivers.base import BadReply, NoReply, Readings, Status, Step
from drivers.caen.board.section import Section
from drivers.caen.items import Variable
from drivers.caen.session import UNHEARD, BoardGone, Session


def read_unknown(section: Section, session: Session) -> Iterator[Step]:
    """Read the settings of which it is not known what a put made of them. Raises LinkDown."""
    for label in tuple(section.doubts.unknown):
        if section.present and session.allowance.free:
            yield from _read(section, session, [section.table.variable(label)])


def reread(section: Section, session: Session, until: float) -> Iterator[Step]:
    """Read the settings that may have moved, as long as there is time (monotonic seconds). Raises LinkDown."""
    for settings in tuple(section.doubts.in_calls()):
        if not section.present or monotonic() > until:
            return
        yield from _read(section, session, settings)


def reread_confirmed(section: Section, session: Session, asked: Variable) -> Iterator[Step]:
    """Read the settings of the family whose last unit was asked, if they may have moved. Raises LinkDown.

    Where a whole board was asked, they are not shown before: its turn in the scan may be a second away.
    """
    metadata = section.metadata
    following = [each.family for each in (metadata.next_stale(), metadata.next_unit()) if each]
    for settings in tuple(section.doubts.in_calls()) if asked.family not in following else ():
        if section.present and settings[0].family == asked.family:
            yield from _read(section, session, settings)


def _read(section: Section, session: Session, settings: Sequence[Variable]) -> Iterator[Step]:
    """Read a setting of some channels in one call; when that fails, in halves, as long as there is time for it."""
    began = monotonic()
    try:
        yield from _in_one_step(section, session, settings)
    except BoardGone as error:
        yield section.lose(error)
    except (BadReply, NoReply) as error:
        session.allowance.spend(monotonic() - began)
        yield UNHEARD
        half = len(settings) // 2
        for part in (settings[:half], settings[half:]) if half else ():
            if session.allowance.free and section.present:
                yield from _read(section, session, part)
            else:
                yield _give_up(section, part, error.status)
        if not half:
            yield _give_up(section, settings, error.status)


def _in_one_step(section: Section, session: Session, settings: Sequence[Variable]) -> Sequence[Readings]:
    section.doubts.closed = True
    try:
        return list(section.read_setting(session, settings))
    finally:
        section.doubts.closed = False


def _give_up(section: Section, settings: Sequence[Variable], status: Status) -> Readings:
    """Leave settings to what tries again all that failed; what a failed put may have set is read before all else."""
    labels = [setting.label for setting in settings]
    for label in labels:
        section.doubts.labels.pop(label, None)
    section.leave_out((label for label in labels if label not in section.doubts.unknown), status)
    return section.values.invalidate(labels, status)
